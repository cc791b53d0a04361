//! Operations that are faster here than in Burn on its CPU backend.
//!
//! On every other backend they are Burn's own: the trait's bodies.

#[cfg(feature = "flex")]
mod affine;
#[cfg(feature = "flex")]
mod after;
mod attention;
#[cfg(feature = "flex")]
mod attention_loops;
#[cfg(feature = "flex")]
mod channels_last;
#[cfg(feature = "flex")]
mod convolution;
#[cfg(feature = "flex")]
mod depthwise;
#[cfg(feature = "flex")]
mod depthwise_rows;
mod differentiation;
#[cfg(feature = "flex")]
mod direct;
#[cfg(feature = "flex")]
mod direct_weight;
mod entropy;
#[cfg(feature = "flex")]
mod entropy_loops;
#[cfg(feature = "flex")]
mod exponential;
#[cfg(feature = "flex")]
mod few_pixels;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod gemm;
#[cfg(feature = "flex")]
mod geometry;
mod layer_norm;
#[cfg(feature = "flex")]
mod layer_norm_loops;
#[cfg(feature = "flex")]
mod normalization;
#[cfg(feature = "flex")]
mod one_by_one;
#[cfg(feature = "flex")]
mod output;
#[cfg(feature = "flex")]
mod patches;
mod per_plane;
#[cfg(feature = "flex")]
mod per_plane_loops;
#[cfg(feature = "flex")]
mod phases;
#[cfg(feature = "flex")]
mod pieces;
#[cfg(feature = "flex")]
mod planes;
mod pointwise;
#[cfg(feature = "flex")]
mod pointwise_loops;
#[cfg(feature = "flex")]
mod pooling;
#[cfg(feature = "flex")]
mod prepared;
#[cfg(feature = "flex")]
mod products;
#[cfg(feature = "flex")]
mod scratch;
#[cfg(feature = "flex")]
mod simd;
#[cfg(feature = "flex")]
mod step_loops;
mod steps;
#[cfg(feature = "flex")]
mod sums;
mod tensors;
#[cfg(all(test, feature = "flex"))]
mod tests;
#[cfg(feature = "flex")]
mod tiles;
#[cfg(feature = "flex")]
mod transpose;
#[cfg(feature = "flex")]
mod unfolded;
#[cfg(feature = "flex")]
mod winograd;
#[cfg(feature = "flex")]
mod winograd_tiles;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, IntDType, TensorMetadata, backend_extension};
use burn::tensor::ops::ConvOptions;

use crate::{AdamWStep, SgdStep};

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::backend::Cube;
#[cfg(feature = "ndarray")]
use burn::backend::NdArray;
#[cfg(feature = "remote")]
use burn::backend::Remote;

pub(crate) use self::pointwise::Pointwise;
pub(crate) use self::tensors::{
    add, affine, affine_with_function, arrange, attend, convolve, convolve_arranged, convolve_pair,
    convolve_with_function, cross_entropies, mean_pixel, normalize, normalize_pixels, normalize_places,
    pointwise, pool, scale,
};

/// Windows that a pooling sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Height and width, and so in all.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Pixels on each side that never win.
    pub(crate) padding: [usize; 2],
    /// Whether the last windows may reach over the lower and right edge.
    pub(crate) ceil: bool,
}

/// How two convolutions with arranged kernels follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// The shapes of their kernels before those were arranged.
    pub(crate) shapes: [[usize; 4]; 2],
    pub(crate) functions: [Option<Pointwise>; 2],
    pub(crate) options: [ConvOptions<2>; 2],
}

/// What networks compute, with Burn's own operations as a start.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Remote: cfg(feature = "remote"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm")),
    Autodiff
)]
pub(crate) trait NetworkOps: Backend {
    /// The convolution of `x` `[batch, inputs, height, width]` with `weight` `[outputs, inputs / groups, kernel, kernel]`.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, None, options)
    }

    /// The same plus `bias` `[outputs]`.
    fn convolve_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, Some(bias), options)
    }

    /// The function of that, for answers: without gradients.
    fn convolve_with_function(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Pointwise,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::pointwise(Self::convolve_with_bias(x, weight, bias, options), function)
    }

    /// Kernels `[outputs, inputs / groups, kernel, kernel]` as [`NetworkOps::convolve_arranged`] reads them, of whatever shape.
    fn arrange(weight: FloatTensor<Self>, _options: ConvOptions<2>) -> FloatTensor<Self> {
        weight
    }

    /// The convolution with arranged kernels, which were of this shape, plus `bias`, or the function of that; for answers: without gradients.
    fn convolve_arranged(
        x: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        _shape: [usize; 4],
        bias: FloatTensor<Self>,
        function: Option<Pointwise>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        match function {
            Some(function) => Self::convolve_with_function(x, kernels, bias, function, options),
            None => Self::convolve_with_bias(x, kernels, bias, options),
        }
    }

    /// Two such convolutions, the second of what the first gives.
    fn convolve_pair(
        x: FloatTensor<Self>,
        first: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        second: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        pair: Pair,
    ) -> FloatTensor<Self> {
        in_turn::<Self>(x, [first, second], [first_bias, second_bias], pair)
    }

    /// The gradient of its input.
    fn convolve_x_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, gradient, options)
    }

    /// The gradient of its weight.
    fn convolve_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_weight_backward(x, weight, gradient, options)
    }

    /// The gradient of its bias.
    fn convolve_bias_backward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::conv2d_bias_backward(x, bias, gradient)
    }

    /// Each channel of `x` `[batch, channels, height, width]` with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`; and the mean and the variance
    /// that it had.
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        // Statistics of values that already lie around 0 are free of the first mean's rounding error, which deep networks would amplify.
        let center = [3, 2, 0].iter().fold(x.clone(), |x, dim| Self::float_mean_dim(x, *dim));
        let normalized = Self::batch_norm_train(Self::float_sub(x, center.clone()), gamma, beta, epsilon);
        let center = Self::float_reshape(center, normalized.mean.shape());
        (normalized.output, Self::float_add(normalized.mean, center), normalized.variance)
    }

    /// The gradients of its input, of `gamma` and of `beta`.
    fn normalize_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let of = Self::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
        (of.x_grad, of.gamma_grad, of.beta_grad)
    }

    /// `x` `[rows, inputs]` times `weight` `[inputs, outputs]` plus `bias` `[outputs]`.
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear(x, weight, Some(bias))
    }

    /// The function of that, for answers: without gradients.
    fn affine_with_function(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Pointwise,
    ) -> FloatTensor<Self> {
        Self::pointwise(Self::affine(x, weight, bias), function)
    }

    /// The gradient of its input.
    fn affine_x_backward(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear_x_backward(weight, gradient)
    }

    /// The gradient of its weight.
    fn affine_weight_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear_weight_backward(x, gradient)
    }

    /// The gradient of its bias.
    fn affine_bias_backward(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear_bias_backward(gradient)
    }

    /// Each place of `x` `[outer, channels, inner]` over its channels with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`.
    fn normalize_places(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::forward::<Self>(x, gamma, beta, epsilon)
    }

    /// The gradients of its input, of `gamma` and of `beta`.
    fn normalize_places_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [of_x, of_gamma, of_beta] = layer_norm::backward::<Self>(x, gamma, epsilon, gradient);
        (of_x, of_gamma, of_beta)
    }

    /// Each pixel of `x` `[batch, channels, height, width]` over its channels with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`.
    fn normalize_pixels(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::of_planes::<Self>(x, gamma, beta, epsilon)
    }

    /// What each token sees in so many heads, of queries, keys and values side by side: `[batch, tokens, features]` of `[batch, tokens, 3 · features]`.
    fn attend(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        attention::forward::<Self>(&qkv, heads)
    }

    /// The gradient of its input.
    fn attend_backward(
        qkv: FloatTensor<Self>,
        heads: usize,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        attention::backward::<Self>(&qkv, heads, gradient)
    }

    /// Each channel of `x` `[batch, channels, height, width]` times its factor, `[batch or 1, channels]`.
    fn scale(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self> {
        per_plane::scale::<Self>(x, factors)
    }

    /// The gradient of its factors, `[outer, channels]`.
    fn scale_factors_backward(
        x: FloatTensor<Self>,
        outer: usize,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        per_plane::factors_backward::<Self>(x, outer, gradient)
    }

    /// The mean of each channel of `x` `[batch, channels, height, width]`: `[batch, channels]`.
    fn mean_pixel(x: FloatTensor<Self>) -> FloatTensor<Self> {
        per_plane::mean::<Self>(x)
    }

    /// The gradient of its input, images of this height and width.
    fn mean_pixel_backward(gradient: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        per_plane::mean_backward::<Self>(gradient, size)
    }

    /// `x` plus `y` of the same shape, or the function of that.
    fn add(x: FloatTensor<Self>, y: FloatTensor<Self>, function: Option<Pointwise>) -> FloatTensor<Self> {
        function.into_iter().fold(Self::float_add(x, y), Self::pointwise)
    }

    /// The highest value of each window of `x` `[batch, channels, height, width]`.
    fn pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let Window { kernel, stride, padding, ceil } = window;
        Self::max_pool2d(x, kernel, stride, padding, [1, 1], ceil)
    }

    /// The same, and where in its channel each is.
    fn pool_with_places(x: FloatTensor<Self>, window: Window) -> (FloatTensor<Self>, IntTensor<Self>) {
        let Window { kernel, stride, padding, ceil } = window;
        let pooled = Self::max_pool2d_with_indices(x, kernel, stride, padding, [1, 1], ceil, IntDType::I32);
        (pooled.output, pooled.indices)
    }

    /// The function of each value of `x`.
    fn pointwise(x: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self> {
        pointwise::forward::<Self>(x, function)
    }

    /// The gradient of its input.
    fn pointwise_backward(
        x: FloatTensor<Self>,
        function: Pointwise,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        pointwise::backward::<Self>(x, function, gradient)
    }

    /// The gradient of its input.
    fn pool_backward(
        x: FloatTensor<Self>,
        window: Window,
        gradient: FloatTensor<Self>,
        places: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let Window { kernel, stride, padding, ceil } = window;
        Self::max_pool2d_with_indices_backward(x, kernel, stride, padding, [1, 1], ceil, gradient, places)
            .x_grad
    }

    /// The cross entropy in nats of each row of `logits` `[batch, classes]` and its target, `[batch]`, with a share of the target spread over all classes: `[batch]`.
    fn cross_entropies(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        entropy::forward::<Self>(logits, targets, smoothing)
    }

    /// The gradient of its logits.
    fn cross_entropies_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f64,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        entropy::backward::<Self>(logits, targets, smoothing, gradient)
    }

    /// The weight and the velocity after a step of SGD.
    fn step_of_sgd(
        weight: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: SgdStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        steps::sgd::<Self>(weight, velocity, gradient, step).into()
    }

    /// The weight and its two moments after a step of AdamW.
    fn step_of_adam_w(
        weight: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        steps::adam_w::<Self>(weight, [first, second], gradient, step).into()
    }
}

/// Two convolutions with arranged kernels, one after the other.
fn in_turn<B: NetworkOps>(
    x: FloatTensor<B>,
    [first, second]: [FloatTensor<B>; 2],
    [first_bias, second_bias]: [FloatTensor<B>; 2],
    Pair { shapes, functions, options: [of_first, of_second] }: Pair,
) -> FloatTensor<B> {
    let x = B::convolve_arranged(x, first, shapes[0], first_bias, functions[0], of_first);
    B::convolve_arranged(x, second, shapes[1], second_bias, functions[1], of_second)
}

#[cfg(feature = "ndarray")]
impl NetworkOps for NdArray {}

#[cfg(feature = "remote")]
impl NetworkOps for Remote {}

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
impl NetworkOps for Cube {}
