//! Two convolutions and two linear layers: good for small images, fast on a CPU.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activation, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, LinearConfig, adaptive_avg_pool2d,
    max_pool2d, relu,
};
use crate::zoo::{ConfigError, DIGITS, NameInfo, name};

/// The longest side that goes into the linear layer as it is; larger images are averaged down to
/// `LARGEST / 4` after the convolutions.
const LARGEST: usize = 40;

/// Configuration of a [`SmallCnn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallCnnConfig {
    /// Images, at least 4x4, and classes.
    pub common: Common,
}

/// conv 32, conv 64, linear 128, linear.
#[derive(Module, Debug)]
pub struct SmallCnn {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    fc1: Linear,
    dropout: Dropout,
    fc2: Option<Linear>,
}

impl SmallCnnConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        let about = "two convolutions and two linear layers, for small images";
        std::iter::once(name("small_cnn", DIGITS, about))
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        (name == "small_cnn").then_some(Self { common })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let shorter = self.common.input.height.min(self.common.input.width);
        ConfigError::unless(shorter >= 4, "the shorter side", shorter, "at least 4 pixels")
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> SmallCnn {
        let conv = |inputs, outputs| Conv2dConfig { bias: true, ..Conv2dConfig::new(inputs, outputs, 3) };
        let Common { input, classes, dropout, .. } = self.common;
        let [height, width] = match input.height.max(input.width) {
            side if side > LARGEST => [LARGEST / 4; 2],
            _ => [input.height / 4, input.width / 4],
        };
        SmallCnn {
            conv1: conv(input.channels, 32).init(rng, device),
            bn1: BatchNorm2d::new(32, rng, device),
            conv2: conv(32, 64).init(rng, device),
            bn2: BatchNorm2d::new(64, rng, device),
            fc1: LinearConfig::new(64 * height * width, 128).init(rng, device),
            dropout: Dropout::new(dropout),
            fc2: (classes > 0).then(|| LinearConfig::new(128, classes).init(rng, device)),
        }
    }
}

impl Backbone for SmallCnn {
    fn levels(&self) -> Vec<Level> {
        [(32, 1), (64, 2)].map(|(channels, stride)| Level { channels, stride }).to_vec()
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        match n {
            0 => self.conv1.forward_normalized(x, &self.bn1, Activation::Relu),
            _ => self.conv2.forward_normalized(max_pool2d(x, 2, 2, 0), &self.bn2, Activation::Relu),
        }
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let mut x = max_pool2d(x, 2, 2, 0);
        let [_, _, height, width] = x.dims();
        if height.max(width) > LARGEST / 4 {
            x = adaptive_avg_pool2d(x, LARGEST / 4);
        }
        let x = self.dropout.forward(relu(self.fc1.forward(x.flatten(1, 3))));
        match &self.fc2 {
            Some(fc2) => fc2.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(parameter, &[&["conv1.", "bn1."], &["conv2.", "bn2."]])
    }
}
