//! Changes of single values: tables of 256 entries. As Pillow's `ImageOps`.

use crate::Image;

/// Light becomes dark.
pub(super) fn invert(image: &mut Image) {
    image.pixels_mut().iter_mut().for_each(|value| *value = !*value);
}

/// Values of `threshold` and above are inverted.
pub(super) fn solarize(image: &mut Image, threshold: f32) {
    if threshold > 255.0 {
        return;
    }
    let threshold = threshold.ceil() as u8;
    for value in image.pixels_mut() {
        *value = if *value < threshold { *value } else { !*value };
    }
}

/// Keeps the upper `bits` of each value.
pub(super) fn posterize(image: &mut Image, bits: u32) {
    let mask = !(0xFF_u16 >> bits) as u8;
    image.pixels_mut().iter_mut().for_each(|value| *value &= mask);
}

/// Each value becomes the table's.
pub(super) fn map(image: &mut Image, table: &[u8; 256]) {
    image.pixels_mut().iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// Stretches each channel so that its darkest value becomes 0 and its lightest 255; an even channel stays.
pub(super) fn autocontrast(image: &mut Image) {
    map_channels(image, |counts| {
        let low = counts.iter().position(|&n| n > 0)?;
        let high = counts.iter().rposition(|&n| n > 0).filter(|&high| high > low)?;
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // Conversion cuts off and stays within 0 to 255.
        Some(std::array::from_fn(|value| (value as f64 * scale + offset) as u8))
    });
}

/// Spreads each channel's values so that all are about equally frequent; a channel of few values stays.
pub(super) fn equalize(image: &mut Image) {
    map_channels(image, |counts| {
        let last = counts.iter().rev().find(|&&n| n > 0)?;
        let step = (counts.iter().sum::<u32>() - last) / 255;
        let mut below = step / 2;
        (step > 0).then(|| {
            counts.map(|count| {
                let value = below / step;
                below += count;
                value.min(255) as u8
            })
        })
    });
}

/// Changes each channel by a table made from how often it has each value.
fn map_channels(image: &mut Image, table: impl Fn(&[u32; 256]) -> Option<[u8; 256]>) {
    let same = || std::array::from_fn(|value| value as u8);
    if image.channels() == 1 {
        let [counts] = histogram(image.pixels().as_chunks::<1>().0);
        if let Some(table) = table(&counts) {
            map(image, &table);
        }
        return;
    }
    let tables = histogram(image.pixels().as_chunks::<3>().0).map(|counts| table(&counts));
    if tables.iter().all(Option::is_none) {
        return;
    }
    let [red, green, blue] = tables.map(|table| table.unwrap_or_else(same));
    for [r, g, b] in image.pixels_mut().as_chunks_mut::<3>().0 {
        (*r, *g, *b) = (red[usize::from(*r)], green[usize::from(*g)], blue[usize::from(*b)]);
    }
}

/// How often each channel has each value.
fn histogram<const CHANNELS: usize>(pixels: &[[u8; CHANNELS]]) -> [[u32; 256]; CHANNELS] {
    // Two sets of counts in turn: neighbours are often equal, and a count need not wait for the one before.
    let mut counts = [[[0u32; 256]; CHANNELS]; 2];
    for pair in pixels.chunks(2) {
        for (counts, pixel) in counts.iter_mut().zip(pair) {
            for (counts, value) in counts.iter_mut().zip(pixel) {
                counts[usize::from(*value)] += 1;
            }
        }
    }
    let [mut sums, others] = counts;
    for (sum, other) in sums.as_flattened_mut().iter_mut().zip(others.as_flattened()) {
        *sum += other;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(values: &[u8]) -> Image {
        Image::new(values.len() as u32, 1, 1, values.to_vec())
    }

    fn changed(values: &[u8], change: impl Fn(&mut Image)) -> Vec<u8> {
        let mut image = gray(values);
        change(&mut image);
        image.into_pixels()
    }

    #[test]
    fn single_values_change_by_their_rule() {
        assert_eq!(changed(&[0, 1, 200, 255], invert), [255, 254, 55, 0]);
        assert_eq!(changed(&[0, 127, 128, 255], |i| solarize(i, 127.5)), [0, 127, 127, 0]);
        assert_eq!(changed(&[0, 254, 255], |i| solarize(i, 255.0)), [0, 254, 0]);
        assert_eq!(changed(&[0, 255], |i| solarize(i, 256.0)), [0, 255]);
        assert_eq!(changed(&[0, 15, 16, 255], |i| posterize(i, 4)), [0, 0, 16, 240]);
        assert_eq!(changed(&[3, 255], |i| posterize(i, 0)), [0, 0]);
        assert_eq!(changed(&[3, 255], |i| posterize(i, 8)), [3, 255]);
    }

    #[test]
    fn contrast_is_stretched_and_evenness_stays() {
        assert_eq!(changed(&[50, 100, 150], autocontrast), [0, 127, 255]);
        assert_eq!(changed(&[50, 50], autocontrast), [50, 50]);
        assert_eq!(changed(&[9; 4], equalize), [9; 4]);
        let spread = changed(&(0..1024).map(|v| (v / 16) as u8).collect::<Vec<u8>>(), equalize);
        assert_eq!((spread[0], spread[1023]), (0, 255));
        assert!(spread.is_sorted());
    }

    #[test]
    fn channels_are_stretched_apart() {
        let mut image = Image::new(2, 1, 3, vec![10, 7, 0, 20, 7, 255]);
        autocontrast(&mut image);
        assert_eq!(image.pixels(), [0, 7, 0, 255, 7, 255]);
    }
}
