//! What can go wrong in a run.

use std::path::PathBuf;

/// A failure of a run. Every message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe cannot be read or makes no sense.
    #[error("{0}")]
    Recipe(String),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] pyrograph_data::Error),
    /// A model file cannot be written or read, or an evaluation failed.
    #[error(transparent)]
    Model(#[from] pyrograph_infer::Error),
    /// The network does not fit the data.
    #[error("{0}")]
    Architecture(#[from] pyrograph_model::ConfigError),
    /// The weights to start from are not those of the network.
    #[error("{path}: {source}; are these weights of a {model}?")]
    Start {
        /// The weight file.
        path: String,
        /// The network's name.
        model: String,
        /// Which tensor, and how.
        source: pyrograph_model::ParamError,
    },
    /// The run folder cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    RunFolder {
        /// The run folder, or a file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Burn's learner stopped.
    #[error("training stopped: {0}")]
    Training(String),
    /// The loss became infinite or not a number.
    #[error(
        "the loss is not finite after epoch {epoch}; lower the learning rate (now {learning_rate}), \
         for example with --set optim.lr={}", learning_rate / 10.0
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The learning rate of the recipe.
        learning_rate: f64,
    },
}

/// The results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
