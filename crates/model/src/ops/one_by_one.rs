//! Convolutions whose kernels see one pixel: products of matrices as they lie in images, without copies.
//!
//! Work is cut by shapes alone, so that results do not depend on the number of threads.

use rayon::prelude::*;

use super::affine::product;
use super::after::After;
use super::gemm::{Strides, multiply, multiply_into};
use super::geometry::Geometry;
use super::output::by_parts;
use super::pieces::added;

/// Pixels of an image that are enough for a product of its own.
const ENOUGH: usize = 16;

/// Numbers of what comes out that a thread writes at once: 1 MiB.
const PART: usize = 1 << 18;

/// Parts that the work is cut into.
const PARTS: usize = 8;

/// Channels of which a part has a multiple, where it can.
const TOGETHER: usize = 8;

/// Channels of gradients of weights that a part has at least: fewer would not pay for arranging the pixels.
const LEAST_CHANNELS: usize = 48;

/// Whether a convolution is one of these.
pub(super) fn is_one(g: &Geometry) -> bool {
    g.is_pointwise() && g.groups == 1 && (g.pixels() == 1 || g.pixels() >= ENOUGH)
}

/// The convolution itself: kernels times pixels.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    with_kernels(g, x, (weight, Strides::rows(g.inputs)), after)
}

/// The gradient of what goes in: kernels the other way round times gradients.
pub(super) fn spread(g: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let back = Geometry { inputs: g.outputs, outputs: g.inputs, ..*g };
    with_kernels(&back, gradient, (weight, Strides::rows(g.inputs).transposed()), After::NOTHING)
}

fn with_kernels(g: &Geometry, x: &[f32], (weight, kernels): (&[f32], Strides), after: After<'_>) -> Vec<f32> {
    let pixels = g.pixels();
    if pixels == 1 {
        let shape = [g.batch, g.inputs, g.outputs];
        let weight = (weight, kernels.transposed());
        return product(shape, (x, Strides::rows(g.inputs)), weight, after);
    }
    // Parts of an image, in number a divisor of its channels, so that none reaches into the next image.
    let wanted = g.result().div_ceil(PART).max(PARTS.div_ceil(2 * g.batch));
    let cut = |most: usize, of: usize| {
        (wanted..=most).find(|parts| g.outputs.is_multiple_of(parts * of)).filter(|_| wanted > 1)
    };
    let parts = cut(4 * wanted, TOGETHER).or_else(|| cut(2 * wanted, 1)).unwrap_or(1);
    let channels = g.outputs / parts;
    by_parts(
        g.batch * g.result(),
        channels * pixels,
        || (),
        |(), n, room| {
            let (image, first) = (n / parts, n % parts * channels);
            let x = (&x[image * g.image()..][..g.image()], Strides::rows(pixels));
            let weight = (&weight[first * kernels.row..], kernels);
            let out = multiply_into([channels, g.inputs, pixels], weight, x, room);
            for (channel, outputs) in out.chunks_exact_mut(pixels).enumerate() {
                after.channel(first + channel, outputs);
            }
            out
        },
    )
}

/// The gradient of the weight: gradients of what comes out times pixels, summed over pixels and images.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let pixels = g.pixels();
    if pixels == 1 {
        let gradient = (gradient, Strides::rows(g.outputs).transposed());
        return product(
            [g.outputs, g.batch, g.inputs],
            gradient,
            (x, Strides::rows(g.inputs)),
            After::NOTHING,
        );
    }
    let rows = g.outputs.div_ceil(PARTS).max(LEAST_CHANNELS).min(g.outputs);
    let blocks = g.outputs.div_ceil(rows);
    let images = g.batch.div_ceil(PARTS.div_ceil(blocks));
    let chunks = g.batch.div_ceil(images);
    // `[rows, inputs]` of some images each, all images of a block of rows after each other.
    let sums = (0..blocks * chunks).into_par_iter().map(|n| {
        let (block, chunk) = (n / chunks, n % chunks);
        let first = block * rows;
        let rows = rows.min(g.outputs - first);
        let mut sum = vec![0.0; rows * g.inputs];
        for image in chunk * images..((chunk + 1) * images).min(g.batch) {
            let gradient = &gradient[image * g.result() + first * pixels..];
            let x = &x[image * g.image()..];
            multiply(
                [rows, pixels, g.inputs],
                (gradient, Strides::rows(pixels)),
                (x, Strides::rows(pixels).transposed()),
                (&mut sum, Strides::rows(g.inputs)),
                true,
            );
        }
        sum
    });
    let mut sums = sums.collect::<Vec<_>>().into_iter();
    let mut of_weight = Vec::with_capacity(g.outputs * g.inputs);
    for _ in 0..blocks {
        of_weight.extend(added(sums.by_ref().take(chunks)));
    }
    of_weight
}
