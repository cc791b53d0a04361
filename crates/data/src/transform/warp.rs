//! Pixels moved about: padding, turning, shearing, tilting.

use super::color::round;
use super::projection::Projection;
use crate::Image;
use crate::resize::Filter;

/// What lies outside a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// This value in every channel (0 in masks).
    Fill(u8),
    /// The picture mirrored, its border pixels not repeated: `c b | a b c | b a`.
    Reflect,
    /// The border pixels repeated: `a a | a b c | c c`.
    Edge,
}

impl Border {
    /// The pixel of a line of `length` that stands at `place`, if any does.
    pub(super) fn source(self, place: i64, length: u32) -> Option<usize> {
        let last = i64::from(length) - 1;
        if (0..=last).contains(&place) {
            return Some(place as usize);
        }
        match self {
            Self::Fill(_) => None,
            Self::Edge => Some(place.clamp(0, last) as usize),
            Self::Reflect if last == 0 => Some(0),
            Self::Reflect => {
                let turn = place.rem_euclid(2 * last);
                Some(turn.min(2 * last - turn) as usize)
            }
        }
    }
}

/// The window of `width` x `height` pixels at (`left`, `top`), which may reach out of the picture.
pub(super) fn extend(image: &Image, left: i64, top: i64, width: u32, height: u32, border: Border) -> Image {
    let channels = usize::from(image.channels());
    let fill = if let Border::Fill(value) = border { value } else { 0 };
    let row = width as usize * channels;
    let stride = image.width() as usize * channels;
    let mut pixels = vec![fill; row * height as usize];
    // The columns where the window and the picture overlap are copied as they are.
    let from = (-left).clamp(0, i64::from(width));
    let to = (i64::from(image.width()) - left).clamp(from, i64::from(width));
    let columns = |range: std::ops::Range<i64>| {
        range.filter_map(move |x| border.source(left + x, image.width()).map(|s| (x as usize, s)))
    };
    let beside: Vec<(usize, usize)> = columns(0..from).chain(columns(to..i64::from(width))).collect();
    for (y, out) in pixels.chunks_exact_mut(row).enumerate() {
        let Some(source) = border.source(top + y as i64, image.height()) else { continue };
        let source = &image.pixels()[source * stride..][..stride];
        if to > from {
            let (start, length) = (from as usize * channels, (to - from) as usize * channels);
            out[start..start + length]
                .copy_from_slice(&source[(from + left) as usize * channels..][..length]);
        }
        for &(x, s) in &beside {
            out[x * channels..(x + 1) * channels].copy_from_slice(&source[s * channels..][..channels]);
        }
    }
    Image::new(width, height, image.channels(), pixels)
}

/// A picture of the same size whose pixel at each place is the old picture's at the place that `backward` finds, or `fill` where that
/// is outside; as Pillow's `transform`, but rounded to the nearest where Pillow rounds down. There is no antialiasing; [`Filter::Lanczos`] counts
/// as bicubic.
pub(super) fn warp(image: &Image, backward: &Projection, filter: Filter, fill: u8) -> Image {
    let mut pixels = vec![fill; image.pixels().len()];
    match image.channels() {
        1 => warp_pixels(image, image.pixels().as_chunks::<1>().0, backward, filter, &mut pixels),
        _ => warp_pixels(image, image.pixels().as_chunks::<3>().0, backward, filter, &mut pixels),
    }
    Image::new(image.width(), image.height(), image.channels(), pixels)
}

fn warp_pixels<const CHANNELS: usize>(
    image: &Image,
    source: &[[u8; CHANNELS]],
    backward: &Projection,
    filter: Filter,
    out: &mut [u8],
) {
    let grid = Grid { pixels: source, width: image.width() as usize, height: image.height() as usize };
    let (out, _) = out.as_chunks_mut::<CHANNELS>();
    if filter == Filter::Nearest && backward.is_affine() {
        return grid.step(backward, out);
    }
    match filter {
        Filter::Nearest => grid.each(out, backward, Grid::nearest),
        Filter::Bilinear => grid.each(out, backward, Grid::bilinear),
        Filter::Bicubic | Filter::Lanczos => grid.each(out, backward, Grid::bicubic),
    }
}

/// Pixels to be sampled.
struct Grid<'a, const CHANNELS: usize> {
    pixels: &'a [[u8; CHANNELS]],
    width: usize,
    height: usize,
}

impl<const CHANNELS: usize> Grid<'_, CHANNELS> {
    /// Nearest pixels along lines, in 16-bit fixed point as Pillow steps; pixels that come from outside are left alone.
    fn step(&self, backward: &Projection, out: &mut [[u8; CHANNELS]]) {
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let [a, b, c, d, e, f, ..] = backward.0;
        let (right, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
        let mut start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        let limits = [(self.width as i64) << 16, (self.height as i64) << 16];
        for row in out.chunks_exact_mut(self.width) {
            let (x, y) = (
                steps_within(start[0], right[0], limits[0], self.width),
                steps_within(start[1], right[1], limits[1], self.width),
            );
            let (from, to) = (x.start.max(y.start), x.end.min(y.end));
            if from < to {
                let mut place = [0, 1].map(|n: usize| start[n] + from as i64 * right[n]);
                for pixel in &mut row[from..to] {
                    *pixel = self.pixels[(place[1] >> 16) as usize * self.width + (place[0] >> 16) as usize];
                    place = [place[0] + right[0], place[1] + right[1]];
                }
            }
            start = [start[0] + down[0], start[1] + down[1]];
        }
    }

    /// Samples the place that each pixel comes from; pixels that come from outside are left alone.
    fn each(
        &self,
        out: &mut [[u8; CHANNELS]],
        backward: &Projection,
        sample: impl Fn(&Self, [f64; 2]) -> [u8; CHANNELS],
    ) {
        let frame = [self.width as f64, self.height as f64];
        let affine = backward.is_affine();
        for (y, row) in out.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let middle = [x as f64 + 0.5, y as f64 + 0.5];
                let place = if affine { Some(backward.apply_affine(middle)) } else { backward.apply(middle) };
                if let Some([x, y]) = place
                    && (0.0..frame[0]).contains(&x)
                    && (0.0..frame[1]).contains(&y)
                {
                    *pixel = sample(self, [x, y]);
                }
            }
        }
    }

    fn at(&self, x: i64, y: i64) -> &[u8; CHANNELS] {
        let (x, y) = (x.clamp(0, self.width as i64 - 1), y.clamp(0, self.height as i64 - 1));
        &self.pixels[y as usize * self.width + x as usize]
    }

    fn nearest(&self, [x, y]: [f64; 2]) -> [u8; CHANNELS] {
        *self.at(x as i64, y as i64)
    }

    fn bilinear(&self, place: [f64; 2]) -> [u8; CHANNELS] {
        let [(x, right), (y, down)] = place.map(split);
        let corners = [self.at(x, y), self.at(x + 1, y), self.at(x, y + 1), self.at(x + 1, y + 1)];
        std::array::from_fn(|n| {
            let [a, b, c, d] = corners.map(|corner| f32::from(corner[n]));
            round(mix(mix(a, b, right), mix(c, d, right), down))
        })
    }

    fn bicubic(&self, place: [f64; 2]) -> [u8; CHANNELS] {
        let [(x, right), (y, down)] = place.map(split);
        let (across, along) = (cubic(right), cubic(down));
        let mut sums = [0.0f32; CHANNELS];
        for (row, weight) in along.into_iter().enumerate() {
            for (column, across) in across.into_iter().enumerate() {
                let pixel = self.at(x - 1 + column as i64, y - 1 + row as i64);
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * across * f32::from(*value);
                }
            }
        }
        sums.map(|sum| round(sum.clamp(0.0, 255.0)))
    }
}

/// The `n` of `0..count` for which `start + n * step` lies in `0..limit`.
fn steps_within(start: i64, step: i64, limit: i64, count: usize) -> std::ops::Range<usize> {
    let at_least =
        |distance: i64, step: i64| distance.div_euclid(step) + i64::from(distance.rem_euclid(step) > 0);
    let (from, to) = match step {
        0 if (0..limit).contains(&start) => return 0..count,
        0 => return 0..0,
        1.. => (at_least(-start, step), at_least(limit - start, step)),
        // Walking backwards from `start` is walking forwards from its mirror image.
        _ => (at_least(start - limit + 1, -step), at_least(start + 1, -step)),
    };
    let count = count as i64;
    from.clamp(0, count) as usize..to.clamp(0, count) as usize
}

/// A place in the picture among the middles of pixels: the pixel before it, and how far it is from that.
fn split(place: f64) -> (i64, f32) {
    // No place is before -0.5: cutting off is rounding down.
    let before = (place + 0.5) as i64 - 1;
    (before, (place - 0.5 - before as f64) as f32)
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// Weights of four neighbours for a place `t` between the middle two: Keys' cubic with a = -1, sharper than the one that resizes, as in
/// Pillow (Keys, "Cubic convolution interpolation for digital image processing", 1981).
fn cubic(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-t3 + 2.0 * t2 - t, t3 - 2.0 * t2 + 1.0, -t3 + t2 + t, t3 - t2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_filled_mirrored_or_repeated() {
        let line = Image::new(3, 1, 1, vec![1, 2, 3]);
        let row = |border| extend(&line, -3, 0, 9, 1, border).into_pixels();
        assert_eq!(row(Border::Fill(9)), [9, 9, 9, 1, 2, 3, 9, 9, 9]);
        assert_eq!(row(Border::Reflect), [2, 3, 2, 1, 2, 3, 2, 1, 2]);
        assert_eq!(row(Border::Edge), [1, 1, 1, 1, 2, 3, 3, 3, 3]);
        let dot = Image::new(1, 1, 3, vec![1, 2, 3]);
        assert_eq!(extend(&dot, -1, -1, 2, 2, Border::Reflect).pixels(), [1, 2, 3].repeat(4));
        assert_eq!(extend(&dot, 5, 5, 2, 1, Border::Fill(7)).pixels(), [7; 6]);
        assert_eq!(extend(&dot, 5, -5, 2, 1, Border::Edge).pixels(), [1, 2, 3].repeat(2));
    }

    #[test]
    fn steps_are_counted_as_one_by_one() {
        for start in -40..40 {
            for step in -9..9 {
                let expected: Vec<usize> =
                    (0..12).filter(|&n| (0..20).contains(&(start + n as i64 * step))).collect();
                let found: Vec<usize> = steps_within(start, step, 20, 12).collect();
                assert_eq!(found, expected, "{start} {step}");
            }
        }
    }

    #[test]
    fn standing_still_changes_nothing_and_whole_pixels_move_whole() {
        let image = Image::new(4, 3, 3, (0..36).collect());
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            assert_eq!(warp(&image, &Projection::stretch([1.0; 2], [0.0; 2]), filter, 9), image);
            let moved = warp(&image, &Projection::stretch([1.0; 2], [1.0, -1.0]), filter, 9);
            assert_eq!(moved, extend(&image, 1, -1, 4, 3, Border::Fill(9)), "{filter:?}");
        }
    }

    #[test]
    fn half_a_pixel_is_half_of_each() {
        let line = Image::new(3, 1, 1, vec![0, 100, 200]);
        let map = Projection::stretch([1.0; 2], [0.5, 0.0]);
        assert_eq!(warp(&line, &map, Filter::Bilinear, 7).pixels()[..2], [50, 150]);
        assert_eq!(warp(&line, &map, Filter::Bicubic, 7).pixels()[0], 38);
        assert!(cubic(0.3).iter().sum::<f32>() > 0.999_999);
    }
}
