//! Means of channels and factors for them, by Burn's operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

/// `[outer, channels]` beside `[batch, channels, height, width]`.
fn beside<B: Backend>(factors: FloatTensor<B>) -> FloatTensor<B> {
    let [outer, channels] = factors.shape().dims::<2>();
    B::float_reshape(factors, Shape::new([outer, channels, 1, 1]))
}

/// `[batch, channels, pixels]` of `[batch, channels, height, width]`.
fn planes<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.shape().dims::<4>();
    B::float_reshape(x, Shape::new([batch, channels, height * width]))
}

pub(super) fn scale<B: Backend>(x: FloatTensor<B>, factors: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x, beside::<B>(factors))
}

/// The gradient of factors `[outer, channels]`.
pub(super) fn factors_backward<B: Backend>(
    x: FloatTensor<B>,
    outer: usize,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let channels = x.shape()[1];
    let of_images = B::float_sum_dim(planes::<B>(B::float_mul(x, gradient)), 2);
    let of_factors = if outer == 1 { B::float_sum_dim(of_images, 0) } else { of_images };
    B::float_reshape(of_factors, Shape::new([outer, channels]))
}

/// `[batch, channels]` of `[batch, channels, height, width]`.
pub(super) fn mean<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, ..] = x.shape().dims::<4>();
    B::float_reshape(B::float_mean_dim(planes::<B>(x), 2), Shape::new([batch, channels]))
}

/// The gradient of images of this height and width.
pub(super) fn mean_backward<B: Backend>(
    gradient: FloatTensor<B>,
    [height, width]: [usize; 2],
) -> FloatTensor<B> {
    let [batch, channels] = gradient.shape().dims::<2>();
    let share = B::float_div_scalar(beside::<B>(gradient), ((height * width) as f64).into());
    B::float_expand(share, Shape::new([batch, channels, height, width]))
}
