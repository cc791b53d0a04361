//! Damaged pictures of every format, thousands of them.

use std::io::Cursor;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};

use super::{Limits, decode};
use crate::ErrorKind;
use crate::order::SampleRng;

/// One of the ways in which files are damaged.
fn damage(bytes: &mut Vec<u8>, rng: &mut SampleRng) {
    let place = |rng: &mut SampleRng, len: usize| rng.below(len.max(1) as u64) as usize;
    match rng.below(5) {
        // Bits flip, anywhere or in the header.
        kind @ (0 | 1) => {
            let reach = if kind == 0 { bytes.len() } else { bytes.len().min(64) };
            for _ in 0..1 + rng.below(8) {
                let at = place(rng, reach);
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        // The end is missing.
        2 => bytes.truncate(place(rng, bytes.len())),
        // A piece lies twice, or is gone.
        3 => {
            let (from, to) = (place(rng, bytes.len()), place(rng, bytes.len()));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            let at = place(rng, bytes.len());
            bytes.splice(at..at, piece);
        }
        _ => {
            let (from, to) = (place(rng, bytes.len()), place(rng, bytes.len()));
            bytes.drain(from.min(to)..from.max(to));
        }
    }
}

#[test]
fn four_thousand_damaged_pictures_decode_or_fail_in_time_and_within_the_limits() {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, (x * y) as u8]));
    let limits = Limits { max_width: 4096, max_height: 4096, max_bytes: 4 << 20, max_file_bytes: 1 << 20 };
    let formats = [Jpeg, Png, WebP, Bmp, Gif, Tiff, Pnm];
    let files = formats.map(|format| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    });
    let (mut decoded, mut slowest) = (0, Duration::ZERO);
    for number in 0..4_200 {
        let mut rng = SampleRng::new(1, 2, number, 3);
        let mut bytes = files[number as usize % files.len()].clone();
        for _ in 0..1 + rng.below(3) {
            if !bytes.is_empty() {
                damage(&mut bytes, &mut rng);
            }
        }
        let started = Instant::now();
        match decode(&bytes, &limits) {
            Ok(image) => {
                decoded += 1;
                assert!(image.pixels().len() as u64 <= limits.max_bytes, "number {number}");
            }
            Err(ErrorKind::Decode(reason)) => {
                assert!(!reason.contains("gave up"), "a decoder panicked on number {number}");
            }
            Err(_) => {}
        }
        slowest = slowest.max(started.elapsed());
    }
    println!("{decoded} decoded, the slowest in {slowest:?}");
    assert!(decoded > 100 && slowest < Duration::from_secs(5), "{decoded}, {slowest:?}");
}
