//! Multi-head self-attention (<https://arxiv.org/abs/1706.03762>): each token is a mean of all, weighted by likeness.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::{Linear, LinearConfig, LinearInit};
use crate::InitRng;
use crate::ops::attend;
use crate::precision::{rounded, rounds, widened};
use crate::trace::{self, Event};

/// Query, key and value of each token by one linear layer, attention in each head, and a linear layer over all heads. Names are
/// timm's.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    /// The layer for `features` features, a multiple of `heads`.
    #[must_use]
    pub fn new(features: usize, heads: usize, init: LinearInit, rng: &mut InitRng, device: &Device) -> Self {
        let linear = |outputs| LinearConfig { init, ..LinearConfig::new(features, outputs) };
        Self { qkv: linear(3 * features).init(rng, device), proj: linear(features).init(rng, device), heads }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, tokens, features]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let dims @ [batch, tokens, features] = input.dims();
        let (heads, width) = (self.heads, features / self.heads);
        let qkv = self.qkv.forward(input);
        let output = if rounds() {
            let qkv = qkv.reshape([batch, tokens, 3, heads, width]).permute([2, 0, 3, 1, 4]);
            let qkv = qkv.reshape([3 * batch, heads, tokens, width]);
            attend_with(&qkv, None).swap_dims(1, 2).reshape(dims)
        } else {
            report([batch, heads, tokens, width]);
            attend(qkv, heads)
        };
        self.proj.forward(output)
    }
}

/// `softmax(query · keyᵀ / sqrt(width) + bias) · value`.
///
/// # Shapes
///
/// - qkv: `[3 batch, heads, tokens, width]`, the queries of all images first, then the keys, then the values
/// - bias: `[1, heads, tokens, tokens]`
/// - output: `[batch, heads, tokens, width]`
#[must_use]
pub fn attend_with(qkv: &Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let [batch, _, _, width] = qkv.dims();
    let part = |n: usize| qkv.clone().narrow(0, n * batch / 3, batch / 3);
    let (query, key, value) = (part(0), part(1), part(2));
    // Burn's own attention leaves a bias out on GPUs and rounds to 16 bits there.
    let product = |a: Tensor<4>, b: Tensor<4>| widened(rounded(a).matmul(rounded(b)), qkv.dtype());
    let scores = product(query * (width as f64).sqrt().recip(), key.transpose());
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    let output = product(softmax(scores, 3), value);
    report(output.dims());
    output
}

/// Tells of attention with outputs of this shape.
fn report(output: [usize; 4]) {
    trace::report(|| {
        let [_, heads, tokens, width] = output;
        let macs = (2 * heads * tokens * tokens * width) as u64;
        Event { kind: "Attention", param: None, output: output.to_vec(), macs }
    });
}
