//! Convolutions without a matrix of patches: every output is summed in registers, from channels that lie padded in the cache.

use std::ops::Range;

use super::after::After;
use super::geometry::Geometry;
use super::output::by_chunks;
use super::planes::Planes;
use super::products::{Machine, Terms};
use super::simd::wide;
use super::transpose::transpose;
use super::unfolded::room;

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

/// How many images of so many pixels are worked on together.
fn images_together(g: &Geometry) -> usize {
    (PIXELS / g.pixels()).clamp(1, g.batch.div_ceil(4))
}

/// Whether sums are long enough, and outputs many enough, to be worth the layout on this machine; products of matrices are faster elsewhere.
pub(super) fn is_worth_it(g: &Geometry) -> bool {
    let is_run = g.kernel[1] <= 7 && g.dilation[1] == 1;
    let is_large = g.patch() >= 64 && g.outputs >= 8 && g.batch * g.pixels() >= PIXELS;
    Machine::new().lanes >= 4 && g.elements() > 1 && is_run && is_large
}

/// The convolution of `x` `[batch, inputs, height, width]`: as the geometry says, `[batch, outputs, height', width']`.
pub(super) fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    let machine = Machine::new();
    let together = images_together(g);
    let planes = Planes::by_outputs(g);
    let runs = Runs::new(g, &planes, together);
    let places = planes.elements(g);
    let kernels = packed_kernels(g, machine, weight);
    by_chunks(
        g.batch * g.result(),
        together * g.result(),
        || (vec![0.0; together * g.inputs * planes.plane()], Vec::new(), Vec::new()),
        |(padded, sums, starts), n, out| {
            let images = out.len() / g.result();
            let x = &x[n * together * g.image()..][..images * g.image()];
            for group in 0..g.groups {
                pad(g, &planes, x, group * g.inputs..(group + 1) * g.inputs, padded);
                let mut kernels = &kernels[group * kernels.len() / g.groups..];
                for mut block in blocks(machine, g.outputs) {
                    let (channels, rest) = kernels.split_at(block.vectors * machine.lanes * g.patch());
                    kernels = rest;
                    let (vectors, along) = (block.vectors, runs.along);
                    let terms = Terms { pixels: padded, places: &places, channels, vectors, along };
                    block.first += group * g.outputs;
                    for band in runs.bands(images) {
                        whole(machine.runs(along, vectors), &runs.starts[band.clone()], starts);
                        let sums = room(sums, starts.len() * along * vectors * machine.lanes);
                        sum_terms(machine, &terms, starts, sums, false);
                        runs.write(g, machine, band, block, sums, out);
                    }
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
        let image = &image[channels.start * g.area()..channels.end * g.area()];
        wide(
            #[inline(always)]
            || {
                for (channel, plane) in
                    image.chunks_exact(g.area()).zip(padded.chunks_exact_mut(planes.plane()))
                {
                    planes.fill(channel, plane);
                }
            },
        );
    }
}

/// Kernels as `[group, block, term, channel]`, with zeros for the channels that the last block has not.
fn packed_kernels(g: &Geometry, machine: Machine, weight: &[f32]) -> Vec<f32> {
    let patch = g.patch();
    let mut packed = Vec::with_capacity(g.groups * patch * g.outputs.next_multiple_of(machine.lanes));
    for kernels in weight.chunks_exact(g.outputs * patch) {
        for block in blocks(machine, g.outputs) {
            let width = block.vectors * machine.lanes;
            let begin = packed.len();
            packed.resize(begin + patch * width, 0.0);
            let of_block = &kernels[block.first * patch..][..block.channels * patch];
            transpose([block.channels, patch], (of_block, patch), (&mut packed[begin..], width));
        }
    }
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
