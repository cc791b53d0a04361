//! Convolutions without a matrix of patches: every output is summed in registers, from channels that lie padded in the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::after::After;
use super::geometry::Geometry;
use super::output::{by_chunks, by_parts};
use super::planes::Planes;
use super::products::{Machine, Terms};
use super::scratch::of_length;
use super::simd::wide;
use super::transpose::transpose;

/// Terms that are summed before the sum is written: as many as the weights of which stay in the fastest cache.
pub(super) const TERMS: usize = 144;

/// Output pixels of a band, whose sums stay in the cache.
const BAND: usize = 1024;

/// Pixels of an image from which it is worked on by itself.
const PIXELS: usize = 256;

/// Some output channels, as one or two vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) first: usize,
    pub(super) channels: usize,
    pub(super) vectors: usize,
}

/// All of so many output channels.
pub(super) fn blocks(machine: Machine, outputs: usize) -> impl Iterator<Item = Block> {
    let wide = 2 * machine.lanes;
    (0..outputs).step_by(wide).map(move |first| {
        let channels = wide.min(outputs - first);
        Block { first, channels, vectors: if channels > machine.lanes { 2 } else { 1 } }
    })
}

/// Pixels that pay for arranging the kernels.
const LEAST_PIXELS: usize = 48;

/// How many images of so many pixels are worked on together.
fn images_together(g: &Geometry) -> usize {
    (PIXELS / g.pixels()).clamp(1, g.batch.div_ceil(4))
}

/// Whether sums are long enough, and outputs many enough, to be worth the layout on this machine; products of matrices are faster elsewhere.
pub(super) fn is_worth_it(g: &Geometry) -> bool {
    let is_run = g.kernel[1] <= 7 && g.dilation[1] == 1;
    let is_large = g.patch() >= 64 && g.outputs >= 8 && g.batch * g.pixels() >= LEAST_PIXELS;
    Machine::new().lanes >= 4 && g.elements() > 1 && is_run && is_large
}

/// The convolution of `x` `[batch, inputs, height, width]`: as the geometry says, `[batch, outputs, height', width']`.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let machine = Machine::new();
    let planes = Planes::by_outputs(g);
    let together = images_together(g);
    let places = planes.elements(g);
    let work = Work { g, machine, runs: Runs::new(g, &planes, together), places: &places };
    if g.batch < FEW && g.groups == 1 {
        let images = x.chunks_exact(g.image()).map(|x| work.of_image(&planes, x, weight, after));
        return images.collect::<Vec<_>>().concat();
    }
    let kernels = work.kernels(weight);
    by_chunks(
        g.batch * g.result(),
        together * g.result(),
        || (vec![0.0; together * g.inputs * planes.plane()], Scratch::default()),
        |(padded, scratch), n, out| {
            let images = out.len() / g.result();
            let x = &x[n * together * g.image()..][..images * g.image()];
            for group in 0..g.groups {
                pad(g, &planes, x, group * g.inputs..(group + 1) * g.inputs, padded);
                for (block, kernels) in kernels.iter().filter(|(block, _)| block.first / g.outputs == group) {
                    work.of_block(images, padded, kernels, *block, out, scratch);
                    for image in out.chunks_exact_mut(g.result()) {
                        let outputs = image.chunks_exact_mut(g.pixels()).enumerate();
                        let of_block = outputs.skip(block.first).take(block.channels);
                        of_block.for_each(|(channel, outputs)| after.channel(channel, outputs));
                    }
                }
            }
        },
    )
}

/// Images that are too few for a thread to take whole ones.
const FEW: usize = 4;

/// What a thread works with.
#[derive(Default)]
struct Scratch {
    sums: Vec<f32>,
    starts: Vec<usize>,
}

/// What is the same for all output channels.
struct Work<'a> {
    g: &'a Geometry,
    machine: Machine,
    runs: Runs,
    places: &'a [usize],
}

impl Work<'_> {
    /// The kernels of all blocks of output channels, which are numbered through all groups.
    fn kernels(&self, weight: &[f32]) -> Vec<(Block, Vec<f32>)> {
        let of_group = |group: usize| {
            let first = move |block: Block| Block { first: group * self.g.outputs + block.first, ..block };
            blocks(self.machine, self.g.outputs).map(first)
        };
        let all: Vec<Block> = (0..self.g.groups).flat_map(of_group).collect();
        all.into_par_iter()
            .map(|block| (block, packed_kernels(self.g, self.machine, block, weight)))
            .collect()
    }

    /// The convolution of one image: some output channels for each thread.
    fn of_image(&self, planes: &Planes, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
        let (g, wide) = (self.g, 2 * self.machine.lanes);
        let mut padded = vec![0.0; g.inputs * planes.plane()];
        padded.par_chunks_mut(wide * planes.plane()).zip(x.par_chunks(wide * g.area())).for_each(
            |(padded, x)| {
                fill(g, planes, x, padded);
            },
        );
        by_parts(g.result(), wide * g.pixels(), Scratch::default, |scratch, n, room| {
            let out = room.zeros();
            let channels = out.len() / g.pixels();
            let vectors = if channels > self.machine.lanes { 2 } else { 1 };
            let block = Block { first: n * wide, channels, vectors };
            let kernels = packed_kernels(g, self.machine, block, weight);
            self.of_block(1, &padded, &kernels, Block { first: 0, ..block }, out, scratch);
            for (channel, outputs) in out.chunks_exact_mut(g.pixels()).enumerate() {
                after.channel(block.first + channel, outputs);
            }
            out
        })
    }

    /// Some output channels of a few images, which are those of `out` from the block's first on.
    fn of_block(
        &self,
        images: usize,
        padded: &[f32],
        kernels: &[f32],
        block: Block,
        out: &mut [f32],
        Scratch { sums, starts }: &mut Scratch,
    ) {
        let Self { g, machine, ref runs, places } = *self;
        let (vectors, along) = (block.vectors, runs.along);
        let terms = Terms { pixels: padded, places, channels: kernels, vectors, along };
        for band in runs.bands(images) {
            whole(machine.runs(along, vectors), &runs.starts[band.clone()], starts);
            let sums = of_length(sums, starts.len() * along * vectors * machine.lanes);
            sum_terms(machine, &terms, starts, sums, false);
            runs.write(g, machine, band, block, sums, out);
        }
    }
}

/// Adds to `starts`, which is `some`, the last again until they are a multiple of what is summed at once.
fn whole(count: usize, some: &[usize], starts: &mut Vec<usize>) {
    starts.clear();
    starts.extend_from_slice(some);
    starts.resize(some.len().next_multiple_of(count), some.last().copied().unwrap_or_default());
}

/// Sums the terms, some at a time so that their channels stay in the fastest cache.
pub(super) fn sum_terms(machine: Machine, terms: &Terms<'_>, starts: &[usize], sums: &mut [f32], add: bool) {
    let channels = terms.channels.chunks(TERMS * terms.vectors * machine.lanes);
    for (n, (places, channels)) in terms.places.chunks(TERMS).zip(channels).enumerate() {
        Terms { places, channels, ..*terms }.sum(machine, starts, sums, add || n > 0);
    }
}

/// Writes some channels of images inside of zeros.
pub(super) fn pad(g: &Geometry, planes: &Planes, x: &[f32], channels: Range<usize>, padded: &mut [f32]) {
    let images = padded.chunks_exact_mut(channels.len() * planes.plane());
    for (image, padded) in x.chunks_exact(g.image()).zip(images) {
        fill(g, planes, &image[channels.start * g.area()..channels.end * g.area()], padded);
    }
}

/// The same of channels that follow each other.
fn fill(g: &Geometry, planes: &Planes, channels: &[f32], padded: &mut [f32]) {
    wide(
        #[inline(always)]
        || {
            let pairs = channels.chunks_exact(g.area()).zip(padded.chunks_exact_mut(planes.plane()));
            for (channel, plane) in pairs {
                planes.fill(channel, plane);
            }
        },
    );
}

/// The kernels of a block as `[term, channel]`, with zeros for channels that it has not.
fn packed_kernels(g: &Geometry, machine: Machine, block: Block, weight: &[f32]) -> Vec<f32> {
    let (patch, width) = (g.patch(), block.vectors * machine.lanes);
    let mut packed = vec![0.0; patch * width];
    let of_block = &weight[block.first * patch..][..block.channels * patch];
    transpose([block.channels, patch], (of_block, patch), (&mut packed, width));
    packed
}

/// The output pixels of a few images, in runs along their rows.
struct Runs {
    /// Pixels in a run.
    along: usize,
    /// Of an image.
    per_image: usize,
    /// Where the first kernel element sees a run's first pixel.
    starts: Vec<usize>,
    /// Which pixel of its image's output is a run's first.
    pixels: Vec<usize>,
}

impl Runs {
    fn new(g: &Geometry, planes: &Planes, images: usize) -> Self {
        let [height, width] = g.out;
        // As few as possible, and long ones; the last of a row begins early enough to end with it, and computes some pixels once more.
        let along = (4..=7).min_by_key(|&along| (width.div_ceil(along) * along, 7 - along));
        let along = along.filter(|_| width > 7).unwrap_or(width);
        let (mut starts, mut pixels) = (Vec::new(), Vec::new());
        for image in 0..images {
            for y in 0..height {
                for x in (0..width).step_by(along) {
                    let x = x.min(width - along);
                    let row = image * g.inputs * planes.plane() + y * g.stride[0] * planes.row();
                    starts.push(row + x);
                    pixels.push(y * width + x);
                }
            }
        }
        Self { along, per_image: starts.len() / images, starts, pixels }
    }

    /// Those of so many images, some at a time.
    fn bands(&self, images: usize) -> impl Iterator<Item = Range<usize>> {
        let (count, runs) = (images * self.per_image, BAND / self.along);
        (0..count).step_by(runs).map(move |first| first..(first + runs).min(count))
    }

    /// Writes the sums of a band, `[run, pixel, channel]`, into the channels of the images that they belong to.
    fn write(
        &self,
        g: &Geometry,
        machine: Machine,
        band: Range<usize>,
        block: Block,
        sums: &[f32],
        out: &mut [f32],
    ) {
        let (width, mut run) = (block.vectors * machine.lanes, band.start);
        while run < band.end {
            // Runs that follow each other in an image without a pixel that is there twice.
            let (image, pixel) = (run / self.per_image, self.pixels[run]);
            let end = ((image + 1) * self.per_image).min(band.end);
            let follows = |next: &usize| self.pixels[*next] == pixel + (next - run) * self.along;
            let count = (run + 1..end).take_while(follows).count() + 1;
            let out = &mut out[image * g.result() + block.first * g.pixels() + pixel..];
            let sums = &sums[(run - band.start) * self.along * width..];
            transpose([count * self.along, block.channels], (sums, width), (out, g.pixels()));
            run += count;
        }
    }
}
