//! Batch normalization of 32-bit numbers on the CPU: two passes for the statistics, one for what comes out, and as many back.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::output::by_parts;
use super::simd::wide;
use super::sums::{channel, of_channel, sum, sum_of_pairs};

type FlexTensor = FloatTensor<Flex>;

/// What comes out, and the mean and the variance of each channel.
pub(super) fn forward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    epsilon: f64,
) -> Option<[FlexTensor; 3]> {
    let shape @ [_, channels, pixels] = images(x)?;
    let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
    let (values, gamma, beta) = (x.as_slice::<f32>()?, gamma.as_slice::<f32>()?, beta.as_slice::<f32>()?);
    let statistics: Vec<[f32; 2]> =
        (0..channels).into_par_iter().map(|c| mean_and_variance(values, shape, c)).collect();
    let scales: Vec<f32> = statistics
        .iter()
        .zip(gamma)
        .map(|([_, variance], gamma)| gamma * inverse(*variance, epsilon))
        .collect();
    let out = by_parts(
        values.len(),
        channels * pixels,
        || (),
        |(), n, room| {
            let values = &values[n * channels * pixels..];
            room.fill_rows(
                pixels,
                #[inline(always)]
                |c| {
                    let (mean, scale, beta) = (statistics[c][0], scales[c], beta[c]);
                    values[c * pixels..][..pixels].iter().map(move |value| (value - mean) * scale + beta)
                },
            )
        },
    );
    let of_channels = |n: usize| vector(statistics.iter().map(|both| both[n]).collect());
    let out = FlexTensor::from_data(TensorData::new(out, x.layout().shape().clone()));
    Some([out, of_channels(0), of_channels(1)])
}

/// The gradients of input, `gamma` and `beta`.
pub(super) fn backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    [mean, variance]: [&FlexTensor; 2],
    epsilon: f64,
    gradient: &FlexTensor,
) -> Option<[FlexTensor; 3]> {
    let [batch, channels, pixels] = images(x)?;
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (gamma, mean, variance) = (gamma.to_contiguous(), mean.to_contiguous(), variance.to_contiguous());
    let (values, gradients) = (x.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let (gamma, mean, variance) =
        (gamma.as_slice::<f32>()?, mean.as_slice::<f32>()?, variance.as_slice::<f32>()?);
    // For each channel the sums of the gradient, and of the gradient times the normalized input.
    let sums: Vec<[f64; 2]> = (0..channels)
        .into_par_iter()
        .map(|c| {
            let of = |x| channel(x, channels, pixels, c);
            wide(
                #[inline(always)]
                || {
                    let mean = mean[c];
                    let [mut plain, mut times] = [0.0; 2];
                    for (g, x) in of(gradients).zip(of(values)) {
                        plain += sum(g, |g| g);
                        times += sum_of_pairs(g, x, |g, x| g * (x - mean));
                    }
                    [plain, times * f64::from(inverse(variance[c], epsilon))]
                },
            )
        })
        .collect();
    let count = (batch * pixels) as f64;
    let of_x = by_parts(
        values.len(),
        channels * pixels,
        || (),
        |(), n, room| {
            let (values, gradients) = (&values[n * channels * pixels..], &gradients[n * channels * pixels..]);
            room.fill_rows(
                pixels,
                #[inline(always)]
                |c| {
                    let (mean, inverse) = (mean[c], inverse(variance[c], epsilon));
                    let scale = gamma[c] * inverse;
                    let [plain, times] = sums[c].map(|sum| sum / count);
                    let (plain, times) = (plain as f32, (times * f64::from(inverse)) as f32);
                    let pairs = gradients[c * pixels..][..pixels].iter().zip(&values[c * pixels..][..pixels]);
                    pairs.map(move |(gradient, value)| (gradient - plain - (value - mean) * times) * scale)
                },
            )
        },
    );
    let of_x = FlexTensor::from_data(TensorData::new(of_x, x.layout().shape().clone()));
    let of_channels = |n: usize| vector(sums.iter().map(|both| both[n] as f32).collect());
    Some([of_x, of_channels(1), of_channels(0)])
}

/// Batch, channels and pixels of images that this is for.
pub(super) fn images(x: &FlexTensor) -> Option<[usize; 3]> {
    let shape = x.layout().shape();
    let is_plain = x.dtype() == DType::F32 && shape.num_dims() == 4 && shape.num_elements() > 0;
    is_plain.then(|| {
        let [batch, channels, height, width] = shape.dims();
        [batch, channels, height * width]
    })
}

fn inverse(variance: f32, epsilon: f64) -> f32 {
    (f64::from(variance) + epsilon).sqrt().recip() as f32
}

/// Corrected two-pass statistics (Chan, Golub and LeVeque, 1983): deviations from a mean that is a little off are corrected by their own mean,
/// since deep networks would amplify its rounding error.
fn mean_and_variance(x: &[f32], [batch, channels, pixels]: [usize; 3], c: usize) -> [f32; 2] {
    let count = (batch * pixels) as f64;
    wide(
        #[inline(always)]
        || {
            let center = (of_channel(x, channels, pixels, c) / count) as f32;
            let [mut off, mut squares] = [0.0; 2];
            for plane in channel(x, channels, pixels, c) {
                off += sum(plane, |value| value - center);
                squares += sum(plane, |value| (value - center) * (value - center));
            }
            let off = off / count;
            [(f64::from(center) + off) as f32, (squares / count - off * off).max(0.0) as f32]
        },
    )
}

/// A tensor of one dimension.
pub(super) fn vector(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    FlexTensor::from_data(TensorData::new(values, [length]))
}
