//! Two convolutions and two linear layers: good for small images, fast on a CPU.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::layer::{
    BatchNorm2d, Conv2d, Conv2dConfig, Linear, LinearConfig, adaptive_avg_pool2d, max_pool2d,
};
use crate::{InitRng, InputShape};

/// The longest side that goes into the linear layer as it is; larger images are averaged down to
/// `LARGEST / 4` after the convolutions.
const LARGEST: usize = 40;

/// Configuration of a [`SmallCnn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallCnnConfig {
    /// The images, at least 4x4.
    pub input: InputShape,
    /// Classes.
    pub classes: usize,
}

/// conv 32, conv 64, linear 128, linear.
#[derive(Module, Debug)]
pub struct SmallCnn {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    fc1: Linear,
    fc2: Linear,
}

impl SmallCnnConfig {
    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> SmallCnn {
        let conv = |inputs, outputs| Conv2dConfig { bias: true, ..Conv2dConfig::new(inputs, outputs, 3) };
        let [height, width] = match self.input.height.max(self.input.width) {
            side if side > LARGEST => [LARGEST / 4; 2],
            _ => [self.input.height / 4, self.input.width / 4],
        };
        SmallCnn {
            conv1: conv(self.input.channels, 32).init(rng, device),
            bn1: BatchNorm2d::new(32, rng, device),
            conv2: conv(32, 64).init(rng, device),
            bn2: BatchNorm2d::new(64, rng, device),
            fc1: LinearConfig { inputs: 64 * height * width, outputs: 128 }.init(rng, device),
            fc2: LinearConfig { inputs: 128, outputs: self.classes }.init(rng, device),
        }
    }
}

impl SmallCnn {
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.bn1.forward(self.conv1.forward(images)));
        let x = max_pool2d(x, 2, 2, 0);
        let x = relu(self.bn2.forward(self.conv2.forward(x)));
        let mut x = max_pool2d(x, 2, 2, 0);
        let [_, _, height, width] = x.dims();
        if height.max(width) > LARGEST / 4 {
            x = adaptive_avg_pool2d(x, LARGEST / 4);
        }
        let x = relu(self.fc1.forward(x.flatten(1, 3)));
        self.fc2.forward(x)
    }
}
