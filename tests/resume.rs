//! Runs that are stopped, killed, or run out of room, and what becomes of them.
//!
//! The long forms: `cargo test --test resume -- --ignored --nocapture`.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use pyrograph::burn::tensor::Device;
use pyrograph::train::{Callback, Error, EpochRow, Plan, Recipe, Result, RunOptions, StepEnd, StopSignal, run_plan};
use pyrograph::Model;

/// Three classes of small noisy pictures.
fn photos(folder: &Path, count: u32) -> PathBuf {
    let photos = folder.join("photos");
    let mut state = 1u32;
    for (class, color) in [("red", [180, 40, 40]), ("green", [40, 180, 40]), ("blue", [40, 40, 180])] {
        fs::create_dir_all(photos.join(class)).unwrap();
        for n in 0..count {
            let picture = RgbImage::from_fn(16, 16, |_, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Rgb(color.map(|value: u8| value.wrapping_add((state >> 24) as u8 / 2)))
            });
            picture.save(photos.join(class).join(format!("{n}.png"))).unwrap();
        }
    }
    photos
}

fn recipe(photos: &Path, settings: &[(&str, &str)]) -> Recipe {
    let usual = [("model", "small_cnn"), ("batch", "8"), ("epochs", "3"), ("seed", "5"), ("augment", "flip")];
    usual.iter().chain(settings).fold(
        Recipe::default().set("data.path", photos.to_str().unwrap()).unwrap(),
        |recipe, (key, value)| recipe.set(key, value).unwrap(),
    )
}

/// What comes out of a run: its models, and its curve without the times.
#[derive(Debug, PartialEq)]
struct Leaves {
    best: Vec<u8>,
    last: Vec<u8>,
    rows: Vec<EpochRow>,
}

fn results(out: &Path) -> Leaves {
    let rows = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let rows = rows.lines().filter_map(|line| serde_json::from_str::<EpochRow>(line).ok());
    let rows = rows.map(|row| EpochRow { seconds: 0.0, images_per_second: 0.0, waiting_share: 0.0, ..row });
    let file = |name: &str| fs::read(out.join(name)).unwrap();
    Leaves { best: file("best.safetensors"), last: file("last.safetensors"), rows: rows.collect() }
}

/// Asks to stop after a step.
struct StopAfter(u64, StopSignal);

impl Callback for StopAfter {
    fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
        if step.step == self.0 {
            self.1.stop();
        }
        Ok(())
    }
}

fn options(out: &Path) -> RunOptions {
    RunOptions { device: Device::flex(), out: Some(out.to_owned()), threads: 2, ..RunOptions::default() }
}

/// Stops a run after each of its steps in turn, goes on, and compares with the run that was not stopped.
fn goes_on_bit_for_bit(name: &str, settings: &[(&str, &str)], every: usize) {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::new(&recipe(&photos(place.path(), 20), settings)).unwrap();
    let whole = place.path().join("whole");
    let mut last_step = 0;
    struct Count(std::sync::Arc<std::sync::atomic::AtomicU64>);
    impl Callback for Count {
        fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
            self.0.store(step.step, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    }
    let steps = std::sync::Arc::default();
    run_plan(&plan, &options(&whole), vec![Box::new(Count(std::sync::Arc::clone(&steps)))]).unwrap();
    last_step += steps.load(std::sync::atomic::Ordering::Relaxed);
    let expected = results(&whole);
    assert!(!whole.join("checkpoints").exists());
    assert_eq!(expected.rows.len(), 3);

    for step in (1..=last_step).step_by(every) {
        let out = place.path().join(format!("stopped-{step}"));
        let options = options(&out);
        let stopper = Box::new(StopAfter(step, options.stop.clone()));
        let error = run_plan(&plan, &options, vec![stopper]).unwrap_err();
        assert!(matches!(error, Error::Interrupted { step: at, .. } if at == step), "{error}");
        // On a different number of threads.
        let options = RunOptions { threads: 1, stop: StopSignal::default(), ..options };
        run_plan(&plan, &options, Vec::new()).unwrap();
        assert!(results(&out) == expected, "{name}: stopped after step {step} of {last_step}");
    }
}

#[test]
fn a_run_stopped_after_any_step_ends_as_if_it_had_not_been() {
    goes_on_bit_for_bit("SGD", &[], 1);
}

#[test]
fn averages_mixing_accumulation_and_every_optimizer_go_on_too() {
    let adam = [("optim.kind", "adamw"), ("ema", "0.9"), ("mix.mixup", "0.2"), ("accumulate", "2"), ("dropout", "0.1")];
    goes_on_bit_for_bit("AdamW", &adam, 2);
    goes_on_bit_for_bit("Lion", &[("optim.kind", "lion"), ("optim.clip_norm", "1")], 5);
    goes_on_bit_for_bit("RMSprop", &[("optim.kind", "rmsprop"), ("label_smoothing", "0.1")], 5);
    goes_on_bit_for_bit("Adam", &[("optim.kind", "adam"), ("optim.clip_value", "0.1")], 5);
    goes_on_bit_for_bit("a residual network", &[("model", "resnet20"), ("drop_path", "0.2")], 6);
}
