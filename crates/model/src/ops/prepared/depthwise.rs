//! Depthwise convolutions: tiles of some pixels by some vectors of channels, summed in registers.

use std::mem::MaybeUninit;

use burn::tensor::ops::ConvOptions;
use pulp::{Arch, Simd, WithSimd};

use super::super::Pointwise;
use super::super::geometry::Geometry;
use super::vectors::{apply, vectors, write};

/// Pixels of a tile.
const HIGH: usize = 7;
const FEWER: usize = 4;

/// Vectors of a tile.
const WIDE: usize = 2;

/// Pixels of a row that a tile sees at most.
const SEEN: usize = 32;

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
    let [_, along] = options.stride;
    let sees = (HIGH - 1) * along + (width - 1) * options.dilation[1] + 1;
    matches!(along, 1 | 2) && sees <= SEEN
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
        let [_, columns] = self.g.out;
        for row in 0..self.out.len() / (columns * self.g.groups) {
            let mut column = 0;
            while column < columns {
                column += match columns - column {
                    1..FEWER => self.pixels::<S, 1>(simd, row, column),
                    FEWER..HIGH => self.pixels::<S, FEWER>(simd, row, column),
                    _ => self.pixels::<S, HIGH>(simd, row, column),
                };
            }
        }
    }
}

impl Depthwise<'_> {
    /// Some pixels of a row. Returns how many.
    #[inline(always)]
    fn pixels<S: Simd, const HIGH: usize>(&mut self, simd: S, row: usize, column: usize) -> usize {
        let (channels, lanes) = (self.g.groups, S::F32_LANES);
        let mut channel = 0;
        while channel < channels {
            // The last channels are computed twice where they do not fill the vectors.
            let wide = if channels - channel <= lanes || channels < WIDE * lanes { 1 } else { WIDE };
            let first = channel.min(channels - wide * lanes);
            match (wide, self.g.stride[1]) {
                (1, 1) => self.tile::<S, HIGH, 1, 1>(simd, row, column, first),
                (1, _) => self.tile::<S, HIGH, 1, 2>(simd, row, column, first),
                (_, 1) => self.tile::<S, HIGH, WIDE, 1>(simd, row, column, first),
                _ => self.tile::<S, HIGH, WIDE, 2>(simd, row, column, first),
            }
            channel = first + wide * lanes;
        }
        HIGH
    }

    /// Some vectors of those.
    #[inline(always)]
    fn tile<S: Simd, const HIGH: usize, const WIDE: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        channel: usize,
    ) {
        let Geometry { groups: channels, size: [height, width], kernel, stride, .. } = *self.g;
        let Geometry { padding, dilation, out: [rows, columns], .. } = *self.g;
        let mut sums = [*vectors::<S, WIDE>(&self.bias[channel..]); HIGH];
        let (image, down) = ((self.first + row) / rows, (self.first + row) % rows);
        let zeros = [simd.splat_f32s(0.0); WIDE];
        let mut seen = [&zeros; SEEN];
        let sees = (HIGH - 1) * STRIDE + (kernel[1] - 1) * dilation[1] + 1;
        // The pixels inside the image, by their number among those that the tile sees.
        let first = column * STRIDE;
        let inside = padding[1].saturating_sub(first)..(width + padding[1]).saturating_sub(first).min(sees);
        for kernel_row in 0..kernel[0] {
            let y = (down * stride[0] + kernel_row * dilation[0]).wrapping_sub(padding[0]);
            if y >= height {
                continue;
            }
            for n in inside.clone() {
                let pixel = (image * height + y) * width + first + n - padding[1];
                seen[n] = vectors::<S, WIDE>(&self.x[pixel * channels + channel..]);
            }
            for kernel_column in 0..kernel[1] {
                let factors = &self.kernels[(kernel_row * kernel[1] + kernel_column) * channels..];
                let factors = vectors::<S, WIDE>(&factors[channel..]);
                let seen = &seen[kernel_column * dilation[1]..][..(HIGH - 1) * STRIDE + 1];
                for (n, sums) in sums.iter_mut().enumerate() {
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add_e_f32s(seen[n * STRIDE][k], factors[k], *sum);
                    }
                }
            }
        }
        apply::<S, WIDE, HIGH>(simd, self.function, &mut sums);
        let start = (row * columns + column) * channels;
        for (n, sums) in sums.iter().enumerate() {
            write::<S, WIDE>(sums, &mut self.out[start + n * channels + channel..]);
        }
    }
}
