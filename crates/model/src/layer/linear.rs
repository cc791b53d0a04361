//! Fully connected layer.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::Activation;
use crate::folded::arranged;
use crate::init::{Draw, InitRng};
use crate::ops::{Pointwise, affine, affine_with_function};
use crate::precision::{rounded, widened};
use crate::trace::{self, Event};

/// Configuration of a [`Linear`].
#[derive(Debug, Clone, Copy)]
pub struct LinearConfig {
    /// Features in.
    pub inputs: usize,
    /// Features out.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Starting values.
    pub init: LinearInit,
}

/// Starting values of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LinearInit {
    /// PyTorch's default: weight and bias uniform within `1 / sqrt(inputs)`.
    Default,
    /// The weight uniform within this bound, the bias 0.
    Uniform(f64),
    /// The weight normal with this standard deviation, the bias 0.
    Normal(f64),
}

/// `output = input · weight + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`, the layout whose gradients need no copy. Files hold PyTorch's `[outputs, inputs]`:
    /// [`named_tensors`](crate::named_tensors) and [`load_tensors`](crate::load_tensors) transpose.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl LinearConfig {
    /// A layer with bias and PyTorch's starting values.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, bias: true, init: LinearInit::Default }
    }

    /// The layer on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Linear {
        let (weight, bias) = match self.init {
            LinearInit::Default => {
                let draw = Draw::Uniform { bound: (self.inputs as f64).sqrt().recip() };
                (draw, draw)
            }
            LinearInit::Uniform(bound) => (Draw::Uniform { bound }, Draw::Constant(0.0)),
            LinearInit::Normal(std) => (Draw::Normal { std }, Draw::Constant(0.0)),
        };
        Linear {
            weight: rng.param([self.inputs, self.outputs], weight, device),
            bias: self.bias.then(|| rng.param([self.outputs], bias, device)),
        }
    }
}

impl Linear {
    /// # Shapes
    ///
    /// - input: `[…, inputs]`
    /// - output: `[…, outputs]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if let Some(output) = self.prepared(&input, None) {
            return output;
        }
        let dtype = input.dtype();
        let (input, weight) = (rounded(input), rounded(self.weight.val()));
        let output = match &self.bias {
            Some(bias) => affine(input, weight, rounded(bias.val())),
            None => burn::tensor::module::linear(input, weight, None),
        };
        let output = widened(output, dtype);
        self.report(&output.dims());
        output
    }

    /// The same, and the function of it.
    ///
    /// # Shapes
    ///
    /// - input: `[…, inputs]`
    /// - output: `[…, outputs]`
    pub fn forward_activated<const D: usize>(&self, input: Tensor<D>, function: Activation) -> Tensor<D> {
        if let Some(output) = self.prepared(&input, function.pointwise()) {
            return output;
        }
        match (function.pointwise(), &self.bias) {
            (Some(function), Some(bias)) if !input.device().is_autodiff() => {
                let dtype = input.dtype();
                let (input, weight) = (rounded(input), rounded(self.weight.val()));
                let output =
                    widened(affine_with_function(input, weight, rounded(bias.val()), function), dtype);
                self.report(&output.dims());
                output
            }
            _ => function.forward(self.forward(input)),
        }
    }

    /// What a prepared network gives.
    fn prepared<const D: usize>(&self, input: &Tensor<D>, function: Option<Pointwise>) -> Option<Tensor<D>> {
        let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
        let kernels = arranged(self.weight.id, &options, &input.device(), || {
            let weight = self.weight.val();
            let [inputs, outputs] = weight.dims();
            let bias =
                self.bias.as_ref().map_or_else(|| Tensor::zeros([outputs], &weight.device()), Param::val);
            (weight.transpose().reshape([outputs, inputs, 1, 1]), bias)
        })?;
        let mut shape = input.dims();
        let [inputs, outputs] = self.weight.dims();
        shape[D - 1] = outputs;
        let rows = shape[..D - 1].iter().product::<usize>();
        let output = kernels.convolve(input.clone().reshape([rows, inputs, 1, 1]), function, options);
        self.report(&shape);
        Some(output.reshape(shape))
    }

    /// Tells of outputs of this shape.
    fn report(&self, shape: &[usize]) {
        trace::report(|| {
            let [inputs, outputs] = self.weight.dims();
            let rows: usize = shape[1..shape.len() - 1].iter().product();
            Event {
                kind: "Linear",
                param: Some(self.weight.id),
                output: shape.to_vec(),
                macs: (rows * inputs * outputs) as u64,
            }
        });
    }
}
