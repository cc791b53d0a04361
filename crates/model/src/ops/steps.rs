//! Steps of optimizers, by Burn's operations.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

use crate::{AdamWStep, SgdStep};

/// The weight and the velocity after a step.
pub(super) fn sgd<B: Backend>(
    weight: FloatTensor<B>,
    velocity: FloatTensor<B>,
    gradient: FloatTensor<B>,
    step: SgdStep,
) -> [FloatTensor<B>; 2] {
    let times = |x, factor: f64| B::float_mul_scalar(x, factor.into());
    let gradient = if step.weight_decay == 0.0 {
        gradient
    } else {
        B::float_add(times(weight.clone(), step.weight_decay), gradient)
    };
    let velocity = B::float_add(gradient.clone(), times(velocity, step.momentum));
    let direction = if step.nesterov {
        B::float_add(times(velocity.clone(), step.momentum), gradient)
    } else {
        velocity.clone()
    };
    [B::float_sub(weight, times(direction, step.rate)), velocity]
}

/// The weight and the moments after a step.
pub(super) fn adam_w<B: Backend>(
    weight: FloatTensor<B>,
    [first, second]: [FloatTensor<B>; 2],
    gradient: FloatTensor<B>,
    step: AdamWStep,
) -> [FloatTensor<B>; 3] {
    let times = |x, factor: f32| B::float_mul_scalar(x, factor.into());
    let [beta_1, beta_2] = step.betas;
    let first = B::float_add(times(first, beta_1), times(gradient.clone(), 1.0 - beta_1));
    let squares = B::float_mul(gradient.clone(), gradient);
    let second = B::float_add(times(second, beta_2), times(squares, 1.0 - beta_2));
    let [of_first, of_second] = step.corrections();
    let above = B::float_div_scalar(first.clone(), of_first.into());
    let below = B::float_sqrt(B::float_div_scalar(second.clone(), of_second.into()));
    let direction = B::float_div(above, B::float_add_scalar(below, step.epsilon.into()));
    let moved = B::float_mul_scalar(direction, step.rate.into());
    [B::float_sub(times(weight, step.kept()), moved), first, second]
}
