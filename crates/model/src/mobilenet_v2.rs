//! MobileNetV2 (<https://arxiv.org/abs/1801.04381>) as torchvision builds it: inverted residual blocks, which widen the image,
//! look at each channel by itself, and narrow the image again without an activation.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_number, stage_layers};
use crate::layer::{
    Activation, BatchNorm2d, Conv2dConfig, ConvInit, DropPath, Dropout, Layer, Linear, LinearConfig,
    LinearInit, Residual, adaptive_avg_pool2d, conv_norm, forward_all,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

const NAME: NameInfo = name("mobilenet_v2", IMAGENET, "MobileNetV2, inverted residual blocks");

/// Expansion, channels, blocks, and stride of the first block.
const GROUPS: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// A stage ends where the next layer shrinks the image.
const ENDS: [usize; 5] = [2, 4, 7, 14, 18];

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-5, 0.1);

/// Configuration of a [`MobileNetV2`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV2Config {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
}

/// 3x3 convolution, 17 blocks, 1x1 convolution, mean, linear.
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    features: Vec<Layer>,
    classifier: (Dropout, Option<Linear>),
}

impl MobileNetV2Config {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        std::iter::once(NAME)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        (name == NAME.name).then_some(Self { common })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> MobileNetV2 {
        let Common { input, classes, dropout, drop_path } = self.common;
        let first = Conv2dConfig { stride: 2, ..conv(input.channels, 32, 3) };
        let mut features = vec![conv_norm(first, Activation::Relu6, NORM, rng, device)];
        let total = GROUPS.iter().map(|group| group.2).sum();
        let mut inputs = 32;
        for (expansion, outputs, blocks, stride) in GROUPS {
            for n in 0..blocks {
                let stride = if n == 0 { stride } else { 1 };
                let drop_path = DropPath::of_block(drop_path, features.len() - 1, total);
                features.push(block(inputs, outputs, (expansion, stride), drop_path, rng, device));
                inputs = outputs;
            }
        }
        features.push(conv_norm(conv(inputs, 1280, 1), Activation::Relu6, NORM, rng, device));
        let last = LinearConfig { init: LinearInit::Normal(0.01), ..LinearConfig::new(1280, classes) };
        let last = (classes > 0).then(|| last.init(rng, device));
        MobileNetV2 { features, classifier: (Dropout::new(dropout), last) }
    }
}

impl Backbone for MobileNetV2 {
    fn levels(&self) -> Vec<Level> {
        let levels = [(16, 2), (24, 4), (32, 8), (96, 16), (320, 32)];
        levels.map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        forward_all(stage_layers(&self.features, n, &ENDS), x)
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = forward_all(stage_layers(&self.features, ENDS.len(), &ENDS), x);
        let (dropout, last) = &self.classifier;
        let x = dropout.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        match last {
            Some(last) => last.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_number(parameter, "features", &ENDS)
    }

    /// The reference calls the layers of a block `conv`.
    fn reference_name(&self, name: String) -> String {
        name.replace(".block.", ".conv.")
    }
}

/// 1x1 to more channels (left out without expansion), depthwise 3x3, 1x1.
fn block(
    inputs: usize,
    outputs: usize,
    (expansion, stride): (usize, usize),
    drop_path: DropPath,
    rng: &mut InitRng,
    device: &Device,
) -> Layer {
    let expanded = inputs * expansion;
    let mut block = Vec::new();
    if expansion != 1 {
        block.push(conv_norm(conv(inputs, expanded, 1), Activation::Relu6, NORM, rng, device));
    }
    let depthwise = Conv2dConfig { groups: expanded, stride, ..conv(expanded, expanded, 3) };
    block.push(conv_norm(depthwise, Activation::Relu6, NORM, rng, device));
    block.push(Layer::Conv(conv(expanded, outputs, 1).init(rng, device)));
    block.push(Layer::Norm(BatchNorm2d::new(outputs, rng, device)));
    Layer::Residual(Residual { block, skips: stride == 1 && inputs == outputs, drop_path })
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
