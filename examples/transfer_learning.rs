//! A network trained on other images learns new classes: first its head alone, then all of it, its first layers slowest.
//!
//! Run:    cargo run --release --example transfer_learning -- PHOTOS MODEL WEIGHTS
//!         as PHOTOS mobilenet_v1_025_leaky mobilenetV1X0.25_pretrain.tar
//! Expect: a line an epoch; the README has the accuracies that this reaches on a small set of photos, and without the weights

use std::error::Error;

use pyrograph::{Recipe, RunOptions, train};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [photos, model, weights] = &arguments[..] else { return Err("give PHOTOS MODEL WEIGHTS".into()) };
    let recipe = Recipe::default()
        .set("data.path", photos)?
        .set("model", model)?
        .set("start.weights", weights)?
        .set("start.freeze_epochs", "3")?
        .set("epochs", "10")?
        .set("optim.lr", "0.02")?
        .set("optim.layer_decay", "0.8")?;
    let outcome = train(&recipe, &RunOptions { verbose: true, ..RunOptions::default() })?;
    println!("accuracy {:.2} %", 100.0 * outcome.evaluation.tally.top1());
    Ok(())
}
