//! Gradients of weights in pieces that are computed at once, and added up in one order.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;

/// Pieces that it is cut into.
const PIECES: usize = 16;

/// Some input channels of a group: its number, and which of its channels.
pub(super) type Inputs = (usize, Range<usize>);

/// For every `channels` input channels of each group, the sum over the batch of what `compute` gives for some of its images and their gradients.
pub(super) fn summed<S>(
    g: &Geometry,
    channels: usize,
    (x, gradient): (&[f32], &[f32]),
    init: impl Fn() -> S + Sync + Send,
    compute: impl Fn(&mut S, Inputs, &[f32], &[f32]) -> Vec<f32> + Sync + Send,
) -> Vec<(Inputs, Vec<f32>)> {
    let blocks = g.inputs.div_ceil(channels);
    let chunks = PIECES.div_ceil(g.groups * blocks).min(g.batch);
    let images = g.batch.div_ceil(chunks);
    let chunks = g.batch.div_ceil(images);
    let inputs = |piece: usize| {
        let (block, group) = (piece / chunks % blocks, piece / chunks / blocks);
        (group, block * channels..((block + 1) * channels).min(g.inputs))
    };
    let pieces = (0..g.groups * blocks * chunks).into_par_iter().map_init(init, |state, piece| {
        let first = piece % chunks * images;
        let last = (first + images).min(g.batch);
        let x = &x[first * g.image()..last * g.image()];
        let gradient = &gradient[first * g.result()..last * g.result()];
        compute(state, inputs(piece), x, gradient)
    });
    let mut parts = pieces.collect::<Vec<_>>().into_iter();
    (0..g.groups * blocks).map(|n| (inputs(n * chunks), added(parts.by_ref().take(chunks)))).collect()
}

/// Sums of parts, added up in their order.
pub(super) fn added(mut parts: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |mut sum, part| {
        sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
        sum
    })
}
