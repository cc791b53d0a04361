//! Handwritten-looking digits that are drawn, not stored.
//!
//! Each digit has a few ways to be written, given as strokes through control points. A drawing picks one,
//! moves its points, bends, slants, turns, scales and shifts it, follows it with a pen of changing width, and
//! adds what a scanner adds. Only additions, multiplications, divisions and square roots of 32-bit numbers
//! are used, which give the same bits everywhere.

use std::sync::LazyLock;

use super::splitmix::SplitMix;
use super::{Source, Stored};
use crate::{Place, Result};

const SIDE: usize = 28;

type Point = (f32, f32);
/// Points of a smooth curve in a box from (0, 0), top left, to (1, 1), bottom right. Strokes that meet in a
/// point meet there in a corner.
type Stroke = &'static [Point];

/// The ways to write each digit.
#[rustfmt::skip]
const WRITINGS: [&[&[Stroke]]; 10] = [
    &[
        &[&[(0.50, 0.00), (0.15, 0.18), (0.03, 0.52), (0.17, 0.86), (0.50, 1.00), (0.85, 0.84), (0.97, 0.48), (0.84, 0.14), (0.46, 0.01)]],
        &[&[(0.62, 0.03), (0.30, 0.06), (0.06, 0.40), (0.12, 0.82), (0.46, 1.00), (0.84, 0.80), (0.95, 0.42), (0.76, 0.10), (0.40, 0.08)]],
    ],
    &[
        &[&[(0.52, 0.00), (0.50, 0.50), (0.50, 1.00)]],
        &[&[(0.22, 0.26), (0.42, 0.14), (0.56, 0.00)], &[(0.56, 0.00), (0.55, 0.50), (0.54, 1.00)]],
        &[&[(0.26, 0.22), (0.44, 0.12), (0.56, 0.00)], &[(0.56, 0.00), (0.55, 0.50), (0.54, 1.00)], &[(0.20, 1.00), (0.55, 0.99), (0.90, 1.00)]],
    ],
    &[
        &[&[(0.08, 0.24), (0.28, 0.03), (0.64, 0.01), (0.86, 0.22), (0.72, 0.50), (0.38, 0.78), (0.06, 0.99)], &[(0.06, 0.99), (0.50, 0.98), (0.94, 0.99)]],
        &[&[(0.10, 0.20), (0.36, 0.01), (0.76, 0.08), (0.82, 0.34), (0.52, 0.68), (0.18, 0.96), (0.04, 0.88), (0.20, 0.76), (0.48, 0.90), (0.74, 1.00), (0.98, 0.86)]],
    ],
    &[
        &[&[(0.10, 0.14), (0.40, 0.00), (0.78, 0.08), (0.80, 0.32), (0.36, 0.47)], &[(0.36, 0.47), (0.80, 0.56), (0.90, 0.80), (0.50, 1.00), (0.06, 0.86)]],
        &[&[(0.08, 0.02), (0.46, 0.01), (0.86, 0.02)], &[(0.86, 0.02), (0.62, 0.22), (0.42, 0.40)], &[(0.42, 0.40), (0.82, 0.50), (0.90, 0.78), (0.48, 1.00), (0.06, 0.88)]],
    ],
    &[
        &[&[(0.30, 0.00), (0.18, 0.30), (0.05, 0.58)], &[(0.05, 0.58), (0.50, 0.58), (0.96, 0.56)], &[(0.70, 0.22), (0.68, 0.60), (0.64, 1.00)]],
        &[&[(0.64, 0.00), (0.36, 0.32), (0.04, 0.66)], &[(0.04, 0.66), (0.50, 0.66), (0.98, 0.65)], &[(0.64, 0.00), (0.66, 0.50), (0.65, 1.00)]],
        &[&[(0.10, 0.04), (0.08, 0.36), (0.34, 0.52), (0.84, 0.44)], &[(0.86, 0.02), (0.84, 0.50), (0.78, 1.00)]],
    ],
    &[
        &[&[(0.90, 0.01), (0.56, 0.02), (0.22, 0.02)], &[(0.22, 0.02), (0.18, 0.22), (0.13, 0.44)], &[(0.13, 0.44), (0.48, 0.34), (0.88, 0.52), (0.84, 0.86), (0.46, 1.00), (0.06, 0.88)]],
        &[&[(0.96, 0.00), (0.60, 0.06), (0.30, 0.04)], &[(0.30, 0.04), (0.20, 0.26), (0.22, 0.42), (0.56, 0.46), (0.82, 0.68), (0.62, 0.94), (0.10, 1.00)]],
    ],
    &[
        &[&[(0.76, 0.02), (0.40, 0.16), (0.12, 0.50), (0.12, 0.82), (0.46, 1.00), (0.84, 0.86), (0.82, 0.60), (0.48, 0.50), (0.14, 0.68)]],
        &[&[(0.56, 0.00), (0.28, 0.34), (0.10, 0.70), (0.28, 0.97), (0.68, 0.98), (0.88, 0.76), (0.66, 0.58), (0.32, 0.66), (0.20, 0.86)]],
    ],
    &[
        &[&[(0.06, 0.05), (0.48, 0.03), (0.92, 0.03)], &[(0.92, 0.03), (0.62, 0.44), (0.40, 1.00)]],
        &[&[(0.06, 0.05), (0.48, 0.03), (0.92, 0.03)], &[(0.92, 0.03), (0.62, 0.44), (0.40, 1.00)], &[(0.26, 0.52), (0.52, 0.50), (0.82, 0.48)]],
        &[&[(0.08, 0.22), (0.09, 0.10), (0.12, 0.03)], &[(0.12, 0.03), (0.50, 0.06), (0.90, 0.01)], &[(0.90, 0.01), (0.70, 0.40), (0.60, 1.00)]],
    ],
    &[
        &[&[(0.78, 0.14), (0.50, 0.00), (0.20, 0.14), (0.28, 0.38), (0.68, 0.56), (0.88, 0.80), (0.50, 1.00), (0.12, 0.82), (0.30, 0.56), (0.70, 0.38), (0.80, 0.16), (0.62, 0.03)]],
        &[&[(0.52, 0.46), (0.22, 0.34), (0.24, 0.10), (0.52, 0.00), (0.78, 0.12), (0.78, 0.34), (0.50, 0.46)], &[(0.50, 0.46), (0.14, 0.62), (0.16, 0.90), (0.52, 1.00), (0.86, 0.88), (0.86, 0.62), (0.50, 0.46)]],
    ],
    &[
        &[&[(0.84, 0.20), (0.56, 0.00), (0.16, 0.14), (0.14, 0.42), (0.48, 0.54), (0.82, 0.32)], &[(0.86, 0.10), (0.83, 0.54), (0.74, 1.00)]],
        &[&[(0.86, 0.24), (0.58, 0.01), (0.20, 0.10), (0.12, 0.36), (0.42, 0.52), (0.78, 0.38), (0.87, 0.22), (0.86, 0.60), (0.64, 0.92), (0.22, 0.98)]],
    ],
];

static CLASS_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..10).map(|digit| digit.to_string()).collect());

/// A set of drawn digits, 28x28, white on black, ten classes: it needs no files and no network.
///
/// They are made to be hard for a linear classifier (about 81 % on 1,000 after training on 6,000) and easy for a
/// small convolutional network (about 99 %). Sample `index` is a function of the seed and `index` alone and is drawn when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    count: usize,
    seed: u64,
}

impl Digits {
    /// `count` digits of the stream `seed`.
    #[must_use]
    pub fn new(count: usize, seed: u64) -> Self {
        Self { count, seed }
    }

    fn random(&self, index: usize) -> SplitMix {
        assert!(index < self.count, "there is no sample {index} among {}", self.count);
        SplitMix::keyed(self.seed, index as u64)
    }
}

impl Source for Digits {
    fn len(&self) -> usize {
        self.count
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let mut random = self.random(index);
        let digit = random.below(10) as usize;
        *buffer = draw(digit, &mut random);
        Ok(Stored::Pixels { width: SIDE as u32, height: SIDE as u32, channels: 1, bytes: buffer })
    }

    fn label(&self, index: usize) -> u32 {
        self.random(index).below(10) as u32
    }

    fn place(&self, index: usize) -> Place {
        Place::record(format!("digits of seed {}", self.seed), index as u64)
    }

    fn class_names(&self) -> &[String] {
        &CLASS_NAMES
    }
}

/// The pixels of one drawing.
fn draw(digit: usize, random: &mut SplitMix) -> Vec<u8> {
    let hand = Hand::new(random);
    let pen = Pen::new(random);
    let writings = WRITINGS[digit];
    let writing = writings[random.below(writings.len() as u64) as usize];
    let mut ink = [0.0f32; SIDE * SIDE];
    for stroke in writing {
        let points: Vec<Point> = stroke.iter().map(|p| hand.place(jitter(*p, random))).collect();
        let gap = if random.chance(0.06) { random.between(0.2, 0.8) } else { -1.0 };
        pen.follow(&mut ink, &smooth(&points), gap);
    }
    if random.chance(0.12) {
        scribble(&mut ink, &pen, random);
    }
    scan(&ink, random)
}

fn jitter((x, y): Point, random: &mut SplitMix) -> Point {
    (x + 0.030 * random.bell(), y + 0.024 * random.bell())
}

/// How a whole digit is bent, slanted, turned, scaled and shifted.
struct Hand {
    /// Displacements at the corners of 3x3 cells over the box.
    warp: [[Point; 4]; 4],
    width: f32,
    height: f32,
    slant: f32,
    sin: f32,
    cos: f32,
    center: Point,
}

impl Hand {
    fn new(random: &mut SplitMix) -> Self {
        let mut warp = [[(0.0, 0.0); 4]; 4];
        for corner in warp.iter_mut().flatten() {
            *corner = (0.042 * random.bell(), 0.042 * random.bell());
        }
        let height = random.between(14.4, 21.0);
        let width = height * random.between(0.48, 0.90);
        let slant = (0.18 * random.bell() + 0.08).clamp(-0.45, 0.55);
        let angle = (0.12 * random.bell()).clamp(-0.38, 0.38);
        // Taylor series: right to seven digits for angles this small.
        let square = angle * angle;
        let sin = angle * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0)));
        let cos = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0));
        let room = (SIDE as f32 - height) / 2.0 - 1.5;
        let reach = room.clamp(1.0, 2.7);
        let shift = |random: &mut SplitMix| SIDE as f32 / 2.0 + random.between(-reach, reach);
        let center = (shift(random), shift(random));
        Self { warp, width, height, slant, sin, cos, center }
    }

    /// Where a point of the unit box lies in the picture, in pixels.
    fn place(&self, (x, y): Point) -> Point {
        let (dx, dy) = self.bend(x, y);
        let (x, y) = (x + dx - 0.5, y + dy - 0.5);
        let (x, y) = (x * self.width - y * self.slant * self.height, y * self.height);
        (self.center.0 + x * self.cos - y * self.sin, self.center.1 + x * self.sin + y * self.cos)
    }

    /// The displacement at a point, between those of the four corners around it.
    fn bend(&self, x: f32, y: f32) -> Point {
        let cell = |v: f32| {
            let v = v.clamp(0.0, 1.0) * 3.0;
            let i = v.floor().min(2.0);
            (i as usize, v - i)
        };
        let ((i, u), (j, v)) = (cell(x), cell(y));
        let mix = |pick: fn(Point) -> f32| {
            let at = |j: usize, i: usize| pick(self.warp[j][i]);
            let top = at(j, i) * (1.0 - u) + at(j, i + 1) * u;
            let bottom = at(j + 1, i) * (1.0 - u) + at(j + 1, i + 1) * u;
            top * (1.0 - v) + bottom * v
        };
        (mix(|p| p.0), mix(|p| p.1))
    }
}

/// Points along a smooth (Catmull-Rom) curve through `points`.
fn smooth(points: &[Point]) -> Vec<Point> {
    const STEPS: usize = 6;
    let mut curve = Vec::with_capacity(points.len() * STEPS);
    for i in 0..points.len() - 1 {
        let (a, b) = (points[i.saturating_sub(1)], points[i]);
        let (c, d) = (points[i + 1], points[(i + 2).min(points.len() - 1)]);
        for step in 0..STEPS {
            let t = step as f32 / STEPS as f32;
            let at = |a: f32, b: f32, c: f32, d: f32| {
                b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
            };
            curve.push((at(a.0, b.0, c.0, d.0), at(a.1, b.1, c.1, d.1)));
        }
    }
    curve.extend(points.last());
    curve
}

/// What the strokes are drawn with.
struct Pen {
    /// Half the width of a stroke in pixels.
    radius: f32,
    /// How much the radius changes from the beginning to the end of a stroke, and in its middle.
    taper: f32,
    swell: f32,
}

impl Pen {
    fn new(random: &mut SplitMix) -> Self {
        let radius = random.between(0.55, 1.75);
        Self { radius, taper: random.between(-0.35, 0.35), swell: random.between(-0.25, 0.3) }
    }

    /// Draws along `curve`; `gap` is where, from 0 to 1, the ink fails for a moment.
    fn follow(&self, ink: &mut [f32; SIDE * SIDE], curve: &[Point], gap: f32) {
        let last = (curve.len() - 1) as f32;
        for (i, pair) in curve.windows(2).enumerate() {
            let t = (i as f32 + 0.5) / last;
            if (t - gap) * (t - gap) < 0.0036 {
                continue;
            }
            let pressure = 1.0 + self.taper * (t - 0.5) + self.swell * (4.0 * t * (1.0 - t) - 0.5);
            segment(ink, pair[0], pair[1], (self.radius * pressure).max(0.4));
        }
    }
}

/// Draws a line with round ends; the edge of the ink is one pixel soft.
fn segment(ink: &mut [f32; SIDE * SIDE], from: Point, to: Point, radius: f32) {
    let reach = radius + 0.5;
    let range = |a: f32, b: f32| {
        let low = (a.min(b) - reach).floor().clamp(0.0, SIDE as f32) as usize;
        let high = (a.max(b) + reach).ceil().clamp(0.0, SIDE as f32) as usize;
        low..high
    };
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx * dx + dy * dy;
    for row in range(from.1, to.1) {
        for column in range(from.0, to.0) {
            let (x, y) = (column as f32 + 0.5 - from.0, row as f32 + 0.5 - from.1);
            let t = if length > 0.0 { ((x * dx + y * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
            let (x, y) = (x - t * dx, y - t * dy);
            let value = (reach - (x * x + y * y).sqrt()).clamp(0.0, 1.0);
            let pixel = &mut ink[row * SIDE + column];
            *pixel = pixel.max(value);
        }
    }
}

/// A stray mark: a short stroke of a thin pen near the edge.
fn scribble(ink: &mut [f32; SIDE * SIDE], pen: &Pen, random: &mut SplitMix) {
    let side = SIDE as f32;
    let along = random.between(0.0, side);
    let depth = random.between(-1.0, 4.0);
    let start = match random.below(4) {
        0 => (along, depth),
        1 => (along, side - depth),
        2 => (depth, along),
        _ => (side - depth, along),
    };
    let step = |random: &mut SplitMix| random.between(-4.0, 4.0);
    let middle = (start.0 + step(random), start.1 + step(random));
    let end = (middle.0 + step(random), middle.1 + step(random));
    let thin = Pen { radius: pen.radius.min(0.9), taper: 0.0, swell: 0.0 };
    thin.follow(ink, &smooth(&[start, middle, end]), -1.0);
}

/// What a scanner makes of ink: blur, contrast, a gray ground, noise and specks.
fn scan(ink: &[f32; SIDE * SIDE], random: &mut SplitMix) -> Vec<u8> {
    let blur = random.between(0.0, 0.8);
    let bright = random.between(0.6, 1.0);
    let ground = random.between(-0.06, 0.10).max(0.0);
    let noise = random.between(-0.02, 0.10).max(0.0);
    let specks = random.below(6);
    let blurred = soften(ink, blur);
    let mut picture: Vec<f32> =
        blurred.iter().map(|v| ground + (bright - ground) * v + noise * random.between(-1.0, 1.0)).collect();
    for _ in 0..specks {
        let pixel = &mut picture[random.below((SIDE * SIDE) as u64) as usize];
        *pixel += random.between(-0.5, 0.5);
    }
    picture.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
}

/// Mixes each pixel with its 3x3 binomial neighborhood by `amount`.
fn soften(ink: &[f32; SIDE * SIDE], amount: f32) -> Vec<f32> {
    let at = |row: usize, column: usize| {
        // One beyond each border the picture is black.
        let inside = (1..=SIDE).contains(&row) && (1..=SIDE).contains(&column);
        if inside { ink[(row - 1) * SIDE + column - 1] } else { 0.0 }
    };
    let mut soft = Vec::with_capacity(SIDE * SIDE);
    for row in 1..=SIDE {
        for column in 1..=SIDE {
            let line = |row: usize| at(row, column - 1) + 2.0 * at(row, column) + at(row, column + 1);
            let around = (line(row - 1) + 2.0 * line(row) + line(row + 1)) / 16.0;
            soft.push(at(row, column) * (1.0 - amount) + around * amount);
        }
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conforms;

    #[test]
    fn digits_conform_and_all_classes_come() {
        let digits = Digits::new(1000, 3);
        conforms(&digits);
        assert!(crate::class_counts(&digits).iter().all(|&count| (60..150).contains(&count)));
    }

    #[test]
    fn the_seed_and_the_index_alone_decide() {
        let (short, long) = (Digits::new(5, 3), Digits::new(50, 3));
        assert_eq!(short.read(4).unwrap(), long.read(4).unwrap());
        assert_ne!(short.read(4).unwrap().image, Digits::new(5, 4).read(4).unwrap().image);
    }

    #[test]
    fn every_drawing_has_ink_in_the_middle_and_little_at_the_edge() {
        let digits = Digits::new(500, 9);
        for index in 0..500 {
            let image = digits.read(index).unwrap().image;
            let middle = (6..22).flat_map(|y| (6..22).map(move |x| y * SIDE + x));
            let bright = middle.filter(|&i| image.pixels()[i] > 100).count();
            assert!(bright > 8, "digit {index} has {bright} bright pixels");
        }
    }

    #[test]
    fn drawings_are_the_same_bits_on_every_platform() {
        use sha2::{Digest, Sha256};
        let digits = Digits::new(200, 42);
        let mut hash = Sha256::new();
        for index in 0..200 {
            hash.update(digits.read(index).unwrap().image.pixels());
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "bfbb5483f0fbff1aa1b0ccb63935445d31422126d1ded9f3d03bab70ff20b06b");
    }
}
