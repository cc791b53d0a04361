//! Kernels as they are read when a network answers, made once.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, TensorData};

use super::super::products::Machine;
use super::super::transpose::transpose;
use super::{depthwise, panels, winograd};

type FlexTensor = FloatTensor<Flex>;

/// Kernels `[outputs, inputs / groups, height, width]` as [`convolve`](super::convolve) reads them, if it takes convolutions of these: all in one row,
/// `[1, 1, 1, numbers]`.
pub(in super::super) fn arranged(weight: &FlexTensor, options: &ConvOptions<2>) -> Option<FlexTensor> {
    let shape @ [outputs, inputs, height, width] = weight.layout().shape().dims::<4>();
    let (elements, groups) = (height * width, options.groups);
    let of_group = outputs / groups;
    let is_depthwise = inputs == 1 && of_group == 1;
    let together = if is_depthwise { 1 } else { groups_together(groups, of_group) };
    let vectors_of = if is_depthwise { outputs } else { together * of_group };
    // Burn has loops for kernels that see one channel of many and give several.
    let is_known = is_depthwise || inputs > 1 || groups == 1;
    let is_one = weight.dtype() == DType::F32
        && !options.is_asymmetric()
        && is_known
        && outputs.is_multiple_of(groups)
        && inputs * elements > 0
        && vectors_of >= Machine::new().lanes.max(2)
        && (!is_depthwise || depthwise::takes(width, options));
    let weight = weight.to_contiguous();
    let numbers = weight.as_slice::<f32>().filter(|_| is_one)?;
    let arranged = if is_depthwise {
        let mut arranged = vec![0.0; numbers.len()];
        transpose([outputs, elements], (numbers, elements), (&mut arranged, outputs));
        arranged
    } else if winograd::takes(shape, options) {
        winograd::arranged(numbers, outputs, inputs)
    } else {
        let kernel = inputs * elements;
        let groups = |weight: &[f32]| {
            // Kernels of each group, and zeros for what those of the others see.
            let mut wide = vec![0.0; together * weight.len()];
            for (output, kernels) in weight.chunks_exact(kernel).enumerate() {
                let first = (output * together + output / of_group) * kernel;
                wide[first..][..kernel].copy_from_slice(kernels);
            }
            panels::arranged(&wide, [together * of_group, together * inputs, elements])
        };
        numbers.chunks_exact(together * of_group * kernel).flat_map(groups).collect()
    };
    let row = [1, 1, 1, arranged.len()];
    Some(FlexTensor::from_data(TensorData::new(arranged, row)))
}

/// Groups of so many outputs each that are taken as one, so that their outputs fill a vector.
pub(super) fn groups_together(groups: usize, outputs: usize) -> usize {
    let lanes = Machine::new().lanes;
    (1..=groups).find(|many| groups.is_multiple_of(*many) && many * outputs >= lanes).unwrap_or(1)
}
