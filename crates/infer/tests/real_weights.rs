//! Published weights give their published results.
//!
//! The weights and pictures are not in the repository: where `shared/data` is found above this crate, or below the folder that
//! `PYROGRAPH_SHARED` names, they are used; elsewhere the tests say so and pass.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use pyrograph_data::{Image, Preprocess};
use pyrograph_infer::{ModelFile, Predictor, read_weights};
use pyrograph_model::{InputShape, ModelConfig, load_tensors};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

fn shared(name: &str) -> Option<PathBuf> {
    let beside = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|up| up.join("shared"))
            .find(|path| path.is_dir())
    };
    let found = std::env::var_os("PYROGRAPH_SHARED").map(PathBuf::from).or_else(beside);
    let found = found.map(|shared| shared.join("data").join(name)).filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: shared/data/{name} not found");
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
    let (Some(weights), Some(pictures)) =
        (shared("weights/resnet_cifar10_akamaster/resnet20-12fca82f.th"), shared("cifar10_png100_maxim"))
    else {
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
