//! Convolutions of few pixels by many kernels: one product of matrices with the patches of all images, so that the kernels, of which there is much more,
//! are read once.
//!
//! Work is cut by shapes alone, so that results do not depend on the number of threads.

use super::after::After;
use super::gemm::{Strides, multiply_into};
use super::geometry::Geometry;
use super::output::{by_chunks, by_parts};
use super::patches::gather;
use super::unfolded::side_by_side;

/// Channels whose patches a thread gathers at once.
const INPUTS: usize = 16;

/// Parts that the kernels are cut into.
const PARTS: usize = 8;

/// Numbers that the kernels have at least: 4 MiB.
const LEAST: usize = 1 << 20;

/// Output pixels of all images at most: of more, other ways save more products than kernels of this size cost them. Where kernels step over pixels,
/// that is soon so.
const MOST: usize = 400;
const MOST_OF_STEPS: usize = 64;

/// Whether a convolution is one of these.
pub(super) fn is_worth_it(g: &Geometry) -> bool {
    let most = if g.stride == [1; 2] { MOST } else { MOST_OF_STEPS };
    let is_large = g.outputs * g.patch() >= LEAST;
    g.groups == 1 && g.elements() > 1 && is_large && g.batch * g.pixels() <= most
}

/// The convolution itself.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let (pixels, columns) = (g.pixels(), g.batch * g.pixels());
    let patches = patches(g, x);
    let rows = g.outputs.div_ceil(PARTS);
    let products = by_parts(
        g.outputs * columns,
        rows * columns,
        || (),
        |(), n, room| {
            let kernels = (&weight[n * rows * g.patch()..], Strides::rows(g.patch()));
            let shape = [room.len() / columns, g.patch(), columns];
            multiply_into(shape, kernels, (&patches, Strides::rows(apart(g))), room)
        },
    );
    by_parts(
        g.batch * g.result(),
        g.result(),
        || (),
        |(), image, room| {
            let out = room.fill_rows(
                pixels,
                #[inline(always)]
                |channel| products[channel * columns + image * pixels..][..pixels].iter().copied(),
            );
            for (channel, outputs) in out.chunks_exact_mut(pixels).enumerate() {
                after.channel(channel, outputs);
            }
            out
        },
    )
}

/// The gradient of the weight: gradients of what comes out times patches.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let columns = g.batch * g.pixels();
    let (patches, mut beside) = (patches(g, x), Vec::new());
    let gradient = side_by_side(g, 0, gradient, &mut beside);
    let rows = g.outputs.div_ceil(PARTS);
    by_parts(
        g.outputs * g.patch(),
        rows * g.patch(),
        || (),
        |(), n, room| {
            let gradient = (&gradient[n * rows * columns..], Strides::rows(columns));
            let shape = [room.len() / g.patch(), columns, g.patch()];
            multiply_into(shape, gradient, (&patches, Strides::rows(apart(g)).transposed()), room)
        },
    )
}

/// Numbers from one row of patches to the next: where that is a power of two, all rows fall on the same lines of the cache.
fn apart(g: &Geometry) -> usize {
    g.batch * g.pixels() + 16
}

/// What each output pixel of all images sees: `[patch, image and pixel]`, rows [`apart`].
fn patches(g: &Geometry, x: &[f32]) -> Vec<f32> {
    let (pixels, apart) = (g.pixels(), apart(g));
    by_chunks(
        g.patch() * apart,
        INPUTS * g.elements() * apart,
        || (),
        |(), n, patches| {
            let channels = patches.len() / apart / g.elements();
            for (image, x) in x.chunks_exact(g.image()).enumerate() {
                let channels = &x[n * INPUTS * g.area()..][..channels * g.area()];
                gather(g, channels, g.all_rows(), &mut patches[image * pixels..], apart);
            }
        },
    )
}
