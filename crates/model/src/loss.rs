//! Losses.

use burn::tensor::activation::{log_sigmoid, log_softmax, softmax};
use burn::tensor::{Int, Tensor};

use crate::ops::cross_entropies;

/// Mean cross entropy in nats, `[1]`, with the target's probability lowered by `label_smoothing` and that share spread
/// over all classes (<https://arxiv.org/abs/1512.00567>), as PyTorch's `cross_entropy`.
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - targets: `[batch]`, each below `classes`
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, label_smoothing: f64) -> Tensor<1> {
    cross_entropies(logits, targets, label_smoothing).mean()
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

/// Mean binary cross entropy in nats over batch and classes, `[1]`: each class is a yes or no of its own. A share of `label_smoothing` of each
/// target is spread over all classes. PyTorch's `binary_cross_entropy_with_logits`, with timm's smoothing (<https://arxiv.org/abs/2110.00476>).
///
/// # Shapes
///
/// - logits: `[batch, classes]`
/// - targets: `[batch, classes]`, 0 to 1
#[must_use]
pub fn binary_cross_entropy(logits: Tensor<2>, targets: Tensor<2>, label_smoothing: f64) -> Tensor<1> {
    let [_, classes] = logits.dims();
    let targets = targets * (1.0 - label_smoothing) + label_smoothing / classes as f64;
    (log_sigmoid(-logits.clone()) + targets * logits).mean().neg()
}

/// How far a student's probabilities are from its teacher's, both softened by `temperature`: the mean of their Kullback-Leibler divergences in
/// nats times `temperature` squared, `[1]` (<https://arxiv.org/abs/1503.02531>).
///
/// # Shapes
///
/// - student, teacher: logits `[batch, classes]`; no gradient flows to the teacher's
#[must_use]
pub fn distillation(student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    let teacher = teacher / temperature;
    let (shares, logs) = (softmax(teacher.clone(), 1), log_softmax(teacher, 1));
    let apart = shares * (logs - log_softmax(student / temperature, 1));
    apart.sum_dim(1).mean() * (temperature * temperature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

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
    fn cross_entropy_and_its_gradient_are_exact_in_64_bits() {
        let device = Device::flex().autodiff();
        // 32 bits take the loops, 64 Burn's operations. More rows than a thread takes at once, and rows of no whole vectors.
        for (batch, classes) in [(2, 3), (1, 1000), (70, 1003), (5000, 10)] {
            let values = (0..batch * classes).map(|n| ((n * 7919) % 2003) as f64 / 100.0 - 10.0);
            let values =
                TensorData::new(values.collect::<Vec<_>>(), [batch, classes]).convert_dtype(DType::F32);
            let targets: Vec<i64> = (0..batch).map(|n| (n * 37 % classes) as i64).collect();
            for smoothing in [0.0, 0.1] {
                let [ours, exact] = [DType::F32, DType::F64].map(|dtype| {
                    let values = values.clone().convert_dtype(dtype);
                    let logits = Tensor::<2>::from_data(values, (&device, dtype)).require_grad();
                    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &device);
                    let loss = cross_entropy(logits.clone(), targets, smoothing);
                    let gradient = logits.grad(&loss.backward()).unwrap();
                    let list = |data: TensorData| data.convert::<f64>().try_to_vec::<f64>().unwrap();
                    [list(loss.into_data()), list(gradient.into_data())]
                });
                for (ours, exact) in ours.into_iter().zip(exact) {
                    let most = exact.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                    for (ours, exact) in ours.iter().zip(&exact) {
                        let what = format!("{ours}, not {exact}: {batch} of {classes}, {smoothing}");
                        assert!((ours - exact).abs() <= 2e-6 * most, "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_makes_the_loss_so() {
        let device = Device::flex();
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let logits = Tensor::<2>::from_floats([[1.0, odd, 3.0], [1.0, -1.0, 0.5]], &device);
            let targets = Tensor::<1, Int>::from_ints([1, 1], &device);
            let loss: f32 = cross_entropy(logits, targets, 0.0).into_scalar();
            assert!(!loss.is_finite(), "{odd}: {loss}");
        }
    }

    #[test]
    #[should_panic(expected = "target 3 of 3 classes")]
    fn a_target_that_is_no_class_is_noticed() {
        let device = Device::flex();
        let targets = Tensor::<1, Int>::from_ints([0, 3], &device);
        let _ = cross_entropy(Tensor::zeros([2, 3], &device), targets, 0.0);
    }

    #[test]
    fn binary_cross_entropy_equals_pytorchs() {
        let device = Device::flex().autodiff();
        let logits = || Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]], &device);
        let hard = || Tensor::<2>::from_floats([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], &device);
        let mixed = Tensor::<2>::from_floats([[0.25, 0.0, 0.75], [0.0, 0.6, 0.4]], &device);
        // timm 1.0.31's BinaryCrossEntropy, and PyTorch's function.
        for (targets, smoothing, expected) in
            [(hard(), 0.0, 1.181_562_9), (hard(), 0.1, 1.178_785_1), (mixed, 0.0, 1.164_896_4)]
        {
            let loss: f32 = binary_cross_entropy(logits(), targets, smoothing).into_scalar();
            assert!((loss - expected).abs() < 1e-5, "{loss}, not {expected}");
        }
        // A last layer that begins with 0 has logits of 0: there, too, the gradient is sigmoid less target.
        let zeros = Tensor::<2>::zeros([2, 3], &device).require_grad();
        let gradients = binary_cross_entropy(zeros.clone(), hard(), 0.0).backward();
        let gradient = zeros.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient, [0.5, 0.5, -0.5, 0.5, -0.5, 0.5].map(|share: f32| share / 6.0));
    }

    #[test]
    fn distillation_equals_pytorchs() {
        let device = Device::flex();
        let student = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]], &device);
        let teacher = Tensor::<2>::from_floats([[0.5, 1.0, 4.0], [0.0, 2.0, -1.0]], &device);
        // 4 · kl_div(log_softmax(student / 2), softmax(teacher / 2), reduction="batchmean").
        let loss: f32 = distillation(student.clone(), teacher, 2.0).into_scalar();
        assert!((loss - 1.229_071_9).abs() < 1e-5, "{loss}");
        let same: f32 = distillation(student.clone(), student, 3.0).into_scalar();
        assert!(same.abs() < 1e-6, "{same}");
    }

    #[test]
    fn equals_pytorch() {
        // torch.nn.functional.cross_entropy of the same values.
        assert!((loss(0.0) - 1.481_281_4).abs() < 1e-5, "{}", loss(0.0));
        assert!((loss(0.1) - 1.472_948_1).abs() < 1e-5, "{}", loss(0.1));
    }
}
