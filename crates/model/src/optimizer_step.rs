//! Steps of optimizers: one parameter, its gradient, and what the optimizer keeps of earlier ones.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::ops::NetworkOps;

/// A step of stochastic gradient descent with momentum, in PyTorch's form (<https://proceedings.mlr.press/v28/sutskever13.html>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub rate: f64,
    /// The share of the velocity that is kept.
    pub momentum: f64,
    /// Whether the weight goes to where the velocity leads from here.
    pub nesterov: bool,
    /// The share of the weight that is added to its gradient.
    pub weight_decay: f64,
}

impl SgdStep {
    /// The weight and the velocity after the step, of one shape with `gradient`. Before the first step the velocity is 0.
    ///
    /// # Panics
    ///
    /// When shapes differ.
    #[must_use]
    pub fn of<const D: usize>(
        self,
        weight: Tensor<D>,
        velocity: Tensor<D>,
        gradient: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        assert_eq!([velocity.dims(), gradient.dims()], [weight.dims(); 2], "one shape");
        let (weight, velocity) = Dispatch::step_of_sgd(
            weight.into_dispatch(),
            velocity.into_dispatch(),
            gradient.into_dispatch(),
            self,
        );
        (Tensor::from_dispatch(weight), Tensor::from_dispatch(velocity))
    }
}

/// A step of Adam whose weight decay is no part of the gradient (<https://arxiv.org/abs/1711.05101>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate.
    pub rate: f64,
    /// The shares of the two moments that are kept.
    pub betas: [f32; 2],
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The share of the weight, times the learning rate, that is taken off.
    pub weight_decay: f32,
    /// Which step of the parameter this is, counted from 1.
    pub number: u32,
}

impl AdamWStep {
    /// The weight and the moments after the step, of one shape with `gradient`. Before the first step the moments are 0.
    ///
    /// # Panics
    ///
    /// When shapes differ.
    #[must_use]
    pub fn of<const D: usize>(
        self,
        weight: Tensor<D>,
        [first, second]: [Tensor<D>; 2],
        gradient: Tensor<D>,
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        assert_eq!([first.dims(), second.dims(), gradient.dims()], [weight.dims(); 3], "one shape");
        let (weight, first, second) = Dispatch::step_of_adam_w(
            weight.into_dispatch(),
            first.into_dispatch(),
            second.into_dispatch(),
            gradient.into_dispatch(),
            self,
        );
        (Tensor::from_dispatch(weight), [first, second].map(Tensor::from_dispatch))
    }

    /// What the moments, which began with 0, are divided by.
    pub(crate) fn corrections(&self) -> [f32; 2] {
        self.betas.map(|beta| 1.0 - beta.powi(i32::try_from(self.number).unwrap_or(i32::MAX)))
    }

    /// The share of the weight that decay leaves.
    pub(crate) fn kept(&self) -> f32 {
        (1.0 - self.rate * f64::from(self.weight_decay)) as f32
    }
}
