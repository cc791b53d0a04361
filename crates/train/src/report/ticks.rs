//! Where an axis has its ticks and how they are written.

use crate::plan::thousands;

/// How the value axis is chosen.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// From zero to above the largest value.
    FromZero,
    /// Percentages: from zero, or closer where all values are high, never above 100.
    Percent,
}

/// Evenly spaced ticks around the values, at least two.
pub(super) fn value_ticks(axis: Axis, values: &[f64]) -> Vec<f64> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut low, mut high) = (least.min(0.0), most.max(0.0));
    if axis == Axis::Percent && least >= 50.0 {
        // At least a point of height, or noise would look like learning.
        low = least.min(99.0);
        high = most.max(low + 1.0);
    }
    // Steps below the smallest normal number cannot be told apart.
    if high - low < 10.0 * f64::MIN_POSITIVE {
        high = low + 1.0;
    }
    let step = nice_step((high - low) / 5.0);
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
}

/// Whole epochs within the ends, both of which may lie between ticks.
pub(super) fn epoch_ticks((first, last): (f64, f64), most: f64) -> Vec<f64> {
    let step = nice_step((last - first) / most).max(1.0);
    if last - first < most {
        return (0..=(last - first) as usize).map(|i| first + i as f64).collect();
    }
    let start = (first / step).ceil();
    (0..=((last / step).floor() - start) as usize).map(|i| (start + i as f64) * step).collect()
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    if least.is_nan() || least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A tick's value with the decimals its step needs.
pub(super) fn tick_text(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    if value == 0.0 && step < 1e-4 {
        return "0".into();
    }
    if step < 1e-4 || value.abs() >= 1e6 {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 4.0) as usize;
    if decimals == 0 && value >= 1000.0 { thousands(value.round()) } else { format!("{value:.decimals$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_axis_never_passes_one_hundred() {
        for least in 0..=1000 {
            let ticks = value_ticks(Axis::Percent, &[f64::from(least) / 10.0, 100.0]);
            assert!(ticks[ticks.len() - 1] <= 100.0 + 1e-9, "{least} {ticks:?}");
            assert!((2..=8).contains(&ticks.len()), "{least} {ticks:?}");
        }
    }

    #[test]
    fn the_smallest_values_still_make_an_axis() {
        for value in [5e-324, -5e-324, f64::MIN_POSITIVE, 1e-307, 0.0] {
            let ticks = value_ticks(Axis::FromZero, &[value]);
            assert!(ticks.len() >= 2 && ticks.windows(2).all(|pair| pair[0] < pair[1]), "{value} {ticks:?}");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(value_ticks(Axis::FromZero, &[2.3]), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(epoch_ticks((1.0, 3.0), 8.0), [1.0, 2.0, 3.0]);
        assert_eq!(epoch_ticks((1.0, 60.0), 8.0), [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(epoch_ticks((7.0, 7.0), 8.0), [7.0]);
        assert_eq!(tick_text(0.30000000000000004, 0.1), "0.3");
        assert_eq!(tick_text(3.0000000000000004e-6, 1e-6), "3e-6");
        assert_eq!(tick_text(0.0, 1e-6), "0");
        assert_eq!(tick_text(20_000.0, 5_000.0), "20,000");
    }
}
