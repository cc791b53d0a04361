//! Whole pictures and parts of them, against references, each other and damage.

use sha2::{Digest, Sha256};

use super::synthetic::{GRAY, SAMPLINGS, Synthetic};
use super::*;
use crate::Limits;
use crate::order::SampleRng;
use crate::testing::shared_data;

fn read(bytes: &[u8]) -> Result<Option<Header>, ErrorKind> {
    Header::read(bytes, &Limits::default())
}

fn whole(bytes: &[u8]) -> Vec<u8> {
    let header = read(bytes).unwrap().unwrap();
    let mut pixels = Vec::new();
    decode(bytes, &header, &Part::whole(&header), &mut Scratch::default(), &mut pixels).unwrap();
    pixels
}

fn small_pictures() -> impl Iterator<Item = Synthetic> {
    let sizes = [(1, 1), (2, 3), (5, 4), (8, 8), (15, 17), (33, 40), (40, 31), (16, 16)];
    sizes.into_iter().enumerate().flat_map(|(seed, (width, height))| {
        std::iter::once(GRAY).chain(SAMPLINGS).map(move |sampling| {
            let restart = [0, 1, 2, 5][seed % 4];
            Synthetic { width, height, sampling, restart, seed: seed as u64 }
        })
    })
}

#[test]
fn pixels_are_those_of_libjpeg_turbo() {
    let mut hash = Sha256::new();
    for picture in small_pictures() {
        hash.update(whole(&picture.write()));
    }
    // Of `Image.open(file).tobytes()` of the same files with Pillow 13.0.0 and libjpeg-turbo 3.2.0.
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, "0c72c18e6f3926538c24d746f7607b3fb25633efccb88e3c0d9535cc197e529d");
}

#[test]
fn photos_are_those_of_pillow() {
    let (Some(golden), Some(photos)) = (shared_data("../golden/resize"), shared_data("imagenet_sample_1000"))
    else {
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_suffix(".decoded.png") else { continue };
        let expected = image::open(&path).unwrap().into_bytes();
        let bytes = std::fs::read(photos.join(name).with_extension("JPEG")).unwrap();
        assert!(whole(&bytes) == expected, "{name}");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn any_part_is_that_part_of_the_whole() {
    let mut rng = SampleRng::new(3, 1, 4, 1);
    let mut scratch = Scratch::default();
    for seed in 0..400 {
        let sampling = [GRAY, SAMPLINGS[0], SAMPLINGS[1], SAMPLINGS[2], SAMPLINGS[3]][seed as usize % 5];
        let (width, height) = (1 + rng.below(40) as u16, 1 + rng.below(40) as u16);
        let restart = [0, 1, 3, 4][rng.below(4) as usize];
        let picture = Synthetic { width, height, sampling, restart, seed };
        let bytes = picture.write();
        let header = read(&bytes).unwrap().unwrap();
        for reduce in [1, 2, 4, 8] {
            let (mut all, mut some) = (Vec::new(), Vec::new());
            let part = Part { reduce, ..Part::whole(&header) };
            let full = decode(&bytes, &header, &part, &mut scratch, &mut all).unwrap();
            assert_eq!((full.left, full.top), (0, 0));
            let within = |rng: &mut SampleRng, size: u32| {
                let start = rng.below(size.into()) as u32;
                (start, 1 + rng.below((size - start).into()) as u32)
            };
            let ((left, width), (top, height)) =
                (within(&mut rng, header.width), within(&mut rng, header.height));
            let part = Part { left, top, width, height, reduce };
            let window = decode(&bytes, &header, &part, &mut scratch, &mut some).unwrap();
            let reduce = u32::from(reduce);
            assert_eq!((window.left, window.top), (left / reduce, top / reduce));
            assert_eq!(window.left + window.width, (left + width).div_ceil(reduce));
            assert_eq!(window.top + window.height, (top + height).div_ceil(reduce));
            let channels = usize::from(header.channels);
            let rows = all.chunks_exact(full.width as usize * channels);
            let (left, width) = (window.left as usize * channels, window.width as usize * channels);
            let shown = rows.skip(window.top as usize).take(window.height as usize);
            let expected: Vec<u8> = shown.flat_map(|row| row[left..][..width].to_vec()).collect();
            assert!(some == expected, "{picture:?}, {part:?}");
        }
    }
}

#[test]
fn restart_markers_change_no_pixel() {
    let mut scratch = Scratch::default();
    for (seed, sampling) in (0..).zip(SAMPLINGS) {
        let plain = Synthetic { width: 90, height: 70, sampling, restart: 0, seed };
        for restart in [1, 4, 5, 6, 7, 12, 200] {
            let (bytes, marked) = (plain.write(), Synthetic { restart, ..plain }.write());
            let (header, marked_header) = (read(&bytes).unwrap().unwrap(), read(&marked).unwrap().unwrap());
            for part in [
                Part::whole(&header),
                Part { left: 40, top: 33, width: 30, height: 20, reduce: 1 },
                Part { left: 70, top: 60, width: 20, height: 10, reduce: 2 },
            ] {
                let (mut expected, mut found) = (Vec::new(), Vec::new());
                decode(&bytes, &header, &part, &mut scratch, &mut expected).unwrap();
                decode(&marked, &marked_header, &part, &mut scratch, &mut found).unwrap();
                assert!(found == expected, "{plain:?}, every {restart}, {part:?}");
            }
        }
    }
}

#[test]
fn reduced_pictures_are_about_the_average_of_the_pixels() {
    let Some(folder) = shared_data("imagenet_sample_1000") else { return };
    let bytes = std::fs::read(folder.join("n01440764_tench.JPEG")).unwrap();
    let header = read(&bytes).unwrap().unwrap();
    let all = whole(&bytes);
    for reduce in [2u32, 4, 8] {
        let part = Part { reduce: reduce as u8, ..Part::whole(&header) };
        let mut pixels = Vec::new();
        let window = decode(&bytes, &header, &part, &mut Scratch::default(), &mut pixels).unwrap();
        let mut difference = 0.0;
        for y in 0..header.height / reduce {
            for x in 0..header.width / reduce {
                let at = |x: u32, y: u32, width: u32| (y * width + x) as usize * 3 + 1;
                let under = (0..reduce * reduce).map(|i| {
                    f64::from(all[at(x * reduce + i % reduce, y * reduce + i / reduce, header.width)])
                });
                let average = under.sum::<f64>() / f64::from(reduce * reduce);
                difference += (average - f64::from(pixels[at(x, y, window.width)])).abs();
            }
        }
        let mean = difference / f64::from(header.height / reduce * (header.width / reduce));
        assert!(mean < 4.0, "1/{reduce}: {mean}");
    }
}

#[test]
fn what_is_cut_short_within_the_part_is_an_error() {
    let picture = Synthetic { width: 64, height: 64, sampling: SAMPLINGS[3], restart: 0, seed: 1 };
    let bytes = picture.write();
    let header = read(&bytes).unwrap().unwrap();
    let mut scratch = Scratch::default();
    let mut pixels = Vec::new();
    let top = Part { height: 16, ..Part::whole(&header) };
    let mut tops = 0;
    for end in header.scan..bytes.len() - 3 {
        let cut = [&bytes[..end], &[0xFF, 0xD9]].concat();
        let result = decode(&cut, &header, &Part::whole(&header), &mut scratch, &mut pixels);
        assert!(matches!(result, Err(ErrorKind::Decode(_))), "cut at {end}");
        tops += usize::from(decode(&cut, &header, &top, &mut scratch, &mut pixels).is_ok());
    }
    // The first rows are there although the last are not.
    assert!(tops > (bytes.len() - header.scan) / 3, "{tops}");
    assert!(matches!(read(&bytes[..bytes.len() - 2]), Err(ErrorKind::Decode(_))));
    // Zeros up to the end of a sector do not matter.
    assert!(read(&[&bytes[..], &[0; 100]].concat()).is_ok());
    assert!(read(&[&bytes[..], b"and more"].concat()).is_ok());
}

#[test]
fn a_part_outside_the_picture_is_refused() {
    let bytes = Synthetic { width: 20, height: 10, sampling: GRAY, restart: 0, seed: 1 }.write();
    let header = read(&bytes).unwrap().unwrap();
    let whole = Part::whole(&header);
    for part in [
        Part { width: 21, ..whole },
        Part { left: 1, ..whole },
        Part { top: u32::MAX, ..whole },
        Part { height: 0, ..whole },
        Part { reduce: 3, ..whole },
        Part { reduce: 0, ..whole },
    ] {
        let result = decode(&bytes, &header, &part, &mut Scratch::default(), &mut Vec::new());
        assert!(matches!(result, Err(ErrorKind::Setting(_))), "{part:?}");
    }
}

#[test]
fn a_picture_that_is_too_large_is_refused() {
    let bytes = Synthetic { width: 200, height: 100, sampling: GRAY, restart: 0, seed: 1 }.write();
    for limits in [
        Limits { max_width: 199, ..Limits::default() },
        Limits { max_height: 99, ..Limits::default() },
        Limits { max_bytes: 19_999, ..Limits::default() },
    ] {
        assert!(matches!(Header::read(&bytes, &limits), Err(ErrorKind::TooLarge(_))));
    }
    // A few bytes that claim to be a huge picture.
    let mut huge = Synthetic { width: 8, height: 8, sampling: GRAY, restart: 0, seed: 1 }.write();
    let frame = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    huge[frame + 5..frame + 9].fill(0x4F);
    assert!(matches!(read(&huge), Err(ErrorKind::Decode(_))));
}

/// Decodes whatever it is: it must not panic. Says whether it could.
fn try_all(bytes: &[u8], rng: &mut SampleRng, scratch: &mut Scratch, pixels: &mut Vec<u8>) -> bool {
    let Ok(Some(header)) = read(bytes) else { return false };
    let start = (rng.below(header.width.into()) as u32, rng.below(header.height.into()) as u32);
    let part = Part {
        left: start.0,
        top: start.1,
        width: 1 + rng.below((header.width - start.0).into()) as u32,
        height: 1 + rng.below((header.height - start.1).into()) as u32,
        reduce: 1 << rng.below(4),
    };
    let _ = decode(bytes, &header, &part, scratch, pixels);
    decode(bytes, &header, &Part::whole(&header), scratch, pixels).is_ok()
}

#[test]
fn damaged_files_decode_or_fail_but_never_panic() {
    let mut rng = SampleRng::new(1, 6, 1, 8);
    let (mut scratch, mut pixels) = (Scratch::default(), Vec::new());
    let pictures: Vec<Vec<u8>> = small_pictures().map(|picture| picture.write()).collect();
    let mut decoded = 0;
    for round in 0..4000 {
        let mut bytes = pictures[round % pictures.len()].clone();
        let length = bytes.len() as u64;
        match rng.below(4) {
            0 => bytes.truncate(rng.below(length) as usize),
            1 => {
                let start = rng.below(length) as usize;
                let end = (start + 1 + rng.below(40) as usize).min(bytes.len());
                bytes.drain(start..end);
            }
            _ => {
                for _ in 0..1 + rng.below(4) {
                    bytes[rng.below(length) as usize] = rng.next_u64() as u8;
                }
            }
        }
        bytes.extend([0xFF, 0xD9]);
        decoded += usize::from(try_all(&bytes, &mut rng, &mut scratch, &mut pixels));
    }
    assert!((100..3900).contains(&decoded), "{decoded} decoded");
}

#[test]
fn hostile_files_decode_or_fail_but_never_panic() {
    let Some(folder) = shared_data("robust") else { return };
    let mut rng = SampleRng::new(2, 7, 1, 8);
    let (mut scratch, mut pixels) = (Scratch::default(), Vec::new());
    let (mut folders, mut decoded) = (vec![folder], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                decoded += usize::from(try_all(&bytes, &mut rng, &mut scratch, &mut pixels));
            }
        }
    }
    println!("{decoded} decoded");
    assert!(decoded > 20);
}
