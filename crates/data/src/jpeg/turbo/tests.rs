//! Against our own decoder, itself and damage.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::*;
use crate::jpeg::synthetic::{GRAY, SAMPLINGS, Synthetic};
use crate::jpeg::{Scratch, Task};
use crate::order::SampleRng;
use crate::testing::shared_data;
use crate::{ErrorKind, Limits};

fn read(bytes: &[u8]) -> Header {
    Header::read(bytes, &Limits::default()).unwrap().unwrap()
}

fn all_of(header: &Header, reduce: u32) -> Window {
    Window { left: 0, top: 0, width: header.width.div_ceil(reduce), height: header.height.div_ceil(reduce) }
}

fn turbo(bytes: &[u8], window: &Window, reduce: u32) -> Vec<u8> {
    let mut pixels = Vec::new();
    decode(bytes, &read(bytes), window, reduce, &mut pixels).unwrap();
    pixels
}

fn ours(bytes: &[u8], header: &Header, window: Window) -> Result<Vec<u8>, super::super::Damage> {
    let (mut scratch, mut pixels) = (Scratch::default(), Vec::new());
    let task = Task { bytes, header, window, reduce: 1, scratch: &mut scratch, pixels: &mut pixels };
    task.run_with_best().map(|()| pixels)
}

fn within(rng: &mut SampleRng, size: u32) -> (u32, u32) {
    let start = rng.below(size.into()) as u32;
    (start, 1 + rng.below((size - start).into()) as u32)
}

/// Some windows of a picture, at every size, against the same part of all of it.
fn windows_are_parts_of_the_whole(bytes: &[u8], rng: &mut SampleRng) {
    let header = read(bytes);
    let channels = usize::from(header.channels);
    for reduce in [1, 2, 4, 8] {
        let full = all_of(&header, reduce);
        let all = turbo(bytes, &full, reduce);
        for _ in 0..4 {
            let ((left, width), (top, height)) = (within(rng, full.width), within(rng, full.height));
            let window = Window { left, top, width, height };
            let rows = all.chunks_exact(full.width as usize * channels);
            let shown = rows.skip(top as usize).take(height as usize);
            let cut = |row: &[u8]| row[left as usize * channels..][..width as usize * channels].to_vec();
            let expected: Vec<u8> = shown.flat_map(cut).collect();
            let size = (full.width, full.height);
            assert!(turbo(bytes, &window, reduce) == expected, "{window:?} of {size:?} at 1/{reduce}");
        }
    }
}

fn synthetic(seed: u64, rng: &mut SampleRng) -> Vec<u8> {
    let sampling = [GRAY, SAMPLINGS[0], SAMPLINGS[1], SAMPLINGS[2], SAMPLINGS[3]][seed as usize % 5];
    let (width, height) = (1 + rng.below(90) as u16, 1 + rng.below(70) as u16);
    let restart = [0, 1, 3, 4][rng.below(4) as usize];
    Synthetic { width, height, sampling, restart, seed }.write()
}

const FACTORS: [SamplingFactor; 4] =
    [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2];

/// A picture that is different everywhere, in `scans` a component (0 for baseline).
fn picture((width, height): (u16, u16), factor: SamplingFactor, color: ColorType, scans: u8) -> Vec<u8> {
    let channels = if color == ColorType::Luma { 1 } else { 3 };
    let value = |i: usize| {
        let (x, y, c) = (i / channels % usize::from(width), i / channels / usize::from(width), i % channels);
        let wave = ((x + 2 * y) as f32 / [17.0, 9.0, 5.0][c]).sin();
        (127.0 + 100.0 * wave) as u8 + (x * 7 + y * 13) as u8 % 21
    };
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * channels).map(value).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 85);
    encoder.set_sampling_factor(factor);
    if scans > 0 {
        encoder.set_progressive_scans(scans);
    }
    encoder.encode(&pixels, width, height, color).unwrap();
    bytes
}

#[test]
fn whole_pictures_are_those_of_our_decoder() {
    let mut rng = SampleRng::new(2, 7, 1, 8);
    for seed in 0..200 {
        let bytes = synthetic(seed, &mut rng);
        let header = read(&bytes);
        let all = all_of(&header, 1);
        assert!(turbo(&bytes, &all, 1) == ours(&bytes, &header, all).unwrap(), "number {seed}, {all:?}");
    }
}

#[test]
fn photos_and_their_parts_are_those_of_our_decoder() {
    let Some(folder) = shared_data("imagenet_sample_1000") else { return };
    let (mut rng, mut count) = (SampleRng::new(3, 1, 4, 1), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let Ok(Some(header)) = Header::read(&bytes, &Limits::default()) else { continue };
        if header.is_progressive {
            continue;
        }
        let ((left, width), (top, height)) =
            (within(&mut rng, header.width), within(&mut rng, header.height));
        for window in [all_of(&header, 1), Window { left, top, width, height }] {
            let same = turbo(&bytes, &window, 1) == ours(&bytes, &header, window).unwrap();
            assert!(same, "{}, {window:?}", path.display());
        }
        count += 1;
    }
    println!("{count} photos");
    assert!(count > 20);
}

#[test]
fn any_part_is_that_part_of_the_whole() {
    let mut rng = SampleRng::new(1, 6, 1, 8);
    for seed in 0..400 {
        windows_are_parts_of_the_whole(&synthetic(seed, &mut rng), &mut rng);
    }
    for (factor, scans) in FACTORS.into_iter().zip([2, 4, 9, 20]) {
        for size in [(7, 90), (65, 33), (129, 100)] {
            windows_are_parts_of_the_whole(&picture(size, factor, ColorType::Rgb, scans), &mut rng);
        }
        windows_are_parts_of_the_whole(&picture((70, 50), factor, ColorType::Luma, scans), &mut rng);
    }
}

#[test]
fn progressive_pictures_are_those_of_the_same_coefficients_in_one_scan() {
    for color in [ColorType::Luma, ColorType::Rgb] {
        for (factor, size) in FACTORS.into_iter().zip([(64, 48), (61, 97), (3, 2), (200, 121)]) {
            for scans in [2, 4, 20] {
                let (progressive, plain) =
                    (picture(size, factor, color, scans), picture(size, factor, color, 0));
                assert!(read(&progressive).is_progressive && !read(&plain).is_progressive);
                let (seen, expected) = [&progressive, &plain]
                    .map(|bytes| crate::decode(bytes, &Limits::default()).unwrap())
                    .into();
                assert!(seen == expected, "{size:?}, {scans} scans");
            }
        }
    }
}

#[test]
fn progressive_files_of_other_programs_are_those_that_image_sees() {
    let Some(folder) = shared_data("robust") else { return };
    let (mut folders, mut count) = (vec![folder], 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let Ok(Some(header)) = Header::read(&bytes, &Limits::default()) else { continue };
            if !header.is_progressive {
                continue;
            }
            let seen = image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg);
            let mut pixels = Vec::new();
            let found = decode(&bytes, &header, &all_of(&header, 1), 1, &mut pixels);
            // Damaged ones are gray in places there, and refused here.
            let (Ok(seen), Ok(())) = (seen, found) else { continue };
            let seen = seen.into_bytes();
            assert_eq!(seen.len(), pixels.len(), "{}", path.display());
            let sum: u64 = seen.iter().zip(&pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = sum as f64 / pixels.len() as f64;
            // Chroma is enlarged in another way.
            assert!(mean < 0.6, "{}: {mean}", path.display());
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn a_progressive_picture_that_is_cut_short_is_an_error() {
    let bytes = picture((64, 48), SamplingFactor::F_2_2, ColorType::Rgb, 4);
    let scans: Vec<usize> = memchr::memmem::find_iter(&bytes, &[0xFF, 0xDA]).collect();
    let mut whole = 0;
    for end in 0..bytes.len() - 2 {
        assert!(crate::decode(&bytes[..end], &Limits::default()).is_err(), "cut at {end}");
        // Fewer scans are a picture, and a coarser one; a piece of a scan is none.
        let ended = [&bytes[..end], &[0xFF, 0xD9]].concat();
        whole += usize::from(crate::decode(&ended, &Limits::default()).is_ok());
    }
    assert!(scans.len() > 4 && whole < 3 * scans.len(), "{whole} of {} scans", scans.len());
}

#[test]
fn damaged_pictures_decode_or_fail_and_leave_nothing_to_the_next() {
    let mut rng = SampleRng::new(5, 7, 7, 2);
    let sound = picture((40, 30), SamplingFactor::F_2_2, ColorType::Rgb, 4);
    let expected = turbo(&sound, &all_of(&read(&sound), 1), 1);
    let (mut decoded, mut refused, mut lenient) = (0, 0, 0);
    for round in 0..4000 {
        let mut bytes = match round % 2 {
            0 => sound.clone(),
            _ => synthetic(round, &mut rng),
        };
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(4) {
                0 => bytes.truncate(at.max(2)),
                1 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                _ => bytes[at] ^= 1 << rng.below(8),
            }
        }
        bytes.extend([0xFF, 0xD9]);
        let Ok(Some(header)) = Header::read(&bytes, &Limits::default()) else { continue };
        let all = all_of(&header, 1);
        match decode(&bytes, &header, &all, 1, &mut Vec::new()) {
            Ok(()) => {
                decoded += 1;
                lenient += usize::from(!header.is_progressive && ours(&bytes, &header, all).is_err());
            }
            Err(_) => refused += 1,
        }
        assert!(turbo(&sound, &all_of(&read(&sound), 1), 1) == expected, "after round {round}");
    }
    println!("{decoded} decoded, {refused} refused; of the former, our decoder refuses {lenient}");
    assert!(decoded > 100 && refused > 1000, "{decoded} {refused}");
}

#[test]
fn a_progressive_picture_past_the_limits_is_refused() {
    let bytes = picture((200, 100), SamplingFactor::F_2_2, ColorType::Rgb, 4);
    for limits in [
        Limits { max_width: 199, ..Limits::default() },
        Limits { max_height: 99, ..Limits::default() },
        Limits { max_bytes: 59_999, ..Limits::default() },
    ] {
        assert!(matches!(crate::decode(&bytes, &limits), Err(ErrorKind::TooLarge(_))));
    }
    // A few bytes that claim to be a huge picture.
    let mut huge = picture((8, 8), SamplingFactor::F_1_1, ColorType::Luma, 4);
    let frame = memchr::memmem::find(&huge, &[0xFF, 0xC2]).unwrap();
    huge[frame + 5..frame + 9].fill(0x4F);
    assert!(matches!(crate::decode(&huge, &Limits::default()), Err(ErrorKind::Decode(_))));
    // 31 scans for each component after the first.
    let bytes = picture((64, 48), SamplingFactor::F_1_1, ColorType::Rgb, 32);
    let refused = crate::decode(&bytes, &Limits::default());
    assert!(matches!(&refused, Err(ErrorKind::Decode(why)) if why.contains("scans")), "{refused:?}");
}
