//! Cross entropy by Burn's operations.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape};

/// The cross entropy of each row of `logits` `[batch, classes]`: `[batch]`.
pub(super) fn forward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    smoothing: f64,
) -> FloatTensor<B> {
    let batch = logits.shape()[0];
    let column = Shape::new([batch, 1]);
    let logs = B::log_softmax(logits, 1);
    let of_target = B::float_gather(1, logs.clone(), B::int_reshape(targets, column));
    let likely = if smoothing == 0.0 {
        of_target
    } else {
        let of_all = B::float_mul_scalar(B::float_mean_dim(logs, 1), smoothing.into());
        B::float_add(B::float_mul_scalar(of_target, (1.0 - smoothing).into()), of_all)
    };
    B::float_reshape(B::float_neg(likely), Shape::new([batch]))
}

/// The gradient of `logits`.
pub(super) fn backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    smoothing: f64,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let [batch, classes] = logits.shape().dims::<2>();
    let column = Shape::new([batch, 1]);
    let gradient = B::float_reshape(gradient, column.clone());
    let shares = B::float_sub_scalar(B::softmax(logits, 1), (smoothing / classes as f64).into());
    let of_target = B::float_mul_scalar(gradient.clone(), (smoothing - 1.0).into());
    let targets = B::int_reshape(targets, column);
    B::float_scatter(1, B::float_mul(shares, gradient), targets, of_target, IndexingUpdateOp::Add)
}
