//! Convolutions of each channel by itself: the pixels of a row side by side in vectors.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::after::After;
use super::geometry::Geometry;
use super::output::by_chunks;
use super::planes::Planes;
use super::simd::{MOST_LANES, wide};

/// Channels that a thread takes at a time.
const CHANNELS: usize = 8;

/// Rows whose sums run side by side.
const ROWS: usize = 4;

/// Whether kernels see one channel and give one.
pub(super) fn is_one(g: &Geometry) -> bool {
    g.groups > 1 && g.inputs == 1 && g.outputs == 1
}

/// Elements of a buffer for a plane: as many more as are read beyond its last row, and beyond the end of a row.
fn room(g: &Geometry, planes: &Planes) -> usize {
    planes.plane() + ROWS * g.stride[0] * planes.row() + MOST_LANES
}

/// The convolution of `x` `[batch, channels, height, width]` with `weight` `[channels, 1, kernel, kernel]`.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let planes = Planes::by_outputs(g);
    let places = planes.elements(g);
    let (step, width) = (g.stride[0] * planes.row(), g.out[1]);
    by_chunks(
        g.batch * g.result(),
        CHANNELS * g.pixels(),
        || vec![0.0; room(g, &planes)],
        |plane, n, out| {
            let x = &x[n * CHANNELS * g.area()..];
            for (k, (out, x)) in out.chunks_exact_mut(g.pixels()).zip(x.chunks_exact(g.area())).enumerate() {
                let channel = (n * CHANNELS + k) % g.groups;
                let kernel = &weight[channel * g.elements()..][..g.elements()];
                let (planes, places) = (&planes, &*places);
                Arch::new().dispatch(Correlate { planes, x, plane, places, kernel, step, out, width });
                after.channel(channel, out);
            }
        },
    )
}

/// One channel of one image.
struct Correlate<'a> {
    planes: &'a Planes,
    x: &'a [f32],
    plane: &'a mut [f32],
    places: &'a [usize],
    kernel: &'a [f32],
    /// From a row that an output row sees to that of the next.
    step: usize,
    out: &'a mut [f32],
    width: usize,
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { planes, x, plane, places, kernel, step, out, width } = self;
        planes.fill(x, plane);
        for (y, rows) in out.chunks_mut(ROWS * width).enumerate() {
            for first in (0..width).step_by(S::F32_LANES) {
                let mut sums = [simd.splat_f32s(0.0); ROWS];
                for (place, element) in places.iter().zip(kernel) {
                    let element = simd.splat_f32s(*element);
                    let seen = &plane[y * ROWS * step + place + first..];
                    for (row, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add_e_f32s(element, vector::<S>(&seen[row * step..]), *sum);
                    }
                }
                let count = S::F32_LANES.min(width - first);
                for (row, sum) in rows.chunks_exact_mut(width).zip(&sums) {
                    simd.partial_store_f32s(&mut row[first..first + count], *sum);
                }
            }
        }
    }
}

/// The first vector of a slice.
#[inline(always)]
fn vector<S: Simd>(from: &[f32]) -> S::f32s {
    S::as_simd_f32s(&from[..S::F32_LANES]).0[0]
}

/// The gradient of what goes in: each output's share goes back to the pixels that it has seen.
pub(super) fn spread(g: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let planes = Planes::by_outputs(g);
    let places = planes.elements(g);
    by_chunks(
        g.batch * g.image(),
        CHANNELS * g.area(),
        || vec![0.0; planes.plane()],
        |plane, n, of_x| {
            of_x.fill(0.0);
            let gradient = &gradient[n * CHANNELS * g.pixels()..];
            let channels = of_x.chunks_exact_mut(g.area()).zip(gradient.chunks_exact(g.pixels()));
            for (k, (of_x, gradient)) in channels.enumerate() {
                let channel = (n * CHANNELS + k) % g.groups;
                let kernel = &weight[channel * g.elements()..][..g.elements()];
                plane.fill(0.0);
                wide(
                    #[inline(always)]
                    || {
                        for (place, element) in places.iter().zip(kernel) {
                            for (y, gradient) in gradient.chunks_exact(g.out[1]).enumerate() {
                                let seen = &mut plane[y * g.stride[0] * planes.row() + place..][..g.out[1]];
                                seen.iter_mut().zip(gradient).for_each(|(to, from)| *to += element * from);
                            }
                        }
                        planes.take_inside(plane, of_x);
                    },
                );
            }
        },
    )
}

/// The gradient of the weight: gradients of what comes out times what each output has seen, summed over pixels and images.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let planes = Planes::by_outputs(g);
    let places = planes.elements(g);
    let height = g.out[0].next_multiple_of(ROWS);
    let width = g.out[1].next_multiple_of(MOST_LANES);
    let mut of_weight = vec![0.0; g.groups * g.elements()];
    of_weight.par_chunks_mut(g.elements()).enumerate().for_each_init(
        || (vec![0.0; room(g, &planes) + MOST_LANES], vec![0.0; height * width]),
        |(plane, padded), (channel, of_kernel)| {
            let x = x.chunks_exact(g.area()).skip(channel).step_by(g.groups);
            for (x, gradient) in x.zip(gradient.chunks_exact(g.pixels()).skip(channel).step_by(g.groups)) {
                for (row, gradient) in padded.chunks_exact_mut(width).zip(gradient.chunks_exact(g.out[1])) {
                    row[..g.out[1]].copy_from_slice(gradient);
                }
                let step = g.stride[0] * planes.row();
                let gradient = &*padded;
                Arch::new().dispatch(Compare {
                    planes: &planes,
                    x,
                    plane,
                    places: &places,
                    step,
                    gradient,
                    width,
                    of_kernel,
                });
            }
        },
    );
    of_weight
}

/// One channel of one image.
struct Compare<'a> {
    planes: &'a Planes,
    x: &'a [f32],
    plane: &'a mut [f32],
    places: &'a [usize],
    /// From a row that an output row sees to that of the next.
    step: usize,
    /// With zeros after each row, to whole vectors, and after the last row.
    gradient: &'a [f32],
    width: usize,
    of_kernel: &'a mut [f32],
}

impl WithSimd for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { planes, x, plane, places, step, gradient, width, of_kernel } = self;
        planes.fill(x, plane);
        for (place, of_element) in places.iter().zip(of_kernel) {
            let mut sums = [simd.splat_f32s(0.0); ROWS];
            for (y, rows) in gradient.chunks_exact(ROWS * width).enumerate() {
                for first in (0..width).step_by(S::F32_LANES) {
                    let seen = &plane[y * ROWS * step + place + first..];
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let gradient = vector::<S>(&rows[row * width + first..]);
                        *sum = simd.mul_add_e_f32s(gradient, vector::<S>(&seen[row * step..]), *sum);
                    }
                }
            }
            let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
            *of_element += simd.reduce_sum_f32s(sum);
        }
    }
}
