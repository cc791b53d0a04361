//! Weights that PyTorch saved become a model that predicts.
//!
//! Run:    cargo run --release --example import_pytorch -- resnet50-11ad3fa6.pth resnet50 picture.jpg
//! Expect: five lines, a class by its number and how probable it is. Nothing in the file is executed.

use std::error::Error;

use pyrograph::infer::{ModelFile, Predictor, read_weights};
use pyrograph::model::{InputShape, ModelConfig, default_device, load_tensors};
use pyrograph::{Image, Preprocess};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, name, picture] = &arguments[..] else { return Err("give WEIGHTS NETWORK PICTURE".into()) };
    let (device, _) = default_device()?;
    let input = InputShape { channels: 3, height: 224, width: 224 };
    let config = ModelConfig::from_name(name, input, 1000)?;
    // Every tensor must be one of the network's, by name and shape.
    let model = load_tensors(config.init(0, &device), read_weights(weights)?)?;
    let steps = "resize(256)|center_crop(224)".parse()?;
    let preprocess = Preprocess { steps, ..Preprocess::new(3, 224, 224).with_imagenet_statistics() };
    let class_names = (0..1000).map(|class| format!("class {class}")).collect();
    let file = ModelFile { config, preprocess, class_names, recipe: String::new(), model };
    for prediction in &Predictor::new(file, &device).predict(vec![Image::open(picture)?], 5)?[0] {
        println!("{:6.1} %  {}", 100.0 * prediction.probability, prediction.class);
    }
    Ok(())
}
