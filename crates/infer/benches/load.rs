//! How long a ResNet-50 of 102 MB takes to load, beside reading its file, and the memory that takes at most:
//! `cargo bench -p pyrograph-infer --bench load`.

// A measurement that cannot go on has nothing better to do than to stop.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use pyrograph_data::Preprocess;
use pyrograph_infer::ModelFile;
use pyrograph_model::{InputShape, ModelConfig};

const RUNS: usize = 9;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet50.safetensors");
    // Another process makes the file, so that its memory is not measured.
    if let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        return write(path.as_ref());
    }
    let made = std::process::Command::new(std::env::current_exe().unwrap()).arg(&path).status().unwrap();
    assert!(made.success());
    let size = std::fs::metadata(&path).unwrap().len();
    let device = Device::flex();
    let before = peak_kib();
    black_box(ModelFile::load(&path, &device).unwrap());
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        println!(
            "memory at most: {:.2} times the file's {} MB",
            (after - before) as f64 * 1024.0 / size as f64,
            size / 1_000_000
        );
    }
    let (mut reading, mut loading) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        reading.push(timed(|| {
            black_box(std::fs::read(&path).unwrap());
        }));
        loading.push(timed(|| {
            black_box(ModelFile::load(&path, &device).unwrap());
        }));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[RUNS / 2].as_secs_f64() * 1000.0
    };
    let (reading, loading) = (median(&mut reading), median(&mut loading));
    println!("reading {reading:.1} ms, loading {loading:.1} ms: {:.2} times", loading / reading);
}

fn write(path: &std::path::Path) {
    let input = InputShape { channels: 3, height: 224, width: 224 };
    let config = ModelConfig::from_name("resnet50", input, 1000).unwrap();
    let model = config.init(0, &Device::flex());
    let class_names = (0..1000).map(|class| class.to_string()).collect();
    let preprocess = Preprocess::new(3, 224, 224);
    ModelFile { config, preprocess, class_names, recipe: String::new(), model }.save(path).unwrap();
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// Of this process, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
