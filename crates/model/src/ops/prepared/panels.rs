//! Kernels in panels: as many outputs as a tile of sums has vectors, one input after the other.

use super::super::products::Machine;

/// Vectors of a panel.
pub(super) const WIDE: usize = 3;

/// The number of vectors of each panel for so many outputs: [`WIDE`], and what is left in the last.
#[inline(always)]
pub(super) fn widths(outputs: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let vectors = outputs.div_ceil(lanes);
    (0..vectors).step_by(WIDE).map(move |first| WIDE.min(vectors - first))
}

/// The first output of a vector: the last vector ends with the last output, and has some that the one before has too where they are not
/// enough for both.
#[inline(always)]
pub(super) fn first_of(vector: usize, outputs: usize, lanes: usize) -> usize {
    (vector * lanes).min(outputs - lanes)
}

/// Panels of `weight` `[outputs, inputs, elements]`, which has as many outputs as a vector has numbers at least: `[vectors of outputs, elements, inputs]` in
/// the order of `[panels, elements, inputs, vectors of a panel]`.
pub(super) fn arranged(weight: &[f32], [outputs, inputs, elements]: [usize; 3]) -> Vec<f32> {
    let lanes = Machine::new().lanes;
    let mut arranged = Vec::with_capacity(outputs.div_ceil(lanes) * lanes * inputs * elements);
    let mut first = 0;
    for wide in widths(outputs, lanes) {
        for element in 0..elements {
            for input in 0..inputs {
                for vector in first..first + wide {
                    let kernels = weight[first_of(vector, outputs, lanes) * inputs * elements..]
                        .chunks_exact(inputs * elements);
                    arranged.extend(kernels.take(lanes).map(|kernel| kernel[input * elements + element]));
                }
            }
        }
        first += wide;
    }
    arranged
}
