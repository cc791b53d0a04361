//! Resampling: a part of a picture, at another size.

#[cfg(target_arch = "x86_64")]
mod bilinear;
mod pillow;

use std::cell::RefCell;

use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::Image;
use crate::image::Pixels;

/// How the pixels between pixels are made. All but [`Filter::Nearest`] average over what an output pixel covers when a picture
/// shrinks (antialiasing), as Pillow does; torchvision calls that `antialias=True`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel that the middle of the output pixel falls on: for masks, whose values are names and not amounts.
    Nearest,
    /// A triangle, torchvision's default.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5, Pillow's `BICUBIC`.
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

/// A rectangle of a picture, in pixels; its sides may lie between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// From the picture's left side.
    pub left: f64,
    /// From the picture's top.
    pub top: f64,
    /// Above 0.
    pub width: f64,
    /// Above 0.
    pub height: f64,
}

impl Region {
    /// All of a picture of this size.
    #[must_use]
    pub fn whole(width: u32, height: u32) -> Self {
        Self { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The part of it that lies in a picture of this size; at least a sliver, so that there is something to sample.
    fn within(&self, width: u32, height: u32) -> Self {
        let clip = |start: f64, length: f64, side: u32| {
            let side = f64::from(side);
            let from = start.clamp(0.0, side - SLIVER);
            (from, (start + length).min(side).max(from + SLIVER) - from)
        };
        let (left, region_width) = clip(self.left, self.width, width);
        let (top, region_height) = clip(self.top, self.height, height);
        Self { left, top, width: region_width, height: region_height }
    }

    /// Its corner and size in whole pixels, if its sides lie between no pixels and its size is this one.
    fn whole_pixels(&self, width: u32, height: u32) -> Option<(usize, usize)> {
        let same = self.width == f64::from(width) && self.height == f64::from(height);
        (same && self.left.fract() == 0.0 && self.top.fract() == 0.0)
            .then_some((self.left as usize, self.top as usize))
    }
}

/// The narrowest region, in pixels.
const SLIVER: f64 = 1e-3;

thread_local! {
    /// One a thread: its buffers grow once and stay.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// The picture at `width` x `height` pixels: bilinear and antialiased, as Pillow's `resize` with `BILINEAR` and torchvision's
/// `Resize`.
///
/// # Panics
///
/// If `width` or `height` is 0, or the picture has no pixels.
#[must_use]
pub fn resize(image: &Image, width: u32, height: u32) -> Image {
    resize_region(image, &Region::whole(image.width(), image.height()), width, height, Filter::Bilinear)
}

/// A part of the picture at `width` x `height` pixels, as Pillow's `resize(size, filter, box)`: pixels outside the region, but in
/// the picture, count where the filter reaches them. A region that reaches out of the picture is clipped to it.
///
/// # Panics
///
/// If `width` or `height` is 0, or the picture has no pixels.
#[must_use]
pub fn resize_region(image: &Image, region: &Region, width: u32, height: u32, filter: Filter) -> Image {
    resize_pixels(image.into(), region, (width, height), filter, false, true)
}

/// [`resize_region`] of a picture that lies elsewhere, mirrored if `mirror`. Bilinear and not `exact`, it is several times as fast and some
/// values are off by one.
pub(crate) fn resize_pixels(
    image: Pixels<'_>,
    region: &Region,
    (width, height): (u32, u32),
    filter: Filter,
    mirror: bool,
    exact: bool,
) -> Image {
    assert!(width > 0 && height > 0 && !image.bytes.is_empty(), "an image has at least one pixel");
    let region = region.within(image.width, image.height);
    let mut resized = match (region.whole_pixels(width, height), filter) {
        (Some((left, top)), _) => cut(image, left, top, width, height),
        (None, Filter::Nearest) => nearest(image, &region, width, height),
        (None, Filter::Bilinear) if !exact => {
            if let Some(resized) = bilinear(image, &region, width, height, mirror) {
                return resized;
            }
            convolve(image, &region, width, height)
        }
        (None, filter) => {
            let pixels = pillow::resize(image, &region, (width, height), filter);
            Image::new(width, height, image.channels, pixels)
        }
    };
    if mirror {
        resized.mirror();
    }
    resized
}

/// The fast way, where there is one.
fn bilinear(image: Pixels<'_>, region: &Region, width: u32, height: u32, mirror: bool) -> Option<Image> {
    #[cfg(target_arch = "x86_64")]
    if image.channels == 3 {
        let pixels = bilinear::resize(image, region, (width, height), mirror)?;
        return Some(Image::new(width, height, 3, pixels));
    }
    let _ = (image, region, width, height, mirror);
    None
}

/// Bilinear, by the library.
fn convolve(image: Pixels<'_>, region: &Region, width: u32, height: u32) -> Image {
    let kind = if image.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
        region.left,
        region.top,
        region.width,
        region.height,
    );
    let mut target = Target::new(width, height, kind);
    // Neither call can fail: the buffer has the size its image says, both have the same kind of pixel, and the region lies
    // within the picture.
    if let Ok(source) = ImageRef::new(image.width, image.height, image.bytes, kind) {
        RESIZER.with_borrow_mut(|resizer| {
            let done = resizer.resize(&source, &mut target, &options);
            debug_assert!(done.is_ok(), "{done:?}");
        });
    }
    Image::new(width, height, image.channels, target.into_vec())
}

/// The window of whole pixels at (`left`, `top`), which lies within the picture.
fn cut(image: Pixels<'_>, left: usize, top: usize, width: u32, height: u32) -> Image {
    let channels = usize::from(image.channels);
    let stride = image.width as usize * channels;
    let row = width as usize * channels;
    if row == stride {
        let pixels = &image.bytes[top * stride..][..row * height as usize];
        return Image::new(width, height, image.channels, pixels.to_vec());
    }
    let mut pixels = Vec::with_capacity(row * height as usize);
    for source in image.bytes.chunks_exact(stride).skip(top).take(height as usize) {
        pixels.extend_from_slice(&source[left * channels..][..row]);
    }
    Image::new(width, height, image.channels, pixels)
}

/// The pixels that the middles of the output pixels fall on.
fn nearest(image: Pixels<'_>, region: &Region, width: u32, height: u32) -> Image {
    let channels = usize::from(image.channels);
    let places = |start: f64, length: f64, count: u32, side: u32| {
        let scale = length / f64::from(count);
        let last = side as usize - 1;
        // Added up as Pillow adds up: where a middle falls on the border of two pixels, rounding decides.
        let middles = std::iter::successors(Some(start + 0.5 * scale), move |middle| Some(middle + scale));
        middles.take(count as usize).map(move |middle| (middle as usize).min(last))
    };
    let columns: Vec<usize> = places(region.left, region.width, width, image.width).collect();
    let stride = image.width as usize * channels;
    let mut pixels = Vec::with_capacity(width as usize * height as usize * channels);
    for y in places(region.top, region.height, height, image.height) {
        let row = &image.bytes[y * stride..][..stride];
        match channels {
            1 => pixels.extend(columns.iter().map(|&x| row[x])),
            _ => columns.iter().for_each(|&x| pixels.extend_from_slice(&row[x * 3..x * 3 + 3])),
        }
    }
    Image::new(width, height, image.channels, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_data;

    #[test]
    fn an_even_picture_stays_even() {
        let image = Image::new(9, 7, 3, [10, 20, 30].repeat(63));
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let region = Region { left: 1.25, top: 0.5, width: 6.5, height: 6.5 };
            for (width, height) in [(4, 5), (20, 30), (1, 1)] {
                let even = resize_region(&image, &region, width, height, filter);
                assert_eq!(even.pixels(), [10, 20, 30].repeat((width * height) as usize), "{filter:?}");
            }
        }
    }

    #[test]
    fn shrinking_averages_instead_of_dropping() {
        let stripes = Image::new(64, 1, 1, [0, 255].repeat(32));
        // Away from the borders every output pixel sees as much black as white.
        assert!(resize(&stripes, 8, 1).pixels()[1..7].iter().all(|v| (126..=129).contains(v)));
    }

    #[test]
    fn a_region_of_whole_pixels_is_copied() {
        let image = Image::new(4, 3, 3, (0..36).collect());
        let region = Region { left: 1.0, top: 1.0, width: 2.0, height: 2.0 };
        let cut = resize_region(&image, &region, 2, 2, Filter::Lanczos);
        assert_eq!(cut.pixels(), [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]);
        assert_eq!(resize(&image, 4, 3), image);
    }

    #[test]
    fn nearest_takes_the_pixel_under_the_middle() {
        let image = Image::new(4, 1, 1, vec![10, 20, 30, 40]);
        assert_eq!(
            resize_region(&image, &Region::whole(4, 1), 2, 1, Filter::Nearest).pixels(),
            [20, 40] // Pillow's `resize((2, 1), NEAREST)`
        );
        assert_eq!(
            resize_region(&image, &Region::whole(4, 1), 8, 2, Filter::Nearest).pixels(),
            [10, 10, 20, 20, 30, 30, 40, 40].repeat(2)
        );
    }

    #[test]
    fn a_region_outside_is_clipped() {
        let image = Image::new(3, 3, 1, (0..9).collect());
        let region = Region { left: -5.0, top: 7.0, width: 100.0, height: 3.0 };
        assert_eq!(resize_region(&image, &region, 3, 1, Filter::Nearest).pixels(), [6, 7, 8]);
    }

    #[test]
    fn one_resampling_of_a_box_equals_pillows_resize_and_crop() {
        let Some(folder) = shared_data("../golden/resize") else { return };
        let read = |name: String| Image::open(folder.join(name)).unwrap();
        for photo in [
            "n01440764_tench",
            "n02102480_Sussex_spaniel",
            "n02894605_breakwater",
            "n04204238_shopping_basket",
        ] {
            let image = read(format!("{photo}.decoded.png"));
            for (filter, name) in [(Filter::Bilinear, "bilinear"), (Filter::Bicubic, "bicubic")] {
                let (width, height) = (f64::from(image.width()), f64::from(image.height()));
                let scale = 256.0 / width.min(height);
                let (long_width, long_height) = ((width * scale).floor(), (height * scale).floor());
                let corner = |long: f64| ((long - 224.0) / 2.0).round_ties_even();
                let region = Region {
                    left: corner(long_width) * width / long_width,
                    top: corner(long_height) * height / long_height,
                    width: 224.0 * width / long_width,
                    height: 224.0 * height / long_height,
                };
                let ours = resize_region(&image, &region, 224, 224, filter);
                let theirs = read(format!("{photo}.{name}.256.224.png"));
                let worst = ours.pixels().iter().zip(theirs.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(1), "{photo} {name}: {worst:?}");
            }
        }
    }
}
