//! Means of channels and factors for them, 32-bit numbers on the CPU, in one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::channels_last::pixels;
use super::output::by_parts;
use super::simd::wide;
use super::sums::{sum, sum_of_pairs};

type FlexTensor = FloatTensor<Flex>;

/// Numbers that a thread takes at once.
const PART: usize = 1 << 14;

/// Channels that lie side by side of which a thread sums the pixels at once, and pixels of a sum in 32 bits.
const CHANNELS: usize = 64;
const PIXELS: usize = 64;

/// Batch, channels and pixels of images of 32-bit numbers, if there are any.
fn dims(x: &FlexTensor) -> Option<[usize; 3]> {
    let shape = x.layout().shape();
    let [batch, channels, height, width] = shape.dims::<4>();
    (x.dtype() == DType::F32 && shape.num_elements() > 0).then_some([batch, channels, height * width])
}

/// `x` times factors, or `x` if the loops are not for it. In place where channels lie side by side and nothing else holds the values.
pub(super) fn scale(mut x: FlexTensor, factors: &FlexTensor) -> Result<FlexTensor, FlexTensor> {
    let Some([_, channels, area]) = dims(&x) else { return Err(x) };
    let factors = factors.to_contiguous();
    let Some(factors) = factors.as_slice::<f32>() else { return Err(x) };
    if pixels(&x).is_some_and(|pixels| pixels.layout().num_elements() == pixels.storage::<f32>().len()) {
        let part = (PART / channels).max(1) * channels;
        x.storage_mut::<f32>().par_chunks_mut(part).enumerate().for_each(|(n, pixels)| {
            for (pixel, values) in (n * part / channels..).zip(pixels.chunks_exact_mut(channels)) {
                let factors = &factors[pixel / area * channels % factors.len()..][..channels];
                wide(
                    #[inline(always)]
                    || values.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor),
                );
            }
        });
        return Ok(x);
    }
    let lying = x.to_contiguous();
    let Some(values) = lying.as_slice::<f32>() else { return Err(x) };
    let scaled = of_rows(values.len(), area, |plane| {
        let factor = factors[plane % factors.len()];
        values[plane * area..][..area].iter().map(move |x| x * factor)
    });
    Ok(FlexTensor::from_data(TensorData::new(scaled, x.layout().shape().clone())))
}

pub(super) fn factors_backward(x: &FlexTensor, outer: usize, gradient: &FlexTensor) -> Option<FlexTensor> {
    let [batch, channels, area] = dims(x)?;
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (x, gradient) = (x.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let of_factor = |factor: usize| {
        // A factor is for one plane, or for that channel of every image.
        let planes = (factor..batch * channels).step_by(outer * channels);
        let sums = planes.map(|plane| {
            let [x, gradient] = [x, gradient].map(|values| &values[plane * area..][..area]);
            wide(
                #[inline(always)]
                || sum_of_pairs(x, gradient, |x, gradient| x * gradient),
            )
        });
        sums.sum::<f64>() as f32
    };
    let of_factors: Vec<f32> =
        (0..outer * channels).into_par_iter().with_min_len((PART / area).max(1)).map(of_factor).collect();
    Some(FlexTensor::from_data(TensorData::new(of_factors, [outer, channels])))
}

pub(super) fn mean(x: &FlexTensor) -> Option<FlexTensor> {
    let [batch, channels, area] = dims(x)?;
    let means: Vec<f32> = if let Some(x) = pixels(x) {
        let values = x.as_slice::<f32>()?;
        let blocks = channels.div_ceil(CHANNELS);
        let block = |n: usize| {
            let (image, first) = (n / blocks, n % blocks * CHANNELS);
            let count = CHANNELS.min(channels - first);
            means(&values[image * area * channels..][..area * channels], channels, first, count)
        };
        (0..batch * blocks).into_par_iter().flat_map_iter(block).collect()
    } else {
        let x = x.to_contiguous();
        let planes = x.as_slice::<f32>()?.par_chunks(area).with_min_len((PART / area).max(1));
        let mean = |plane: &[f32]| {
            let sum = wide(
                #[inline(always)]
                || sum(plane, |x| x),
            );
            (sum / area as f64) as f32
        };
        planes.map(mean).collect()
    };
    Some(FlexTensor::from_data(TensorData::new(means, [batch, channels])))
}

/// The means over the pixels of an image of some channels that lie side by side: in 32 bits over a few pixels, in 64 over all.
fn means(image: &[f32], channels: usize, first: usize, count: usize) -> impl Iterator<Item = f32> {
    let mut all = [0.0_f64; CHANNELS];
    for some in image.chunks(PIXELS * channels) {
        let mut sums = [0.0_f32; CHANNELS];
        wide(
            #[inline(always)]
            || {
                for pixel in some.chunks_exact(channels) {
                    for (sum, x) in sums[..count].iter_mut().zip(&pixel[first..]) {
                        *sum += x;
                    }
                }
            },
        );
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += f64::from(sum));
    }
    let pixels = (image.len() / channels) as f64;
    all.into_iter().take(count).map(move |sum| (sum / pixels) as f32)
}

pub(super) fn mean_backward(gradient: &FlexTensor, [height, width]: [usize; 2]) -> Option<FlexTensor> {
    let area = height * width;
    if gradient.dtype() != DType::F32 || area == 0 {
        return None;
    }
    let [batch, channels] = gradient.layout().shape().dims::<2>();
    let gradient = gradient.to_contiguous();
    let gradient = gradient.as_slice::<f32>()?;
    let shares = of_rows(gradient.len() * area, area, |plane| {
        std::iter::repeat_n(gradient[plane] / area as f32, area)
    });
    Some(FlexTensor::from_data(TensorData::new(shares, [batch, channels, height, width])))
}

/// Planes of so many numbers, `length` numbers in all, by their place in the row.
fn of_rows<I: Iterator<Item = f32>>(
    length: usize,
    row: usize,
    numbers: impl Fn(usize) -> I + Sync,
) -> Vec<f32> {
    let many = (PART / row).max(1);
    by_parts(
        length,
        many * row,
        || (),
        |(), n, room| {
            room.fill_rows(
                row,
                #[inline(always)]
                |row| numbers(n * many + row),
            )
        },
    )
}
