//! What changes the weights, and how fast each of them.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use pyrograph_model::{Model, param_infos};

use crate::{OptimRecipe, Schedule};

/// Burn's SGD with PyTorch's meaning of momentum: no dampening. Where the recipe says so, biases and what belongs to normalizations are
/// not decayed.
pub(crate) fn optimizer(recipe: &OptimRecipe, model: &Model) -> ModuleOptimizer {
    let all: ModuleOptimizer = sgd(recipe, recipe.weight_decay).init();
    if recipe.decay_vectors || recipe.weight_decay == 0.0 {
        return all;
    }
    let vectors = ids(model, |_, shape| shape.len() < 2);
    all.with_group(ParamGroup::from_ids(vectors), sgd(recipe, 0.0).build(), None)
}

fn sgd(recipe: &OptimRecipe, weight_decay: f64) -> SgdConfig {
    let mut config = SgdConfig::new();
    if recipe.momentum > 0.0 {
        let momentum = MomentumConfig::new()
            .with_momentum(recipe.momentum)
            .with_dampening(0.0)
            .with_nesterov(recipe.nesterov);
        config = config.with_momentum(Some(momentum));
    }
    if weight_decay > 0.0 {
        config = config.with_weight_decay(Some(WeightDecayConfig::new(weight_decay as f32)));
    }
    config
}

/// The schedule for the head, and for each stage before it the same times `layer_decay` to the power of its distance from the head
/// (<https://arxiv.org/abs/1801.06146>).
pub(crate) fn learning_rates(recipe: &OptimRecipe, model: &Model, schedule: &Schedule) -> ModuleLrScheduler {
    let mut rates = ModuleLrScheduler::new(schedule.clone());
    if recipe.layer_decay == 1.0 {
        return rates;
    }
    let backbone = model.backbone();
    let head = backbone.levels().len();
    for stage in 0..head {
        let scale = recipe.layer_decay.powi((head - stage) as i32);
        let group = ids(model, |name, _| backbone.stage_of(name) == stage);
        rates = rates.with_group(ParamGroup::from_ids(group), schedule.scaled(scale));
    }
    rates
}

/// The learned parameters that `belongs` says, by name and shape.
fn ids(model: &Model, belongs: impl Fn(&str, &[usize]) -> bool) -> Vec<ParamId> {
    let learned = param_infos(model).into_iter().filter(|param| param.learned);
    learned.filter(|param| belongs(&param.name, &param.shape)).map(|param| param.id).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor};
    use pyrograph_model::{InputShape, ModelConfig, named_tensors};

    use super::*;
    use crate::ScheduleRecipe;

    /// How far each parameter moved in one step at the rate 1 on the loss 0 · logits.
    fn moved(recipe: &OptimRecipe, only_decay: bool) -> BTreeMap<String, f32> {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let device = Device::flex().autodiff();
        let model = ModelConfig::from_name("small_cnn", input, 3).unwrap().init(1, &device);
        let loss = model.forward(Tensor::ones([2, 1, 8, 8], &device)).sum();
        let loss = if only_decay { loss * 0.0 } else { loss };
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let schedule = Schedule::new(1.0, &ScheduleRecipe::Constant { warmup_epochs: 0.0 }, 1, 1);
        let rate = learning_rates(recipe, &model, &schedule).step();
        let before = named_tensors(&model);
        let after = named_tensors(&optimizer(recipe, &model).step(rate, model, gradients));
        let distance = |a: &burn::tensor::TensorData, b: &burn::tensor::TensorData| {
            a.iter::<f32>().zip(b.iter::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        before
            .iter()
            .zip(&after)
            .map(|((name, before), (_, after))| (name.clone(), distance(before, after)))
            .collect()
    }

    #[test]
    fn vectors_are_decayed_only_if_asked() {
        let recipe = OptimRecipe { momentum: 0.0, weight_decay: 0.1, ..OptimRecipe::default() };
        let all = moved(&recipe, true);
        assert!(all["bn1.weight"] > 0.09 && all["conv1.weight"] > 0.0);
        let some = moved(&OptimRecipe { decay_vectors: false, ..recipe }, true);
        assert_eq!((some["bn1.weight"], some["conv1.weight"]), (0.0, all["conv1.weight"]));
    }

    #[test]
    fn earlier_stages_learn_slower() {
        let recipe = OptimRecipe { momentum: 0.0, weight_decay: 0.0, ..OptimRecipe::default() };
        let plain = moved(&recipe, false);
        let decayed = moved(&OptimRecipe { layer_decay: 0.5, ..recipe }, false);
        for (name, scale) in
            [("fc2.bias", 1.0), ("fc1.weight", 1.0), ("conv2.weight", 0.5), ("bn1.bias", 0.25)]
        {
            let ratio = decayed[name] / plain[name];
            assert!((ratio - scale).abs() < 1e-3, "{name}: {ratio}");
        }
    }
}
