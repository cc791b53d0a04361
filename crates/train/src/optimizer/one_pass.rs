//! Optimizers that change a parameter in one pass over its numbers.
//!
//! Burn's are a chain of operations, each of which goes through memory. These give the same numbers and keep the same records.

use burn::optim::{
    AdamWState, AdaptiveMomentumState, LearningRate, Optimizer, RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};
use pyrograph_model::{AdamWStep, SgdStep};

/// Stochastic gradient descent with momentum, as Burn's [`Sgd`](burn::optim::Sgd) without dampening.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// The share of the velocity that is kept.
    pub momentum: f64,
    /// Whether the weight goes to where the velocity leads from here.
    pub nesterov: bool,
    /// The share of the weight that is added to its gradient.
    pub weight_decay: f64,
}

/// What [`Sgd`] keeps of a parameter.
#[derive(Debug, Clone)]
pub struct Velocity<const D: usize>(Tensor<D>);

/// Where Burn's state has it.
const VELOCITY: &str = "momentum.velocity";

impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, VELOCITY, self.0.to_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self(Tensor::from_data(src.take_tensor(prefix, VELOCITY)?, device)))
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = Velocity<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Velocity<D>>,
    ) -> (Tensor<D>, Option<Velocity<D>>) {
        let Self { momentum, nesterov, weight_decay } = *self;
        let velocity = state.map_or_else(|| grad.zeros_like(), |state| state.0);
        let step = SgdStep { rate: lr, momentum, nesterov, weight_decay };
        let (tensor, velocity) = step.of(tensor, velocity, grad);
        (tensor, Some(Velocity(velocity)))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity(state.0.to_device(device))
    }
}

/// Adam with decoupled weight decay, as Burn's [`AdamW`](burn::optim::AdamW) without its variants.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// The shares of the two moments that are kept.
    pub betas: [f32; 2],
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The share of the weight, times the learning rate, that is taken off.
    pub weight_decay: f32,
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let Self { betas, epsilon, weight_decay } = *self;
        let (steps, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time, [momentum.moment_1, momentum.moment_2]),
            None => (0, [grad.zeros_like(), grad.zeros_like()]),
        };
        let time = steps.saturating_add(1);
        let number = u32::try_from(time).unwrap_or(u32::MAX);
        let step = AdamWStep { rate: lr, betas, epsilon, weight_decay, number };
        let (tensor, [moment_1, moment_2]) = step.of(tensor, moments, grad);
        let momentum = AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
        (tensor, Some(AdamWState { momentum }))
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamWState { momentum: state.momentum.to_device(device) }
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::decay::WeightDecayConfig;
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{AdamWConfig, SgdConfig};
    use burn::tensor::Distribution;

    use super::*;

    /// Some steps of both from one start, on gradients that are not in order either; whether weights are the same to the bit after each.
    fn walk_together(ours: &impl Optimizer, burns: &impl Optimizer) {
        let device = Device::flex();
        // More than a thread takes at once.
        let draw = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (mut here, mut there) = (draw([300, 70]), None);
        let (mut of_ours, mut of_burns) = (None, None);
        for step in 0..5 {
            let gradient = draw([70, 300]).transpose();
            let rate = 0.1 / f64::from(step + 1);
            let (before, beside) = (here.clone(), there.take().unwrap_or_else(|| here.clone()));
            let (ours, burns) = (
                ours.step(rate, here, gradient.clone(), of_ours),
                burns.step(rate, beside, gradient, of_burns),
            );
            let bits = |tensor: &Tensor<2>| {
                tensor.to_data().try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits)
            };
            assert!(bits(&ours.0).eq(bits(&burns.0)), "step {step}");
            assert!(!bits(&ours.0).eq(bits(&before)), "a weight that others hold stays as it was");
            (here, of_ours) = ours;
            (there, of_burns) = (Some(burns.0), burns.1);
        }
    }

    #[test]
    fn steps_are_burns_to_the_bit() {
        for (nesterov, weight_decay) in [(false, 0.0), (true, 5e-4), (false, 1e-2)] {
            let momentum =
                MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(nesterov);
            let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay as f32));
            let burns = SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(decay).build();
            walk_together(&Sgd { momentum: 0.9, nesterov, weight_decay }, &burns);
        }
        for weight_decay in [0.0, 0.05] {
            let burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(weight_decay).build();
            walk_together(&AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay }, &burns);
        }
    }

    #[test]
    fn a_record_of_burns_is_one_of_ours() {
        use burn::optim::{GradientsParams, ModuleOptimizer};
        use pyrograph_model::{InputShape, Model, ModelConfig, named_tensors};

        let device = Device::flex().autodiff();
        let input = InputShape { channels: 1, height: 4, width: 4 };
        let model = || ModelConfig::from_name("linear", input, 3).unwrap().init(0, &device);
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let burns = || ModuleOptimizer::from(SgdConfig::new().with_momentum(Some(momentum.clone())).build());
        let ours = || ModuleOptimizer::from(Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 });
        let step = |optimizer: &mut ModuleOptimizer, model: Model| {
            let images = Tensor::<4>::ones([2, 1, 4, 4], &device);
            let loss = model.forward(images).powi_scalar(2).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            optimizer.step(0.1, model, gradients)
        };
        let weights = |model: &Model| {
            let tensors = named_tensors(model).into_iter();
            tensors.map(|(name, data)| (name, data.try_to_vec::<f32>().unwrap())).collect::<Vec<_>>()
        };
        let start = model();
        let (mut first, mut other) = (burns(), burns());
        let (whole, half) = (step(&mut first, start.clone()), step(&mut other, start));
        let mut second = ours().load_record(other.to_record());
        assert_eq!(weights(&step(&mut second, half)), weights(&step(&mut first, whole)));
    }
}
