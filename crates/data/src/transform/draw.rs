//! Random numbers of the kinds that steps need.

use crate::order::SampleRng;

/// Which sample of which epoch: all that random choices depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Of the run.
    pub seed: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// Of the sample in its source.
    pub index: u64,
}

/// The numbers from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The least.
    pub low: f32,
    /// The greatest, not below `low`.
    pub high: f32,
}

impl Span {
    /// From `low` to `high`.
    #[must_use]
    pub const fn new(low: f32, high: f32) -> Self {
        Self { low, high }
    }

    /// From `-reach` to `reach`.
    #[must_use]
    pub const fn around_zero(reach: f32) -> Self {
        Self { low: -reach, high: reach }
    }

    /// One of them, all alike.
    pub(super) fn draw(self, rng: &mut SampleRng) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        low + (high - low) * f64::from(rng.unit())
    }

    /// One of them, with equal chances for equal ratios. Both ends are above 0.
    pub(super) fn draw_ratio(self, rng: &mut SampleRng) -> f64 {
        let (low, high) = (f64::from(self.low).ln(), f64::from(self.high).ln());
        (low + (high - low) * f64::from(rng.unit())).exp()
    }
}

/// A number from `0..=limit`.
pub(super) fn up_to(rng: &mut SampleRng, limit: u32) -> u32 {
    rng.below(u64::from(limit) + 1) as u32
}

/// A draw from the standard normal distribution (Box and Muller, "A note on the generation of random normal deviates", 1958).
fn normal(rng: &mut SampleRng) -> f64 {
    let radius = (-2.0 * open_unit(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * open_unit(rng)).cos()
}

/// A number above 0 and below 1, of 53 bits.
fn open_unit(rng: &mut SampleRng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// The logarithm of a draw from the gamma distribution of this shape, which is above 0 (Marsaglia and Tsang, "A simple method for
/// generating gamma variables", 2000). The draw itself would be 0 for small shapes.
fn ln_gamma_draw(rng: &mut SampleRng, shape: f64) -> f64 {
    // Small shapes come from the next larger one.
    let (shape, small) = if shape < 1.0 { (shape + 1.0, open_unit(rng).ln() / shape) } else { (shape, 0.0) };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open_unit(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + small;
        }
    }
}

/// Shares that sum to 1, from the symmetric Dirichlet distribution of this concentration.
pub(super) fn dirichlet<const PARTS: usize>(rng: &mut SampleRng, concentration: f64) -> [f64; PARTS] {
    let logs: [f64; PARTS] = std::array::from_fn(|_| ln_gamma_draw(rng, concentration));
    let largest = logs.into_iter().fold(f64::MIN, f64::max);
    let weights = logs.map(|log| (log - largest).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// A draw from the symmetric beta distribution of this concentration, in `[0, 1]`.
pub(super) fn beta(rng: &mut SampleRng, concentration: f64) -> f64 {
    let [share, _] = dirichlet(rng, concentration);
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(draw: impl Fn(&mut SampleRng) -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..20_000).map(|n| draw(&mut SampleRng::new(1, 2, n, 3))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let (mean, variance) = moments(normal);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        for alpha in [0.2, 0.8, 1.0, 4.0] {
            let (mean, variance) = moments(|rng| beta(rng, alpha));
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.02 && (variance / expected - 1.0).abs() < 0.05, "{alpha}");
            let (mean, variance) = moments(|rng| dirichlet::<3>(rng, alpha)[1]);
            let expected = (1.0 / 3.0) * (2.0 / 3.0) / (3.0 * alpha + 1.0);
            assert!((mean - 1.0 / 3.0).abs() < 0.02 && (variance / expected - 1.0).abs() < 0.05, "{alpha}");
        }
    }

    #[test]
    fn extreme_concentrations_stay_finite() {
        for alpha in [1e-6, 1e-3, 1e6] {
            assert!((0..1000).all(|n| (0.0..=1.0).contains(&beta(&mut SampleRng::new(0, 0, n, 0), alpha))));
        }
    }

    #[test]
    fn ratios_are_drawn_evenly_in_their_logarithm() {
        let span = Span::new(0.25, 4.0);
        let below = (0..10_000).filter(|&n| span.draw_ratio(&mut SampleRng::new(0, 0, n, 0)) < 1.0).count();
        assert!((4800..5200).contains(&below), "{below}");
    }
}
