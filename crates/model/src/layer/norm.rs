//! Batch normalization (<https://arxiv.org/abs/1502.03167>).

use burn::module::{Module, Param, RunningState};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{DType, Device, Tensor};

use crate::init::{Draw, InitRng};
use crate::trace::{self, Event};

/// Added to the variance, as PyTorch's default.
const EPSILON: f64 = 1e-5;
/// The weight of a new batch in the running statistics, as PyTorch's default.
const MOMENTUM: f64 = 0.1;

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
}

impl BatchNorm2d {
    /// The layer for `channels` channels on `device`.
    #[must_use]
    pub fn new(channels: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            weight: rng.param([channels], Draw::Constant(1.0), device),
            bias: rng.param([channels], Draw::Constant(0.0), device),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let dims = input.dims();
        trace::report(|| Event {
            kind: "BatchNorm2d",
            param: Some(self.weight.id),
            output: dims.to_vec(),
            macs: 0,
        });
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !device.is_autodiff() {
            let mean = self.running_mean.value().to_device(&device);
            let var = self.running_var.value().to_device(&device);
            return batch_norm(input, weight, bias, mean, var, EPSILON);
        }
        let [batch, channels, height, width] = dims;
        let count = (batch * height * width) as f64;
        // Corrected two-pass statistics (Chan, Golub and LeVeque, 1983): taken of values that already lie around 0, they
        // are free of the first mean's rounding error, which deep networks would amplify. The result does not depend on the
        // centre, so no gradient flows through it.
        let center = mean_of_rows(input.clone().detach().mean_dim(3));
        let normalized = batch_norm_train(input - center.clone(), weight, bias, EPSILON);
        let mean = normalized.mean.detach() + center.reshape([channels]);
        // A single value has no sample variance; PyTorch refuses it, here the statistics stay finite.
        let unbiased = normalized.variance.detach().mul_scalar(count / (count - 1.0).max(1.0));
        follow(&self.running_mean, mean, &device);
        follow(&self.running_var, unbiased, &device);
        normalized.output
    }
}

/// The mean of each channel of `[batch, channels, height, 1]`: in double precision where the device has it, as in PyTorch.
fn mean_of_rows(rows: Tensor<4>) -> Tensor<4> {
    let (kept, wide) = (rows.dtype(), DType::F64);
    if !rows.device().supports_dtype(wide) {
        return rows.mean_dim(2).mean_dim(0);
    }
    rows.cast(wide).mean_dim(2).mean_dim(0).cast(kept)
}

fn follow(running: &RunningState<Tensor<1>>, batch: Tensor<1>, device: &Device) {
    let old = running.value_sync().to_device(device);
    running.update(old.mul_scalar(1.0 - MOMENTUM).add(batch.mul_scalar(MOMENTUM)).detach());
}
