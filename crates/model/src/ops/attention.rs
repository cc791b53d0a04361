//! Attention in each head by Burn's operations: `softmax(query · keyᵀ / sqrt(width)) · value`.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

/// Queries, keys or values, by their number, of `[batch, tokens, 3 · features]`: `[batch, heads, tokens, width]`.
fn part<B: Backend>(qkv: FloatTensor<B>, heads: usize, n: usize) -> FloatTensor<B> {
    let [batch, tokens, features] = qkv.shape().dims::<3>();
    let features = features / 3;
    let begin = n * features;
    let slices = [Slice::from(0..batch), Slice::from(0..tokens), Slice::from(begin..begin + features)];
    let shape = Shape::new([batch, tokens, heads, features / heads]);
    B::float_swap_dims(B::float_reshape(B::float_slice(qkv, &slices), shape), 1, 2)
}

/// Heads side by side again: `[batch, tokens, features]`.
fn joined<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, heads, tokens, width] = x.shape().dims::<4>();
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::new([batch, tokens, heads * width]))
}

fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_swap_dims(x, 2, 3)
}

/// Queries, keys, values, how far each token looks at each, and what likeness is multiplied with.
struct Looks<B: Backend> {
    parts: [FloatTensor<B>; 3],
    shares: FloatTensor<B>,
    scale: f64,
}

fn look<B: Backend>(qkv: &FloatTensor<B>, heads: usize) -> Looks<B> {
    let parts = [0, 1, 2].map(|n| part::<B>(qkv.clone(), heads, n));
    let [query, key, _] = parts.clone();
    let scale = (query.shape()[3] as f64).sqrt().recip();
    let scaled = B::float_mul_scalar(query, scale.into());
    let shares = B::softmax(B::float_matmul(scaled, transposed::<B>(key)), 3);
    Looks { parts, shares, scale }
}

/// What each token sees: `[batch, tokens, features]` of `qkv` `[batch, tokens, 3 · features]`.
pub(super) fn forward<B: Backend>(qkv: &FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let Looks { parts: [_, _, value], shares, .. } = look::<B>(qkv, heads);
    joined::<B>(B::float_matmul(shares, value))
}

/// The gradient of `qkv`.
pub(super) fn backward<B: Backend>(
    qkv: &FloatTensor<B>,
    heads: usize,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let Looks { parts: [query, key, value], shares, scale } = look::<B>(qkv, heads);
    let [batch, tokens, features] = gradient.shape().dims::<3>();
    let shape = Shape::new([batch, tokens, heads, features / heads]);
    let gradient = B::float_swap_dims(B::float_reshape(gradient, shape), 1, 2);
    let of_value = B::float_matmul(transposed::<B>(shares.clone()), gradient.clone());
    let of_shares = B::float_matmul(gradient, transposed::<B>(value));
    let along = B::float_sum_dim(B::float_mul(of_shares.clone(), shares.clone()), 3);
    let of_scores = B::float_mul(shares, B::float_sub(of_shares, along));
    let of_scores = B::float_mul_scalar(of_scores, scale.into());
    let of_query = B::float_matmul(of_scores.clone(), key);
    let of_key = B::float_matmul(transposed::<B>(of_scores), query);
    B::float_cat([of_query, of_key, of_value].map(joined::<B>).into(), 2)
}
