//! Decoded pictures.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// An 8-bit picture: rows from the top, pixels from the left, channels interleaved.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    channels: u8,
    pixels: Vec<u8>,
}

/// What storage holds of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// A whole picture file; its format is told by its bytes.
    File(&'a [u8]),
    /// Decoded pixels.
    Pixels {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// 1 (gray) or 3 (red, green, blue).
        channels: u8,
        /// `[height, width, channels]`, values 0 to 255.
        bytes: &'a [u8],
    },
}

/// An 8-bit picture that lies elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pixels<'a> {
    pub width: u32,
    pub height: u32,
    /// 1 or 3.
    pub channels: u8,
    /// `[height, width, channels]`.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a Image> for Pixels<'a> {
    fn from(image: &'a Image) -> Self {
        Self { width: image.width, height: image.height, channels: image.channels, bytes: &image.pixels }
    }
}

impl Image {
    /// Wraps `pixels`, `[height, width, channels]` with values 0 to 255.
    ///
    /// `channels` is 1 (gray) or 3 (red, green, blue).
    ///
    /// # Panics
    ///
    /// If `channels` is neither 1 nor 3, or `pixels` has not `width * height * channels` bytes: a mistake
    /// of the caller, not of a file.
    #[must_use]
    pub fn new(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Self {
        assert!(matches!(channels, 1 | 3), "an image has 1 or 3 channels, not {channels}");
        assert_eq!(
            pixels.len(),
            width as usize * height as usize * usize::from(channels),
            "{width}x{height} pixels of {channels} channels"
        );
        Self { width, height, channels, pixels }
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 1 (gray) or 3 (red, green, blue).
    #[must_use]
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// The bytes, `[height, width, channels]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The picture as storage would hold it.
    #[must_use]
    pub fn stored(&self) -> Stored<'_> {
        let Self { width, height, channels, .. } = *self;
        Stored::Pixels { width, height, channels, bytes: &self.pixels }
    }

    /// The bytes, `[height, width, channels]`, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The picture as a PNG file.
    #[must_use]
    pub fn to_png(&self) -> Vec<u8> {
        let color = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut bytes = Vec::new();
        // Writing to memory does not fail, and the pixels fill the size; a picture of no pixels becomes no file.
        match PngEncoder::new(&mut bytes).write_image(&self.pixels, self.width, self.height, color) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// Turns it left to right.
    pub(crate) fn mirror(&mut self) {
        if self.width == 0 {
            return;
        }
        let channels = usize::from(self.channels);
        for row in self.pixels.chunks_exact_mut(self.width as usize * channels) {
            match channels {
                1 => row.reverse(),
                _ => row.as_chunks_mut::<3>().0.reverse(),
            }
        }
    }

    /// The bytes, `[height, width, channels]`, without a copy.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The same picture with `channels` channels: gray is repeated, colour becomes its luma
    /// (ITU-R 601-2, as Pillow's `convert("L")`).
    #[must_use]
    pub fn with_channels(self, channels: u8) -> Self {
        let pixels = match (self.channels, channels) {
            (have, want) if have == want => return self,
            (1, _) => self.pixels.iter().flat_map(|&v| [v, v, v]).collect(),
            _ => self.pixels.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
        };
        Self::new(self.width, self.height, channels, pixels)
    }
}

/// ITU-R 601-2 luma in 16-bit fixed point, rounded as Pillow rounds it.
#[inline(always)]
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{}x{})", self.width, self.height, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_is_repeated_and_colour_becomes_luma() {
        let gray = Image::new(2, 1, 1, vec![0, 200]);
        assert_eq!(gray.clone().with_channels(3).pixels(), [0, 0, 0, 200, 200, 200]);
        assert_eq!(gray.clone().with_channels(3).with_channels(1), gray);
        // Pillow: Image.new("RGB", (1, 1), (255, 0, 0)).convert("L").getpixel((0, 0)) == 76
        assert_eq!(Image::new(1, 1, 3, vec![255, 0, 0]).with_channels(1).pixels(), [76]);
    }
}
