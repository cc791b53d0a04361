//! The part of a picture that leading crops and resizes come to, known before there are pixels.

use super::projection::Projection;
use super::warp::Border;
use super::{Scene, Transform};
use crate::order::SampleRng;
use crate::resize::{Filter, Region};

/// Part of a picture, at a size: what leading steps that resize, crop and mirror come to.
///
/// A decoder that knows it can leave out the pixels that nobody will see. What it shows is within one level of what the steps give
/// one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// The left side of the part, in pixels of the original picture; it may lie between two.
    pub left: f64,
    /// The upper side of the part.
    pub top: f64,
    /// The width of the part in pixels of the original picture.
    pub width: f64,
    /// The height of the part.
    pub height: f64,
    /// The width it is shown at, in pixels.
    pub out_width: u32,
    /// The height it is shown at, in pixels.
    pub out_height: u32,
    /// Whether it is turned left to right, after all else.
    pub mirror: bool,
    /// How it gets to that size.
    pub filter: Filter,
}

impl View {
    /// All of a picture of this size, at this size.
    #[must_use]
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width: f64::from(width),
            height: f64::from(height),
            out_width: width,
            out_height: height,
            mirror: false,
            filter: Filter::default(),
        }
    }

    /// Shows this part of the scene: its picture, which has its original size, and all that is marked on it.
    pub fn apply(&self, scene: &mut Scene) {
        scene.look(self);
    }

    /// The part, without the size it is shown at.
    #[must_use]
    pub fn region(&self) -> Region {
        Region { left: self.left, top: self.top, width: self.width, height: self.height }
    }

    /// Whether it shows a picture of this size as it is.
    pub(super) fn is_whole(&self, width: u32, height: u32) -> bool {
        *self == Self { filter: self.filter, ..Self::whole(width, height) }
    }

    /// Where places of the original picture are shown.
    pub(super) fn projection(&self) -> Projection {
        let scale = [f64::from(self.out_width) / self.width, f64::from(self.out_height) / self.height];
        let offset = [-self.left * scale[0], -self.top * scale[1]];
        if self.mirror {
            let right = f64::from(self.out_width) - offset[0];
            Projection::stretch([-scale[0], scale[1]], [right, offset[1]])
        } else {
            Projection::stretch(scale, offset)
        }
    }

    /// This view after one step more, as long as both together are one resampling of pixels that the picture has.
    pub(super) fn then(&self, step: &Placement) -> Option<Self> {
        let size = [self.out_width, self.out_height];
        let untouched = Self { mirror: self.mirror, filter: self.filter, ..Self::whole(size[0], size[1]) };
        match *step {
            Placement::Mirror(false) => Some(*self),
            Placement::Mirror(true) => Some(Self { mirror: !self.mirror, ..*self }),
            Placement::Resize { width, height, .. } if [width, height] == size => Some(*self),
            // Resampling after a cut would mix in what the cut took away, and twice is not once.
            Placement::Resize { width, height, filter } => {
                (*self == untouched).then_some(Self { out_width: width, out_height: height, filter, ..*self })
            }
            Placement::Crop { left, top, width, height, .. } => self.cut([left, top], [width, height]),
            Placement::ResizedCrop { corner, size, out, filter } if *self == untouched => {
                let corner = corner.map(i64::from);
                Some(Self { out_width: out[0], out_height: out[1], filter, ..self.cut(corner, size)? })
            }
            Placement::ResizedCrop { .. } => None,
        }
    }

    fn cut(&self, [left, top]: [i64; 2], [width, height]: [u32; 2]) -> Option<Self> {
        let fits = |start: i64, length: u32, side: u32| {
            start >= 0 && length > 0 && start + i64::from(length) <= i64::from(side)
        };
        if !fits(left, width, self.out_width) || !fits(top, height, self.out_height) {
            return None;
        }
        // The cut sees the mirrored picture, the view is mirrored last.
        let left = if self.mirror { i64::from(self.out_width) - left - i64::from(width) } else { left };
        let scale = [self.width / f64::from(self.out_width), self.height / f64::from(self.out_height)];
        Some(Self {
            left: self.left + left as f64 * scale[0],
            top: self.top + top as f64 * scale[1],
            width: f64::from(width) * scale[0],
            height: f64::from(height) * scale[1],
            out_width: width,
            out_height: height,
            ..*self
        })
    }
}

/// What a step that resizes, crops or mirrors does to one picture, after its draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Placement {
    /// Turned left to right, or not.
    Mirror(bool),
    /// All of it, at this size.
    Resize { width: u32, height: u32, filter: Filter },
    /// A window, which may reach out of the picture.
    Crop { left: i64, top: i64, width: u32, height: u32, border: Border },
    /// A window within the picture, `size` (width, height) pixels large, shown at the size `out`.
    ResizedCrop { corner: [u32; 2], size: [u32; 2], out: [u32; 2], filter: Filter },
}

impl Placement {
    /// Does it to the scene.
    pub(super) fn apply(&self, scene: &mut Scene) {
        let (width, height) = scene.size();
        match (View::whole(width, height).then(self), self) {
            (_, Self::Mirror(true)) => scene.mirror(),
            (Some(view), _) => scene.look(&view),
            (None, &Self::Crop { left, top, width, height, border }) => {
                scene.extend(left, top, width, height, border);
            }
            // All others are views of the whole.
            (None, _) => {}
        }
    }
}

/// A step whose change is known from its draws and the picture's size.
pub(super) trait Place {
    /// What it does to a picture of this size.
    fn place(&self, width: u32, height: u32, rng: &mut SampleRng) -> Placement;
}

impl<T: Place + Send + Sync> Transform for T {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        let (width, height) = scene.size();
        self.place(width, height, rng).apply(scene);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROP: Placement =
        Placement::Crop { left: 16, top: 0, width: 224, height: 256, border: Border::Fill(0) };

    #[test]
    fn a_resize_and_a_crop_are_one_fractional_box() {
        let resize = Placement::Resize { width: 384, height: 256, filter: Filter::Bicubic };
        let view = View::whole(300, 200).then(&resize).unwrap().then(&CROP).unwrap();
        let expected = View {
            left: 12.5,
            width: 175.0,
            out_width: 224,
            out_height: 256,
            filter: Filter::Bicubic,
            ..View::whole(300, 200)
        };
        assert_eq!(view, expected);
        assert_eq!(view.then(&resize), None, "resampling twice is not one view");
        let mirrored = view.then(&Placement::Mirror(true)).unwrap();
        let corner = Placement::Crop { left: 0, top: 0, width: 112, height: 256, border: Border::Edge };
        assert_eq!(mirrored.then(&corner).unwrap().left, 100.0);
    }

    #[test]
    fn what_needs_padding_is_no_view() {
        assert_eq!(View::whole(239, 256).then(&CROP), None);
        assert!(View::whole(240, 256).then(&CROP).is_some());
    }

    #[test]
    fn places_go_where_the_pixels_go() {
        let view = View { left: 10.0, width: 20.0, out_width: 40, mirror: true, ..View::whole(100, 50) };
        assert_eq!(view.projection().apply([10.0, 5.0]), Some([40.0, 5.0]));
        assert_eq!(view.projection().apply([30.0, 0.0]), Some([0.0, 0.0]));
    }
}
