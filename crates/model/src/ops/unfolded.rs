//! Convolutions as products of matrices, a few output rows at a time so that what they work on stays in the cache.
//!
//! Work is cut by shapes alone, so that results do not depend on the number of threads.

use super::after::After;
use super::gemm::{Strides, multiply};
use super::geometry::Geometry;
use super::output::by_chunks;
use super::patches::{Rows, gather, scatter};
use super::pieces::{Inputs, summed};
use super::scratch::of_length;

/// What a thread works with.
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    products: Vec<f32>,
}

/// The convolution itself: kernels times patches.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let (rows, images) = g.tiles(g.patch());
    by_chunks(g.batch * g.result(), images * g.result(), Scratch::default, |scratch, n, out| {
        let x = &x[n * images * g.image()..][..out.len() / g.result() * g.image()];
        for group in 0..g.groups {
            let kernels = &weight[group * g.outputs * g.patch()..][..g.outputs * g.patch()];
            let first = group * g.outputs;
            if images == 1 {
                let out = &mut out[group * g.outputs * g.pixels()..][..g.outputs * g.pixels()];
                let x = &x[group * g.inputs * g.area()..][..g.inputs * g.area()];
                correlate_bands(g, rows, x, (kernels, after, first), out, &mut scratch.patches);
            } else {
                correlate_images(g, group, x, (kernels, after, first), out, scratch);
            }
        }
    })
}

/// A group of one image, some rows at a time.
fn correlate_bands(
    g: &Geometry,
    rows: usize,
    x: &[f32],
    (kernels, after, first): (&[f32], After<'_>, usize),
    out: &mut [f32],
    patches: &mut Vec<f32>,
) {
    for band in g.bands(rows) {
        let (begin, pixels) = (band.first * g.out[1], band.count * g.out[1]);
        let patches = of_length(patches, g.patch() * pixels);
        gather(g, x, band, patches, pixels);
        let seen = (&*patches, Strides::rows(pixels));
        let shape = [g.outputs, g.patch(), pixels];
        let of_band = (&mut out[begin..], Strides::rows(g.pixels()));
        multiply(shape, (kernels, Strides::rows(g.patch())), seen, of_band, false);
        for (channel, outputs) in out.chunks_exact_mut(g.pixels()).enumerate() {
            after.channel(first + channel, &mut outputs[begin..begin + pixels]);
        }
    }
}

/// A group of several small images at once.
fn correlate_images(
    g: &Geometry,
    group: usize,
    x: &[f32],
    (kernels, after, first): (&[f32], After<'_>, usize),
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let pixels = g.pixels();
    let columns = x.len() / g.image() * pixels;
    let patches = of_length(&mut scratch.patches, g.patch() * columns);
    for (n, image) in x.chunks_exact(g.image()).enumerate() {
        let channels = &image[group * g.inputs * g.area()..][..g.inputs * g.area()];
        gather(g, channels, g.all_rows(), &mut patches[n * pixels..], columns);
    }
    let products = of_length(&mut scratch.products, g.outputs * columns);
    let shape = [g.outputs, g.patch(), columns];
    let strides = Strides::rows(columns);
    multiply(shape, (kernels, Strides::rows(g.patch())), (patches, strides), (products, strides), false);
    for (n, image) in out.chunks_exact_mut(g.result()).enumerate() {
        let channels = image[group * g.outputs * pixels..].chunks_exact_mut(pixels);
        for (k, (to, from)) in channels.zip(products.chunks_exact(columns)).enumerate() {
            let from = &from[n * pixels..][..pixels];
            to.copy_from_slice(from);
            after.channel(first + k, to);
        }
    }
}

/// The gradient of what goes in where the window steps over pixels: each output's share goes back to the patch that it has seen.
pub(super) fn spread(g: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let (_, images) = g.tiles(g.patch());
    by_chunks(g.batch * g.image(), images * g.image(), Scratch::default, |scratch, n, of_x| {
        of_x.fill(0.0);
        let gradient = &gradient[n * images * g.result()..][..of_x.len() / g.image() * g.result()];
        let pixels = g.pixels();
        let columns = gradient.len() / g.result() * pixels;
        for group in 0..g.groups {
            let kernels = &weight[group * g.outputs * g.patch()..][..g.outputs * g.patch()];
            let gradient = side_by_side(g, group, gradient, &mut scratch.products);
            let patches = of_length(&mut scratch.patches, g.patch() * columns);
            let strides = Strides::rows(columns);
            let kernels = (kernels, Strides::rows(g.patch()).transposed());
            multiply(
                [g.patch(), g.outputs, columns],
                kernels,
                (gradient, strides),
                (patches, strides),
                false,
            );
            for (n, image) in of_x.chunks_exact_mut(g.image()).enumerate() {
                let channels = &mut image[group * g.inputs * g.area()..][..g.inputs * g.area()];
                scatter(g, channels, g.all_rows(), &patches[n * pixels..], columns);
            }
        }
    })
}

/// A group's gradients of several images as one matrix with a row for each channel.
pub(super) fn side_by_side<'a>(
    g: &Geometry,
    group: usize,
    gradient: &'a [f32],
    room: &'a mut Vec<f32>,
) -> &'a [f32] {
    let pixels = g.pixels();
    let images = gradient.len() / g.result();
    let first = group * g.outputs * pixels;
    if images == 1 {
        return &gradient[first..][..g.outputs * pixels];
    }
    let columns = images * pixels;
    let beside = of_length(room, g.outputs * columns);
    for (n, image) in gradient.chunks_exact(g.result()).enumerate() {
        let channels = image[first..].chunks_exact(pixels);
        for (to, from) in beside.chunks_exact_mut(columns).zip(channels) {
            to[n * pixels..][..pixels].copy_from_slice(from);
        }
    }
    beside
}

/// The gradient of the weight: gradients of what comes out times what each output has seen, summed over pixels and images.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let channels = (288 / g.elements()).clamp(1, g.inputs);
    let sums = summed(g, channels, (x, gradient), Scratch::default, |scratch, inputs, x, gradient| {
        compare_piece(g, inputs, x, gradient, scratch)
    });
    let mut of_weight = vec![0.0; g.groups * g.outputs * g.patch()];
    for ((group, inputs), sum) in sums {
        let (begin, width) = (inputs.start * g.elements(), inputs.len() * g.elements());
        let rows = of_weight[group * g.outputs * g.patch()..].chunks_exact_mut(g.patch());
        rows.zip(sum.chunks_exact(width))
            .for_each(|(row, sum)| row[begin..begin + width].copy_from_slice(sum));
    }
    of_weight
}

/// The part of the gradient that belongs to some input channels of a group, over some images: `[outputs, channels · elements]`.
fn compare_piece(
    g: &Geometry,
    (group, inputs): Inputs,
    x: &[f32],
    gradient: &[f32],
    scratch: &mut Scratch,
) -> Vec<f32> {
    let (pixels, width) = (g.pixels(), inputs.len() * g.elements());
    let channels = (group * g.inputs + inputs.start) * g.area()..(group * g.inputs + inputs.end) * g.area();
    let mut sum = vec![0.0; g.outputs * width];
    let (rows, images) = (((256 / g.out[1]).clamp(1, g.out[0])), (256 / pixels).max(1));
    let works = x.chunks(images * g.image()).zip(gradient.chunks(images * g.result()));
    for (x, gradient) in works {
        let columns = x.len() / g.image() * pixels;
        let beside = side_by_side(g, group, gradient, &mut scratch.products);
        // Every band of rows of one image, or all of several.
        let bands: &mut dyn Iterator<Item = Rows> =
            if images == 1 { &mut g.bands(rows) } else { &mut std::iter::once(g.all_rows()) };
        for band in bands {
            let (begin, seen) =
                (band.first * g.out[1], if images == 1 { band.count * g.out[1] } else { columns });
            // Rows that are a power of two apart would all fall on the same lines of the cache.
            let apart = seen + 16;
            let patches = of_length(&mut scratch.patches, width * apart);
            for (n, image) in x.chunks_exact(g.image()).enumerate() {
                gather(g, &image[channels.clone()], band, &mut patches[n * pixels..], apart);
            }
            multiply(
                [g.outputs, seen, width],
                (&beside[begin..], Strides::rows(columns)),
                (patches, Strides::rows(apart).transposed()),
                (&mut sum, Strides::rows(width)),
                true,
            );
        }
    }
    sum
}
