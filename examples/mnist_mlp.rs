//! The classic first network: 784-500-10, cross entropy, plain gradient descent, ten epochs.
//!
//! Run:    cargo run --release --example mnist_mlp -- [IDX_FOLDER|digits] [SEED]
//! Expect: on MNIST a last line like `test accuracy 93.42 %, 2.6 s an epoch`

use std::error::Error;

use pyrograph::train::{OptimRecipe, ScheduleRecipe};
use pyrograph::{Recipe, RunOptions, train, tune_allocator};

fn main() -> Result<(), Box<dyn Error>> {
    tune_allocator();
    let mut arguments = std::env::args().skip(1);
    let mut recipe = Recipe { model: "mlp".into(), epochs: 10, batch: Some(64), ..Recipe::default() };
    // The images, as values 0 to 1. The test images are watched after every epoch.
    recipe.data.path = arguments.next().unwrap_or_else(|| "digits".into());
    recipe.data.normalize = false;
    recipe.data.valid_fraction = 0.0;
    recipe.seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    // Plain gradient descent with a constant rate.
    recipe.optim = OptimRecipe { lr: 0.01, momentum: 0.0, weight_decay: 0.0, ..OptimRecipe::default() };
    recipe.schedule = ScheduleRecipe::Constant { warmup_epochs: 0.0 };

    let outcome = train(&recipe, &RunOptions { verbose: true, ..RunOptions::default() })?;
    let epochs = &outcome.fitted.epochs;
    let last = &epochs[epochs.len() - 1];
    let seconds = epochs.iter().map(|epoch| epoch.seconds).sum::<f64>() / epochs.len() as f64;
    println!("test accuracy {:.2} %, {seconds:.1} s an epoch", 100.0 * last.valid_accuracy);
    Ok(())
}
