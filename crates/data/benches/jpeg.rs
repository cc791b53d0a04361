//! How long a thread decodes JPEG photos from memory: whole, the part of a random crop, and a large photo at reduced sizes.
//!
//! ```text
//! cargo bench -p pyrograph-data --no-default-features --bench jpeg -- PHOTOS
//! ```
//!
//! `PHOTOS` is a folder of JPEG files. Each line gives the mean over the photos, of the fastest of several passes.

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

const PASSES: usize = 9;
/// Crops of each photo.
const CROPS: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(folder) = folder else {
        println!("skipped: give a folder of JPEG photos, `cargo bench … --bench jpeg -- PHOTOS`");
        return Ok(());
    };
    let photos = load(Path::new(&folder))?;
    let bytes: usize = photos.iter().map(|(bytes, _)| bytes.len()).sum();
    let pixels: u64 = photos.iter().map(|(_, header)| area(header.width, header.height)).sum();
    println!(
        "{} baseline photos, {} KB and {} Kpx on average",
        photos.len(),
        bytes / photos.len() / 1000,
        pixels / photos.len() as u64 / 1000
    );

    let mut scratch = Scratch::default();
    let mut out = Vec::new();
    let count = photos.len() as f64;
    let zune = fastest(|| photos.iter().try_for_each(|(bytes, _)| zune_jpeg(bytes)))?;
    report("zune-jpeg, whole", zune, count, zune);
    let whole = fastest(|| {
        photos
            .iter()
            .try_for_each(|(bytes, header)| ours(bytes, header, &Part::whole(header), &mut scratch, &mut out))
    })?;
    report("whole", whole, count, zune);
    for reduce in [2, 4, 8] {
        let time = fastest(|| {
            photos.iter().try_for_each(|(bytes, header)| {
                let part = Part { reduce, ..Part::whole(header) };
                ours(bytes, header, &part, &mut scratch, &mut out)
            })
        })?;
        report(&format!("whole, 1/{reduce}"), time, count, zune);
    }
    let crops = fastest(|| {
        photos.iter().enumerate().try_for_each(|(index, (bytes, header))| {
            (0..CROPS).try_for_each(|epoch| {
                let part = random_resized_crop(header, &mut SampleRng::new(1, epoch, index as u64, 0));
                ours(bytes, header, &part, &mut scratch, &mut out)
            })
        })
    })?;
    report("random crop", crops / CROPS as u32, count, zune);

    let (bytes, header) = large(&photos)?;
    println!("one photo of {} x {} pixels, {} KB", header.width, header.height, bytes.len() / 1000);
    let zune = fastest(|| zune_jpeg(&bytes))?;
    report("zune-jpeg, whole", zune, 1.0, zune);
    for reduce in [1, 2, 4, 8] {
        let part = Part { reduce, ..Part::whole(&header) };
        let time = fastest(|| ours(&bytes, &header, &part, &mut scratch, &mut out))?;
        report(&format!("whole, 1/{reduce}"), time, 1.0, zune);
    }
    Ok(())
}

fn area(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Those files of the folder that the decoder takes.
fn load(folder: &Path) -> Result<Vec<(Vec<u8>, Header)>, Box<dyn Error>> {
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
fn large(photos: &[(Vec<u8>, Header)]) -> Result<(Vec<u8>, Header), Box<dyn Error>> {
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
    bytes: &[u8],
    header: &Header,
    part: &Part,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ErrorKind> {
    jpeg::decode(bytes, header, part, scratch, out)?;
    black_box(&out);
    Ok(())
}

fn zune_jpeg(bytes: &[u8]) -> Result<(), ErrorKind> {
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

fn fastest(mut pass: impl FnMut() -> Result<(), ErrorKind>) -> Result<Duration, ErrorKind> {
    let mut fastest = Duration::MAX;
    for _ in 0..PASSES {
        let start = Instant::now();
        pass()?;
        fastest = fastest.min(start.elapsed());
    }
    Ok(fastest)
}

fn report(what: &str, time: Duration, count: f64, compared: Duration) {
    let each = time.as_secs_f64() * 1000.0 / count;
    let factor = compared.as_secs_f64() / time.as_secs_f64();
    println!("{what:20} {each:8.3} ms  {factor:5.2} x");
}
