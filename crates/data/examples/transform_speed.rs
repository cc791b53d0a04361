//! How long each step takes on a picture of 224 x 224 pixels, on one thread.
//!
//! `cargo run --release -p pyrograph-data --example transform_speed` prints the fastest of 200 runs of each, in microseconds; further
//! pipelines to measure may follow as arguments.

use std::time::{Duration, Instant};

use pyrograph_data::transform::{Draws, Pipeline, Scene};
use pyrograph_data::{Image, Result};

const STEPS: [&str; 27] = [
    "flip(p=1)",
    "vflip(p=1)",
    "color_jitter(0.4, 0.4, 0.4, 0.1)",
    "brightness(1.4, p=1)",
    "contrast(0.6, p=1)",
    "saturation(1.8, p=1)",
    "hue(0.1, p=1)",
    "sharpness(1.9, p=1)",
    "posterize(4, p=1)",
    "solarize(128, p=1)",
    "invert(p=1)",
    "autocontrast(p=1)",
    "equalize(p=1)",
    "grayscale(p=1)",
    "rotate(30..30)",
    "rotate(30..30, filter=bilinear)",
    "affine(0, shear=16..16)",
    "affine(0, translate=0.2)",
    "perspective(p=1)",
    "blur(23, sigma=1..1)",
    "random_erasing(p=1)",
    "random_crop(224, padding=16)",
    "random_resized_crop(224)",
    "random_resized_crop(224, filter=bicubic)",
    "rand_augment(2, 9)",
    "trivial_augment_wide",
    "augmix",
];

fn main() -> Result<()> {
    let pixels =
        (0..224 * 224 * 3_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 / 2 + (n / 1200) as u8);
    let image = Image::new(224, 224, 3, pixels.collect());
    for text in STEPS.into_iter().map(String::from).chain(std::env::args().skip(1)) {
        let steps: Pipeline = text.parse()?;
        let mut fastest = Duration::MAX;
        let mut sum = Duration::ZERO;
        for index in 0..200 {
            let mut scene = Scene::from(image.clone());
            let start = Instant::now();
            steps.apply(&mut scene, &Draws { seed: 0, epoch: 0, index });
            fastest = fastest.min(start.elapsed());
            sum += start.elapsed();
        }
        println!(
            "{:7.1} fastest {:7.1} mean  {text}",
            fastest.as_secs_f64() * 1e6,
            sum.as_secs_f64() * 1e6 / 200.0
        );
    }
    Ok(())
}
