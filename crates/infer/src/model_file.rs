//! One `.safetensors` file that is a whole model.
//!
//! Tensors carry PyTorch's names and layouts in f32, so `safetensors.torch.load_file` opens them. The header's
//! metadata has one entry, `pyrograph`, a JSON object:
//!
//! | key | value |
//! |---|---|
//! | `format` | `pyrograph` |
//! | `format_version` | `2` |
//! | `model` | the architecture, a [`ModelConfig`] |
//! | `preprocess` | what becomes of an image before the network sees it, a [`Preprocess`] |
//! | `classes` | the class names in label order |
//! | `recipe` | sha-256 of the recipe that trained it, in hex; may be empty |
//!
//! One entry, because safetensors keeps metadata in a hash map: equal models must be equal bytes.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use burn::tensor::Device;
use pyrograph_data::Preprocess;
use pyrograph_model::{Model, ModelConfig, load_tensors, named_tensors};
use safetensors::{Dtype, tensor::TensorView};

use crate::error::is_file;
use crate::weights::{SafetensorsFile, is_pytorch};
use crate::{Error, Result};

const FORMAT: &str = "pyrograph";
const FORMAT_VERSION: &str = "2";

/// A model with all that is needed to use it.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// The architecture.
    pub config: ModelConfig,
    /// What becomes of an image before the network sees it.
    pub preprocess: Preprocess,
    /// The class names in label order.
    pub class_names: Vec<String>,
    /// sha-256 of the recipe that trained it, in hex; may be empty.
    pub recipe: String,
    /// The network with its weights.
    pub model: Model,
}

impl ModelFile {
    /// Writes the file: whole or not at all, replacing an older one of the same name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), source };
        // A rename over a link or a device would put the file in its place.
        if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        let bytes = self.to_bytes()?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        // A model is as readable as any file of its owner; temporary files are private by default.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.prefix(".model-").tempfile_in(folder).map_err(io)?;
        file.write_all(&bytes).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|e| io(e.error))?;
        // The rename itself is durable only once the folder is; not every platform can open one.
        if let Ok(folder) = fs::File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// The bytes of the file. Equal models give equal bytes.
    ///
    /// # Errors
    ///
    /// When the network has a tensor of a kind that model files do not have.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.serialize().map_err(|reason| Error::Damaged { path: "the model".into(), reason })
    }

    fn serialize(&self) -> std::result::Result<Vec<u8>, String> {
        let json = |value: serde_json::Result<String>| value.map_err(|e| e.to_string());
        let description = Description {
            format: FORMAT.into(),
            format_version: FORMAT_VERSION.into(),
            model: self.config.clone(),
            preprocess: self.preprocess.clone(),
            classes: self.class_names.clone(),
            recipe: self.recipe.clone(),
        };
        let metadata = HashMap::from([(FORMAT.to_owned(), json(serde_json::to_string(&description))?)]);
        let tensors = named_tensors(&self.model);
        let views = tensors
            .iter()
            .map(|(name, data)| {
                let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
                view.map(|view| (name.as_str(), view)).map_err(|e| format!("{name}: {e}"))
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
    }

    /// Reads a file and builds its network on `device`. A run folder means the best model in it.
    ///
    /// Loading is strict: a missing, extra, misshapen or non-finite tensor is an error that names it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is damaged, was not written by Pyrograph, or does not fit its own description.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let within = path.join("best.safetensors");
        let path = if path.is_dir() { within.as_path() } else { path };
        let foreign = |reason: String| Error::NotAModel { path: path.to_owned(), reason };
        is_file(path)?;
        if is_pytorch(path)? {
            return Err(foreign("it is a checkpoint of PyTorch".into()));
        }
        let file = SafetensorsFile::open(path)?;
        let description = file.entry(FORMAT);
        let description =
            description.ok_or_else(|| foreign(format!("its header has no entry `{FORMAT}`")))?;
        let description = Description::parse(description)
            .map_err(|reason| Error::Description { path: path.to_owned(), reason })?;
        let tensors = file.read_all()?;
        // The seed of weights that are all replaced does not matter.
        let model = description.model.init(0, device);
        let model = load_tensors(model, tensors)
            .map_err(|source| Error::Weights { path: path.to_owned(), source })?;
        Ok(Self {
            config: description.model,
            preprocess: description.preprocess,
            class_names: description.classes,
            recipe: description.recipe,
            model,
        })
    }
}

/// The description as it stands in the file.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Description {
    format: String,
    format_version: String,
    model: ModelConfig,
    preprocess: Preprocess,
    classes: Vec<String>,
    recipe: String,
}

impl Description {
    /// Parses and checks: everything in it comes from outside.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match value.get("format_version").and_then(serde_json::Value::as_str) {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(format!("format version {other}; this program reads version {FORMAT_VERSION}"));
            }
            None => return Err("no format version".into()),
        }
        let this: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        this.model.check().map_err(|e| e.to_string())?;
        this.preprocess.check().map_err(|e| e.to_string())?;
        let input = this.model.input();
        let (channels, height, width) = (
            this.preprocess.channels as usize,
            this.preprocess.height as usize,
            this.preprocess.width as usize,
        );
        if (input.channels, input.height, input.width) != (channels, height, width) {
            return Err(format!(
                "the network takes {input}, the preprocessing makes {channels}x{height}x{width}"
            ));
        }
        if this.classes.len() != this.model.classes() {
            return Err(format!("{} class names for {} classes", this.classes.len(), this.model.classes()));
        }
        Ok(this)
    }
}
