//! What an index says about one sample.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};

use super::raw;
use crate::{ErrorKind, Limits};

/// One sample of a shard, as its index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Where the bytes of its picture begin in the shard.
    pub offset: u64,
    /// How many there are.
    pub len: u32,
    /// Their CRC-32C (Castagnoli).
    pub crc: u32,
    /// In pixels, as stored.
    pub width: u32,
    /// In pixels, as stored.
    pub height: u32,
    /// How they are stored.
    pub codec: Codec,
    /// Values a pixel, as stored: 1 to 4.
    pub channels: u8,
    /// 1 to 8, as EXIF has it: how the stored picture is turned upright. 1 where nothing is to be done.
    pub orientation: u8,
    /// The class, by its number in the index; [`crate::Source::label`] has the set's.
    pub label: u32,
    /// FNV-1a (64 bits) of the name of its picture in the shard.
    pub name_hash: u64,
    /// Where that name begins among the names, and its length.
    pub(crate) name: (u32, u16),
}

/// How a picture is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Codec {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Gif,
    Pnm,
    Tiff,
    /// Pixels with nothing to decode; see [`crate::shard`].
    Raw,
}

const CODECS: [Codec; 8] =
    [Codec::Jpeg, Codec::Png, Codec::WebP, Codec::Bmp, Codec::Gif, Codec::Pnm, Codec::Tiff, Codec::Raw];

impl Codec {
    fn from_format(format: ImageFormat) -> Option<Self> {
        Some(match format {
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::Png => Self::Png,
            ImageFormat::WebP => Self::WebP,
            ImageFormat::Bmp => Self::Bmp,
            ImageFormat::Gif => Self::Gif,
            ImageFormat::Pnm => Self::Pnm,
            ImageFormat::Tiff => Self::Tiff,
            _ => return None,
        })
    }

    /// The usual extension of a file with `channels` values a pixel.
    pub(crate) fn extension(self, channels: u8) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
            Self::Pnm => "pnm",
            Self::Tiff => "tif",
            Self::Raw => raw::extension(channels),
        }
    }
}

/// What the first bytes of a picture say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) codec: Codec,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u8,
    pub(crate) orientation: u8,
}

impl Head {
    /// Reads the header of a whole picture file, without decoding the picture.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, ErrorKind> {
        if let Some(header) = raw::Header::of(bytes) {
            let raw::Header { width, height, channels } = header?;
            return Ok(Self { codec: Codec::Raw, width, height, channels, orientation: 1 });
        }
        let format = image::guess_format(bytes).ok();
        let Some((codec, format)) = format.and_then(|format| Some((Codec::from_format(format)?, format)))
        else {
            return Err(ErrorKind::UnknownFormat);
        };
        let read = || {
            let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
            let mut limits = image::Limits::no_limits();
            limits.max_alloc = Some(Limits::default().max_bytes);
            reader.limits(limits);
            let mut decoder = reader.into_decoder().map_err(|e| ErrorKind::Decode(e.to_string()))?;
            let (width, height) = decoder.dimensions();
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms).to_exif();
            let channels = decoder.color_type().channel_count();
            Ok(Self { codec, width, height, channels, orientation })
        };
        let head = catch_unwind(AssertUnwindSafe(read));
        let head =
            head.unwrap_or_else(|_| Err(ErrorKind::Decode("the decoder gave up on its header".into())))?;
        if head.width == 0 || head.height == 0 {
            return Err(ErrorKind::Decode(format!("it has no pixels ({} x {})", head.width, head.height)));
        }
        Ok(head)
    }
}

impl Record {
    /// Bytes of a record in an index.
    pub(crate) const BYTES: usize = 48;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let codec = CODECS.iter().position(|codec| *codec == self.codec).unwrap_or_default() as u8 + 1;
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.name_hash.to_le_bytes());
        let words = [self.len, self.crc, self.width, self.height, self.label, self.name.0];
        for (place, word) in bytes[16..40].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..42].copy_from_slice(&self.name.1.to_le_bytes());
        bytes[42..45].copy_from_slice(&[codec, self.channels, self.orientation]);
        bytes
    }

    /// Nothing where a value is none that an index can have.
    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let record = Self {
            offset: long(0),
            name_hash: long(8),
            len: word(16),
            crc: word(20),
            width: word(24),
            height: word(28),
            label: word(32),
            name: (word(36), u16::from_le_bytes([bytes[40], bytes[41]])),
            codec: *CODECS.get(usize::from(bytes[42]).checked_sub(1)?)?,
            channels: bytes[43],
            orientation: bytes[44],
        };
        let sound = (1..=4).contains(&record.channels) && (1..=8).contains(&record.orientation);
        (sound && u64::from(record.len) <= Limits::default().max_file_bytes).then_some(record)
    }
}

/// FNV-1a with 64 bits (Fowler, Noll and Vo).
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes_and_nonsense_is_refused() {
        let record = Record {
            offset: u64::MAX - 5,
            len: 1 << 20,
            crc: 0xDEAD_BEEF,
            width: 640,
            height: 480,
            codec: Codec::Raw,
            channels: 3,
            orientation: 6,
            label: 12_345,
            name_hash: 0x0123_4567_89AB_CDEF,
            name: (70_000, 999),
        };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Some(record));
        for (at, value) in [(42, 0), (42, 9), (43, 0), (43, 5), (44, 0), (44, 9), (19, 0xFF)] {
            let mut wrong = bytes;
            wrong[at] = value;
            assert_eq!(Record::from_bytes(&wrong), None, "byte {at} is {value}");
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn a_head_is_read_without_the_picture() {
        let mut png = Cursor::new(Vec::new());
        image::RgbaImage::new(5, 3).write_to(&mut png, ImageFormat::Png).unwrap();
        let head = Head { codec: Codec::Png, width: 5, height: 3, channels: 4, orientation: 1 };
        assert_eq!(Head::of(png.get_ref()).unwrap(), head);
        assert!(matches!(Head::of(b"hello"), Err(ErrorKind::UnknownFormat)));
        assert!(matches!(Head::of(&png.get_ref()[..20]), Err(ErrorKind::Decode(_))));
        let pixels = raw::to_bytes(&crate::Image::new(2, 1, 1, vec![8, 9]));
        assert_eq!(Head::of(&pixels).unwrap().codec, Codec::Raw);
    }
}
