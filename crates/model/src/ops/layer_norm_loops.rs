//! Layer normalization of 32-bit numbers on the CPU: rows where channels lie side by side, planes where pixels do.

use std::iter::zip;
use std::sync::OnceLock;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};

use super::normalization::vector;
use super::output::by_parts;
use super::pieces::added;
use super::simd::wide;
use super::sums::total;

type FlexTensor = FloatTensor<Flex>;

/// Numbers of rows that a thread takes at once.
const PART: usize = 1 << 15;

/// `[outer, channels, inner]` of 32-bit numbers, if there are any.
pub(super) fn dims(x: &FlexTensor) -> Option<[usize; 3]> {
    let shape = x.layout().shape();
    (x.dtype() == DType::F32 && shape.num_elements() > 0).then(|| shape.dims::<3>())
}

pub(super) fn forward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    epsilon: f64,
) -> Option<FlexTensor> {
    let dims @ [_, channels, inner] = dims(x)?;
    let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
    let (x, gamma, beta) = (x.as_slice::<f32>()?, gamma.as_slice::<f32>()?, beta.as_slice::<f32>()?);
    let out = if inner == 1 {
        let part = part_of_rows(channels);
        by_parts(
            x.len(),
            part,
            || (),
            |(), n, room| {
                let x = &x[n * part..];
                room.fill_rows(
                    channels,
                    #[inline(always)]
                    |row| {
                        let x = &x[row * channels..][..channels];
                        let [mean, inverse] = of_row(x, epsilon as f32);
                        zip(x, zip(gamma, beta))
                            .map(move |(x, (gamma, beta))| (x - mean) * inverse * gamma + beta)
                    },
                )
            },
        )
    } else {
        by_parts(x.len(), channels * inner, Planes::default, |of, n, room| {
            let x = &x[n * channels * inner..][..channels * inner];
            of.measure(x, inner, epsilon as f32);
            let of = &*of;
            room.fill_rows(
                inner,
                #[inline(always)]
                |c| {
                    let (gamma, beta) = (gamma[c], beta[c]);
                    zip(&x[c * inner..][..inner], zip(&of.mean, &of.inverse))
                        .map(move |(x, (mean, inverse))| (x - mean) * inverse * gamma + beta)
                },
            )
        })
    };
    Some(FlexTensor::from_data(TensorData::new(out, dims)))
}

/// The gradients of `x`, of gamma and of beta.
pub(super) fn backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    epsilon: f64,
    gradient: &FlexTensor,
) -> Option<[FlexTensor; 3]> {
    let dims @ [_, channels, inner] = dims(x)?;
    let (x, gamma, gradient) = (x.to_contiguous(), gamma.to_contiguous(), gradient.to_contiguous());
    let (x, gamma, gradient) = (x.as_slice::<f32>()?, gamma.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let part = if inner == 1 { part_of_rows(channels) } else { channels * inner };
    // What each part adds to the gradients of gamma and of beta, one after the other.
    let sums: Vec<OnceLock<Vec<f32>>> = vec![OnceLock::new(); x.len().div_ceil(part)];
    let of_x = by_parts(x.len(), part, Planes::default, |of, n, room| {
        let (x, gradient) = (&x[n * part..][..room.len()], &gradient[n * part..][..room.len()]);
        let mut sum = vec![0.0; 2 * channels];
        let (of_gamma, of_beta) = sum.split_at_mut(channels);
        let filled = if inner == 1 {
            room.fill_rows(
                channels,
                #[inline(always)]
                |row| {
                    let x = &x[row * channels..][..channels];
                    let gradient = &gradient[row * channels..][..channels];
                    let [mean, inverse] = of_row(x, epsilon as f32);
                    let sums = zip(of_gamma.iter_mut(), of_beta.iter_mut());
                    for ((of_gamma, of_beta), (x, gradient)) in zip(sums, zip(x, gradient)) {
                        *of_gamma += gradient * (x - mean) * inverse;
                        *of_beta += gradient;
                    }
                    let share = (channels as f32).recip();
                    let along = share
                        * inverse
                        * total([x, gradient, gamma], |[x, g, gamma]| (x - mean) * (g * gamma));
                    let middle = share * total([gradient, gamma], |[g, gamma]| g * gamma);
                    zip(x, zip(gradient, gamma)).map(move |(x, (gradient, gamma))| {
                        inverse * (gradient * gamma - middle - (x - mean) * inverse * along)
                    })
                },
            )
        } else {
            of.measure(x, inner, epsilon as f32);
            of.compare(x, inner, gamma, gradient);
            let of = &*of;
            room.fill_rows(
                inner,
                #[inline(always)]
                |c| {
                    let gamma = gamma[c];
                    let (x, gradient) = (&x[c * inner..][..inner], &gradient[c * inner..][..inner]);
                    let places = zip(&of.mean, &of.inverse);
                    of_gamma[c] = total([x, gradient, &of.mean, &of.inverse], |[x, g, mean, inverse]| {
                        g * (x - mean) * inverse
                    });
                    of_beta[c] = total([gradient], |[g]| g);
                    zip(zip(x, gradient), zip(places, zip(&of.middle, &of.along))).map(
                        move |((x, gradient), ((mean, inverse), (middle, along)))| {
                            inverse * (gradient * gamma - middle - (x - mean) * inverse * along)
                        },
                    )
                },
            )
        };
        sums[n].get_or_init(|| sum);
        filled
    });
    let mut of_gamma = added(sums.into_iter().filter_map(OnceLock::into_inner));
    let of_beta = of_gamma.split_off(channels);
    Some([FlexTensor::from_data(TensorData::new(of_x, dims)), vector(of_gamma), vector(of_beta)])
}

/// The numbers of as many whole rows as a thread takes at once.
fn part_of_rows(channels: usize) -> usize {
    (PART / channels).max(1) * channels
}

/// The mean of a row, and one by its deviation.
#[inline(always)]
fn of_row(row: &[f32], epsilon: f32) -> [f32; 2] {
    let share = (row.len() as f32).recip();
    let mean = share * total([row], |[x]| x);
    let variance = share * total([row], |[x]| (x - mean) * (x - mean));
    [mean, (variance + epsilon).sqrt().recip()]
}

/// What each pixel of an image needs.
#[derive(Debug, Default)]
struct Planes {
    mean: Vec<f32>,
    /// One by the deviation.
    inverse: Vec<f32>,
    /// The mean of gradients times gamma.
    middle: Vec<f32>,
    /// The mean of those times the normalized values.
    along: Vec<f32>,
}

impl Planes {
    /// Mean and deviation over the channels of an image.
    fn measure(&mut self, x: &[f32], pixels: usize, epsilon: f32) {
        let share = (x.len() as f32 / pixels as f32).recip();
        for all in [&mut self.mean, &mut self.inverse] {
            all.clear();
            all.resize(pixels, 0.0);
        }
        wide(
            #[inline(always)]
            || {
                for x in x.chunks_exact(pixels) {
                    for (mean, x) in zip(&mut self.mean, x) {
                        *mean += share * x;
                    }
                }
                for x in x.chunks_exact(pixels) {
                    for (sum, (mean, x)) in zip(&mut self.inverse, zip(&self.mean, x)) {
                        *sum += share * (x - mean) * (x - mean);
                    }
                }
                for variance in &mut self.inverse {
                    *variance = (*variance + epsilon).sqrt().recip();
                }
            },
        );
    }

    /// How gradients lie to the values.
    fn compare(&mut self, x: &[f32], pixels: usize, gamma: &[f32], gradient: &[f32]) {
        let share = (gamma.len() as f32).recip();
        for all in [&mut self.middle, &mut self.along] {
            all.clear();
            all.resize(pixels, 0.0);
        }
        wide(
            #[inline(always)]
            || {
                let planes = zip(x.chunks_exact(pixels), gradient.chunks_exact(pixels));
                for (gamma, (x, gradient)) in zip(gamma, planes) {
                    let gamma = share * gamma;
                    let sums = zip(&mut self.middle, &mut self.along);
                    let places = zip(&self.mean, &self.inverse);
                    for ((middle, along), ((x, gradient), (mean, inverse))) in
                        zip(sums, zip(zip(x, gradient), places))
                    {
                        let scaled = gamma * gradient;
                        *middle += scaled;
                        *along += scaled * (x - mean) * inverse;
                    }
                }
            },
        );
    }
}
