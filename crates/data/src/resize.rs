//! Resampling.

use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::Image;

/// The picture at `width` x `height` pixels: bilinear and antialiased, as Pillow's `resize` with `BILINEAR` and torchvision's
/// `Resize`.
///
/// # Panics
///
/// If `width` or `height` is 0.
#[must_use]
pub fn resize(image: &Image, width: u32, height: u32) -> Image {
    assert!(width > 0 && height > 0, "an image has at least one pixel");
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    let kind = if image.channels() == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut target = Target::new(width, height, kind);
    // Neither call can fail: the buffer has the size its image says, and both have the same kind of pixel.
    if let Ok(source) = ImageRef::new(image.width(), image.height(), image.pixels(), kind) {
        let _ = Resizer::new().resize(&source, &mut target, &options);
    }
    Image::new(width, height, image.channels(), target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_picture_stays_even() {
        let image = Image::new(9, 7, 3, [10, 20, 30].repeat(63));
        assert_eq!(resize(&image, 4, 5).pixels(), [10, 20, 30].repeat(20));
        assert_eq!(resize(&image, 20, 30).pixels(), [10, 20, 30].repeat(600));
    }

    #[test]
    fn shrinking_averages_instead_of_dropping() {
        let stripes = Image::new(64, 1, 1, [0, 255].repeat(32));
        // Away from the borders every output pixel sees as much black as white.
        assert!(resize(&stripes, 8, 1).pixels()[1..7].iter().all(|v| (126..=129).contains(v)));
    }
}
