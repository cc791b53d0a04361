//! The average of a network's weights along its training.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use pyrograph_model::Model;

/// An exponential moving average of all weights and running statistics, which often classifies better than the weights of the last step
/// (<https://arxiv.org/abs/1803.05407> has why). It forgets faster in the first steps, when there is little worth keeping.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    steps: u64,
    average: Option<Model>,
}

impl Ema {
    /// An average of which each step keeps the share `decay`, 0 to below 1, in the end.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self { decay, steps: 0, average: None }
    }

    /// The share that is kept at step `step`, counted from 0: `(1 + step) / (10 + step)`, up to `decay`.
    fn kept(&self, step: u64) -> f64 {
        let step = step as f64;
        self.decay.min((1.0 + step) / (10.0 + step))
    }

    /// Takes in the weights after a step.
    pub fn update(&mut self, model: &Model) {
        let now = model.valid();
        self.average = Some(match self.average.take() {
            None => now,
            Some(average) => {
                let mut tensors = Tensors(GradientsParams::new());
                now.visit(&mut tensors);
                average.map(&mut Toward { now: tensors.0, share: 1.0 - self.kept(self.steps) })
            }
        });
        self.steps += 1;
    }

    /// Steps taken in so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The same kind of average, of which so many steps have made `average`.
    pub(crate) fn restored(self, average: Option<Model>, steps: u64) -> Self {
        Self { average, steps, ..self }
    }

    /// The average, off the autodiff device; none before the first step.
    #[must_use]
    pub fn average(&self) -> Option<&Model> {
        self.average.as_ref()
    }
}

/// Tensors of any rank by parameter: what gradients are kept in holds others as well.
struct Tensors(GradientsParams);

impl ModuleVisitor for Tensors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

/// Moves each tensor by a share of the way to another.
struct Toward {
    now: GradientsParams,
    share: f64,
}

impl ModuleMapper for Toward {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.now.remove::<D>(param.id) {
            Some(now) => param.map(|average| average.clone() + (now - average) * self.share),
            None => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, TensorData};
    use pyrograph_model::{InputShape, ModelConfig, load_tensors, named_tensors};

    use super::*;

    #[test]
    fn the_average_is_that_of_the_formula_for_weights_and_statistics() {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let config = ModelConfig::from_name("small_cnn", input, 3).unwrap();
        let model = config.init(1, &Device::flex().autodiff());
        // The same network with every value `value`; its parameters are the same ones.
        let filled = |value: f32| {
            let tensors: BTreeMap<String, TensorData> = named_tensors(&model)
                .into_iter()
                .map(|(name, data)| {
                    let shape = data.shape().to_vec();
                    let values = vec![value; shape.iter().product()];
                    (name, TensorData::new(values, shape))
                })
                .collect();
            load_tensors(model.clone(), tensors).unwrap()
        };
        let mut ema = Ema::new(0.15);
        assert!(ema.average().is_none());
        for value in [1.0, 2.0, 4.0] {
            ema.update(&filled(value));
        }
        // The first step is taken whole; then min(0.15, 2/11) = 0.15 is kept, and again.
        let expected = 0.15 * (0.15 * 1.0 + 0.85 * 2.0) + 0.85 * 4.0;
        for (name, tensor) in named_tensors(ema.average().unwrap()) {
            assert!(tensor.iter::<f32>().all(|v| (v - expected as f32).abs() < 1e-6), "{name}");
        }
        assert!((Ema::new(0.999).kept(0) - 0.1).abs() < 1e-12);
        assert!((Ema::new(0.999).kept(100_000) - 0.999).abs() < 1e-12);
    }
}
