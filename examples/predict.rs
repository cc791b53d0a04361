//! What a model sees on one image.
//!
//! Run:    cargo run --release --example predict -- runs/small_cnn-1/best.safetensors runs/small_cnn-1/example.png
//! Expect: a line a class, the most probable first, like `  99.9 %  4`

use std::error::Error;

use pyrograph::model::default_device;
use pyrograph::{Image, Predictor};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("give a model file and an image".into());
    };
    let (device, _) = default_device()?;
    let predictor = Predictor::load(model, &device)?;
    for prediction in &predictor.predict(vec![Image::open(image)?], 5)?[0] {
        println!("{:6.1} %  {}", 100.0 * prediction.probability, prediction.class);
    }
    Ok(())
}
