//! Batch normalization (<https://arxiv.org/abs/1502.03167>), layer normalization (<https://arxiv.org/abs/1607.06450>) and group
//! normalization (<https://arxiv.org/abs/1803.08494>).

use burn::module::{Module, Param, RunningState};
use burn::tensor::module::batch_norm;
use burn::tensor::{Device, Tensor};

use crate::init::{Draw, InitRng};
use crate::ops::{normalize, normalize_pixels, normalize_places};
use crate::trace::{self, Event};

/// Normalizes each channel: by the batch's statistics on an autodiff device, by the running ones elsewhere.
///
/// As in PyTorch, and other than in `burn::nn`, the running variance is that of a sample (divided by `n - 1`).
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// `[channels]`, starts at 1.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`, starts at 0.
    pub bias: Param<Tensor<1>>,
    /// `[channels]`, starts at 0.
    pub running_mean: RunningState<Tensor<1>>,
    /// `[channels]`, starts at 1.
    pub running_var: RunningState<Tensor<1>>,
    epsilon: f64,
    momentum: f64,
}

impl BatchNorm2d {
    /// The layer for `channels` channels on `device`, with PyTorch's epsilon of 1e-5 and momentum of 0.1.
    #[must_use]
    pub fn new(channels: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            epsilon: 1e-5,
            momentum: 0.1,
            weight: rng.param([channels], Draw::Constant(1.0), device),
            bias: rng.param([channels], Draw::Constant(0.0), device),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
        }
    }

    /// The layer with another number added to the variance, and another weight of a new batch in the running statistics.
    #[must_use]
    pub fn with(self, epsilon: f64, momentum: f64) -> Self {
        Self { epsilon, momentum, ..self }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let dims = input.dims();
        self.report(dims);
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !device.is_autodiff() {
            let mean = self.running_mean.value().to_device(&device);
            let var = self.running_var.value().to_device(&device);
            return batch_norm(input, weight, bias, mean, var, self.epsilon);
        }
        let [batch, _, height, width] = dims;
        let count = (batch * height * width) as f64;
        let normalized = normalize(input, weight, bias, self.epsilon);
        // A single value has no sample variance; PyTorch refuses it, here the statistics stay finite.
        let unbiased = normalized.variance.mul_scalar(count / (count - 1.0).max(1.0));
        follow(&self.running_mean, normalized.mean, self.momentum, &device);
        follow(&self.running_var, unbiased, self.momentum, &device);
        normalized.output
    }

    /// Tells of images of this shape.
    pub(super) fn report(&self, shape: [usize; 4]) {
        trace::report(|| Event {
            kind: "BatchNorm2d",
            param: Some(self.weight.id),
            output: shape.to_vec(),
            macs: 0,
        });
    }

    /// What it multiplies each channel with by its running statistics, and then adds to it: both `[channels]`.
    pub(super) fn scale_and_shift(&self, device: &Device) -> (Tensor<1>, Tensor<1>) {
        let mean = self.running_mean.value().to_device(device);
        let var = self.running_var.value().to_device(device);
        let scale = self.weight.val() / (var + self.epsilon).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        (scale, shift)
    }
}

fn follow(running: &RunningState<Tensor<1>>, batch: Tensor<1>, momentum: f64, device: &Device) {
    let old = running.value_sync().to_device(device);
    running.update(old.mul_scalar(1.0 - momentum).add(batch.mul_scalar(momentum)).detach());
}

/// Normalizes the last dimension of each place by its own mean and variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[features]`, starts at 1.
    pub weight: Param<Tensor<1>>,
    /// `[features]`, starts at 0.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// The layer for `features` features on `device`; `epsilon` is added to the variance.
    #[must_use]
    pub fn new(features: usize, epsilon: f64, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            weight: rng.param([features], Draw::Constant(1.0), device),
            bias: rng.param([features], Draw::Constant(0.0), device),
            epsilon,
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[…, features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.report(&input.dims());
        normalize_places(input, D - 1, self.weight.val(), self.bias.val(), self.epsilon)
    }

    /// The same over the channels of pictures.
    ///
    /// # Shapes
    ///
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward_channels(&self, input: Tensor<4>) -> Tensor<4> {
        self.report(&input.dims());
        normalize_pixels(input, self.weight.val(), self.bias.val(), self.epsilon)
    }

    fn report(&self, shape: &[usize]) {
        trace::report(|| Event {
            kind: "LayerNorm",
            param: Some(self.weight.id),
            output: shape.to_vec(),
            macs: 0,
        });
    }
}

/// Normalizes the channels of each image in groups, each group by its own mean and variance.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`, starts at 1.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`, starts at 0.
    pub bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// The layer for `channels` channels, a multiple of `groups`, on `device`, with PyTorch's epsilon of 1e-5.
    #[must_use]
    pub fn new(groups: usize, channels: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            weight: rng.param([channels], Draw::Constant(1.0), device),
            bias: rng.param([channels], Draw::Constant(0.0), device),
            groups,
            epsilon: 1e-5,
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let dims @ [batch, channels, height, width] = input.dims();
        trace::report(|| Event {
            kind: "GroupNorm",
            param: Some(self.weight.id),
            output: dims.to_vec(),
            macs: 0,
        });
        let x = input.reshape([batch, self.groups, channels / self.groups * height * width]);
        let x = x.clone() - x.mean_dim(2);
        let variance = (x.clone() * x.clone()).mean_dim(2);
        let x = (x / (variance + self.epsilon).sqrt()).reshape(dims);
        let of_channels = |param: &Param<Tensor<1>>| param.val().reshape([1, channels, 1, 1]);
        x * of_channels(&self.weight) + of_channels(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn group_norm_is_pytorchs() {
        let device = Device::flex();
        let mut norm = GroupNorm::new(2, 4, &mut InitRng::new(0), &device);
        norm.weight = Param::from_data([1.0, 2.0, 3.0, 4.0], &device);
        norm.bias = Param::from_data([0.0, 1.0, 2.0, 3.0], &device);
        let values = vec![1f32, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];
        let x = norm.forward(Tensor::from_data(TensorData::new(values, [1, 4, 1, 2]), &device));
        // torch.nn.GroupNorm(2, 4) of the same numbers
        let expected = [-1.183213, -0.507091, 1.338061, 4.042549, -1.359311, 0.167648, 3.814379, 9.107839];
        let values = x.into_data().try_to_vec::<f32>().unwrap();
        let worst = values.iter().zip(expected).map(|(a, b): (&f32, f32)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{values:?}");
    }
}
