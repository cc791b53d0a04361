//! SqueezeNet (<https://arxiv.org/abs/1602.07360>) as torchvision builds it: fire modules, which squeeze the channels with a 1x1
//! convolution and expand them with 1x1 and 3x3 ones side by side; few parameters, and no normalization.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_number, stage_layers};
use crate::layer::{
    Activate, Activation, Conv2d, Conv2dConfig, ConvInit, Dropout, Layer, MaxPool2d, adaptive_avg_pool2d,
    relu,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

const VARIANTS: [(NameInfo, SqueezeNetVersion); 2] = [
    (name("squeezenet1_0", IMAGENET, "SqueezeNet, fire modules"), SqueezeNetVersion::V1_0),
    (
        name("squeezenet1_1", IMAGENET, "SqueezeNet with less than half the computation"),
        SqueezeNetVersion::V1_1,
    ),
];

/// Channels squeezed to and expanded to of the fire modules, and a pool before a stage.
const STAGES_1_0: [&[(usize, usize)]; 3] =
    [&[(16, 128), (16, 128), (32, 256)], &[(32, 256), (48, 384), (48, 384), (64, 512)], &[(64, 512)]];
const STAGES_1_1: [&[(usize, usize)]; 3] =
    [&[(16, 128), (16, 128)], &[(32, 256), (32, 256)], &[(48, 384), (48, 384), (64, 512), (64, 512)]];

/// Configuration of a [`SqueezeNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqueezeNetConfig {
    /// Images of at least 21 pixels, and classes.
    pub common: Common,
    /// 1.0 or 1.1.
    pub version: SqueezeNetVersion,
}

/// The two SqueezeNets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SqueezeNetVersion {
    /// The paper's: 7x7 first, pools late.
    #[serde(rename = "1.0")]
    V1_0,
    /// 3x3 first, pools early.
    #[serde(rename = "1.1")]
    V1_1,
}

/// Convolution, eight fire modules in three stages, 1x1 convolution to classes, mean.
///
/// The first convolution has no padding, so that levels have up to three pixels fewer than their strides say.
#[derive(Module, Debug)]
pub struct SqueezeNet {
    features: Vec<Feature>,
    classifier: (Dropout, Option<Conv2d>),
    /// A stage ends where the next pool shrinks the image.
    ends: [usize; 4],
    channels: [usize; 4],
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Feature {
    Layer(Layer),
    Fire(Fire),
}

#[derive(Module, Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl SqueezeNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, version) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, version })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let shorter = self.common.input.height.min(self.common.input.width);
        ConfigError::unless(shorter >= 21, "the shorter side", shorter, "at least 21 pixels")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> SqueezeNet {
        let Common { input, classes, dropout, .. } = self.common;
        let (first, kernel, stages) = match self.version {
            SqueezeNetVersion::V1_0 => (96, 7, STAGES_1_0),
            SqueezeNetVersion::V1_1 => (64, 3, STAGES_1_1),
        };
        let conv1 = Conv2dConfig { stride: 2, padding: 0, ..conv(input.channels, first, kernel) };
        let mut features = vec![
            Feature::Layer(Layer::Conv(conv1.init(rng, device))),
            Feature::Layer(Layer::Activate(Activate::new(Activation::Relu))),
        ];
        let mut inputs = first;
        let (mut ends, mut channels) = ([features.len(); 4], [first; 4]);
        for (stage, fires) in stages.into_iter().enumerate() {
            features.push(Feature::Layer(Layer::MaxPool(MaxPool2d::new(3, 2).ceil())));
            for &(squeezed, expanded) in fires {
                features.push(Feature::Fire(Fire {
                    squeeze: conv(inputs, squeezed, 1).init(rng, device),
                    expand1x1: conv(squeezed, expanded / 2, 1).init(rng, device),
                    expand3x3: conv(squeezed, expanded / 2, 3).init(rng, device),
                }));
                inputs = expanded;
            }
            (ends[stage + 1], channels[stage + 1]) = (features.len(), inputs);
        }
        let last = Conv2dConfig { init: ConvInit::Normal(0.01), ..conv(inputs, classes, 1) };
        let last = (classes > 0).then(|| last.init(rng, device));
        SqueezeNet { features, classifier: (Dropout::new(dropout), last), ends, channels }
    }
}

impl Backbone for SqueezeNet {
    fn levels(&self) -> Vec<Level> {
        let levels = self.channels.into_iter().zip([2, 4, 8, 16]);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        stage_layers(&self.features, n, &self.ends).iter().fold(x, |x, feature| match feature {
            Feature::Layer(layer) => layer.forward(x),
            Feature::Fire(fire) => fire.forward(x),
        })
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let (dropout, last) = &self.classifier;
        let x = dropout.forward(x);
        let x = match last {
            Some(last) => relu(last.forward(x)),
            None => x,
        };
        adaptive_avg_pool2d(x, 1).flatten(1, 3)
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_number(parameter, "features", &self.ends)
    }
}

impl Fire {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.squeeze.forward(x));
        Tensor::cat(vec![relu(self.expand1x1.forward(x.clone())), relu(self.expand3x3.forward(x))], 1)
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { bias: true, init: ConvInit::HeUniform, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
