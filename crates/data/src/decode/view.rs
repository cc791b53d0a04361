//! The part of a stored picture that a view shows, decoding no more than it takes.

use std::cell::RefCell;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use super::{Limits, SCRATCH, decode, is_format};
use crate::image::Pixels;
use crate::resize::{Filter, Region, resize_pixels};
use crate::transform::View;
use crate::{ErrorKind, Image, Stored, jpeg};

thread_local! {
    /// Decoded pixels that a view is taken from.
    static PIXELS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a view shows of `stored`. `choose` is told width and height of the upright picture and says which view, with whatever it wants to
/// be told again; where it chooses none, the whole picture is given.
///
/// With `exact`, pixels are those of the decoded picture, resampled with Pillow's arithmetic. Without, some values are off by one, and a JPEG that is shown much smaller is decoded at 1/2, 1/4 or
/// 1/8 of its size first, never below the size of the view: several times faster for photos of a camera, and hardly to be seen.
///
/// # Errors
///
/// As [`decode`](crate::decode), but of a JPEG only the part that the view takes is looked at.
pub fn decode_view<T>(
    stored: &Stored<'_>,
    limits: &Limits,
    exact: bool,
    choose: impl FnOnce(u32, u32) -> Option<(View, T)>,
) -> Result<(Image, Option<T>), ErrorKind> {
    match *stored {
        Stored::File(bytes) if is_format(bytes, ImageFormat::Jpeg) => {
            // A decoder of our own does not panic; if it did, the loader would catch it.
            let Some(header) = jpeg::Header::read(bytes, limits)? else {
                return Ok(show(&decode(bytes, limits)?, exact, choose));
            };
            let (width, height) = turned(header.orientation, (header.width, header.height));
            match choose(width, height) {
                Some((view, told)) => Ok((jpeg_view(bytes, &header, &view, exact)?, Some(told))),
                None => Ok((decode(bytes, limits)?, None)),
            }
        }
        Stored::File(bytes) => Ok(show(&decode(bytes, limits)?, exact, choose)),
        Stored::Pixels { width, height, channels, bytes } => {
            let pixels = Pixels { width, height, channels, bytes };
            Ok(match choose(width, height) {
                Some((view, told)) => (take(pixels, &view.region(), &view, exact), Some(told)),
                None => (Image::new(width, height, channels, bytes.to_vec()), None),
            })
        }
    }
}

fn show<T>(
    image: &Image,
    exact: bool,
    choose: impl FnOnce(u32, u32) -> Option<(View, T)>,
) -> (Image, Option<T>) {
    match choose(image.width(), image.height()) {
        Some((view, told)) => (take(image.into(), &view.region(), &view, exact), Some(told)),
        None => (image.clone(), None),
    }
}

/// `region` of `pixels` at the size of the view, mirrored if it says so.
fn take(pixels: Pixels<'_>, region: &Region, view: &View, exact: bool) -> Image {
    resize_pixels(pixels, region, (view.out_width, view.out_height), view.filter, view.mirror, exact)
}

/// Width and height, exchanged for a picture that lies on its side.
fn turned(orientation: u8, (width, height): (u32, u32)) -> (u32, u32) {
    if orientation >= 5 { (height, width) } else { (width, height) }
}

fn jpeg_view(bytes: &[u8], header: &jpeg::Header, upright: &View, exact: bool) -> Result<Image, ErrorKind> {
    let view = as_stored(upright, header);
    let reduce = if exact { 1 } else { reduction(&view) };
    let part = needed(&view, header, reduce);
    PIXELS.with_borrow_mut(|pixels| {
        let window =
            SCRATCH.with_borrow_mut(|scratch| jpeg::decode(bytes, header, &part, scratch, pixels))?;
        let factor = f64::from(reduce);
        let region = Region {
            left: view.left / factor - f64::from(window.left),
            top: view.top / factor - f64::from(window.top),
            width: view.width / factor,
            height: view.height / factor,
        };
        let size = window.width as usize * window.height as usize * usize::from(header.channels);
        let held = pixels.get(..size).unwrap_or_default();
        let pixels =
            Pixels { width: window.width, height: window.height, channels: header.channels, bytes: held };
        if header.orientation == 1 {
            return Ok(take(pixels, &region, upright, exact));
        }
        let mut shown =
            turn(take(pixels, &region, &View { mirror: false, ..view }, exact), header.orientation);
        if upright.mirror {
            shown.mirror();
        }
        Ok(shown)
    })
}

/// How much smaller the picture can be decoded and still be at least as large as it is shown.
fn reduction(view: &View) -> u8 {
    let fits = |reduce: &u8| {
        let factor = f64::from(*reduce);
        view.width / factor >= f64::from(view.out_width) && view.height / factor >= f64::from(view.out_height)
    };
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// The part of the stored picture that the filter reaches from within the view.
fn needed(view: &View, header: &jpeg::Header, reduce: u8) -> jpeg::Part {
    let support = match view.filter {
        Filter::Nearest => 1.0,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    };
    let reach = |length: f64, out: u32| {
        let scale = (length / f64::from(out)).max(f64::from(reduce));
        (support * scale).ceil() + f64::from(reduce)
    };
    let span = |start: f64, length: f64, out: u32, side: u32| {
        let reach = reach(length, out);
        let from = (start - reach).floor().clamp(0.0, f64::from(side - 1)) as u32;
        let to = (start + length + reach).ceil().clamp(f64::from(from + 1), f64::from(side)) as u32;
        (from, to - from)
    };
    let (left, width) = span(view.left, view.width, view.out_width, header.width);
    let (top, height) = span(view.top, view.height, view.out_height, header.height);
    jpeg::Part { left, top, width, height, reduce }
}

/// The view of the upright picture as one of the stored picture.
fn as_stored(view: &View, header: &jpeg::Header) -> View {
    let (width, height) = turned(header.orientation, (header.width, header.height));
    let from_right = f64::from(width) - view.left - view.width;
    let from_bottom = f64::from(height) - view.top - view.height;
    // EXIF 2.3: which sides of the scene the first row and the first column show.
    let (left, top) = match header.orientation {
        2 => (from_right, view.top),
        3 => (from_right, from_bottom),
        4 => (view.left, from_bottom),
        5 => (view.top, view.left),
        6 => (view.top, from_right),
        7 => (from_bottom, from_right),
        8 => (from_bottom, view.left),
        _ => (view.left, view.top),
    };
    if header.orientation >= 5 {
        let (width, height) = (view.height, view.width);
        View { left, top, width, height, out_width: view.out_height, out_height: view.out_width, ..*view }
    } else {
        View { left, top, ..*view }
    }
}

/// A stored picture, upright.
pub(super) fn turn(image: Image, orientation: u8) -> Image {
    if orientation <= 1 {
        return image;
    }
    let (width, height, channels) = (image.width(), image.height(), image.channels());
    let pixels = image.into_pixels();
    let turned = match channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    // The pixels fill it: they come from an image of this size.
    let mut turned = turned.unwrap_or_default();
    turned.apply_orientation(Orientation::from_exif(orientation).unwrap_or(Orientation::NoTransforms));
    let (width, height) = (turned.width(), turned.height());
    Image::new(width, height, channels, turned.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_data;
    use crate::transform::{Draws, Pipeline, Scene};

    fn views(pipeline: &Pipeline, stored: &Stored<'_>, exact: bool, index: u64) -> (Image, Image) {
        let draws = Draws { seed: 1, epoch: 2, index };
        let choose = |width, height| pipeline.view(width, height, &draws);
        let (seen, covered) = decode_view(stored, &Limits::default(), exact, choose).unwrap();
        let mut seen = Scene::from(seen);
        pipeline.apply_from(covered.unwrap_or(0), &mut seen, &draws);
        let mut whole = Scene::from(stored.decode(&Limits::default()).unwrap());
        pipeline.apply(&mut whole, &draws);
        (seen.image, whole.image)
    }

    fn worst(a: &Image, b: &Image) -> u8 {
        assert_eq!((a.width(), a.height(), a.channels()), (b.width(), b.height(), b.channels()));
        a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
    }

    fn mean(a: &Image, b: &Image) -> f64 {
        let sum: u64 = a.pixels().iter().zip(b.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.pixels().len() as f64
    }

    const PIPELINES: [&str; 4] = [
        "resize(40)|center_crop(32)",
        "random_resized_crop(24)|flip",
        "resize(48, filter=bicubic)|random_crop(32)|flip(p=1)",
        "flip(p=1)",
    ];

    /// A picture that is different everywhere, as a JPEG.
    fn photo(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let wave = |period: f32| (127.5 + 120.0 * ((x as f32 + 2.0 * y as f32) / period).sin()) as u8;
            image::Rgb([wave(17.0), wave(29.0), (x * 255 / width) as u8])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_a_view_shows_is_what_the_steps_make_of_the_whole_picture() {
        for (width, height) in [(61, 97), (200, 120), (33, 33)] {
            let jpeg = photo(width, height);
            let image = decode(&jpeg, &Limits::default()).unwrap();
            for text in PIPELINES {
                let pipeline: Pipeline = text.parse().unwrap();
                for stored in [Stored::File(&jpeg), image.stored()] {
                    for index in 0..8 {
                        let (seen, whole) = views(&pipeline, &stored, true, index);
                        assert!(worst(&seen, &whole) <= 1, "{text} of {width}x{height}, {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_picture_on_its_side_is_seen_upright() {
        let plain = photo(64, 48);
        for orientation in 1..=8u8 {
            // An APP1 segment with one EXIF entry, after the start of the image.
            let mut exif = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
            let jpeg = [&plain[..2], &exif, &plain[2..]].concat();
            for text in PIPELINES {
                let pipeline: Pipeline = text.parse().unwrap();
                for index in 0..4 {
                    let (seen, whole) = views(&pipeline, &Stored::File(&jpeg), true, index);
                    assert!(worst(&seen, &whole) <= 1, "{text}, orientation {orientation}");
                }
            }
        }
    }

    #[test]
    fn a_picture_decoded_small_looks_the_same() {
        let pipeline: Pipeline = "resize(40)|center_crop(32)".parse().unwrap();
        let alike = |bytes: &[u8]| {
            let (seen, whole) = views(&pipeline, &Stored::File(bytes), false, 0);
            // Blocks are averaged where the filter would weigh by distance: sharper, but no brighter or darker.
            let brightness = |image: &Image| {
                image.pixels().iter().map(|&v| f64::from(v)).sum::<f64>() / image.pixels().len() as f64
            };
            let (found, brighter) = (mean(&seen, &whole), (brightness(&seen) - brightness(&whole)).abs());
            assert!(found < 6.0 && brighter < 0.5, "{found} {brighter}");
        };
        alike(&photo(640, 500));
        let Some(folder) = shared_data("imagenet_sample_1000") else { return };
        for entry in std::fs::read_dir(folder).unwrap().take(20) {
            alike(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
