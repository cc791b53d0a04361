//! Means of channels and factors for them, by Burn's operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

/// `[outer, channels]` beside `[batch, channels, pixels]`.
fn beside<B: Backend>(factors: FloatTensor<B>) -> FloatTensor<B> {
    let [outer, channels] = factors.shape().dims::<2>();
    B::float_reshape(factors, Shape::new([outer, channels, 1]))
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
    let of_images = B::float_sum_dim(B::float_mul(x, gradient), 2);
    let of_factors = if outer == 1 { B::float_sum_dim(of_images, 0) } else { of_images };
    B::float_reshape(of_factors, Shape::new([outer, channels]))
}

/// `[batch, channels]` of `[batch, channels, pixels]`.
pub(super) fn mean<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, _] = x.shape().dims::<3>();
    B::float_reshape(B::float_mean_dim(x, 2), Shape::new([batch, channels]))
}

/// The gradient of as many pixels.
pub(super) fn mean_backward<B: Backend>(gradient: FloatTensor<B>, pixels: usize) -> FloatTensor<B> {
    let [batch, channels] = gradient.shape().dims::<2>();
    let share = B::float_div_scalar(beside::<B>(gradient), (pixels as f64).into());
    B::float_expand(share, Shape::new([batch, channels, pixels]))
}
