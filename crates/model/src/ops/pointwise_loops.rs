//! Functions of each value, 32-bit numbers on the CPU, in one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::Pointwise;
use super::simd::wide;

type FlexTensor = FloatTensor<Flex>;

/// Numbers that are computed together.
const TOGETHER: usize = 16;

/// Groups of them that a thread takes at least.
const LEAST: usize = 1 << 10;

pub(super) fn forward(x: &FlexTensor, function: Pointwise) -> Option<FlexTensor> {
    match function {
        Pointwise::Relu => map(x, relu),
        Pointwise::Relu6 => map(x, |x| x.clamp(0.0, 6.0)),
        Pointwise::LeakyRelu(slope) => map(x, move |x| leaky_relu(x, slope as f32)),
        Pointwise::HardSigmoid => map(x, hard_sigmoid),
        Pointwise::HardSwish => map(x, |x| x * hard_sigmoid(x)),
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
    }
}

/// The function of each value, to which `bias` is added before.
pub(super) fn in_place(values: &mut [f32], bias: f32, function: Option<Pointwise>) {
    match function {
        None => change(values, |x| x + bias),
        Some(Pointwise::Relu) => change(values, |x| relu(x + bias)),
        Some(Pointwise::Relu6) => change(values, |x| (x + bias).clamp(0.0, 6.0)),
        Some(Pointwise::LeakyRelu(slope)) => change(values, |x| leaky_relu(x + bias, slope as f32)),
        Some(Pointwise::HardSigmoid) => change(values, |x| hard_sigmoid(x + bias)),
        Some(Pointwise::HardSwish) => change(values, |x| (x + bias) * hard_sigmoid(x + bias)),
    }
}

fn change(values: &mut [f32], function: impl Fn(f32) -> f32) {
    wide(
        #[inline(always)]
        || values.iter_mut().for_each(|value| *value = function(*value)),
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
    (x / 6.0 + 0.5).clamp(0.0, 1.0)
}

fn map(x: &FlexTensor, function: impl Fn(f32) -> f32 + Sync) -> Option<FlexTensor> {
    if x.dtype() != DType::F32 {
        return None;
    }
    let x = x.to_contiguous();
    let values = x.as_slice::<f32>()?;
    // Groups are written where they belong, without zeros before.
    let groups = values.par_chunks(TOGETHER).with_min_len(LEAST).map(|values| filled(values).map(&function));
    Some(tensor(&x, groups.collect()))
}

fn zip(x: &FlexTensor, y: &FlexTensor, function: impl Fn(f32, f32) -> f32 + Sync) -> Option<FlexTensor> {
    if [x, y].iter().any(|tensor| tensor.dtype() != DType::F32) {
        return None;
    }
    let (x, y) = (x.to_contiguous(), y.to_contiguous());
    let pairs = x.as_slice::<f32>()?.par_chunks(TOGETHER).zip(y.as_slice::<f32>()?.par_chunks(TOGETHER));
    let groups = pairs.with_min_len(LEAST).map(|(x, y)| {
        let (x, y) = (filled(x), filled(y));
        std::array::from_fn(|n| function(x[n], y[n]))
    });
    Some(tensor(&x, groups.collect()))
}

/// A group, with zeros after the last numbers.
fn filled(values: &[f32]) -> [f32; TOGETHER] {
    values.try_into().unwrap_or_else(|_| {
        let mut group = [0.0; TOGETHER];
        group[..values.len()].copy_from_slice(values);
        group
    })
}

fn tensor(like: &FlexTensor, groups: Vec<[f32; TOGETHER]>) -> FlexTensor {
    let shape = like.layout().shape().clone();
    let mut values = groups.into_flattened();
    values.truncate(shape.num_elements());
    FlexTensor::from_data(TensorData::new(values, shape))
}
