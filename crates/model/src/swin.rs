//! Swin transformer (<https://arxiv.org/abs/2103.14030>) as torchvision builds it: attention within windows of 7x7 tokens, which every
//! other block shifts by half, on a pyramid that halves three times, so that work grows with the picture and not with its square.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, name_in_row, stage_in_row};
use crate::layer::{
    Conv2d, Conv2dConfig, DropPath, Dropout, FeedForward, LayerNorm, Linear, LinearConfig, LinearInit,
    WindowAttention, Windows, adaptive_avg_pool2d, fill_up,
};
use crate::ops::add;
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with blocks of the four stages, features of the first and its heads; each stage has twice as many of both as the one before.
const VARIANTS: [(NameInfo, [usize; 4], usize, usize); 3] = [
    (name("swin_t", IMAGENET, "Swin transformer"), [2, 2, 6, 2], 96, 3),
    (name("swin_s", IMAGENET, "Swin transformer"), [2, 2, 18, 2], 96, 3),
    (name("swin_b", IMAGENET, "Swin transformer"), [2, 2, 18, 2], 128, 4),
];

const EPSILON: f64 = 1e-5;
const NORMAL: LinearInit = LinearInit::Normal(0.02);

/// Configuration of a [`Swin`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwinConfig {
    /// Images and classes. Any image size of 4 pixels or more works; this one is for files and summaries.
    pub common: Common,
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Features of the first stage; each further one has twice as many.
    pub width: usize,
    /// Heads of the first stage; each further one has twice as many.
    pub heads: usize,
    /// Side of a window in tokens.
    pub window: usize,
}

/// Patches of 4x4, four stages of blocks with halvings between, normalization, mean, linear. Image sizes that 4 does not divide are
/// rounded down, uneven maps are filled up with zeros.
#[derive(Module, Debug)]
pub struct Swin {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    norm: LayerNorm,
    dropout: Dropout,
    head: Option<Linear>,
    width: usize,
    window: usize,
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Merge>,
    blocks: Vec<Block>,
}

/// Each 2x2 tokens become one.
#[derive(Module, Debug)]
struct Merge {
    norm: LayerNorm,
    reduction: Linear,
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: FeedForward,
    drop_path: DropPath,
}

impl SwinConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, depths, width, heads) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, depths, width, heads, window: 7 })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let within = ConfigError::unless;
        let size = self.common.input.height.min(self.common.input.width);
        within(size >= 4, "the smaller side of the images", size, "4 pixels or more for Swin")?;
        within((1..=512).contains(&self.width), "the width", self.width, "1 to 512 features")?;
        let divides = self.heads > 0 && self.width.is_multiple_of(self.heads);
        within(divides, "the number of heads", self.heads, "a divisor of the width")?;
        within((2..=32).contains(&self.window), "the side of a window", self.window, "2 to 32 tokens")?;
        for depth in self.depths {
            within((1..=64).contains(&depth), "the number of blocks of a stage", depth, "1 to 64")?;
        }
        let block = |n: usize| 12 * (self.width << n).pow(2);
        let weights = self.depths.iter().enumerate().map(|(n, depth)| depth * block(n)).sum();
        within(weights <= 250_000_000, "the number of weights of all blocks", weights, "250 million or fewer")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Swin {
        let Common { input, classes, dropout, drop_path } = self.common;
        let total: usize = self.depths.iter().sum();
        let stem = Conv2dConfig {
            stride: 4,
            padding: 0,
            bias: true,
            ..Conv2dConfig::new(input.channels, self.width, 4)
        };
        let stem = (stem.init(rng, device), LayerNorm::new(self.width, EPSILON, rng, device));
        let mut done = 0;
        let stages = self.depths.iter().enumerate().map(|(n, &depth)| {
            let width = self.width << n;
            let downsample = (n > 0).then(|| Merge {
                norm: LayerNorm::new(2 * width, EPSILON, rng, device),
                reduction: LinearConfig { bias: false, ..linear(2 * width, width) }.init(rng, device),
            });
            let blocks = (0..depth).map(|block| Block {
                norm1: LayerNorm::new(width, EPSILON, rng, device),
                attn: WindowAttention::new(
                    (width, self.heads << n),
                    self.window,
                    block % 2 == 1,
                    NORMAL,
                    rng,
                    device,
                ),
                norm2: LayerNorm::new(width, EPSILON, rng, device),
                mlp: FeedForward::new(width, 4 * width, NORMAL, rng, device),
                drop_path: DropPath::of_block(drop_path, done + block, total),
            });
            let blocks = blocks.collect();
            done += depth;
            Stage { downsample, blocks }
        });
        let stages = stages.collect();
        let features = 8 * self.width;
        Swin {
            stem,
            stages,
            norm: LayerNorm::new(features, EPSILON, rng, device),
            dropout: Dropout::new(dropout),
            head: (classes > 0).then(|| linear(features, classes).init(rng, device)),
            width: self.width,
            window: self.window,
        }
    }
}

impl Backbone for Swin {
    fn levels(&self) -> Vec<Level> {
        (0..4).map(|n| Level { channels: self.width << n, stride: 4 << n }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let stage = &self.stages[n];
        let x = match &stage.downsample {
            Some(merge) => merge.forward(x.permute([0, 2, 3, 1])),
            None => self.stem.1.forward(self.stem.0.forward(x).permute([0, 2, 3, 1])),
        };
        let [_, height, width, _] = x.dims();
        let windows = Windows::new(self.window, height, width, &x.device());
        let x = stage.blocks.iter().fold(x, |x, block| block.forward(x, &windows));
        x.permute([0, 3, 1, 2])
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = adaptive_avg_pool2d(self.norm.forward_channels(x), 1).flatten(1, 3);
        let x = self.dropout.forward(x);
        match &self.head {
            Some(head) => head.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_in_row(parameter, 4)
    }

    fn reference_name(&self, name: String) -> String {
        let Some(name) = name_in_row(&name) else { return name };
        // Between convolution and norm torchvision's row has a permutation, between linear layers GELU and dropout.
        let parts = [("features.0.1.", "features.0.2."), (".mlp.fc1.", ".mlp.0."), (".mlp.fc2.", ".mlp.3.")];
        parts.iter().fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
    }
}

impl Merge {
    /// `[batch, height, width, features]` to `[batch, height / 2, width / 2, 2 features]`, rounded up.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, features] = x.dims();
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let x = fill_up(x, 2 * rows, 2 * columns).reshape([batch, rows, 2, columns, 2, features]);
        let x = x.permute([0, 1, 3, 4, 2, 5]).reshape([batch, rows, columns, 4 * features]);
        self.reduction.forward(self.norm.forward(x))
    }
}

impl Block {
    /// `[batch, height, width, features]` to the same.
    fn forward(&self, x: Tensor<4>, windows: &Windows) -> Tensor<4> {
        let attended = self.attn.forward(self.norm1.forward(x.clone()), windows);
        let x = add(self.drop_path.forward(attended), x, None);
        add(self.drop_path.forward(self.mlp.forward(self.norm2.forward(x.clone()))), x, None)
    }
}

fn linear(inputs: usize, outputs: usize) -> LinearConfig {
    LinearConfig { init: NORMAL, ..LinearConfig::new(inputs, outputs) }
}
