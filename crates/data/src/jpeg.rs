//! The part of a JPEG that a crop needs, at about the size that it needs.
//!
//! A random crop shows about half of a photo, and a photo of a camera is shown much smaller than it is stored. A decoder that
//! knows both beforehand does less: rows below the part are not read at all, blocks outside it are only
//! passed over, and the inverse transform gives pictures of 1/2, 1/4 and 1/8 directly. Where the file has restart markers, what
//! lies before them needs no decoding either.
//!
//! [`Header::read`] takes baseline pictures as cameras and most programs write them, and leaves the others to [`decode`](crate::decode).
//! At full size the pixels are those of libjpeg-turbo (and so of Pillow and torchvision), bit for bit.

mod bits;
mod color;
mod exif;
mod header;
mod huffman;
mod idct;
mod output;
mod scan;
#[cfg(test)]
mod synthetic;
mod upsample;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;

use crate::ErrorKind;
pub use header::Header;
use huffman::Code;
use idct::{Portable, Transform};
use output::{Lines, Output};
use scan::{Plane, Scan};

/// A part of a picture, in pixels as they are stored (before any turning), and how much smaller it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its width, at least 1.
    pub width: u32,
    /// Its height, at least 1.
    pub height: u32,
    /// 1, 2, 4 or 8 times smaller.
    pub reduce: u8,
}

impl Part {
    /// All of a picture, at full size.
    #[must_use]
    pub fn whole(header: &Header) -> Self {
        Self { left: 0, top: 0, width: header.width, height: header.height, reduce: 1 }
    }
}

/// Where decoded pixels lie in the reduced picture, whose pixel `x` shows columns `x * reduce` to `(x + 1) * reduce` of the
/// stored one.
///
/// It is the smallest window of whole reduced pixels that covers the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Reduced columns left of it.
    pub left: u32,
    /// Reduced rows above it.
    pub top: u32,
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// Room for work and the Huffman tables of the last picture, to be used again for the next.
#[derive(Debug, Clone)]
pub struct Scratch {
    window: Box<bits::Window>,
    codes: [[Code; 2]; 3],
    planes: [Plane; 3],
    lines: Lines,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            window: Box::new([0; _]),
            codes: Default::default(),
            planes: Default::default(),
            lines: Lines::default(),
        }
    }
}

/// Decodes `part` of the JPEG file `bytes`, whose header is `header`.
///
/// `pixels` becomes `[height, width, channels]` of the window that is given back; what it held does not matter. Bytes that
/// only rows below the part would need are not looked at.
///
/// # Errors
///
/// [`ErrorKind::Decode`] for damaged or missing data in or above the part; [`ErrorKind::Setting`] for a part that
/// is empty or not within the picture, or another `reduce`.
pub fn decode(
    bytes: &[u8],
    header: &Header,
    part: &Part,
    scratch: &mut Scratch,
    pixels: &mut Vec<u8>,
) -> Result<Window, ErrorKind> {
    let ends = (part.left.checked_add(part.width), part.top.checked_add(part.height));
    let (Some(right), Some(bottom), 1 | 2 | 4 | 8, 1.., 1..) =
        (ends.0, ends.1, part.reduce, part.width, part.height)
    else {
        return Err(ErrorKind::Setting(format!("no part of a picture: {part:?}")));
    };
    if right > header.width || bottom > header.height {
        let size = format!("{} x {}", header.width, header.height);
        return Err(ErrorKind::Setting(format!("{part:?} is not within a picture of {size} pixels")));
    }
    let reduce = u32::from(part.reduce);
    let (left, top) = (part.left / reduce, part.top / reduce);
    let window =
        Window { left, top, width: right.div_ceil(reduce) - left, height: bottom.div_ceil(reduce) - top };
    let task = Task { bytes, header, window, reduce, scratch, pixels };
    match task.run_with_best() {
        Ok(()) => Ok(window),
        Err(damage) => Err(ErrorKind::Decode(damage.to_string())),
    }
}

/// What is wrong with the data of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Damage {
    #[error("the file is cut short within its pixels")]
    CutShort,
    #[error("a Huffman table is malformed")]
    Code,
    #[error("its pixels are damaged (no such Huffman code)")]
    Symbol,
    #[error("its pixels are damaged (a block has too many coefficients)")]
    Run,
    #[error("its pixels are damaged (a restart marker is out of order)")]
    Restart,
}

struct Task<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    window: Window,
    reduce: u32,
    scratch: &'a mut Scratch,
    pixels: &'a mut Vec<u8>,
}

impl Task<'_> {
    /// The same code for each kind of processor: in integers, all give the same results.
    fn run_with_best(self) -> Result<(), Damage> {
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = V3::try_new() {
            return v3.vectorize(
                #[inline(always)]
                || self.run(v3),
            );
        }
        self.run(Portable)
    }

    #[inline(always)]
    fn run<T: Transform>(self, transform: T) -> Result<(), Damage> {
        let Self { bytes, header, window, reduce, scratch, pixels } = self;
        // A plane of half size needs no doubling where the picture is halved anyway.
        let halved = if reduce == 1 { header.halved() } else { (false, false) };
        let (columns, rows) = mcus_needed(header, &window, reduce, halved);
        let most = header.sampling();
        for (plane, component) in scratch.planes.iter_mut().zip(&header.components) {
            let blocks = (component.across, component.down);
            let size = |blocks: usize, most: usize| (8 / reduce as usize * (most / blocks)).min(8);
            plane.prepare(columns.len(), blocks, (size(blocks.0, most.0), size(blocks.1, most.1)));
        }
        let is_whole = (window.width, window.height, reduce) == (header.width, header.height, 1);
        let codes = prepare_codes(&mut scratch.codes, bytes, header, !is_whole)?;
        let source = bytes.get(header.scan..).unwrap_or_default();
        let mut scan = Scan::new(header, source, &mut scratch.window, codes);

        let reduce = reduce as usize;
        let held = columns.start as usize * 8 * most.0 / reduce;
        let mut output = Output::new(header, &window, held, halved, &mut scratch.lines);
        let stride = window.width as usize * usize::from(header.channels);
        pixels.resize(stride * window.height as usize, 0);
        let mut targets = pixels.chunks_exact_mut(stride);
        let mut y = window.top as usize;
        for row in rows.clone() {
            scan.row(transform, row, columns.clone(), &mut scratch.planes)?;
            let ready = if row + 1 == rows.end {
                usize::MAX
            } else {
                // The last row of pixels waits for the chroma below it.
                (row as usize + 1) * 8 * most.1 / reduce - usize::from(halved.1)
            };
            let count = ready.saturating_sub(y);
            for target in targets.by_ref().take(count) {
                output.row(&scratch.planes, y, target);
                y += 1;
            }
        }
        Ok(())
    }
}

/// The MCUs, columns and rows, that the window is made from.
fn mcus_needed(
    header: &Header,
    window: &Window,
    reduce: u32,
    halved: (bool, bool),
) -> (Range<u32>, Range<u32>) {
    let (across, down) = header.sampling();
    let needed = |start: u32, length: u32, size: u32, blocks: usize, halved: bool| {
        // Doubling looks at the chroma sample, two pixels wide, on either side.
        let beside = if halved { 2 } else { 0 };
        let (first, last) = (start * reduce, ((start + length) * reduce).min(size));
        let mcu = 8 * blocks as u32;
        first.saturating_sub(beside) / mcu..(last + beside).min(size).div_ceil(mcu)
    };
    (
        needed(window.left, window.width, header.width, across, halved.0),
        needed(window.top, window.height, header.height, down, halved.1),
    )
}

/// The tables of the codes of each component. Components with the same codes share them: fewer tables stay in the cache.
fn prepare_codes<'a>(
    codes: &'a mut [[Code; 2]; 3],
    bytes: &[u8],
    header: &Header,
    skips: bool,
) -> Result<[&'a [Code; 2]; 3], Damage> {
    let mut which = [0; 3];
    for (c, component) in header.components.iter().enumerate().take(3) {
        let before = &header.components[..c];
        let same =
            before.iter().position(|o| o.dc_code == component.dc_code && o.ac_code == component.ac_code);
        which[c] = same.unwrap_or(c);
        if same.is_none() {
            let [dc, ac] = &mut codes[c];
            dc.prepare(bytes.get(component.dc_code.clone()).unwrap_or_default(), true, false)?;
            ac.prepare(bytes.get(component.ac_code.clone()).unwrap_or_default(), false, skips)?;
        }
    }
    let codes = &*codes;
    Ok(which.map(|c| &codes[c]))
}

#[cfg(test)]
mod tests {
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
        let (Some(golden), Some(photos)) =
            (shared_data("../golden/resize"), shared_data("imagenet_sample_1000"))
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
                let (header, marked_header) =
                    (read(&bytes).unwrap().unwrap(), read(&marked).unwrap().unwrap());
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
}
