//! Turning, shearing and tilting.

use super::draw::{Span, up_to};
use super::projection::Projection;
use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::{Scene, Transform};
use crate::order::SampleRng;
use crate::resize::Filter;

/// Turns the picture about its middle, in its frame. torchvision's `RandomRotation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotate {
    /// Counter-clockwise.
    pub degrees: Span,
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { degrees: Span::around_zero(0.0), p: 1.0, filter: Filter::Nearest, fill: 0 }
    }
}

impl Described for Rotate {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.needed().spread("degrees", &mut self.degrees, 360.0);
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

impl Transform for Rotate {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if rng.chance(self.p) {
            let backward = rotation(self.degrees.draw(rng), scene.size());
            scene.warp(&backward, self.filter, self.fill);
        }
    }
}

/// Turns, moves, stretches and shears the picture, in its frame. torchvision's `RandomAffine`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Turned by, clockwise as torchvision's.
    pub degrees: Span,
    /// The farthest move along each axis, as a part of the picture's side.
    pub translate: f32,
    /// How many times as large.
    pub scale: Span,
    /// The horizontal shear in degrees.
    pub shear: Span,
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: Span::around_zero(0.0),
            translate: 0.0,
            scale: Span::new(1.0, 1.0),
            shear: Span::around_zero(0.0),
            p: 1.0,
            filter: Filter::Nearest,
            fill: 0,
        }
    }
}

impl Described for Affine {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.needed().spread("degrees", &mut self.degrees, 360.0);
        a.number("translate", &mut self.translate, 0.0..=1.0);
        a.span("scale", &mut self.scale, 0.1..=10.0);
        a.spread("shear", &mut self.shear, 80.0);
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

impl Transform for Affine {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let (width, height) = scene.size();
        let degrees = self.degrees.draw(rng);
        let mut offset = |side: u32| {
            let reach = Span::around_zero(self.translate).draw(rng);
            (f64::from(side) * reach).round_ties_even()
        };
        let translate = [offset(width), offset(height)];
        let scale = self.scale.draw(rng);
        let shear = [self.shear.draw(rng), 0.0];
        let center = [f64::from(width) * 0.5, f64::from(height) * 0.5];
        let backward = affine(center, degrees, translate, scale, shear);
        scene.warp(&backward, self.filter, self.fill);
    }
}

/// Tilts the picture: each corner moves inwards at random. torchvision's `RandomPerspective`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perspective {
    /// The farthest a corner moves, as a part of half a side.
    pub distortion: f32,
    /// The probability.
    pub p: f32,
    /// How pixels between pixels are made; there is no antialiasing.
    pub filter: Filter,
    /// The value of what comes from outside.
    pub fill: u8,
}

impl Default for Perspective {
    fn default() -> Self {
        Self { distortion: 0.5, p: 0.5, filter: Filter::Bilinear, fill: 0 }
    }
}

impl Described for Perspective {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("distortion", &mut self.distortion, 0.0..=1.0);
        a.number("p", &mut self.p, CHANCES);
        a.warp_filter(&mut self.filter);
        a.fill(&mut self.fill);
    }
}

impl Transform for Perspective {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let (width, height) = scene.size();
        let reach = [width, height].map(|side| (f64::from(self.distortion) * f64::from(side / 2)) as u32);
        let last = [width, height].map(|side| f64::from(side - 1));
        let mut inwards = || [0, 1].map(|n: usize| f64::from(up_to(rng, reach[n])));
        let corners = [[0.0, 0.0], [last[0], 0.0], last, [0.0, last[1]]];
        let moved = corners.map(|corner| {
            let by = inwards();
            [0, 1].map(|n: usize| if corner[n] > 0.0 { corner[n] - by[n] } else { by[n] })
        });
        // A picture of one row has no corners to move; corners in line would leave nothing to see.
        if let Some(backward) = Projection::between(&moved, &corners) {
            scene.warp(&backward, self.filter, self.fill);
        }
    }
}

/// Where the pixels of a picture turned counter-clockwise about its middle come from. Pillow's `Image.rotate`.
pub(super) fn rotation(degrees: f64, (width, height): (u32, u32)) -> Projection {
    // Rounded, so that quarter turns are exact.
    let rounded = |v: f64| (v * 1e15).round() / 1e15;
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let (sin, cos) = (rounded(sin), rounded(cos));
    let (x, y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    Projection::affine([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y])
}

/// Where the pixels of a picture come from that is sheared (degrees, along x and y), turned clockwise and scaled about `center`, then moved by
/// `translate` pixels. torchvision's `affine`.
pub(super) fn affine(
    center: [f64; 2],
    degrees: f64,
    translate: [f64; 2],
    scale: f64,
    shear: [f64; 2],
) -> Projection {
    let turn = degrees.to_radians();
    let [shear_x, shear_y] = shear.map(f64::to_radians);
    // Turn times shear, without the scale: its determinant is 1.
    let a = (turn - shear_y).cos() / shear_y.cos();
    let b = -a * shear_x.tan() - turn.sin();
    let c = (turn - shear_y).sin() / shear_y.cos();
    let d = -c * shear_x.tan() + turn.cos();
    let [a, b, c, d] = [d, -b, -c, a].map(|v| v / scale);
    let from = [-center[0] - translate[0], -center[1] - translate[1]];
    Projection::affine([
        a,
        b,
        a * from[0] + b * from[1] + center[0],
        c,
        d,
        c * from[0] + d * from[1] + center[1],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    fn numbered() -> Image {
        Image::new(3, 3, 1, (1..10).collect())
    }

    fn warped(backward: &Projection) -> Vec<u8> {
        let mut scene = Scene::from(numbered());
        scene.warp(backward, Filter::Nearest, 0);
        scene.image.into_pixels()
    }

    #[test]
    fn quarter_turns_are_exact() {
        assert_eq!(warped(&rotation(90.0, (3, 3))), [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        assert_eq!(warped(&rotation(180.0, (3, 3))), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(warped(&rotation(-90.0, (3, 3))), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        assert_eq!(warped(&affine([1.5; 2], 90.0, [0.0; 2], 1.0, [0.0; 2])), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
    }

    #[test]
    fn moving_and_scaling_go_where_they_say() {
        assert_eq!(warped(&affine([1.5; 2], 0.0, [1.0, -1.0], 1.0, [0.0; 2])), [0, 4, 5, 0, 7, 8, 0, 0, 0]);
        let half = affine([1.5; 2], 0.0, [0.0; 2], 0.5, [0.0; 2]);
        assert_eq!(half.apply([0.75, 2.25]), Some([0.0, 3.0]));
        let shear = affine([0.0; 2], 0.0, [0.0; 2], 1.0, [45.0, 0.0]);
        let [x, y] = shear.apply([0.0, 2.0]).unwrap();
        assert!((x - 2.0).abs() < 1e-12 && y == 2.0);
    }
}
