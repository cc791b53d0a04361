//! Convolutions of networks that answer, on the CPU: kernels arranged once, channels side by side, and what follows done in registers.
//!
//! Sums are over kernel rows, kernel columns and inputs in this order, from the bias on, whatever part of the work they are made in.
//!
//! One of three places with `unsafe`: what is written whole is not filled with zeros before.

#![allow(unsafe_code)]

mod dense;
mod depthwise;
mod images;
mod kernels;
mod pair;
mod panels;
#[cfg(test)]
mod tests;
mod vectors;
mod winograd;

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, TensorData};

use self::dense::Dense;
use self::depthwise::Depthwise;
use self::images::{pixels, reads_runs};
pub(super) use self::kernels::arranged;
use self::kernels::groups_together;
pub(super) use self::pair::convolve_pair;
use super::Pointwise;
use super::after::After;
use super::channels_last::of_pixels;
use super::convolution::geometry;
use super::geometry::Geometry;
use super::output::{Room, by_parts};
use super::products::Machine;

type FlexTensor = FloatTensor<Flex>;

/// Numbers of what goes in and what comes out of a part of the work.
const PART: usize = 1 << 16;

/// Parts that work is cut into, as long as they are not small.
const PARTS: usize = 8;

/// Pixels of a part that is not small.
const ENOUGH: usize = 25;

/// The function of the convolution of `x` with arranged kernels of this shape, plus `bias`: with channels side by side. There is none where there are no
/// pixels, or no places for a kernel.
///
/// # Panics
///
/// When images or biases are not of the kernels' type.
pub(super) fn convolve(
    x: &FlexTensor,
    (arranged, shape): (&FlexTensor, [usize; 4]),
    bias: &FlexTensor,
    function: Option<Pointwise>,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    assert_eq!([x.dtype(), bias.dtype()], [DType::F32; 2], "images and biases of the kernels' type");
    let g = geometry(x.layout().shape().dims::<4>(), shape, options)?;
    let is_depthwise = g.inputs == 1 && g.outputs == 1;
    let together = if is_depthwise { 1 } else { groups_together(g.groups, g.outputs) };
    let g = Geometry {
        groups: g.groups / together,
        inputs: together * g.inputs,
        outputs: together * g.outputs,
        ..g
    };
    let bias = bias.to_contiguous();
    let with =
        With { x: &pixels(x, &g)?, kernels: arranged.as_slice()?, bias: bias.as_slice()?, after: function };
    let out = if is_depthwise {
        depthwise(&g, &with)
    } else if winograd::reads(&g, with.kernels) {
        winograd::correlate(&g, &with)
    } else if g.is_pointwise() && g.batch * g.pixels() == 1 && g.groups == 1 {
        of_one_pixel(&g, &with)
    } else if g.is_pointwise() {
        // All pixels of all images in a row.
        let row = [1, g.batch * g.pixels()];
        dense(&Geometry { batch: 1, size: row, out: row, ..g }, g.groups * g.inputs, &with)
    } else if reads_runs(&g) {
        let [height, width] = g.size;
        let run = Geometry {
            inputs: g.inputs * g.kernel[1],
            size: [height, width + 2 * g.padding[1]],
            kernel: [g.kernel[0], 1],
            padding: [g.padding[0], 0],
            ..g
        };
        dense(&run, g.inputs, &with)
    } else {
        dense(&g, g.groups * g.inputs, &with)
    };
    let dims = [g.batch, g.out[0], g.out[1], g.groups * g.outputs];
    Some(of_pixels(&FlexTensor::from_data(TensorData::new(out, dims))))
}

/// What a convolution works with.
struct With<'a> {
    /// `[batch, height, width, channels]`.
    x: &'a [f32],
    kernels: &'a [f32],
    bias: &'a [f32],
    after: Option<Pointwise>,
}

fn dense(g: &Geometry, apart: usize, with: &With<'_>) -> Vec<f32> {
    let outputs = g.groups * g.outputs;
    let pixels = g.batch * g.pixels();
    let most = (PART / (apart * g.stride[1] + outputs)).max(ENOUGH);
    let many = pixels.div_ceil(PARTS).clamp(ENOUGH, most);
    let zeros = vec![0.0; g.inputs];
    in_parts(pixels * outputs, many * outputs, with.after, |n, out| {
        let &With { x, kernels: panels, bias, after: function } = with;
        Dense { g, apart, x, zeros: &zeros, panels, bias, function, first: n * many, out }.compute();
    })
}

/// The outputs of one pixel, some panels at a time.
fn of_one_pixel(g: &Geometry, with: &With<'_>) -> Vec<f32> {
    let lanes = Machine::new().lanes;
    let columns = |part: usize| part * panels::WIDE * lanes;
    // What is left has a vector of its own, or lies in one part with others.
    let fits = |part: &usize| matches!(g.outputs % columns(*part), left if left == 0 || left >= lanes);
    let parts = (g.outputs * g.inputs).div_ceil(PART).min(PARTS);
    let many = g.outputs.div_ceil(parts).div_ceil(columns(1));
    let many = (many..2 * many).find(fits).map_or(g.outputs, columns);
    let zeros = vec![0.0; g.inputs];
    in_parts(g.outputs, many, with.after, |n, out| {
        let outputs = out.len();
        let panels = &with.kernels[n * many * g.inputs..];
        let (x, bias) = (with.x, &with.bias[n * many..]);
        let g = Geometry { outputs, size: [1, 1], out: [1, 1], ..*g };
        Dense { g: &g, apart: g.inputs, x, zeros: &zeros, panels, bias, function: with.after, first: 0, out }
            .compute();
    })
}

fn depthwise(g: &Geometry, with: &With<'_>) -> Vec<f32> {
    let row = g.out[1] * g.groups;
    let rows = g.batch * g.out[0];
    let many = rows.div_ceil(PARTS).next_multiple_of(depthwise::ROWS).clamp(1, (PART / row).max(1));
    in_parts(rows * row, many * row, with.after, |n, out| {
        let &With { x, kernels, bias, after: function } = with;
        Depthwise { g, x, kernels, bias, function, first: n * many, out }.compute();
    })
}

/// `length` numbers in parts that `write` writes whole, and the function of them where it is not a quick one, which `write` has done.
fn in_parts(
    length: usize,
    part: usize,
    function: Option<Pointwise>,
    write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    by_parts(length, part, || (), |(), n, Room(room)| written(room, function, |out| write(n, out)))
}

/// What `write` writes whole, and the function of it where it is not a quick one, which `write` has done.
fn written(
    room: &mut [MaybeUninit<f32>],
    function: Option<Pointwise>,
    write: impl FnOnce(&mut [MaybeUninit<f32>]),
) -> &mut [f32] {
    write(room);
    // SAFETY: it is whole pixels, tiles cover each pixel of a part, and vectors each of its outputs: the last one ends with the last.
    let out = unsafe { room.assume_init_mut() };
    let function = function.filter(|function| !vectors::is_quick(*function));
    After { bias: None, function }.channel(0, out);
    out
}
