//! Functions with an exponential in 32 bits: sums and products alone, so that loops over them run on all lanes of a vector.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E};

/// What is added to round to a whole number: the number then lies in the last bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, the first of so few bits that its multiples are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Below it the result is taken for 0.
const LEAST: f32 = -87.336_54;

/// `exp(x)`: 2 to a whole number times the series of what is left, at most 2e-7 off for each 1 of the result. Infinite from 88.37 on, a little before
/// 32 bits end.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let bounded = x.clamp(LEAST, 88.8);
    let rounded = bounded * LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let r = fused(whole, -LN_2[1], fused(whole, -LN_2[0], bounded));
    let series =
        polynomial(r, [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0]);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < LEAST { 0.0 } else { series * power }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Φ(x), the share of a normal distribution that lies below `x`, at most 2e-7 off.
#[inline(always)]
pub(super) fn normal_share(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

/// The density of a normal distribution at `x`.
#[inline(always)]
pub(super) fn normal_density(x: f32) -> f32 {
    // 1 / sqrt(2π)
    0.398_942_3 * exp(-0.5 * x * x)
}

/// The error function: a fraction that is fitted to it up to 3.95 by least squares, weighted until all errors were alike. From 3.92 on it is 1 in 32
/// bits.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let square = x * x;
    let above = [FRAC_2_SQRT_PI, 0.191_537_58, 0.052_873_73, 3.807_600_8e-3, 2.846_727_4e-4, 2.025_978_4e-6];
    let below = [1.0, 0.503_078_44, 0.114_554_33, 0.015_053_976, 1.170_584_9e-3, 3.783_173_8e-5];
    let inside = x * polynomial(square, above) / polynomial(square, below);
    if square >= 3.92 * 3.92 { 1.0_f32.copysign(x) } else { inside }
}

/// `a · b + c`, rounded once where processors have an instruction for it.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

/// `c₀ + c₁ x + c₂ x² …`.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| fused(sum, x, *coefficient))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: f64, to: f64) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |n| (from + (to - from) * f64::from(n) / 20_000.0) as f32)
    }

    #[test]
    fn exponentials_are_those_of_64_bits() {
        for x in numbers(-87.3, 88.3) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 2e-7 * exact, "{x}: {} for {exact}", exp(x));
        }
        assert_eq!([exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)], [1.0, 0.0, 0.0]);
        assert_eq!([exp(89.0), exp(f32::INFINITY)], [f32::INFINITY; 2]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn shares_of_the_normal_distribution_are_those_of_tables() {
        // Abramowitz and Stegun, table 26.1
        let table = [
            (0.0, 0.5),
            (0.02, 0.507_978_313_716_902),
            (0.5, 0.691_462_461_274_013),
            (1.0, 0.841_344_746_068_543),
            (2.0, 0.977_249_868_051_821),
            (3.0, 0.998_650_101_968_370),
            (5.0, 0.999_999_713_348_428),
        ];
        for (x, share) in table {
            let x: f32 = x;
            assert!((f64::from(normal_share(x)) - share).abs() < 2e-7, "{x}: {}", normal_share(x));
            assert!((f64::from(normal_share(-x)) - (1.0 - share)).abs() < 2e-7, "{x}: {}", normal_share(-x));
        }
        assert_eq!([normal_share(f32::INFINITY), normal_share(f32::NEG_INFINITY)], [1.0, 0.0]);
        assert!(normal_share(f32::NAN).is_nan());
    }

    #[test]
    fn shares_grow_by_the_density() {
        for x in numbers(-4.0, 4.0) {
            let (below, above) = (f64::from(normal_share(x - 0.01)), f64::from(normal_share(x + 0.01)));
            let density = (above - below) / 0.02;
            assert!((density - f64::from(normal_density(x))).abs() < 3e-5, "{x}: {density}");
        }
    }

    #[test]
    fn sigmoids_are_those_of_64_bits() {
        for x in numbers(-100.0, 100.0) {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "{x}: {}", sigmoid(x));
        }
    }
}
