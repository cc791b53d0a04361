//! A picture with what is marked on it.

use super::projection::Projection;
use super::view::View;
use super::warp::{Border, extend, warp};
use crate::Image;
use crate::resize::{Filter, resize_region};

/// A picture with what is marked on it; one call changes all of it together.
///
/// Places are in pixels from the upper left corner, and lie *between* pixels: the first pixel covers 0 to 1, its middle is at
/// 0.5. A box or a point that a tool wrote for pixel numbers needs 0.5 added.
///
/// What geometric steps do to the markings:
///
/// - **Boxes** become the bounding box of what is still to be seen of them (a rotated box is cut to the picture first, then
///   bounded). A box of which less than [`Scene::LEAST_VISIBLE`] of its area, or less than a pixel, is left is dropped; the number of
///   the object stays with those that remain. torchvision does the same in two steps, with `SanitizeBoundingBoxes` as the second.
/// - **Masks** go where the picture goes, by the nearest pixel, and are 0 where there was no picture. There are as many
///   as before: a mask can become empty.
/// - **Key points** go where the picture goes, in their order, which often has a meaning. One that is outside keeps its place but is
///   no longer visible.
///
/// Where padding repeats the picture (`reflect`, `edge`), masks repeat too, boxes and points do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The picture.
    pub image: Image,
    /// Rectangles around objects.
    pub boxes: Vec<BoundingBox>,
    /// Pictures of one channel and of the picture's size: a class of each pixel, or an object against the rest.
    pub masks: Vec<Image>,
    /// Places of joints, corners, eyes.
    pub keypoints: Vec<Point>,
}

/// A rectangle around an object, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// The left side.
    pub left: f32,
    /// The upper side.
    pub top: f32,
    /// The right side, above `left`.
    pub right: f32,
    /// The lower side, above `top`.
    pub bottom: f32,
    /// The number of the object among those of the picture as it was annotated: class, mask and all else about it are found by
    /// this number after boxes were dropped.
    pub object: u32,
}

/// A place in a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From the left side.
    pub x: f32,
    /// From the top.
    pub y: f32,
    /// Whether it can be seen; outside the picture it cannot, and once lost it stays lost.
    pub visible: bool,
}

impl From<Image> for Scene {
    /// A picture on which nothing is marked.
    fn from(image: Image) -> Self {
        Self { image, boxes: Vec::new(), masks: Vec::new(), keypoints: Vec::new() }
    }
}

impl Scene {
    /// A box of which less than this part of the area is left is dropped.
    pub const LEAST_VISIBLE: f32 = 0.1;

    /// Width and height of the picture in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.image.width(), self.image.height())
    }

    /// Takes the part of the picture that `view` says, at its size.
    pub(super) fn look(&mut self, view: &View) {
        if view.is_whole(self.image.width(), self.image.height()) {
            return;
        }
        let region = view.region();
        let (width, height) = (view.out_width, view.out_height);
        let part = |image: &Image, filter| {
            let mut part = resize_region(image, &region, width, height, filter);
            if view.mirror {
                part.mirror();
            }
            part
        };
        self.image = part(&self.image, view.filter);
        self.masks.iter_mut().for_each(|mask| *mask = part(mask, Filter::Nearest));
        self.follow(&view.projection(), width, height);
    }

    /// Left becomes right.
    pub(super) fn mirror(&mut self) {
        let (width, height) = self.size();
        self.image.mirror();
        self.masks.iter_mut().for_each(Image::mirror);
        self.follow(&Projection::stretch([-1.0, 1.0], [f64::from(width), 0.0]), width, height);
    }

    /// Up becomes down.
    pub(super) fn turn_over(&mut self) {
        let (width, height) = self.size();
        turn_over(&mut self.image);
        self.masks.iter_mut().for_each(turn_over);
        self.follow(&Projection::stretch([1.0, -1.0], [0.0, f64::from(height)]), width, height);
    }

    /// Takes the window of `width` x `height` pixels at (`left`, `top`), which may reach out of the picture.
    pub(super) fn extend(&mut self, left: i64, top: i64, width: u32, height: u32, border: Border) {
        self.image = extend(&self.image, left, top, width, height, border);
        let border = if let Border::Fill(_) = border { Border::Fill(0) } else { border };
        self.masks.iter_mut().for_each(|mask| *mask = extend(mask, left, top, width, height, border));
        self.follow(&Projection::stretch([1.0, 1.0], [-left as f64, -top as f64]), width, height);
    }

    /// Fills the same frame with what `backward` finds for each of its places in the old picture, and `fill` where it finds nothing.
    pub(super) fn warp(&mut self, backward: &Projection, filter: Filter, fill: u8) {
        // A map that cannot be turned round would leave nothing to see.
        let Some(forward) = backward.inverse() else { return };
        let (width, height) = self.size();
        self.image = warp(&self.image, backward, filter, fill);
        self.masks.iter_mut().for_each(|mask| *mask = warp(mask, backward, Filter::Nearest, 0));
        self.follow(&forward, width, height);
    }

    /// Moves boxes and points by `forward`, into a picture of this size.
    fn follow(&mut self, forward: &Projection, width: u32, height: u32) {
        let frame = [f64::from(width), f64::from(height)];
        self.boxes = self.boxes.iter().filter_map(|old| old.seen(forward, frame)).collect();
        for point in &mut self.keypoints {
            match forward.apply([f64::from(point.x), f64::from(point.y)]) {
                Some([x, y]) => {
                    (point.x, point.y) = (x as f32, y as f32);
                    point.visible &= (0.0..frame[0]).contains(&x) && (0.0..frame[1]).contains(&y);
                }
                None => point.visible = false,
            }
        }
    }
}

impl BoundingBox {
    /// What can be seen of it in a picture of size `frame` after `forward` moved it.
    fn seen(&self, forward: &Projection, frame: [f64; 2]) -> Option<Self> {
        let [left, top, right, bottom] = [self.left, self.top, self.right, self.bottom].map(f64::from);
        let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
        let moved: Vec<[f64; 2]> = corners.into_iter().map(|c| forward.apply(c)).collect::<Option<_>>()?;
        let before = area(&moved);
        let mut seen = moved;
        for (axis, limit) in frame.into_iter().enumerate() {
            seen = cut(&seen, axis, |v| v, 0.0);
            seen = cut(&seen, axis, |v| limit - v, limit);
        }
        let bounds = |axis: usize| {
            let values = seen.iter().map(|corner| corner[axis]);
            (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max))
        };
        let ((left, right), (top, bottom)) = (bounds(0), bounds(1));
        let large = right - left >= LEAST_SIDE && bottom - top >= LEAST_SIDE;
        let kept = large && area(&seen) >= f64::from(Scene::LEAST_VISIBLE) * before;
        kept.then_some(Self {
            left: left as f32,
            top: top as f32,
            right: right as f32,
            bottom: bottom as f32,
            object: self.object,
        })
    }
}

/// In pixels; the slack keeps a box of exactly one pixel through rounding.
const LEAST_SIDE: f64 = 1.0 - 1e-3;

/// The area of a polygon in pixels, by the shoelace formula.
fn area(corners: &[[f64; 2]]) -> f64 {
    let following = corners.iter().cycle().skip(1);
    corners.iter().zip(following).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>().abs() / 2.0
}

/// The part of a convex polygon where `inside` of the coordinate is not negative; `limit` is where it is 0 (Sutherland and Hodgman,
/// "Reentrant polygon clipping", 1974).
fn cut(corners: &[[f64; 2]], axis: usize, inside: impl Fn(f64) -> f64, limit: f64) -> Vec<[f64; 2]> {
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        let (here, there) = (inside(from[axis]), inside(to[axis]));
        if here >= 0.0 {
            kept.push(*from);
        }
        if (here >= 0.0) != (there >= 0.0) {
            let share = here / (here - there);
            let mut crossing = [0, 1].map(|n: usize| from[n] + share * (to[n] - from[n]));
            crossing[axis] = limit;
            kept.push(crossing);
        }
    }
    kept
}

/// Swaps the rows, in place.
fn turn_over(image: &mut Image) {
    let row = image.width() as usize * usize::from(image.channels());
    let mut rows = image.pixels_mut();
    while rows.len() >= 2 * row.max(1) {
        let (first, rest) = rows.split_at_mut(row);
        let (middle, last) = rest.split_at_mut(rest.len() - row);
        first.swap_with_slice(last);
        rows = middle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let image = Image::new(10, 8, 3, (0..240).collect());
        let boxes = vec![BoundingBox { left: 1.0, top: 2.0, right: 4.0, bottom: 5.0, object: 7 }];
        let keypoints = vec![Point { x: 2.5, y: 3.0, visible: true }];
        Scene { boxes, keypoints, masks: vec![Image::new(10, 8, 1, (0..80).collect())], ..image.into() }
    }

    #[test]
    fn all_that_is_marked_is_mirrored_with_the_picture() {
        let mut mirrored = scene();
        mirrored.mirror();
        assert_eq!(mirrored.image.pixels()[..6], [27, 28, 29, 24, 25, 26]);
        assert_eq!(mirrored.masks[0].pixels()[..2], [9, 8]);
        assert_eq!(mirrored.boxes, [BoundingBox { left: 6.0, top: 2.0, right: 9.0, bottom: 5.0, object: 7 }]);
        assert_eq!(mirrored.keypoints, [Point { x: 7.5, y: 3.0, visible: true }]);
        mirrored.mirror();
        assert_eq!(mirrored, scene());
        mirrored.turn_over();
        assert_eq!(mirrored.image.pixels()[..3], [210, 211, 212]);
        assert_eq!((mirrored.boxes[0].top, mirrored.boxes[0].bottom), (3.0, 6.0));
        mirrored.turn_over();
        assert_eq!(mirrored, scene());
    }

    #[test]
    fn a_box_is_clipped_and_dropped_when_little_is_left() {
        let mut cut = scene();
        cut.extend(3, 0, 5, 8, Border::Fill(9));
        assert_eq!(cut.boxes, [BoundingBox { left: 0.0, top: 2.0, right: 1.0, bottom: 5.0, object: 7 }]);
        assert_eq!(cut.keypoints, [Point { x: -0.5, y: 3.0, visible: false }]);
        // A point that was lost is not found again.
        cut.extend(-3, 0, 10, 8, Border::Fill(9));
        assert_eq!(cut.keypoints, [Point { x: 2.5, y: 3.0, visible: false }]);
        assert_eq!((cut.image.pixels()[0], cut.masks[0].pixels()[0]), (9, 0));

        let mut half_a_pixel = scene();
        half_a_pixel.boxes[0].right = 3.5;
        half_a_pixel.extend(3, 0, 5, 8, Border::Edge);
        assert!(half_a_pixel.boxes.is_empty());
        let mut sliver = scene();
        sliver.boxes[0] = BoundingBox { left: 0.0, top: 0.0, right: 10.0, bottom: 40.0, object: 0 };
        sliver.extend(0, 0, 10, 3, Border::Reflect);
        assert!(sliver.boxes.is_empty(), "3 of 40 rows are left");
    }

    #[test]
    fn a_turned_box_bounds_what_is_seen_of_it() {
        // A quarter turn about the upper left corner, to the left: all of the picture leaves the frame to the right of x = 0.
        let turn = Projection::affine([0.0, 1.0, 0.0, -1.0, 0.0, 10.0]);
        let mut turned = scene();
        turned.follow(&turn, 10, 10);
        assert_eq!(turned.boxes[0], BoundingBox { left: 2.0, top: 6.0, right: 5.0, bottom: 9.0, object: 7 });
        // A diamond that is cut off left of its middle is bounded by what is left, not by what its bounds leave.
        let diamond = Projection::affine([1.0, -1.0, -2.0, 1.0, 1.0, 0.0]);
        let mut cut = scene();
        cut.boxes[0] = BoundingBox { left: 0.0, top: 0.0, right: 4.0, bottom: 4.0, object: 0 };
        cut.follow(&diamond, 10, 8);
        assert_eq!(cut.boxes[0], BoundingBox { left: 0.0, top: 2.0, right: 2.0, bottom: 6.0, object: 0 });
    }
}
