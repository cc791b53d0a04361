//! What changes the weights, and how fast each of them.

mod one_pass;

use burn::grad_clipping::GradientClipping;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, LambConfig, LionConfig, ModuleOptimizer, Optimizer, RmsPropConfig, SgdConfig};
use pyrograph_model::{Model, param_infos};

use crate::{OptimKind, OptimRecipe, Schedule};

pub use self::one_pass::{AdamW, Sgd};

/// The optimizer of a recipe. Where the recipe says so, biases and what belongs to normalizations are not decayed.
pub(crate) fn optimizer(recipe: &OptimRecipe, model: &Model) -> ModuleOptimizer {
    let free = if recipe.decay_vectors || recipe.weight_decay == 0.0 {
        Vec::new()
    } else {
        ids(model, |_, shape| shape.len() < 2)
    };
    algorithm(recipe, free)
}

/// The optimizer with PyTorch's meaning of its numbers; what is in `free` is not decayed.
fn algorithm(recipe: &OptimRecipe, free: Vec<ParamId>) -> ModuleOptimizer {
    let [beta_1, beta_2] = recipe.betas.map(|beta| beta as f32);
    let eps = recipe.eps as f32;
    let penalty = |decay: f64| (decay > 0.0).then(|| WeightDecayConfig::new(decay as f32));
    match recipe.kind {
        OptimKind::Sgd if recipe.momentum > 0.0 => with_decay(recipe, free, |weight_decay| Sgd {
            momentum: recipe.momentum,
            nesterov: recipe.nesterov,
            weight_decay,
        }),
        OptimKind::Sgd => {
            with_decay(recipe, free, |decay| SgdConfig::new().with_weight_decay(penalty(decay)).build())
        }
        OptimKind::Adam => with_decay(recipe, free, |decay| {
            let adam = AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(eps);
            adam.with_weight_decay(penalty(decay)).build()
        }),
        OptimKind::AdamW => with_decay(recipe, free, |decay| AdamW {
            betas: [beta_1, beta_2],
            epsilon: eps,
            weight_decay: decay as f32,
        }),
        OptimKind::RmsProp => with_decay(recipe, free, |decay| {
            let rms_prop = RmsPropConfig::new().with_momentum(recipe.momentum as f32).with_epsilon(eps);
            rms_prop.with_weight_decay(penalty(decay)).build()
        }),
        OptimKind::Lamb => with_decay(recipe, free, |decay| {
            let lamb = LambConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(eps);
            lamb.with_weight_decay(decay as f32).build()
        }),
        OptimKind::Lion => with_decay(recipe, free, |decay| {
            LionConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_weight_decay(decay as f32).build()
        }),
    }
}

/// `of` the recipe's weight decay for all parameters but the `free`, and `of` 0 for these.
fn with_decay<O: Optimizer>(
    recipe: &OptimRecipe,
    free: Vec<ParamId>,
    of: impl Fn(f64) -> O,
) -> ModuleOptimizer {
    let clipping = recipe.clip_value.map(|most| GradientClipping::Value(most as f32));
    let mut all = ModuleOptimizer::from(of(recipe.weight_decay));
    if let Some(clipping) = &clipping {
        all = all.with_grad_clipping(clipping.clone());
    }
    if free.is_empty() { all } else { all.with_group(ParamGroup::from_ids(free), of(0.0), clipping) }
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

    use burn::module::{Module, Param};
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

    #[derive(Module, Debug)]
    struct Four {
        values: Param<Tensor<1>>,
    }

    /// Four values after three steps at the rate 0.1 along fixed gradients.
    fn after_three_steps(recipe: &OptimRecipe) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let mut four = Four { values: Param::from_data([1.0, -2.0, 0.5, 3.0], &device) };
        let mut optimizer = algorithm(recipe, Vec::new());
        for gradient in [[0.1f32, -0.2, 0.3, 0.0], [-0.4, 0.1, 0.2, 1.0], [0.05, 0.5, -0.1, -2.0]] {
            let mut gradients = GradientsParams::new();
            gradients.register(four.values.id, Tensor::<1>::from_floats(gradient, &device.clone().inner()));
            four = optimizer.step(0.1, four, gradients);
        }
        four.values.val().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn optimizers_step_as_pytorchs() {
        // PyTorch 2.15; LAMB and Lion are timm 1.0.31's.
        for (kind, nesterov, expected) in [
            (OptimKind::Sgd, false, [1.038_292_8, -2.003_655_7, 0.388_031_4, 2.993_284_5]),
            (OptimKind::Sgd, true, [1.056_433_4, -2.037_419_6, 0.357_993_4, 3.085_255_6]),
            (OptimKind::Adam, false, [0.985_144_6, -1.907_723_3, 0.246_719_5, 2.853_002_5]),
            (OptimKind::AdamW, false, [0.988_337_8, -1.917_524_3, 0.246_574, 2.948_098_4]),
            (OptimKind::RmsProp, false, [0.000_811_1, -0.915_589_6, -2.921_432, -0.717_591_5]),
            (OptimKind::Lamb, false, [1.060_590_5, -1.898_162_4, -0.186_071_7, 2.907_554_6]),
            (OptimKind::Lion, false, [0.897_102_9, -2.094_106, 0.398_801_4, 2.991_109_1]),
        ] {
            let betas = kind.betas();
            let recipe = OptimRecipe { kind, nesterov, betas, weight_decay: 0.01, ..OptimRecipe::default() };
            for (ours, theirs) in after_three_steps(&recipe).into_iter().zip(expected) {
                assert!((ours - theirs).abs() < 2e-6, "{kind:?}: {ours}, not {theirs}");
            }
        }
    }

    #[test]
    fn values_of_gradients_are_cut_off() {
        let plain = OptimRecipe { momentum: 0.0, weight_decay: 0.0, ..OptimRecipe::default() };
        // 3 - 0.1 * (0 + 1 - 2) and 3 - 0.1 * (0 + 0.2 - 0.2).
        assert!((after_three_steps(&plain)[3] - 3.1).abs() < 1e-6);
        let cut = OptimRecipe { clip_value: Some(0.2), ..plain };
        assert!((after_three_steps(&cut)[3] - 3.0).abs() < 1e-6);
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
