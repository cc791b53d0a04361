//! RegNetY (<https://arxiv.org/abs/2003.13678>) as torchvision builds it: residual bottlenecks with grouped 3x3 convolutions and squeeze
//! and excitation, whose widths and depths follow a line that was found best among many networks.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activation, Conv2dConfig, ConvInit, DropPath, Dropout, Gate, Layer, Linear, LinearConfig, LinearInit,
    SqueezeExcitation, adaptive_avg_pool2d, conv_norm,
};
use crate::ops::{Pointwise, add};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Blocks and channels of the four stages, and channels of a group of the 3x3 convolutions.
type Stages = ([usize; 4], [usize; 4], usize);

/// Each name with its millions of multiply-accumulates and its stages.
const VARIANTS: [(NameInfo, usize, Stages); 6] = [
    (name("regnet_y_400mf", IMAGENET, "RegNetY"), 400, ([1, 3, 6, 6], [48, 104, 208, 440], 8)),
    (name("regnet_y_800mf", IMAGENET, "RegNetY"), 800, ([1, 3, 8, 2], [64, 144, 320, 784], 16)),
    (name("regnet_y_1_6gf", IMAGENET, "RegNetY"), 1600, ([2, 6, 17, 2], [48, 120, 336, 888], 24)),
    (name("regnet_y_3_2gf", IMAGENET, "RegNetY"), 3200, ([2, 5, 13, 1], [72, 216, 576, 1512], 24)),
    (name("regnet_y_8gf", IMAGENET, "RegNetY"), 8000, ([2, 4, 10, 1], [224, 448, 896, 2016], 56)),
    (name("regnet_y_16gf", IMAGENET, "RegNetY"), 16000, ([2, 4, 11, 1], [224, 448, 1232, 3024], 112)),
];

/// Channels of the first convolution.
const STEM: usize = 32;

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-5, 0.1);

/// Configuration of a [`RegNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegNetConfig {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// Millions of multiply-accumulates for an image of 224 pixels, by which RegNets are known: 400, 800, 1600, 3200, 8000 or 16000.
    pub megaflops: usize,
}

/// 3x3 convolution, four stages of residual blocks, mean, linear.
#[derive(Module, Debug)]
pub struct RegNet {
    stem: Layer,
    trunk_output: Trunk,
    dropout: Dropout,
    fc: Option<Linear>,
    channels: [usize; 4],
}

#[derive(Module, Debug)]
struct Trunk {
    block1: Vec<Block>,
    block2: Vec<Block>,
    block3: Vec<Block>,
    block4: Vec<Block>,
}

/// A bottleneck as wide as its output, around a shortcut.
#[derive(Module, Debug)]
struct Block {
    proj: Option<Layer>,
    f: Bottleneck,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
struct Bottleneck {
    a: Layer,
    b: Layer,
    se: SqueezeExcitation,
    c: Layer,
}

impl RegNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, megaflops, _) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, megaflops })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.megaflops);
        let range = "400, 800, 1600, 3200, 8000 or 16000";
        ConfigError::unless(known, "the number of megaflops", self.megaflops, range)
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this size.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> RegNet {
        let Common { input, classes, dropout, drop_path } = self.common;
        let variant = VARIANTS.iter().find(|variant| variant.1 == self.megaflops);
        assert!(variant.is_some(), "no RegNetY has {} megaflops", self.megaflops);
        let (_, _, (blocks, channels, group)) = *variant.unwrap_or(&VARIANTS[0]);
        let total = blocks.iter().sum();
        let first = Conv2dConfig { stride: 2, ..conv(input.channels, STEM, 3) };
        let stem = conv_norm(first, Activation::Relu, NORM, rng, device);
        let (mut inputs, mut done) = (STEM, 0);
        let [block1, block2, block3, block4] = [0, 1, 2, 3].map(|stage| {
            let outputs = channels[stage];
            let blocks = (0..blocks[stage]).map(|n| {
                let stride = if n == 0 { 2 } else { 1 };
                let drop_path = DropPath::of_block(drop_path, done, total);
                let block = Block::new((inputs, outputs, group), stride, drop_path, rng, device);
                inputs = outputs;
                done += 1;
                block
            });
            blocks.collect()
        });
        let last = LinearConfig { init: LinearInit::Normal(0.01), ..LinearConfig::new(inputs, classes) };
        RegNet {
            stem,
            trunk_output: Trunk { block1, block2, block3, block4 },
            dropout: Dropout::new(dropout),
            fc: (classes > 0).then(|| last.init(rng, device)),
            channels,
        }
    }
}

impl Backbone for RegNet {
    fn levels(&self) -> Vec<Level> {
        let [one, two, three, four] = self.channels;
        let levels = [(STEM, 2), (one, 4), (two, 8), (three, 16), (four, 32)];
        levels.map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let blocks = match n {
            0 => return self.stem.forward(x),
            1 => &self.trunk_output.block1,
            2 => &self.trunk_output.block2,
            3 => &self.trunk_output.block3,
            _ => &self.trunk_output.block4,
        };
        blocks.iter().fold(x, |x, block| block.forward(x))
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
                &["stem."],
                &["trunk_output.block1."],
                &["trunk_output.block2."],
                &["trunk_output.block3."],
                &["trunk_output.block4."],
            ],
        )
    }

    /// The reference calls block 3 of `block2` `block2-3`.
    fn reference_name(&self, name: String) -> String {
        match name.split('.').nth(1) {
            Some(stage) if stage.starts_with("block") => {
                name.replacen(&format!("{stage}."), &format!("{stage}.{stage}-"), 1)
            }
            _ => name,
        }
    }
}

impl Block {
    fn new(
        (inputs, outputs, group): (usize, usize, usize),
        stride: usize,
        drop_path: DropPath,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let grouped = Conv2dConfig { stride, groups: outputs / group, ..conv(outputs, outputs, 3) };
        let f = Bottleneck {
            a: conv_norm(conv(inputs, outputs, 1), Activation::Relu, NORM, rng, device),
            b: conv_norm(grouped, Activation::Relu, NORM, rng, device),
            se: SqueezeExcitation::new(
                outputs,
                inputs / 4,
                (Activation::Relu, Gate::Sigmoid),
                ConvInit::HeFanOut,
                rng,
                device,
            ),
            c: conv_norm(conv(outputs, outputs, 1), Activation::Identity, NORM, rng, device),
        };
        let proj = Conv2dConfig { stride, ..conv(inputs, outputs, 1) };
        let shrinks = stride != 1 || inputs != outputs;
        let proj = shrinks.then(|| conv_norm(proj, Activation::Identity, NORM, rng, device));
        Self { proj, f, drop_path }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Bottleneck { a, b, se, c } = &self.f;
        let x = c.forward(se.forward(b.forward(a.forward(input.clone()))));
        let shortcut = match &self.proj {
            Some(proj) => proj.forward(input),
            None => input,
        };
        add(self.drop_path.forward(x), shortcut, Some(Pointwise::Relu))
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
