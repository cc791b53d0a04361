//! Coefficients of a block to its samples.
//!
//! Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (1989), in integers: constants
//! of 13 bits, 2 bits more than the samples between the two passes. These are the precision and the rounding of libjpeg's
//! default ("islow"), so that the samples are equal. Where a block gives fewer than 8 samples in a direction, they are those of the
//! transform of that length over the lowest frequencies.

/// Bits behind the point of the constants.
const CONSTANT_BITS: i32 = 13;
/// Bits behind the point between the passes.
const BETWEEN_BITS: i32 = 2;
/// Both passes are √8 too large.
const SCALE_BITS: i32 = 3;

/// Coefficients, or samples on the way: 8 rows of 8.
type Rows = [[i16; 8]; 8];

/// Writes a block of `size` (across, down) samples to `plane`, whose rows are `stride` apart.
///
/// `block` and the quantization's `steps` are in natural order. `seen` are the positions of the coefficients behind the mean
/// that may not be 0, or-ed together.
#[inline(always)]
pub(super) fn samples(
    block: &[i16; 64],
    seen: u8,
    steps: &[i16; 64],
    size: (usize, usize),
    plane: &mut [u8],
    stride: usize,
) {
    if seen == 0 {
        return even(block[0].wrapping_mul(steps[0]), size, plane, stride);
    }
    // Rows or columns from 4 on have a bit of their number set.
    let few = seen & 0b100_100 == 0;
    match size {
        (8, 8) if few => transform::<8, 8, 4>(block, steps, plane, stride),
        (8, 8) => transform::<8, 8, 8>(block, steps, plane, stride),
        (8, 4) => transform::<8, 4, 8>(block, steps, plane, stride),
        (4, 8) => transform::<4, 8, 8>(block, steps, plane, stride),
        (4, 4) => transform::<4, 4, 4>(block, steps, plane, stride),
        (4, 2) => transform::<4, 2, 4>(block, steps, plane, stride),
        (2, 4) => transform::<2, 4, 4>(block, steps, plane, stride),
        (2, 2) => transform::<2, 2, 2>(block, steps, plane, stride),
        (2, 1) => transform::<2, 1, 2>(block, steps, plane, stride),
        (1, 2) => transform::<1, 2, 2>(block, steps, plane, stride),
        _ => even(block[0].wrapping_mul(steps[0]), size, plane, stride),
    }
}

/// A block that is all `mean`.
#[inline(always)]
fn even(mean: i16, size: (usize, usize), plane: &mut [u8], stride: usize) {
    let between = i32::from(mean << BETWEEN_BITS);
    let value = sample(descale(between, BETWEEN_BITS + SCALE_BITS));
    for row in plane.chunks_mut(stride).take(size.1) {
        match row.first_chunk_mut() {
            Some(row) if size.0 == 8 => *row = [value; 8],
            _ => row.iter_mut().take(size.0).for_each(|v| *v = value),
        }
    }
}

/// A block of `ACROSS` x `DOWN` samples, whose coefficients are 0 from row and column `USED` on.
#[inline(always)]
fn transform<const ACROSS: usize, const DOWN: usize, const USED: usize>(
    block: &[i16; 64],
    steps: &[i16; 64],
    plane: &mut [u8],
    stride: usize,
) {
    let mut rows: Rows = [[0; 8]; 8];
    for (row, (block, steps)) in rows.iter_mut().zip(block.as_chunks().0.iter().zip(steps.as_chunks::<8>().0))
    {
        let block: &[i16; 8] = block;
        for ((value, &coefficient), &step) in row.iter_mut().zip(block).zip(steps) {
            *value = coefficient.wrapping_mul(step);
        }
    }
    let mut between: Rows = [[0; 8]; 8];
    for lane in 0..8 {
        let column = std::array::from_fn(|k| if k < USED { rows[k][lane] } else { 0 });
        let sums = inverse::<DOWN>(column);
        for k in 0..DOWN {
            between[k][lane] = saturate(descale(sums[k], CONSTANT_BITS - BETWEEN_BITS));
        }
    }
    let columns = transpose(&between);
    let mut turned: Rows = [[0; 8]; 8];
    for lane in 0..8 {
        let row = std::array::from_fn(|k| if k < USED { columns[k][lane] } else { 0 });
        let sums = inverse::<ACROSS>(row);
        for k in 0..ACROSS {
            turned[k][lane] = saturate(descale(sums[k], CONSTANT_BITS + BETWEEN_BITS + SCALE_BITS));
        }
    }
    let rows = transpose(&turned);
    for (target, row) in plane.chunks_mut(stride).zip(&rows).take(DOWN) {
        let row: [u8; 8] = row.map(|value| sample(value.into()));
        if let Some(target) = target.first_chunk_mut::<ACROSS>() {
            target.copy_from_slice(&row[..ACROSS]);
        }
    }
}

#[inline(always)]
fn transpose(rows: &Rows) -> Rows {
    let mut columns: Rows = [[0; 8]; 8];
    for (r, row) in rows.iter().enumerate() {
        for (c, &value) in row.iter().enumerate() {
            columns[c][r] = value;
        }
    }
    columns
}

/// The samples of `N` frequencies, in the first `N` places, with [`CONSTANT_BITS`] bits behind the point.
///
/// Every product is of two numbers of 16 bits, for which processors have an instruction: products of sums are multiplied
/// out, which changes no result.
#[inline(always)]
fn inverse<const N: usize>(x: [i16; 8]) -> [i32; 8] {
    let whole = |value: i16| i32::from(value) << CONSTANT_BITS;
    let times = |value: i16, constant: i32| i32::from(value) * constant;
    let mut sums = [0; 8];
    match N {
        8 => {
            let even2 = times(x[2], C0_541) + times(x[6], C0_541 - C1_848);
            let even3 = times(x[2], C0_541 + C0_765) + times(x[6], C0_541);
            let even0 = whole(x[0].wrapping_add(x[4]));
            let even1 = whole(x[0].wrapping_sub(x[4]));
            let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];
            let (z3, z4) = (x[7].wrapping_add(x[3]), x[5].wrapping_add(x[1]));
            let s3 = times(z3, C1_176 - C1_962) + times(z4, C1_176);
            let s4 = times(z3, C1_176) + times(z4, C1_176 - C0_390);
            let odd = [
                times(x[1], C1_501 - C0_900) + times(x[7], -C0_900) + s4,
                times(x[3], C3_073 - C2_563) + times(x[5], -C2_563) + s3,
                times(x[5], C2_053 - C2_563) + times(x[3], -C2_563) + s4,
                times(x[7], C0_299 - C0_900) + times(x[1], -C0_900) + s3,
            ];
            for k in 0..4 {
                sums[k] = even[k].wrapping_add(odd[k]);
                sums[7 - k] = even[k].wrapping_sub(odd[k]);
            }
        }
        4 => {
            let even = [whole(x[0].wrapping_add(x[2])), whole(x[0].wrapping_sub(x[2]))];
            let odd = [
                times(x[1], C0_541 + C0_765) + times(x[3], C0_541),
                times(x[1], C0_541) + times(x[3], C0_541 - C1_848),
            ];
            for k in 0..2 {
                sums[k] = even[k] + odd[k];
                sums[3 - k] = even[k] - odd[k];
            }
        }
        2 => {
            sums[0] = whole(x[0].wrapping_add(x[1]));
            sums[1] = whole(x[0].wrapping_sub(x[1]));
        }
        _ => sums[0] = whole(x[0]),
    }
    sums
}

const C0_299: i32 = constant(0.298631336);
const C0_390: i32 = constant(0.390180644);
const C0_541: i32 = constant(0.541196100);
const C0_765: i32 = constant(0.765366865);
const C0_900: i32 = constant(0.899976223);
const C1_176: i32 = constant(1.175875602);
const C1_501: i32 = constant(1.501321110);
const C1_848: i32 = constant(1.847759065);
const C1_962: i32 = constant(1.961570560);
const C2_053: i32 = constant(2.053119869);
const C2_563: i32 = constant(2.562915447);
const C3_073: i32 = constant(3.072711026);

const fn constant(value: f64) -> i32 {
    (value * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

/// `value / 2^bits`, rounded.
#[inline(always)]
fn descale(value: i32, bits: i32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

#[inline(always)]
fn saturate(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Samples are stored around 0.
#[inline(always)]
fn sample(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
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

    const SIZES: [(usize, usize); 10] =
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
                samples(&block, seen, &[1; 64], (across, down), &mut plane, 10);
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
            for position in 0..64 {
                if position & 0b100_100 == 0 {
                    block[position] = rng.below(200) as i16 - 100;
                }
            }
            let (mut short, mut long) = ([0; 64], [0; 64]);
            samples(&block, 0b011_011, &[3; 64], (8, 8), &mut short, 8);
            samples(&block, 63, &[3; 64], (8, 8), &mut long, 8);
            assert_eq!(short, long);
            block[1..].fill(0);
            samples(&block, 0, &[3; 64], (8, 8), &mut short, 8);
            samples(&block, 63, &[3; 64], (8, 8), &mut long, 8);
            assert_eq!(short, long);
        }
    }
}
