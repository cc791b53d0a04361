//! MobileNet (<https://arxiv.org/abs/1704.04861>): depthwise 3x3 convolutions, which look at each channel by itself, and 1x1 convolutions,
//! which mix the channels, in place of full ones. A width says how many of the paper's channels there are.
//!
//! Names are those of the port that detectors of faces use, whose published weights have a quarter of the channels and leaky ReLU. Keras's
//! network is another function of the same parameters.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activate, Activation, BatchNorm2d, Conv2dConfig, ConvInit, Dropout, Layer, Linear, LinearConfig, Zeros,
    adaptive_avg_pool2d, forward_all,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with the width in hundredths, and how it is built.
const VARIANTS: [(NameInfo, usize, Form); 9] = [
    (name("mobilenet_v1_100", IMAGENET, "MobileNet"), 100, Form::Plain),
    (name("mobilenet_v1_075", IMAGENET, "MobileNet with 3/4 of the channels"), 75, Form::Plain),
    (name("mobilenet_v1_050", IMAGENET, "MobileNet with 1/2 of the channels"), 50, Form::Plain),
    (name("mobilenet_v1_025", IMAGENET, "MobileNet with 1/4 of the channels"), 25, Form::Plain),
    (
        name("mobilenet_v1_025_leaky", IMAGENET, "MobileNet with 1/4 of the channels and leaky ReLU"),
        25,
        Form::Leaky,
    ),
    (name("mobilenet_keras", IMAGENET, "MobileNet as Keras builds it"), 100, Form::Keras),
    (
        name("mobilenet_keras_075", IMAGENET, "MobileNet as Keras builds it, 3/4 of the channels"),
        75,
        Form::Keras,
    ),
    (
        name("mobilenet_keras_050", IMAGENET, "MobileNet as Keras builds it, 1/2 of the channels"),
        50,
        Form::Keras,
    ),
    (
        name("mobilenet_keras_025", IMAGENET, "MobileNet as Keras builds it, 1/4 of the channels"),
        25,
        Form::Keras,
    ),
];

/// What sets the networks of a width apart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Leaky,
    Keras,
}

/// Epsilon and momentum of Keras's batch normalizations.
const KERAS_NORM: (f64, f64) = (1e-3, 0.01);

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
    /// Images and classes. Any image size works, in Keras's network from 31 pixels; this one is for files and summaries.
    pub common: Common,
    /// Hundredths of the paper's channels: 25, 50, 75 or 100.
    pub width: usize,
    /// Whether ReLU passes a tenth of what is below 0.
    pub leaky: bool,
    /// Whether it is Keras's network: ReLU ends at 6 (unless it is leaky), zeros lie below and to the right where the image is halved, and
    /// batch normalizations add 0.001 to the variance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keras: bool,
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
        let (_, width, form) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, width, leaky: form == Form::Leaky, keras: form == Form::Keras })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.width);
        ConfigError::unless(known, "the width", self.width, "25, 50, 75 or 100")?;
        let side = self.common.input.height.min(self.common.input.width);
        ConfigError::unless(!self.keras || side >= 31, "the image size", side, "at least 31 pixels")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> MobileNetV1 {
        let Common { input, classes, dropout, .. } = self.common;
        let activation = match (self.leaky, self.keras) {
            (true, _) => Activation::LeakyRelu(0.1),
            (_, true) => Activation::Relu6,
            _ => Activation::Relu,
        };
        let norm = if self.keras { KERAS_NORM } else { (1e-5, 0.1) };
        let zeros = |keras: Zeros| if self.keras { keras } else { Zeros::Around };
        let layers = (activation, norm);
        let scaled = |channels: usize| channels * self.width / 100;
        let mut inputs = scaled(32);
        let first = Conv2dConfig::new(input.channels, inputs, 3);
        let first = Conv2dConfig { stride: 2, zeros: zeros(Zeros::Same), ..first };
        let first = Layer::Row(triple(first, layers, rng, device).into());
        let [mut stage1, stage2, stage3] = ROWS.map(|row| {
            let pairs = row.iter().map(|&(outputs, stride)| {
                let zeros = if stride == 2 { zeros(Zeros::End) } else { Zeros::Around };
                let depthwise = Conv2dConfig { stride, zeros, ..Conv2dConfig::depthwise(inputs, 3) };
                let mut pair = Vec::from(triple(depthwise, layers, rng, device));
                let mix = Conv2dConfig::new(inputs, scaled(outputs), 1);
                pair.extend(triple(mix, layers, rng, device));
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
fn triple(
    conv: Conv2dConfig,
    (activation, (epsilon, momentum)): (Activation, (f64, f64)),
    rng: &mut InitRng,
    device: &Device,
) -> [Layer; 3] {
    let conv = Conv2dConfig { init: ConvInit::HeFanOut, ..conv };
    [
        Layer::Conv(conv.init(rng, device)),
        Layer::Norm(BatchNorm2d::new(conv.outputs, rng, device).with(epsilon, momentum)),
        Layer::Activate(Activate::new(activation)),
    ]
}
