//! The highest values of windows, of 32-bit numbers on the CPU: a window's elements one after the other, along whole rows.

use burn::backend::Flex;
use burn::backend::ops::conv::calculate_pool_output_size;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::normalization::images;
use super::output::by_parts;
use super::patches::outputs_that_see;
use super::simd::wide;
use super::{Window, channels_last};

type FlexTensor = FloatTensor<Flex>;

/// The highest value of each window of a tensor whose channels lie side by side, as those of what comes out do. NaN is higher than everything.
pub(super) fn of_pixels(x: &FlexTensor, window: Window) -> Option<FlexTensor> {
    let [batch, channels, _] = images(x)?;
    let [_, _, height, width] = x.layout().shape().dims::<4>();
    let [rows, columns] = out_size([height, width], window)?;
    let x = channels_last::pixels(x)?;
    let values = x.as_slice::<f32>()?;
    let row = columns * channels;
    let out = by_parts(
        batch * rows * row,
        row,
        || (),
        |(), n, room| {
            let out = room.fill(&std::iter::repeat(f32::NEG_INFINITY));
            let image = &values[n / rows * height * width * channels..];
            for (column, pixel) in out.chunks_exact_mut(channels).enumerate() {
                for (y, x) in seen(window, [n % rows, column], [height, width]) {
                    let seen = &image[(y * width + x) * channels..][..channels];
                    wide(
                        #[inline(always)]
                        || {
                            for (highest, x) in pixel.iter_mut().zip(seen) {
                                *highest = if *x > *highest || x.is_nan() { *x } else { *highest };
                            }
                        },
                    );
                }
            }
            out
        },
    );
    let out = FlexTensor::from_data(TensorData::new(out, [batch, rows, columns, channels]));
    Some(channels_last::of_pixels(&out))
}

/// The pixels inside an image of this size that an output sees.
fn seen(window: Window, out: [usize; 2], size: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    let Window { kernel, stride, padding, .. } = window;
    let range = |n: usize| {
        let first = out[n] * stride[n];
        first.saturating_sub(padding[n])..(first + kernel[n]).saturating_sub(padding[n]).min(size[n])
    };
    let (rows, columns) = (range(0), range(1));
    rows.flat_map(move |y| columns.clone().map(move |x| (y, x)))
}

/// Height and width of what comes out, unless Burn says what is wrong.
fn out_size(size: [usize; 2], Window { kernel, stride, padding, ceil }: Window) -> Option<[usize; 2]> {
    let reaches = |n: usize| size[n] + 2 * padding[n] >= kernel[n];
    if stride.contains(&0) || kernel.contains(&0) || !reaches(0) || !reaches(1) {
        return None;
    }
    let of = |n: usize| calculate_pool_output_size(kernel[n], stride[n], padding[n], 1, size[n], ceil);
    Some([of(0), of(1)])
}

/// The highest value of each window, and where in its channel it is. NaN is higher than everything, as in PyTorch; of equals the first counts.
pub(super) fn forward(x: &FlexTensor, window: Window) -> Option<(FlexTensor, IntTensor<Flex>)> {
    let [batch, channels, _] = images(x)?;
    let [_, _, height, width] = x.layout().shape().dims::<4>();
    let out_size = out_size([height, width], window)?;
    let pixels = out_size[0] * out_size[1];
    let x = x.to_contiguous();
    let values = x.as_slice::<f32>()?;
    let mut out = vec![f32::NEG_INFINITY; batch * channels * pixels];
    let mut places = vec![0_i32; out.len()];
    let works = out.par_chunks_mut(channels * pixels).zip(places.par_chunks_mut(channels * pixels));
    works.zip(values.par_chunks(channels * height * width)).for_each(|((out, places), values)| {
        wide(
            #[inline(always)]
            || {
                let planes = out.chunks_exact_mut(pixels).zip(places.chunks_exact_mut(pixels));
                for ((out, places), plane) in planes.zip(values.chunks_exact(height * width)) {
                    highest(plane, [height, width], window, (out, places), out_size);
                }
            },
        );
    });
    let shape = [batch, channels, out_size[0], out_size[1]];
    let tensor = FlexTensor::from_data(TensorData::new(out, shape));
    Some((tensor, IntTensor::<Flex>::from_data(TensorData::new(places, shape))))
}

/// One channel of one image.
#[inline(always)]
fn highest(
    plane: &[f32],
    [height, width]: [usize; 2],
    window: Window,
    (out, places): (&mut [f32], &mut [i32]),
    [_, out_width]: [usize; 2],
) {
    let Window { kernel, stride, padding, .. } = window;
    let rows = out.chunks_exact_mut(out_width).zip(places.chunks_exact_mut(out_width));
    for (row, (out, places)) in rows.enumerate() {
        for i in 0..kernel[0] {
            let y = (row * stride[0] + i).checked_sub(padding[0]).filter(|&y| y < height);
            let Some(y) = y else { continue };
            for j in 0..kernel[1] {
                let seen = outputs_that_see(out_width, width, stride[1], padding[1], j);
                if seen.is_empty() {
                    continue;
                }
                let first = y * width + seen.start * stride[1] + j - padding[1];
                let highest = (&mut out[seen.clone()], &mut places[seen]);
                match stride[1] {
                    // Known steps become vector instructions.
                    1 => raise::<1>(highest, &plane[first..], first as i32),
                    2 => raise::<2>(highest, &plane[first..], first as i32),
                    3 => raise::<3>(highest, &plane[first..], first as i32),
                    stride => {
                        let pixels = plane[first..].iter().step_by(stride);
                        let places = (first as i32..).step_by(stride);
                        let highest = highest.0.iter_mut().zip(highest.1);
                        for ((highest, value), place) in highest.zip(pixels).zip(places) {
                            raise_one(highest, *value, place);
                        }
                    }
                }
            }
        }
    }
}

/// Takes in every `STEP`th of `pixels`, of which the first is at `place`.
#[inline(always)]
fn raise<const STEP: usize>((out, places): (&mut [f32], &mut [i32]), pixels: &[f32], place: i32) {
    let (whole, rest) = pixels.as_chunks::<STEP>();
    let mut at = place;
    for ((out, place), value) in out.iter_mut().zip(places.iter_mut()).zip(whole) {
        raise_one((out, place), value[0], at);
        at += STEP as i32;
    }
    if let (Some(out), Some(at), Some(value)) =
        (out.get_mut(whole.len()), places.get_mut(whole.len()), rest.first())
    {
        raise_one((out, at), *value, place + (whole.len() * STEP) as i32);
    }
}

#[inline(always)]
fn raise_one((highest, place): (&mut f32, &mut i32), value: f32, at: i32) {
    let is_higher = value > *highest || value.is_nan();
    *highest = if is_higher { value } else { *highest };
    *place = if is_higher { at } else { *place };
}

/// The gradient of what went in: that of each window belongs to its highest value.
pub(super) fn backward(
    x: &FlexTensor,
    gradient: &FlexTensor,
    places: &IntTensor<Flex>,
) -> Option<FlexTensor> {
    let [batch, channels, area] = images(x)?;
    let [_, _, pixels] = images(gradient)?;
    let (gradient, places) = (gradient.to_contiguous(), places.to_contiguous());
    let (gradients, places) = (gradient.as_slice::<f32>()?, places.as_slice::<i32>()?);
    let mut of_x = vec![0.0; batch * channels * area];
    let works = of_x.par_chunks_mut(channels * area).zip(gradients.par_chunks(channels * pixels));
    works.zip(places.par_chunks(channels * pixels)).for_each(|((of_x, gradients), places)| {
        let planes = of_x.chunks_exact_mut(area).zip(gradients.chunks_exact(pixels));
        for ((of_x, gradients), places) in planes.zip(places.chunks_exact(pixels)) {
            for (gradient, place) in gradients.iter().zip(places) {
                of_x[*place as usize] += gradient;
            }
        }
    });
    Some(FlexTensor::from_data(TensorData::new(of_x, x.layout().shape().clone())))
}
