//! Random operations of a common strength, or of a random one.

use super::policy::{FOURTEEN, Moving, Op, Strengths};
use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::{Scene, Transform};
use crate::order::SampleRng;
use crate::resize::Filter;

/// The steps from no strength to full strength: 31 values.
pub(super) const STEPS: u32 = 30;

/// Does `n` operations, each at random one of 14, all equally strong (Cubuk et al., "RandAugment: practical automated data augmentation
/// with a reduced search space", 2020). torchvision's `RandAugment`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandAugment {
    /// Operations one after the other.
    pub n: u32,
    /// The strength, 0 to 30.
    pub magnitude: u32,
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { n: 2, magnitude: 9, p: 1.0, filter: Filter::Nearest, fill: 0 }
    }
}

impl Described for RandAugment {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.count("n", &mut self.n, 0..=16);
        a.count("magnitude", &mut self.magnitude, 0..=STEPS);
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

impl Transform for RandAugment {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let strength = f64::from(self.magnitude) / f64::from(STEPS);
        let full = moderate(scene.size());
        for _ in 0..self.n {
            let op = any(&FOURTEEN, rng);
            let magnitude = op.draw(strength, &full, rng);
            op.apply(magnitude, scene, Moving { filter: self.filter, fill: self.fill });
        }
    }
}

/// Does one operation, at random one of 14, at a random strength (Müller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art
/// data augmentation", 2021, its wide space). torchvision's `TrivialAugmentWide`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrivialAugmentWide {
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

impl Default for TrivialAugmentWide {
    fn default() -> Self {
        Self { p: 1.0, filter: Filter::Nearest, fill: 0 }
    }
}

impl Described for TrivialAugmentWide {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

/// The wide space: pixels are counted, whatever the picture's size.
const WIDE: Strengths =
    Strengths { shear: 0.99, translate: [32.0; 2], rotate: 135.0, enhance: 0.99, posterize: [8.0, 6.0] };

impl Transform for TrivialAugmentWide {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let op = any(&FOURTEEN, rng);
        let strength = rng.below(u64::from(STEPS) + 1) as f64 / f64::from(STEPS);
        let magnitude = op.draw(strength, &WIDE, rng);
        op.apply(magnitude, scene, Moving { filter: self.filter, fill: self.fill });
    }
}

/// One of the operations.
pub(super) fn any(ops: &[Op], rng: &mut SampleRng) -> Op {
    ops.get(rng.below(ops.len() as u64) as usize).copied().unwrap_or(Op::Identity)
}

/// The full strengths of RandAugment and AutoAugment for a picture of this size.
pub(super) fn moderate((width, height): (u32, u32)) -> Strengths {
    // 150 pixels of the pictures of 331 that the policies were found on.
    let translate = [width, height].map(|side| 150.0 / 331.0 * f64::from(side));
    Strengths { shear: 0.3, translate, rotate: 30.0, enhance: 0.9, posterize: [8.0, 4.0] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    #[test]
    fn no_operations_change_nothing_and_two_change_most_pictures() {
        let image = Image::new(32, 24, 3, (0..2304).map(|v| (v * 31 % 251) as u8).collect());
        let changed = |n, magnitude| {
            let step = RandAugment { n, magnitude, ..RandAugment::default() };
            let changes = (0..200).filter(|&index| {
                let mut scene = Scene::from(image.clone());
                step.apply(&mut scene, &mut SampleRng::new(0, 0, index, 0));
                scene.image != image
            });
            changes.count()
        };
        assert_eq!(changed(0, 30), 0);
        // Doing nothing twice is one of 196.
        assert!(changed(2, 20) >= 190, "{}", changed(2, 20));
        // At no strength only the two operations that have none change anything.
        assert!((30..80).contains(&changed(2, 0)), "{}", changed(2, 0));
    }

    #[test]
    fn the_operations_are_equally_frequent() {
        let mut counts = [0; 14];
        for n in 0..14_000 {
            let op = any(&FOURTEEN, &mut SampleRng::new(0, 0, n, 0));
            counts[FOURTEEN.iter().position(|known| *known == op).unwrap()] += 1;
        }
        assert!(counts.iter().all(|n| (880..1120).contains(n)), "{counts:?}");
    }
}
