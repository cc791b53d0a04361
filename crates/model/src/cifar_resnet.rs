//! The ResNets for CIFAR of section 4.2 of <https://arxiv.org/abs/1512.03385>: three stages of 16, 32 and 64 channels, with
//! shortcuts that have no parameters (option A: every second pixel, zeros for the new channels).
//!
//! Names are those of the widely used PyTorch port by Yerlan Idelbayev, and so are the starting values of its
//! convolutions; its ResNet-20 has a published test error of 8.27 %.

use burn::module::Module;
use burn::tensor::{Device, Tensor, s};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activation, BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, Dropout, Linear, LinearConfig,
    adaptive_avg_pool2d,
};
use crate::ops::{Pointwise, add};
use crate::zoo::{CIFAR, ConfigError, NameInfo, name};

/// Configuration of a [`CifarResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNetConfig {
    /// Images, about 32x32, and classes.
    pub common: Common,
    /// `6 n + 2`: 20, 32, 44 or 56.
    pub depth: usize,
}

const VARIANTS: [(NameInfo, usize); 4] = [
    (name("resnet20", CIFAR, "CIFAR ResNet, 3 blocks a stage"), 20),
    (name("resnet32", CIFAR, "CIFAR ResNet, 5 blocks a stage"), 32),
    (name("resnet44", CIFAR, "CIFAR ResNet, 7 blocks a stage"), 44),
    (name("resnet56", CIFAR, "CIFAR ResNet, 9 blocks a stage"), 56),
];

/// 3x3 convolution, three stages of residual blocks, mean, linear.
#[derive(Module, Debug)]
pub struct CifarResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    dropout: Dropout,
    linear: Option<Linear>,
}

#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    /// Zero channels added before and after in the shortcut.
    padding: usize,
}

impl CifarResNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, depth) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, depth })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.depth);
        ConfigError::unless(known, "the depth", self.depth, "20, 32, 44 or 56")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> CifarResNet {
        let conv1 = conv(self.common.input.channels, 16).init(rng, device);
        let bn1 = BatchNorm2d::new(16, rng, device);
        let blocks = (self.depth - 2) / 6;
        let mut stage = |inputs: usize, outputs: usize| {
            (0..blocks)
                .map(|block| Block::new(if block == 0 { inputs } else { outputs }, outputs, rng, device))
                .collect()
        };
        let (layer1, layer2, layer3) = (stage(16, 16), stage(16, 32), stage(32, 64));
        let classes = self.common.classes;
        let linear = (classes > 0).then(|| LinearConfig::new(64, classes).init(rng, device));
        CifarResNet { conv1, bn1, layer1, layer2, layer3, dropout: Dropout::new(self.common.dropout), linear }
    }
}

impl Backbone for CifarResNet {
    fn levels(&self) -> Vec<Level> {
        [(16, 1), (32, 2), (64, 4)].map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let (x, blocks) = match n {
            0 => (self.conv1.forward_normalized(x, &self.bn1, Activation::Relu), &self.layer1),
            1 => (x, &self.layer2),
            _ => (x, &self.layer3),
        };
        blocks.iter().fold(x, |x, block| block.forward(x))
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        match &self.linear {
            Some(linear) => linear.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(parameter, &[&["conv1.", "bn1.", "layer1."], &["layer2."], &["layer3."]])
    }
}

impl Block {
    fn new(inputs: usize, outputs: usize, rng: &mut InitRng, device: &Device) -> Self {
        let stride = if inputs == outputs { 1 } else { 2 };
        Self {
            conv1: Conv2dConfig { stride, ..conv(inputs, outputs) }.init(rng, device),
            bn1: BatchNorm2d::new(outputs, rng, device),
            conv2: conv(outputs, outputs).init(rng, device),
            bn2: BatchNorm2d::new(outputs, rng, device),
            padding: (outputs - inputs) / 2,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward_normalized(input.clone(), &self.bn1, Activation::Relu);
        let x = self.conv2.forward_normalized(x, &self.bn2, Activation::Identity);
        add(x, self.shortcut(input), Some(Pointwise::Relu))
    }

    fn shortcut(&self, input: Tensor<4>) -> Tensor<4> {
        if self.padding == 0 {
            return input;
        }
        let x = input.slice(s![.., .., ..;2, ..;2]);
        let [batch, _, height, width] = x.dims();
        let zeros = Tensor::zeros([batch, self.padding, height, width], &x.device());
        Tensor::cat(vec![zeros.clone(), x, zeros], 1)
    }
}

fn conv(inputs: usize, outputs: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanIn, ..Conv2dConfig::new(inputs, outputs, 3) }
}
