//! ConvNeXt (<https://arxiv.org/abs/2201.03545>): blocks of a 7x7 depthwise convolution, layer normalization and two linear layers,
//! which look at pictures as a transformer does and are convolutions all the same. Tiny to large as torchvision builds them, the
//! smaller ones as timm does.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, Reference, name_in_row, stage_in_row};
use crate::init::Draw;
use crate::layer::{
    Activation, Conv2d, Conv2dConfig, ConvInit, DropPath, Dropout, FeedForward, LayerNorm, Linear,
    LinearConfig, LinearInit, adaptive_avg_pool2d,
};
use crate::ops::{add, scale};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with whose it is, blocks of the four stages, and channels of the first; each stage has twice the channels of the one before.
const VARIANTS: [(NameInfo, Reference, [usize; 4], usize); 8] = [
    (name("convnext_atto", IMAGENET, "ConvNeXt, timm's"), Reference::Timm, [2, 2, 6, 2], 40),
    (name("convnext_femto", IMAGENET, "ConvNeXt, timm's"), Reference::Timm, [2, 2, 6, 2], 48),
    (name("convnext_pico", IMAGENET, "ConvNeXt, timm's"), Reference::Timm, [2, 2, 6, 2], 64),
    (name("convnext_nano", IMAGENET, "ConvNeXt, timm's"), Reference::Timm, [2, 2, 8, 2], 80),
    (name("convnext_tiny", IMAGENET, "ConvNeXt"), Reference::Torchvision, [3, 3, 9, 3], 96),
    (name("convnext_small", IMAGENET, "ConvNeXt"), Reference::Torchvision, [3, 3, 27, 3], 96),
    (name("convnext_base", IMAGENET, "ConvNeXt"), Reference::Torchvision, [3, 3, 27, 3], 128),
    (name("convnext_large", IMAGENET, "ConvNeXt"), Reference::Torchvision, [3, 3, 27, 3], 192),
];

const EPSILON: f64 = 1e-6;
const STD: f64 = 0.02;

/// Configuration of a [`ConvNeXt`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvNeXtConfig {
    /// Images and classes. Any image size of 32 pixels or more works; this one is for files and summaries.
    pub common: Common,
    /// Whose names and shapes the parameters have; the arithmetic is the same.
    pub reference: Reference,
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    pub width: usize,
}

/// Patches of 4x4, four stages of blocks with halvings between, mean, normalization, linear. Sizes that no power of 2 divides are
/// rounded down.
#[derive(Module, Debug)]
pub struct ConvNeXt {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    head: Head,
    width: usize,
    #[module(skip)]
    reference: Reference,
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<Block>,
}

#[derive(Module, Debug)]
struct Head {
    norm: LayerNorm,
    dropout: Dropout,
    fc: Option<Linear>,
}

#[derive(Module, Debug)]
struct Block {
    gamma: LayerScale,
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

/// A learned factor for each channel of what a block adds (<https://arxiv.org/abs/2103.17239>), starting at almost nothing.
#[derive(Module, Debug)]
enum LayerScale {
    /// `[channels]`, timm's.
    Flat(Param<Tensor<1>>),
    /// `[channels, 1, 1]`, torchvision's.
    Picture(Param<Tensor<3>>),
}

/// Two layers that see each pixel by itself.
#[derive(Module, Debug)]
enum Mlp {
    /// torchvision's.
    Linear(FeedForward),
    /// timm's.
    Conv(PointwiseConvs),
}

#[derive(Module, Debug)]
struct PointwiseConvs {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl ConvNeXtConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, reference, depths, width) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, reference, depths, width })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let within = ConfigError::unless;
        let size = self.common.input.height.min(self.common.input.width);
        within(size >= 32, "the smaller side of the images", size, "32 pixels or more for ConvNeXt")?;
        within((1..=512).contains(&self.width), "the width", self.width, "1 to 512 channels")?;
        for depth in self.depths {
            within((1..=64).contains(&depth), "the number of blocks of a stage", depth, "1 to 64")?;
        }
        let block = |n: usize| 8 * (self.width << n).pow(2);
        let weights = self.depths.iter().enumerate().map(|(n, depth)| depth * block(n)).sum();
        within(weights <= 250_000_000, "the number of weights of all blocks", weights, "250 million or fewer")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> ConvNeXt {
        let Common { input, classes, dropout, drop_path } = self.common;
        let total: usize = self.depths.iter().sum();
        let stem = (
            patches(input.channels, self.width, 4).init(rng, device),
            LayerNorm::new(self.width, EPSILON, rng, device),
        );
        let mut done = 0;
        let stages = self.depths.iter().enumerate().map(|(n, &depth)| {
            let channels = self.width << n;
            let downsample = (n > 0).then(|| {
                let norm = LayerNorm::new(channels / 2, EPSILON, rng, device);
                (norm, patches(channels / 2, channels, 2).init(rng, device))
            });
            let blocks = (done..done + depth).map(|block| {
                let drop_path = DropPath::of_block(drop_path, block, total);
                Block::new(channels, self.reference, drop_path, rng, device)
            });
            let blocks = blocks.collect();
            done += depth;
            Stage { downsample, blocks }
        });
        let stages = stages.collect();
        let features = 8 * self.width;
        let linear = LinearConfig { init: LinearInit::Normal(STD), ..LinearConfig::new(features, classes) };
        let head = Head {
            norm: LayerNorm::new(features, EPSILON, rng, device),
            dropout: Dropout::new(dropout),
            fc: (classes > 0).then(|| linear.init(rng, device)),
        };
        ConvNeXt { stem, stages, head, width: self.width, reference: self.reference }
    }
}

impl Backbone for ConvNeXt {
    fn levels(&self) -> Vec<Level> {
        (0..4).map(|n| Level { channels: self.width << n, stride: 4 << n }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let stage = &self.stages[n];
        let x = match &stage.downsample {
            Some((norm, conv)) => conv.forward(norm.forward_channels(x)),
            None => self.stem.1.forward_channels(self.stem.0.forward(x)),
        };
        stage.blocks.iter().fold(x, |x, block| block.forward(x))
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.head.norm.forward(adaptive_avg_pool2d(x, 1).flatten::<2>(1, 3));
        let x = self.head.dropout.forward(x);
        match &self.head.fc {
            Some(fc) => fc.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_in_row(parameter, 4)
    }

    fn reference_name(&self, name: String) -> String {
        if self.reference == Reference::Timm {
            return name;
        }
        let name = name.replace("head.norm.", "classifier.0.").replace("head.fc.", "classifier.2.");
        let Some(name) = name_in_row(&name) else { return name };
        let parts = [
            (".gamma", ".layer_scale"),
            (".conv_dw.", ".block.0."),
            (".norm.", ".block.2."),
            (".mlp.fc1.", ".block.3."),
            (".mlp.fc2.", ".block.5."),
        ];
        parts.iter().fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
    }
}

impl Block {
    fn new(
        channels: usize,
        reference: Reference,
        drop_path: DropPath,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let start = Draw::Constant(1e-6);
        let gamma = match reference {
            Reference::Timm => LayerScale::Flat(rng.param([channels], start, device)),
            Reference::Torchvision => LayerScale::Picture(rng.param([channels, 1, 1], start, device)),
        };
        let depthwise = Conv2dConfig { padding: 3, ..patches(channels, channels, 7) };
        let depthwise = Conv2dConfig { stride: 1, groups: channels, ..depthwise };
        let conv_dw = depthwise.init(rng, device);
        let norm = LayerNorm::new(channels, EPSILON, rng, device);
        let hidden = 4 * channels;
        let mlp = match reference {
            Reference::Timm => Mlp::Conv(PointwiseConvs {
                fc1: patches(channels, hidden, 1).init(rng, device),
                fc2: patches(hidden, channels, 1).init(rng, device),
            }),
            Reference::Torchvision => {
                Mlp::Linear(FeedForward::new(channels, hidden, LinearInit::Normal(STD), rng, device))
            }
        };
        Self { gamma, conv_dw, norm, mlp, drop_path }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.conv_dw.forward(input.clone());
        let x = match &self.mlp {
            Mlp::Linear(mlp) => {
                let x = self.norm.forward(x.permute([0, 2, 3, 1]));
                mlp.forward(x).permute([0, 3, 1, 2])
            }
            Mlp::Conv(mlp) => {
                let x = self.norm.forward_channels(x);
                mlp.fc2.forward(mlp.fc1.forward_activated(x, Activation::Gelu))
            }
        };
        let gamma = match &self.gamma {
            LayerScale::Flat(gamma) => gamma.val().unsqueeze(),
            LayerScale::Picture(gamma) => gamma.val().flatten::<1>(0, 2).unsqueeze(),
        };
        add(self.drop_path.forward(scale(x, gamma)), input, None)
    }
}

/// A convolution with bias of squares that lie side by side.
fn patches(inputs: usize, outputs: usize, side: usize) -> Conv2dConfig {
    let init = ConvInit::Normal(STD);
    Conv2dConfig { stride: side, padding: 0, bias: true, init, ..Conv2dConfig::new(inputs, outputs, side) }
}
