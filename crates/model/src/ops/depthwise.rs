//! Convolutions of each channel by itself: its pixels, row after row, side by side in vectors.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::after::After;
use super::depthwise_rows::Between;
use super::geometry::Geometry;
use super::output::by_parts;
use super::phases::{Columns, MOST_VECTORS, Phases};
use super::scratch::of_length;
use super::simd::{MOST_LANES, wide};

/// Pixels that a thread takes at a time, in whole channels.
const PIXELS: usize = 1 << 12;

/// Vectors side by side where as many as there could be would leave more of them empty.
const FEW_VECTORS: usize = 4;

/// Kernel elements whose gradients are summed side by side.
const MOST_ELEMENTS: usize = 5;

/// Whether kernels see one channel and give one.
pub(super) fn is_one(g: &Geometry) -> bool {
    g.groups > 1 && g.inputs == 1 && g.outputs == 1
}

/// The convolution of `x` `[batch, channels, height, width]` with `weight` `[channels, 1, kernel, kernel]`.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let pixels = g.pixels();
    if let Some(between) = Between::new(g) {
        let channels = channels_at_a_time(pixels);
        let scratch = || vec![0.0; between.length()];
        return by_parts(g.batch * g.result(), channels * pixels, scratch, |seen, n, room| {
            let out = room.zeros();
            between.correlate(x, weight, n * channels, seen, out);
            for (k, out) in out.chunks_exact_mut(pixels).enumerate() {
                after.channel((n * channels + k) % g.groups, out);
            }
            out
        });
    }
    let phases = Phases::new(g);
    let columns = phases.forward();
    let channels = channels_at_a_time(pixels);
    let scratch = || (vec![0.0; phases.count() * phases.plane()], Vec::new());
    by_parts(g.batch * g.result(), channels * pixels, scratch, |(seen, made), n, room| {
        let made = of_length(made, room.len() + phases.plane());
        for (k, x) in
            x[n * channels * g.area()..].chunks_exact(g.area()).take(room.len() / pixels).enumerate()
        {
            let channel = (n * channels + k) % g.groups;
            let kernel = &weight[channel * g.elements()..][..g.elements()];
            let out = &mut made[k * pixels..];
            Arch::new().dispatch(Correlate {
                fill: Some((&phases, x)),
                seen,
                columns: &columns,
                kernel,
                row: phases.row,
                length: g.out[0] * phases.row,
                sums: out,
            });
            close_up(out, phases.row, g.out);
            after.channel(channel, &mut out[..pixels]);
        }
        room.copy(made)
    })
}

fn channels_at_a_time(pixels: usize) -> usize {
    (PIXELS / pixels).max(1)
}

/// Moves rows that are `row` apart to each other.
fn close_up(pixels: &mut [f32], row: usize, [height, width]: [usize; 2]) {
    if width < row {
        (1..height).for_each(|y| pixels.copy_within(y * row..y * row + width, y * width));
    }
}

/// One channel of one image.
struct Correlate<'a> {
    /// What is written into what is seen before.
    fill: Option<(&'a Phases, &'a [f32])>,
    seen: &'a mut [f32],
    columns: &'a [Columns],
    kernel: &'a [f32],
    row: usize,
    /// Sums that there are; a few more are written.
    length: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if let Some((phases, x)) = self.fill {
            phases.fill(x, self.seen);
        }
        let vectors = self.length.div_ceil(S::F32_LANES);
        let as_wide = |count: usize| vectors.next_multiple_of(count);
        if S::F32_LANES == MOST_LANES && as_wide(MOST_VECTORS) <= as_wide(FEW_VECTORS) {
            self.sums::<S, MOST_VECTORS>(simd);
        } else {
            self.sums::<S, FEW_VECTORS>(simd);
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn sums<S: Simd, const VECTORS: usize>(self, simd: S) {
        let Self { seen, columns, kernel, row, length, sums, .. } = self;
        let width = VECTORS * S::F32_LANES;
        let sums = &mut sums[..length.next_multiple_of(width)];
        for (n, out) in sums.chunks_exact_mut(width).enumerate() {
            let mut sums = [simd.splat_f32s(0.0); VECTORS];
            for Columns { inside, places } in columns {
                let mut column = [simd.splat_f32s(0.0); VECTORS];
                for (element, place) in places {
                    let element = simd.splat_f32s(kernel[*element]);
                    let (seen, _) = S::as_simd_f32s(&seen[place + n * width..][..width]);
                    for (sum, seen) in column.iter_mut().zip(seen) {
                        *sum = simd.mul_add_e_f32s(element, *seen, *sum);
                    }
                }
                if let Some(inside) = inside {
                    let (inside, _) = S::as_simd_u32s(&inside[n * width % row..][..width]);
                    for (column, inside) in column.iter_mut().zip(inside) {
                        *column = only(simd, *column, *inside);
                    }
                }
                for (sum, column) in sums.iter_mut().zip(column) {
                    *sum = simd.add_f32s(*sum, column);
                }
            }
            let (out, _) = S::as_mut_simd_f32s(out);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum;
            }
        }
    }
}

/// The numbers of which the bits are all set, and zeros.
#[inline(always)]
fn only<S: Simd>(simd: S, numbers: S::f32s, bits: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.and_u32s(simd.transmute_u32s_f32s(numbers), bits))
}

/// Writes gradients of what comes out into a plane that is zeros, or holds others.
#[inline(always)]
fn place_outputs(phases: &Phases, gradient: &[f32], width: usize, plane: &mut [f32]) {
    let to = phases.outputs(plane);
    if width == phases.row {
        return to[..gradient.len()].copy_from_slice(gradient);
    }
    for (to, from) in to.chunks_exact_mut(phases.row).zip(gradient.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
}

/// The gradient of what goes in: each output's share goes back to the pixels that it has seen.
pub(super) fn spread(g: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let (phases, area) = (Phases::new(g), g.area());
    let columns = phases.backward();
    let channels = channels_at_a_time(area);
    let scratch = || (vec![0.0; phases.plane()], vec![0.0; phases.plane()], Vec::new());
    by_parts(g.batch * g.image(), channels * area, scratch, |(seen, sums, made), n, room| {
        let made = of_length(made, room.len());
        let gradients = gradient[n * channels * g.pixels()..].chunks_exact(g.pixels());
        for (k, (of_x, gradient)) in made.chunks_exact_mut(area).zip(gradients).enumerate() {
            let channel = (n * channels + k) % g.groups;
            let kernel = &weight[channel * g.elements()..][..g.elements()];
            place_outputs(&phases, gradient, g.out[1], seen);
            for (phase, columns) in columns.iter().enumerate() {
                let (row, length) = (phases.row, phases.pixels());
                Arch::new().dispatch(Correlate { fill: None, seen, columns, kernel, row, length, sums });
                let sums = &*sums;
                wide(
                    #[inline(always)]
                    || phases.take(phase, sums, of_x),
                );
            }
        }
        room.copy(made)
    })
}

/// The gradient of the weight: gradients of what comes out times what each output has seen, summed over pixels and images.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let phases = Phases::new(g);
    let columns = phases.forward();
    let mut of_weight = vec![0.0; g.groups * g.elements()];
    of_weight.par_chunks_mut(g.elements()).enumerate().for_each_init(
        || (vec![0.0; phases.count() * phases.plane()], vec![0.0; phases.plane()]),
        |(seen, plane), (channel, of_kernel)| {
            let x = x.chunks_exact(g.area()).skip(channel).step_by(g.groups);
            for (x, gradient) in x.zip(gradient.chunks_exact(g.pixels()).skip(channel).step_by(g.groups)) {
                place_outputs(&phases, gradient, g.out[1], plane);
                let gradient = &*phases.outputs(plane);
                let length = g.out[0] * phases.row;
                let (phases, columns) = (&phases, &*columns);
                Arch::new().dispatch(Compare { phases, x, seen, columns, gradient, length, of_kernel });
            }
        },
    );
    of_weight
}

/// One channel of one image.
struct Compare<'a> {
    phases: &'a Phases,
    x: &'a [f32],
    seen: &'a mut [f32],
    columns: &'a [Columns],
    /// As many as `length`, and zeros after them.
    gradient: &'a [f32],
    length: usize,
    of_kernel: &'a mut [f32],
}

impl WithSimd for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.phases.fill(self.x, self.seen);
        let Self { phases, seen, columns, gradient, length, of_kernel, .. } = self;
        let gradient = &gradient[..length.next_multiple_of(S::F32_LANES)];
        for Columns { inside, places } in columns {
            let inside = inside.as_deref();
            for places in places.chunks(MOST_ELEMENTS) {
                let row = phases.row;
                let mut sums = [0.0; MOST_ELEMENTS];
                match places.len() {
                    1 => products::<S, 1>(simd, (gradient, inside, row), seen, places, &mut sums),
                    2 => products::<S, 2>(simd, (gradient, inside, row), seen, places, &mut sums),
                    3 => products::<S, 3>(simd, (gradient, inside, row), seen, places, &mut sums),
                    4 => products::<S, 4>(simd, (gradient, inside, row), seen, places, &mut sums),
                    _ => products::<S, 5>(simd, (gradient, inside, row), seen, places, &mut sums),
                }
                for ((element, _), sum) in places.iter().zip(sums) {
                    of_kernel[*element] += sum;
                }
            }
        }
    }
}

/// Sums of gradients, as far as they are inside, times what lies so far from them.
#[inline(always)]
fn products<S: Simd, const ELEMENTS: usize>(
    simd: S,
    (gradient, inside, row): (&[f32], Option<&[u32]>, usize),
    seen: &[f32],
    places: &[(usize, usize)],
    to: &mut [f32; MOST_ELEMENTS],
) {
    let seen: [&[f32]; ELEMENTS] = std::array::from_fn(|n| &seen[places[n].1..][..gradient.len()]);
    let seen = seen.map(|seen| S::as_simd_f32s(seen).0);
    let mut sums = [simd.splat_f32s(0.0); ELEMENTS];
    let mut column = 0;
    for (n, gradient) in S::as_simd_f32s(gradient).0.iter().enumerate() {
        let mut gradient = *gradient;
        if let Some(inside) = inside {
            let (inside, _) = S::as_simd_u32s(&inside[column..][..S::F32_LANES]);
            gradient = only(simd, gradient, inside[0]);
            column += S::F32_LANES;
            while column >= row {
                column -= row;
            }
        }
        for (sum, seen) in sums.iter_mut().zip(&seen) {
            *sum = simd.mul_add_e_f32s(gradient, seen[n], *sum);
        }
    }
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = simd.reduce_sum_f32s(sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_that_is_not_finite_reaches_no_further_than_the_kernel() {
        for (stride, out) in [(1, [6, 5]), (2, [3, 3])] {
            let g = Geometry {
                batch: 1,
                groups: 2,
                inputs: 1,
                outputs: 1,
                size: [6, 5],
                kernel: [3; 2],
                stride: [stride; 2],
                padding: [1; 2],
                dilation: [1; 2],
                out,
            };
            // The last of a row, which the first of the next lies beside.
            let (y, x) = (2, 4);
            let mut pixels = vec![1.0; 2 * 30];
            pixels[y * 5 + x] = f32::INFINITY;
            let sums = correlate(&g, &pixels, &[1.0; 18], After::NOTHING);
            for (n, sum) in sums.iter().enumerate() {
                let (plane, at) = (n / (out[0] * out[1]), n % (out[0] * out[1]));
                let (down, along) = (at / out[1] * stride, at % out[1] * stride);
                let sees = plane == 0 && down.abs_diff(y) <= 1 && along.abs_diff(x) <= 1;
                assert_eq!(sum.is_finite(), !sees, "{n} with steps of {stride}");
            }
        }
    }
}
