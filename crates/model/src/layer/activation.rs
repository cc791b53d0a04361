//! What stands between linear layers.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::ops::{Pointwise, pointwise};

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above 0, below it `x` times this slope.
    LeakyRelu(f64),
    /// `x · min(max(x / 6 + 1/2, 0), 1)` (<https://arxiv.org/abs/1905.02244>).
    HardSwish,
    /// `x · sigmoid(x)` (<https://arxiv.org/abs/1606.08415>).
    Silu,
    /// `x · Φ(x)`, exact (<https://arxiv.org/abs/1606.08415>).
    Gelu,
}

impl Activation {
    /// The function of each value of `input`.
    pub fn forward<const D: usize>(self, input: Tensor<D>) -> Tensor<D> {
        match self.pointwise() {
            Some(function) => pointwise(input, function),
            None => input,
        }
    }

    /// The function, unless it changes nothing.
    pub(super) fn pointwise(self) -> Option<Pointwise> {
        match self {
            Self::Relu => Some(Pointwise::Relu),
            Self::Relu6 => Some(Pointwise::Relu6),
            Self::LeakyRelu(slope) => Some(Pointwise::LeakyRelu(slope)),
            Self::HardSwish => Some(Pointwise::HardSwish),
            Self::Silu => Some(Pointwise::Silu),
            Self::Gelu => Some(Pointwise::Gelu),
            Self::Identity => None,
        }
    }
}

/// `max(x, 0)` of each value of `input`.
pub(crate) fn relu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    pointwise(input, Pointwise::Relu)
}

/// An activation as a layer, for networks whose layers are numbered: it has no parameters and takes a number.
#[derive(Module, Debug)]
pub struct Activate {
    #[module(skip)]
    function: Activation,
}

impl Activate {
    /// What it applies.
    #[must_use]
    pub fn function(&self) -> Activation {
        self.function
    }

    /// The layer that applies `function`.
    #[must_use]
    pub fn new(function: Activation) -> Self {
        Self { function }
    }

    /// # Shapes
    ///
    /// - input and output: the same
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.function.forward(input)
    }
}
