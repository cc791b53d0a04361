//! Pixels with nothing to decode: a small header, then `[height, width, channels]`.

use crate::source::Stored;
use crate::{ErrorKind, Image, Limits};

/// How such a file begins; the number of channels follows.
const MAGIC: &[u8; 7] = b"rawpix8";
/// Magic, channels, width and height.
const HEADER: usize = 16;

/// The header of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u8,
}

impl Header {
    /// The header, or what is wrong with it; nothing where `bytes` are something else.
    pub(crate) fn of(bytes: &[u8]) -> Option<Result<Self, ErrorKind>> {
        let header = bytes.first_chunk::<HEADER>().filter(|header| header.starts_with(MAGIC))?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let (width, height, channels) = (word(8), word(12), header[7]);
        let limits = Limits::default();
        let wrong = |what: &str| {
            Some(Err(ErrorKind::Decode(format!("{width} x {height} x {channels} pixels {what}"))))
        };
        if !matches!(channels, 1 | 3) || width == 0 || height == 0 {
            return wrong("are none");
        }
        if width > limits.max_width || height > limits.max_height {
            return wrong("are more than the limits allow");
        }
        // The sides are below 2^16: no product overflows.
        if u64::from(width) * u64::from(height) * u64::from(channels) != (bytes.len() - HEADER) as u64 {
            return wrong(&format!("do not fit {} bytes", bytes.len() - HEADER));
        }
        Some(Ok(Self { width, height, channels }))
    }
}

/// The extension of pixels with `channels` channels.
pub(crate) fn extension(channels: u8) -> &'static str {
    if channels == 1 { "l8" } else { "rgb8" }
}

/// `image` as such a file.
pub(crate) fn to_bytes(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + image.pixels().len());
    bytes.extend(MAGIC);
    bytes.push(image.channels());
    bytes.extend(image.width().to_le_bytes());
    bytes.extend(image.height().to_le_bytes());
    bytes.extend(image.pixels());
    bytes
}

/// What the bytes of a picture in a shard hold: pixels, or a file of some other format.
pub(crate) fn stored(bytes: &[u8]) -> Result<Stored<'_>, ErrorKind> {
    let Some(header) = Header::of(bytes) else { return Ok(Stored::File(bytes)) };
    let Header { width, height, channels } = header?;
    Ok(Stored::Pixels { width, height, channels, bytes: &bytes[HEADER..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_and_wrong_headers_are_refused() {
        let image = Image::new(3, 2, 3, (0..18).collect());
        let bytes = to_bytes(&image);
        assert_eq!(stored(&bytes).unwrap(), image.stored());
        assert_eq!(stored(b"\xFF\xD8\xFF").unwrap(), Stored::File(b"\xFF\xD8\xFF"));
        for (at, value) in [(7, 2), (8, 4), (8, 0), (11, 0xFF), (12, 9)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert!(matches!(stored(&wrong), Err(ErrorKind::Decode(_))), "byte {at} is {value}");
        }
        assert!(stored(&bytes[..bytes.len() - 1]).is_err());
    }
}
