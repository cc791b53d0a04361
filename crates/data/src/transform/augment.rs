//! Flip and crop, the two changes of small pictures.

use serde::{Deserialize, Serialize};

use super::warp::Border;
use super::{Flip, Scene, Transform};
use crate::Image;
use crate::order::SampleRng;

/// The changes a loader makes; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Mirrors every second picture, left to right.
    pub flip: bool,
    /// Adds so many black pixels on each side and cuts a window of the old size at a random place; 0 for none.
    pub crop_padding: u32,
}

impl Augment {
    /// Changes the picture of sample `index`.
    #[must_use]
    pub fn apply(&self, image: Image, seed: u64, epoch: u64, index: u64) -> Image {
        let mut scene = Scene::from(image);
        // One stream an operation: adding one does not move the draws of another.
        if self.flip {
            Flip::default().apply(&mut scene, &mut SampleRng::new(seed, epoch, index, 1));
        }
        if self.crop_padding > 0 {
            let mut rng = SampleRng::new(seed, epoch, index, 2);
            let padding = i64::from(self.crop_padding);
            let mut offset = || rng.below(2 * u64::from(self.crop_padding) + 1) as i64 - padding;
            let (left, top) = (offset(), offset());
            let (width, height) = scene.size();
            scene.extend(left, top, width, height, Border::Fill(0));
        }
        scene.image
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
