//! How long a thread decodes JPEG photos from memory: whole, the part of a random crop, and a large photo at reduced sizes.
//!
//! ```text
//! cargo bench -p pyrograph-data --no-default-features [--features turbojpeg] --bench jpeg -- PHOTOS
//! ```
//!
//! `PHOTOS` is a folder of JPEG files. With the feature, progressive ones are among them. Each line gives the mean over the photos of the
//! fastest of several passes, and how many times faster than `zune-jpeg`, the decoder inside `image`, that is.

use std::error::Error;
use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, RgbImage};
use pyrograph_data::jpeg::{self, Header, Part, Scratch};
use pyrograph_data::order::SampleRng;
use pyrograph_data::{ErrorKind, Limits};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

const PASSES: usize = 15;
/// Crops of each photo.
const CROPS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(folder) = folder else {
        println!("skipped: give a folder of JPEG photos, `cargo bench … --bench jpeg -- PHOTOS`");
        return Ok(());
    };
    let photos = load(Path::new(&folder))?;
    let bytes: usize = photos.iter().map(|(bytes, _)| bytes.len()).sum();
    let pixels: u64 = photos.iter().map(|(_, header)| area(header.width, header.height)).sum();
    let (kilobytes, kilopixels) = (bytes / photos.len() / 1000, pixels / photos.len() as u64 / 1000);
    println!("{} baseline photos, {kilobytes} KB and {kilopixels} Kpx on average", photos.len());
    let zune = report("zune-jpeg, whole", None, &photos, zune_jpeg)?;
    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    for reduce in [1, 2, 4, 8] {
        report(&format!("whole, 1/{reduce}"), Some(zune), &photos, |photo| {
            ours(photo, &Part { reduce, ..Part::whole(&photo.1) }, &mut scratch, &mut out)
        })?;
    }
    let mut rng = SampleRng::new(1, 2, 3, 4);
    let mut cropped = Vec::new();
    for photo in std::iter::repeat_n(&photos, CROPS).flatten() {
        cropped.push((photo, random_resized_crop(&photo.1, &mut rng)));
    }
    report("random crop", Some(zune), &cropped, |(photo, part)| ours(photo, part, &mut scratch, &mut out))?;

    let photo = large(&photos)?;
    let (width, height) = (photo.1.width, photo.1.height);
    println!("one photo of {width} x {height} pixels, {} KB", photo.0.len() / 1000);
    let photo = [photo];
    let zune = report("zune-jpeg, whole", None, &photo, zune_jpeg)?;
    for reduce in [1, 2, 4, 8] {
        report(&format!("whole, 1/{reduce}"), Some(zune), &photo, |photo| {
            ours(photo, &Part { reduce, ..Part::whole(&photo.1) }, &mut scratch, &mut out)
        })?;
    }
    Ok(())
}

/// A file and its header.
type Photo = (Vec<u8>, Header);

fn area(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Those files of the folder that the decoder takes.
fn load(folder: &Path) -> Result<Vec<Photo>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut photos = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(path)?;
        if let Ok(Some(header)) = Header::read(&bytes, &Limits::default()) {
            photos.push((bytes, header));
        }
    }
    if photos.is_empty() { Err("no baseline JPEG file in the folder".into()) } else { Ok(photos) }
}

/// The first photo in colour, enlarged to 8 million pixels.
fn large(photos: &[Photo]) -> Result<Photo, Box<dyn Error>> {
    let photo = photos.iter().find(|(_, header)| header.channels == 3).ok_or("no photo in colour")?;
    let (bytes, header) = photo;
    let mut pixels = Vec::new();
    jpeg::decode(bytes, header, &Part::whole(header), &mut Scratch::default(), &mut pixels)?;
    let photo = RgbImage::from_raw(header.width, header.height, pixels).ok_or("pixels are missing")?;
    let photo = DynamicImage::from(photo).resize_exact(3264, 2448, FilterType::CatmullRom);
    let mut bytes = Cursor::new(Vec::new());
    photo.write_to(&mut bytes, ImageFormat::Jpeg)?;
    let bytes = bytes.into_inner();
    let header = Header::read(&bytes, &Limits::default())?.ok_or("not a baseline picture")?;
    Ok((bytes, header))
}

fn ours(
    (bytes, header): &Photo,
    part: &Part,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ErrorKind> {
    jpeg::decode(bytes, header, part, scratch, out)?;
    black_box(&out);
    Ok(())
}

fn zune_jpeg((bytes, _): &Photo) -> Result<(), ErrorKind> {
    let pixels = JpegDecoder::new(ZCursor::new(bytes)).decode();
    black_box(pixels.map_err(|error| ErrorKind::Decode(error.to_string()))?);
    Ok(())
}

/// torchvision's `RandomResizedCrop`: area 0.08 to 1, ratio 3/4 to 4/3.
fn random_resized_crop(header: &Header, rng: &mut SampleRng) -> Part {
    let (width, height) = (header.width as f32, header.height as f32);
    for _ in 0..10 {
        let area = width * height * (0.08 + 0.92 * rng.unit());
        let ratio = (4f32 / 3.0).powf(2.0 * rng.unit() - 1.0);
        let (w, h) = ((area * ratio).sqrt().round() as u32, (area / ratio).sqrt().round() as u32);
        if (1..=header.width).contains(&w) && (1..=header.height).contains(&h) {
            let left = rng.below(u64::from(header.width - w + 1)) as u32;
            let top = rng.below(u64::from(header.height - h + 1)) as u32;
            return Part { left, top, width: w, height: h, reduce: 1 };
        }
    }
    Part::whole(header)
}

/// Prints the mean over the items of the fastest pass of each, in milliseconds, and gives it; `compared` is
/// the time that it is compared with.
fn report<T>(
    what: &str,
    compared: Option<f64>,
    items: &[T],
    mut work: impl FnMut(&T) -> Result<(), ErrorKind>,
) -> Result<f64, ErrorKind> {
    let mut fastest = vec![Duration::MAX; items.len()];
    for _ in 0..PASSES {
        for (fastest, item) in fastest.iter_mut().zip(items) {
            let start = Instant::now();
            work(item)?;
            *fastest = start.elapsed().min(*fastest);
        }
    }
    let mean = fastest.iter().sum::<Duration>().as_secs_f64() * 1000.0 / items.len() as f64;
    println!("{what:20} {mean:8.3} ms  {:5.2} x", compared.unwrap_or(mean) / mean);
    Ok(mean)
}
