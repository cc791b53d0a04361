//! Depthwise convolutions: tiles of some pixels of one row, or of two, by a vector of channels, summed in registers.

use std::mem::MaybeUninit;

use burn::tensor::ops::ConvOptions;
use pulp::{Arch, Simd, WithSimd};

use super::super::Pointwise;
use super::super::geometry::Geometry;
use super::vectors::{apply, vectors, write};

/// Pixels of a row of a tile where there are 32 registers, and where there are fewer.
const HIGH: usize = 7;
const FEWER: usize = 4;

/// Rows of a tile, if there are registers for their sums beside the pixels that a row of the kernel sees.
pub(super) const ROWS: usize = 2;

/// Pixels of a row that a tile sees at most.
const SEEN: usize = sees(HIGH, 7, 2);

/// Pixels of a row that so many of what comes out see.
const fn sees(high: usize, kernel: usize, stride: usize) -> usize {
    (high - 1) * stride + kernel
}

/// Some rows of what comes out, one after the other.
pub(super) struct Depthwise<'a> {
    pub(super) g: &'a Geometry,
    /// `[batch, height, width, channels]`.
    pub(super) x: &'a [f32],
    /// `[elements, channels]`.
    pub(super) kernels: &'a [f32],
    pub(super) bias: &'a [f32],
    /// What is a quick function is done.
    pub(super) function: Option<Pointwise>,
    /// The first row.
    pub(super) first: usize,
    pub(super) out: &'a mut [MaybeUninit<f32>],
}

/// Whether kernels of this width are read.
pub(super) fn takes(width: usize, options: &ConvOptions<2>) -> bool {
    matches!((width, options.stride[1], options.dilation), (3 | 5 | 7, 1 | 2, [1, 1]))
}

impl Depthwise<'_> {
    pub(super) fn compute(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match (self.g.kernel[1], self.g.stride[1]) {
            (3, 1) => self.rows::<S, 3, 1>(simd),
            (3, _) => self.rows::<S, 3, 2>(simd),
            (5, 1) => self.rows::<S, 5, 1>(simd),
            (5, _) => self.rows::<S, 5, 2>(simd),
            (_, 1) => self.rows::<S, 7, 1>(simd),
            _ => self.rows::<S, 7, 2>(simd),
        }
    }
}

/// Some pixels of a row, or of two of the same image.
#[derive(Clone, Copy)]
struct Place {
    /// The first row, among those of all images.
    row: usize,
    image: usize,
    /// The first row, among those of this image.
    down: usize,
    rows: usize,
    column: usize,
}

impl Depthwise<'_> {
    #[inline(always)]
    fn rows<S: Simd, const KERNEL: usize, const STRIDE: usize>(&mut self, simd: S) {
        let Geometry { groups: channels, out: [height, width], .. } = *self.g;
        let high = if S::REGISTER_COUNT >= 32 { HIGH } else { FEWER };
        let registers = ROWS * high + sees(high, KERNEL, STRIDE) + 2;
        let most = if registers <= S::REGISTER_COUNT { ROWS } else { 1 };
        let last = self.first + self.out.len() / (width * channels);
        let mut row = self.first;
        while row < last {
            let (image, down) = (row / height, row % height);
            let rows = most.min(last - row).min(height - down);
            let mut column = 0;
            while column < width {
                let left = width - column;
                let wide = if width < FEWER {
                    1
                } else if left <= FEWER || width < high {
                    FEWER
                } else {
                    high
                };
                // The last pixels are computed twice where they do not fill a tile.
                let place = Place { row, image, down, rows, column: column.min(width - wide) };
                match wide {
                    1 => self.channels::<S, 1, KERNEL, STRIDE>(simd, place),
                    FEWER => self.channels::<S, FEWER, KERNEL, STRIDE>(simd, place),
                    _ => self.channels::<S, HIGH, KERNEL, STRIDE>(simd, place),
                }
                column = place.column + wide;
            }
            row += rows;
        }
    }

    #[inline(always)]
    fn channels<S: Simd, const HIGH: usize, const KERNEL: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        place: Place,
    ) {
        let (channels, lanes) = (self.g.groups, S::F32_LANES);
        let mut channel = 0;
        while channel < channels {
            // The last channels are computed twice where they do not fill a vector.
            let first = channel.min(channels - lanes);
            self.tile::<S, HIGH, KERNEL, STRIDE>(simd, place, first);
            channel = first + lanes;
        }
    }

    /// A vector of channels of those pixels.
    #[inline(always)]
    fn tile<S: Simd, const HIGH: usize, const KERNEL: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        Place { row, image, down, rows, column }: Place,
        channel: usize,
    ) {
        let Geometry { groups: channels, size: [height, width], kernel, stride, .. } = *self.g;
        let Geometry { padding, out: [_, columns], .. } = *self.g;
        let [bias] = *vectors::<S, 1>(&self.bias[channel..]);
        // Two arrays, not one of two: that would not be kept in registers.
        let (mut upper, mut lower) = ([[bias]; HIGH], [[bias]; HIGH]);
        // Where a row begins, seen from the first pixel: left of it is beyond the last.
        let start = (column * STRIDE * channels + channel).wrapping_sub(padding[1] * channels);
        for n in 0..kernel[0] + (rows - 1) * stride[0] {
            let y = (down * stride[0] + n).wrapping_sub(padding[0]);
            if y >= height {
                continue;
            }
            let line = &self.x[(image * height + y) * width * channels..][..width * channels];
            let mut seen = [simd.splat_f32s(0.0); SEEN];
            for (n, seen) in seen.iter_mut().enumerate().take(const { sees(HIGH, KERNEL, STRIDE) }) {
                let pixel = start.wrapping_add(n * channels);
                if let Some(pixel) = line.get(pixel..pixel.wrapping_add(S::F32_LANES)) {
                    [*seen] = *vectors::<S, 1>(pixel);
                }
            }
            let factors = |row: usize| (&self.kernels[row * KERNEL * channels + channel..], channels);
            if n < kernel[0] {
                add::<S, HIGH, KERNEL, STRIDE>(simd, &seen, factors(n), &mut upper);
            }
            if rows > 1 && n >= stride[0] {
                add::<S, HIGH, KERNEL, STRIDE>(simd, &seen, factors(n - stride[0]), &mut lower);
            }
        }
        let start = ((row - self.first) * columns + column) * channels + channel;
        self.finish::<S, HIGH>(simd, upper, start);
        if rows > 1 {
            self.finish::<S, HIGH>(simd, lower, start + columns * channels);
        }
    }

    /// Writes the function of sums, the first of them there.
    #[inline(always)]
    fn finish<S: Simd, const HIGH: usize>(&mut self, simd: S, mut sums: [[S::f32s; 1]; HIGH], start: usize) {
        apply::<S, 1, HIGH>(simd, self.function, &mut sums);
        for (n, sum) in sums.iter().enumerate() {
            write::<S, 1>(sum, &mut self.out[start + n * self.g.groups..]);
        }
    }
}

/// Adds a row of the kernel, whose columns are so far apart, times the pixels that it sees.
#[inline(always)]
fn add<S: Simd, const HIGH: usize, const KERNEL: usize, const STRIDE: usize>(
    simd: S,
    seen: &[S::f32s; SEEN],
    (factors, apart): (&[f32], usize),
    sums: &mut [[S::f32s; 1]; HIGH],
) {
    for k in 0..KERNEL {
        let [factor] = *vectors::<S, 1>(&factors[k * apart..]);
        for (n, [sum]) in sums.iter_mut().enumerate() {
            *sum = simd.mul_add_e_f32s(seen[n * STRIDE + k], factor, *sum);
        }
    }
}
