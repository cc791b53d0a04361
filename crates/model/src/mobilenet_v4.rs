//! MobileNetV4 (<https://arxiv.org/abs/2404.10518>) as timm builds its convolutional variants: inverted residual blocks with a depthwise
//! convolution before the widening, within it, at both places or at none.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activation, BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, DropPath, Dropout, Linear, LinearConfig,
    LinearInit, adaptive_avg_pool2d, relu,
};
use crate::ops::add;
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

const VARIANTS: [(NameInfo, MobileNetV4Size); 2] = [
    (name("mobilenetv4_conv_small", IMAGENET, "MobileNetV4 of convolutions"), MobileNetV4Size::ConvSmall),
    (
        name("mobilenetv4_conv_medium", (3, 256, 1000), "MobileNetV4 of convolutions, wider and deeper"),
        MobileNetV4Size::ConvMedium,
    ),
];

/// A block before its channels in are known.
#[derive(Debug, Clone, Copy)]
enum BlockRow {
    /// Kernel, stride, channels out.
    Conv(usize, usize, usize),
    /// A 3x3 convolution with stride 2 to so many channels, and a 1x1 convolution to so many.
    Fused(usize, usize),
    /// Kernels of the depthwise convolutions before and within, 0 for none; stride of the latter; channels within and out.
    Universal(usize, usize, usize, usize, usize),
}

use BlockRow::{Conv, Fused, Universal};

const SMALL: [&[BlockRow]; 5] = [
    &[Conv(3, 2, 32), Conv(1, 1, 32)],
    &[Conv(3, 2, 96), Conv(1, 1, 64)],
    &[
        Universal(5, 5, 2, 192, 96),
        Universal(0, 3, 1, 192, 96),
        Universal(0, 3, 1, 192, 96),
        Universal(0, 3, 1, 192, 96),
        Universal(0, 3, 1, 192, 96),
        Universal(3, 0, 1, 384, 96),
    ],
    &[
        Universal(3, 3, 2, 576, 128),
        Universal(5, 5, 1, 512, 128),
        Universal(0, 5, 1, 512, 128),
        Universal(0, 5, 1, 384, 128),
        Universal(0, 3, 1, 512, 128),
        Universal(0, 3, 1, 512, 128),
    ],
    &[Conv(1, 1, 960)],
];

const MEDIUM: [&[BlockRow]; 5] = [
    &[Fused(128, 48)],
    &[Universal(3, 5, 2, 192, 80), Universal(3, 3, 1, 160, 80)],
    &[
        Universal(3, 5, 2, 480, 160),
        Universal(3, 3, 1, 640, 160),
        Universal(3, 3, 1, 640, 160),
        Universal(3, 5, 1, 640, 160),
        Universal(3, 3, 1, 640, 160),
        Universal(3, 0, 1, 640, 160),
        Universal(0, 0, 1, 320, 160),
        Universal(3, 0, 1, 640, 160),
    ],
    &[
        Universal(5, 5, 2, 960, 256),
        Universal(5, 5, 1, 1024, 256),
        Universal(3, 5, 1, 1024, 256),
        Universal(3, 5, 1, 1024, 256),
        Universal(0, 0, 1, 1024, 256),
        Universal(3, 0, 1, 1024, 256),
        Universal(3, 5, 1, 512, 256),
        Universal(5, 5, 1, 1024, 256),
        Universal(0, 0, 1, 1024, 256),
        Universal(0, 0, 1, 1024, 256),
        Universal(5, 0, 1, 512, 256),
    ],
    &[Conv(1, 1, 960)],
];

/// Channels of the first convolution, of the last level, and of the features.
const STEM: usize = 32;
const LAST: usize = 960;
const HIDDEN: usize = 1280;

/// Configuration of a [`MobileNetV4`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV4Config {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// Small or medium.
    pub size: MobileNetV4Size,
}

/// MobileNetV4s without attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MobileNetV4Size {
    /// 3.8 million parameters.
    ConvSmall,
    /// 9.7 million parameters.
    ConvMedium,
}

/// 3x3 convolution, five rows of blocks, mean, 1x1 convolution, linear.
#[derive(Module, Debug)]
pub struct MobileNetV4 {
    conv_stem: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Vec<Block>>,
    conv_head: Conv2d,
    norm_head: BatchNorm2d,
    dropout: Dropout,
    classifier: Option<Linear>,
    channels: [usize; 5],
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Block {
    Conv(ConvBlock),
    Fused(FusedBlock),
    Universal(UniversalBlock),
}

#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv2d,
    bn1: BatchNorm2d,
}

#[derive(Module, Debug)]
struct FusedBlock {
    conv_exp: Conv2d,
    bn1: BatchNorm2d,
    conv_pwl: Conv2d,
    bn2: BatchNorm2d,
}

#[derive(Module, Debug)]
struct UniversalBlock {
    dw_start: Option<ConvNorm>,
    pw_exp: ConvNorm,
    dw_mid: Option<ConvNorm>,
    pw_proj: ConvNorm,
    /// Whether the input is added.
    skips: bool,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl MobileNetV4Config {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, size) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, size })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> MobileNetV4 {
        let Common { input, classes, dropout, drop_path } = self.common;
        let (rows, channels) = match self.size {
            MobileNetV4Size::ConvSmall => (SMALL, [STEM, 32, 64, 96, LAST]),
            MobileNetV4Size::ConvMedium => (MEDIUM, [STEM, 48, 80, 160, LAST]),
        };
        let conv_stem = Conv2dConfig { stride: 2, ..conv(input.channels, STEM, 3) }.init(rng, device);
        let bn1 = BatchNorm2d::new(STEM, rng, device);
        let total = rows.iter().map(|row| row.len()).sum();
        let (mut inputs, mut done) = (STEM, 0);
        let blocks = rows.map(|row| {
            let blocks = row.iter().map(|&row| {
                let drop_path = DropPath::of_block(drop_path, done, total);
                let (block, outputs) = Block::new(row, inputs, drop_path, rng, device);
                inputs = outputs;
                done += 1;
                block
            });
            blocks.collect()
        });
        let init = LinearInit::Uniform((classes as f64).sqrt().recip());
        let last = LinearConfig { init, ..LinearConfig::new(HIDDEN, classes) };
        MobileNetV4 {
            conv_stem,
            bn1,
            blocks: blocks.into(),
            conv_head: conv(LAST, HIDDEN, 1).init(rng, device),
            norm_head: BatchNorm2d::new(HIDDEN, rng, device),
            dropout: Dropout::new(dropout),
            classifier: (classes > 0).then(|| last.init(rng, device)),
            channels,
        }
    }
}

impl Backbone for MobileNetV4 {
    fn levels(&self) -> Vec<Level> {
        let levels = self.channels.into_iter().zip([2, 4, 8, 16, 32]);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let rows = match n {
            0 => return self.conv_stem.forward_normalized(x, &self.bn1, Activation::Relu),
            1..=3 => &self.blocks[n - 1..n],
            _ => &self.blocks[3..],
        };
        rows.iter().flatten().fold(x, |x, block| block.forward(x))
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.conv_head.forward(adaptive_avg_pool2d(x, 1));
        let x = self.dropout.forward(relu(self.norm_head.forward(x)).flatten(1, 3));
        match &self.classifier {
            Some(classifier) => classifier.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(
            parameter,
            &[
                &["conv_stem.", "bn1."],
                &["blocks.0."],
                &["blocks.1."],
                &["blocks.2."],
                &["blocks.3.", "blocks.4."],
            ],
        )
    }
}

impl Block {
    /// The block and its channels out.
    fn new(
        row: BlockRow,
        inputs: usize,
        drop_path: DropPath,
        rng: &mut InitRng,
        device: &Device,
    ) -> (Self, usize) {
        match row {
            Conv(kernel, stride, outputs) => {
                let conv = Conv2dConfig { stride, ..conv(inputs, outputs, kernel) }.init(rng, device);
                (Self::Conv(ConvBlock { conv, bn1: BatchNorm2d::new(outputs, rng, device) }), outputs)
            }
            Fused(expanded, outputs) => {
                let block = FusedBlock {
                    conv_exp: Conv2dConfig { stride: 2, ..conv(inputs, expanded, 3) }.init(rng, device),
                    bn1: BatchNorm2d::new(expanded, rng, device),
                    conv_pwl: conv(expanded, outputs, 1).init(rng, device),
                    bn2: BatchNorm2d::new(outputs, rng, device),
                };
                (Self::Fused(block), outputs)
            }
            Universal(before, within, stride, expanded, outputs) => {
                let mut layer = |config: Conv2dConfig| ConvNorm {
                    conv: config.init(rng, device),
                    bn: BatchNorm2d::new(config.outputs, rng, device),
                };
                let block = UniversalBlock {
                    dw_start: (before > 0).then(|| layer(depthwise(inputs, before, 1))),
                    pw_exp: layer(conv(inputs, expanded, 1)),
                    dw_mid: (within > 0).then(|| layer(depthwise(expanded, within, stride))),
                    pw_proj: layer(conv(expanded, outputs, 1)),
                    skips: stride == 1 && inputs == outputs,
                    drop_path,
                };
                (Self::Universal(block), outputs)
            }
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(block) => block.conv.forward_normalized(x, &block.bn1, Activation::Relu),
            Self::Fused(block) => {
                let x = block.conv_exp.forward_normalized(x, &block.bn1, Activation::Relu);
                block.conv_pwl.forward_normalized(x, &block.bn2, Activation::Identity)
            }
            Self::Universal(block) => block.forward(x),
        }
    }
}

impl UniversalBlock {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut x = input.clone();
        if let Some(layer) = &self.dw_start {
            x = layer.forward(x, Activation::Identity);
        }
        x = self.pw_exp.forward(x, Activation::Relu);
        if let Some(layer) = &self.dw_mid {
            x = layer.forward(x, Activation::Relu);
        }
        x = self.pw_proj.forward(x, Activation::Identity);
        if self.skips { add(self.drop_path.forward(x), input, None) } else { x }
    }
}

impl ConvNorm {
    fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.conv.forward_normalized(x, &self.bn, activation)
    }
}

fn depthwise(channels: usize, kernel: usize, stride: usize) -> Conv2dConfig {
    // He's normal over the outputs of a unit, of which a channel's own kernel has no more than its area.
    let init = ConvInit::Normal((2.0 / (kernel * kernel) as f64).sqrt());
    Conv2dConfig { init, stride, ..Conv2dConfig::depthwise(channels, kernel) }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
