//! A picture of a source to the bytes that a shard holds of it.

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, SamplingFactor};

use super::{Encoding, PackOptions};
use crate::order::SampleRng;
use crate::shard::writer::{MAX_KEY, Packed};
use crate::shard::{Codec, Head, raw};
use crate::transform::{CenterCrop, Resize, Scene, Step, Transform};
use crate::{Error, ErrorKind, Image, Limits, Place, Result, Source, Stored};

/// What becomes of sample `index` of `source`, and whether its file is kept as it is.
///
/// Every picture is decoded, even one that is kept: a damaged one is found here, not in the middle of a training.
pub(super) fn encode(source: &dyn Source, index: usize, options: &PackOptions) -> Result<(Packed, bool)> {
    let mut buffer = Vec::new();
    let stored = source.fetch(index, &mut buffer)?;
    let place = source.place(index);
    let (bytes, kept) =
        encode_stored(&stored, options).map_err(|kind| Error::in_place(place.clone(), kind))?;
    let head = Head::of(&bytes).map_err(|kind| Error::in_place(place.clone(), kind))?;
    let crc = crc32c::crc32c(&bytes);
    Ok((Packed { key: key(index, &place), bytes, head, crc, label: source.label(index) }, kept))
}

fn encode_stored(stored: &Stored<'_>, options: &PackOptions) -> Result<(Vec<u8>, bool), ErrorKind> {
    let image = stored.decode(&Limits::default())?;
    Ok(match (options.encoding, stored) {
        (Encoding::Keep, Stored::File(bytes)) => (bytes.to_vec(), true),
        (Encoding::Keep, Stored::Pixels { .. }) => (raw::to_bytes(&image), true),
        (Encoding::Jpeg { .. }, Stored::File(bytes)) if stays(&image, bytes, options) => {
            (bytes.to_vec(), true)
        }
        (Encoding::Jpeg { quality, restart }, _) => {
            (to_jpeg(&shrink(image, options), quality, restart)?, false)
        }
        (Encoding::Raw { square: None }, _) => (raw::to_bytes(&shrink(image, options)), false),
        (Encoding::Raw { square: Some(side) }, _) => {
            let middle = Step::CenterCrop(CenterCrop { height: side, width: side });
            (raw::to_bytes(&changed(image, &[by_short_side(side), middle])), false)
        }
    })
}

/// Whether a picture is a JPEG that is small enough: encoding it once more would only make it worse.
fn stays(image: &Image, bytes: &[u8], options: &PackOptions) -> bool {
    let small = options.short_side.is_none_or(|short_side| image.width().min(image.height()) <= short_side);
    small && Head::of(bytes).is_ok_and(|head| head.codec == Codec::Jpeg)
}

/// The picture with its shorter side at the limit, if it was above.
fn shrink(image: Image, options: &PackOptions) -> Image {
    match options.short_side {
        Some(short_side) if image.width().min(image.height()) > short_side => {
            changed(image, &[by_short_side(short_side)])
        }
        _ => image,
    }
}

fn by_short_side(size: u32) -> Step {
    Step::Resize(Resize { size, ..Resize::default() })
}

/// The picture after steps in which nothing is random.
fn changed(image: Image, steps: &[Step]) -> Image {
    let mut scene = Scene::from(image);
    steps.iter().for_each(|step| step.apply(&mut scene, &mut SampleRng::new(0, 0, 0, 0)));
    scene.image
}

/// Baseline JPEG with standard Huffman tables: tables made for the picture would save a few percent, but the encoder then
/// writes a scan a channel, and no decoder could skip rows of such a file.
fn to_jpeg(image: &Image, quality: u8, restart: bool) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = Vec::new();
    let (Ok(width), Ok(height)) = (u16::try_from(image.width()), u16::try_from(image.height())) else {
        let message = format!("{} x {} pixels; a JPEG may have 65,535 a side", image.width(), image.height());
        return Err(ErrorKind::TooLarge(message));
    };
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    let (color, block) = if image.channels() == 1 { (ColorType::Luma, 8) } else { (ColorType::Rgb, 16) };
    if restart {
        encoder.set_restart_interval(width.div_ceil(block));
    }
    encoder
        .encode(image.pixels(), width, height, color)
        .map_err(|e| ErrorKind::Decode(format!("it cannot be encoded: {e}")))?;
    Ok(bytes)
}

/// The key of sample `index` of the source: its number, then what its file was called, in letters that any tool takes.
fn key(index: usize, place: &Place) -> String {
    let path = place.path.as_deref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy());
    let entry = place.entry.as_deref().map(|entry| entry.rsplit('/').next().unwrap_or(entry));
    let name = entry.map(|entry| entry.split('.').next().unwrap_or(entry).to_owned());
    let name = name.or(path.map(Into::into)).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let mut key = format!("{index:08}");
    if !name.is_empty() {
        key.push('_');
        key.extend(name.chars().map(plain));
    }
    key.truncate(MAX_KEY);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn keys_are_numbered_and_say_what_the_file_was_called() {
        assert_eq!(key(7, &Place::path("photos/cat/Größe 1.final.jpg")), "00000007_Gr__e_1_final");
        assert_eq!(key(123_456_789, &Place::entry("a.tar", "x/b.c.png", 512)), "123456789_b");
        assert_eq!(key(0, &Place::default()), "00000000");
        assert_eq!(key(1, &Place::path("x".repeat(200))).len(), MAX_KEY);
    }

    #[test]
    fn a_jpeg_has_a_restart_marker_after_every_row_of_blocks() {
        let colors = |x: u32, y: u32| [(x * 5) as u8, (y * 4) as u8, ((x + y) * 2) as u8];
        let pixels = (0..50 * 40).flat_map(|at| colors(at % 50, at / 50)).collect();
        let image = Image::new(50, 40, 3, pixels);
        let markers =
            |bytes: &[u8]| bytes.windows(2).filter(|w| w[0] == 0xFF && (0xD0..=0xD7).contains(&w[1])).count();
        for (restart, expected) in [(false, 0), (true, 2)] {
            let bytes = to_jpeg(&image, 95, restart).unwrap();
            assert_eq!(markers(&bytes), expected);
            let decoded = decode(&bytes, &Limits::default()).unwrap();
            let pairs = decoded.pixels().iter().zip(image.pixels());
            let error = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / 6000.0;
            assert!(error < 2.0, "{error}");
        }
        let gray = Image::new(50, 40, 1, (0..2000).map(|at| (at / 8) as u8).collect());
        let bytes = to_jpeg(&gray, 95, true).unwrap();
        assert_eq!(markers(&bytes), 4);
        assert_eq!(decode(&bytes, &Limits::default()).unwrap().channels(), 1);
    }
}
