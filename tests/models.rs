//! The program on models that are trained: answers with mirror images, and averages.

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

#[test]
fn the_average_of_models_is_a_model_that_can_be_used() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    photos(folder);
    fs::create_dir(folder.join("run")).unwrap();
    model(1).save(folder.join("a.safetensors")).unwrap();
    model(2).save(folder.join("run/best.safetensors")).unwrap();

    let said = printed(folder, &["average", "a.safetensors", "run", "-o", "mean.safetensors"]);
    assert!(
        said.contains("Average of 2 models: small_cnn with") && said.contains("eval mean.safetensors"),
        "{said}"
    );
    let report = printed(folder, &["eval", "mean.safetensors", "photos", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["images"].as_u64(), Some(4));
    assert!(report["loss"].as_f64().unwrap().is_finite());

    printed(folder, &["average", "a.safetensors", "a.safetensors", "--out", "same.safetensors"]);
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(bytes("same.safetensors") == bytes("a.safetensors"));
}

#[test]
fn an_average_that_cannot_be_made_is_refused_and_leaves_every_file_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("run")).unwrap();
    model(1).save(folder.join("a.safetensors")).unwrap();
    model(2).save(folder.join("run/best.safetensors")).unwrap();
    let other = ModelFile { class_names: ["blue", "green"].map(String::from).to_vec(), ..model(3) };
    other.save(folder.join("green.safetensors")).unwrap();
    fs::write(folder.join("cut.safetensors"), &fs::read(folder.join("a.safetensors")).unwrap()[..3000])
        .unwrap();
    fs::write(folder.join("out.safetensors"), "older").unwrap();
    let names = ["a.safetensors", "run/best.safetensors", "green.safetensors", "out.safetensors"];
    let bytes = || names.map(|name| fs::read(folder.join(name)).unwrap());
    let before = bytes();
    for (models, out, parts) in [
        (
            ["a.safetensors", "green.safetensors"],
            "new.safetensors",
            ["green.safetensors", "class 1 is \"green\""],
        ),
        (["a.safetensors", "cut.safetensors"], "new.safetensors", ["cut.safetensors", "not a whole"]),
        (
            ["a.safetensors", "none.safetensors"],
            "new.safetensors",
            ["none.safetensors", "no such file or folder; check the path"],
        ),
        (["a.safetensors", "run"], "out.safetensors", ["out.safetensors", "such a file already"]),
        (["a.safetensors", "run"], "./a.safetensors", ["a.safetensors", "choose another file"]),
        (["a.safetensors", "run"], "run/best.safetensors", ["run/best.safetensors", "choose another file"]),
        (["a.safetensors", "run"], "s3://bucket/m.safetensors", ["s3://bucket", "upload"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyrograph"));
        let arguments = ["average", models[0], models[1], "-o", out];
        let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
        assert!(bytes() == before, "{arguments:?}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 5);
}
