//! DenseNet (<https://arxiv.org/abs/1608.06993>) as torchvision builds it: each layer of a block sees what all layers before it made, and
//! adds 32 channels; between blocks a transition halves channels and size.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, Dropout, Linear, LinearConfig, LinearInit,
    adaptive_avg_pool2d, avg_pool2d_floor, max_pool2d, relu,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Each name with the depth and the layers of the four blocks.
const VARIANTS: [(NameInfo, usize, [usize; 4]); 3] = [
    (name("densenet121", IMAGENET, "DenseNet"), 121, [6, 12, 24, 16]),
    (name("densenet169", IMAGENET, "DenseNet"), 169, [6, 12, 32, 32]),
    (name("densenet201", IMAGENET, "DenseNet"), 201, [6, 12, 48, 32]),
];

/// Channels that the first convolution makes, that a layer adds, and that stand between its convolutions.
const FIRST: usize = 64;
const GROWTH: usize = 32;
const BOTTLENECK: usize = 4 * GROWTH;

/// Configuration of a [`DenseNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseNetConfig {
    /// Images of at least 29 pixels, and classes.
    pub common: Common,
    /// 121, 169 or 201.
    pub depth: usize,
}

/// 7x7 convolution, max pool, four dense blocks with transitions between, mean, linear.
#[derive(Module, Debug)]
pub struct DenseNet {
    features: Features,
    dropout: Dropout,
    classifier: Option<Linear>,
    channels: [usize; 4],
}

#[derive(Module, Debug)]
struct Features {
    conv0: Conv2d,
    norm0: BatchNorm2d,
    denseblock1: Vec<DenseLayer>,
    transition1: Transition,
    denseblock2: Vec<DenseLayer>,
    transition2: Transition,
    denseblock3: Vec<DenseLayer>,
    transition3: Transition,
    denseblock4: Vec<DenseLayer>,
    norm5: BatchNorm2d,
}

#[derive(Module, Debug)]
struct DenseLayer {
    norm1: BatchNorm2d,
    conv1: Conv2d,
    norm2: BatchNorm2d,
    conv2: Conv2d,
}

#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

impl DenseNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, depth, _) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, depth })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = VARIANTS.iter().any(|variant| variant.1 == self.depth);
        ConfigError::unless(known, "the depth", self.depth, "121, 169 or 201")?;
        let shorter = self.common.input.height.min(self.common.input.width);
        ConfigError::unless(shorter >= 29, "the shorter side", shorter, "at least 29 pixels")
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this depth.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> DenseNet {
        let Common { input, classes, dropout, .. } = self.common;
        let variant = VARIANTS.iter().find(|variant| variant.1 == self.depth);
        assert!(variant.is_some(), "no DenseNet has depth {}", self.depth);
        let (_, _, layers) = *variant.unwrap_or(&VARIANTS[0]);
        // What block `n` makes; a transition halves it.
        let made = |inputs: usize, n: usize| inputs + GROWTH * layers[n];
        let one = made(FIRST, 0);
        let two = made(one / 2, 1);
        let three = made(two / 2, 2);
        let four = made(three / 2, 3);
        let conv0 = Conv2dConfig { stride: 2, ..conv(input.channels, FIRST, 7) };
        let mut block = |inputs: usize, n: usize| -> Vec<DenseLayer> {
            (0..layers[n]).map(|layer| DenseLayer::new(inputs + GROWTH * layer, rng, device)).collect()
        };
        let [denseblock1, denseblock2, denseblock3, denseblock4] =
            [block(FIRST, 0), block(one / 2, 1), block(two / 2, 2), block(three / 2, 3)];
        let [transition1, transition2, transition3] =
            [one, two, three].map(|channels| Transition::new(channels, rng, device));
        let features = Features {
            conv0: conv0.init(rng, device),
            norm0: BatchNorm2d::new(FIRST, rng, device),
            denseblock1,
            transition1,
            denseblock2,
            transition2,
            denseblock3,
            transition3,
            denseblock4,
            norm5: BatchNorm2d::new(four, rng, device),
        };
        let init = LinearInit::Uniform((four as f64).sqrt().recip());
        let last = LinearConfig { init, ..LinearConfig::new(four, classes) };
        DenseNet {
            features,
            dropout: Dropout::new(dropout),
            classifier: (classes > 0).then(|| last.init(rng, device)),
            channels: [one, two, three, four],
        }
    }
}

impl Backbone for DenseNet {
    fn levels(&self) -> Vec<Level> {
        let [one, two, three, four] = self.channels;
        let levels = [(FIRST, 2), (one, 4), (two, 8), (three, 16), (four, 32)];
        levels.map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let features = &self.features;
        let dense = |block: &[DenseLayer], x| block.iter().fold(x, |x, layer| layer.forward(x));
        match n {
            0 => relu(features.norm0.forward(features.conv0.forward(x))),
            1 => dense(&features.denseblock1, max_pool2d(x, 3, 2, 1)),
            2 => dense(&features.denseblock2, features.transition1.forward(x)),
            3 => dense(&features.denseblock3, features.transition2.forward(x)),
            _ => {
                let x = dense(&features.denseblock4, features.transition3.forward(x));
                relu(features.norm5.forward(x))
            }
        }
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        match &self.classifier {
            Some(classifier) => classifier.forward(x),
            None => x,
        }
    }

    /// It puts channels of many layers side by side, and normalizes them before they are convolved.
    fn prefers_channels_last(&self) -> bool {
        false
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(
            parameter,
            &[
                &["features.conv0.", "features.norm0."],
                &["features.denseblock1."],
                &["features.transition1.", "features.denseblock2."],
                &["features.transition2.", "features.denseblock3."],
                &["features.transition3.", "features.denseblock4.", "features.norm5."],
            ],
        )
    }

    /// The reference counts the layers of a block from 1 and calls them `denselayer1` and so on.
    fn reference_name(&self, name: String) -> String {
        let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        if parts.len() > 2 && parts[1].starts_with("denseblock") {
            let number = parts[2].parse::<usize>().map_or(0, |number| number + 1);
            parts[2] = format!("denselayer{number}");
        }
        parts.join(".")
    }
}

impl DenseLayer {
    fn new(inputs: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            norm1: BatchNorm2d::new(inputs, rng, device),
            conv1: conv(inputs, BOTTLENECK, 1).init(rng, device),
            norm2: BatchNorm2d::new(BOTTLENECK, rng, device),
            conv2: conv(BOTTLENECK, GROWTH, 3).init(rng, device),
        }
    }

    /// What came in, and the layer's own channels.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward(relu(self.norm1.forward(input.clone())));
        let x = self.conv2.forward(relu(self.norm2.forward(x)));
        Tensor::cat(vec![input, x], 1)
    }
}

impl Transition {
    fn new(inputs: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            norm: BatchNorm2d::new(inputs, rng, device),
            conv: conv(inputs, inputs / 2, 1).init(rng, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        avg_pool2d_floor(self.conv.forward(relu(self.norm.forward(x))), 2)
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanIn, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
