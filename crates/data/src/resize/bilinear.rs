//! Bilinear resizing of colour pictures to no less than half of their size, with AVX2: what random crops are as a rule.
//!
//! As Pillow does it, first along the rows, then along the columns, with bytes between them, and weights of 14 bits where Pillow has 22:
//! one value in a thousand is another one's neighbour. `fast_image_resize`, which does all else, takes twice as long for these:
//! here eight pixels of a row are made at once, from at most four each, and mirrored on the way.

use std::arch::x86_64::{__m128i, __m256i};
use std::cell::RefCell;

use pulp::cast;
use pulp::x86::V3;

use super::Region;
use crate::image::Pixels;

/// Pixels that one output pixel is made of, at most.
const TAPS: usize = 4;
/// Output pixels made at once.
const GROUP: usize = 8;
/// The weights of an output pixel add up to `1 << SHIFT`.
const SHIFT: i32 = 14;
const HALF: [i32; 8] = [1 << (SHIFT - 1); 8];
/// Bytes that are made at once of a row of the result.
const CHUNK: usize = 16;

/// What the pixels of one output pixel count.
#[derive(Clone, Copy)]
struct Tap {
    /// The first of the pixels.
    start: usize,
    weights: [i16; TAPS],
}

/// Eight output pixels of a row: number `k` and `4 + k` share a register.
#[derive(Clone, Copy)]
struct Group {
    /// Where their pixels begin, in bytes.
    starts: [usize; GROUP],
    /// For each register, the weights of the first and of the last two pixels.
    weights: [[[i16; 16]; 2]; 4],
}

/// Room that one picture leaves to the next.
#[derive(Default)]
struct Scratch {
    across: Vec<Tap>,
    down: Vec<Tap>,
    groups: Vec<Group>,
    /// Rows of the picture at the width of the result.
    rows: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// `region` of `image`, which lies within it, as `[height, width, 3]`; mirrored if `mirror`. `None` where the picture is not in colour,
/// too small or shrinks too much, or the processor has no AVX2.
pub(super) fn resize(
    image: Pixels<'_>,
    region: &Region,
    (width, height): (u32, u32),
    mirror: bool,
) -> Option<Vec<u8>> {
    let v3 = V3::try_new().filter(|_| image.channels == 3)?;
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { across, down, groups, rows } = scratch;
        taps(across, region.left, region.width, width, image.width)?;
        taps(down, region.top, region.height, height, image.height)?;
        if mirror {
            across.reverse();
        }
        group(across, groups);
        let pairs_across = pairs(across);
        let first = down.iter().map(|tap| tap.start).min()?;
        let last = down.iter().map(|tap| tap.start + TAPS).max()?;
        let stride = image.width as usize * 3;
        let row = width as usize * 3;
        let padded = (row.next_multiple_of(GROUP * 3) + 4).next_multiple_of(CHUNK);
        rows.resize((last - first) * padded, 0);
        for (number, wide) in (first..last).zip(rows.chunks_exact_mut(padded)) {
            let pixels = &image.bytes[number * stride..];
            match pairs_across {
                1 => v3.vectorize(Across::<1> { v3, pixels, groups, wide }),
                _ => v3.vectorize(Across::<2> { v3, pixels, groups, wide }),
            }
        }
        let mut pixels = vec![0; row * height as usize];
        for (tap, out) in down.iter().zip(pixels.chunks_exact_mut(row)) {
            let rows = &rows[(tap.start - first) * padded..][..TAPS * padded];
            match pairs(&[*tap]) {
                1 => v3.vectorize(Down::<1> { v3, rows, padded, weights: tap.weights, out }),
                _ => v3.vectorize(Down::<2> { v3, rows, padded, weights: tap.weights, out }),
            }
        }
        Some(pixels)
    })
}

/// The weights of a triangle as wide as the output pixels or the pixels, whichever are wider, as Pillow takes them: of `count` output pixels
/// over `length` pixels from `from` on, of `side` pixels.
fn taps(taps: &mut Vec<Tap>, from: f64, length: f64, count: u32, side: u32) -> Option<()> {
    let scale = length / f64::from(count);
    let support = scale.max(1.0);
    let side = side as usize;
    if side < TAPS || 2.0 * support > TAPS as f64 {
        return None;
    }
    taps.clear();
    let steepness = 1.0 / support;
    for place in 0..count {
        let center = from + (f64::from(place) + 0.5) * scale;
        let start = ((center - support + 0.5) as usize).min(side - TAPS);
        let exact: [f64; TAPS] =
            std::array::from_fn(|at| (1.0 - ((start + at) as f64 - center + 0.5).abs() * steepness).max(0.0));
        let whole = f64::from(1 << SHIFT) / exact.iter().sum::<f64>();
        let mut weights = exact.map(|weight| (weight * whole + 0.5) as i16);
        // What rounding leaves goes to the largest, so that they add up.
        let largest = (1..TAPS).fold(0, |largest, at| if exact[at] > exact[largest] { at } else { largest });
        weights[largest] += ((1 << SHIFT) - weights.iter().map(|w| i32::from(*w)).sum::<i32>()) as i16;
        taps.push(Tap { start, weights });
    }
    Some(())
}

/// Whether the first two pixels are enough for all, as they are where a picture grows.
fn pairs(taps: &[Tap]) -> usize {
    if taps.iter().all(|tap| tap.weights[2..] == [0, 0]) { 1 } else { 2 }
}

fn group(taps: &[Tap], groups: &mut Vec<Group>) {
    groups.clear();
    for some in taps.chunks(GROUP) {
        let tap = |number: usize| some[number.min(some.len() - 1)];
        groups.push(Group {
            starts: std::array::from_fn(|number| 3 * tap(number).start),
            weights: std::array::from_fn(|register| {
                let [low, high] = [tap(register), tap(GROUP / 2 + register)].map(|tap| tap.weights);
                std::array::from_fn(|pair| {
                    std::array::from_fn(|at| (if at < 8 { low } else { high })[2 * pair + at % 2])
                })
            }),
        });
    }
}

/// Makes one row of the picture as wide as the result.
struct Across<'a, const PAIRS: usize> {
    v3: V3,
    /// From the row on.
    pixels: &'a [u8],
    groups: &'a [Group],
    wide: &'a mut [u8],
}

/// Of four pixels of three bytes: the first two, and the last two, a channel after the other, as numbers of 16 bits.
const SPREAD: [[u8; 16]; 2] = [spread(0), spread(6)];

const fn spread(first: u8) -> [u8; 16] {
    let mut places = [0x80; 16];
    let mut channel = 0;
    while channel < 3 {
        places[4 * channel] = first + channel as u8;
        places[4 * channel + 2] = first + 3 + channel as u8;
        channel += 1;
    }
    places
}

/// Drops every fourth byte.
const DENSE: [u8; 16] = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0x80, 0x80, 0x80, 0x80];

impl<const PAIRS: usize> pulp::NullaryFnOnce for Across<'_, PAIRS> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { v3, pixels, groups, wide } = self;
        let twice = |half: [u8; 16]| -> __m256i { cast([half, half]) };
        let spread = SPREAD.map(twice);
        let dense = twice(DENSE);
        for (number, group) in groups.iter().enumerate() {
            // Written out: closures of arrays would not be compiled for this processor.
            let sums = [
                sum::<PAIRS>(v3, pixels, group, 0, &spread),
                sum::<PAIRS>(v3, pixels, group, 1, &spread),
                sum::<PAIRS>(v3, pixels, group, 2, &spread),
                sum::<PAIRS>(v3, pixels, group, 3, &spread),
            ];
            let first = v3.avx2._mm256_packs_epi32(sums[0], sums[1]);
            let last = v3.avx2._mm256_packs_epi32(sums[2], sums[3]);
            let bytes = v3.avx2._mm256_packus_epi16(first, last);
            let bytes = v3.avx2._mm256_shuffle_epi8(bytes, dense);
            let low: [u8; 16] = cast(v3.avx._mm256_castsi256_si128(bytes));
            let high: [u8; 16] = cast(v3.avx2._mm256_extracti128_si256::<1>(bytes));
            // What is written too much is written over by what follows.
            let out = &mut wide[number * GROUP * 3..];
            store(out, 0, low);
            store(out, 12, high);
        }
    }
}

/// The output pixels of one register, a number of 32 bits a channel.
#[inline(always)]
fn sum<const PAIRS: usize>(
    v3: V3,
    pixels: &[u8],
    group: &Group,
    register: usize,
    spread: &[__m256i; 2],
) -> __m256i {
    let low = load(pixels, group.starts[register]);
    let high = load(pixels, group.starts[GROUP / 2 + register]);
    let bytes = v3.avx._mm256_set_m128i(high, low);
    let mut sum: __m256i = cast(HALF);
    for (spread, weights) in spread.iter().zip(&group.weights[register]).take(PAIRS) {
        let values = v3.avx2._mm256_shuffle_epi8(bytes, *spread);
        let products = v3.avx2._mm256_madd_epi16(values, cast(*weights));
        sum = v3.avx2._mm256_add_epi32(sum, products);
    }
    v3.avx2._mm256_srai_epi32::<SHIFT>(sum)
}

/// Sixteen bytes, of which twelve are needed and there.
#[inline(always)]
fn load(pixels: &[u8], start: usize) -> __m128i {
    match pixels[start..].first_chunk::<16>() {
        Some(bytes) => cast(*bytes),
        None => load_last(&pixels[start..]),
    }
}

/// At the end of the picture.
#[cold]
#[inline(never)]
fn load_last(rest: &[u8]) -> __m128i {
    let mut bytes = [0; 16];
    bytes[..rest.len()].copy_from_slice(rest);
    cast(bytes)
}

#[inline(always)]
fn store(out: &mut [u8], start: usize, bytes: [u8; 16]) {
    if let Some(out) = out.get_mut(start..).and_then(|out| out.first_chunk_mut()) {
        *out = bytes;
    }
}

/// Makes one row of the result of four wide rows.
struct Down<'a, const PAIRS: usize> {
    v3: V3,
    rows: &'a [u8],
    padded: usize,
    weights: [i16; TAPS],
    out: &'a mut [u8],
}

impl<const PAIRS: usize> pulp::NullaryFnOnce for Down<'_, PAIRS> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { v3, rows, padded, weights, out } = self;
        let pair = |pair: usize| -> __m256i {
            cast::<[i16; 16], __m256i>(std::array::from_fn(|at| weights[2 * pair + at % 2]))
        };
        let weights = [pair(0), pair(1)];
        let rows: [&[u8]; TAPS] = std::array::from_fn(|row| &rows[row * padded..][..padded]);
        let (chunks, rest) = out.as_chunks_mut::<CHUNK>();
        for (number, chunk) in chunks.iter_mut().enumerate() {
            *chunk = sixteen::<PAIRS>(v3, &rows, &weights, number * CHUNK);
        }
        if !rest.is_empty() {
            let last = sixteen::<PAIRS>(v3, &rows, &weights, chunks.len() * CHUNK);
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

/// The bytes from `start` on of a row of the result.
#[inline(always)]
fn sixteen<const PAIRS: usize>(
    v3: V3,
    rows: &[&[u8]; TAPS],
    weights: &[__m256i; 2],
    start: usize,
) -> [u8; CHUNK] {
    let (mut low, mut high): (__m256i, __m256i) = (cast(HALF), cast(HALF));
    for (rows, weights) in rows.as_chunks::<2>().0.iter().zip(weights).take(PAIRS) {
        let first = v3.avx2._mm256_cvtepu8_epi16(load(rows[0], start));
        let second = v3.avx2._mm256_cvtepu8_epi16(load(rows[1], start));
        let (l, h) =
            (v3.avx2._mm256_unpacklo_epi16(first, second), v3.avx2._mm256_unpackhi_epi16(first, second));
        low = v3.avx2._mm256_add_epi32(low, v3.avx2._mm256_madd_epi16(l, *weights));
        high = v3.avx2._mm256_add_epi32(high, v3.avx2._mm256_madd_epi16(h, *weights));
    }
    let (low, high) = (v3.avx2._mm256_srai_epi32::<SHIFT>(low), v3.avx2._mm256_srai_epi32::<SHIFT>(high));
    let words = v3.avx2._mm256_packs_epi32(low, high);
    let bytes = v3.avx2._mm256_packus_epi16(words, words);
    let bytes = v3.avx2._mm256_permute4x64_epi64::<0b1000>(bytes);
    cast(v3.avx._mm256_castsi256_si128(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::SampleRng;
    use crate::resize::resize_pixels;
    use crate::{Filter, Image, resize_region};

    #[test]
    fn regions_of_every_kind_are_those_of_pillow() {
        if V3::try_new().is_none() {
            println!("skipped: this processor has no AVX2");
            return;
        }
        let mut rng = SampleRng::new(0, 0, 0, 0);
        let (mut others, mut all) = (0, 0);
        for case in 0..60 {
            let [width, height, out_width, out_height] =
                [4, 4, 1, 1].map(|least| least + rng.below(40) as u32);
            let pixels = (0..width * height * 3).map(|_| rng.below(256) as u8).collect();
            let image = Image::new(width, height, 3, pixels);
            let mut part = |side: u32| {
                let length = 0.5 + (f64::from(side) - 0.5) * rng.below(1000) as f64 / 999.0;
                ((f64::from(side) - length) * rng.below(1000) as f64 / 999.0, length)
            };
            let ((left, region_width), (top, region_height)) = (part(width), part(height));
            let region = Region { left, top, width: region_width, height: region_height };
            let size = (out_width, out_height);
            let fits =
                region_width <= 2.0 * f64::from(out_width) && region_height <= 2.0 * f64::from(out_height);
            let resized = resize((&image).into(), &region, size, false);
            assert_eq!(resized.is_some(), fits, "case {case}");
            let Some(out) = resized else { continue };
            let expected = resize_region(&image, &region, out_width, out_height, Filter::Bilinear);
            let expected = expected.pixels();
            assert!(out.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1), "case {case}");
            // Where the width grows and the height shrinks, Pillow begins with the columns.
            if region_width >= f64::from(out_width) || region_height <= f64::from(out_height) {
                others += out.iter().zip(expected).filter(|(a, b)| a != b).count();
                all += out.len();
            }
            let mirrored = resize((&image).into(), &region, size, true).unwrap();
            let mut back = Image::new(out_width, out_height, 3, mirrored);
            back.mirror();
            assert_eq!(back.pixels(), out, "case {case}");
        }
        assert!(all > 20_000 && others * 200 < all, "{others} of {all}");
    }

    #[test]
    fn an_even_picture_stays_even_to_its_last_pixel() {
        for (width, height) in [(4, 4), (5, 31), (64, 48)] {
            let image = Image::new(width, height, 3, [255, 0, 131].repeat((width * height) as usize));
            let region = Region {
                left: 0.3,
                top: 0.1,
                width: f64::from(width) - 0.3,
                height: f64::from(height) - 0.1,
            };
            for size in [width.div_ceil(2), width, 3 * width + 1] {
                let even =
                    resize_pixels((&image).into(), &region, (size, size), Filter::Bilinear, false, false);
                assert_eq!(even.pixels(), [255, 0, 131].repeat((size * size) as usize));
            }
        }
    }
}
