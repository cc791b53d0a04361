//! MobileNetV3 (<https://arxiv.org/abs/1905.02244>) as torchvision builds it: inverted residual blocks that were searched for speed on
//! phones, some with squeeze and excitation, the later ones with hard-swish.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_number, stage_layers};
use crate::layer::{
    Activate, Activation, Conv2dConfig, ConvInit, DropPath, Dropout, Gate, InvertedResidual, Layer, Linear,
    LinearConfig, LinearInit, Zeros, adaptive_avg_pool2d, channels_of, conv_norm, forward_all,
};
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

const VARIANTS: [(NameInfo, MobileNetV3Size); 2] = [
    (name("mobilenet_v3_small", IMAGENET, "MobileNetV3 for the slowest devices"), MobileNetV3Size::Small),
    (name("mobilenet_v3_large", IMAGENET, "MobileNetV3"), MobileNetV3Size::Large),
];

/// Kernel, channels within and out, whether channels are weighted, whether hard-swish stands in place of ReLU, stride.
type BlockRow = (usize, usize, usize, bool, bool, usize);

const SMALL: [BlockRow; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

const LARGE: [BlockRow; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-3, 0.01);

/// Configuration of a [`MobileNetV3`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV3Config {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// Small or large.
    pub size: MobileNetV3Size,
    /// Whether the last stage keeps its size and sees further instead: stride 16 in place of 32, for segmentation.
    #[serde(default)]
    pub dilated: bool,
}

/// The two MobileNetV3s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MobileNetV3Size {
    /// 2.5 million parameters.
    Small,
    /// 5.5 million parameters.
    Large,
}

/// 3x3 convolution, blocks, 1x1 convolution, mean, two linear layers.
#[derive(Module, Debug)]
pub struct MobileNetV3 {
    features: Vec<Layer>,
    classifier: (Linear, Activate, Dropout, Option<Linear>),
    /// A stage ends where the next layer shrinks the image.
    ends: [usize; 5],
    channels: [usize; 5],
    dilated: bool,
}

impl MobileNetV3Config {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, size) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, size, dilated: false })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> MobileNetV3 {
        let Common { classes, dropout, .. } = self.common;
        let (hidden, ends, channels) = match self.size {
            MobileNetV3Size::Small => (1024, [1, 2, 4, 9, 13], [16, 16, 24, 48, 576]),
            MobileNetV3Size::Large => (1280, [2, 4, 7, 13, 17], [16, 24, 40, 112, 960]),
        };
        let features = self.features(rng, device);
        let linear = |inputs, outputs| LinearConfig {
            init: LinearInit::Normal(0.01),
            ..LinearConfig::new(inputs, outputs)
        };
        let classifier = (
            linear(channels[4], hidden).init(rng, device),
            Activate::new(Activation::HardSwish),
            Dropout::new(dropout),
            (classes > 0).then(|| linear(hidden, classes).init(rng, device)),
        );
        MobileNetV3 { features, classifier, ends, channels, dilated: self.dilated }
    }

    /// The layers before the mean.
    pub(crate) fn features(&self, rng: &mut InitRng, device: &Device) -> Vec<Layer> {
        let Common { input, drop_path, .. } = self.common;
        let rows: &[BlockRow] = match self.size {
            MobileNetV3Size::Small => &SMALL,
            MobileNetV3Size::Large => &LARGE,
        };
        // The last block that halves begins the last stage.
        let last_stage = rows.iter().rposition(|row| row.5 == 2).unwrap_or(0);
        let first = Conv2dConfig { stride: 2, ..conv(input.channels, 16, 3) };
        let mut features = vec![conv_norm(first, Activation::HardSwish, NORM, rng, device)];
        let mut inputs = 16;
        for (n, &(kernel, expanded, outputs, weighted, hard_swish, stride)) in rows.iter().enumerate() {
            let (stride, dilation) = if self.dilated && n >= last_stage { (1, 2) } else { (stride, 1) };
            let squeezed = (channels_of(expanded / 4, 1.0), Activation::Relu, Gate::HardSigmoid);
            let block = InvertedResidual {
                inputs,
                expanded,
                outputs,
                kernel,
                stride,
                zeros: Zeros::Around,
                dilation,
                activation: if hard_swish { Activation::HardSwish } else { Activation::Relu },
                squeezed: weighted.then_some(squeezed),
                norm: NORM,
            };
            features.push(block.init(DropPath::of_block(drop_path, n, rows.len()), rng, device));
            inputs = outputs;
        }
        let wide = 6 * inputs;
        features.push(conv_norm(conv(inputs, wide, 1), Activation::HardSwish, NORM, rng, device));
        features
    }
}

impl Backbone for MobileNetV3 {
    fn levels(&self) -> Vec<Level> {
        let strides = [2, 4, 8, 16, if self.dilated { 16 } else { 32 }];
        let levels = self.channels.into_iter().zip(strides);
        levels.map(|(channels, stride)| Level { channels, stride }).collect()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        forward_all(stage_layers(&self.features, n, &self.ends), x)
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let (hidden, activate, dropout, last) = &self.classifier;
        let x = hidden.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        let x = dropout.forward(activate.forward(x));
        match last {
            Some(last) => last.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_number(parameter, "features", &self.ends)
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputShape;

    #[test]
    fn dilation_keeps_the_size_of_the_last_stage() {
        let (device, input) = (Device::flex(), InputShape { channels: 3, height: 64, width: 64 });
        for size in [MobileNetV3Size::Small, MobileNetV3Size::Large] {
            let config = MobileNetV3Config { common: Common::new(input, 5), size, dilated: true };
            let network = config.init(&mut InitRng::new(0), &device);
            let maps = network.features(Tensor::ones([1, 3, 64, 64], &device));
            for (map, level) in maps.iter().zip(network.levels()) {
                assert_eq!(map.dims(), [1, level.channels, 64 / level.stride, 64 / level.stride]);
            }
            assert_eq!(maps[4].dims()[2], 4);
        }
    }
}
