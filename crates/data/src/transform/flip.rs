//! Mirrored and turned over.

use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::view::{Place, Placement};
use super::{Scene, Transform};
use crate::order::SampleRng;

/// Left becomes right, by chance. torchvision's `RandomHorizontalFlip`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flip {
    /// The probability.
    pub p: f32,
}

impl Default for Flip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Described for Flip {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("p", &mut self.p, CHANCES);
    }
}

impl Place for Flip {
    fn place(&self, _: u32, _: u32, rng: &mut SampleRng) -> Placement {
        Placement::Mirror(rng.chance(self.p))
    }
}

/// Up becomes down, by chance. torchvision's `RandomVerticalFlip`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerticalFlip {
    /// The probability.
    pub p: f32,
}

impl Default for VerticalFlip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Described for VerticalFlip {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("p", &mut self.p, CHANCES);
    }
}

impl Transform for VerticalFlip {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if rng.chance(self.p) {
            scene.turn_over();
        }
    }
}
