//! Convolutions of which an output sees many channels: tiles of some pixels by some vectors of outputs, summed in registers.

use std::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};

use super::super::Pointwise;
use super::super::geometry::Geometry;
use super::panels::{WIDE, widths};
use super::vectors::{apply, places, read, vectors, write};

/// Pixels of a tile where there are 32 registers, and where there are fewer. The widths of images are multiples of 7 more often than of 8.
const HIGH: usize = 7;
const FEWER: usize = 4;

/// Some pixels of what comes out, one after the other.
pub(super) struct Dense<'a> {
    pub(super) g: &'a Geometry,
    /// Numbers of a pixel that goes in.
    pub(super) apart: usize,
    /// `[batch, height, width, apart]`.
    pub(super) x: &'a [f32],
    /// Zeros, as many as an output sees of a pixel.
    pub(super) zeros: &'a [f32],
    /// Panels of each group.
    pub(super) panels: &'a [f32],
    pub(super) bias: &'a [f32],
    /// What is a quick function is done.
    pub(super) function: Option<Pointwise>,
    /// The first pixel.
    pub(super) first: usize,
    pub(super) out: &'a mut [MaybeUninit<f32>],
}

impl Dense<'_> {
    pub(super) fn compute(self) {
        Arch::new().dispatch(self);
    }
}

/// Some vectors of the outputs of a group.
#[derive(Clone, Copy)]
struct Panel<'a> {
    numbers: &'a [f32],
    group: usize,
    first: usize,
}

impl WithSimd for Dense<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Geometry { groups, outputs, .. } = *self.g;
        let patch = self.g.patch();
        let mut panels = self.panels;
        for group in 0..groups {
            let mut first = 0;
            for wide in widths(outputs, S::F32_LANES) {
                let (numbers, rest) = panels.split_at(patch * wide * S::F32_LANES);
                panels = rest;
                let panel = Panel { numbers, group, first };
                match wide {
                    1 => self.panel::<S, 1>(simd, panel),
                    2 => self.panel::<S, 2>(simd, panel),
                    _ => self.panel::<S, WIDE>(simd, panel),
                }
                first += wide;
            }
        }
    }
}

impl Dense<'_> {
    #[inline(always)]
    fn panel<S: Simd, const WIDE: usize>(&mut self, simd: S, panel: Panel<'_>) {
        let Geometry { groups, outputs, out: [_, width], .. } = *self.g;
        let most = if S::REGISTER_COUNT >= 32 { HIGH } else { FEWER };
        let last = self.first + self.out.len() / (groups * outputs);
        let mut pixel = self.first;
        while pixel < last {
            let row_ends = (pixel / width + 1) * width;
            pixel += match (row_ends.min(last) - pixel).min(most) {
                1 => self.tile::<S, 1, WIDE>(simd, panel, pixel),
                2 | 3 => self.tile::<S, 2, WIDE>(simd, panel, pixel),
                4..HIGH => self.tile::<S, FEWER, WIDE>(simd, panel, pixel),
                _ => self.tile::<S, HIGH, WIDE>(simd, panel, pixel),
            };
        }
    }

    /// Some pixels of a row. Returns how many.
    #[inline(always)]
    fn tile<S: Simd, const HIGH: usize, const WIDE: usize>(
        &mut self,
        simd: S,
        Panel { numbers, group, first }: Panel<'_>,
        pixel: usize,
    ) -> usize {
        let Geometry { groups, inputs, outputs: outputs_of_group, size: [height, width], .. } = *self.g;
        let Geometry { kernel, stride, .. } = *self.g;
        let Geometry { padding, dilation, out: [rows, columns], .. } = *self.g;
        let lanes = S::F32_LANES;
        let outputs = groups * outputs_of_group;
        let places = places(first, outputs_of_group, lanes);
        let bias: [S::f32s; WIDE] = read::<S, WIDE>(simd, &self.bias[group * outputs_of_group..], places);
        let mut sums = [bias; HIGH];
        let (row, across) = (pixel / columns, pixel % columns);
        let (image, down) = (row / rows, row % rows);
        for (n, numbers) in numbers.chunks_exact(inputs * WIDE * lanes).enumerate() {
            let (kernel_row, kernel_column) = (n / kernel[1], n % kernel[1]);
            let y = (down * stride[0] + kernel_row * dilation[0]).wrapping_sub(padding[0]);
            if y >= height {
                continue;
            }
            let mut seen = [&self.zeros[..inputs]; HIGH];
            for (n, seen) in seen.iter_mut().enumerate() {
                let x = ((across + n) * stride[1] + kernel_column * dilation[1]).wrapping_sub(padding[1]);
                if x < width {
                    let pixel = (image * height + y) * width + x;
                    *seen = &self.x[pixel * self.apart + group * inputs..][..inputs];
                }
            }
            for k in 0..inputs {
                let factors = vectors::<S, WIDE>(&numbers[k * WIDE * lanes..]);
                for (seen, sums) in seen.iter().zip(&mut sums) {
                    let x = simd.splat_f32s(seen[k]);
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum = simd.mul_add_e_f32s(x, *factor, *sum);
                    }
                }
            }
        }
        apply::<S, WIDE, HIGH>(simd, self.function, &mut sums);
        let start = (pixel - self.first) * outputs + group * outputs_of_group;
        for (n, sums) in sums.iter().enumerate() {
            for (sum, place) in sums.iter().zip(places) {
                write::<S, 1>(&[*sum], &mut self.out[start + n * outputs + place..]);
            }
        }
        HIGH
    }
}
