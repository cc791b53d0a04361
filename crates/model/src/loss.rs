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
    fn equals_pytorch() {
        // torch.nn.functional.cross_entropy of the same values.
        assert!((loss(0.0) - 1.481_281_4).abs() < 1e-5, "{}", loss(0.0));
        assert!((loss(0.1) - 1.472_948_1).abs() < 1e-5, "{}", loss(0.1));
    }
}
