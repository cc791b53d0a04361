//! Channels weighted by what the whole picture shows (<https://arxiv.org/abs/1709.01507>).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Activation, Conv2d, Conv2dConfig, ConvInit, adaptive_avg_pool2d};
use crate::InitRng;
use crate::ops::{Pointwise, scale};

/// Mean over the picture, two 1x1 convolutions, a weight from 0 to 1 a channel. Names are torchvision's.
#[derive(Module, Debug)]
pub struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gate: Gate,
}

/// What makes weights of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gate {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x / 6 + 1/2, 0), 1)`.
    HardSigmoid,
}

impl SqueezeExcitation {
    /// The layer for `channels` channels, `squeezed` of them between the convolutions.
    #[must_use]
    pub fn new(
        channels: usize,
        squeezed: usize,
        (activation, gate): (Activation, Gate),
        init: ConvInit,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let conv =
            |inputs, outputs| Conv2dConfig { bias: true, init, ..Conv2dConfig::new(inputs, outputs, 1) };
        Self {
            fc1: conv(channels, squeezed).init(rng, device),
            fc2: conv(squeezed, channels).init(rng, device),
            activation,
            gate,
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = adaptive_avg_pool2d(input.clone(), 1);
        let x = self.fc1.forward_activated(x, self.activation);
        let gate = match self.gate {
            Gate::Sigmoid => Pointwise::Sigmoid,
            Gate::HardSigmoid => Pointwise::HardSigmoid,
        };
        scale(input, self.fc2.forward_with(x, gate).flatten(1, 3))
    }
}
