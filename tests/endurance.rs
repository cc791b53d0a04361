//! What a long run leaves behind in its process: nothing.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;

use image::{Rgb, RgbImage};
use pyrograph::burn::tensor::Device;
use pyrograph::train::{Callback, EpochEnd, Error, Plan, Recipe, Result, RunOptions, StopSignal, run_plan};

/// Asks to stop every so many epochs.
struct StopEvery(usize, StopSignal);

impl Callback for StopEvery {
    fn epoch_end(&mut self, epoch: &EpochEnd<'_>) -> Result<()> {
        if epoch.row.epoch.is_multiple_of(self.0) {
            self.1.stop();
        }
        Ok(())
    }
}

/// Threads and open files.
fn held() -> (usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    (field("Threads:"), fs::read_dir("/proc/self/fd").unwrap().count())
}

/// A run of so many epochs that is stopped and goes on every `stop_every` of them: what the process holds each time.
fn held_along(epochs: usize, stop_every: usize) -> Vec<(usize, usize)> {
    pyrograph::keep_freed_memory();
    let place = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        let folder = place.path().join("photos").join(class);
        fs::create_dir_all(&folder).unwrap();
        for n in 0..8u8 {
            let picture = RgbImage::from_pixel(8, 8, Rgb([n * 9, class.as_bytes()[0], 7]));
            picture.save(folder.join(format!("{n}.png"))).unwrap();
        }
    }
    let settings = [
        ("data.path", place.path().join("photos").to_str().unwrap().to_owned()),
        ("model", "small_cnn".into()),
        ("batch", "7".into()),
        ("epochs", epochs.to_string()),
        ("ema", "0.9".into()),
    ];
    let recipe =
        settings.iter().fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let plan = Plan::new(&recipe).unwrap();
    let mut held_along = Vec::new();
    loop {
        let stop = StopSignal::default();
        let options = RunOptions {
            device: Device::flex(),
            out: Some(place.path().join("run")),
            threads: 2,
            stop: stop.clone(),
            ..RunOptions::default()
        };
        let is_over = match run_plan(&plan, &options, vec![Box::new(StopEvery(stop_every, stop))]) {
            Ok(_) => true,
            Err(Error::Interrupted { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        held_along.push(held());
        if is_over {
            return held_along;
        }
    }
}

#[test]
fn epochs_and_stops_leave_no_threads_and_no_files_behind() {
    let held_along = held_along(16, 2);
    // The first stops start what all others share.
    assert!(held_along[2..].iter().all(|held| *held == held_along[2]), "{held_along:?}");
}
