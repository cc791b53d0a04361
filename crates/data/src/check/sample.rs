//! What is wrong with one picture, and what of it is remembered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{CheckOptions, Problem};
use crate::decode::{format_named, format_of};
use crate::source::Stored;
use crate::{Error, ErrorKind, Image, Limits, Place, Source, resize};

/// What is remembered of a picture: 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Half of the SHA-256 of its bytes; zero when it could not be read.
    pub(super) content: [u64; 2],
    /// Of what it looks like; zero when that says nothing.
    pub(super) look: u64,
    /// In pixels, at most 65,535; zero when it could not be decoded.
    pub(super) width: u16,
    pub(super) height: u16,
}

impl Record {
    pub(super) fn is_decoded(&self) -> bool {
        self.width > 0
    }
}

/// A picture's record and its problems.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) record: Record,
    pub(super) problems: Vec<(Problem, String)>,
}

/// Reads and decodes sample `index`.
pub(super) fn examine(
    source: &dyn Source,
    index: usize,
    options: &CheckOptions,
    buffer: &mut Vec<u8>,
) -> Examined {
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut examined = Examined::default();
        match source.fetch(index, buffer) {
            Ok(stored) => examine_stored(&stored, &source.place(index), options, &mut examined),
            Err(error) => examined.problems.push((fetch_problem(&error), error.kind().to_string())),
        }
        examined
    }));
    looked.unwrap_or_else(|_| {
        let problem = (Problem::Damaged, "the decoder panicked; remove or repair the file".to_owned());
        Examined { record: Record::default(), problems: vec![problem] }
    })
}

fn fetch_problem(error: &Error) -> Problem {
    match error.kind() {
        ErrorKind::TooLarge(_) => Problem::TooLarge,
        _ => Problem::Unreadable,
    }
}

fn examine_stored(stored: &Stored<'_>, place: &Place, options: &CheckOptions, examined: &mut Examined) {
    examined.record.content = content_of(stored);
    if let Stored::File(bytes) = stored
        && let Some(message) = wrong_extension(bytes, place)
    {
        examined.problems.push((Problem::WrongExtension, message));
    }
    match stored.decode(&Limits::default()) {
        Ok(image) => {
            let (width, height) = (image.width(), image.height());
            let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
            (examined.record.width, examined.record.height) = (side(width), side(height));
            examined.problems.extend(odd_shape(width, height, options));
            if options.look_alikes {
                examined.record.look = look_of(image);
            }
        }
        Err(kind) => {
            let problem = match &kind {
                ErrorKind::UnknownFormat => Problem::NotAnImage,
                ErrorKind::TooLarge(_) => Problem::TooLarge,
                _ => Problem::Damaged,
            };
            let empty = matches!(stored, Stored::File([]));
            let message = if empty { "the file is empty".to_owned() } else { kind.to_string() };
            examined.problems.push((problem, message));
        }
    }
}

fn content_of(stored: &Stored<'_>) -> [u64; 2] {
    let mut hash = Sha256::new();
    match stored {
        Stored::File(bytes) => hash.update(bytes),
        Stored::Pixels { width, height, channels, bytes } => {
            hash.update([*channels]);
            hash.update(width.to_le_bytes());
            hash.update(height.to_le_bytes());
            hash.update(bytes);
        }
    }
    let hash = hash.finalize();
    let word =
        |at: usize| hash.iter().skip(8 * at).take(8).fold(0, |word, &byte| word << 8 | u64::from(byte));
    [word(0), word(1)]
}

/// A file called after another format than its bytes are of.
fn wrong_extension(bytes: &[u8], place: &Place) -> Option<String> {
    let name = place.entry.as_deref().map(Path::new).or(place.path.as_deref())?;
    let extension = name.extension()?.to_str()?;
    let (claimed, real) = (format_named(extension)?, format_of(bytes)?);
    (claimed != real).then(|| format!("named .{extension}, but it is a {real} file"))
}

fn odd_shape(width: u32, height: u32, options: &CheckOptions) -> Option<(Problem, String)> {
    let (short, long) = (width.min(height), width.max(height));
    if short < options.least_side {
        return Some((Problem::OddSize, format!("only {width} x {height} pixels")));
    }
    let aspect = f64::from(long) / f64::from(short);
    let message = || format!("{width} x {height} pixels, {aspect:.1} times as long as wide");
    (aspect > options.most_aspect).then(|| (Problem::OddShape, message()))
}

/// Of the 64 comparisons, those that may come out by chance. Drawings on an empty ground have more.
const MOST_FLAT: usize = 8;

/// The difference hash: whether each of 8 x 8 places is brighter than the one to its right. It is the same for
/// about six in seven photos that were encoded again and four in five that were halved. Zero for a picture with too
/// little in it to tell it from others.
fn look_of(image: Image) -> u64 {
    let small = resize(&image.with_channels(1), 9, 8);
    let steps = small.pixels().chunks_exact(9).flat_map(|row| row.windows(2));
    let (mut look, mut flat) = (0u64, 0);
    for pair in steps {
        let (left, right) = (pair[0], pair[1]);
        look = look << 1 | u64::from(left > right);
        flat += usize::from(left.abs_diff(right) < 2);
    }
    if flat > MOST_FLAT { 0 } else { look }
}

/// 16 x 16 gray pixels of a picture.
pub(super) struct Thumbnail(Vec<u8>);

impl Thumbnail {
    const SIDE: u32 = 16;
    /// The mean difference of pixels, of 255, up to which two pictures are alike: room for another encoding, not for
    /// another thing of the same kind.
    const LIKE: u64 = 3;

    /// None when the picture cannot be read, or not any more.
    pub(super) fn of(source: &dyn Source, index: usize) -> Option<Self> {
        let image = source.read(index).ok()?.image.with_channels(1);
        Some(Self(resize(&image, Self::SIDE, Self::SIDE).into_pixels()))
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(&other.0).map(|(a, b)| u64::from(a.abs_diff(*b)));
        differences.sum::<u64>() <= Self::LIKE * u64::from(Self::SIDE * Self::SIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_32_bytes() {
        assert_eq!(size_of::<Record>(), 32);
    }

    #[test]
    fn copies_look_alike_and_flat_pictures_like_nothing() {
        let picture = |width: u32, height: u32, gain: u32| {
            let value =
                |x: u32, y: u32| 100 * (8 * x / width * 5 % 8 + 8 * y / height * 3 % 8) / 8 * gain / 10;
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| value(x, y) as u8)).collect();
            Image::new(width, height, 1, pixels)
        };
        let look = look_of(picture(90, 80, 10));
        assert_ne!(look, 0);
        assert_eq!(look, look_of(picture(180, 160, 10)));
        assert_eq!(look, look_of(picture(90, 80, 12)));
        assert_eq!(look, look_of(picture(90, 80, 10).with_channels(3)));
        assert_eq!(look_of(Image::new(50, 50, 1, vec![9; 2500])), 0);
        assert_eq!(look_of(Image::new(1, 1, 1, vec![9])), 0);
    }
}
