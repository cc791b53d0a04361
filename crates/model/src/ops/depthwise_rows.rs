//! Convolutions of each channel by itself with square kernels of common sizes: a few output rows are summed in registers, so that a pixel that was
//! read counts for all of those that see it.

use pulp::{Arch, Simd, WithSimd};

use super::geometry::Geometry;
use super::simd::MOST_LANES;

/// Output rows that are summed together.
const ROWS: usize = 4;

/// Vectors of outputs that are summed side by side.
const VECTORS: usize = 2;

/// Numbers of pixels between zeros that stay in the fastest cache: 16 KiB.
const CACHE: usize = 1 << 12;

/// Pixels that are dealt out to even and odd columns at once.
const DEALT: usize = 2 * MOST_LANES;

/// A channel's pixels between zeros. Where the kernel steps over every other pixel, a row has its even columns first, and the odd ones behind them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between<'a> {
    g: &'a Geometry,
    /// From one row to the next.
    row: usize,
    /// From a column to the next one, where those lie apart.
    odd: usize,
}

impl<'a> Between<'a> {
    /// For the kernels that there are loops for.
    pub(super) fn new(g: &'a Geometry) -> Option<Self> {
        let is_square = g.kernel[0] == g.kernel[1] && g.stride[0] == g.stride[1] && g.dilation == [1; 2];
        let is_known = matches!((g.kernel[0], g.stride[0]), (3 | 5 | 7, 1) | (3 | 5, 2));
        // As much as is written, or read by outputs that there are not at the end of a row.
        let [padding, width] = [g.padding[1], g.size[1]];
        let read = g.out[1].next_multiple_of(VECTORS * MOST_LANES) + g.kernel[1];
        let (row, odd) = if g.stride[1] == 1 {
            let row = (padding + width + MOST_LANES).max(read);
            (row.next_multiple_of(MOST_LANES), 1)
        } else {
            let odd = (padding + width / 2 + 1 + MOST_LANES).max(read);
            let odd = odd.next_multiple_of(MOST_LANES);
            (2 * odd, odd)
        };
        (is_square && is_known && padding < g.kernel[1]).then_some(Self { g, row, odd })
    }

    /// Output rows for which pixels are put between zeros at once.
    fn band(&self) -> usize {
        let rows = (CACHE / self.row).saturating_sub(self.g.kernel[0]) / self.g.stride[0];
        (rows / ROWS).clamp(1, self.g.out[0].div_ceil(ROWS)) * ROWS
    }

    /// Numbers of a band with all that it sees.
    pub(super) fn length(&self) -> usize {
        ((self.band() - 1) * self.g.stride[0] + self.g.kernel[0]) * self.row
    }

    /// Writes into `out` the outputs of as many channels as it holds, from the one with the number `first` among those of all images on. `seen` is
    /// zeros or was here before, as many numbers as this says: [`length`](Self::length).
    pub(super) fn correlate(
        &self,
        x: &[f32],
        weight: &[f32],
        first: usize,
        seen: &mut [f32],
        out: &mut [f32],
    ) {
        macro_rules! channels {
            ($(($size:literal, $step:literal)),+) => {
                match (self.g.kernel[0], self.g.stride[0]) {
                    $(($size, $step) => {
                        let between = *self;
                        Arch::new().dispatch(Channels::<$size, $step> { between, x, weight, first, seen, out });
                    })+
                    (size, step) => unreachable!("kernels of {size} with steps of {step}"),
                }
            };
        }
        channels!((3, 1), (5, 1), (7, 1), (3, 2), (5, 2));
    }
}

struct Channels<'a, const SIZE: usize, const STEP: usize> {
    between: Between<'a>,
    x: &'a [f32],
    weight: &'a [f32],
    first: usize,
    seen: &'a mut [f32],
    out: &'a mut [f32],
}

impl<const SIZE: usize, const STEP: usize> WithSimd for Channels<'_, SIZE, STEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { between, x, weight, first, seen, out } = self;
        let (kernels, _) = weight.as_chunks::<SIZE>();
        let (kernels, _) = kernels.as_chunks::<SIZE>();
        let Between { g, row, odd } = between;
        let [height, width] = g.size;
        let vectors = g.out[1].div_ceil(S::F32_LANES);
        let band = between.band();
        for n in 0..out.len() / g.pixels() {
            let (x, kernel) = (&x[(first + n) * g.area()..], &kernels[(first + n) % g.groups]);
            let out = &mut out[n * g.pixels()..];
            for (begin, y) in (0..g.out[0]).step_by(ROWS).map(|y| (y % band, y)) {
                if begin == 0 {
                    for (down, to) in seen.chunks_exact_mut(row).enumerate() {
                        match (y * STEP + down).checked_sub(g.padding[0]).filter(|y| *y < height) {
                            Some(y) if STEP == 1 => {
                                fill::<S>(&mut to[g.padding[1]..], &x[y * width..], width)
                            }
                            Some(y) => deal(to.split_at_mut(odd), &x[y * width..], width, g.padding[1]),
                            None if band < g.out[0] => to.fill(0.0),
                            None => {}
                        }
                    }
                }
                let seen = (&seen[begin * STEP * row..], row, odd);
                let out = &mut out[y * g.out[1]..];
                // From the end: what is written beyond a row is where the next one begins, which is written after it.
                let mut vector = vectors;
                while vector >= VECTORS {
                    vector -= VECTORS;
                    sums::<S, SIZE, STEP, VECTORS>(
                        simd,
                        seen,
                        kernel,
                        vector * S::F32_LANES,
                        (out, g.out[1]),
                    );
                }
                if vector > 0 {
                    sums::<S, SIZE, STEP, 1>(simd, seen, kernel, 0, (out, g.out[1]));
                }
            }
        }
    }
}

/// Writes the first `width` pixels, and zeros behind them.
#[inline(always)]
fn fill<S: Simd>(to: &mut [f32], from: &[f32], width: usize) {
    // Whole vectors, where what comes after the row is there as well.
    if let Some(from) = from.get(..width.next_multiple_of(S::F32_LANES)) {
        let (to, _) = S::as_mut_simd_f32s(&mut to[..from.len()]);
        let (from, _) = S::as_simd_f32s(from);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    } else {
        to[..width].copy_from_slice(&from[..width]);
    }
    zeros(&mut to[width..]);
}

/// The same for even and odd columns, of which `padding` come before the first pixel.
#[inline(always)]
fn deal((even, odd): (&mut [f32], &mut [f32]), from: &[f32], width: usize, padding: usize) {
    let (even, odd) = (&mut even[padding.div_ceil(2)..], &mut odd[padding / 2..]);
    let (first, second) = if padding.is_multiple_of(2) { (even, odd) } else { (odd, even) };
    if let Some(from) = from.get(..width.next_multiple_of(DEALT)) {
        let (first, _) = first.as_chunks_mut::<MOST_LANES>();
        let (second, _) = second.as_chunks_mut::<MOST_LANES>();
        for ((from, first), second) in from.as_chunks::<DEALT>().0.iter().zip(first).zip(second) {
            *first = std::array::from_fn(|n| from[2 * n]);
            *second = std::array::from_fn(|n| from[2 * n + 1]);
        }
    } else {
        for (n, pixel) in from[..width].iter().enumerate() {
            let to = if n.is_multiple_of(2) { &mut *first } else { &mut *second };
            to[n / 2] = *pixel;
        }
    }
    zeros(&mut first[width.div_ceil(2)..]);
    zeros(&mut second[width / 2..]);
}

/// Zeros, more than a kernel sees beyond the last column.
#[inline(always)]
fn zeros(to: &mut [f32]) {
    if let Some(to) = to.first_chunk_mut::<MOST_LANES>() {
        *to = [0.0; MOST_LANES];
    }
}

/// Some vectors of the outputs of some rows, from the column on.
#[inline(always)]
fn sums<S: Simd, const SIZE: usize, const STEP: usize, const WIDE: usize>(
    simd: S,
    (seen, row, odd): (&[f32], usize, usize),
    kernel: &[[f32; SIZE]; SIZE],
    column: usize,
    (out, to_next): (&mut [f32], usize),
) {
    let width = WIDE * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); WIDE]; ROWS];
    let places: [usize; SIZE] = std::array::from_fn(|along| column + along % STEP * odd + along / STEP);
    for down in 0..(ROWS - 1) * STEP + SIZE {
        let pixels = &seen[down * row..][..row];
        for (along, place) in places.iter().enumerate() {
            let (pixels, _) = S::as_simd_f32s(&pixels[*place..][..width]);
            let pixels: [S::f32s; WIDE] = std::array::from_fn(|n| pixels[n]);
            for (n, sums) in sums.iter_mut().enumerate() {
                if down >= n * STEP && down - n * STEP < SIZE {
                    let element = simd.splat_f32s(kernel[down - n * STEP][along]);
                    for (sum, pixels) in sums.iter_mut().zip(pixels) {
                        *sum = simd.mul_add_e_f32s(element, pixels, *sum);
                    }
                }
            }
        }
    }
    for (n, sums) in sums.iter().enumerate() {
        let Some(out) = out.get_mut(n * to_next + column..) else { continue };
        if let Some(out) = out.get_mut(..width) {
            S::as_mut_simd_f32s(out).0.copy_from_slice(sums);
        } else {
            for (out, sum) in out.chunks_mut(S::F32_LANES).zip(sums) {
                simd.partial_store_f32s(out, *sum);
            }
        }
    }
}
