//! The same network from the same seed learns the same on every backend of the build.
//!
//! `cargo test --features ndarray,wgpu --test backends` compares three. wgpu needs no GPU where Mesa's software Vulkan
//! (`mesa-vulkan-drivers`) is installed.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pyrograph::burn::data::dataloader::DataLoader;
use pyrograph::burn::optim::{GradientsParams, SgdConfig};
use pyrograph::burn::tensor::Device;
use pyrograph::data::order::Order;
use pyrograph::data::{DataSet, Loader, LoaderConfig, Preprocess};
use pyrograph::infer::tensor_loader;
use pyrograph::model::{InputShape, ModelConfig, cross_entropy, parse_device};

const STEPS: usize = 20;

/// The loss of each step of a small CNN on the drawn digits.
fn losses(device: &Device) -> Vec<f64> {
    let device = device.clone().autodiff();
    let input = InputShape { channels: 1, height: 28, width: 28 };
    let mut model = ModelConfig::from_name("small_cnn", input, 10).unwrap().init(1, &device);
    let mut optimizer = SgdConfig::new().init();
    let config = LoaderConfig {
        batch_size: 8,
        order: Order::Shuffled,
        seed: 1,
        preprocess: Preprocess::new(1, 28, 28),
        ..LoaderConfig::default()
    };
    let loader = tensor_loader(Loader::new(DataSet::digits(1).train, config).unwrap(), device);
    let mut losses = Vec::new();
    for batch in loader.iter().take(STEPS) {
        let batch = batch.unwrap();
        let loss = cross_entropy(model.forward(batch.images), batch.targets, 0.0);
        losses.push(f64::from(loss.clone().into_scalar::<f32>()));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.02, model, gradients);
    }
    losses
}

#[test]
fn every_backend_learns_the_same() {
    let expected = losses(&parse_device("flex").unwrap());
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (early, late) = (mean(&expected[..5]), mean(&expected[STEPS - 5..]));
    assert!(late < early, "flex learns nothing: {expected:?}");
    let others = [("ndarray", cfg!(feature = "ndarray")), ("wgpu", cfg!(feature = "wgpu"))];
    for (name, _) in others.into_iter().filter(|(_, built)| *built) {
        let found = losses(&parse_device(name).unwrap());
        let worst = expected.iter().zip(&found).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        println!("{name}: losses of {STEPS} steps within {worst:.1e} of flex");
        assert!(worst < 1e-3, "{name} is off by {worst:.1e}: {found:?} against {expected:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_losses_bit_for_bit() {
    let device = parse_device("flex").unwrap();
    assert_eq!(losses(&device), losses(&device));
}
