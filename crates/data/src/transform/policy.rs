//! The operations that learned and random policies choose from, and how strong they are.

use super::projection::Projection;
use super::recolor::ColorChange;
use super::{Scene, turn};
use crate::order::SampleRng;
use crate::resize::Filter;

/// An operation of RandAugment, TrivialAugment, AutoAugment and AugMix, as torchvision defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}

/// The 14 operations of RandAugment and TrivialAugment.
pub(super) const FOURTEEN: [Op; 14] = [
    Op::Identity,
    Op::ShearX,
    Op::ShearY,
    Op::TranslateX,
    Op::TranslateY,
    Op::Rotate,
    Op::Brightness,
    Op::Color,
    Op::Contrast,
    Op::Sharpness,
    Op::Posterize,
    Op::Solarize,
    Op::AutoContrast,
    Op::Equalize,
];

/// How strong operations are at full strength.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strengths {
    /// Pixels sideways a pixel.
    pub(super) shear: f64,
    /// Pixels, along x and y.
    pub(super) translate: [f64; 2],
    /// Degrees.
    pub(super) rotate: f64,
    /// Factors of light and colour lie within 1 - this and 1 + this.
    pub(super) enhance: f64,
    /// Bits that are kept at no strength, and bits fewer at full strength.
    pub(super) posterize: [f64; 2],
}

/// How pixels are moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moving {
    pub(super) filter: Filter,
    pub(super) fill: u8,
}

impl Op {
    /// Its magnitude at `strength` of 0 to 1.
    pub(super) fn magnitude(self, strength: f64, full: &Strengths) -> f64 {
        strength
            * match self {
                Self::ShearX | Self::ShearY => full.shear,
                Self::TranslateX => full.translate[0],
                Self::TranslateY => full.translate[1],
                Self::Rotate => full.rotate,
                Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => full.enhance,
                Self::Posterize => {
                    return full.posterize[0] - (strength * full.posterize[1]).round_ties_even();
                }
                Self::Solarize => return 255.0 - 255.0 * strength,
                Self::Identity | Self::AutoContrast | Self::Equalize | Self::Invert => 0.0,
            }
    }

    /// Whether its magnitude is as often negative.
    pub(super) fn is_signed(self) -> bool {
        matches!(
            self,
            Self::ShearX
                | Self::ShearY
                | Self::TranslateX
                | Self::TranslateY
                | Self::Rotate
                | Self::Brightness
                | Self::Color
                | Self::Contrast
                | Self::Sharpness
        )
    }

    /// Its magnitude at `strength`, with a random sign where it has one.
    pub(super) fn draw(self, strength: f64, full: &Strengths, rng: &mut SampleRng) -> f64 {
        let magnitude = self.magnitude(strength, full);
        if self.is_signed() && rng.chance(0.5) { -magnitude } else { magnitude }
    }

    /// Does it.
    pub(super) fn apply(self, magnitude: f64, scene: &mut Scene, moving: Moving) {
        let factor = (1.0 + magnitude) as f32;
        let shear = magnitude.atan().to_degrees();
        let about_the_corner = |shear| turn::affine([0.0; 2], 0.0, [0.0; 2], 1.0, shear);
        let moved = |by: [f64; 2]| Projection::stretch([1.0; 2], by.map(|b| -b.trunc()));
        let change = match self {
            Self::Identity => return,
            Self::ShearX => Err(about_the_corner([shear, 0.0])),
            Self::ShearY => Err(about_the_corner([0.0, shear])),
            Self::TranslateX => Err(moved([magnitude, 0.0])),
            Self::TranslateY => Err(moved([0.0, magnitude])),
            Self::Rotate => Err(turn::rotation(magnitude, scene.size())),
            Self::Brightness => Ok(ColorChange::Brightness(factor)),
            Self::Color => Ok(ColorChange::Saturation(factor)),
            Self::Contrast => Ok(ColorChange::Contrast(factor)),
            Self::Sharpness => Ok(ColorChange::Sharpness(factor)),
            Self::Posterize => Ok(ColorChange::Posterize(magnitude as u32)),
            Self::Solarize => Ok(ColorChange::Solarize(magnitude as f32)),
            Self::AutoContrast => Ok(ColorChange::AutoContrast),
            Self::Equalize => Ok(ColorChange::Equalize),
            Self::Invert => Ok(ColorChange::Invert),
        };
        match change {
            Ok(color) => color.apply(&mut scene.image),
            Err(backward) => scene.warp(&backward, moving.filter, moving.fill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_those_of_torchvisions_tables() {
        let full = Strengths {
            shear: 0.3,
            translate: [150.0 / 331.0 * 224.0, 10.0],
            rotate: 30.0,
            enhance: 0.9,
            posterize: [8.0, 4.0],
        };
        let at = |op: Op, bin: f64| op.magnitude(bin / 30.0, &full);
        assert!((at(Op::ShearX, 9.0) - 0.09).abs() < 1e-12);
        assert!((at(Op::TranslateX, 30.0) - 101.510_574).abs() < 1e-6);
        assert!((at(Op::Rotate, 9.0) - 9.0).abs() < 1e-12);
        assert!((at(Op::Color, 9.0) - 0.27).abs() < 1e-12);
        assert_eq!((at(Op::Solarize, 9.0), at(Op::Solarize, 0.0)), (178.5, 255.0));
        // 8 - (arange(31) / (30 / 4)).round()
        let bits: Vec<f64> =
            [0.0, 3.0, 4.0, 9.0, 11.0, 12.0, 19.0, 30.0].map(|b| at(Op::Posterize, b)).to_vec();
        assert_eq!(bits, [8.0, 8.0, 7.0, 7.0, 7.0, 6.0, 5.0, 4.0]);
    }
}
