//! The ResNets for CIFAR of section 4.2 of <https://arxiv.org/abs/1512.03385>: three stages of 16, 32 and 64 channels, with
//! shortcuts that have no parameters (option A: every second pixel, zeros for the new channels).
//!
//! Names are those of the widely used PyTorch port by Yerlan Idelbayev, and so are the starting values of its
//! convolutions; its ResNet-20 has a published test error of 8.27 %.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu, s};
use serde::{Deserialize, Serialize};

use crate::layer::{BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, Linear, LinearConfig, adaptive_avg_pool2d};
use crate::{InitRng, InputShape};

/// Configuration of a [`CifarResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNetConfig {
    /// The images, about 32x32.
    pub input: InputShape,
    /// `6 n + 2`: 20, 32, 44 or 56.
    pub depth: usize,
    /// Classes.
    pub classes: usize,
}

/// 3x3 convolution, three stages of residual blocks, mean, linear.
#[derive(Module, Debug)]
pub struct CifarResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    linear: Linear,
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
    /// Whether there is a variant of this depth.
    #[must_use]
    pub fn is_known_depth(depth: usize) -> bool {
        matches!(depth, 20 | 32 | 44 | 56)
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> CifarResNet {
        let conv1 = conv(self.input.channels, 16).init(rng, device);
        let bn1 = BatchNorm2d::new(16, rng, device);
        let blocks = (self.depth - 2) / 6;
        let mut stage = |inputs: usize, outputs: usize| {
            (0..blocks)
                .map(|block| Block::new(if block == 0 { inputs } else { outputs }, outputs, rng, device))
                .collect()
        };
        let (layer1, layer2, layer3) = (stage(16, 16), stage(16, 32), stage(32, 64));
        let linear = LinearConfig { inputs: 64, outputs: self.classes }.init(rng, device);
        CifarResNet { conv1, bn1, layer1, layer2, layer3, linear }
    }
}

impl CifarResNet {
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.bn1.forward(self.conv1.forward(images)));
        for stage in [&self.layer1, &self.layer2, &self.layer3] {
            for block in stage {
                x = block.forward(x);
            }
        }
        self.linear.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3))
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
        let x = relu(self.bn1.forward(self.conv1.forward(input.clone())));
        let x = self.bn2.forward(self.conv2.forward(x));
        relu(x + self.shortcut(input))
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
