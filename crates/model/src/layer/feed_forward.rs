//! The two layers that a transformer's block has for each place by itself.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Activation, Linear, LinearConfig, LinearInit};
use crate::InitRng;

/// A linear layer to more features, GELU, and one back. Names are timm's.
#[derive(Module, Debug)]
pub struct FeedForward {
    fc1: Linear,
    fc2: Linear,
}

impl FeedForward {
    /// The layers for `features` features, `hidden` of them between.
    #[must_use]
    pub fn new(features: usize, hidden: usize, init: LinearInit, rng: &mut InitRng, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig { init, ..LinearConfig::new(inputs, outputs) };
        Self {
            fc1: linear(features, hidden).init(rng, device),
            fc2: linear(hidden, features).init(rng, device),
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[…, features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.fc2.forward(self.fc1.forward_activated(input, Activation::Gelu))
    }
}
