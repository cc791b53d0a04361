//! What a long run leaves behind in its process: nothing.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;
use std::thread::sleep;
use std::time::Duration;

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

/// What the process holds.
#[derive(Debug)]
struct Held {
    /// Resident memory.
    mebibytes: f64,
    threads: usize,
    files: usize,
}

fn held() -> Held {
    // The system lists a thread for a moment after it has been joined.
    sleep(Duration::from_millis(20));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let files = fs::read_dir("/proc/self/fd").unwrap().count();
    Held { mebibytes: field("VmRSS:") as f64 / 1024.0, threads: field("Threads:"), files }
}

/// A run of so many epochs that is stopped and goes on every `stop_every` of them: what the process holds each time.
fn held_along(epochs: usize, stop_every: usize) -> Vec<Held> {
    pyrograph::tune_allocator();
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

/// Threads and files do not become more. At a single stop a thread may still be going.
fn assert_constant(held_along: &[Held]) {
    // The first two stops start what all others share.
    let (early, late) = held_along[2..].split_at((held_along.len() - 2) / 2);
    let least = |held: &[Held], of: fn(&Held) -> usize| held.iter().map(of).min();
    assert_eq!(
        least(early, |held| held.threads),
        least(late, |held| held.threads),
        "threads: {held_along:?}"
    );
    assert_eq!(least(early, |held| held.files), least(late, |held| held.files), "files: {held_along:?}");
}

#[test]
fn epochs_and_stops_leave_no_threads_and_no_files_behind() {
    assert_constant(&held_along(16, 2));
}

#[test]
#[ignore = "takes minutes: cargo test --release --test endurance -- --ignored --nocapture"]
fn two_thousand_epochs_with_a_stop_every_hundred_keep_their_memory() {
    let apart = 100;
    let held_along = held_along(2000, apart);
    for (n, Held { mebibytes, threads, files }) in held_along.iter().enumerate() {
        println!("{:>5} epochs: {mebibytes:.1} MiB, {threads} threads, {files} files", (n + 1) * apart);
    }
    assert_constant(&held_along);
    // The line of least squares through what follows the first quarter, in which caches fill.
    let settled = &held_along[held_along.len() / 4..];
    let count = settled.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = settled.iter().map(|held| held.mebibytes).sum::<f64>() / count;
    let (up, along) = settled.iter().zip(0u32..).fold((0.0, 0.0), |(up, along), (held, n)| {
        let x = f64::from(n) - middle;
        (up + x * (held.mebibytes - mean), along + x * x)
    });
    let slope = up / along * 1000.0 / apart as f64;
    println!("memory grows by {slope:.2} MiB in 1,000 epochs");
    assert!(slope < 1.0);
}
