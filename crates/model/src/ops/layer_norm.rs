//! Each place of `[outer, channels, inner]` over its channels: mean 0 and variance 1, times gamma plus beta, by Burn's operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::NetworkOps;

/// `x` less its mean and divided by its deviation, and one by that deviation.
fn standard<B: Backend>(x: FloatTensor<B>, epsilon: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let off = B::float_sub(x.clone(), B::float_mean_dim(x, 1));
    let variance = B::float_mean_dim(B::float_mul(off.clone(), off.clone()), 1);
    let inverse = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
    (B::float_mul(off, inverse.clone()), inverse)
}

/// A number for each channel beside `[outer, channels, inner]`.
fn of_channels<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let channels = x.shape().num_elements();
    B::float_reshape(x, Shape::new([1, channels, 1]))
}

pub(super) fn forward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let (standard, _) = standard::<B>(x, epsilon);
    B::float_add(B::float_mul(standard, of_channels::<B>(gamma)), of_channels::<B>(beta))
}

/// The gradients of `x`, of gamma and of beta.
pub(super) fn backward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    epsilon: f64,
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let shape = gamma.shape();
    let (standard, inverse) = standard::<B>(x, epsilon);
    let over_places =
        |x: FloatTensor<B>| B::float_reshape(B::float_sum_dim(B::float_sum_dim(x, 0), 2), shape.clone());
    let of_gamma = over_places(B::float_mul(gradient.clone(), standard.clone()));
    let of_beta = over_places(gradient.clone());
    let scaled = B::float_mul(gradient, of_channels::<B>(gamma));
    let along = B::float_mean_dim(B::float_mul(scaled.clone(), standard.clone()), 1);
    let mean = B::float_mean_dim(scaled.clone(), 1);
    let of_x = B::float_sub(B::float_sub(scaled, mean), B::float_mul(standard, along));
    [B::float_mul(of_x, inverse), of_gamma, of_beta]
}

/// Pixels of `x` `[batch, channels, height, width]` over their channels, as places of planes.
pub(super) fn of_planes<B: NetworkOps>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let shape @ [batch, channels, height, width] = x.shape().dims::<4>();
    let x = B::float_reshape(x, [batch, channels, height * width].into());
    B::float_reshape(B::normalize_places(x, gamma, beta, epsilon), shape.into())
}
