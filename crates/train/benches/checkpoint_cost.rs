//! What saving costs a run of a network with 25 million parameters.
//!
//! Run: cargo bench -p pyrograph-train --bench checkpoint_cost
//!
//! The same steps without saves and with one every few steps, in turn. A step in which a save begins waits until everything is copied; what is
//! written in the background slows the steps after it.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::tensor::Device;
use pyrograph_model::Model;
use pyrograph_train::{Callback, Plan, Recipe, Result, RunOptions, SaveEvery, StepEnd, run_plan};

const ROUNDS: usize = 3;
/// Steps between two saves; more than one takes to be written.
const EVERY: usize = 12;

#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(Instant, f64)>>>);

/// Seconds that this thread has computed, which other work on the machine does not change; 0 where the system does not tell.
fn thread_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

impl Callback for Ends {
    fn step_end(&mut self, _: &StepEnd, _: &mut Model) -> Result<()> {
        self.0.lock().unwrap().push((Instant::now(), thread_seconds()));
        Ok(())
    }
}

/// Seconds of each step but the first, which finds nothing ready: those of the clock, and those that the training thread computes.
fn steps(plan: &Plan, save_every: SaveEvery) -> [Vec<f64>; 2] {
    let place = tempfile::tempdir().unwrap();
    let ends = Ends::default();
    let out = Some(place.path().join("run"));
    let options = RunOptions { device: Device::flex(), out, save_every, ..RunOptions::default() };
    run_plan(plan, &options, vec![Box::new(ends.clone())]).unwrap();
    let ends = ends.0.lock().unwrap();
    [
        ends.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0).as_secs_f64()).collect(),
        ends.windows(2).map(|pair| pair[1].1 - pair[0].1).collect(),
    ]
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let settings =
        [("model", "resnet50"), ("epochs", "1"), ("batch", "8"), ("data.size", "32"), ("data.channels", "3")];
    let recipe =
        settings.iter().fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let mut plan = Plan::new(&recipe).unwrap();
    let few = (0..8 * 5 * EVERY).collect();
    plan.train = Arc::new(pyrograph_data::source::Subset::new(plan.train.clone(), few).unwrap());
    let (mut blocked, mut computed, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [without, without_cpu] = steps(&plan, SaveEvery::Steps(u64::MAX));
        let [with, with_cpu] = steps(&plan, SaveEvery::Steps(EVERY as u64));
        // The save after step n is a part of the time from the end of step n to that of the next.
        let at_saves = |with: &[f64], without: &[f64]| -> Vec<f64> {
            let usual = median(without);
            with.iter().skip(EVERY - 1).step_by(EVERY).map(|step| step - usual).collect()
        };
        blocked.extend(at_saves(&with, &without));
        computed.extend(at_saves(&with_cpu, &without_cpu));
        let saves = (with.len() + 1) / EVERY - 1;
        costs.push((with.iter().sum::<f64>() - without.iter().sum::<f64>()) / saves as f64);
        println!("a step {:.0} ms, {saves} saves", 1e3 * median(&without));
    }
    blocked.sort_by(f64::total_cmp);
    let cost = median(&costs);
    println!("the training thread computes {:.0} ms for a save", 1e3 * median(&computed));
    println!(
        "training waits {:.0} ms for a save ({:.0} to {:.0} ms); all in all one costs {:.0} ms: {:.2} % of the time with one every 60 s",
        1e3 * median(&blocked),
        1e3 * blocked[0],
        1e3 * blocked[blocked.len() - 1],
        1e3 * cost,
        100.0 * cost / 60.0
    );
}
