//! Functions of each value, by Burn's operations.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

/// Functions of each value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pointwise {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above 0, below it `x` times this slope.
    LeakyRelu(f64),
    /// `min(max(x / 6 + 1/2, 0), 1)`.
    HardSigmoid,
    /// `x` times that.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x` times that.
    Silu,
    /// `x · Φ(x)`, exact.
    Gelu,
}

/// The function of each value of `x`.
pub(super) fn forward<B: Backend>(x: FloatTensor<B>, function: Pointwise) -> FloatTensor<B> {
    match function {
        Pointwise::Relu => B::relu(x),
        Pointwise::Relu6 => B::float_clamp(x, 0.0.into(), 6.0.into()),
        Pointwise::LeakyRelu(slope) => B::leaky_relu(x, slope.into()),
        Pointwise::HardSigmoid => hard_sigmoid::<B>(x),
        Pointwise::HardSwish => B::float_mul(x.clone(), hard_sigmoid::<B>(x)),
        Pointwise::Sigmoid => B::sigmoid(x),
        Pointwise::Silu => B::float_mul(x.clone(), B::sigmoid(x)),
        Pointwise::Gelu => B::gelu(x),
    }
}

/// The gradient of `x`.
pub(super) fn backward<B: Backend>(
    x: FloatTensor<B>,
    function: Pointwise,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let times = |gradient, factor: f64| B::float_mul_scalar(gradient, factor.into());
    match function {
        Pointwise::Relu => B::relu_backward(x, gradient),
        Pointwise::Relu6 => between::<B>(x, [0.0, 6.0], gradient),
        Pointwise::LeakyRelu(slope) => {
            let more = B::relu_backward(x, times(gradient.clone(), 1.0 - slope));
            B::float_add(times(gradient, slope), more)
        }
        Pointwise::HardSigmoid => between::<B>(x, [-3.0, 3.0], times(gradient, 1.0 / 6.0)),
        Pointwise::HardSwish => {
            let gate = hard_sigmoid::<B>(x.clone());
            let of_gate = times(B::float_mul(x.clone(), gradient.clone()), 1.0 / 6.0);
            B::float_add(B::float_mul(gate, gradient), between::<B>(x, [-3.0, 3.0], of_gate))
        }
        Pointwise::Sigmoid => B::sigmoid_backward(B::sigmoid(x), gradient),
        Pointwise::Silu => {
            let gate = B::sigmoid(x.clone());
            let of_gate = B::float_mul(x, gradient.clone());
            B::float_add(B::float_mul(gate.clone(), gradient), B::sigmoid_backward(gate, of_gate))
        }
        Pointwise::Gelu => B::gelu_backward(x, gradient),
    }
}

fn hard_sigmoid<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::hard_sigmoid(x, (1.0 / 6.0).into(), 0.5.into())
}

/// The gradient where `x` is between two numbers, 0 elsewhere.
fn between<B: Backend>(x: FloatTensor<B>, [low, high]: [f64; 2], gradient: FloatTensor<B>) -> FloatTensor<B> {
    let above = B::float_sub_scalar(x.clone(), low.into());
    let below = B::float_add_scalar(B::float_neg(x), high.into());
    B::relu_backward(above, B::relu_backward(below, gradient))
}
