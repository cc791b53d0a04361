//! The operations on tensors of any backend.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor};

use super::{NetworkOps, Pair, Pointwise, Window};

/// The cross-correlation of `x` `[batch, inputs, height, width]` with `weight` `[outputs, inputs / groups, kernel, kernel]`:
/// `[batch, outputs, height', width']`.
pub(crate) fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    if !fits(&x, weight.dims(), &options) {
        // Burn says what is wrong.
        return conv2d(x, weight, bias, options);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::convolve_with_bias(x, weight, bias.into_dispatch(), options),
        None => Dispatch::convolve(x, weight, options),
    })
}

/// The function of a convolution with a bias.
pub(crate) fn convolve_with_function(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    function: Pointwise,
    options: ConvOptions<2>,
) -> Tensor<4> {
    if !fits(&x, weight.dims(), &options) {
        return conv2d(x, weight, Some(bias), options);
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::convolve_with_function(x, weight, bias, function, options))
}

/// Kernels `[outputs, inputs / groups, kernel, kernel]` as [`convolve_arranged`] takes them.
pub(crate) fn arrange(weight: Tensor<4>, options: ConvOptions<2>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::arrange(weight.into_dispatch(), options))
}

/// The convolution with arranged kernels, which were of this shape, plus `bias`, or the function of that.
pub(crate) fn convolve_arranged(
    x: Tensor<4>,
    (kernels, shape): (Tensor<4>, [usize; 4]),
    bias: Tensor<1>,
    function: Option<Pointwise>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    assert!(fits(&x, shape, &options), "as many channels as kernels see");
    let (x, kernels, bias) = (x.into_dispatch(), kernels.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::convolve_arranged(x, kernels, shape, bias, function, options))
}

/// Two such convolutions, the second of what the first gives.
pub(crate) fn convolve_pair(
    x: Tensor<4>,
    [first, second]: [Tensor<4>; 2],
    [first_bias, second_bias]: [Tensor<1>; 2],
    pair: Pair,
) -> Tensor<4> {
    let inputs = pair.shapes[1][1] * pair.options[1].groups;
    let follow = inputs == pair.shapes[0][0] && fits(&x, pair.shapes[0], &pair.options[0]);
    assert!(follow, "as many channels as kernels see");
    let (first, first_bias) = (first.into_dispatch(), first_bias.into_dispatch());
    let (second, second_bias) = (second.into_dispatch(), second_bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::convolve_pair(
        x.into_dispatch(),
        first,
        first_bias,
        second,
        second_bias,
        pair,
    ))
}

/// Whether channels are as the options say.
fn fits(x: &Tensor<4>, [outputs, seen, ..]: [usize; 4], options: &ConvOptions<2>) -> bool {
    let inputs = x.dims()[1];
    inputs == seen * options.groups && outputs.is_multiple_of(options.groups)
}

/// What [`normalize`] gives.
pub(crate) struct Normalized {
    /// As the input.
    pub(crate) output: Tensor<4>,
    /// `[channels]`, without gradients.
    pub(crate) mean: Tensor<1>,
    /// `[channels]`, divided by the number of values, without gradients.
    pub(crate) variance: Tensor<1>,
}

/// Each channel of `x` `[batch, channels, height, width]` with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`.
pub(crate) fn normalize(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Normalized {
    let channels = [x.dims()[1]];
    assert_eq!((gamma.dims(), beta.dims()), (channels, channels), "as many weights as channels");
    let (output, mean, variance) =
        Dispatch::normalize(x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch(), epsilon);
    Normalized {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// `x` `[…, inputs]` times `weight` `[inputs, outputs]` plus `bias` `[outputs]`.
pub(crate) fn affine<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let (x, shape) = rows(x, &weight, &bias);
    Tensor::<2>::from_dispatch(Dispatch::affine(x, weight.into_dispatch(), bias.into_dispatch()))
        .reshape(shape)
}

/// The function of that, without gradients.
pub(crate) fn affine_with_function<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    function: Pointwise,
) -> Tensor<D> {
    let (x, shape) = rows(x, &weight, &bias);
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    Tensor::<2>::from_dispatch(Dispatch::affine_with_function(x, weight, bias, function)).reshape(shape)
}

/// `x` as a matrix, and the shape of what a layer makes of it.
fn rows<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
) -> (FloatTensor<Dispatch>, [usize; D]) {
    let ([inputs, outputs], mut shape) = (weight.dims(), x.dims());
    let fits = (shape[D - 1], bias.dims()) == (inputs, [outputs]);
    assert!(fits, "as many features as the weight has, and as many biases");
    shape[D - 1] = outputs;
    let rows = shape[..D - 1].iter().product::<usize>();
    (x.reshape([rows, inputs]).into_dispatch(), shape)
}

/// Each place of `x` over the channels of dimension `dim` with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`.
pub(crate) fn normalize_places<const D: usize>(
    x: Tensor<D>,
    dim: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let shape = x.dims();
    assert_eq!((gamma.dims(), beta.dims()), ([shape[dim]], [shape[dim]]), "as many weights as channels");
    let [outer, inner] = [&shape[..dim], &shape[dim + 1..]].map(|dims| dims.iter().product::<usize>());
    let x = x.reshape([outer, shape[dim], inner]).into_dispatch();
    let out = Dispatch::normalize_places(x, gamma.into_dispatch(), beta.into_dispatch(), epsilon);
    Tensor::<3>::from_dispatch(out).reshape(shape)
}

/// Each pixel of `x` `[batch, channels, height, width]` over its channels with mean 0 and variance 1, times `gamma` plus `beta`, both `[channels]`.
pub(crate) fn normalize_pixels(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<4> {
    let channels = [x.dims()[1]];
    assert_eq!((gamma.dims(), beta.dims()), (channels, channels), "as many weights as channels");
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::normalize_pixels(x, gamma, beta, epsilon))
}

/// What each token sees in so many heads, of queries, keys and values side by side: `[batch, tokens, features]` of `[batch, tokens, 3 · features]`.
pub(crate) fn attend(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    assert!(qkv.dims()[2].is_multiple_of(3 * heads), "queries, keys and values of each head");
    Tensor::from_dispatch(Dispatch::attend(qkv.into_dispatch(), heads))
}

/// Each channel of `x` `[batch, channels, height, width]` times its factor, `[batch or 1, channels]`.
pub(crate) fn scale(x: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    let ([batch, channels, ..], [outer, of]) = (x.dims(), factors.dims());
    assert!(of == channels && (outer == 1 || outer == batch), "a factor for each channel");
    Tensor::from_dispatch(Dispatch::scale(x.into_dispatch(), factors.into_dispatch()))
}

/// The mean of each channel of `x` `[batch, channels, height, width]`: `[batch, channels, 1, 1]`.
pub(crate) fn mean_pixel(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, ..] = x.dims();
    Tensor::<2>::from_dispatch(Dispatch::mean_pixel(x.into_dispatch())).reshape([batch, channels, 1, 1])
}

/// `x` plus `y` of the same shape, or the function of that.
pub(crate) fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>, function: Option<Pointwise>) -> Tensor<D> {
    assert_eq!(x.dims(), y.dims(), "terms of one shape");
    Tensor::from_dispatch(Dispatch::add(x.into_dispatch(), y.into_dispatch(), function))
}

/// The highest value of each window of `x` `[batch, channels, height, width]`.
pub(crate) fn pool(x: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::pool(x.into_dispatch(), window))
}

/// The cross entropy in nats of each row of `logits` `[batch, classes]` and its target, with a share of the target spread over all classes.
pub(crate) fn cross_entropies(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    assert_eq!(logits.dims()[0], targets.dims()[0], "a target for each row");
    let losses = Dispatch::cross_entropies(logits.into_dispatch(), targets.into_dispatch(), smoothing);
    Tensor::from_dispatch(losses)
}

/// The function of each value of `x`.
pub(crate) fn pointwise<const D: usize>(x: Tensor<D>, function: Pointwise) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::pointwise(x.into_dispatch(), function))
}
