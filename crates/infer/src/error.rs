//! What can go wrong with a model file or an evaluation.

use std::path::{Path, PathBuf};

/// A failure to load, save or use a model. Every message names the file or the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The model file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error("{path}: no such file or folder; check the path", path = path.display())]
    Missing {
        /// What was given.
        path: PathBuf,
    },
    /// There is something else than a file: a device, a pipe or, where a file is to be written, a link.
    #[error("{path}: this is not a file; give the path of one", path = path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file is no safetensors file, or is damaged or cut short.
    #[error("{path}: not a whole safetensors file ({reason}); copy or download it again", path = path.display())]
    Damaged {
        /// The model file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The file is a safetensors file that Pyrograph did not write.
    #[error("{path}: weights without a Pyrograph model description ({reason}); `pyrograph convert` makes a model of weights", path = path.display())]
    NotAModel {
        /// The model file.
        path: PathBuf,
        /// Which part is missing or unreadable.
        reason: String,
    },
    /// Nobody published weights under this name, as far as this crate knows.
    #[error(
        "there is no file `{name}`, and no published weights are called so; did you mean `{nearest}`? (`pyrograph models` lists all)"
    )]
    UnknownWeights {
        /// The name asked for.
        name: String,
        /// The nearest that exists.
        nearest: String,
    },
    /// Published weights are wanted, and this build does not fetch them.
    #[error(
        "the weights {name} have to be fetched: rebuild with `--features download`, or fetch {url} yourself and give the file's path"
    )]
    NotFetched {
        /// The weights.
        name: String,
        /// Where they are.
        url: String,
    },
    /// The file's model description is damaged or of another version.
    #[error("{path}: its model description cannot be read ({reason}); was it written by a newer version?", path = path.display())]
    Description {
        /// The model file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no tensors.
    #[error("{path}: there are no weights in it", path = path.display())]
    NoWeights {
        /// The weight file.
        path: PathBuf,
    },
    /// A checkpoint refers to something in Python that weights do not need.
    #[error(
        "{path}: {reason}. Nothing in it was run. If you trust the file, load it in Python and save `model.state_dict()` as safetensors",
        path = path.display()
    )]
    RefusedPickle {
        /// The weight file.
        path: PathBuf,
        /// What it refers to, or where it cannot be told.
        reason: String,
    },
    /// A checkpoint of PyTorch is damaged, cut short, or of a form that is not read.
    #[error("{path}: not a whole PyTorch checkpoint ({reason}); copy or download it again", path = path.display())]
    DamagedCheckpoint {
        /// The weight file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// An HDF5 file is damaged, cut short, or of a form that is not read.
    #[error("{path}: {place}: not a whole HDF5 file ({reason}); copy or download it again", path = path.display())]
    DamagedHdf5 {
        /// The weight file.
        path: PathBuf,
        /// The dataset or group within the file.
        place: String,
        /// What the reader said.
        reason: String,
    },
    /// An HDF5 file has weights that are not read, or for another network.
    #[error("{path}: {reason}", path = path.display())]
    NotKeras {
        /// The weight file.
        path: PathBuf,
        /// Which, and why.
        reason: String,
    },
    /// The file is Keras's, and this build does not read those.
    #[error("{path}: to read weights of Keras, rebuild with `--features keras`", path = path.display())]
    NoKeras {
        /// The weight file.
        path: PathBuf,
    },
    /// A tensor's values are of a kind that weights do not have.
    #[error("{path}: tensor `{name}` is {found}; weights are F64, F32, F16 or BF16", path = path.display())]
    TensorType {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its values.
        found: String,
    },
    /// The tensors do not fit the architecture that the file names.
    #[error("{path}: {source}", path = path.display())]
    Weights {
        /// The model file.
        path: PathBuf,
        /// Which tensor, and how.
        source: pyrograph_model::ParamError,
    },
    /// Models that are to be averaged differ in more than their weights.
    #[error(
        "{path}: {what} is {here}, in {first} it is {there}; only models of the same network, classes and preprocessing can be averaged{remedy}",
        path = path.display(),
        first = first.display(),
        remedy = remedy(what)
    )]
    Differs {
        /// The model file.
        path: PathBuf,
        /// The first of the model files.
        first: PathBuf,
        /// In what they differ.
        what: String,
        /// What it is in `path`.
        here: String,
        /// What it is in `first`.
        there: String,
    },
    /// An average of fewer than two models.
    #[error("an average needs two models or more; {given} given")]
    NothingToAverage {
        /// How many there were.
        given: usize,
    },
    /// An image or a batch could not be read.
    #[error(transparent)]
    Data(#[from] pyrograph_data::Error),
    /// The loader stopped.
    #[error("{0}")]
    Loader(String),
    /// The backend failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The weights or the normalization are far out of any useful range.
    #[error("the model's answer is not finite; its weights are damaged or its training diverged")]
    NotFinite,
    /// Classes of the data that the model does not know.
    #[error("the model knows no class `{class}`; its classes are {known}")]
    UnknownClass {
        /// The class of the data.
        class: String,
        /// The classes of the model.
        known: String,
    },
}

/// What is read must be a file: others may never end, or never begin.
pub(crate) fn is_file(path: &Path) -> Result<()> {
    let metadata = path.metadata().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    })?;
    if metadata.is_file() { Ok(()) } else { Err(Error::NotAFile { path: path.to_owned() }) }
}

/// The results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be done where models differ in this.
fn remedy(what: &str) -> &'static str {
    if what.ends_with("`mean`") || what.ends_with("`std`") {
        "; mean and deviation are measured on the images learned from, which the seed chooses where the data has no validation part: train all \
         models from the same weights (--weights), with the same seed, or with --set data.normalize=false"
    } else {
        ""
    }
}
