//! Coefficients of a block to its samples.
//!
//! Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (1989), in integers: constants
//! of 13 bits, 2 bits more than the samples between the two passes. These are the precision and the rounding of libjpeg's
//! default ("islow"), so that the samples are equal. Their sums are multiplied out here: in integers that changes no
//! result, and processors have an instruction that multiplies and adds two pairs of 16-bit numbers. Where a block
//! gives fewer than 8 samples in a direction, they are those of the transform of that length over the lowest frequencies.

#[cfg(target_arch = "x86_64")]
mod avx2;

/// Bits behind the point of the constants.
const CONSTANT_BITS: i32 = 13;
/// Bits behind the point between the passes.
const BETWEEN_BITS: i32 = 2;
/// Both passes are √8 too large.
const SCALE_BITS: i32 = 3;
/// What the passes are too large by.
const FIRST_SHIFT: i32 = CONSTANT_BITS - BETWEEN_BITS;
const SECOND_SHIFT: i32 = CONSTANT_BITS + BETWEEN_BITS + SCALE_BITS;

/// The two passes, with what a processor has.
pub(super) trait Transform: Copy {
    /// Writes a block of `ACROSS` x `DOWN` samples, whose coefficients are 0 from row and column `USED` (2, 4 or 8) on.
    fn transform<const ACROSS: usize, const DOWN: usize, const USED: usize>(
        self,
        block: &[i16; 64],
        steps: &[i16; 64],
        plane: &mut [u8],
        stride: usize,
    );
}

/// Writes a block of `size` (across, down) samples to `plane`, whose rows are `stride` apart.
///
/// `block` and the quantization's `steps` are in natural order. `seen` are the positions of the coefficients behind the mean
/// that may not be 0, or-ed together.
#[inline(always)]
pub(super) fn samples<T: Transform>(
    t: T,
    block: &[i16; 64],
    seen: u8,
    steps: &[i16; 64],
    size: (usize, usize),
    plane: &mut [u8],
    stride: usize,
) {
    match size {
        (8, 8) => of_size::<T, 8, 8, 8>(t, block, seen, steps, plane, stride),
        (8, 4) => of_size::<T, 8, 4, 8>(t, block, seen, steps, plane, stride),
        (4, 8) => of_size::<T, 4, 8, 8>(t, block, seen, steps, plane, stride),
        (4, 4) => of_size::<T, 4, 4, 4>(t, block, seen, steps, plane, stride),
        (4, 2) => of_size::<T, 4, 2, 4>(t, block, seen, steps, plane, stride),
        (2, 4) => of_size::<T, 2, 4, 4>(t, block, seen, steps, plane, stride),
        // So few need no vectors.
        (2, 2) => of_size::<_, 2, 2, 2>(Portable, block, seen, steps, plane, stride),
        (2, 1) => of_size::<_, 2, 1, 2>(Portable, block, seen, steps, plane, stride),
        (1, 2) => of_size::<_, 1, 2, 2>(Portable, block, seen, steps, plane, stride),
        _ => even::<1, 1>(block[0].wrapping_mul(steps[0]), plane, stride),
    }
}

#[inline(always)]
fn of_size<T: Transform, const ACROSS: usize, const DOWN: usize, const USED: usize>(
    t: T,
    block: &[i16; 64],
    seen: u8,
    steps: &[i16; 64],
    plane: &mut [u8],
    stride: usize,
) {
    // Rows or columns from 4 on have a bit of their number set.
    if seen == 0 {
        even::<ACROSS, DOWN>(block[0].wrapping_mul(steps[0]), plane, stride);
    } else if USED == 8 && seen & 0b100_100 == 0 {
        t.transform::<ACROSS, DOWN, 4>(block, steps, plane, stride);
    } else {
        t.transform::<ACROSS, DOWN, USED>(block, steps, plane, stride);
    }
}

/// A block that is all `mean`.
#[inline(always)]
fn even<const ACROSS: usize, const DOWN: usize>(mean: i16, plane: &mut [u8], stride: usize) {
    let value = sample(descale(i32::from(mean << BETWEEN_BITS), BETWEEN_BITS + SCALE_BITS));
    for y in 0..DOWN {
        write_row(plane, y * stride, [value; ACROSS]);
    }
}

/// Writes samples from place `at` on. A plane is large enough for its blocks.
#[inline(always)]
fn write_row<const N: usize>(plane: &mut [u8], at: usize, row: [u8; N]) {
    if let Some(target) = plane.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *target = row;
    }
}

/// How much frequency `frequency` adds to sample `place` of `length`, with [`CONSTANT_BITS`] bits behind the point; 0 for
/// what a shorter transform leaves out.
const fn wave(length: usize, place: usize, frequency: usize) -> i16 {
    if frequency >= length || place >= length {
        return 0;
    }
    // The second half mirrors the first, odd frequencies with the other sign. Shorter transforms are parts of the longest.
    let mirrored = place >= length.div_ceil(2);
    let place = if mirrored { length - 1 - place } else { place };
    let value = WAVES[place][frequency * (8 / length)];
    if mirrored && frequency % 2 == 1 { -value } else { value }
}

/// The first half of the samples of the transform of length 8, each over all frequencies.
const WAVES: [[i16; 8]; 4] = {
    let [c0_299, c0_390, c0_541, c0_765, c0_900, c1_176] = [
        constant(0.298631336),
        constant(0.390180644),
        constant(0.541196100),
        constant(0.765366865),
        constant(0.899976223),
        constant(1.175875602),
    ];
    let [c1_501, c1_848, c1_962, c2_053, c2_563, c3_073] = [
        constant(1.501321110),
        constant(1.847759065),
        constant(1.961570560),
        constant(2.053119869),
        constant(2.562915447),
        constant(3.072711026),
    ];
    let one = constant(1.0);
    // The rotation by which the paper turns frequencies 2 and 6, and the four sums of its odd part.
    let (e2, e6) = (c0_541 + c0_765, c0_541 - c1_848);
    let (s3, s4) = (c1_176 - c1_962, c1_176 - c0_390);
    let (o17, o35) = (c1_176 - c0_900, c1_176 - c2_563);
    let rows = [
        [one, c1_501 - c0_900 + s4, e2, c1_176, one, s4, c0_541, o17],
        [one, c1_176, c0_541, c3_073 - c2_563 + s3, -one, o35, e6, s3],
        [one, s4, -c0_541, o35, -one, c2_053 - c2_563 + s4, -e6, c1_176],
        [one, o17, -e2, s3, one, c1_176, -c0_541, c0_299 - c0_900 + s3],
    ];
    let mut waves = [[0; 8]; 4];
    let mut at = 0;
    while at < 32 {
        waves[at / 8][at % 8] = rows[at / 8][at % 8] as i16;
        at += 1;
    }
    waves
};

const fn constant(value: f64) -> i32 {
    (value * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

/// `value / 2^bits`, rounded.
#[inline(always)]
fn descale(value: i32, bits: i32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// Samples are stored around 0.
#[inline(always)]
fn sample(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

/// Plain loops, for any processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Transform for Portable {
    #[inline(always)]
    fn transform<const ACROSS: usize, const DOWN: usize, const USED: usize>(
        self,
        block: &[i16; 64],
        steps: &[i16; 64],
        plane: &mut [u8],
        stride: usize,
    ) {
        let mut rows = [[0i32; USED]; USED];
        for (k, row) in rows.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = block[8 * k + c].wrapping_mul(steps[8 * k + c]).into();
            }
        }
        let mut between = [[0i32; USED]; DOWN];
        for (y, sums) in between.iter_mut().enumerate() {
            for (k, row) in rows.iter().enumerate() {
                let wave = i32::from(wave(DOWN, y, k));
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum = sum.wrapping_add(wave * value);
                }
            }
            *sums = sums.map(|sum| descale(sum, FIRST_SHIFT).clamp(i16::MIN.into(), i16::MAX.into()));
        }
        for (y, row) in between.iter().enumerate() {
            let mut sums = [0i32; ACROSS];
            for (k, &value) in row.iter().enumerate() {
                for (x, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(i32::from(wave(ACROSS, x, k)) * value);
                }
            }
            write_row(plane, y * stride, sums.map(|sum| sample(descale(sum, SECOND_SHIFT))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::order::SampleRng;

    /// The transform of `size` samples over the lowest frequencies, in real numbers (T.81, A.3.3).
    fn exact(block: &[i16; 64], (across, down): (usize, usize)) -> Vec<f64> {
        let wave = |frequency: usize, place: usize, length: usize| {
            let scale = if frequency == 0 { 1.0 } else { 2f64.sqrt() };
            scale * ((2 * place + 1) as f64 * frequency as f64 * PI / (2 * length) as f64).cos()
        };
        let mut samples = Vec::new();
        for y in 0..down {
            for x in 0..across {
                let terms = (0..down).flat_map(|v| {
                    (0..across)
                        .map(move |u| f64::from(block[8 * v + u]) * wave(u, x, across) * wave(v, y, down))
                });
                samples.push((terms.sum::<f64>() / 8.0 + 128.0).clamp(0.0, 255.0));
            }
        }
        samples
    }

    pub(super) const SIZES: [(usize, usize); 10] =
        [(8, 8), (8, 4), (4, 8), (4, 4), (4, 2), (2, 4), (2, 2), (2, 1), (1, 2), (1, 1)];

    #[test]
    fn every_size_is_the_transform_of_the_lowest_frequencies() {
        let mut rng = SampleRng::new(1, 2, 3, 4);
        for round in 0..400 {
            // From a single coefficient to all of them.
            let mut block = [0; 64];
            let mut seen = 0;
            for _ in 0..1 + rng.below(1 + round / 4) {
                let position = rng.below(if round % 3 == 0 { 28 } else { 64 });
                block[position as usize] = (rng.below(400) as i16 - 200) / (1 + position as i16 / 4);
                seen |= position as u8;
            }
            for (across, down) in SIZES {
                let mut plane = [0; 80];
                samples(Portable, &block, seen, &[1; 64], (across, down), &mut plane, 10);
                let exact = exact(&block, (across, down));
                for (place, &expected) in exact.iter().enumerate() {
                    let found = f64::from(plane[place / across * 10 + place % across]);
                    assert!(
                        (found - expected).abs() < 0.6,
                        "{across}x{down}, {place}: {found}, not {expected}"
                    );
                }
                // Nothing is written beside the block.
                assert!(plane.chunks(10).all(|row| row[across..].iter().all(|&v| v == 0)));
            }
        }
    }

    #[test]
    fn blocks_of_few_coefficients_need_no_other_path() {
        let mut rng = SampleRng::new(5, 6, 7, 8);
        for _ in 0..400 {
            let mut block = [0; 64];
            for (position, value) in block.iter_mut().enumerate() {
                if position & 0b100_100 == 0 {
                    *value = rng.below(200) as i16 - 100;
                }
            }
            let (mut short, mut long) = ([0; 64], [0; 64]);
            samples(Portable, &block, 0b011_011, &[3; 64], (8, 8), &mut short, 8);
            samples(Portable, &block, 63, &[3; 64], (8, 8), &mut long, 8);
            assert_eq!(short, long);
            block[1..].fill(0);
            samples(Portable, &block, 0, &[3; 64], (8, 8), &mut short, 8);
            samples(Portable, &block, 63, &[3; 64], (8, 8), &mut long, 8);
            assert_eq!(short, long);
        }
    }
}
