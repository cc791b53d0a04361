//! Random changes to training pictures.

use serde::{Deserialize, Serialize};

use crate::Image;
use crate::order::SampleRng;
use crate::preprocess::crop;

/// A change to a picture. All randomness comes from `rng`, which depends on seed, epoch and sample alone.
pub trait Transform: Send + Sync {
    /// The changed picture.
    fn apply(&self, image: Image, rng: &mut SampleRng) -> Image;
}

/// Mirrors every second picture, left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomFlip;

impl Transform for RandomFlip {
    fn apply(&self, image: Image, rng: &mut SampleRng) -> Image {
        if !rng.chance(0.5) {
            return image;
        }
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        let mut pixels = Vec::with_capacity(image.pixels().len());
        for row in image.pixels().chunks_exact(width as usize * usize::from(channels)) {
            row.rchunks_exact(usize::from(channels)).for_each(|pixel| pixels.extend_from_slice(pixel));
        }
        Image::new(width, height, channels, pixels)
    }
}

/// Adds `padding` black pixels on each side and cuts a window of the old size at a random place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomCropPad {
    /// In pixels.
    pub padding: u32,
}

impl Transform for RandomCropPad {
    fn apply(&self, image: Image, rng: &mut SampleRng) -> Image {
        let places = 2 * u64::from(self.padding) + 1;
        let mut offset = || rng.below(places) as i64 - i64::from(self.padding);
        let (left, top) = (offset(), offset());
        crop(&image, left, top, image.width(), image.height())
    }
}

/// The changes a loader makes; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// [`RandomFlip`].
    pub flip: bool,
    /// [`RandomCropPad`] with this padding; 0 for none.
    pub crop_padding: u32,
}

impl Augment {
    /// Changes the picture of sample `index`.
    #[must_use]
    pub fn apply(&self, mut image: Image, seed: u64, epoch: u64, index: u64) -> Image {
        // One stream an operation: adding one does not move the draws of another.
        if self.flip {
            image = RandomFlip.apply(image, &mut SampleRng::new(seed, epoch, index, 1));
        }
        if self.crop_padding > 0 {
            let crop = RandomCropPad { padding: self.crop_padding };
            image = crop.apply(image, &mut SampleRng::new(seed, epoch, index, 2));
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image::new(3, 1, 3, (0..9).collect())
    }

    #[test]
    fn half_of_the_pictures_are_mirrored() {
        let mirrored = Image::new(3, 1, 3, vec![6, 7, 8, 3, 4, 5, 0, 1, 2]);
        let flip = Augment { flip: true, crop_padding: 0 };
        let flipped = (0..1000).filter(|&n| flip.apply(image(), 0, 0, n) == mirrored).count();
        let kept = (0..1000).filter(|&n| flip.apply(image(), 0, 0, n) == image()).count();
        assert_eq!(flipped + kept, 1000);
        assert!((400..600).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_cropped_picture_keeps_its_size_and_moves() {
        let crop = Augment { flip: false, crop_padding: 1 };
        let results: Vec<Image> = (0..100).map(|n| crop.apply(image(), 0, 0, n)).collect();
        assert!(results.iter().all(|i| (i.width(), i.height(), i.channels()) == (3, 1, 3)));
        assert!(results.contains(&Image::new(3, 1, 3, vec![3, 4, 5, 6, 7, 8, 0, 0, 0])));
    }

    #[test]
    fn the_draws_depend_on_seed_epoch_and_sample() {
        let augment = Augment { flip: true, crop_padding: 2 };
        let draw = |seed, epoch| (0..50).map(|n| augment.apply(image(), seed, epoch, n)).collect::<Vec<_>>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
