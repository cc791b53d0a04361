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
    /// The devices cannot share a step.
    #[error(
        "{devices} devices compute a batch of a step each, so `accumulate` must be a multiple of {devices}; it is {accumulate}: for example \
         --set accumulate={devices}, with {devices} times as many images a step"
    )]
    Devices {
        /// How many there are.
        devices: usize,
        /// The batches of a step.
        accumulate: usize,
    },
    /// A device has no numbers of the recipe's precision.
    #[error("{device} does not compute in bfloat16; leave out `amp`, or choose another device")]
    Precision {
        /// The device.
        device: String,
    },
    /// Burn's learner stopped.
    #[error("training stopped: {0}")]
    Training(String),
    /// A checkpoint, or what is written beside it, cannot be written or read.
    #[error("{path}: {source}; what was saved before is untouched, and the same command goes on from there", path = path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint is not as it was written.
    #[error("{path}: the checkpoint is damaged: {reason}; without an older one begin anew in another folder (--fresh without --out, or another --out)", path = path.display())]
    DamagedCheckpoint {
        /// Its folder.
        path: PathBuf,
        /// Which file, and how.
        reason: String,
    },
    /// The best model so far is not as it was written.
    #[error(
        "{reason}; it was the best model of this run, which cannot be had again: copy last.safetensors there to do without, or begin anew in \
         another folder (--fresh without --out, or another --out)"
    )]
    BestModel {
        /// Which file, and how.
        reason: String,
    },
    /// The run folder holds a run of another recipe.
    #[error(
        "{path}: the run in this folder has another recipe; nothing was changed, choose another folder with --out. The difference:\n{difference}",
        path = path.display()
    )]
    OtherRecipe {
        /// The run folder.
        path: PathBuf,
        /// A line for each setting that differs.
        difference: String,
    },
    /// Training was asked to stop, and can go on.
    #[error("{path}: stopped as asked, at step {step}; the same command goes on from there", path = path.display())]
    Interrupted {
        /// The run folder.
        path: PathBuf,
        /// Steps that were made, all of them saved.
        step: u64,
    },
    /// The loss or a gradient was infinite or not a number, again and again.
    #[error(
        "{what} of epoch {epoch}, batch {batch} is not finite, after {} as many batches were left out and older weights taken up; if \
         the images ({images}) are as they should be, lower the learning rate (now {learning_rate}), for example with --set optim.lr={}",
        "three times", learning_rate.min(1.0) / 10.0
    )]
    NotFinite {
        /// `the loss`, `a gradient` or, after the step, `a weight`.
        what: &'static str,
        /// The epoch, counted from 1.
        epoch: usize,
        /// The batch of the epoch, counted from 1.
        batch: u64,
        /// The first images of the batch.
        images: String,
        /// The learning rate of the recipe.
        learning_rate: f64,
    },
}

/// The results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
