//! Functions of each value, 32-bit numbers on the CPU, in one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::Pointwise;
use super::channels_last::{of_pixels, pixels};
use super::exponential::{normal_density, normal_share, sigmoid};
use super::output::by_parts;
use super::simd::wide;

type FlexTensor = FloatTensor<Flex>;

/// Numbers that a thread takes at once.
const PART: usize = 1 << 14;

pub(super) fn forward(x: &FlexTensor, function: Pointwise) -> Option<FlexTensor> {
    match function {
        Pointwise::Relu => map(x, relu),
        Pointwise::Relu6 => map(x, |x| x.clamp(0.0, 6.0)),
        Pointwise::LeakyRelu(slope) => map(x, move |x| leaky_relu(x, slope as f32)),
        Pointwise::HardSigmoid => map(x, hard_sigmoid),
        Pointwise::HardSwish => map(x, |x| x * hard_sigmoid(x)),
        Pointwise::Sigmoid => map(x, sigmoid),
        Pointwise::Silu => map(x, |x| x * sigmoid(x)),
        Pointwise::Gelu => map(x, |x| x * normal_share(x)),
    }
}

pub(super) fn backward(x: &FlexTensor, function: Pointwise, gradient: &FlexTensor) -> Option<FlexTensor> {
    match function {
        Pointwise::Relu => zip(x, gradient, |x, g| if x <= 0.0 { 0.0 } else { g }),
        Pointwise::Relu6 => zip(x, gradient, |x, g| if x <= 0.0 || x >= 6.0 { 0.0 } else { g }),
        Pointwise::LeakyRelu(slope) => {
            let slope = slope as f32;
            zip(x, gradient, move |x, g| if x <= 0.0 { slope * g } else { g })
        }
        Pointwise::HardSigmoid => zip(x, gradient, |x, g| if x <= -3.0 || x >= 3.0 { 0.0 } else { g / 6.0 }),
        Pointwise::HardSwish => zip(x, gradient, |x, g| {
            let inside = if x <= -3.0 || x >= 3.0 { 0.0 } else { x / 6.0 };
            g * (hard_sigmoid(x) + inside)
        }),
        Pointwise::Sigmoid => zip(x, gradient, |x, g| {
            let share = sigmoid(x);
            g * share * (1.0 - share)
        }),
        Pointwise::Silu => zip(x, gradient, |x, g| {
            let share = sigmoid(x);
            g * share * (1.0 + x * (1.0 - share))
        }),
        Pointwise::Gelu => zip(x, gradient, |x, g| g * (normal_share(x) + x * normal_density(x))),
    }
}

/// `x` plus `y`, or the function of that; `x` if the loops are not for them. In place where nothing else holds the values of `x`.
pub(super) fn sum(
    mut x: FlexTensor,
    y: &FlexTensor,
    function: Option<Pointwise>,
) -> Result<FlexTensor, FlexTensor> {
    if let Some(y) = lying_as(&x, y)
        && add_in_place(&mut x, &y, function).is_some()
    {
        return Ok(x);
    }
    let sum = match function {
        None => zip(&x, y, |x, y| x + y),
        Some(Pointwise::Relu) => zip(&x, y, |x, y| relu(x + y)),
        Some(function) => zip(&x, y, |x, y| x + y).and_then(|sum| forward(&sum, function)),
    };
    sum.ok_or(x)
}

/// `y` in a row, if `x` has all of its own values in a row and in the same order.
fn lying_as(x: &FlexTensor, y: &FlexTensor) -> Option<FlexTensor> {
    if [x, y].iter().any(|tensor| tensor.dtype() != DType::F32) {
        return None;
    }
    let (in_row, y) = match pixels(x) {
        Some(_) => (true, pixels(y)?),
        None => (x.is_contiguous(), y.to_contiguous()),
    };
    (in_row && x.storage::<f32>().len() == y.layout().num_elements()).then_some(y)
}

fn add_in_place(x: &mut FlexTensor, y: &FlexTensor, function: Option<Pointwise>) -> Option<()> {
    let values = x.try_storage_mut::<f32>()?;
    values.par_chunks_mut(PART).zip(y.as_slice::<f32>()?.par_chunks(PART)).for_each(|(values, others)| {
        in_row(values, others, function);
    });
    Some(())
}

/// The function of each value, to which `bias` is added before.
pub(super) fn in_place(values: &mut [f32], bias: f32, function: Option<Pointwise>) {
    match function {
        None => change(values, move |x| x + bias),
        Some(Pointwise::Relu) => change(values, move |x| relu(x + bias)),
        Some(Pointwise::Relu6) => change(values, move |x| (x + bias).clamp(0.0, 6.0)),
        Some(Pointwise::LeakyRelu(slope)) => change(values, move |x| leaky_relu(x + bias, slope as f32)),
        Some(Pointwise::HardSigmoid) => change(values, move |x| hard_sigmoid(x + bias)),
        Some(Pointwise::HardSwish) => change(values, move |x| (x + bias) * hard_sigmoid(x + bias)),
        Some(Pointwise::Sigmoid) => change(values, move |x| sigmoid(x + bias)),
        Some(Pointwise::Silu) => change(values, move |x| (x + bias) * sigmoid(x + bias)),
        Some(Pointwise::Gelu) => change(values, move |x| (x + bias) * normal_share(x + bias)),
    }
}

/// The function of each value of a row, to which what belongs to its column is added before.
pub(super) fn in_row(values: &mut [f32], bias: &[f32], function: Option<Pointwise>) {
    match function {
        None => change_row(values, bias, |x| x),
        Some(Pointwise::Relu) => change_row(values, bias, relu),
        Some(Pointwise::Gelu) => change_row(values, bias, |x| x * normal_share(x)),
        Some(function) => {
            change_row(values, bias, |x| x);
            in_place(values, 0.0, Some(function));
        }
    }
}

fn change_row(values: &mut [f32], bias: &[f32], function: impl Fn(f32) -> f32 + Copy) {
    wide(
        #[inline(always)]
        move || {
            for (value, bias) in values.iter_mut().zip(bias) {
                *value = function(*value + *bias);
            }
        },
    );
}

/// What `function` holds it holds itself: where it would refer to a number, that could be one of the values, and no loop would be one of vectors.
fn change(values: &mut [f32], function: impl Fn(f32) -> f32 + Copy) {
    wide(
        #[inline(always)]
        move || {
            for value in values.iter_mut() {
                *value = function(*value);
            }
        },
    );
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn leaky_relu(x: f32, slope: f32) -> f32 {
    if x < 0.0 { slope * x } else { x }
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)
}

fn map(x: &FlexTensor, function: impl Fn(f32) -> f32 + Copy + Sync) -> Option<FlexTensor> {
    if let Some(x) = pixels(x) {
        return map(&x, function).as_ref().map(of_pixels);
    }
    if x.dtype() != DType::F32 {
        return None;
    }
    let x = x.to_contiguous();
    let values = x.as_slice::<f32>()?;
    let out = by_parts(
        values.len(),
        PART,
        || (),
        |(), n, room| room.fill(&values[n * PART..].iter().map(|x| function(*x))),
    );
    Some(tensor(&x, out))
}

fn zip(
    x: &FlexTensor,
    y: &FlexTensor,
    function: impl Fn(f32, f32) -> f32 + Copy + Sync,
) -> Option<FlexTensor> {
    if let (Some(x), Some(y)) = (pixels(x), pixels(y)) {
        return zip(&x, &y, function).as_ref().map(of_pixels);
    }
    if [x, y].iter().any(|tensor| tensor.dtype() != DType::F32) {
        return None;
    }
    let (x, y) = (x.to_contiguous(), y.to_contiguous());
    let (left, right) = (x.as_slice::<f32>()?, y.as_slice::<f32>()?);
    let out = by_parts(
        left.len(),
        PART,
        || (),
        |(), n, room| {
            room.fill(&left[n * PART..].iter().zip(&right[n * PART..]).map(|(x, y)| function(*x, *y)))
        },
    );
    Some(tensor(&x, out))
}

fn tensor(like: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.layout().shape().clone()))
}
