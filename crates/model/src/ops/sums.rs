//! Sums over the pixels of channels, close to exact and the same for any number of threads.

use rayon::prelude::*;

use super::simd::{MOST_LANES, wide};

/// Sums that run side by side, so that a processor's vectors are full.
const LANES: usize = 64;

/// The sum over all of `values` of `term`: in 32 bits along each lane, in 64 across.
#[inline(always)]
pub(super) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let whole = values.chunks_exact(LANES);
    let rest: f64 = whole.remainder().iter().map(|value| f64::from(term(*value))).sum();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += term(*value);
        }
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + rest
}

/// The same over pairs of values.
#[inline(always)]
pub(super) fn sum_of_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    let rest: f64 = rest.map(|(a, b)| f64::from(term(*a, *b))).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += term(*a, *b);
        }
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + rest
}

/// Rows of one length folded along as many lanes as a vector has.
#[inline(always)]
pub(super) fn along_lanes<const N: usize>(
    rows: [&[f32]; N],
    start: f32,
    fold: impl Fn(f32, [f32; N]) -> f32,
) -> [f32; MOST_LANES] {
    let mut lanes = [start; MOST_LANES];
    let rows = rows.map(|row| row.as_chunks::<MOST_LANES>());
    for n in 0..rows[0].0.len() {
        let values = rows.map(|(whole, _)| whole[n]);
        for (k, lane) in lanes.iter_mut().enumerate() {
            *lane = fold(*lane, values.map(|values| values[k]));
        }
    }
    for (k, lane) in lanes.iter_mut().take(rows[0].1.len()).enumerate() {
        *lane = fold(*lane, rows.map(|(_, rest)| rest[k]));
    }
    lanes
}

/// The sum of a term over rows of one length that are not long, in 32 bits.
#[inline(always)]
pub(super) fn total<const N: usize>(rows: [&[f32]; N], term: impl Fn([f32; N]) -> f32) -> f32 {
    let mut lanes = along_lanes(rows, 0.0, |sum, values| sum + term(values));
    let mut half = MOST_LANES / 2;
    while half > 0 {
        for k in 0..half {
            lanes[k] += lanes[k + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The highest number of a row.
#[inline(always)]
pub(super) fn highest(row: &[f32]) -> f32 {
    let lanes = along_lanes([row], f32::NEG_INFINITY, |most, [x]| if x > most { x } else { most });
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// One channel of images `[batch, channels, pixels]`: its pixels of each image.
pub(super) fn channel(
    x: &[f32],
    channels: usize,
    pixels: usize,
    channel: usize,
) -> impl Iterator<Item = &[f32]> + Clone {
    x.chunks_exact(channels * pixels).map(move |image| &image[channel * pixels..][..pixels])
}

/// The sum of one channel of images `[batch, channels, pixels]`.
#[inline(always)]
pub(super) fn of_channel(x: &[f32], channels: usize, pixels: usize, c: usize) -> f64 {
    let mut total = 0.0;
    for plane in channel(x, channels, pixels, c) {
        total += sum(plane, |value| value);
    }
    total
}

/// The sum of each of them.
pub(super) fn of_channels(x: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let of = |c| {
        wide(
            #[inline(always)]
            || of_channel(x, channels, pixels, c),
        )
    };
    (0..channels).into_par_iter().map(|c| of(c) as f32).collect()
}
