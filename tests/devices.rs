//! Training on several devices, and in numbers of half the bits.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pyrograph::burn::tensor::Device;
use pyrograph::data::source::Subset;
use pyrograph::infer::read_weights;
use pyrograph::train::{Error, Fitted, Plan, Recipe, RunOptions, run_plan};

/// 120 drawn digits.
fn plan(settings: &[(&str, &str)]) -> Plan {
    let usual = [("model", "mlp"), ("batch", "5"), ("epochs", "2"), ("accumulate", "6"), ("seed", "3")];
    let recipe = usual.iter().chain(settings);
    let recipe = recipe.fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let mut plan = Plan::new(&recipe).unwrap();
    plan.train = Arc::new(Subset::new(plan.train.clone(), (0..120).collect()).unwrap());
    plan.valid = Arc::new(Subset::new(plan.valid.clone(), (0..50).collect()).unwrap());
    plan.test = None;
    plan
}

/// Trains on so many devices. A machine has one CPU, which stands in for several.
fn trained(plan: &Plan, devices: usize, out: &Path) -> Result<Fitted, Box<Error>> {
    let (device, more_devices) = (Device::flex(), vec![Device::flex(); devices - 1]);
    let out = Some(out.to_owned());
    let options = RunOptions { device, more_devices, out, threads: 2, ..RunOptions::default() };
    run_plan(plan, &options, Vec::new()).map(|outcome| outcome.fitted).map_err(Box::new)
}

/// Those of the last model, by name.
fn weights(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let tensors = read_weights(run.join("last.safetensors")).unwrap();
    tensors.into_iter().map(|(name, values)| (name, values.as_bytes().to_vec())).collect()
}

#[test]
fn several_devices_learn_what_one_learns() {
    let place = tempfile::tempdir().unwrap();
    for (name, settings) in [
        ("mlp", &[("dropout", "0.2"), ("mix.mixup", "0.2")][..]),
        // Steps at the end of an epoch have fewer batches than there are devices.
        ("uneven", &[("accumulate", "18"), ("optim.kind", "adamw")]),
        ("small_cnn", &[("model", "small_cnn")]),
    ] {
        let plan = plan(settings);
        let run = |devices: usize| place.path().join(format!("{name}-{devices}"));
        for devices in [1, 2, 3] {
            trained(&plan, devices, &run(devices)).unwrap();
        }
        let running = |name: &str| name.contains("running_");
        for devices in [2, 3] {
            let pairs = weights(&run(1)).into_iter().zip(weights(&run(devices)));
            for (one, several) in pairs.filter(|((name, _), _)| !running(name)) {
                assert!(one == several, "{name}: {} on {devices} devices", one.0);
            }
        }
    }
}

#[test]
fn what_does_not_learn_and_who_teaches_are_on_every_device() {
    let place = tempfile::tempdir().unwrap();
    let of = |name: &str| place.path().join(name);
    trained(&plan(&[]), 1, &of("teacher")).unwrap();
    let teacher = of("teacher");
    let start = teacher.join("last.safetensors");
    let settings = [
        ("distill.teacher", teacher.to_str().unwrap()),
        ("start.weights", start.to_str().unwrap()),
        ("start.freeze_epochs", "1"),
    ];
    let plan = plan(&settings);
    for devices in [1, 3] {
        trained(&plan, devices, &of(&devices.to_string())).unwrap();
    }
    assert!(weights(&of("1")) == weights(&of("3")));
}

#[test]
fn devices_that_cannot_share_a_step_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let error = trained(&plan(&[("accumulate", "2")]), 3, &place.path().join("run")).unwrap_err();
    assert!(error.to_string().contains("--set accumulate=3"), "{error}");
}

#[test]
fn products_in_bfloat16_learn_nearly_the_same() {
    let place = tempfile::tempdir().unwrap();
    let settings = [("model", "small_cnn"), ("accumulate", "1"), ("optim.lr", "0.01")];
    let exact = trained(&plan(&settings), 1, &place.path().join("exact")).unwrap();
    let rounded = [&settings[..], &[("amp", "bf16")]].concat();
    let rounded = trained(&plan(&rounded), 1, &place.path().join("rounded")).unwrap();
    let (exact, rounded) = (exact.epochs[1].train_loss, rounded.epochs[1].train_loss);
    assert!(exact != rounded, "nothing was rounded");
    assert!((exact - rounded).abs() < 0.05 * exact, "{rounded} instead of {exact}");
}

#[test]
fn the_program_shares_steps_between_the_devices_it_is_told() {
    let place = tempfile::tempdir().unwrap();
    let train = |device: &str, accumulate: &str, out: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_pyrograph"));
        program.args(["train", "--model", "linear", "--epochs", "1", "--device", device, "--out", out]);
        program.args(["--set", accumulate]).current_dir(place.path()).output().unwrap()
    };
    for (device, out) in [("flex", "one"), ("flex,flex", "two")] {
        assert!(train(device, "accumulate=2", out).status.success(), "{device}");
    }
    assert!(weights(&place.path().join("one")) == weights(&place.path().join("two")));
    let odd = train("flex,flex", "accumulate=3", "odd");
    assert_eq!(odd.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&odd.stderr).contains("a multiple of 2"));
}
