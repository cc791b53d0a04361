//! Blurring and sharpening.

use pulp::Arch;

use super::color::{blend_all, round};
use super::warp::Border;
use crate::Image;

/// Blurs by a Gaussian of standard deviation `sigma` pixels, cut off after `kernel` pixels (odd). The picture is mirrored at its
/// borders. torchvision's `gaussian_blur`.
pub(super) fn gaussian(image: &mut Image, kernel: u32, sigma: f64) {
    let weights = weights(kernel, sigma);
    let reach = weights.len() as i64 / 2;
    let channels = usize::from(image.channels());
    let (width, height) = (image.width(), image.height());
    let row_length = width as usize * channels;
    if row_length == 0 || height == 0 {
        return;
    }
    let source = image.pixels().to_vec();
    // One row, blurred down the columns, with as many mirrored pixels on each side as the kernel reaches.
    let margin = reach as usize * channels;
    let mut padded = vec![0.0f32; row_length + 2 * margin];
    let mut blurred = vec![0.0f32; row_length];
    let mirrored = |place: i64, length| Border::Reflect.source(place, length).unwrap_or_default();
    let beside = (-reach..0).chain(i64::from(width)..i64::from(width) + reach);
    let beside: Vec<(usize, usize)> =
        beside.map(|x| (margin + mirrored(x, width) * channels, (x + reach) as usize * channels)).collect();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (y, out) in image.pixels_mut().chunks_exact_mut(row_length).enumerate() {
                let middle = &mut padded[margin..margin + row_length];
                middle.fill(0.0);
                for (weight, offset) in weights.iter().zip(-reach..) {
                    let row = &source[mirrored(y as i64 + offset, height) * row_length..][..row_length];
                    for (sum, value) in middle.iter_mut().zip(row) {
                        *sum += weight * f32::from(*value);
                    }
                }
                for &(from, to) in &beside {
                    padded.copy_within(from..from + channels, to);
                }
                blurred.fill(0.0);
                for (n, weight) in weights.iter().enumerate() {
                    for (sum, value) in blurred.iter_mut().zip(&padded[n * channels..]) {
                        *sum += weight * value;
                    }
                }
                for (out, value) in out.iter_mut().zip(&blurred) {
                    *out = round(*value);
                }
            }
        },
    );
}

/// The kernel's weights, which sum to 1. Those at the ends that cannot move a byte are left out.
fn weights(kernel: u32, sigma: f64) -> Vec<f32> {
    let reach = i64::from(kernel / 2);
    let weight = |x: i64| (-0.5 * (x as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    let reach = (0..=reach).take_while(|&x| weight(x) / sum > 1e-6).count() as i64 - 1;
    (-reach..=reach).map(|x| (weight(x) / sum) as f32).collect()
}

/// 0 is a little blurred, 1 is the picture, 2 is sharper. The border pixels stay, and so does a picture that has no others. Pillow's
/// `ImageEnhance.Sharpness`.
pub(super) fn sharpness(image: &mut Image, factor: f32) {
    let channels = usize::from(image.channels());
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width <= 2 || height <= 2 {
        return;
    }
    let length = width * channels;
    let inner = length - 2 * channels;
    let source = image.pixels().to_vec();
    let mut columns = vec![0u16; length];
    let mut smooth = vec![0u8; inner];
    let rows = source.windows(3 * length).step_by(length);
    let out_rows = image.pixels_mut().chunks_exact_mut(length).skip(1);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (rows, out) in rows.zip(out_rows) {
                let (above, rest) = rows.split_at(length);
                let (here, below) = rest.split_at(length);
                for (((sum, a), b), c) in columns.iter_mut().zip(above).zip(here).zip(below) {
                    *sum = u16::from(*a) + u16::from(*b) + u16::from(*c);
                }
                let (left, right) = (&columns[..inner], &columns[2 * channels..]);
                let (middle, here) = (&columns[channels..][..inner], &here[channels..][..inner]);
                for ((((smooth, value), left), middle), right) in
                    smooth.iter_mut().zip(here).zip(left).zip(middle).zip(right)
                {
                    // The middle pixel counts five times, its eight neighbours once; 6 rounds to the nearest.
                    *smooth = ((left + middle + right + 4 * u16::from(*value) + 6) / 13) as u8;
                }
                blend_all(&mut out[channels..][..inner], &smooth, here, factor);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot() -> Image {
        let mut image = Image::new(5, 5, 1, vec![0; 25]);
        image.pixels_mut()[12] = 130;
        image
    }

    #[test]
    fn a_dot_is_spread_and_its_sum_stays() {
        let mut blurred = dot();
        gaussian(&mut blurred, 3, 1.0);
        // 1 / (1 + 2 exp(-1/2)) = 0.4519, squared 0.2042; beside it 0.2741.
        assert_eq!(blurred.pixels()[12], 27);
        assert_eq!([7, 11, 13, 17].map(|n| blurred.pixels()[n]), [16; 4]);
        assert_eq!(blurred.pixels()[6], 10);
        let mut even = Image::new(3, 2, 3, [9, 200, 255].repeat(6));
        gaussian(&mut even, 23, 2.0);
        assert_eq!(even.pixels(), [9, 200, 255].repeat(6));
    }

    #[test]
    fn sharpness_zero_smooths_one_stays_two_exaggerates() {
        let with = |factor| {
            let mut image = dot();
            sharpness(&mut image, factor);
            image.into_pixels()
        };
        assert_eq!(with(1.0), dot().into_pixels());
        assert_eq!((with(0.0)[12], with(0.0)[11], with(0.0)[0]), (50, 10, 0));
        assert_eq!((with(2.0)[12], with(2.0)[11]), (210, 0));
    }
}
