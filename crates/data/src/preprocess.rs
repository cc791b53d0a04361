//! What a network wants to see, and how to make it from a picture.

use serde::{Deserialize, Serialize};

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
    /// How pictures of other sizes get to this one.
    pub resize: Resize,
    /// Of each channel, for values 0 to 1.
    pub mean: Vec<f32>,
    /// Of each channel, for values 0 to 1.
    pub std: Vec<f32>,
}

/// How pictures get to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// They have it already; one that does not is stretched.
    None,
    /// Stretched, whatever becomes of the proportions.
    Stretch,
    /// The shorter side becomes `short_side`, then the middle is cut out; what is missing is black. torchvision's
    /// `Resize` and `CenterCrop`.
    ShortSideCenterCrop {
        /// In pixels.
        short_side: u32,
    },
}

/// The largest side of a network's input.
const LARGEST: u32 = 4096;
/// A smaller deviation would make values that are not finite of ordinary ones.
const SMALLEST_STD: f32 = 1e-6;

impl Preprocess {
    /// Pictures of `channels` x `height` x `width`, with values 0 to 1.
    #[must_use]
    pub fn new(channels: u8, height: u32, width: u32) -> Self {
        let count = usize::from(channels);
        Self { channels, height, width, resize: Resize::None, mean: vec![0.0; count], std: vec![1.0; count] }
    }

    /// Whether every number is in its range. What comes from a file is checked before it is used.
    ///
    /// # Errors
    ///
    /// Names the number and what it may be.
    pub fn check(&self) -> Result<()> {
        let sides = [self.height, self.width];
        let short_side = match self.resize {
            Resize::ShortSideCenterCrop { short_side } => short_side,
            _ => 1,
        };
        let count = usize::from(self.channels);
        let problem = if !matches!(self.channels, 1 | 3) {
            format!("{} channels; it must be 1 or 3", self.channels)
        } else if sides.iter().any(|side| !(1..=LARGEST).contains(side))
            || !(1..=LARGEST).contains(&short_side)
        {
            format!(
                "a size of {}x{} (short side {short_side}); sides must be 1 to {LARGEST}",
                sides[0], sides[1]
            )
        } else if self.mean.len() != count || self.std.len() != count {
            format!("{} means and {} deviations for {count} channels", self.mean.len(), self.std.len())
        } else if self.mean.iter().any(|v| !v.is_finite())
            || self.std.iter().any(|v| !v.is_finite() || *v < SMALLEST_STD)
        {
            "a mean that is not finite or a deviation below 0.000001".to_owned()
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
        let image = image.with_channels(self.channels);
        match self.resize {
            Resize::None | Resize::Stretch
                if (image.width(), image.height()) == (self.width, self.height) =>
            {
                image
            }
            Resize::None | Resize::Stretch => resize(&image, self.width, self.height),
            Resize::ShortSideCenterCrop { short_side } => {
                let image = shorten(image, short_side, self.width.max(self.height));
                let (width, height) = short_side_size(&image, short_side);
                center_crop(&resize(&image, width, height), self.width, self.height)
            }
        }
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

/// Width and height with the shorter side at `short_side`, rounded as torchvision rounds.
pub(crate) fn short_side_size(image: &Image, short_side: u32) -> (u32, u32) {
    let (width, height) = (u64::from(image.width()), u64::from(image.height()));
    let short = u64::from(short_side);
    if width <= height {
        (short_side, (short * height / width) as u32)
    } else {
        ((short * width / height) as u32, short_side)
    }
}

/// A picture so long that its resized form would be far larger than the crop loses what the crop cannot reach: a
/// sliver of 1 x 30000 pixels must not become gigabytes.
fn shorten(image: Image, short_side: u32, crop: u32) -> Image {
    let short = image.width().min(image.height());
    // Four times the reach of the crop, so that only absurd proportions are touched.
    let limit = (u64::from(crop.max(short_side)) * u64::from(short) * 4).div_ceil(u64::from(short_side));
    let limit = limit.clamp(u64::from(short), u64::from(u32::MAX)) as u32;
    let (width, height) = (image.width().min(limit), image.height().min(limit));
    if (width, height) == (image.width(), image.height()) {
        image
    } else {
        center_crop(&image, width, height)
    }
}

/// The middle of a picture, with black where it does not reach.
fn center_crop(image: &Image, width: u32, height: u32) -> Image {
    // torchvision rounds halves to even, and pads by the smaller half first.
    let offset = |have: u32, want: u32| {
        let spare = i64::from(have) - i64::from(want);
        if spare >= 0 { (spare as f64 / 2.0).round_ties_even() as i64 } else { -((-spare) / 2) }
    };
    crop(image, offset(image.width(), width), offset(image.height(), height), width, height)
}

/// The window of `width` x `height` pixels whose corner is at (`left`, `top`), with black outside the picture.
pub(crate) fn crop(image: &Image, left: i64, top: i64, width: u32, height: u32) -> Image {
    let channels = usize::from(image.channels());
    let mut pixels = vec![0; width as usize * height as usize * channels];
    let from = left.clamp(0, i64::from(image.width()));
    let to = (left + i64::from(width)).clamp(from, i64::from(image.width()));
    let row_bytes = (to - from) as usize * channels;
    for (y, out) in pixels.chunks_exact_mut(width as usize * channels).enumerate() {
        let source_y = top + y as i64;
        if (0..i64::from(image.height())).contains(&source_y) && row_bytes > 0 {
            let start = (source_y as usize * image.width() as usize + from as usize) * channels;
            let place = (from - left) as usize * channels;
            out[place..place + row_bytes].copy_from_slice(&image.pixels()[start..start + row_bytes]);
        }
    }
    Image::new(width, height, image.channels(), pixels)
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
    fn the_middle_is_cut_out() {
        assert_eq!(center_crop(&ramp(4, 4), 2, 2).pixels(), [5, 6, 9, 10]);
        assert_eq!(center_crop(&ramp(2, 1), 4, 3).pixels(), [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_picture_gets_the_networks_shape() {
        let resizes = [Resize::None, Resize::Stretch, Resize::ShortSideCenterCrop { short_side: 12 }];
        for resize in resizes {
            for (width, height) in [(1, 1), (3, 400), (400, 3), (16, 16), (1, 30_000)] {
                for channels in [1, 3] {
                    let preprocess = Preprocess { resize, ..Preprocess::new(channels, 10, 14) };
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
        let resize = Resize::ShortSideCenterCrop { short_side: 256 };
        let preprocess = Preprocess { resize, ..Preprocess::new(3, 224, 224) };
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
    fn the_short_side_keeps_the_proportions() {
        assert_eq!(short_side_size(&ramp(50, 33), 10), (15, 10));
        assert_eq!(short_side_size(&ramp(33, 50), 10), (10, 15));
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
            Preprocess { mean: vec![f32::NAN; 3], ..good.clone() },
            Preprocess { resize: Resize::ShortSideCenterCrop { short_side: 0 }, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
