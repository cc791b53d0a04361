//! Changes of colour and light, as Pillow's `ImageEnhance` and torchvision's `adjust_hue` make them.

use pulp::Arch;

use super::tone;
use crate::Image;
use crate::image::luma;

/// 2^23: a number from 0 to 255 added to it is rounded to a whole one, which then is the low byte.
const MAGIC: f32 = 8_388_608.0;

/// The nearest whole number, the even one if two are equally near; for values from 0 to 255.
#[inline(always)]
pub(super) fn round(value: f32) -> u8 {
    (value + MAGIC).to_bits() as u8
}

/// The whole number below; for values from 0 to 255. Without a conversion, which has no short vector form.
#[inline(always)]
fn floor(value: f32) -> u8 {
    let rounded = value + MAGIC;
    let above = u32::from(rounded - MAGIC > value);
    rounded.to_bits().wrapping_sub(above) as u8
}

/// From `plain` through `value` and beyond: 0 gives the one, 1 the other. Pillow's `Image.blend`.
#[inline(always)]
fn blend(plain: f32, value: f32, factor: f32) -> u8 {
    let blended = plain + factor * (value - plain);
    floor(smaller(larger(blended, 0.0), 255.0))
}

/// [`blend`] of each value with the plain one at its place.
#[inline(always)]
pub(super) fn blend_all(out: &mut [u8], plain: &[u8], values: &[u8], factor: f32) {
    for ((out, plain), value) in out.iter_mut().zip(plain).zip(values) {
        *out = blend(f32::from(*plain), f32::from(*value), factor);
    }
}

/// [`blend`] of every value with one plain one, by a table.
fn blend_with(image: &mut Image, plain: u8, factor: f32) {
    let table = std::array::from_fn(|value| blend(f32::from(plain), value as f32, factor));
    tone::map(image, &table);
}

/// 0 is black, 1 is the picture, 2 twice as light.
pub(super) fn brightness(image: &mut Image, factor: f32) {
    blend_with(image, 0, factor);
}

/// 0 is even gray, 1 is the picture.
pub(super) fn contrast(image: &mut Image, factor: f32) {
    let sum = match image.channels() {
        1 => image.pixels().iter().map(|&value| u64::from(value)).sum(),
        _ => luma_sum(image.pixels()),
    };
    let pixels = u64::from(image.width()) * u64::from(image.height());
    let mean = (sum as f64 / pixels.max(1) as f64 + 0.5) as u8;
    blend_with(image, mean, factor);
}

/// The sum of the lumas of pixels of three channels.
fn luma_sum(values: &[u8]) -> u64 {
    let (blocks, rest) = values.as_chunks::<{ 3 * LANES }>();
    let mut total = 0;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for values in blocks {
                let mut sum = 0;
                for n in 0..LANES {
                    sum += u32::from(luma(values[3 * n], values[3 * n + 1], values[3 * n + 2]));
                }
                total += u64::from(sum);
            }
        },
    );
    total + rest.as_chunks::<3>().0.iter().map(|&[r, g, b]| u64::from(luma(r, g, b))).sum::<u64>()
}

/// 0 is gray, 1 is the picture. A gray picture stays.
pub(super) fn saturation(image: &mut Image, factor: f32) {
    each_pixel(
        image,
        #[inline(always)]
        |[r, g, b]| {
            let gray = f32::from(luma(r, g, b));
            [r, g, b].map(|value| blend(gray, f32::from(value), factor))
        },
    );
}

/// Every pixel becomes its luma; the channels stay.
pub(super) fn grayscale(image: &mut Image) {
    each_pixel(
        image,
        #[inline(always)]
        |[r, g, b]| [luma(r, g, b); 3],
    );
}

/// Turns the hues by `turns` of the colour circle, -0.5 to 0.5. A gray picture stays.
///
/// Hue and saturation are rounded down to 255 steps on the way, as in Pillow's HSV pictures.
pub(super) fn hue(image: &mut Image, turns: f32) {
    // Pillow adds whole steps to a byte, which goes round at 256.
    let shift = f32::from((turns * 255.0) as i32 as u8);
    each_pixel(
        image,
        #[inline(always)]
        |pixel| turn_hue(pixel, shift),
    );
}

/// A byte of hue is 6/255 of a sixth of the circle.
const SIXTHS: f32 = 6.0 / 255.0;

/// Hue and saturation are rounded down, and Pillow's rounding of the numbers before decides about those that are whole: each operation
/// is one of Pillow's, in its precision. The choices between cases are made by selection, not by branches.
#[inline(always)]
fn turn_hue([r, g, b]: [u8; 3], shift: f32) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(f32::from);
    let value = larger(larger(r, g), b);
    let least = smaller(smaller(r, g), b);
    let middle = r + g + b - value - least;
    let chroma = value - least;
    let (sixth, onwards) = if r == value {
        (0.0, g >= b)
    } else if g == value {
        (2.0, b >= r)
    } else {
        (4.0, r >= g)
    };
    let part = (value - middle) / larger(chroma, 1.0);
    let hue = if onwards { sixth + 1.0 - part } else { sixth - 1.0 + part } / 6.0;
    let hue = if hue < 0.0 { hue + (1.0 + f32::EPSILON) } else { hue };
    let hue = steps(hue) + shift;
    let hue = (if hue > 255.5 { hue - 256.0 } else { hue }) * SIXTHS;
    let saturation = steps(chroma / larger(value, 1.0)) * (1.0 / 255.0);
    // Smith, "Color gamut transform pairs" (1978), without its six cases.
    let channel = |offset: f32| {
        let place = hue + offset;
        let place = if place >= 6.0 { place - 6.0 } else { place };
        let weight = larger(smaller(smaller(place, 4.0 - place), 1.0), 0.0);
        round(value - value * weight * saturation)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// The whole number below `255 * part`, exactly, for parts from 0 to 1.
#[inline(always)]
fn steps(part: f32) -> f32 {
    let nearest = 255.0 * part + MAGIC - MAGIC;
    // 256 times the part is exact, and so is its small difference from the step.
    if 256.0 * part - nearest < part { nearest - 1.0 } else { nearest }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Pixels that are worked on together, channel by channel: what vector instructions need.
const LANES: usize = 256;

/// Changes every pixel of a picture of three channels; gray pictures are left alone.
fn each_pixel(image: &mut Image, change: impl Fn([u8; 3]) -> [u8; 3]) {
    if image.channels() != 3 {
        return;
    }
    let (blocks, rest) = image.pixels_mut().as_chunks_mut::<3>().0.as_chunks_mut::<LANES>();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for block in blocks {
                change_block(block, &change);
            }
            let mut last = [[0; 3]; LANES];
            last[..rest.len()].copy_from_slice(rest);
            change_block(&mut last, &change);
            rest.copy_from_slice(&last[..rest.len()]);
        },
    );
}

#[inline(always)]
fn change_block(block: &mut [[u8; 3]; LANES], change: &impl Fn([u8; 3]) -> [u8; 3]) {
    let values = block.as_flattened_mut();
    let [mut red, mut green, mut blue] = [[0; LANES]; 3];
    for n in 0..LANES {
        red[n] = values[3 * n];
        green[n] = values[3 * n + 1];
        blue[n] = values[3 * n + 2];
    }
    for n in 0..LANES {
        [red[n], green[n], blue[n]] = change([red[n], green[n], blue[n]]);
    }
    for n in 0..LANES {
        values[3 * n] = red[n];
        values[3 * n + 1] = green[n];
        values[3 * n + 2] = blue[n];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_found_without_conversion() {
        for n in 0..=255_u16 {
            for part in [0.0, 1e-4, 0.25, 0.499, 0.501, 0.75, 0.9999] {
                let value = f32::from(n) + part;
                if value <= 255.0 {
                    assert_eq!((floor(value), round(value)), (value as u8, value.round() as u8), "{value}");
                }
            }
        }
    }

    /// Hue turned as Pillow does it: to bytes of hue and saturation, and back.
    fn pillow_hue([r, g, b]: [u8; 3], shift: u8) -> [u8; 3] {
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        if max == min {
            return [r, g, b];
        }
        let chroma = f32::from(max - min);
        let part = |v: u8| f32::from(max - v) / chroma;
        let hue = if r == max {
            part(b) - part(g)
        } else if g == max {
            (2.0 + f64::from(part(r)) - f64::from(part(b))) as f32
        } else {
            (4.0 + f64::from(part(g)) - f64::from(part(r))) as f32
        };
        let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
        let hue = ((f64::from(hue) * 255.0) as u8).wrapping_add(shift);
        let saturation = (f64::from(chroma / f32::from(max)) * 255.0) as u8;
        let sixth = (f64::from(hue) * 6.0 / 255.0).floor();
        let f = (f64::from(hue) * 6.0 / 255.0 - sixth) as f32;
        let s = (f64::from(saturation) / 255.0) as f32;
        let v = f64::from(max);
        let p = (v * (1.0 - f64::from(s))).round() as u8;
        let q = (v * (1.0 - f64::from(s * f))).round() as u8;
        let t = (v * (1.0 - f64::from(s) * (1.0 - f64::from(f)))).round() as u8;
        match sixth as u8 % 6 {
            0 => [max, t, p],
            1 => [q, max, p],
            2 => [p, max, t],
            3 => [p, q, max],
            4 => [t, p, max],
            _ => [max, p, q],
        }
    }

    #[test]
    fn every_colours_hue_turns_as_in_pillow() {
        let (mut equal, mut near, mut far) = (0, 0, 0);
        for r in (0..=255).step_by(3) {
            for g in 0..=255 {
                for b in (0..=255).step_by(5) {
                    for shift in [0, 25, 231] {
                        let theirs = pillow_hue([r, g, b], shift);
                        let ours = turn_hue([r, g, b], f32::from(shift));
                        match ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(b)).max() {
                            Some(0) => equal += 1,
                            Some(1) => near += 1,
                            _ => far += 1,
                        }
                    }
                }
            }
        }
        println!("{equal} equal, {near} within a level, {far} further");
        assert_eq!(far, 0);
    }

    #[test]
    fn factors_of_one_change_nothing_and_of_zero_take_all() {
        let image = Image::new(20, 12, 3, (0..720).map(|v| (v * 37 % 256) as u8).collect());
        let with = |change: fn(&mut Image, f32), factor| {
            let mut image = image.clone();
            change(&mut image, factor);
            image
        };
        for change in [brightness, contrast, saturation] {
            assert_eq!(with(change, 1.0), image);
        }
        assert!(with(brightness, 0.0).pixels().iter().all(|&v| v == 0));
        let even = with(contrast, 0.0).into_pixels();
        assert!(even.iter().all(|&v| v == even[0]));
        assert_eq!(with(saturation, 0.0), image.clone().with_channels(1).with_channels(3));
    }
}
