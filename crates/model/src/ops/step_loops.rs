//! Steps of optimizers, 32-bit numbers on the CPU: in one pass, and in place where nothing else holds the numbers.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::simd::wide;
use crate::{AdamWStep, SgdStep};

type FlexTensor = FloatTensor<Flex>;

/// Numbers of a weight that a thread takes at once.
const PART: usize = 1 << 14;

/// Whether the loops are for these.
pub(super) fn take<const N: usize>(tensors: [&FlexTensor; N]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// The weight and the velocity after a step: to the bit what Burn's operations give.
pub(super) fn sgd(
    weight: FlexTensor,
    velocity: FlexTensor,
    gradient: FlexTensor,
    step: SgdStep,
) -> [FlexTensor; 2] {
    let [mut weight, mut velocity, gradient] =
        [weight, velocity, gradient].map(|tensor| tensor.to_contiguous());
    let [rate, momentum, decay] = [step.rate, step.momentum, step.weight_decay].map(|factor| factor as f32);
    let (weights, velocities) = (weight.storage_mut::<f32>(), velocity.storage_mut::<f32>());
    let parts = weights.par_chunks_mut(PART).zip(velocities.par_chunks_mut(PART));
    parts.zip(gradient.storage::<f32>().par_chunks(PART)).for_each(|((weights, velocities), gradients)| {
        wide(
            #[inline(always)]
            move || {
                for ((w, v), g) in weights.iter_mut().zip(velocities.iter_mut()).zip(gradients) {
                    let g = if decay == 0.0 { *g } else { *w * decay + *g };
                    *v = g + *v * momentum;
                    let direction = if step.nesterov { *v * momentum + g } else { *v };
                    *w -= direction * rate;
                }
            },
        );
    });
    [weight, velocity]
}

/// The weight and the moments after a step: to the bit what Burn's operations give.
pub(super) fn adam_w(
    weight: FlexTensor,
    [first, second]: [FlexTensor; 2],
    gradient: FlexTensor,
    step: AdamWStep,
) -> [FlexTensor; 3] {
    let [mut weight, mut first, mut second, gradient] =
        [weight, first, second, gradient].map(|tensor| tensor.to_contiguous());
    let ([beta_1, beta_2], [of_first, of_second]) = (step.betas, step.corrections());
    let (rate, kept, epsilon) = (step.rate as f32, step.kept(), step.epsilon);
    let (weights, firsts, seconds) =
        (weight.storage_mut::<f32>(), first.storage_mut::<f32>(), second.storage_mut::<f32>());
    let parts = weights.par_chunks_mut(PART).zip(firsts.par_chunks_mut(PART));
    let parts = parts.zip(seconds.par_chunks_mut(PART)).zip(gradient.storage::<f32>().par_chunks(PART));
    parts.for_each(|(((weights, firsts), seconds), gradients)| {
        wide(
            #[inline(always)]
            move || {
                let numbers = weights.iter_mut().zip(firsts.iter_mut()).zip(seconds.iter_mut());
                for (((w, m), v), g) in numbers.zip(gradients) {
                    *m = *m * beta_1 + *g * (1.0 - beta_1);
                    *v = *v * beta_2 + *g * *g * (1.0 - beta_2);
                    let direction = *m / of_first / ((*v / of_second).sqrt() + epsilon);
                    *w = *w * kept - direction * rate;
                }
            },
        );
    });
    [weight, first, second]
}
