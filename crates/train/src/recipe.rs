//! Everything that decides the result of a run, as TOML.
//!
//! ```toml
//! model = "small_cnn"
//! epochs = 5
//! batch = 64
//! seed = 0
//!
//! [data]
//! path = "digits"
//!
//! [optim]
//! lr = 0.05
//!
//! [schedule]
//! kind = "cosine"
//! warmup_epochs = 1.0
//! ```
//!
//! What a file leaves out has its default. The device and the number of threads are no part of a recipe: they
//! change how long a run takes.

mod keys;
mod objective;
mod optim;
mod place;
mod schedule;
mod set;
mod shipped;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use burn::tensor::FloatDType;
use pyrograph_data::transform::mix::Mixing;
use pyrograph_data::{OnError, Pipeline};
use pyrograph_model::{InputShape, ModelConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::keys::meant_key;
use self::keys::{parse_error, short};
pub use self::objective::{DistillRecipe, LossKind};
pub use self::optim::{OptimKind, OptimRecipe};
use self::place::is_same_place;
pub use self::schedule::{Pace, ScheduleRecipe};
pub use self::shipped::ShippedRecipe;
use crate::{Error, Result};

/// Whether a setting is in its range, its key, its value, and the range.
type Rule = (bool, &'static str, String, &'static str);

/// The single description of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// A network by name (`pyrograph models` lists them), or `auto`: `small_cnn` for images up to 64 pixels,
    /// `resnet18` above.
    pub model: String,
    /// Passes over the training images, at least 1.
    pub epochs: usize,
    /// Images a step, at least 1. Without it 64, or an eighth of a smaller set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Batches whose gradients make one step, at least 1: as if `batch` were so many times larger, without the memory.
    pub accumulate: usize,
    /// Decides initial weights, order, splits and augmentation.
    pub seed: u64,
    /// What is made small: `cross_entropy` or `bce`, which takes each class for a yes or no of its own.
    pub loss: LossKind,
    /// The share of the target's probability spread over all classes, 0 to 1
    /// (<https://arxiv.org/abs/1512.00567>).
    pub label_smoothing: f64,
    /// What is done to training images, as steps: `random_resized_crop(128)|flip|trivial_augment_wide`
    /// ([`Pipeline`](pyrograph_data::Pipeline) lists them). `auto`: a random window and a flip for photos, nothing random for images up to
    /// 64 pixels of one size. `none`: what the network sees of other images, too.
    pub augment: String,
    /// How training images are mixed with each other: `mix.mixup` and `mix.cutmix` are the usual 0.2 and 1. Accuracy and loss of training
    /// are then those on mixed images, by the class of each image itself.
    pub mix: Mixing,
    /// The share of features that is set to 0 before the last layer while learning, 0 to below 1.
    pub dropout: f64,
    /// The share of residual paths that is left out in the last block while learning, 0 to below 1.
    pub drop_path: f64,
    /// Whether what is cheap to compute is computed again for the gradients and not kept: less memory, more time, the same weights.
    pub gradient_checkpointing: bool,
    /// Numbers of half the bits in which convolutions, linear layers and attention multiply while learning, where the device has them: `bf16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amp: Option<Amp>,
    /// How much of the average of all weights so far each step keeps, 0 to below 1, as 0.999; then that average is what is measured and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// What training starts from.
    pub start: StartRecipe,
    /// A network to learn from.
    pub distill: DistillRecipe,
    /// Which images, and how they are prepared.
    pub data: DataRecipe,
    /// Stochastic gradient descent.
    pub optim: OptimRecipe,
    /// The learning rate over time.
    pub schedule: ScheduleRecipe,
    /// How often the schedule changes the rate: every `step`, or every `epoch`.
    pub schedule_by: Pace,
    /// When to stop before the last epoch.
    pub stop: StopRecipe,
}

/// Numbers of half the bits (<https://arxiv.org/abs/1710.03740>). Those with a small exponent would need losses to be scaled, and are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amp {
    /// bfloat16: the range of 32 bits, 8 bits of precision.
    Bf16,
}

/// Which images, and how they are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataRecipe {
    /// A folder or file, or `digits`: the drawn digits that come with the program.
    pub path: String,
    /// Height and width in pixels that the network sees. Without it: the images' own size where they all have
    /// the same and at most 64, otherwise 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Height and width that the network sees in the first epoch; they grow to `size` over the first three quarters of the epochs
    /// (<https://arxiv.org/abs/2104.00298>). For networks that take images of any size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_size: Option<u32>,
    /// 1 (gray) or 3 (colour). Without it: what the images have, or what the weights expect that training starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Whether values are brought to mean 0 and deviation 1 a channel, measured on the training images.
    /// Otherwise they are 0 to 1.
    pub normalize: bool,
    /// The share of the training images set apart for validation where the data has no validation part, 0 to 1.
    /// With 0, the test part is watched instead.
    pub valid_fraction: f64,
    /// The share of the images that may be unreadable, 0 to 1: others stand in for them, and they are listed in the run folder. With
    /// 0 the first one stops the run.
    pub replace_bad: f64,
    /// How often a training image stands in its batch, each time augmented differently, 1 to the batch size
    /// (<https://arxiv.org/abs/1902.05509>). An epoch keeps its steps: it shows one in `repeats` of the images, and as many epochs show all.
    pub repeats: u32,
}

/// What training starts from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartRecipe {
    /// A model file, a run folder, a safetensors file or a PyTorch checkpoint with the network's weights, or published ones by name, as
    /// `torchvision/resnet50`. Its head may be for other classes: then a new one is learned. Empty: new weights.
    pub weights: String,
    /// Epochs in which only the head learns.
    pub freeze_epochs: usize,
    /// What never learns: beginnings of parameters' names, as `conv1` and `layer1` (`pyrograph summary` lists them).
    pub freeze: Vec<String>,
}

/// When to stop before the last epoch. All of it is measured on the validation images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StopRecipe {
    /// Stop when top-1 accuracy reaches this, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Stop when top-5 accuracy reaches this, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Stop when the loss falls to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Stop after this many epochs without a better accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            model: Self::AUTO.into(),
            epochs: 6,
            batch: None,
            accumulate: 1,
            seed: 0,
            loss: LossKind::default(),
            label_smoothing: 0.0,
            augment: Self::AUTO.into(),
            mix: Mixing::default(),
            dropout: 0.0,
            drop_path: 0.0,
            gradient_checkpointing: false,
            amp: None,
            ema: None,
            start: StartRecipe::default(),
            distill: DistillRecipe::default(),
            data: DataRecipe::default(),
            optim: OptimRecipe::default(),
            schedule: ScheduleRecipe::Cosine { min_lr: 0.0, warmup_epochs: 0.5 },
            schedule_by: Pace::Step,
            stop: StopRecipe::default(),
        }
    }
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            path: Self::DIGITS.into(),
            size: None,
            start_size: None,
            channels: None,
            normalize: true,
            valid_fraction: 0.1,
            replace_bad: 0.0,
            repeats: 1,
        }
    }
}

impl DataRecipe {
    /// What becomes of an image that cannot be read.
    #[must_use]
    pub fn on_error(&self) -> OnError {
        if self.replace_bad > 0.0 { OnError::Replace { at_most: self.replace_bad } } else { OnError::Fail }
    }

    /// The path that means the drawn digits.
    pub const DIGITS: &'static str = "digits";
}

/// The most bytes of a recipe file that are read.
const BYTES: u64 = 1 << 20;

/// The text of a recipe file.
///
/// # Errors
///
/// When it is no file, too long for a recipe, or cannot be read.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    // What is no file may never end, or wait to be written.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is not a file; give the path of one"));
    }
    let mut text = String::new();
    if File::open(path)?.take(BYTES + 1).read_to_string(&mut text)? as u64 > BYTES {
        return Err(io::Error::other(format!("more than {BYTES} bytes are too many for a recipe")));
    }
    Ok(text)
}

impl Recipe {
    /// The value of a setting that is decided by looking at the data.
    pub const AUTO: &'static str = "auto";
    /// What `augment` says where training images are like all others.
    pub(crate) const NO_AUGMENT: &'static str = "none";

    /// Reads a recipe file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no TOML, has a key that no recipe has (the message names a near one
    /// that exists), an unknown name or a value out of range.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read_text(path)
            .map_err(|e| Error::Recipe(format!("{}: the recipe cannot be read: {e}", path.display())))?;
        let is_other = |extension: &OsStr| {
            ["json", "yaml", "yml"].iter().any(|other| extension.eq_ignore_ascii_case(other))
        };
        Self::parse(&text).map_err(|e| {
            let other = if path.extension().is_some_and(is_other) {
                "recipes are TOML, as `pyrograph train --print-recipe` shows it, and this is not: "
            } else {
                ""
            };
            Error::Recipe(format!("{}: {other}{e}", path.display()))
        })
    }

    /// Parses TOML.
    ///
    /// # Errors
    ///
    /// As [`Recipe::load`].
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|e| parse_error(&e, text))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, with every default written out.
    ///
    /// # Errors
    ///
    /// Never for a recipe that [`Recipe::check`] accepts.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|e| Error::Recipe(e.to_string()))
    }

    /// sha-256 of [`Recipe::to_toml`], in hex: equal recipes, equal fingerprints.
    ///
    /// # Errors
    ///
    /// As [`Recipe::to_toml`].
    pub fn fingerprint(&self) -> Result<String> {
        let hash = Sha256::digest(self.to_toml()?.as_bytes());
        Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// A line for each setting in which `other` differs: its key, its value there and here. Empty for equal recipes. Two paths of one place
    /// are equal.
    ///
    /// # Errors
    ///
    /// As [`Recipe::to_toml`].
    pub fn difference(&self, other: &Self) -> Result<String> {
        let (here, there) = (self.settings()?, other.settings()?);
        let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let is_same = |key: &str| match key {
            "data.path" => is_same_place(&self.data.path, &other.data.path),
            "start.weights" => is_same_place(&self.start.weights, &other.start.weights),
            "distill.teacher" => is_same_place(&self.distill.teacher, &other.distill.teacher),
            key => here.get(key) == there.get(key),
        };
        let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
        let lines = keys
            .into_iter()
            .filter(|key| !is_same(key))
            .map(|key| format!("  {key}: {} there, {} here", shown(there.get(key)), shown(here.get(key))));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Every setting that has a value, by its whole name.
    pub(crate) fn settings(&self) -> Result<BTreeMap<String, String>> {
        let table = toml::Table::try_from(self).map_err(|e| Error::Recipe(e.to_string()))?;
        let mut settings = BTreeMap::new();
        flatten("", &table, &mut settings);
        Ok(settings)
    }

    /// What layers multiply in while learning, if not in the numbers of their weights.
    pub(crate) fn products_in(&self) -> Option<FloatDType> {
        self.amp.map(|Amp::Bf16| FloatDType::BF16)
    }

    /// Whether every value is in its range, and every name known.
    ///
    /// # Errors
    ///
    /// Names the key, its value and what it may be.
    pub fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let at_least_0 = |value: f64| value.is_finite() && value >= 0.0;
        let number = |value: Option<f64>| value.unwrap_or_default().to_string();
        let rules = [
            (self.epochs >= 1, "epochs", self.epochs.to_string(), "at least 1"),
            (self.epochs <= 1_000_000, "epochs", self.epochs.to_string(), "at most 1000000"),
            (self.batch.is_none_or(|n| n >= 1), "batch", "0".into(), "at least 1"),
            (
                (1..=100_000).contains(&self.accumulate),
                "accumulate",
                self.accumulate.to_string(),
                "1 to 100000",
            ),
            (self.ema.is_none_or(|kept| (0.0..1.0).contains(&kept)), "ema", number(self.ema), "0 to below 1"),
            (
                share(self.label_smoothing) && self.label_smoothing < 1.0,
                "label_smoothing",
                self.label_smoothing.to_string(),
                "0 to below 1",
            ),
            (
                share(self.data.valid_fraction) && self.data.valid_fraction < 1.0,
                "data.valid_fraction",
                self.data.valid_fraction.to_string(),
                "0 to below 1",
            ),
            (share(self.data.replace_bad), "data.replace_bad", self.data.replace_bad.to_string(), "0 to 1"),
            (self.data.repeats >= 1, "data.repeats", "0".into(), "at least 1"),
            (
                self.data.size.is_none_or(|size| (4..=4096).contains(&size)),
                "data.size",
                format!("{:?}", self.data.size.unwrap_or_default()),
                "4 to 4096 pixels",
            ),
            (
                self.data.start_size.is_none_or(|size| (4..=4096).contains(&size)),
                "data.start_size",
                format!("{:?}", self.data.start_size.unwrap_or_default()),
                "4 to 4096 pixels",
            ),
            (
                self.data.channels.is_none_or(|channels| matches!(channels, 1 | 3)),
                "data.channels",
                format!("{:?}", self.data.channels.unwrap_or_default()),
                "1 (gray) or 3 (colour)",
            ),
            (
                self.start.freeze_epochs == 0 || !self.start.weights.is_empty(),
                "start.freeze_epochs",
                self.start.freeze_epochs.to_string(),
                "0 without start.weights",
            ),
            (
                self.stop.accuracy.is_none_or(share),
                "stop.accuracy",
                number(self.stop.accuracy),
                "0 to 1, as 0.93",
            ),
            (self.stop.top5.is_none_or(share), "stop.top5", number(self.stop.top5), "0 to 1, as 0.99"),
            (self.stop.loss.is_none_or(at_least_0), "stop.loss", number(self.stop.loss), "0 or more"),
            (self.stop.patience.is_none_or(|n| n >= 1), "stop.patience", "0".into(), "at least 1"),
        ];
        let mut rules = rules
            .into_iter()
            .chain(self.optim.rules())
            .chain(self.schedule.rules(self.optim.lr))
            .chain(self.distill.rules());
        if let Some((_, key, value, range)) = rules.find(|(holds, ..)| !holds) {
            return Err(Error::Recipe(format!("`{key}` is {value}; it must be {range}")));
        }
        self.mix.check()?;
        if ![Self::AUTO, Self::NO_AUGMENT].contains(&self.augment.as_str()) {
            augment_pipeline(&self.augment)?;
        }
        if self.model != Self::AUTO && !ModelConfig::names().iter().any(|info| info.name == self.model) {
            // Its error has the nearest name; for which images does not matter.
            ModelConfig::from_name(&self.model, InputShape { channels: 3, height: 224, width: 224 }, 2)?;
        }
        Ok(())
    }
}

/// The steps of a recipe's `augment`.
pub(crate) fn augment_pipeline(text: &str) -> Result<Pipeline> {
    let wrong = |reason: String| Error::Recipe(format!("`augment` is {:?}: {}", short(text), short(&reason)));
    text.parse().map_err(|e: pyrograph_data::Error| wrong(e.to_string()))
}

/// Values of a table and those within, under dotted keys.
fn flatten(prefix: &str, table: &toml::Table, settings: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&key, table, settings),
            value => {
                settings.insert(key, value.to_string());
            }
        }
    }
}
