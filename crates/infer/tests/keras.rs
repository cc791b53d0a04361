//! Keras's networks from the files that Keras writes: the same logits.
//!
//! Needs a Python with keras, torch and h5py, `python3` or what `PYROGRAPH_PYTHON` names; elsewhere the test says so and passes.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "keras")]

use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use pyrograph_infer::{check_keras, read_weights};
use pyrograph_model::{InputShape, ModelConfig, load_tensors};

/// The first four are one of each family and width; the others take a while and 1 GB of disk.
const NETWORKS: [&str; 4] =
    ["mobilenet_keras_025", "mobilenet_keras", "efficientnet_b0_keras", "resnet50_keras"];
const LARGE: [&str; 4] =
    ["efficientnet_b1_keras", "efficientnet_b2_keras", "efficientnet_b3_keras", "efficientnet_b4_keras"];

#[test]
fn keras_networks_give_keras_logits() {
    compare(&NETWORKS);
}

#[test]
#[ignore = "takes a while: cargo test -p pyrograph-infer --features keras --test keras -- --ignored"]
fn larger_keras_networks_give_keras_logits() {
    compare(&LARGE);
}

fn compare(networks: &[&str]) {
    let python = std::env::var("PYROGRAPH_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python)
        .args(["-c", "import torch, keras, h5py"])
        .env("KERAS_BACKEND", "torch")
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no torch, keras and h5py");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keras_logits.py");
    let output = Command::new(&python).arg(script).arg(folder.path()).args(networks).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let device = Device::flex();
    let (mut compared, mut before) = (0, Vec::new());
    for line in text.lines().filter(|line| networks.contains(&line.split(' ').next().unwrap())) {
        let fields: Vec<&str> = line.split(' ').collect();
        let (name, rows) = (fields[0], fields[1].parse::<usize>().unwrap());
        let theirs: Vec<f32> = fields[2..].iter().map(|value| value.parse().unwrap()).collect();
        // Logits that hardly depend on the image would say little.
        if rows == 65 {
            let change =
                theirs.iter().zip(&before).map(|(a, b): (&f32, &f32)| (a - b).abs()).fold(0.0, f32::max);
            assert!(change > 1e-3, "{name}: {theirs:?} and {before:?}");
        }
        before.clone_from(&theirs);
        let input = InputShape { channels: 3, height: 64, width: 64 };
        let config = ModelConfig::from_name(name, input, theirs.len()).unwrap();
        let values: Vec<f32> = (0..3 * rows * 64).map(|n| (n as f64 / 10.0).sin() as f32).collect();
        let image = Tensor::<4>::from_data(TensorData::new(values, [1, 3, rows, 64]), &device);
        for form in [".h5", ".weights.h5", "_old.h5"] {
            let path = folder.path().join(format!("{name}{form}"));
            check_keras(&path, &config).unwrap();
            let model = load_tensors(config.init(0, &device), read_weights(&path).unwrap()).unwrap();
            let ours = model.forward(image.clone()).into_data().try_to_vec::<f32>().unwrap();
            let scale = theirs.iter().fold(0f32, |most, value| most.max(value.abs()));
            let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{name}{form}, {rows} rows: off by {off:.1e} of {scale:.1e}");
            assert!(off < 1e-4 * scale, "{name}{form}: {ours:?} against {theirs:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 6 * networks.len());
}
