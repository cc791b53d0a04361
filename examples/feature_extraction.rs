//! Features of images from a trained network, and which images look alike.
//!
//! Run:    cargo run --release --example feature_extraction -- runs/resnet18-1/best.safetensors 1.jpg 2.jpg 3.jpg
//! Expect: the levels of the network's pyramid, and a line a pair of images: `1.jpg  2.jpg  0.87` (1 is the same direction)

use std::error::Error;

use pyrograph::burn::tensor::{Tensor, TensorData};
use pyrograph::model::default_device;
use pyrograph::{Image, ModelFile};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("give a model file and images")?;
    let images: Vec<String> = arguments.collect();
    let (device, _) = default_device()?;
    let file = ModelFile::load(model, &device)?;
    for level in file.model.backbone().levels() {
        println!("a level of {} channels, a pixel of it for {} of the image", level.channels, level.stride);
    }

    let mut features = Vec::new();
    for path in &images {
        let image = file.preprocess.apply(Image::open(path)?);
        let mut values = vec![0.0; image.pixels().len()];
        file.preprocess.normalize_into(image.pixels(), &mut values);
        let shape = [1, image.channels().into(), image.height() as usize, image.width() as usize];
        let input = Tensor::<4>::from_data(TensorData::new(values, shape), &device);
        // The last level, averaged over the picture: [1, channels].
        let last = file.model.features(input).pop().ok_or("this network has no feature maps")?;
        let mean = last.mean_dim(3).mean_dim(2).flatten::<2>(1, 3);
        let length = mean.clone().powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        features.push(mean / length);
    }
    for (n, one) in features.iter().enumerate() {
        for (m, other) in features.iter().enumerate().skip(n + 1) {
            let likeness = (one.clone() * other.clone()).sum().into_scalar::<f32>();
            println!("{}  {}  {likeness:.2}", images[n], images[m]);
        }
    }
    Ok(())
}
