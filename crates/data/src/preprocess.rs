//! What a network wants to see, and how to make it from a picture.

use serde::{Deserialize, Serialize};

use crate::transform::{Draws, Pipeline, Scene, Step};
use crate::{Error, ErrorKind, Image, Result, resize};

/// The way from a decoded picture to the values a network takes. It is stored with every model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// 1 (gray) or 3 (red, green, blue).
    pub channels: u8,
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// How pictures get to this size, as `resize(256)|center_crop(224)`. What the steps leave at another size is stretched.
    pub steps: Pipeline,
    /// Of each channel, for values 0 to 1.
    pub mean: Vec<f32>,
    /// Of each channel, for values 0 to 1.
    pub std: Vec<f32>,
}

/// The largest side of a network's input.
const LARGEST: u32 = 4096;
/// A smaller deviation would make values that are not finite of ordinary ones.
const SMALLEST_STD: f32 = 1e-6;

/// More would be no preprocessing.
const MOST_STEPS: usize = 8;

/// Whether a step does the same to every picture, and to nothing but its size.
fn is_fixed(step: &Step) -> bool {
    matches!(step, Step::Resize(_) | Step::CenterCrop(_) | Step::Pad(_))
}

impl Preprocess {
    /// Pictures of `channels` x `height` x `width`, stretched where they have another size, with values 0 to 1.
    #[must_use]
    pub fn new(channels: u8, height: u32, width: u32) -> Self {
        let count = usize::from(channels);
        let steps = Pipeline::default();
        Self { channels, height, width, steps, mean: vec![0.0; count], std: vec![1.0; count] }
    }

    /// The same with mean and deviation of ImageNet's photos, which most published weights expect; gray pictures get the means over the
    /// colours.
    #[must_use]
    pub fn with_imagenet_statistics(self) -> Self {
        let (mean, std) = if self.channels == 3 {
            (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225])
        } else {
            (vec![0.449], vec![0.226])
        };
        Self { mean, std, ..self }
    }

    /// Whether every number is in its range. What comes from a file is checked before it is used.
    ///
    /// # Errors
    ///
    /// Names the number and what it may be.
    pub fn check(&self) -> Result<()> {
        let sides = [self.height, self.width];
        let count = usize::from(self.channels);
        let problem = if !matches!(self.channels, 1 | 3) {
            format!("{} channels; it must be 1 or 3", self.channels)
        } else if sides.iter().any(|side| !(1..=LARGEST).contains(side)) {
            format!("a size of {}x{}; sides must be 1 to {LARGEST}", sides[0], sides[1])
        } else if self.mean.len() != count || self.std.len() != count {
            format!("{} means and {} deviations for {count} channels", self.mean.len(), self.std.len())
        } else if self.mean.iter().any(|v| !v.is_finite())
            || self.std.iter().any(|v| !v.is_finite() || *v < SMALLEST_STD)
        {
            "a mean that is not finite or a deviation below 0.000001".to_owned()
        } else if self.steps.steps().len() > MOST_STEPS {
            format!("{} steps; at most {MOST_STEPS} are allowed", self.steps.steps().len())
        } else if let Some(step) = self.steps.steps().iter().find(|step| !is_fixed(step)) {
            format!("the step `{step}`; the steps of a network in use are resize, center_crop and pad")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Setting(format!("the preprocessing has {problem}"))))
    }

    /// Bytes of one prepared picture.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::from(self.channels) * self.height as usize * self.width as usize
    }

    /// The picture with the network's channels and size.
    #[must_use]
    pub fn apply(&self, image: Image) -> Image {
        let mut scene = Scene::from(image);
        // Nothing in the steps of a network in use is random.
        let draws = Draws { seed: 0, epoch: 0, index: 0 };
        let view = self.steps.view(scene.image.width(), scene.image.height(), &draws);
        let covered = view.map_or(0, |(view, covered)| {
            view.apply(&mut scene);
            covered
        });
        self.steps.apply_from(covered, &mut scene, &draws);
        self.finish(scene.image)
    }

    /// What the steps have left, with the network's channels and size.
    #[must_use]
    pub fn finish(&self, image: Image) -> Image {
        let image = image.with_channels(self.channels);
        if (image.width(), image.height()) == (self.width, self.height) {
            return image;
        }
        resize(&image, self.width, self.height)
    }

    /// Writes a prepared picture's bytes, `[height, width, channels]`, as normalized values, `[channels, height, width]`.
    ///
    /// # Panics
    ///
    /// If either slice has not one element a value of the picture.
    pub fn normalize_into(&self, pixels: &[u8], out: &mut [f32]) {
        let channels = usize::from(self.channels);
        assert_eq!((pixels.len(), out.len()), (self.bytes(), self.bytes()));
        let plane = pixels.len() / channels;
        for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
            let table = self.table(channel);
            for (value, pixel) in out.iter_mut().zip(pixels.iter().skip(channel).step_by(channels)) {
                *value = table[usize::from(*pixel)];
            }
        }
    }

    /// The normalized value of each byte.
    fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_data;
    use crate::{Limits, decode};

    fn ramp(width: u32, height: u32) -> Image {
        Image::new(width, height, 1, (0..width * height).map(|v| v as u8).collect())
    }

    #[test]
    fn bytes_become_normalized_planes() {
        let preprocess =
            Preprocess { mean: vec![0.5, 0.0, 0.0], std: vec![0.5, 1.0, 2.0], ..Preprocess::new(3, 1, 2) };
        let mut out = [0.0; 6];
        preprocess.normalize_into(&[255, 255, 255, 0, 0, 0], &mut out);
        assert_eq!(out, [1.0, -1.0, 1.0, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn every_picture_gets_the_networks_shape() {
        for steps in ["", "resize(10, 14)", "resize(12)|center_crop(10, 14)", "resize(9)|center_crop(30)"] {
            for (width, height) in [(1, 1), (3, 400), (400, 3), (16, 16), (1, 30_000)] {
                for channels in [1, 3] {
                    let steps = steps.parse().unwrap();
                    let preprocess = Preprocess { steps, ..Preprocess::new(channels, 10, 14) };
                    let image = preprocess.apply(ramp(width, height));
                    assert_eq!((image.channels(), image.height(), image.width()), (channels, 10, 14));
                }
            }
        }
    }

    #[test]
    fn photos_equal_those_of_pillow_and_torchvision() {
        let Some(folder) = shared_data("../golden/resize") else { return };
        let read = |name: String| {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            decode(&bytes, &Limits::default()).unwrap()
        };
        let steps = "resize(256)|center_crop(224)".parse().unwrap();
        let preprocess = Preprocess { steps, ..Preprocess::new(3, 224, 224) };
        for photo in [
            "n01440764_tench",
            "n02102480_Sussex_spaniel",
            "n02894605_breakwater",
            "n04204238_shopping_basket",
        ] {
            let ours = preprocess.apply(read(format!("{photo}.decoded.png")));
            let theirs = read(format!("{photo}.bilinear.256.224.png"));
            let differences = ours.pixels().iter().zip(theirs.pixels()).map(|(a, b)| a.abs_diff(*b));
            assert_eq!(ours.pixels().len(), theirs.pixels().len());
            assert!(differences.max() <= Some(1), "{photo}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let good = Preprocess::new(3, 8, 8);
        assert!(good.check().is_ok());
        for bad in [
            Preprocess { channels: 2, ..good.clone() },
            Preprocess { height: 0, ..good.clone() },
            Preprocess { width: u32::MAX, ..good.clone() },
            Preprocess { mean: vec![], ..good.clone() },
            Preprocess { std: vec![1.0, 0.0, 1.0], ..good.clone() },
            Preprocess { steps: "resize(8)|flip".parse().unwrap(), ..good.clone() },
            Preprocess { steps: ["pad(1)"; 9].join("|").parse().unwrap(), ..good.clone() },
            Preprocess { mean: vec![f32::NAN; 3], ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
