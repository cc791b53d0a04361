//! What the training loop costs beside a bare one: forward, loss, backward, step.
//!
//! Run: cargo bench -p pyrograph-train --bench loop_overhead
//!
//! Both learn the drawn digits with `small_cnn` from the same loader; epochs of one and of the other in turn. Times are those between the first
//! and the last step of an epoch.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use pyrograph_data::order::Order;
use pyrograph_data::{Loader, LoaderConfig};
use pyrograph_infer::tensor_loader;
use pyrograph_model::{Model, cross_entropy};
use pyrograph_train::{Callback, Plan, Recipe, Result, RunOptions, StepEnd, run_plan};

const ROUNDS: usize = 9;

/// When each step ended.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<Instant>>>);

impl Callback for Ends {
    fn step_end(&mut self, _: &StepEnd, _: &mut Model) -> Result<()> {
        self.0.lock().unwrap().push(Instant::now());
        Ok(())
    }
}

impl Ends {
    /// Milliseconds a step.
    fn per_step(&self) -> f64 {
        let ends = self.0.lock().unwrap();
        let (first, last) = (ends[0], ends[ends.len() - 1]);
        1e3 * last.duration_since(first).as_secs_f64() / (ends.len() - 1) as f64
    }
}

fn ours(plan: &Plan) -> f64 {
    let place = tempfile::tempdir().unwrap();
    let ends = Ends::default();
    let options =
        RunOptions { device: Device::flex(), out: Some(place.path().join("run")), ..RunOptions::default() };
    run_plan(plan, &options, vec![Box::new(ends.clone())]).unwrap();
    ends.per_step()
}

fn bare(plan: &Plan) -> f64 {
    let device = Device::flex().autodiff();
    let config = LoaderConfig {
        batch_size: plan.batch,
        order: Order::Shuffled,
        preprocess: plan.preprocess.clone(),
        ..LoaderConfig::default()
    };
    let loader = tensor_loader(Loader::new(plan.train.clone(), config).unwrap(), device.clone());
    let mut model = plan.network(&device).unwrap();
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let mut optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
    let ends = Ends::default();
    for batch in loader.epoch(0) {
        let batch = batch.unwrap();
        let loss = cross_entropy(model.forward(batch.images), batch.targets, 0.0);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
        ends.0.lock().unwrap().push(Instant::now());
    }
    ends.per_step()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let settings = [("model", "small_cnn"), ("epochs", "1"), ("batch", "64"), ("optim.weight_decay", "0.0")];
    let recipe =
        settings.iter().fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let plan = Plan::new(&recipe).unwrap();
    let (mut loops, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        loops.push(ours(&plan));
        bares.push(bare(&plan));
    }
    let ratios = loops.iter().zip(&bares).map(|(ours, bare)| ours / bare).collect();
    let (ours, bare, ratio) = (median(loops), median(bares), median(ratios));
    println!(
        "{ROUNDS} epochs of each: {ours:.2} ms a step here, {bare:.2} ms bare; median of ratios {ratio:.4}"
    );
}
