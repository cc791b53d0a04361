//! Bytes of a picture file to the pixels a person sees.

#[cfg(test)]
mod mutations;
mod view;

use std::cell::RefCell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

pub use view::decode_view;

use crate::storage::Storage;
use crate::{Error, ErrorKind, Image, Stored, jpeg};

/// What a picture may claim before it is refused, checked before anything is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The greatest width in pixels.
    pub max_width: u32,
    /// The greatest height in pixels.
    pub max_height: u32,
    /// The greatest size of the decoded pixels in bytes.
    pub max_bytes: u64,
    /// The greatest size of a picture file in bytes.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 32,768 x 32,768 pixels, 512 MiB decoded, 256 MiB as a file.
    fn default() -> Self {
        Self { max_width: 32_768, max_height: 32_768, max_bytes: 512 << 20, max_file_bytes: 256 << 20 }
    }
}

impl Limits {
    /// The error for a picture that is too large, as `what` says.
    pub(crate) fn exceeded(&self, what: &str) -> ErrorKind {
        let Self { max_width, max_height, max_bytes, .. } = self;
        let mib = max_bytes >> 20;
        ErrorKind::TooLarge(format!(
            "{what}; the limit is {max_width} x {max_height} pixels and {mib} MiB decoded"
        ))
    }
}

/// Decodes a jpeg, png, webp, bmp, gif, pnm or tiff picture; the format is told by the bytes, never by a name.
///
/// The result is what a viewer shows on a white page: turned upright by its EXIF orientation, transparency
/// laid over white, palettes and single bits expanded, 16 bits scaled to 8, CMYK turned to RGB, and the
/// first frame of an animation. Gray stays one channel, everything else gets three.
///
/// # Errors
///
/// [`ErrorKind::UnknownFormat`], [`ErrorKind::TooLarge`], or [`ErrorKind::Decode`] for a picture that is
/// damaged or cut short. A panic inside a decoder is caught and becomes [`ErrorKind::Decode`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, ErrorKind> {
    let format =
        image::guess_format(bytes).ok().filter(|f| is_supported(*f)).ok_or(ErrorKind::UnknownFormat)?;
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, limits),
        _ => decode_as(bytes, format, limits).map(as_seen),
    }));
    decoded.unwrap_or_else(|_| Err(ErrorKind::Decode("the decoder gave up on it".into())))
}

impl Image {
    /// Reads and decodes a file, with the default limits.
    ///
    /// # Errors
    ///
    /// When it cannot be read or decoded; the error names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (mut bytes, limits) = (Vec::new(), Limits::default());
        let read = Storage::DISK.read(path, limits.max_file_bytes, &mut bytes);
        read.and_then(|()| decode(&bytes, &limits)).map_err(|kind| Error::at(path, kind))
    }
}

impl Stored<'_> {
    /// The whole picture, upright.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn decode(&self, limits: &Limits) -> Result<Image, crate::ErrorKind> {
        match *self {
            Self::File(bytes) => decode(bytes, limits),
            Self::Pixels { width, height, channels, bytes } => {
                Ok(Image::new(width, height, channels, bytes.to_vec()))
            }
        }
    }
}

/// Whether `head`, the first bytes of a file, begins a picture that [`decode`] knows.
pub(crate) fn is_image(head: &[u8]) -> bool {
    // Two letters are no proof that a text is a portable pixmap: the third byte has to be white space.
    let pnm = head.first() == Some(&b'P') && !head.get(2).is_some_and(u8::is_ascii_whitespace);
    !pnm && image::guess_format(head).is_ok_and(is_supported)
}

fn is_supported(format: ImageFormat) -> bool {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    matches!(format, Jpeg | Png | WebP | Bmp | Gif | Pnm | Tiff)
}

thread_local! {
    /// Tables and buffers that one JPEG leaves to the next.
    static SCRATCH: RefCell<jpeg::Scratch> = RefCell::default();
}

fn decode_jpeg(bytes: &[u8], limits: &Limits) -> Result<Image, ErrorKind> {
    let Some(header) = jpeg::Header::read(bytes, limits)? else {
        return decode_as(bytes, ImageFormat::Jpeg, limits).map(as_seen);
    };
    let (width, height) = (header.width, header.height);
    let mut pixels = vec![0; width as usize * height as usize * usize::from(header.channels)];
    let whole = jpeg::Part::whole(&header);
    SCRATCH.with_borrow_mut(|scratch| jpeg::decode(bytes, &header, &whole, scratch, &mut pixels))?;
    let stored = Image::new(header.width, header.height, header.channels, pixels);
    Ok(view::turn(stored, header.orientation))
}

fn is_format(bytes: &[u8], format: ImageFormat) -> bool {
    image::guess_format(bytes).is_ok_and(|found| found == format)
}

/// The format that `bytes` begin as, if [`decode`] knows it.
pub(crate) fn format_of(bytes: &[u8]) -> Option<&'static str> {
    image::guess_format(bytes).ok().and_then(format_name)
}

/// The format that files with this extension are of, if [`decode`] knows it.
pub(crate) fn format_named(extension: &str) -> Option<&'static str> {
    match extension.to_ascii_lowercase().as_str() {
        "jpe" => Some("jpeg"),
        "dib" => Some("bmp"),
        other => ImageFormat::from_extension(other).and_then(format_name),
    }
}

fn format_name(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Bmp => Some("bmp"),
        ImageFormat::Gif => Some("gif"),
        ImageFormat::Jpeg => Some("jpeg"),
        ImageFormat::Png => Some("png"),
        ImageFormat::Pnm => Some("pnm"),
        ImageFormat::Tiff => Some("tiff"),
        ImageFormat::WebP => Some("webp"),
        _ => None,
    }
}

fn decode_as(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<DynamicImage, ErrorKind> {
    let mut allowed = image::Limits::no_limits();
    allowed.max_image_width = Some(limits.max_width);
    allowed.max_image_height = Some(limits.max_height);
    allowed.max_alloc = Some(limits.max_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(|e| explain(e, limits))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ErrorKind::Decode(format!("it has no pixels ({width} x {height})")));
    }
    if width > limits.max_width || height > limits.max_height || decoder.total_bytes() > limits.max_bytes {
        return Err(limits.exceeded(&format!("{width} x {height} pixels")));
    }
    // Unreadable EXIF data is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|e| explain(e, limits))?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn explain(error: ImageError, limits: &Limits) -> ErrorKind {
    match error {
        ImageError::Limits(_) => limits.exceeded("its header asks for more"),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ErrorKind::Decode("the file is cut short".into())
        }
        other => ErrorKind::Decode(other.to_string()),
    }
}

fn as_seen(decoded: DynamicImage) -> Image {
    let (width, height) = (decoded.width(), decoded.height());
    let color = decoded.color();
    match (color.has_color(), color.has_alpha()) {
        (false, false) => Image::new(width, height, 1, decoded.into_luma8().into_raw()),
        (true, false) => Image::new(width, height, 3, decoded.into_rgb8().into_raw()),
        (false, true) => {
            let raw = decoded.into_luma_alpha8().into_raw();
            let pixels = raw.chunks_exact(2).map(|p| over_white(p[0], p[1])).collect();
            Image::new(width, height, 1, pixels)
        }
        (true, true) => {
            let raw = decoded.into_rgba8().into_raw();
            let pixels = raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]].map(|v| over_white(v, p[3])));
            Image::new(width, height, 3, pixels.collect())
        }
    }
}

/// `value` with opacity `alpha` on white, rounded.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use image::{GrayAlphaImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;
    use crate::testing::shared_data;

    fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn see(bytes: &[u8]) -> Image {
        decode(bytes, &Limits::default()).unwrap()
    }

    /// A PNG of nothing but chunks given by hand, with their checksums.
    fn png(header: [u8; 13], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        for (name, data) in std::iter::once((b"IHDR", &header[..])).chain(chunks.iter().copied()) {
            bytes.extend((data.len() as u32).to_be_bytes());
            let mut checksum = flate2::Crc::new();
            for part in [&name[..], data] {
                checksum.update(part);
                bytes.extend(part);
            }
            bytes.extend(checksum.sum().to_be_bytes());
        }
        bytes
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gray_stays_gray_and_colour_stays_colour_in_every_format() {
        let gray = ImageBuffer::from_pixel(3, 2, Luma([100u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Pnm] {
            assert_eq!(see(&encode(gray.clone(), format)), Image::new(3, 2, 1, vec![100; 6]), "{format:?}");
        }
        let color = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8 * 80, y as u8 * 200, 7]));
        let expected = Image::new(3, 2, 3, color.as_raw().clone());
        use ImageFormat::{Bmp, Gif, Png, Pnm, Tiff, WebP};
        for format in [Png, Bmp, Gif, WebP, Tiff, Pnm] {
            assert_eq!(see(&encode(color.clone(), format)), expected, "{format:?}");
        }
    }

    #[test]
    fn transparency_is_laid_over_white() {
        let mut rgba = RgbaImage::from_pixel(2, 1, Rgba([10, 20, 30, 0]));
        rgba.put_pixel(1, 0, Rgba([0, 100, 255, 128]));
        assert_eq!(see(&encode(rgba, ImageFormat::Png)).pixels(), [255, 255, 255, 127, 177, 255]);
        let gray_alpha = GrayAlphaImage::from_fn(2, 1, |x, _| LumaA([40, [0, 255][x as usize]]));
        assert_eq!(see(&encode(gray_alpha, ImageFormat::Png)), Image::new(2, 1, 1, vec![255, 40]));
    }

    #[test]
    fn sixteen_bits_become_eight() {
        let gray = ImageBuffer::<Luma<u16>, _>::from_raw(3, 1, vec![0u16, 0x8000, 0xFFFF]).unwrap();
        assert_eq!(see(&encode(gray, ImageFormat::Png)), Image::new(3, 1, 1, vec![0, 128, 255]));
        let color = ImageBuffer::<Rgb<u16>, _>::from_raw(1, 1, vec![0xFFFFu16, 257 * 3, 0]).unwrap();
        assert_eq!(see(&encode(color, ImageFormat::Png)), Image::new(1, 1, 3, vec![255, 3, 0]));
    }

    #[test]
    fn palettes_and_single_bits_are_expanded() {
        let rows = zlib(&[0, 0b1010_0000]);
        let palette = png(
            [0, 0, 0, 3, 0, 0, 0, 1, 1, 3, 0, 0, 0],
            &[(b"PLTE", &[9, 8, 7, 200, 100, 50]), (b"IDAT", &rows), (b"IEND", &[])],
        );
        assert_eq!(see(&palette), Image::new(3, 1, 3, vec![200, 100, 50, 9, 8, 7, 200, 100, 50]));
        let bits = png([0, 0, 0, 3, 0, 0, 0, 1, 1, 0, 0, 0, 0], &[(b"IDAT", &rows), (b"IEND", &[])]);
        assert_eq!(see(&bits), Image::new(3, 1, 1, vec![255, 0, 255]));
    }

    #[test]
    fn an_enormous_png_is_refused_before_it_is_decoded() {
        let header = [0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 8, 6, 0, 0, 0];
        let bytes = png(header, &[(b"IDAT", &zlib(&[0; 64])), (b"IEND", &[])]);
        assert!(matches!(decode(&bytes, &Limits::default()), Err(ErrorKind::TooLarge(_))));
        // Within the sides but over the memory limit.
        let header = [0, 0, 0x80, 0, 0, 0, 0x80, 0, 8, 6, 0, 0, 0];
        let bytes = png(header, &[(b"IDAT", &zlib(&[0; 64])), (b"IEND", &[])]);
        assert!(matches!(decode(&bytes, &Limits::default()), Err(ErrorKind::TooLarge(_))));
    }

    #[test]
    fn every_prefix_of_a_picture_is_an_error_and_never_a_panic() {
        let picture = RgbImage::from_fn(24, 16, |x, y| Rgb([x as u8 * 10, y as u8 * 15, (x * y) as u8]));
        use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
        for format in [Jpeg, Png, WebP, Bmp, Gif, Pnm, Tiff] {
            let bytes = encode(picture.clone(), format);
            for end in 0..bytes.len() {
                let result = decode(&bytes[..end], &Limits::default());
                // The last bytes of some formats only say that the file is over.
                assert!(
                    result.is_err() || end + 16 > bytes.len(),
                    "{format:?} cut at {end} of {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn text_is_no_picture() {
        for text in [&b"hello, I am a text"[..], b"", b"<svg></svg>"] {
            assert!(matches!(decode(text, &Limits::default()), Err(ErrorKind::UnknownFormat)));
            assert!(!is_image(text));
        }
        assert!(!is_image(b"P3rhaps a letter"));
        assert!(is_image(b"P3\n1 1\n"));
    }

    #[test]
    fn formats_are_told_by_bytes_and_by_name() {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
        for (format, extensions) in [
            (Jpeg, &["jpg", "JPEG", "jpe", "jfif"][..]),
            (Bmp, &["bmp", "dib"]),
            (Pnm, &["pnm", "pbm", "pgm", "ppm"]),
            (Tiff, &["tif", "tiff"]),
            (Png, &["png"]),
            (Gif, &["gif"]),
            (WebP, &["webp"]),
        ] {
            let told = format_of(&encode(RgbImage::new(2, 2), format)).unwrap();
            for extension in extensions {
                assert_eq!(format_named(extension), Some(told), "{extension}");
            }
        }
        assert_eq!((format_of(b"text"), format_named("txt"), format_named("avif")), (None, None, None));
    }

    #[test]
    fn hostile_files_decode_or_fail_but_never_panic() {
        let Some(folder) = shared_data("robust") else { return };
        let (mut decoded, mut refused) = (0, 0);
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                match decode(&std::fs::read(&path).unwrap(), &Limits::default()) {
                    Ok(_) => decoded += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        println!("{decoded} decoded, {refused} refused");
        assert!(decoded > 50);
    }

    #[test]
    fn cmyk_and_ycck_become_the_colors_that_pillow_shows() {
        let Some(folder) = shared_data("robust/jpeg_decoder/tests/reftest/images") else { return };
        for (name, mean) in
            [("mozilla/jpg-cmyk-1.jpg", [127.5, 127.5, 43.8]), ("ycck.jpg", [109.0, 132.1, 109.6])]
        {
            let image = see(&std::fs::read(folder.join(name)).unwrap());
            for (channel, expected) in mean.into_iter().enumerate() {
                let values = image.pixels().iter().skip(channel).step_by(3).map(|&v| f64::from(v));
                let mean = values.sum::<f64>() / f64::from(image.width() * image.height());
                assert!((mean - expected).abs() < 0.5, "{name}: {mean} is not {expected}");
            }
        }
    }

    #[test]
    fn every_exif_orientation_becomes_the_same_upright_picture() {
        let Some(folder) = shared_data("robust/exif_orientation") else { return };
        for shape in ["Landscape", "Portrait"] {
            let load =
                |n: u32| see(&std::fs::read(Path::new(&folder).join(format!("{shape}_{n}.jpg"))).unwrap());
            let upright = load(1);
            for n in 0..=8 {
                let image = load(n);
                assert_eq!(
                    (image.width(), image.height()),
                    (upright.width(), upright.height()),
                    "{shape}_{n}"
                );
                let pairs = image.pixels().iter().zip(upright.pixels());
                let difference: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                // The set was encoded lossily after each turn.
                assert!(difference / (image.pixels().len() as u64) < 12, "{shape}_{n} is not upright");
            }
        }
    }
}
