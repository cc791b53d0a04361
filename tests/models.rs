//! The program on models that are trained: answers with mirror images.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage, imageops::flip_horizontal};
use pyrograph::ModelFile;
use pyrograph::burn::tensor::Device;
use pyrograph::data::Preprocess;
use pyrograph::model::{InputShape, ModelConfig};

/// What the program prints when it does what it is told.
#[track_caller]
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyrograph"));
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A network for pictures of 12x10 pixels with weights that `seed` decides.
fn model(seed: u64) -> ModelFile {
    let input = InputShape { channels: 3, height: 10, width: 12 };
    let config = ModelConfig::from_name("small_cnn", input, 2).unwrap();
    ModelFile {
        model: config.init(seed, &Device::flex()),
        config,
        preprocess: Preprocess::new(3, 10, 12),
        class_names: ["blue", "red"].map(String::from).to_vec(),
        recipe: String::new(),
    }
}

/// Two pictures of each of two classes, and the mirror image of each in a folder of its own.
fn photos(folder: &Path) {
    for (class, color) in [("red", [200, 20, 20]), ("blue", [20, 20, 200])] {
        for n in 0..2 {
            let photo =
                RgbImage::from_fn(12, 10, |x, _| Rgb(color.map(|v: u8| v.wrapping_add((x * x) as u8 + n))));
            for (place, photo) in [("photos", photo.clone()), ("mirrored", flip_horizontal(&photo))] {
                let place = folder.join(place).join(class);
                fs::create_dir_all(&place).unwrap();
                photo.save(place.join(format!("{n}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn with_flip_images_and_their_mirror_images_get_the_same_answers() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    photos(folder);
    model(1).save(folder.join("m.safetensors")).unwrap();

    let predictions = |photos: &str, more: &[&str]| -> Vec<serde_json::Value> {
        let text = printed(folder, &[&["predict", "m.safetensors", photos, "--json"], more].concat());
        let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["predictions"].clone();
        text.lines().map(line).collect()
    };
    let mean = predictions("photos", &["--flip"]);
    assert_eq!(mean.len(), 4);
    assert_eq!(mean, predictions("mirrored", &["--flip"]));
    assert_ne!(predictions("photos", &[]), predictions("mirrored", &[]));
    assert_ne!(mean, predictions("photos", &[]));

    let report = |photos: &str, more: &[&str]| -> serde_json::Value {
        let text = printed(folder, &[&["eval", "m.safetensors", photos, "--json"], more].concat());
        serde_json::from_str(&text).unwrap()
    };
    let mean = report("photos", &["--flip"]);
    assert_eq!(mean["images"].as_u64(), Some(4));
    assert_eq!(mean, report("mirrored", &["--flip"]));
    assert_ne!(mean["loss"], report("photos", &[])["loss"]);
    assert!(printed(folder, &["eval", "m.safetensors", "photos", "--flip"]).contains("4 images"));
}
