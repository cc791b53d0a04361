//! Attention of 32-bit numbers on the CPU: some queries of one head at a time, whose likeness to all keys stays in the cache. Nothing of the size of
//! all pairs of tokens is kept for the gradient; it is computed again.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};

use super::exponential::exp;
use super::gemm::{Strides, multiply};
use super::output::by_parts;
use super::scratch::of_length;
use super::simd::wide;
use super::sums::{highest, total};

type FlexTensor = FloatTensor<Flex>;

/// Pairs of tokens that are looked at together.
const PAIRS: usize = 1 << 16;

/// Images from which on each thread takes whole ones.
const MANY: usize = 4;

/// Parts that smaller batches are cut into, for each image.
const PARTS: usize = 8;

/// Sizes of `qkv` `[batch, tokens, 3 · features]`.
#[derive(Clone, Copy)]
struct Heads {
    batch: usize,
    tokens: usize,
    features: usize,
    heads: usize,
}

impl Heads {
    fn new(qkv: &FlexTensor, heads: usize) -> Option<Self> {
        let shape = qkv.layout().shape();
        if qkv.dtype() != DType::F32 || shape.num_elements() == 0 {
            return None;
        }
        let [batch, tokens, features] = shape.dims::<3>();
        Some(Self { batch, tokens, features: features / 3, heads })
    }

    fn width(self) -> usize {
        self.features / self.heads
    }

    /// What likeness is multiplied with.
    fn scale(self) -> f32 {
        (self.width() as f32).sqrt().recip()
    }

    /// Queries that are looked at together.
    fn together(self) -> usize {
        (PAIRS / self.tokens).clamp(16, self.tokens.max(16))
    }

    /// Rows of `qkv`.
    fn rows(self) -> Strides {
        Strides::rows(3 * self.features)
    }
}

/// Queries, keys and values of one head of an image, and what comes after them.
fn parts(qkv: &[f32], of: Heads, head: usize) -> [&[f32]; 3] {
    [0, 1, 2].map(|n| &qkv[n * of.features + head * of.width()..])
}

/// How far `count` queries look at each token of their image: `[count, tokens]`, each row with the sum 1.
fn look(query: &[f32], key: &[f32], count: usize, of: Heads, shares: &mut [f32]) {
    let shape = [count, of.width(), of.tokens];
    multiply(
        shape,
        (query, of.rows()),
        (key, of.rows().transposed()),
        (shares, Strides::rows(of.tokens)),
        false,
    );
    wide(
        #[inline(always)]
        || {
            for row in shares.chunks_exact_mut(of.tokens) {
                softmax(row, of.scale());
            }
        },
    );
}

/// Exponentials of a row times `scale`, divided by their sum.
#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let highest = highest(row);
    for x in row.iter_mut() {
        *x = exp((*x - highest) * scale);
    }
    let inverse = total([row], |[x]| x).recip();
    for x in row {
        *x *= inverse;
    }
}

pub(super) fn forward(qkv: &FlexTensor, heads: usize) -> Option<FlexTensor> {
    let of = Heads::new(qkv, heads)?;
    let qkv = qkv.to_contiguous();
    let qkv = qkv.as_slice::<f32>()?;
    let image = of.tokens * of.features;
    let out = if of.batch >= MANY {
        by_parts(of.batch * image, image, Vec::new, |shares, n, room| {
            let out = room.zeros();
            see(&qkv[n * 3 * image..][..3 * image], 0, of, out, shares);
            out
        })
    } else {
        let many = of.tokens.div_ceil(PARTS);
        let images = qkv.chunks_exact(3 * image).map(|qkv| {
            by_parts(image, many * of.features, Vec::new, |shares, n, room| {
                let out = room.zeros();
                see(qkv, n * many, of, out, shares);
                out
            })
        });
        images.collect::<Vec<_>>().concat()
    };
    Some(FlexTensor::from_data(TensorData::new(out, [of.batch, of.tokens, of.features])))
}

/// What tokens of an image see, from the token `first` on: `[some tokens, features]`.
fn see(qkv: &[f32], first: usize, of: Heads, out: &mut [f32], shares: &mut Vec<f32>) {
    let together = of.together();
    for head in 0..of.heads {
        let [query, key, value] = parts(qkv, of, head);
        for (block, out) in out.chunks_mut(together * of.features).enumerate() {
            let count = out.len() / of.features;
            let query = &query[(first + block * together) * 3 * of.features..];
            let shares = of_length(shares, count * of.tokens);
            look(query, key, count, of, shares);
            let shape = [count, of.tokens, of.width()];
            let out = (&mut out[head * of.width()..], Strides::rows(of.features));
            multiply(shape, (shares, Strides::rows(of.tokens)), (value, of.rows()), out, false);
        }
    }
}

pub(super) fn backward(qkv: &FlexTensor, heads: usize, gradient: &FlexTensor) -> Option<FlexTensor> {
    let of = Heads::new(qkv, heads)?;
    let (qkv, gradient) = (qkv.to_contiguous(), gradient.to_contiguous());
    let (qkv, gradient) = (qkv.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let image = of.tokens * of.features;
    let of_qkv = by_parts(3 * of.batch * image, 3 * image, Default::default, |scratch, n, room| {
        let of_qkv = room.zeros();
        let (qkv, gradient) = (&qkv[n * 3 * image..][..3 * image], &gradient[n * image..][..image]);
        (0..of.heads).for_each(|head| head_backward(qkv, gradient, of, head, of_qkv, scratch));
        of_qkv
    });
    Some(FlexTensor::from_data(TensorData::new(of_qkv, [of.batch, of.tokens, 3 * of.features])))
}

/// The gradient of one head of an image.
fn head_backward(
    qkv: &[f32],
    gradient: &[f32],
    of: Heads,
    head: usize,
    of_qkv: &mut [f32],
    [shares, of_shares]: &mut [Vec<f32>; 2],
) {
    let Heads { tokens, features, .. } = of;
    let (width, together) = (of.width(), of.together());
    let [query, key, value] = parts(qkv, of, head);
    let [at_query, at_key, at_value] = [0, 1, 2].map(|n| n * features + head * width);
    for first in (0..tokens).step_by(together) {
        let count = together.min(tokens - first);
        let query = &query[first * 3 * features..];
        let gradient = (&gradient[first * features + head * width..], Strides::rows(features));
        let (shares, of_shares) = (of_length(shares, count * tokens), of_length(of_shares, count * tokens));
        look(query, key, count, of, shares);
        let pairs = Strides::rows(tokens);
        let of_value = (&mut of_qkv[at_value..], of.rows());
        multiply([tokens, count, width], (shares, pairs.transposed()), gradient, of_value, true);
        let values = (value, of.rows().transposed());
        multiply([count, width, tokens], gradient, values, (of_shares, pairs), false);
        wide(
            #[inline(always)]
            || {
                for (shares, of_shares) in shares.chunks_exact(tokens).zip(of_shares.chunks_exact_mut(tokens))
                {
                    through_softmax(shares, of_shares, of.scale());
                }
            },
        );
        let of_scores = (&*of_shares, pairs);
        let of_query = (&mut of_qkv[first * 3 * features + at_query..], of.rows());
        multiply([count, tokens, width], of_scores, (key, of.rows()), of_query, false);
        let of_key = (&mut of_qkv[at_key..], of.rows());
        let of_scores = (&*of_shares, pairs.transposed());
        multiply([tokens, count, width], of_scores, (query, of.rows()), of_key, true);
    }
}

/// The gradient of a row's likenesses in place of that of its shares.
#[inline(always)]
fn through_softmax(shares: &[f32], of_shares: &mut [f32], scale: f32) {
    let along = total([shares, of_shares], |[share, of_share]| share * of_share);
    for (of_share, share) in of_shares.iter_mut().zip(shares) {
        *of_share = scale * share * (*of_share - along);
    }
}
