//! MobileNet (<https://arxiv.org/abs/1704.04861>): depthwise 3x3 convolutions, which look at each channel by itself, and 1x1 convolutions,
//! which mix the channels, in place of full ones. A width says how many of the paper's channels there are.
//!
//! Names are those of the port that detectors of faces use, whose published weights have a quarter of the channels and leaky ReLU.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activate, Activation, BatchNorm2d, Conv2dConfig, ConvInit, Dropout, Layer, Linear, LinearConfig,
    adaptive_avg_pool2d, forward_all,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with the width in hundredths, and whether ReLU is leaky.
const VARIANTS: [(NameInfo, usize, bool); 5] = [
    (name("mobilenet_v1_100", IMAGENET, "MobileNet"), 100, false),
    (name("mobilenet_v1_075", IMAGENET, "MobileNet with 3/4 of the channels"), 75, false),
    (name("mobilenet_v1_050", IMAGENET, "MobileNet with 1/2 of the channels"), 50, false),
    (name("mobilenet_v1_025", IMAGENET, "MobileNet with 1/4 of the channels"), 25, false),
    (name("mobilenet_v1_025_leaky", IMAGENET, "MobileNet with 1/4 of the channels and leaky ReLU"), 25, true),
];

/// Channels at width 100 and stride of the pairs of convolutions, in the reference's three rows.
const ROWS: [&[(usize, usize)]; 3] = [
    &[(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)],
    &[(512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)],
    &[(1024, 2), (1024, 1)],
];

/// Configuration of a [`MobileNetV1`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV1Config {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// Hundredths of the paper's channels: 25, 50, 75 or 100.
    pub width: usize,
    /// Whether ReLU passes a tenth of what is below 0.
    pub leaky: bool,
}

/// 3x3 convolution, 13 pairs of depthwise 3x3 and 1x1, mean, linear.
#[derive(Module, Debug)]
pub struct MobileNetV1 {
    stage1: Vec<Layer>,
    stage2: Vec<Layer>,
    stage3: Vec<Layer>,
    dropout: Dropout,
    fc: Option<Linear>,
    channels: [usize; 5],
}

impl MobileNetV1Config {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, width, leaky) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, width, leaky })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.width);
        ConfigError::unless(known, "the width", self.width, "25, 50, 75 or 100")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> MobileNetV1 {
        let Common { input, classes, dropout, .. } = self.common;
        let activation = if self.leaky { Activation::LeakyRelu(0.1) } else { Activation::Relu };
        let scaled = |channels: usize| channels * self.width / 100;
        let mut inputs = scaled(32);
        let first = Conv2dConfig { stride: 2, ..Conv2dConfig::new(input.channels, inputs, 3) };
        let first = Layer::Row(triple(first, activation, rng, device).into());
        let [mut stage1, stage2, stage3] = ROWS.map(|row| {
            let pairs = row.iter().map(|&(outputs, stride)| {
                let depthwise = Conv2dConfig { stride, ..Conv2dConfig::depthwise(inputs, 3) };
                let mut pair = Vec::from(triple(depthwise, activation, rng, device));
                let mix = Conv2dConfig::new(inputs, scaled(outputs), 1);
                pair.extend(triple(mix, activation, rng, device));
                inputs = scaled(outputs);
                Layer::Row(pair)
            });
            pairs.collect::<Vec<Layer>>()
        });
        stage1.insert(0, first);
        MobileNetV1 {
            stage1,
            stage2,
            stage3,
            dropout: Dropout::new(dropout),
            fc: (classes > 0).then(|| LinearConfig::new(inputs, classes).init(rng, device)),
            channels: [64, 128, 256, 512, 1024].map(scaled),
        }
    }
}

impl Backbone for MobileNetV1 {
    fn levels(&self) -> Vec<Level> {
        let strides = [2, 4, 8, 16, 32];
        let levels = self.channels.into_iter().zip(strides);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let layers = match n {
            0 => &self.stage1[..2],
            1 => &self.stage1[2..4],
            2 => &self.stage1[4..],
            3 => &self.stage2,
            _ => &self.stage3,
        };
        forward_all(layers, x)
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        match &self.fc {
            Some(fc) => fc.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(
            parameter,
            &[
                &["stage1.0.", "stage1.1."],
                &["stage1.2.", "stage1.3."],
                &["stage1."],
                &["stage2."],
                &["stage3."],
            ],
        )
    }
}

/// A convolution, its normalization and its activation.
fn triple(conv: Conv2dConfig, activation: Activation, rng: &mut InitRng, device: &Device) -> [Layer; 3] {
    let conv = Conv2dConfig { init: ConvInit::HeFanOut, ..conv };
    [
        Layer::Conv(conv.init(rng, device)),
        Layer::Norm(BatchNorm2d::new(conv.outputs, rng, device)),
        Layer::Activate(Activate::new(activation)),
    ]
}
