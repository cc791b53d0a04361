//! EfficientNet (<https://arxiv.org/abs/1905.11946>) as torchvision builds it: inverted residual blocks with squeeze and excitation,
//! where depth, width and image size grow together from one variant to the next. Keras's is another function of the same parameters.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_number, stage_layers};
use crate::layer::{
    Activation, Conv2dConfig, ConvInit, DropPath, Dropout, Gate, InvertedResidual, Layer, Linear,
    LinearConfig, LinearInit, Zeros, adaptive_avg_pool2d, channels_of, conv_norm, forward_all,
};
use crate::zoo::{ConfigError, NameInfo, name};

/// Each name with its factors for channels and blocks; the variant `b` has number `b`.
const VARIANTS: [(NameInfo, f64, f64); 5] = [
    (name("efficientnet_b0", (3, 224, 1000), "EfficientNet, the smallest"), 1.0, 1.0),
    (name("efficientnet_b1", (3, 240, 1000), "EfficientNet, a tenth deeper"), 1.0, 1.1),
    (name("efficientnet_b2", (3, 288, 1000), "EfficientNet, deeper and wider"), 1.1, 1.2),
    (name("efficientnet_b3", (3, 300, 1000), "EfficientNet, deeper and wider"), 1.2, 1.4),
    (name("efficientnet_b4", (3, 380, 1000), "EfficientNet, deeper and wider"), 1.4, 1.8),
];

/// Keras's name of each variant, with its own image size.
const KERAS_NAMES: [NameInfo; 5] = [
    name("efficientnet_b0_keras", (3, 224, 1000), "EfficientNet as Keras builds it, the smallest"),
    name("efficientnet_b1_keras", (3, 240, 1000), "EfficientNet as Keras builds it, a tenth deeper"),
    name("efficientnet_b2_keras", (3, 260, 1000), "EfficientNet as Keras builds it, deeper and wider"),
    name("efficientnet_b3_keras", (3, 300, 1000), "EfficientNet as Keras builds it, deeper and wider"),
    name("efficientnet_b4_keras", (3, 380, 1000), "EfficientNet as Keras builds it, deeper and wider"),
];

/// Expansion, kernel, stride of the first block, channels and blocks, before they are scaled.
const GROUPS: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// A stage ends where the next group of blocks shrinks the image.
const ENDS: [usize; 5] = [2, 3, 4, 6, 8];

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-5, 0.1);
/// The same of Keras.
const KERAS_NORM: (f64, f64) = (1e-3, 0.01);

/// Configuration of an [`EfficientNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNetConfig {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// 0 to 4, for B0 to B4.
    pub scale: usize,
    /// Whether it is Keras's network: where the image is halved, the odd zero lies below and to the right, and batch normalizations add
    /// 0.001 to the variance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keras: bool,
}

/// 3x3 convolution, seven groups of blocks, 1x1 convolution, mean, linear.
#[derive(Module, Debug)]
pub struct EfficientNet {
    features: Vec<Layer>,
    classifier: (Dropout, Option<Linear>),
    channels: [usize; 5],
}

impl EfficientNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0).chain(KERAS_NAMES)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let number = Self::names().position(|info| info.name == name)?;
        Some(Self { common, scale: number % VARIANTS.len(), keras: number >= VARIANTS.len() })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.scale < VARIANTS.len(), "the scale", self.scale, "0 to 4")
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this scale.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> EfficientNet {
        let Common { input, classes, dropout, drop_path } = self.common;
        let (_, width, depth) = VARIANTS[self.scale];
        let blocks_of = |blocks: usize| (blocks as f64 * depth).ceil() as usize;
        let total = GROUPS.iter().map(|group| blocks_of(group.4)).sum();
        let mut inputs = channels_of(32, width);
        let mut done = 0;
        let (norm, zeros) = if self.keras { (KERAS_NORM, Zeros::Same) } else { (NORM, Zeros::Around) };
        let first = Conv2dConfig { stride: 2, zeros, ..conv(input.channels, inputs, 3) };
        let mut features = vec![conv_norm(first, Activation::Silu, norm, rng, device)];
        for (expansion, kernel, stride, outputs, blocks) in GROUPS {
            let outputs = channels_of(outputs, width);
            let blocks = (0..blocks_of(blocks)).map(|n| {
                let block = InvertedResidual {
                    inputs,
                    expanded: inputs * expansion,
                    outputs,
                    kernel,
                    stride: if n == 0 { stride } else { 1 },
                    zeros,
                    dilation: 1,
                    activation: Activation::Silu,
                    squeezed: Some((inputs / 4, Activation::Silu, Gate::Sigmoid)),
                    norm,
                };
                inputs = outputs;
                done += 1;
                block.init(DropPath::of_block(drop_path, done - 1, total), rng, device)
            });
            features.push(Layer::Row(blocks.collect()));
        }
        let wide = 4 * inputs;
        features.push(conv_norm(conv(inputs, wide, 1), Activation::Silu, norm, rng, device));
        let init = LinearInit::Uniform((classes as f64).sqrt().recip());
        let last = LinearConfig { init, ..LinearConfig::new(wide, classes) };
        EfficientNet {
            features,
            classifier: (Dropout::new(dropout), (classes > 0).then(|| last.init(rng, device))),
            channels: ENDS.map(|end| channels_of(GROUPS[end - 2].3, width)),
        }
    }
}

impl Backbone for EfficientNet {
    fn levels(&self) -> Vec<Level> {
        let strides = [2, 4, 8, 16, 32];
        let levels = self.channels.into_iter().zip(strides);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
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
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
