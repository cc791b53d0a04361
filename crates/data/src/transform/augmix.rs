//! A picture mixed with changed copies of itself.

use super::draw::dirichlet;
use super::policy::{FOURTEEN, Moving, Strengths};
use super::rand_augment::any;
use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::{Scene, Transform};
use crate::order::SampleRng;
use crate::resize::Filter;

/// Mixes the picture with three copies that each went through a chain of random operations; the weights are random too (Hendrycks et al.,
/// "AugMix: a simple data processing method to improve robustness and uncertainty", 2020). torchvision's `AugMix`.
///
/// What is marked on the picture stays where it is: the picture itself is part of the mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugMix {
    /// The strongest operations, 1 to 10.
    pub severity: u32,
    /// Operations in a chain; 0 for 1 to 3 by chance.
    pub depth: u32,
    /// The concentration of the weights' distributions: large for equal weights.
    pub alpha: f32,
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

/// Copies.
const WIDTH: usize = 3;
/// Strengths are tenths of full strength, of which there are ten.
const LEVELS: u32 = 10;

impl Default for AugMix {
    fn default() -> Self {
        Self { severity: 3, depth: 0, alpha: 1.0, p: 1.0, filter: Filter::Bilinear, fill: 0 }
    }
}

impl Described for AugMix {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.count("severity", &mut self.severity, 1..=LEVELS);
        a.count("depth", &mut self.depth, 0..=16);
        a.number("alpha", &mut self.alpha, 0.001..=1000.0);
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

impl Transform for AugMix {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let (width, height) = scene.size();
        let translate = [f64::from(width) / 3.0, f64::from(height) / 3.0];
        let full = Strengths { shear: 0.3, translate, rotate: 30.0, enhance: 0.9, posterize: [4.0, 4.0] };
        let moving = Moving { filter: self.filter, fill: self.fill };
        let alpha = f64::from(self.alpha);
        let [own, others]: [f64; 2] = dirichlet(rng, alpha);
        let weights: [f64; WIDTH] = dirichlet(rng, alpha);
        let mut sum: Vec<f32> = scene.image.pixels().iter().map(|v| own as f32 * f32::from(*v)).collect();
        // The first of the 14 is to do nothing, which a mixture has no need of.
        let ops = FOURTEEN.split_first().map_or(&FOURTEEN[..], |(_, rest)| rest);
        for weight in weights {
            let mut copy = Scene::from(scene.image.clone());
            let depth = if self.depth > 0 { self.depth } else { 1 + rng.below(3) as u32 };
            for _ in 0..depth {
                let op = any(ops, rng);
                let strength = rng.below(u64::from(self.severity)) as f64 / f64::from(LEVELS - 1);
                let magnitude = op.draw(strength, &full, rng);
                op.apply(magnitude, &mut copy, moving);
            }
            let weight = (others * weight) as f32;
            for (sum, value) in sum.iter_mut().zip(copy.image.pixels()) {
                *sum += weight * f32::from(*value);
            }
        }
        // Weights sum to 1 but for rounding: an even picture must stay even.
        for (value, sum) in scene.image.pixels_mut().iter_mut().zip(sum) {
            *value = (sum + 1e-3) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    #[test]
    fn a_mixture_lies_near_the_picture_and_keeps_its_markings() {
        let image = Image::new(32, 32, 3, (0..3072).map(|v| (v * 7 % 256) as u8).collect());
        let mut changed = 0;
        for n in 0..50 {
            let mut scene = Scene::from(image.clone());
            AugMix::default().apply(&mut scene, &mut SampleRng::new(0, 0, n, 0));
            assert_eq!(scene.size(), (32, 32));
            changed += usize::from(scene.image != image);
        }
        assert!(changed > 40, "{changed}");
    }
}
