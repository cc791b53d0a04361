//! Dropout, and paths left out (<https://arxiv.org/abs/1603.09382>).

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::noise;

/// On an autodiff device, sets each value to 0 with probability `rate` and scales the others up; elsewhere it does nothing.
#[derive(Module, Debug)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// `rate` is 0 or more and below 1.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// # Shapes
    ///
    /// - input and output: the same
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let shape = input.dims();
        drop(input, self.rate, shape)
    }
}

/// On an autodiff device, sets whole images of a batch to 0 with probability `rate` and scales the others up: their residual path
/// is left out. Elsewhere it does nothing.
#[derive(Module, Debug)]
pub struct DropPath {
    rate: f64,
}

impl DropPath {
    /// `rate` is 0 or more and below 1.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// Of block `n` of `count`, where the rate grows from 0 at the first to `rate` at the last.
    #[must_use]
    pub fn of_block(rate: f64, n: usize, count: usize) -> Self {
        Self::new(rate * n as f64 / (count.max(2) - 1) as f64)
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, …]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut shape = [1; D];
        shape[0] = input.dims()[0];
        drop(input, self.rate, shape)
    }
}

/// Keeps what a mask of `shape` keeps.
fn drop<const D: usize>(input: Tensor<D>, rate: f64, shape: [usize; D]) -> Tensor<D> {
    let device = input.device();
    if rate == 0.0 || !device.is_autodiff() {
        return input;
    }
    let scale = (1.0 - rate).recip() as f32;
    let draws = noise::draws(shape.iter().product());
    let mask: Vec<f32> = draws.into_iter().map(|draw| if draw < rate { 0.0 } else { scale }).collect();
    input * Tensor::from_data(TensorData::new(mask, shape), &device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn dropout_keeps_the_mean_and_repeats_with_the_step() {
        let ones = Tensor::<2>::ones([100, 100], &Device::flex().autodiff());
        let dropped = |step| {
            noise::of_step(7, step);
            values(Dropout::new(0.25).forward(ones.clone()))
        };
        let first = dropped(1);
        assert!(first.iter().all(|&value| value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
        assert!((first.iter().sum::<f32>() / 1e4 - 1.0).abs() < 0.02);
        assert_eq!(first, dropped(1));
        assert_ne!(first, dropped(2));
    }

    #[test]
    fn whole_images_are_dropped_and_only_while_learning() {
        noise::of_step(7, 1);
        let device = Device::flex();
        let learning = Tensor::<4>::ones([64, 2, 2, 2], &device.clone().autodiff());
        let images = values(DropPath::new(0.5).forward(learning));
        let kinds: Vec<f32> = images.chunks(8).map(|image| image.iter().sum()).collect();
        assert!(kinds.iter().all(|&sum| sum == 0.0 || sum == 16.0));
        assert!(kinds.contains(&0.0) && kinds.contains(&16.0));
        let images = Tensor::<4>::ones([64, 2, 2, 2], &device);
        assert_eq!(values(DropPath::new(0.5).forward(images.clone())), values(images));
    }
}
