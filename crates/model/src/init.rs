//! Starting values that are the same on every backend.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};

/// Draws starting values from a seed, on the host: backends have random generators of their own, and a network
/// must start from the same weights on all of them.
///
/// Every parameter has a stream of its own, numbered in the order of construction. Values are drawn when a parameter
/// is first used, so that loading a file costs no drawing.
#[derive(Debug, Clone)]
pub struct InitRng {
    seed: u64,
    stream: u64,
}

/// A distribution of starting values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Draw {
    Constant(f32),
    /// Uniform in `-bound..bound`.
    Uniform {
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        std: f64,
    },
}

impl InitRng {
    /// The generator of a seed, before its first parameter.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    /// The next parameter: `shape`, distributed as `draw`.
    pub(crate) fn param<const D: usize>(
        &mut self,
        shape: [usize; D],
        draw: Draw,
        device: &Device,
    ) -> Param<Tensor<D>> {
        self.stream += 1;
        let key = mix(mix(self.seed) ^ self.stream);
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let tensor = Tensor::from_data(
                    TensorData::new(values(draw, key, shape.iter().product()), shape),
                    device,
                );
                if require_grad { tensor.require_grad() } else { tensor }
            },
            device.clone(),
            true,
            Shape::from(shape),
        )
    }
}

fn values(draw: Draw, key: u64, count: usize) -> Vec<f32> {
    match draw {
        Draw::Constant(value) => vec![value; count],
        Draw::Uniform { bound } => {
            (0..count as u64).map(|n| ((2.0 * unit(key, n) - 1.0) * bound) as f32).collect()
        }
        // Box-Muller; the second half of each pair is not used, which keeps value n a function of n.
        Draw::Normal { std } => (0..count as u64)
            .map(|n| {
                let radius = (-2.0 * (1.0 - unit(key, 2 * n)).ln()).sqrt();
                (radius * (std::f64::consts::TAU * unit(key, 2 * n + 1)).cos() * std) as f32
            })
            .collect(),
    }
}

/// Value `n` of stream `key`, in `[0, 1)`.
pub(crate) fn unit(key: u64, n: u64) -> f64 {
    (mix(key.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))) >> 11) as f64 / (1u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let moments = |values: &[f32]| {
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            (mean, (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt())
        };
        let (mean, std) = moments(&values(Draw::Uniform { bound: 3f64.sqrt() }, 1, 100_000));
        assert!(mean.abs() < 0.01 && (std - 1.0).abs() < 0.01, "{mean} {std}");
        let (mean, std) = moments(&values(Draw::Normal { std: 2.0 }, 2, 100_000));
        assert!(mean.abs() < 0.02 && (std - 2.0).abs() < 0.02, "{mean} {std}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = Draw::Uniform { bound: 1.0 };
        assert_eq!(values(draw, 5, 8), values(draw, 5, 8));
        assert_ne!(values(draw, 5, 8), values(draw, 6, 8));
    }
}
