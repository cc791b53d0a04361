//! Convolutions with kernels of 3 x 3 pixels in a quarter of the products, as in [`super::super::winograd`]: here channels lie side by side as they
//! come, and kernels have been through their part before.

use burn::tensor::ops::ConvOptions;
use rayon::prelude::*;

use super::super::after::After;
use super::super::geometry::Geometry;
use super::super::output::by_chunks;
use super::super::products::Machine;
use super::super::scratch::of_length;
use super::super::transpose::transpose;
use super::super::winograd_tiles::{KERNEL, Kernels, OUT, Pixels, Places, SEEN, Sums, both_ways};
use super::dense::Dense;
use super::panels::widths;
use super::{With, in_parts};

/// Products of a tile for a channel in and a channel out.
const PLACES: usize = SEEN * SEEN;

/// Elements of a kernel.
const ELEMENTS: usize = KERNEL * KERNEL;

/// Channels in and out from which on it pays, and products of both up to which kernels are small enough to be read often.
const LEAST: usize = 32;
const MOST: usize = 1 << 16;

/// Numbers of tiles that lie in the cache together: 2 MiB.
const TOGETHER: usize = 1 << 19;

/// Numbers that a tile's are longer by, so that those of several places do not all fall on the same lines of the cache.
const APART: usize = 16;

/// Whether kernels `[outputs, inputs, height, width]` are arranged for this.
pub(super) fn takes([outputs, inputs, height, width]: [usize; 4], options: &ConvOptions<2>) -> bool {
    let lanes = Machine::new().lanes;
    let is_three = [height, width] == [KERNEL; 2] && options.stride == [1; 2] && options.dilation == [1; 2];
    let is_whole = [outputs, inputs].iter().all(|n| *n >= LEAST && n.is_multiple_of(lanes));
    lanes >= 4 && is_three && is_whole && options.groups == 1 && outputs * inputs <= MOST
}

/// Whether these are kernels that were arranged for this.
pub(super) fn reads(g: &Geometry, kernels: &[f32]) -> bool {
    g.kernel == [KERNEL; 2] && g.groups == 1 && kernels.len() == PLACES * g.outputs * g.inputs
}

/// What kernels `[outputs, inputs, 3, 3]` become at each place, in panels: `[places, panels, inputs, outputs of a panel]`.
pub(super) fn arranged(weight: &[f32], outputs: usize, inputs: usize) -> Vec<f32> {
    let lanes = Machine::new().lanes;
    // `[inputs, places, outputs]`.
    let mut kernels = vec![0.0; inputs * PLACES * outputs];
    let mut turned = vec![0.0; inputs * ELEMENTS * outputs];
    transpose([outputs, inputs * ELEMENTS], (weight, inputs * ELEMENTS), (&mut turned, outputs));
    let elements: Places<KERNEL> = places(outputs);
    let to: Places<SEEN> = places(outputs);
    for (kernel, out) in
        turned.chunks_exact(ELEMENTS * outputs).zip(kernels.chunks_exact_mut(PLACES * outputs))
    {
        both_ways(Kernels, outputs, (kernel, &elements), (out, &to));
    }
    let mut arranged = Vec::with_capacity(PLACES * outputs * inputs);
    for place in 0..PLACES {
        let mut first = place * outputs;
        for wide in widths(outputs, lanes) {
            for kernels in kernels.chunks_exact(PLACES * outputs) {
                arranged.extend_from_slice(&kernels[first..][..wide * lanes]);
            }
            first += wide * lanes;
        }
    }
    arranged
}

/// Where in a row of squares, of so many numbers at each of their places, those are.
fn places<const N: usize>(numbers: usize) -> Places<N> {
    std::array::from_fn(|i| std::array::from_fn(|j| (i * N + j) * numbers))
}

/// The convolution, and what follows.
pub(super) fn correlate(g: &Geometry, with: &With<'_>) -> Vec<f32> {
    let tiles = Tiles { g, along: g.out[1].div_ceil(OUT), row: PLACES * g.inputs + APART };
    let (images, rows) = tiles.together();
    let row = g.out[1] * g.outputs;
    let part = images * g.out[0];
    by_chunks(
        g.batch * g.result(),
        part * row,
        || (),
        |(), n, out| {
            for (band, out) in out.chunks_mut(rows * row).enumerate() {
                let band = Band { first: n * part + band * rows, rows: out.len() / row };
                tiles.write(
                    &tiles.sums(band, with),
                    band,
                    out,
                    After { bias: Some(with.bias), function: with.after },
                );
            }
        },
    )
}

/// Rows of pixels that come out, of all images together.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    rows: usize,
}

/// The tiles of images.
struct Tiles<'a> {
    g: &'a Geometry,
    along: usize,
    /// Numbers from a tile to the next.
    row: usize,
}

impl Tiles<'_> {
    /// Images, and rows of their pixels, whose tiles are worked on together: all rows, or some of one image.
    fn together(&self) -> (usize, usize) {
        let [height, _] = self.g.out;
        let of_row = self.along * PLACES * (self.g.inputs + self.g.outputs);
        let (most, all) = ((TOGETHER / of_row).max(1), height.div_ceil(OUT));
        let images = (most / all).clamp(1, self.g.batch);
        (images, if most < all { most * OUT } else { images * height })
    }

    /// The tiles of a band, by the row of their first pixel and their first column.
    fn of(&self, band: Band) -> impl Iterator<Item = (usize, usize)> + '_ {
        let [height, width] = self.g.out;
        let rows = (band.first..band.first + band.rows).filter(move |row| (row % height).is_multiple_of(OUT));
        rows.flat_map(move |row| (0..width).step_by(OUT).map(move |column| (row, column)))
    }

    /// What the tiles of a band see: `[tile, place, input channel]`, so far apart.
    fn seen(&self, x: &[f32], band: Band) -> Vec<f32> {
        let Geometry { inputs, size: [height, width], padding, out: [rows, _], .. } = *self.g;
        let tiles: Vec<_> = self.of(band).collect();
        let at = places(inputs);
        by_chunks(tiles.len() * self.row, self.along * self.row, Vec::new, |pixels, n, out| {
            for (&(row, column), out) in tiles[n * self.along..].iter().zip(out.chunks_exact_mut(self.row)) {
                let out = (&mut out[..PLACES * inputs], &at);
                let first = (row % rows).checked_sub(padding[0]).zip(column.checked_sub(padding[1]));
                let image = &x[row / rows * self.g.image()..][..self.g.image()];
                match first {
                    Some((y, x)) if y + SEEN <= height && x + SEEN <= width => {
                        let from = std::array::from_fn(|i| {
                            std::array::from_fn(|j| ((y + i) * width + x + j) * inputs)
                        });
                        both_ways(Pixels, inputs, (image, &from), out);
                    }
                    _ => {
                        let pixels = of_length(pixels, PLACES * inputs);
                        for (place, pixel) in pixels.chunks_exact_mut(inputs).enumerate() {
                            let y = (row % rows + place / SEEN).wrapping_sub(padding[0]);
                            let x = (column + place % SEEN).wrapping_sub(padding[1]);
                            if y < height && x < width {
                                pixel.copy_from_slice(&image[(y * width + x) * inputs..][..inputs]);
                            } else {
                                pixel.fill(0.0);
                            }
                        }
                        both_ways(Pixels, inputs, (pixels, &at), out);
                    }
                }
            }
        })
    }

    /// The sums of products of a band's tiles: for each place `[tile, output channel]`.
    fn sums(&self, band: Band, with: &With<'_>) -> Vec<f32> {
        let Geometry { inputs, outputs, .. } = *self.g;
        let seen = self.seen(with.x, band);
        let count = seen.len() / self.row;
        let zeros = vec![0.0; inputs.max(outputs)];
        let row = [1, count];
        let g = Geometry { batch: 1, size: row, out: row, kernel: [1; 2], padding: [0; 2], ..*self.g };
        in_parts(PLACES * count * outputs, count * outputs, None, |place, out| {
            let (x, panels) = (&seen[place * inputs..], &with.kernels[place * inputs * outputs..]);
            let (g, apart, zeros, function) = (&g, self.row, &zeros, None);
            Dense { g, apart, x, zeros, panels, bias: zeros, function, first: 0, out }.compute();
        })
    }

    /// Writes what the tiles' sums of products give into a band, and what follows.
    fn write(&self, sums: &[f32], band: Band, out: &mut [f32], after: After<'_>) {
        let Geometry { outputs, out: [height, width], .. } = *self.g;
        let tiles: Vec<_> = self.of(band).collect();
        let of_place = tiles.len() * outputs;
        // A row of tiles, or an image of several that do not end with whole tiles.
        let rows = if band.rows <= height || height.is_multiple_of(OUT) { OUT } else { height };
        let together = rows.div_ceil(OUT) * self.along;
        out.par_chunks_mut(rows * width * outputs).enumerate().for_each_init(Vec::new, |made, (n, out)| {
            let (first, rows) = (band.first + n * rows, out.len() / (width * outputs));
            for (tile, &(row, column)) in tiles.iter().enumerate().skip(n * together).take(together) {
                let row = row - first;
                let from = std::array::from_fn(|i| {
                    std::array::from_fn(|j| (i * SEEN + j) * of_place + tile * outputs)
                });
                if row + OUT <= rows && column + OUT <= width {
                    let to = std::array::from_fn(|i| {
                        std::array::from_fn(|j| ((row + i) * width + column + j) * outputs)
                    });
                    both_ways(Sums, outputs, (sums, &from), (out, &to));
                } else {
                    let made = of_length(made, OUT * OUT * outputs);
                    both_ways(Sums, outputs, (sums, &from), (made, &places(outputs)));
                    for (place, pixel) in made.chunks_exact(outputs).enumerate() {
                        let (y, x) = (row + place / OUT, column + place % OUT);
                        if y < rows && x < width {
                            out[(y * width + x) * outputs..][..outputs].copy_from_slice(pixel);
                        }
                    }
                }
            }
            for pixel in out.chunks_exact_mut(outputs) {
                after.row(0, pixel);
            }
        });
    }
}
