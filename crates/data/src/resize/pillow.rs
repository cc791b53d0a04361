//! Resizing with Pillow's arithmetic, to the last bit: what is measured and what is predicted sees the pixels it would see in Python.
//!
//! Weights of 22 bits, first along the rows, then along the columns, with bytes between them.

use pulp::Arch;

use super::{Filter, Region};
use crate::image::Pixels;

/// The weights of an output pixel add up to about `1 << SHIFT`.
const SHIFT: i32 = 22;

/// What the pixels of one output pixel count, from `first` on.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// `region` of `image`, which lies within it, as `[height, width, channels]`. `filter` is none that takes the nearest pixel.
pub(super) fn resize(
    image: Pixels<'_>,
    region: &Region,
    (width, height): (u32, u32),
    filter: Filter,
) -> Vec<u8> {
    let channels = usize::from(image.channels);
    let columns = taps(region.left, region.width, width, image.width, filter);
    let mut rows = taps(region.top, region.height, height, image.height, filter);
    let stride = image.width as usize * channels;
    if region.width < f64::from(width) && region.height > f64::from(height) {
        // The one case in which Pillow goes down the columns first: rows that shrink away need not be widened.
        return across(&down(image.bytes, stride, &rows), stride, channels, &columns);
    }
    // Only the rows that are looked at are resized.
    let first = rows.iter().map(|tap| tap.first).min().unwrap_or(0);
    let last = rows.iter().map(|tap| tap.first + tap.weights.len()).max().unwrap_or(0);
    rows.iter_mut().for_each(|tap| tap.first -= first);
    let wide = across(&image.bytes[first * stride..last * stride], stride, channels, &columns);
    down(&wide, width as usize * channels, &rows)
}

/// The taps of `count` output pixels over `length` pixels from `from` on, of `side` pixels.
fn taps(from: f64, length: f64, count: u32, side: u32, filter: Filter) -> Vec<Tap> {
    let scale = length / f64::from(count);
    let stretch = scale.max(1.0);
    let support = reach(filter) * stretch;
    let steepness = 1.0 / stretch;
    let tap = |place| {
        let center = from + (f64::from(place) + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let last = ((center + support + 0.5) as usize).min(side as usize).max(first + 1);
        let weights = (first..last).map(|at| weight(filter, (at as f64 - center + 0.5) * steepness));
        let weights: Vec<f64> = weights.collect();
        let all: f64 = weights.iter().sum();
        // A region that is a sliver may fall between the pixels.
        let all = if all == 0.0 { 1.0 } else { all };
        let whole = |weight: f64| {
            let exact = weight / all * f64::from(1 << SHIFT);
            (exact + 0.5f64.copysign(exact)) as i32
        };
        Tap { first, weights: weights.into_iter().map(whole).collect() }
    };
    (0..count).map(tap).collect()
}

/// How far a filter reaches, in output pixels of a picture that shrinks.
fn reach(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest | Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

/// What a pixel `x` away counts.
fn weight(filter: Filter, x: f64) -> f64 {
    let x = x.abs();
    if x >= reach(filter) {
        return 0.0;
    }
    match filter {
        Filter::Nearest | Filter::Bilinear => 1.0 - x,
        // Keys, 1981, with a = -1/2.
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Lanczos => sinc(x) * sinc(x / 3.0),
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Each row of `bytes`, which have `stride` bytes, at the width of `columns`.
fn across(bytes: &[u8], stride: usize, channels: usize, columns: &[Tap]) -> Vec<u8> {
    let mut out = vec![0; bytes.len() / stride * columns.len() * channels];
    Arch::new().dispatch(|| {
        for (row, out) in bytes.chunks_exact(stride).zip(out.chunks_exact_mut(columns.len() * channels)) {
            match channels {
                1 => across_row::<1>(row, columns, out),
                _ => across_row::<3>(row, columns, out),
            }
        }
    });
    out
}

#[inline(always)]
fn across_row<const CHANNELS: usize>(row: &[u8], columns: &[Tap], out: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<CHANNELS>();
    let (out, _) = out.as_chunks_mut::<CHANNELS>();
    for (tap, out) in columns.iter().zip(out) {
        let mut sums = [1 << (SHIFT - 1); CHANNELS];
        for (weight, pixel) in tap.weights.iter().zip(&pixels[tap.first..]) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(*value);
            }
        }
        *out = sums.map(byte);
    }
}

/// The rows of `bytes`, which have `stride` bytes, at the height of `rows`.
fn down(bytes: &[u8], stride: usize, rows: &[Tap]) -> Vec<u8> {
    let mut out = vec![0; rows.len() * stride];
    let mut sums = vec![0; stride];
    Arch::new().dispatch(|| {
        for (tap, out) in rows.iter().zip(out.chunks_exact_mut(stride)) {
            sums.fill(1 << (SHIFT - 1));
            for (weight, row) in tap.weights.iter().zip(bytes[tap.first * stride..].chunks_exact(stride)) {
                add_row(*weight, row, &mut sums);
            }
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = byte(*sum);
            }
        }
    });
    out
}

#[inline(always)]
fn add_row(weight: i32, row: &[u8], sums: &mut [i32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * i32::from(*value);
    }
}

#[inline(always)]
fn byte(sum: i32) -> u8 {
    (sum >> SHIFT).clamp(0, 255) as u8
}
