//! Losses.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Mean cross entropy in nats, `[1]`, with the target's probability lowered by `label_smoothing` and that share spread
/// over all classes (<https://arxiv.org/abs/1512.00567>), as PyTorch's `cross_entropy`.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - targets: `[batch]`, each below `classes`
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, label_smoothing: f64) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let of_target = log_probabilities.clone().gather(1, targets.unsqueeze_dim(1)).mean().neg();
    if label_smoothing == 0.0 {
        return of_target;
    }
    let of_all = log_probabilities.mean().neg();
    of_target.mul_scalar(1.0 - label_smoothing) + of_all.mul_scalar(label_smoothing)
}

/// Mean cross entropy in nats, `[1]`, of targets that are shares of classes, smoothed by `label_smoothing` as in [`cross_entropy`].
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - targets: `[batch, classes]`, each row summing to 1
#[must_use]
pub fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>, label_smoothing: f64) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let of_targets = (log_probabilities.clone() * targets).sum_dim(1).mean().neg();
    if label_smoothing == 0.0 {
        return of_targets;
    }
    let of_all = log_probabilities.mean().neg();
    of_targets.mul_scalar(1.0 - label_smoothing) + of_all.mul_scalar(label_smoothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn loss(label_smoothing: f64) -> f32 {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]], &device);
        let targets = Tensor::<1, Int>::from_ints([2, 1], &device);
        cross_entropy(logits, targets, label_smoothing).into_scalar()
    }

    #[test]
    fn shares_of_one_class_are_that_class() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]], &device);
        let soft = |targets: [[f32; 3]; 2], smoothing| -> f32 {
            let targets = Tensor::<2>::from_floats(targets, &device);
            soft_cross_entropy(logits.clone(), targets, smoothing).into_scalar()
        };
        for smoothing in [0.0, 0.1] {
            let hard = soft([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], smoothing);
            assert!((hard - loss(smoothing)).abs() < 1e-6);
        }
        // torch.nn.functional.cross_entropy with these probabilities.
        let mixed = soft([[0.25, 0.0, 0.75], [0.0, 0.6, 0.4]], 0.0);
        assert!((mixed - 1.431_281_4).abs() < 1e-5, "{mixed}");
    }

    #[test]
    fn equals_pytorch() {
        // torch.nn.functional.cross_entropy of the same values.
        assert!((loss(0.0) - 1.481_281_4).abs() < 1e-5, "{}", loss(0.0));
        assert!((loss(0.1) - 1.472_948_1).abs() < 1e-5, "{}", loss(0.1));
    }
}
