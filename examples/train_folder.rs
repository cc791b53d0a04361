//! A folder of photos, one folder a class, to a model file.
//!
//! Run:    cargo run --release --example train_folder -- PHOTOS [EPOCHS]
//! Expect: a last line with the model file and the share of the validation images it gets right

use std::error::Error;

use pyrograph::train::DataRecipe;
use pyrograph::{Recipe, RunOptions, train};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which folder? It has one folder of images a class")?;
    let recipe = Recipe {
        model: "resnet18".into(),
        epochs: arguments.next().map_or(Ok(2), |epochs| epochs.parse())?,
        batch: Some(32),
        data: DataRecipe { path, size: Some(64), ..DataRecipe::default() },
        augment: "random_resized_crop(64, scale=0.35..1)|flip".into(),
        ..Recipe::default()
    };
    let outcome = train(&recipe, &RunOptions { verbose: true, ..RunOptions::default() })?;
    let tally = &outcome.evaluation.tally;
    println!(
        "{}: {:.2} % of {} {} images right",
        outcome.folder.best_model().display(),
        100.0 * tally.top1(),
        tally.samples(),
        outcome.measured_on
    );
    Ok(())
}
