//! Convolutions of 32-bit numbers on the CPU: which way is the fastest for a shape.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, TensorData};

use super::Pointwise;
use super::after::After;
use super::geometry::Geometry;
use super::normalization::{images, vector};
use super::output::by_chunks;
use super::sums::of_channels;
use super::{depthwise, direct, direct_weight, few_pixels, one_by_one, unfolded, winograd};

type FlexTensor = FloatTensor<Flex>;

/// The geometry of a convolution of such images with such kernels that is worth it; the rest is Burn's.
pub(super) fn geometry(
    [batch, channels, height, width]: [usize; 4],
    [outputs, inputs, down, along]: [usize; 4],
    options: &ConvOptions<2>,
) -> Option<Geometry> {
    let (size, kernel, padding) = ([height, width], [down, along], options.padding_begin());
    let mut out = [0; 2];
    for (n, out) in out.iter_mut().enumerate() {
        let seen = options.dilation[n] * kernel[n].checked_sub(1)? + 1;
        *out = (size[n] + 2 * padding[n]).checked_sub(seen)? / options.stride[n].max(1) + 1;
    }
    let is_plain = !options.is_asymmetric()
        && batch * channels * height * width * outputs * inputs > 0
        && options.stride.iter().chain(&options.dilation).all(|&step| step > 0);
    // Burn has loops for kernels that see one channel of many and give several.
    let is_known = inputs > 1 || options.groups == 1 || outputs == options.groups;
    (is_plain && is_known).then(|| Geometry {
        batch,
        groups: options.groups,
        inputs,
        outputs: outputs / options.groups,
        size,
        kernel,
        stride: options.stride,
        padding,
        dilation: options.dilation,
        out,
    })
}

/// The shape of images or kernels of 32-bit numbers.
fn shape_of(x: &FlexTensor) -> Option<[usize; 4]> {
    (x.dtype() == DType::F32).then(|| x.layout().shape().dims::<4>())
}

pub(super) fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    function: Option<Pointwise>,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let g = geometry(shape_of(x)?, shape_of(weight)?, options)?;
    let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.map(FlexTensor::to_contiguous));
    let bias = match &bias {
        Some(bias) => Some(bias.as_slice::<f32>()?),
        None => None,
    };
    let out = correlate(&g, x.as_slice()?, weight.as_slice()?, After { bias, function });
    Some(tensor(out, [g.batch, g.groups * g.outputs, g.out[0], g.out[1]]))
}

pub(super) fn x_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    gradient: &FlexTensor,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let g = geometry(shape_of(x)?, shape_of(weight)?, options)?;
    let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
    let (weight, gradient) = (weight.as_slice()?, gradient.as_slice()?);
    let of_x = if one_by_one::is_one(&g) {
        one_by_one::spread(&g, gradient, weight)
    } else if let Some(reversed) = g.reversed() {
        correlate(&reversed, gradient, &reversed_kernels(&g, weight), After::NOTHING)
    } else if depthwise::is_one(&g) {
        depthwise::spread(&g, gradient, weight)
    } else {
        unfolded::spread(&g, gradient, weight)
    };
    Some(tensor(of_x, [g.batch, g.groups * g.inputs, g.size[0], g.size[1]]))
}

pub(super) fn weight_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    gradient: &FlexTensor,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let g = geometry(shape_of(x)?, shape_of(weight)?, options)?;
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (x, gradient) = (x.as_slice()?, gradient.as_slice()?);
    let of_weight = if depthwise::is_one(&g) {
        depthwise::compare(&g, x, gradient)
    } else if one_by_one::is_one(&g) {
        one_by_one::compare(&g, x, gradient)
    } else if few_pixels::is_worth_it(&g) {
        few_pixels::compare(&g, x, gradient)
    } else if winograd::is_worth_it(&g) {
        winograd::compare(&g, x, gradient)
    } else if direct::is_worth_it(&g) {
        direct_weight::compare(&g, x, gradient)
    } else {
        unfolded::compare(&g, x, gradient)
    };
    Some(tensor(of_weight, [g.groups * g.outputs, g.inputs, g.kernel[0], g.kernel[1]]))
}

pub(super) fn bias_backward(gradient: &FlexTensor) -> Option<FlexTensor> {
    let [_, channels, pixels] = images(gradient)?;
    Some(vector(of_channels(gradient.to_contiguous().as_slice()?, channels, pixels)))
}

fn tensor(values: Vec<f32>, shape: [usize; 4]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The convolution itself.
fn correlate(g: &Geometry, x: &[f32], weight: &[f32], after: After<'_>) -> Vec<f32> {
    if depthwise::is_one(g) {
        depthwise::correlate(g, x, weight, after)
    } else if one_by_one::is_one(g) {
        one_by_one::correlate(g, x, weight, after)
    } else if few_pixels::is_worth_it(g) {
        few_pixels::correlate(g, x, weight, after)
    } else if winograd::is_worth_it(g) {
        winograd::correlate(g, x, weight, after)
    } else if direct::is_worth_it(g) {
        direct::correlate(g, x, weight, after)
    } else {
        unfolded::correlate(g, x, weight, after)
    }
}

/// The kernels of [`Geometry::reversed`]: turned half round, inputs and outputs exchanged.
fn reversed_kernels(g: &Geometry, weight: &[f32]) -> Vec<f32> {
    let elements = g.elements();
    by_chunks(
        weight.len(),
        g.outputs * elements,
        || (),
        |(), n, reversed| {
            let (group, input) = (n / g.inputs, n % g.inputs);
            let kernels = weight[group * g.outputs * g.patch()..].chunks_exact(g.patch());
            for (reversed, kernel) in reversed.chunks_exact_mut(elements).zip(kernels) {
                let kernel = &kernel[input * elements..][..elements];
                for (to, from) in reversed.iter_mut().zip(kernel.iter().rev()) {
                    *to = *from;
                }
            }
        },
    )
}
