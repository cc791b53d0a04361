//! What the training loop costs beside a bare one: forward, loss, backward, step.
//!
//! Run: cargo bench -p pyrograph-train --bench loop_overhead
//!
//! Both learn the drawn digits with `small_cnn` from the same loader; epochs of one and of the other in turn. Times are those between the first
//! and the last step of an epoch. Where other work runs on the machine times of the clock tell little: the processor's time, of all threads, is
//! told as well (on Linux). Bare steps have no metrics, checks or saves. As in the program, the C library keeps freed memory: otherwise page faults
//! are a third of the time, and not the same third for both.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use pyrograph_data::order::Order;
use pyrograph_data::{Loader, LoaderConfig};
use pyrograph_infer::tensor_loader;
use pyrograph_model::{Model, cross_entropy};
use pyrograph_train::{Callback, Plan, Recipe, Result, RunOptions, Sgd, StepEnd, run_plan};

const ROUNDS: usize = 9;

/// When each step ended, and the processor's time until then.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(Instant, f64)>>>);

/// Seconds that all threads of this process have computed; 0 where the system does not tell.
fn processor_seconds() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, fields 14 and 15 of which two lie before the bracket.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

impl Callback for Ends {
    fn step_end(&mut self, _: &StepEnd, _: &mut Model) -> Result<()> {
        self.now();
        Ok(())
    }
}

impl Ends {
    fn now(&self) {
        self.0.lock().unwrap().push((Instant::now(), processor_seconds()));
    }

    /// Milliseconds a step: those of the clock, and the processor's.
    fn per_step(&self) -> [f64; 2] {
        let ends = self.0.lock().unwrap();
        let ((first, first_cpu), (last, last_cpu)) = (ends[0], ends[ends.len() - 1]);
        let steps = (ends.len() - 1) as f64;
        [1e3 * last.duration_since(first).as_secs_f64() / steps, 1e3 * (last_cpu - first_cpu) / steps]
    }
}

fn ours(plan: &Plan) -> [f64; 2] {
    let place = tempfile::tempdir().unwrap();
    let ends = Ends::default();
    let options =
        RunOptions { device: Device::flex(), out: Some(place.path().join("run")), ..RunOptions::default() };
    run_plan(plan, &options, vec![Box::new(ends.clone())]).unwrap();
    ends.per_step()
}

fn bare(plan: &Plan) -> [f64; 2] {
    let device = Device::flex().autodiff();
    let config = LoaderConfig {
        batch_size: plan.batch,
        order: Order::Shuffled,
        preprocess: plan.preprocess.clone(),
        ..LoaderConfig::default()
    };
    let loader = tensor_loader(Loader::new(plan.train.clone(), config).unwrap(), device.clone());
    let mut model = plan.network(&device).unwrap();
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
    let mut optimizer = ModuleOptimizer::from(sgd);
    let ends = Ends::default();
    for batch in loader.epoch(0) {
        let batch = batch.unwrap();
        let loss = cross_entropy(model.forward(batch.images), batch.targets, 0.0);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
        ends.now();
    }
    ends.per_step()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whether the work was done by a process that this one has started, with the allocator as the program has it (`pyrograph::tune_allocator`), large pages
/// aside.
fn handed_over() -> bool {
    let settings = [
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "33554432"),
        ("MALLOC_TRIM_THRESHOLD_", "2147483647"),
    ];
    if settings.iter().all(|(name, _)| std::env::var_os(name).is_some()) {
        return false;
    }
    let status =
        std::process::Command::new(std::env::current_exe().unwrap()).envs(settings).status().unwrap();
    assert!(status.success());
    true
}

fn main() {
    if handed_over() {
        return;
    }
    let settings = [("model", "small_cnn"), ("epochs", "1"), ("batch", "64"), ("optim.weight_decay", "0.0")];
    let recipe =
        settings.iter().fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let plan = Plan::new(&recipe).unwrap();
    let (mut loops, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        loops.push(ours(&plan));
        bares.push(bare(&plan));
    }
    for (n, of) in ["the clock", "the processor"].into_iter().enumerate() {
        let times = |all: &[[f64; 2]]| all.iter().map(|times| times[n]).collect::<Vec<_>>();
        let (ours, bare) = (times(&loops), times(&bares));
        let mut ratios: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "{ROUNDS} epochs of each, by {of}: {:.2} ms a step here, {:.2} ms bare; ratios {:.3} to {:.3}, median {:.4}",
            median(ours),
            median(bare),
            ratios[0],
            ratios[ROUNDS - 1],
            ratios[ROUNDS / 2],
        );
    }
}
