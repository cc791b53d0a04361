//! Pyrograph as a dependency: train, then use the model.
//!
//! Run:    cargo run --release --example library_use
//! Expect: a last line like `a drawn 7 is a 7 (100.0 %)`

use pyrograph::data::{Source, source::Digits};
use pyrograph::{Predictor, Recipe, RunOptions, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::temp_dir().join(format!("pyrograph-library-use-{}", std::process::id()));
    let recipe = Recipe { epochs: 1, ..Recipe::default() };
    let options = RunOptions { out: Some(out), ..RunOptions::default() };
    let outcome = train(&recipe, &options)?;

    let predictor = Predictor::load(outcome.folder.best_model(), &options.device)?;
    let digits = Digits::new(100, 1234);
    let seven = (0..100).find(|&index| digits.label(index) == 7).ok_or("no seven")?;
    let answers = predictor.predict(vec![digits.read(seven)?.image], 1)?;
    let best = &answers[0][0];
    println!("a drawn 7 is a {} ({:.1} %)", best.class, 100.0 * best.probability);
    Ok(())
}
