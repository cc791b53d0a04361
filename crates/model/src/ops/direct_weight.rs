//! The gradient of a convolution's weight without a matrix of patches, as in [`super::direct`].

use std::ops::Range;

use super::direct::{Block, TERMS, blocks, pad, sum_terms};
use super::geometry::Geometry;
use super::pieces::summed;
use super::planes::Planes;
use super::products::{Machine, Terms};
use super::transpose::transpose;

/// Input channels of a piece.
const CHANNELS: usize = 32;

/// The gradient of the weight: gradients of what comes out times what each output has seen, summed over pixels and images.
pub(super) fn compare(g: &Geometry, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let machine = Machine::new();
    let piece = |(group, inputs)| Piece { g, machine, group, inputs };
    let channels = CHANNELS.min(g.inputs);
    let sums = summed(
        g,
        channels,
        (x, gradient),
        || (),
        |(), inputs, x, gradient| piece(inputs).compare(x, gradient),
    );
    let mut of_weight = vec![0.0; g.groups * g.outputs * g.patch()];
    for (inputs, sum) in sums {
        let kernels = &mut of_weight[inputs.0 * g.outputs * g.patch()..][..g.outputs * g.patch()];
        piece(inputs).write(&sum, kernels);
    }
    of_weight
}

/// The part of a weight's gradient that belongs to some input channels of a group.
struct Piece<'a> {
    g: &'a Geometry,
    machine: Machine,
    group: usize,
    inputs: Range<usize>,
}

impl Piece<'_> {
    /// Runs that are summed for an output channel, each the elements of a kernel's row, with `vectors` of channels: all, and as many more as come
    /// with the last.
    fn runs(&self, vectors: usize) -> usize {
        let runs = self.inputs.len() * self.g.kernel[0];
        runs.next_multiple_of(self.machine.runs(self.g.kernel[1], vectors))
    }

    /// Sums over some images: `[block, run, kernel element, channel]`.
    fn compare(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let g = self.g;
        let planes = Planes::as_they_are(g);
        let together = (TERMS / g.pixels()).max(1).min(x.len() / g.image());
        let places = self.places(&planes, together);
        let mut padded = vec![0.0; together * self.inputs.len() * planes.plane()];
        let mut packed = Vec::new();
        let mut sums = vec![0.0; blocks(self.machine, g.outputs).map(|block| self.sums(block)).sum()];
        let starts: Vec<Vec<usize>> = (1..=2).map(|vectors| self.starts(&planes, vectors)).collect();
        let channels = self.group * g.inputs + self.inputs.start..self.group * g.inputs + self.inputs.end;
        for (x, gradient) in x.chunks(together * g.image()).zip(gradient.chunks(together * g.result())) {
            pad(g, &planes, x, channels.clone(), &mut padded);
            let count = x.len() / g.image() * g.pixels();
            let mut sums = &mut sums[..];
            for block in blocks(self.machine, g.outputs) {
                self.pack(block, gradient, &mut packed);
                let (of_block, rest) = sums.split_at_mut(self.sums(block));
                sums = rest;
                let terms = Terms {
                    pixels: &padded,
                    places: &places[..count],
                    channels: &packed,
                    vectors: block.vectors,
                    along: g.kernel[1],
                };
                sum_terms(self.machine, &terms, &starts[block.vectors - 1], of_block, true);
            }
        }
        sums
    }

    /// Sums of a block.
    fn sums(&self, block: Block) -> usize {
        self.runs(block.vectors) * self.g.kernel[1] * block.vectors * self.machine.lanes
    }

    /// Where each run begins under the first output pixel.
    fn starts(&self, planes: &Planes, vectors: usize) -> Vec<usize> {
        let g = self.g;
        let rows = |input| {
            (0..g.kernel[0]).map(move |i| input * planes.plane() + planes.place(i * g.dilation[0], 0))
        };
        let mut starts: Vec<usize> = (0..self.inputs.len()).flat_map(rows).collect();
        starts.resize(self.runs(vectors), 0);
        starts
    }

    /// Where the first kernel element lies for each output pixel of a few images.
    fn places(&self, planes: &Planes, images: usize) -> Vec<usize> {
        let g = self.g;
        let mut places = Vec::with_capacity(images * g.pixels());
        for image in 0..images {
            for y in 0..g.out[0] {
                for x in 0..g.out[1] {
                    let at = planes.place(y * g.stride[0], x * g.stride[1]);
                    places.push(image * self.inputs.len() * planes.plane() + at);
                }
            }
        }
        places
    }

    /// Gradients of a block's channels: `[image, pixel, channel]`.
    fn pack(&self, block: Block, gradient: &[f32], packed: &mut Vec<f32>) {
        let g = self.g;
        let width = block.vectors * self.machine.lanes;
        let first = (self.group * g.outputs + block.first) * g.pixels();
        packed.clear();
        packed.resize(gradient.len() / g.result() * g.pixels() * width, 0.0);
        let images = gradient.chunks_exact(g.result()).zip(packed.chunks_exact_mut(g.pixels() * width));
        for (image, packed) in images {
            let channels = &image[first..][..block.channels * g.pixels()];
            transpose([block.channels, g.pixels()], (channels, g.pixels()), (packed, width));
        }
    }

    /// Writes the sums into the kernels of the group.
    fn write(&self, sums: &[f32], kernels: &mut [f32]) {
        let g = self.g;
        let (begin, count) = (self.inputs.start * g.elements(), self.inputs.len() * g.elements());
        let mut sums = sums;
        for block in blocks(self.machine, g.outputs) {
            let width = block.vectors * self.machine.lanes;
            let (of_block, rest) = sums.split_at(self.sums(block));
            sums = rest;
            let rows = kernels[block.first * g.patch()..].chunks_exact_mut(g.patch());
            for (channel, row) in rows.take(block.channels).enumerate() {
                let from = of_block[channel..].iter().step_by(width);
                row[begin..begin + count].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
