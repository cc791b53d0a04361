//! Blurring and sharpening.

use super::color::{blend, round};
use super::warp::Border;
use crate::Image;

/// Blurs by a Gaussian of standard deviation `sigma` pixels, cut off after `kernel` pixels (odd). The picture is mirrored at its
/// borders. torchvision's `gaussian_blur`.
pub(super) fn gaussian(image: &mut Image, kernel: u32, sigma: f64) {
    let reach = i64::from(kernel / 2);
    let weights: Vec<f64> = (-reach..=reach).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let weights: Vec<f32> = weights.iter().map(|w| (w / sum) as f32).collect();
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
    for (y, out) in image.pixels_mut().chunks_exact_mut(row_length).enumerate() {
        let middle = &mut padded[margin..margin + row_length];
        middle.fill(0.0);
        for (weight, offset) in weights.iter().zip(-reach..) {
            let row = &source[mirrored(y as i64 + offset, height) * row_length..][..row_length];
            middle.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * f32::from(*value));
        }
        for place in (-reach..0).chain(i64::from(width)..i64::from(width) + reach) {
            let from = margin + mirrored(place, width) * channels;
            let to = (place + reach) as usize * channels;
            padded.copy_within(from..from + channels, to);
        }
        blurred.fill(0.0);
        for (n, weight) in weights.iter().enumerate() {
            let row = &padded[n * channels..][..row_length];
            blurred.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        out.iter_mut().zip(&blurred).for_each(|(out, value)| *out = round(value.clamp(0.0, 255.0)));
    }
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
    for (rows, out) in
        source.windows(3 * length).step_by(length).zip(image.pixels_mut().chunks_exact_mut(length).skip(1))
    {
        let (above, rest) = rows.split_at(length);
        let (here, below) = rest.split_at(length);
        for (((sum, a), b), c) in columns.iter_mut().zip(above).zip(here).zip(below) {
            *sum = u16::from(*a) + u16::from(*b) + u16::from(*c);
        }
        let (left, right) = (&columns[..inner], &columns[2 * channels..]);
        let (middle, here) = (&columns[channels..][..inner], &here[channels..][..inner]);
        let out = &mut out[channels..][..inner];
        for ((((out, value), left), middle), right) in
            out.iter_mut().zip(here).zip(left).zip(middle).zip(right)
        {
            let value = u16::from(*value);
            // The middle pixel counts five times, its eight neighbours once.
            let smooth = round(f32::from(left + middle + right + 4 * value) * (1.0 / 13.0));
            *out = blend(f32::from(smooth), f32::from(value), factor);
        }
    }
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
