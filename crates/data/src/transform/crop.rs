//! Steps that change a picture's size: resizing, cutting, padding.

use super::draw::{Span, up_to};
use super::step::Described;
use super::text::{Arguments, SIDES};
use super::view::{Place, Placement};
use super::warp::Border;
use crate::order::SampleRng;
use crate::resize::Filter;

/// The longest side that resizing by the shorter side makes: a sliver of 1 x 30,000 pixels must not become gigabytes.
const LONGEST: u64 = 32_768;
/// Nor must one that is resized to a long shorter side.
const MOST_PIXELS: u64 = 1 << 26;
/// The most pixels of padding a side.
const MOST_PADDING: u32 = 1024;
/// Windows that are tried before the middle is taken.
const TRIES: usize = 10;

/// Resizes the picture. torchvision's `Resize`, antialiased.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resize {
    /// The length of the shorter side in pixels, the other keeping the proportions (but at most 32,768 pixels, and 2^26 in all); with `width`, the height.
    pub size: u32,
    /// The width in pixels, whatever becomes of the proportions.
    pub width: Option<u32>,
    /// How.
    pub filter: Filter,
}

impl Default for Resize {
    fn default() -> Self {
        Self { size: 256, width: None, filter: Filter::Bilinear }
    }
}

impl Described for Resize {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.needed().count("size", &mut self.size, SIDES);
        a.maybe_count("width", &mut self.width, SIDES);
        a.filter(&mut self.filter);
    }
}

impl Place for Resize {
    fn place(&self, width: u32, height: u32, _: &mut SampleRng) -> Placement {
        let (width, height) = match self.width {
            Some(width) => (width, self.size),
            None => by_short_side(width, height, self.size),
        };
        Placement::Resize { width, height, filter: self.filter }
    }
}

/// Width and height with the shorter side at `short` pixels, rounded as torchvision rounds.
fn by_short_side(width: u32, height: u32, short: u32) -> (u32, u32) {
    let long = |long: u32, other: u32| {
        let length = u64::from(short) * u64::from(long) / u64::from(other.max(1));
        length.clamp(1, LONGEST.min(MOST_PIXELS / u64::from(short.max(1)))) as u32
    };
    if width <= height { (short, long(height, width)) } else { (long(width, height), short) }
}

/// Cuts out the middle, with black where the picture does not reach. torchvision's `CenterCrop`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CenterCrop {
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
}

impl Default for CenterCrop {
    fn default() -> Self {
        Self { height: 224, width: 224 }
    }
}

impl Described for CenterCrop {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.size(&mut self.height, &mut self.width);
    }
}

impl Place for CenterCrop {
    fn place(&self, width: u32, height: u32, _: &mut SampleRng) -> Placement {
        // torchvision rounds halves to even, and pads by the smaller half first.
        let corner = |have: u32, want: u32| {
            let spare = i64::from(have) - i64::from(want);
            if spare >= 0 { (spare as f64 / 2.0).round_ties_even() as i64 } else { -(-spare / 2) }
        };
        let (left, top) = (corner(width, self.width), corner(height, self.height));
        Placement::Crop { left, top, width: self.width, height: self.height, border: Border::Fill(0) }
    }
}

/// Resizes a random window to one size: of random area and proportions, at a random place (Szegedy et al., "Going deeper with
/// convolutions", 2015). torchvision's `RandomResizedCrop`.
///
/// As Pillow's `resize` with a `box`: at the window's border the filter takes in the pixels beyond it, where torchvision's ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomResizedCrop {
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// The window's area as a part of the picture's.
    pub scale: Span,
    /// The window's width divided by its height.
    pub ratio: Span,
    /// How the window is resized.
    pub filter: Filter,
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        let (scale, ratio) = (Span::new(0.08, 1.0), Span::new(3.0 / 4.0, 4.0 / 3.0));
        Self { height: 224, width: 224, scale, ratio, filter: Filter::Bilinear }
    }
}

impl Described for RandomResizedCrop {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.size(&mut self.height, &mut self.width);
        a.span("scale", &mut self.scale, 0.0..=1.0);
        a.span("ratio", &mut self.ratio, 0.01..=100.0);
        a.filter(&mut self.filter);
    }
}

impl Place for RandomResizedCrop {
    fn place(&self, width: u32, height: u32, rng: &mut SampleRng) -> Placement {
        let (corner, size) = self.window(width, height, rng);
        Placement::ResizedCrop { corner, size, out: [self.width, self.height], filter: self.filter }
    }
}

impl RandomResizedCrop {
    /// The window's corner (left, top) and size (width, height).
    fn window(&self, width: u32, height: u32, rng: &mut SampleRng) -> ([u32; 2], [u32; 2]) {
        let sides = [f64::from(width), f64::from(height)];
        for _ in 0..TRIES {
            let area = sides[0] * sides[1] * self.scale.draw(rng);
            let ratio = self.ratio.draw_ratio(rng);
            let size = [(area * ratio).sqrt(), (area / ratio).sqrt()].map(f64::round_ties_even);
            if (0..2).all(|n| size[n] >= 1.0 && size[n] <= sides[n]) {
                let [w, h] = size.map(|side| side as u32);
                let top = up_to(rng, height - h);
                return ([up_to(rng, width - w), top], [w, h]);
            }
        }
        // The largest window in the middle that has a ratio that is allowed.
        let (low, high) = (f64::from(self.ratio.low), f64::from(self.ratio.high));
        let ratio = sides[0] / sides[1];
        let side = |length: f64, limit: u32| (length.round_ties_even() as u32).clamp(1, limit);
        let [w, h] = if ratio < low {
            [width, side(sides[0] / low, height)]
        } else if ratio > high {
            [side(sides[1] * high, width), height]
        } else {
            [width, height]
        };
        ([(width - w) / 2, (height - h) / 2], [w, h])
    }
}

/// Cuts a window at a random place, out of the padded picture. One that is still too small is padded further, by what is missing on both
/// sides. torchvision's `RandomCrop` with `pad_if_needed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomCrop {
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// In pixels, on each side.
    pub padding: u32,
    /// What it is padded with.
    pub border: Border,
}

impl Default for RandomCrop {
    fn default() -> Self {
        Self { height: 32, width: 32, padding: 0, border: Border::Fill(0) }
    }
}

impl Described for RandomCrop {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.size(&mut self.height, &mut self.width);
        a.count("padding", &mut self.padding, 0..=MOST_PADDING);
        a.border(&mut self.border);
    }
}

impl Place for RandomCrop {
    fn place(&self, width: u32, height: u32, rng: &mut SampleRng) -> Placement {
        let mut corner = |have: u32, want: u32| {
            let padded = have + 2 * self.padding;
            let missing = want.saturating_sub(padded);
            let spare = padded + 2 * missing - want;
            i64::from(up_to(rng, spare)) - i64::from(self.padding + missing)
        };
        let top = corner(height, self.height);
        let left = corner(width, self.width);
        Placement::Crop { left, top, width: self.width, height: self.height, border: self.border }
    }
}

/// Adds pixels on all four sides. torchvision's `Pad`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pad {
    /// In pixels, on each side.
    pub padding: u32,
    /// What is added.
    pub border: Border,
}

impl Default for Pad {
    fn default() -> Self {
        Self { padding: 0, border: Border::Fill(0) }
    }
}

impl Described for Pad {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.needed().count("padding", &mut self.padding, 0..=MOST_PADDING);
        a.border(&mut self.border);
    }
}

impl Place for Pad {
    fn place(&self, width: u32, height: u32, _: &mut SampleRng) -> Placement {
        let corner = -i64::from(self.padding);
        let (width, height) = (width + 2 * self.padding, height + 2 * self.padding);
        Placement::Crop { left: corner, top: corner, width, height, border: self.border }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(n: u64) -> SampleRng {
        SampleRng::new(1, 2, n, 3)
    }

    #[test]
    fn the_short_side_keeps_the_proportions() {
        assert_eq!(by_short_side(50, 33, 10), (15, 10));
        assert_eq!(by_short_side(33, 50, 10), (10, 15));
        assert_eq!(by_short_side(1, 30_000, 4096), (4096, 16_384));
    }

    #[test]
    fn windows_have_the_areas_ratios_and_places_that_are_allowed() {
        let step = RandomResizedCrop { scale: Span::new(0.25, 0.5), ..RandomResizedCrop::default() };
        let (mut areas, mut lefts) = (0.0, 0.0);
        for n in 0..4000 {
            let ([left, top], [w, h]) = step.window(400, 300, &mut rng(n));
            assert!(left + w <= 400 && top + h <= 300);
            let (area, ratio) = (f64::from(w * h) / 120_000.0, f64::from(w) / f64::from(h));
            assert!((0.245..0.505).contains(&area) && (0.74..1.35).contains(&ratio), "{area} {ratio}");
            areas += area / 4000.0;
            lefts += f64::from(left) / f64::from(400 - w).max(1.0) / 4000.0;
        }
        assert!((areas - 0.375).abs() < 0.01 && (lefts - 0.5).abs() < 0.02, "{areas} {lefts}");
    }

    #[test]
    fn a_picture_too_narrow_gives_its_middle() {
        let step = RandomResizedCrop { scale: Span::new(1.0, 1.0), ..RandomResizedCrop::default() };
        assert_eq!(step.window(400, 100, &mut rng(0)), ([133, 0], [133, 100]));
        assert_eq!(step.window(100, 400, &mut rng(0)), ([0, 133], [100, 133]));
        assert_eq!(step.window(1, 1, &mut rng(0)), ([0, 0], [1, 1]));
    }

    #[test]
    fn a_random_crop_reaches_every_place_in_the_padding_and_none_beyond() {
        let step = RandomCrop { height: 6, width: 8, padding: 1, ..RandomCrop::default() };
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..1000 {
            let Placement::Crop { left, top, .. } = step.place(8, 3, &mut rng(n)) else { unreachable!() };
            seen.insert((left, top));
        }
        // Padded to 10 x 5, and by one missing row above and below to 10 x 7.
        let all = (-1..=1).flat_map(|left| (-2..=-1).map(move |top| (left, top)));
        assert!(seen.into_iter().eq(all));
    }
}
