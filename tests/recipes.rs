//! The recipes that come with the program make steps.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::{DynamicImage, Rgb, RgbImage};
use pyrograph::Model;
use pyrograph::burn::tensor::Device;
use pyrograph::train::{Callback, Plan, Recipe, Result, RunOptions, ShippedRecipe, StepEnd, run_plan};

/// Two classes, of which `train/` has four pictures and `validation/` two.
fn pictures(folder: PathBuf, (width, height): (u32, u32), gray: bool) -> PathBuf {
    for (part, count) in [("train", 2), ("validation", 1)] {
        for class in ["a", "b"] {
            let place = folder.join(part).join(class);
            fs::create_dir_all(&place).unwrap();
            for n in 0..count {
                let color = |x: u32, y: u32| Rgb([(x * 7 + n) as u8, (y * 5) as u8, class.as_bytes()[0]]);
                let picture = DynamicImage::from(RgbImage::from_fn(width, height, color));
                let picture = if gray { picture.into_luma8().into() } else { picture };
                picture.save(place.join(format!("{n}.png"))).unwrap();
            }
        }
    }
    folder
}

struct Count(Arc<AtomicU64>);

impl Callback for Count {
    fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
        self.0.store(step.step, Ordering::Relaxed);
        Ok(())
    }
}

/// The recipe with what makes it short set anew, and how many steps it made.
fn steps(recipe: &Recipe, data: &Path, out: PathBuf) -> u64 {
    // As many copies as a batch of two has room for.
    let repeats = recipe.data.repeats.min(2).to_string();
    let short = [("batch", "2"), ("accumulate", "1"), ("epochs", "1"), ("data.repeats", &repeats)];
    let recipe = short.iter().fold(recipe.clone(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let recipe = recipe.set("data.path", data.to_str().unwrap()).unwrap();
    let steps = Arc::default();
    let options = RunOptions { device: Device::flex(), out: Some(out), ..RunOptions::default() };
    let counter = Box::new(Count(Arc::clone(&steps)));
    run_plan(&Plan::new(&recipe).unwrap(), &options, vec![counter]).unwrap();
    steps.load(Ordering::Relaxed)
}

#[test]
fn every_recipe_that_comes_with_the_program_makes_two_steps() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let digits = pictures(at("digits"), (28, 28), true);
    let small = pictures(at("small"), (32, 32), false);
    let photos = pictures(at("photos"), (90, 70), false);
    for shipped in ShippedRecipe::all() {
        let mut recipe = shipped.recipe().unwrap();
        let data = match shipped.name {
            "mnist_mlp" | "fashion_cnn" | "fashion_resnet" => &digits,
            "cifar10_resnet20" | "cifar10_resnet18" => &small,
            _ => &photos,
        };
        if shipped.name == "finetune" {
            // Weights that are at hand.
            recipe = recipe.set("start.weights", at("imagenet_resnet50").to_str().unwrap()).unwrap();
        }
        assert_eq!(steps(&recipe, data, at(shipped.name)), 2, "{}", shipped.name);
    }
}
