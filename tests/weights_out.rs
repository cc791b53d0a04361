//! Model files open in PyTorch: torchvision's networks take their tensors and give the same logits.
//!
//! Needs a Python with torch, torchvision and safetensors, `python3` or what `PYROGRAPH_PYTHON` names; elsewhere the test says so and passes.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use pyrograph::burn::tensor::{Device, Tensor, TensorData};
use pyrograph::data::Preprocess;
use pyrograph::infer::ModelFile;
use pyrograph::model::{InputShape, ModelConfig};

const NETWORKS: [&str; 6] =
    ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "swin_t", "shufflenet_v2_x0_5"];

#[test]
fn torchvision_takes_the_weights_and_gives_the_same_logits() {
    let python = std::env::var("PYROGRAPH_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import torch, torchvision, safetensors"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no torch, torchvision and safetensors");
        return;
    }
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..3 * 224 * 224).map(|n| (f64::from(n) / 10.0).sin() as f32).collect();
    let image = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 224, 224]), &device);
    let mut expected = std::collections::BTreeMap::new();
    for name in NETWORKS {
        let input = InputShape { channels: 3, height: 224, width: 224 };
        let config = ModelConfig::from_name(name, input, 5).unwrap();
        let model = config.init(7, &device);
        let logits = model.forward(image.clone()).into_data().try_to_vec::<f32>().unwrap();
        expected.insert(name.to_owned(), logits);
        let file = ModelFile {
            config,
            preprocess: Preprocess::new(3, 224, 224),
            class_names: (0..5).map(|class| class.to_string()).collect(),
            recipe: String::new(),
            model,
        };
        file.save(folder.path().join(format!("{name}.safetensors"))).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/weights_out.py");
    let output = Command::new(&python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        let (name, logits) = line.split_once(' ').unwrap();
        let theirs: Vec<f32> = logits.split(' ').map(|value| value.parse().unwrap()).collect();
        let ours = &expected[name];
        let scale = ours.iter().fold(0f32, |most, value| most.max(value.abs()));
        let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: off by {off:.1e} of {scale:.1e}");
        assert!(off < 1e-4 * scale, "{name}: {ours:?} against {theirs:?}");
    }
    assert_eq!(text.lines().count(), NETWORKS.len());
}
