//! ShuffleNetV2 (<https://arxiv.org/abs/1807.11164>) as torchvision builds it: each block works on half of the channels, passes the other
//! half on, and shuffles the two.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activate, Activation, BatchNorm2d, Conv2dConfig, Dropout, Layer, Linear, LinearConfig,
    adaptive_avg_pool2d, conv_norm, forward_all, max_pool2d,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with the width in hundredths, channels of the three stages, and of the last convolution.
const VARIANTS: [(NameInfo, usize, [usize; 3], usize); 4] = [
    (name("shufflenet_v2_x0_5", IMAGENET, "ShuffleNetV2, narrow"), 50, [48, 96, 192], 1024),
    (name("shufflenet_v2_x1_0", IMAGENET, "ShuffleNetV2"), 100, [116, 232, 464], 1024),
    (name("shufflenet_v2_x1_5", IMAGENET, "ShuffleNetV2, wide"), 150, [176, 352, 704], 1024),
    (name("shufflenet_v2_x2_0", IMAGENET, "ShuffleNetV2, wider"), 200, [244, 488, 976], 2048),
];

/// Channels of the first convolution.
const FIRST: usize = 24;

/// Blocks of the three stages.
const BLOCKS: [usize; 3] = [4, 8, 4];

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-5, 0.1);

/// Configuration of a [`ShuffleNetV2`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShuffleNetV2Config {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// Hundredths of the channels of the paper's middle variant: 50, 100, 150 or 200.
    pub width: usize,
}

/// 3x3 convolution, max pool, three stages of blocks, 1x1 convolution, mean, linear.
#[derive(Module, Debug)]
pub struct ShuffleNetV2 {
    conv1: Layer,
    stage2: Vec<Block>,
    stage3: Vec<Block>,
    stage4: Vec<Block>,
    conv5: Layer,
    dropout: Dropout,
    fc: Option<Linear>,
    channels: [usize; 3],
}

#[derive(Module, Debug)]
struct Block {
    /// Shrinks what is passed on; empty where it is passed on as it is.
    branch1: Vec<Layer>,
    branch2: Vec<Layer>,
}

impl ShuffleNetV2Config {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, width, ..) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, width })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.width);
        ConfigError::unless(known, "the width", self.width, "50, 100, 150 or 200")
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this width.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> ShuffleNetV2 {
        let Common { input, classes, dropout, .. } = self.common;
        let variant = VARIANTS.iter().find(|variant| variant.1 == self.width);
        assert!(variant.is_some(), "no ShuffleNetV2 has width {}", self.width);
        let (_, _, channels, last) = *variant.unwrap_or(&VARIANTS[0]);
        let conv1 = Conv2dConfig { stride: 2, ..Conv2dConfig::new(input.channels, FIRST, 3) };
        let conv1 = conv_norm(conv1, Activation::Relu, NORM, rng, device);
        let mut inputs = FIRST;
        let [stage2, stage3, stage4] = [0, 1, 2].map(|stage| {
            let outputs = channels[stage];
            let blocks = (0..BLOCKS[stage]).map(|n| {
                let block = Block::new(inputs, outputs, n == 0, rng, device);
                inputs = outputs;
                block
            });
            blocks.collect()
        });
        let conv5 = Conv2dConfig::new(inputs, last, 1);
        ShuffleNetV2 {
            conv1,
            stage2,
            stage3,
            stage4,
            conv5: conv_norm(conv5, Activation::Relu, NORM, rng, device),
            dropout: Dropout::new(dropout),
            fc: (classes > 0).then(|| LinearConfig::new(last, classes).init(rng, device)),
            channels,
        }
    }
}

impl Backbone for ShuffleNetV2 {
    fn levels(&self) -> Vec<Level> {
        let [two, three, four] = self.channels;
        let levels = [(FIRST, 4), (two, 8), (three, 16), (four, 32)];
        levels.map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let blocks = match n {
            0 => return max_pool2d(self.conv1.forward(x), 3, 2, 1),
            1 => &self.stage2,
            2 => &self.stage3,
            _ => &self.stage4,
        };
        blocks.iter().fold(x, |x, block| block.forward(x))
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = adaptive_avg_pool2d(self.conv5.forward(x), 1).flatten(1, 3);
        let x = self.dropout.forward(x);
        match &self.fc {
            Some(fc) => fc.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(parameter, &[&["conv1."], &["stage2."], &["stage3."], &["stage4."]])
    }
}

impl Block {
    fn new(inputs: usize, outputs: usize, shrinks: bool, rng: &mut InitRng, device: &Device) -> Self {
        let (half, stride) = (outputs / 2, if shrinks { 2 } else { 1 });
        let mut branch1 = Vec::new();
        let mut conv = |branch: &mut Vec<Layer>, conv: Conv2dConfig, activated: bool| {
            branch.push(Layer::Conv(conv.init(rng, device)));
            branch.push(Layer::Norm(BatchNorm2d::new(conv.outputs, rng, device)));
            if activated {
                branch.push(Layer::Activate(Activate::new(Activation::Relu)));
            }
        };
        if shrinks {
            conv(&mut branch1, Conv2dConfig { stride, ..Conv2dConfig::depthwise(inputs, 3) }, false);
            conv(&mut branch1, Conv2dConfig::new(inputs, half, 1), true);
        }
        let mut branch2 = Vec::new();
        conv(&mut branch2, Conv2dConfig::new(if shrinks { inputs } else { half }, half, 1), true);
        conv(&mut branch2, Conv2dConfig { stride, ..Conv2dConfig::depthwise(half, 3) }, false);
        conv(&mut branch2, Conv2dConfig::new(half, half, 1), true);
        Self { branch1, branch2 }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (passed, worked) = if self.branch1.is_empty() {
            let half = x.dims()[1] / 2;
            (x.clone().narrow(1, 0, half), x.narrow(1, half, half))
        } else {
            (forward_all(&self.branch1, x.clone()), x)
        };
        shuffle(Tensor::cat(vec![passed, forward_all(&self.branch2, worked)], 1))
    }
}

/// Channels of the first and the second half in turn.
fn shuffle(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let halves = x.reshape([batch, 2, channels / 2, height, width]);
    halves.swap_dims(1, 2).reshape([batch, channels, height, width])
}
