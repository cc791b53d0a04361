//! Fully connected layer.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::init::{Draw, InitRng};
use crate::trace::{self, Event};

/// Configuration of a [`Linear`] with bias.
#[derive(Debug, Clone, Copy)]
pub struct LinearConfig {
    /// Features in.
    pub inputs: usize,
    /// Features out.
    pub outputs: usize,
}

/// `output = input · weight + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`, the layout whose gradients need no copy. Files hold PyTorch's `[outputs, inputs]`:
    /// [`named_tensors`](crate::named_tensors) and [`load_tensors`](crate::load_tensors) transpose.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl LinearConfig {
    /// The layer on `device`, starting as PyTorch's: uniform within `1 / sqrt(inputs)`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Linear {
        let draw = Draw::Uniform { bound: (self.inputs as f64).sqrt().recip() };
        Linear {
            weight: rng.param([self.inputs, self.outputs], draw, device),
            bias: rng.param([self.outputs], draw, device),
        }
    }
}

impl Linear {
    /// # Shapes
    ///
    /// - input: `[batch, inputs]`
    /// - output: `[batch, outputs]`
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let output = burn::tensor::module::linear(input, self.weight.val(), Some(self.bias.val()));
        trace::report(|| {
            let [inputs, outputs] = self.weight.dims();
            Event {
                kind: "Linear",
                param: Some(self.weight.id),
                output: output.dims().to_vec(),
                macs: (inputs * outputs) as u64,
            }
        });
        output
    }
}
