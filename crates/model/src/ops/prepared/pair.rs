//! A convolution of single pixels and a depthwise one of what it gives, in bands of rows: what is between them stays in the cache.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

use super::super::Pair;
use super::super::channels_last::of_pixels;
use super::super::convolution::geometry;
use super::super::geometry::Geometry;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::images::pixels;
use super::{PARTS, in_parts, written};

type FlexTensor = FloatTensor<Flex>;

/// Numbers between both of an image from which on it pays: fewer are in the cache as they are.
const LEAST: usize = 150_000;

/// Numbers between both of a band.
const BAND: usize = 1 << 16;

/// What both give, if they are such and their images are large.
pub(in super::super) fn convolve_pair(
    x: &FlexTensor,
    [first, second]: [&FlexTensor; 2],
    [first_bias, second_bias]: [&FlexTensor; 2],
    pair: &Pair,
) -> Option<FlexTensor> {
    let Pair { shapes, functions, options } = pair;
    let arranged = |n: usize, kernels: &FlexTensor| kernels.layout().shape().dims::<4>() != shapes[n];
    if !arranged(0, first) || !arranged(1, second) {
        return None;
    }
    let wide = geometry(x.layout().shape().dims::<4>(), shapes[0], &options[0])?;
    let g = geometry([wide.batch, wide.outputs, wide.out[0], wide.out[1]], shapes[1], &options[1])?;
    let (is_first, is_second) = (wide.is_pointwise() && wide.groups == 1, g.inputs * g.outputs == 1);
    if !is_first || !is_second || g.image() < LEAST {
        return None;
    }
    let (first_bias, second_bias) = (first_bias.to_contiguous(), second_bias.to_contiguous());
    let (first_bias, second_bias) = (first_bias.as_slice::<f32>()?, second_bias.as_slice::<f32>()?);
    let (first, second) = (first.as_slice::<f32>()?, second.as_slice::<f32>()?);
    let rows = rows_of_a_band(&g)?;
    let x = pixels(x, &wide)?;
    let zeros = vec![0.0; wide.inputs];
    let row = g.out[1] * g.groups;
    let out = in_parts(g.batch * g.result(), rows * row, functions[1], |n, out| {
        let (image, top) = (n * rows / g.out[0], n * rows % g.out[0]);
        let (seen, padding) = seen(&g, top, rows);
        let pixels = seen.len() * g.size[1];
        let x = &x[(image * g.area() + seen.start * g.size[1]) * wide.inputs..][..pixels * wide.inputs];
        let mut between = Vec::with_capacity(pixels * g.groups);
        let between = written(&mut between.spare_capacity_mut()[..pixels * g.groups], functions[0], |out| {
            let line = [1, pixels];
            let wide = Geometry { batch: 1, size: line, out: line, ..wide };
            Dense {
                g: &wide,
                apart: wide.inputs,
                x,
                zeros: &zeros,
                panels: first,
                bias: first_bias,
                function: functions[0],
                first: 0,
                out,
            }
            .compute();
        });
        let size = [seen.len(), g.size[1]];
        let band = Geometry { batch: 1, size, padding: [padding, g.padding[1]], out: [rows, g.out[1]], ..g };
        let (kernels, bias, function) = (second, second_bias, functions[1]);
        Depthwise { g: &band, x: between, kernels, bias, function, first: 0, out }.compute();
    });
    let dims = [g.batch, g.out[0], g.out[1], g.groups];
    Some(of_pixels(&FlexTensor::from_data(TensorData::new(out, dims))))
}

/// Rows that come out of a band: a divisor of an image's, so that none reaches into the next, and not so few that bands see much twice.
fn rows_of_a_band(g: &Geometry) -> Option<usize> {
    let [step, _] = g.stride;
    let fits = |rows: &usize| {
        let seen = (rows - 1) * step + (g.kernel[0] - 1) * g.dilation[0] + 1;
        let in_cache = seen * g.size[1] * g.groups <= BAND;
        g.out[0].is_multiple_of(*rows) && in_cache && 2 * seen <= 3 * rows * step
    };
    let most = (2 * g.batch * g.out[0] / PARTS).clamp(1, g.out[0]);
    (1..=most).rev().find(fits)
}

/// The rows that so many from the first see, and those of zeros before them.
fn seen(g: &Geometry, first: usize, rows: usize) -> (Range<usize>, usize) {
    let (first, padding) = (first * g.stride[0], g.padding[0]);
    let last = first + (rows - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0];
    let start = first.saturating_sub(padding).min(g.size[0]);
    let end = (last + 1).saturating_sub(padding).clamp(start, g.size[0]);
    (start..end, padding.saturating_sub(first))
}
