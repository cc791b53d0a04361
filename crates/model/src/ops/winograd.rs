//! Convolutions with kernels of 3 x 3 pixels in a quarter of the products: tiles of 4 x 4 pixels that come out, and the 6 x 6 that each sees, as
//! Winograd's minimal filtering has them (Lavin and Gray, <https://arxiv.org/abs/1509.09308>).
//!
//! A number that is not finite makes all of its tile NaN. Work is cut by shapes alone, so that results do not depend on the number of threads.

use rayon::prelude::*;

use super::after::After;
use super::gemm::{Strides, multiply, multiply_into};
use super::geometry::Geometry;
use super::output::{by_chunks, by_parts};
use super::products::Machine;
use super::scratch::of_length;
use super::transpose::transpose;
use super::winograd_tiles::{
    Gradients, KERNEL, KernelSums, Kernels, Line, OUT, Pixels, Places, SEEN, Sums, both_ways,
};

/// Products of a tile for a channel in and a channel out.
const PLACES: usize = SEEN * SEEN;

/// Elements of a kernel.
const ELEMENTS: usize = KERNEL * KERNEL;

/// Numbers of some images that lie in the cache together: 2 MiB.
const TOGETHER: usize = 1 << 19;

/// Tiles of all images that pay for what kernels become, and of those in the cache that pay for reading it.
const LEAST: usize = 32;
const ENOUGH: usize = 64;

/// Numbers of an image at most: the rest would lie far outside of the cache.
const MOST: usize = 1 << 21;

/// Numbers that rows of several places are longer by, so that they do not all fall on the same lines of the cache.
const APART: usize = 16;

/// Input channels of which the kernels are made at once.
const INPUTS: usize = 16;

/// Whether a convolution is one of these, and large enough.
pub(super) fn is_worth_it(g: &Geometry) -> bool {
    let machine = Machine::new();
    let is_three = g.kernel == [KERNEL; 2] && g.stride == [1; 2] && g.dilation == [1; 2] && g.groups == 1;
    let is_whole = [g.inputs, g.outputs].iter().all(|n| *n >= 32 && n.is_multiple_of(machine.lanes));
    let is_large = g.out.iter().all(|&pixels| pixels >= OUT);
    let tiles = Tiles::new(g);
    let is_many = g.batch * tiles.per_image() >= LEAST && tiles.per_image() * tiles.numbers() <= MOST;
    machine.lanes >= 4 && is_three && is_whole && is_large && is_many
}

/// The convolution itself.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let tiles = Tiles::new(g);
    let kernels = tiles.kernels(weight);
    let together = tiles.images_together();
    by_chunks(
        g.batch * g.result(),
        together * g.result(),
        || (),
        |(), n, out| {
            let images = out.len() / g.result();
            let x = &x[n * together * g.image()..][..images * g.image()];
            let seen = tiles.seen(x);
            let count = images * tiles.per_image();
            // For each place `[tile, output channel]`.
            let sums = by_parts(
                PLACES * count * g.outputs,
                count * g.outputs,
                || (),
                |(), place, room| {
                    multiply_into(
                        [count, g.inputs, g.outputs],
                        (&seen[place * g.inputs..], Strides::rows(row(g.inputs))),
                        (&kernels[place * g.outputs..], Strides::rows(row(g.outputs))),
                        room,
                    )
                },
            );
            tiles.write(&sums, out, after);
        },
    )
}

/// The gradient of the weight.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let tiles = Tiles::new(g);
    // More of them, since the sums at all places are read and written once for those.
    let together = (4 * tiles.images_together()).min(g.batch);
    // For each place `[input channel, output channel]`.
    let mut sums = vec![0.0; PLACES * g.inputs * g.outputs];
    let parts = x.chunks(together * g.image()).zip(gradient.chunks(together * g.result()));
    for (n, (x, gradient)) in parts.enumerate() {
        let (seen, gradients) = (tiles.seen(x), tiles.gradients(gradient));
        let count = x.len() / g.image() * tiles.per_image();
        sums.par_chunks_mut(g.inputs * g.outputs).enumerate().for_each(|(place, sums)| {
            multiply(
                [g.inputs, count, g.outputs],
                (&seen[place * g.inputs..], Strides::rows(row(g.inputs)).transposed()),
                (&gradients[place * g.outputs..], Strides::rows(row(g.outputs))),
                (sums, Strides::rows(g.outputs)),
                n > 0,
            );
        });
    }
    tiles.of_kernels(&sums)
}

/// Numbers from a tile, or an input channel of the kernels, to the next, of so many at each place.
fn row(channels: usize) -> usize {
    PLACES * channels + APART
}

/// The places of such a row.
fn places(channels: usize) -> Places<SEEN> {
    std::array::from_fn(|i| std::array::from_fn(|j| (i * SEEN + j) * channels))
}

/// The elements of kernels with so many numbers at each.
fn elements(numbers: usize) -> Places<KERNEL> {
    std::array::from_fn(|i| std::array::from_fn(|j| (i * KERNEL + j) * numbers))
}

/// The tiles of an image.
struct Tiles<'a> {
    g: &'a Geometry,
    down: usize,
    along: usize,
}

impl<'a> Tiles<'a> {
    fn new(g: &'a Geometry) -> Self {
        let [down, along] = g.out.map(|pixels| pixels.div_ceil(OUT));
        Self { g, down, along }
    }

    fn per_image(&self) -> usize {
        self.down * self.along
    }

    /// Numbers of a tile in all channels.
    fn numbers(&self) -> usize {
        PLACES * (self.g.inputs + self.g.outputs)
    }

    /// Images that are worked on together.
    fn images_together(&self) -> usize {
        let in_cache = TOGETHER / (self.per_image() * self.numbers());
        in_cache.max(ENOUGH.div_ceil(self.per_image())).clamp(1, self.g.batch)
    }

    /// The kernels' numbers: `[input channel, place, output channel]`, each input channel a [`row`].
    fn kernels(&self, weight: &[f32]) -> Vec<f32> {
        let Geometry { inputs, outputs, .. } = *self.g;
        let row = row(outputs);
        by_chunks(inputs * row, INPUTS * row, Vec::new, |kernels, n, out| {
            let count = out.len() / row;
            let kernels = of_length(kernels, count * ELEMENTS * outputs);
            let weight = (&weight[n * INPUTS * ELEMENTS..], inputs * ELEMENTS);
            transpose([outputs, count * ELEMENTS], weight, (kernels, outputs));
            let kernels = kernels.chunks_exact(ELEMENTS * outputs);
            for (kernel, out) in kernels.zip(out.chunks_exact_mut(row)) {
                both_ways(Kernels, outputs, (kernel, &elements(outputs)), (out, &places(outputs)));
            }
        })
    }

    /// What the tiles of some images see: `[tile, place, input channel]`, each tile a [`row`].
    fn seen(&self, x: &[f32]) -> Vec<f32> {
        let Geometry { inputs, size, padding, .. } = *self.g;
        self.transformed(Pixels, x, (inputs, size), padding)
    }

    /// The gradients of the tiles of some images: `[tile, place, output channel]`, each tile a [`row`].
    fn gradients(&self, gradient: &[f32]) -> Vec<f32> {
        let Geometry { outputs, out, .. } = *self.g;
        self.transformed(Gradients, gradient, (outputs, out), [0; 2])
    }

    /// For each tile, its square of `FROM` pixels times the matrix.
    fn transformed<L: Line<FROM, SEEN> + Copy + Sync, const FROM: usize>(
        &self,
        matrix: L,
        images: &[f32],
        (channels, [height, width]): (usize, [usize; 2]),
        padding: [usize; 2],
    ) -> Vec<f32> {
        let image = channels * height * width;
        let (row, tiles) = (row(channels), images.len() / image * self.per_image());
        // Rows of tiles that a thread takes at once: a divisor of their number, so that none reaches into the next image.
        let fits = |rows: &usize| self.down.is_multiple_of(*rows) && rows * self.along <= ENOUGH;
        let rows = (1..=self.down).rev().find(fits).unwrap_or(1);
        by_chunks(tiles * row, rows * self.along * row, Vec::new, |pixels, n, out| {
            let (first, n) = (n * rows % self.down, n * rows / self.down);
            let image = &images[n * image..][..image];
            // The rows of pixels that they see, `[pixel, channel]`, behind a pixel of zeros.
            let top = (first * OUT).saturating_sub(padding[0]).min(height);
            let end = ((first + rows - 1) * OUT + FROM).saturating_sub(padding[0]).clamp(top, height);
            let pixels = of_length(pixels, (1 + (end - top) * width) * channels);
            pixels[..channels].fill(0.0);
            let seen = (&image[top * width..], height * width);
            transpose([channels, (end - top) * width], seen, (&mut pixels[channels..], channels));
            for (tile, out) in out.chunks_exact_mut(row).enumerate() {
                let (y, x) = ((first + tile / self.along) * OUT, tile % self.along * OUT);
                let inside = |at: usize, padding: usize, end: usize| {
                    at.checked_sub(padding).filter(|pixel| *pixel < end)
                };
                let from: Places<FROM> = std::array::from_fn(|i| {
                    std::array::from_fn(|j| {
                        match (inside(y + i, padding[0], end), inside(x + j, padding[1], width)) {
                            (Some(y), Some(x)) => (1 + (y - top) * width + x) * channels,
                            _ => 0,
                        }
                    })
                });
                both_ways(matrix, channels, (pixels, &from), (out, &places(channels)));
            }
        })
    }

    /// Writes into some images what the tiles' sums of products give.
    fn write(&self, sums: &[f32], out: &mut [f32], after: After<'_>) {
        let Geometry { outputs, out: [height, width], .. } = *self.g;
        let (pixels, images) = (height * width, out.len() / self.g.result());
        let tiles = images * self.per_image();
        // Channels that a thread takes at once.
        let lanes = Machine::new().lanes;
        let fits = |count: &usize| outputs.is_multiple_of(*count) && count * pixels <= TOGETHER / 8;
        let most = (outputs * images / 4).clamp(lanes, outputs);
        let channels = (1..=most / lanes).rev().map(|n| n * lanes).find(fits).unwrap_or(lanes);
        let parts = outputs / channels;
        out.par_chunks_mut(channels * pixels).enumerate().for_each_init(Vec::new, |made, (n, out)| {
            let (image, first) = (n / parts, n % parts * channels);
            // `[pixel, channel]`, behind a pixel for all that lie outside.
            let made = of_length(made, (1 + pixels) * channels);
            for tile in 0..self.per_image() {
                let (y, x) = (tile / self.along * OUT, tile % self.along * OUT);
                let place = |place| (place * tiles + image * self.per_image() + tile) * outputs + first;
                let from: Places<SEEN> =
                    std::array::from_fn(|i| std::array::from_fn(|j| place(i * SEEN + j)));
                let to: Places<OUT> = std::array::from_fn(|i| {
                    std::array::from_fn(|j| {
                        let is_inside = y + i < height && x + j < width;
                        if is_inside { (1 + (y + i) * width + x + j) * channels } else { 0 }
                    })
                });
                both_ways(Sums, channels, (sums, &from), (made, &to));
            }
            transpose([pixels, channels], (&made[channels..], channels), (out, pixels));
            for (channel, outputs) in out.chunks_exact_mut(pixels).enumerate() {
                after.channel(first + channel, outputs);
            }
        });
    }

    /// The gradient of the weight from the sums at each place.
    fn of_kernels(&self, sums: &[f32]) -> Vec<f32> {
        let Geometry { inputs, outputs, .. } = *self.g;
        let lanes = Machine::new().lanes;
        let patch = inputs * ELEMENTS;
        by_chunks(outputs * patch, lanes * patch, Vec::new, |kernels, n, out| {
            let kernels = of_length(kernels, patch * lanes);
            for (input, kernel) in kernels.chunks_exact_mut(ELEMENTS * lanes).enumerate() {
                let first = input * outputs + n * lanes;
                let from = places(inputs * outputs).map(|row| row.map(|place| place + first));
                both_ways(KernelSums, lanes, (sums, &from), (kernel, &elements(lanes)));
            }
            transpose([patch, lanes], (kernels, lanes), (out, patch));
        })
    }
}
