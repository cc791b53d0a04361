//! Means of channels and factors for them, 32-bit numbers on the CPU, in one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::layer_norm_loops::dims;
use super::output::by_parts;
use super::simd::wide;
use super::sums::{sum, sum_of_pairs};

type FlexTensor = FloatTensor<Flex>;

/// Numbers that a thread takes at once.
const PART: usize = 1 << 14;

pub(super) fn scale(x: &FlexTensor, factors: &FlexTensor) -> Option<FlexTensor> {
    let dims @ [_, _, pixels] = dims(x)?;
    let (x, factors) = (x.to_contiguous(), factors.to_contiguous());
    let (x, factors) = (x.as_slice::<f32>()?, factors.as_slice::<f32>()?);
    let scaled = of_planes(x.len(), pixels, |plane| {
        let factor = factors[plane % factors.len()];
        x[plane * pixels..][..pixels].iter().map(move |x| x * factor)
    });
    Some(FlexTensor::from_data(TensorData::new(scaled, dims)))
}

pub(super) fn factors_backward(x: &FlexTensor, outer: usize, gradient: &FlexTensor) -> Option<FlexTensor> {
    let [batch, channels, pixels] = dims(x)?;
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (x, gradient) = (x.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let of_factor = |factor: usize| {
        // A factor is for one plane, or for that channel of every image.
        let planes = (factor..batch * channels).step_by(outer * channels);
        let sums = planes.map(|plane| {
            let [x, gradient] = [x, gradient].map(|values| &values[plane * pixels..][..pixels]);
            wide(
                #[inline(always)]
                || sum_of_pairs(x, gradient, |x, gradient| x * gradient),
            )
        });
        sums.sum::<f64>() as f32
    };
    let of_factors: Vec<f32> =
        (0..outer * channels).into_par_iter().with_min_len((PART / pixels).max(1)).map(of_factor).collect();
    Some(FlexTensor::from_data(TensorData::new(of_factors, [outer, channels])))
}

pub(super) fn mean(x: &FlexTensor) -> Option<FlexTensor> {
    let [batch, channels, pixels] = dims(x)?;
    let x = x.to_contiguous();
    let planes = x.as_slice::<f32>()?.par_chunks(pixels).with_min_len((PART / pixels).max(1));
    let mean = |plane: &[f32]| {
        let sum = wide(
            #[inline(always)]
            || sum(plane, |x| x),
        );
        (sum / pixels as f64) as f32
    };
    Some(FlexTensor::from_data(TensorData::new(planes.map(mean).collect(), [batch, channels])))
}

pub(super) fn mean_backward(gradient: &FlexTensor, pixels: usize) -> Option<FlexTensor> {
    if gradient.dtype() != DType::F32 || pixels == 0 {
        return None;
    }
    let [batch, channels] = gradient.layout().shape().dims::<2>();
    let gradient = gradient.to_contiguous();
    let gradient = gradient.as_slice::<f32>()?;
    let shares = of_planes(gradient.len() * pixels, pixels, |plane| {
        std::iter::repeat_n(gradient[plane] / pixels as f32, pixels)
    });
    Some(FlexTensor::from_data(TensorData::new(shares, [batch, channels, pixels])))
}

/// Planes of so many pixels, `length` numbers in all, by their numbers.
fn of_planes<I: Iterator<Item = f32>>(
    length: usize,
    pixels: usize,
    plane: impl Fn(usize) -> I + Sync,
) -> Vec<f32> {
    let many = (PART / pixels).max(1);
    by_parts(
        length,
        many * pixels,
        || (),
        |(), n, room| {
            room.fill_rows(
                pixels,
                #[inline(always)]
                |row| plane(n * many + row),
            )
        },
    )
}
