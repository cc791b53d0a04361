//! Published weights give their published results.
//!
//! The weights and pictures are not in the repository: where `shared` is found above this crate, or below the folder that
//! `PYROGRAPH_SHARED` names, they are used; elsewhere the tests say so and pass.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use pyrograph_data::{Image, Preprocess};
use pyrograph_infer::{ModelFile, Predictor, read_weights};
use pyrograph_model::{InputShape, ModelConfig, load_tensors};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A file or folder below `shared`.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|up| up.join("shared"))
            .find(|path| path.is_dir())
    };
    let found = std::env::var_os("PYROGRAPH_SHARED").map(PathBuf::from).or_else(beside);
    let found = found.map(|shared| shared.join(name)).filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: shared/{name} not found");
    }
    found
}

fn predictor(weights: &Path, name: &str, size: u32, steps: &str, class_names: Vec<String>) -> Predictor {
    let device = Device::flex();
    let input = InputShape { channels: 3, height: size as usize, width: size as usize };
    let config = ModelConfig::from_name(name, input, class_names.len()).unwrap();
    let model = load_tensors(config.init(0, &device), read_weights(weights).unwrap()).unwrap();
    let preprocess = Preprocess {
        steps: steps.parse().unwrap(),
        mean: MEAN.to_vec(),
        std: STD.to_vec(),
        ..Preprocess::new(3, size, size)
    };
    let file = ModelFile { config, preprocess, class_names, recipe: String::new(), model };
    Predictor::new(file, &device)
}

#[test]
fn resnet20_knows_97_of_100_pictures_of_cifar10() {
    let (Some(weights), Some(pictures)) = (
        shared("data/weights/resnet_cifar10_akamaster/resnet20-12fca82f.th"),
        shared("data/cifar10_png100_maxim"),
    ) else {
        return;
    };
    let classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let predictor = predictor(&weights, "resnet20", 32, "", classes.map(String::from).to_vec());
    let mut right = 0;
    for class in classes {
        let images = (1..=10).map(|n| Image::open(pictures.join(format!("{class}{n}.png"))).unwrap());
        let answers = predictor.predict(images.collect(), 1).unwrap();
        right += answers.iter().filter(|answer| answer[0].class == class).count();
    }
    assert_eq!(right, 97);
}

#[test]
fn mobilenet_gives_the_logits_of_pytorch_on_100_photos() {
    let (Some(weights), Some(photos), Some(golden)) = (
        shared("data/weights/mobilenetv1_025_imagenet_bubbliiiing/mobilenetV1X0.25_pretrain.tar"),
        shared("data/imagenet_sample_1000"),
        shared("golden/mobilenetv1_025_photos100_top5.tsv"),
    ) else {
        return;
    };
    let classes = (0..1000).map(|class| class.to_string()).collect();
    let steps = "resize(256)|center_crop(224)";
    let predictor = predictor(&weights, "mobilenet_v1_025_leaky", 224, steps, classes);
    let ModelFile { model, preprocess, .. } = predictor.file();
    let (mut count, mut top1, mut top5, mut off, mut other_order) = (0, 0, 0, 0f32, 0);
    for line in std::fs::read_to_string(golden).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, label, expected, values] = columns[..] else { panic!("{line}") };
        let numbers = |text: &str| text.split(',').map(|n| n.parse::<f32>().unwrap()).collect::<Vec<_>>();
        let (label, expected) = (label.parse::<usize>().unwrap(), numbers(expected));
        let image = preprocess.apply(Image::open(photos.join(file)).unwrap());
        let mut input = vec![0f32; 3 * 224 * 224];
        preprocess.normalize_into(image.pixels(), &mut input);
        let input = Tensor::<4>::from_data(TensorData::new(input, [1, 3, 224, 224]), &Device::flex());
        let logits = model.forward(input).into_data().try_to_vec::<f32>().unwrap();
        let mut order: Vec<usize> = (0..1000).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        for (&class, value) in expected.iter().zip(numbers(values)) {
            off = off.max((logits[class as usize] - value).abs());
        }
        other_order +=
            usize::from(order.iter().zip(&expected).any(|(&ours, &theirs)| ours != theirs as usize));
        top1 += usize::from(order[0] == label);
        top5 += usize::from(order[..5].contains(&label));
        count += 1;
    }
    println!(
        "{count} photos: logits off by {off:.1e} at most, {other_order} with other top 5, {top1} and {top5} right"
    );
    assert_eq!((count, top1, top5, other_order), (100, 57, 80, 0));
    // The reference is written with three decimals.
    assert!(off < 2e-3, "logits off by {off}");
}
