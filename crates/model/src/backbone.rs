//! What every network is told, and what every network can be asked.

use std::fmt;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// The images a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputShape {
    /// 1 (gray), 3 (colour), or as many as there are.
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl InputShape {
    /// Values of one image.
    #[must_use]
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether every number is in its range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let &Self { channels, height, width } = self;
        let within = ConfigError::unless;
        within((1..=64).contains(&channels), "the number of channels", channels, "1 to 64")?;
        within((1..=4096).contains(&height), "the image height", height, "1 to 4096 pixels")?;
        within((1..=4096).contains(&width), "the image width", width, "1 to 4096 pixels")
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// What every network is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// The images.
    pub input: InputShape,
    /// Classes; with 0 there is no last layer, and what comes out are the features it would have had.
    pub classes: usize,
    /// The share of features that is set to 0 before the last layer while learning, 0 or more and below 1.
    #[serde(default)]
    pub dropout: f64,
    /// The share of residual paths that is left out in the last block while learning (0 in the first, growing evenly), 0 or more and
    /// below 1. Networks without such paths have no use for it.
    #[serde(default)]
    pub drop_path: f64,
}

impl Common {
    /// Without dropout and drop-path.
    #[must_use]
    pub fn new(input: InputShape, classes: usize) -> Self {
        Self { input, classes, dropout: 0.0, drop_path: 0.0 }
    }
}

/// Whose names and shapes the parameters of a network have, where two libraries have the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// torchvision.
    Torchvision,
    /// timm.
    Timm,
}

/// One level of a feature pyramid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Channels.
    pub channels: usize,
    /// Pixels of the image to one of the level.
    pub stride: usize,
}

/// A network as a row of stages, each giving a level of a feature pyramid, and a head that makes logits of the last.
pub trait Backbone {
    /// What the stages give, the finest first; none where a network has no feature maps.
    fn levels(&self) -> Vec<Level>;

    /// Stage `n` of what the stage before gave, of the images for stage 0.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, channels, height, width]` of level `n - 1`
    /// - output: the same of level `n`
    ///
    /// Networks with tokens that lie nowhere in the picture have `[batch, channels, 1, tokens]` between stages.
    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4>;

    /// Logits of what the last stage gave.
    ///
    /// # Shapes
    ///
    /// - x: what the last stage gives
    /// - logits: `[batch, classes]`
    fn head(&self, x: Tensor<4>) -> Tensor<2>;

    /// The stage that a parameter belongs to, by its reference name; as many as there are stages for the head. Learning rates that fall
    /// with depth go by it, so a network without halvings, as a transformer, has a stage for each block.
    fn stage_of(&self, parameter: &str) -> usize;

    /// Whether answers on the processor are faster where the channels of a pixel lie side by side. They are where all that stands between
    /// convolutions takes them so.
    fn prefers_channels_last(&self) -> bool {
        true
    }

    /// The name that the reference has for a parameter which is called `name` in our module tree.
    fn reference_name(&self, name: String) -> String {
        name
    }

    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head((0..self.levels().len()).fold(images, |x, n| self.stage(n, x)))
    }

    /// The feature pyramid: level `n` has the channels and the stride that [`Backbone::levels`] says.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - each level: `[batch, level.channels, height / level.stride, width / level.stride]`, rounded up; down in VGG, DenseNet,
    ///   ConvNeXt and Keras's MobileNet, and up to three pixels fewer in SqueezeNet
    fn features(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = images;
        let stages = 0..self.levels().len();
        stages
            .map(|n| {
                x = self.stage(n, x.clone());
                x.clone()
            })
            .collect()
    }
}

/// torchvision's name of a parameter in `stem`, `stages.N.downsample` or `stages.N.blocks`: it numbers all of these in one row called
/// `features`. Nothing for parameters elsewhere.
pub(crate) fn name_in_row(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("stem.") {
        return Some(format!("features.0.{rest}"));
    }
    let (stage, part) = name.strip_prefix("stages.")?.split_once('.')?;
    let stage: usize = stage.parse().ok()?;
    match part.split_once('.')? {
        ("downsample", rest) => Some(format!("features.{}.{rest}", 2 * stage)),
        (_, rest) => Some(format!("features.{}.{rest}", 2 * stage + 1)),
    }
}

/// The stage of a parameter in `stem` and `stages`, or in torchvision's row of them, and `stages` if it is in neither: for
/// [`Backbone::stage_of`].
pub(crate) fn stage_in_row(parameter: &str, stages: usize) -> usize {
    let number = |prefix| parameter.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    match (number("features."), number("stages.")) {
        (Some(place), _) => place / 2,
        (_, Some(stage)) => stage,
        _ if parameter.starts_with("stem.") => 0,
        _ => stages,
    }
}

/// The number of the first of `prefixes` that `parameter` begins with, and how many there are if it is none: for
/// [`Backbone::stage_of`].
pub(crate) fn stage_by_prefix(parameter: &str, prefixes: &[&[&str]]) -> usize {
    let begins = |prefix: &&str| parameter.starts_with(*prefix);
    prefixes.iter().position(|stage| stage.iter().any(begins)).unwrap_or(prefixes.len())
}

/// The layers of stage `n` of a row whose stage `n` ends before layer `ends[n]`; after the last stage what is left over.
pub(crate) fn stage_layers<'a, L>(row: &'a [L], n: usize, ends: &[usize]) -> &'a [L] {
    let end = ends.get(n).copied().unwrap_or(row.len());
    let start = if n == 0 { 0 } else { ends[n - 1] };
    &row[start..end]
}

/// The stage of a parameter of the numbered layers `row`, where stage `n` ends before layer `ends[n]`; as many as there are stages
/// for what comes later: for [`Backbone::stage_of`].
pub(crate) fn stage_by_number(parameter: &str, row: &str, ends: &[usize]) -> usize {
    let rest = parameter.strip_prefix(row).and_then(|rest| rest.strip_prefix('.'));
    let number = rest.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    number.map_or(ends.len(), |number| ends.iter().filter(|end| number >= **end).count())
}
