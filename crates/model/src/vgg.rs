//! VGG (<https://arxiv.org/abs/1409.1556>) with batch normalization as torchvision builds it: rows of 3x3 convolutions with a max pool
//! after each, and three linear layers, which hold most of the parameters.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_number, stage_layers};
use crate::layer::{
    Activate, Activation, BatchNorm2d, Conv2dConfig, ConvInit, Dropout, Layer, Linear, LinearConfig,
    LinearInit, MaxPool2d, adaptive_avg_pool2d, forward_all,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with the depth and the convolutions of the five stages.
const VARIANTS: [(NameInfo, usize, [usize; 5]); 4] = [
    (name("vgg11_bn", IMAGENET, "VGG with batch normalization"), 11, [1, 1, 2, 2, 2]),
    (name("vgg13_bn", IMAGENET, "VGG with batch normalization"), 13, [2, 2, 2, 2, 2]),
    (name("vgg16_bn", IMAGENET, "VGG with batch normalization"), 16, [2, 2, 3, 3, 3]),
    (name("vgg19_bn", IMAGENET, "VGG with batch normalization"), 19, [2, 2, 4, 4, 4]),
];

/// Channels of the five stages.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Features of the first two linear layers.
const HIDDEN: usize = 4096;

/// Height and width of what the first linear layer sees.
const SIDE: usize = 7;

/// Configuration of a [`Vgg`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VggConfig {
    /// Images of at least 32 pixels, and at most 30000 classes.
    pub common: Common,
    /// 11, 13, 16 or 19.
    pub depth: usize,
}

/// Five stages of 3x3 convolutions and a max pool, means over 7x7 parts, three linear layers.
#[derive(Module, Debug)]
pub struct Vgg {
    features: Vec<Layer>,
    classifier: (Linear, Activate, Dropout, Linear, Activate, Dropout, Option<Linear>),
    /// A stage ends after its pool.
    ends: [usize; 5],
}

impl VggConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, depth, _) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, depth })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Common { input, classes, .. } = self.common;
        let known = VARIANTS.iter().any(|variant| variant.1 == self.depth);
        ConfigError::unless(known, "the depth", self.depth, "11, 13, 16 or 19")?;
        let shorter = input.height.min(input.width);
        ConfigError::unless(shorter >= 32, "the shorter side", shorter, "at least 32 pixels")?;
        ConfigError::unless(classes <= 30_000, "the number of classes", classes, "at most 30000")
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this depth.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Vgg {
        let Common { input, classes, dropout, .. } = self.common;
        let variant = VARIANTS.iter().find(|variant| variant.1 == self.depth);
        assert!(variant.is_some(), "no VGG has depth {}", self.depth);
        let (_, _, convolutions) = *variant.unwrap_or(&VARIANTS[0]);
        let mut features = Vec::new();
        let mut inputs = input.channels;
        let stages = [0, 1, 2, 3, 4].map(|n| (convolutions[n], CHANNELS[n]));
        let ends = stages.map(|(convolutions, outputs)| {
            for _ in 0..convolutions {
                let conv = Conv2dConfig::new(inputs, outputs, 3);
                let conv = Conv2dConfig { bias: true, init: ConvInit::HeFanOut, ..conv };
                features.push(Layer::Conv(conv.init(rng, device)));
                features.push(Layer::Norm(BatchNorm2d::new(outputs, rng, device)));
                features.push(Layer::Activate(Activate::new(Activation::Relu)));
                inputs = outputs;
            }
            features.push(Layer::MaxPool(MaxPool2d::new(2, 2)));
            features.len()
        });
        let mut linear = |inputs, outputs| {
            let config = LinearConfig::new(inputs, outputs);
            LinearConfig { init: LinearInit::Normal(0.01), ..config }.init(rng, device)
        };
        let classifier = (
            linear(inputs * SIDE * SIDE, HIDDEN),
            Activate::new(Activation::Relu),
            Dropout::new(dropout),
            linear(HIDDEN, HIDDEN),
            Activate::new(Activation::Relu),
            Dropout::new(dropout),
            (classes > 0).then(|| linear(HIDDEN, classes)),
        );
        Vgg { features, classifier, ends }
    }
}

impl Backbone for Vgg {
    fn levels(&self) -> Vec<Level> {
        let levels = CHANNELS.into_iter().zip([2, 4, 8, 16, 32]);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        forward_all(stage_layers(&self.features, n, &self.ends), x)
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let (first, relu1, dropout1, second, relu2, dropout2, last) = &self.classifier;
        let x = first.forward(adaptive_avg_pool2d(x, SIDE).flatten::<2>(1, 3));
        let x = second.forward(dropout1.forward(relu1.forward(x)));
        let x = dropout2.forward(relu2.forward(x));
        match last {
            Some(last) => last.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_number(parameter, "features", &self.ends)
    }
}
