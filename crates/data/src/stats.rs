//! Statistics of an image set.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decode::format_of;
use crate::in_order::{in_order, readers};
use crate::source::{Source, Stored};
use crate::{Error, ErrorKind, Image, Limits, OnError, Preprocess, Result, class_counts};

/// Mean and standard deviation of each channel, for values 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelStats {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The (population) standard deviation of each channel.
    pub std: Vec<f32>,
}

/// The statistics of at most `limit` samples, evenly spaced over `source`, as `preprocess` prepares them; every pixel counts
/// the same. All cores take part; their number changes nothing of the result. Samples that a loader would replace are left out.
///
/// # Errors
///
/// When there are no samples, or one cannot be read and is not to be replaced.
pub fn pixel_stats(
    source: &dyn Source,
    preprocess: &Preprocess,
    limit: usize,
    on_error: OnError,
) -> Result<PixelStats> {
    let samples = Spaced::new(source, limit)?;
    let mut sums = Sums::default();
    let prepared = |n| match (source.read(samples.index(n)), on_error) {
        (Ok(sample), _) => Ok(Sums::of(&preprocess.apply(sample.image))),
        (Err(error), OnError::Fail) => Err(error),
        (Err(_), OnError::Replace { .. }) => Ok(Sums::default()),
    };
    in_order(0..samples.count, readers(source), prepared, |_, one| {
        sums.add(&one);
        Ok(())
    })?;
    Ok(sums.stats(usize::from(preprocess.channels)))
}

/// The smallest, the middle and the largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// At least half are as small as this one and at least half as large.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

/// What the pictures of a source are like, as they are stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The samples of the source.
    pub samples: usize,
    /// Those of each class, in label order.
    pub classes: Vec<(String, usize)>,
    /// The samples that were looked at; all that follows is about them.
    pub looked_at: usize,
    /// Those that could not be read or decoded; what follows is about the others.
    pub failed: usize,
    /// How many there are of each format; `pixels` where no file holds them.
    pub formats: BTreeMap<String, usize>,
    /// How many are gray.
    pub gray: usize,
    /// In pixels.
    pub width: Spread,
    /// In pixels.
    pub height: Spread,
    /// As stored, of one picture.
    pub bytes: Spread,
    /// As stored, of all.
    pub total_bytes: u64,
    /// Of whole pictures, every pixel counting the same: one channel if all are gray, else three, in which gray is
    /// repeated.
    pub pixels: PixelStats,
}

/// What the pictures of `source` are like: at most `limit` of them, evenly spaced. All cores take part; their number
/// changes nothing of the result. `progress` is told the pictures that are done and their number, on the calling
/// thread.
///
/// # Errors
///
/// When there are no samples, or none can be read: the error is that of the first.
pub fn dataset_stats(
    source: &dyn Source,
    limit: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Stats> {
    let samples = Spaced::new(source, limit)?;
    let (mut gray, mut color) = (Sums::default(), Sums::default());
    let [mut widths, mut heights, mut sizes] = [(); 3].map(|()| Tally::default());
    let (mut formats, mut gray_pictures, mut failed) = (BTreeMap::new(), 0, 0);
    let mut first_error = None;
    let look = |n| Ok(Look::at(source, samples.index(n), &mut Vec::new()));
    in_order(0..samples.count, readers(source), look, |n, look| {
        match look {
            Ok(look) => {
                widths.add(look.width.into());
                heights.add(look.height.into());
                sizes.add(look.bytes);
                *formats.entry(look.format.to_owned()).or_default() += 1;
                gray_pictures += usize::from(look.is_gray);
                if look.is_gray { &mut gray } else { &mut color }.add(&look.sums);
            }
            Err(error) => {
                failed += 1;
                first_error.get_or_insert(error);
            }
        }
        progress(n + 1, samples.count);
        Ok(())
    })?;
    let (Some(width), Some(height), Some(bytes)) = (widths.spread(), heights.spread(), sizes.spread()) else {
        return Err(first_error.unwrap_or_else(no_samples));
    };
    let channels = if color.pixels == 0 { 1 } else { 3 };
    color.add(&gray);
    Ok(Stats {
        samples: source.len(),
        classes: source.class_names().iter().cloned().zip(class_counts(source)).collect(),
        looked_at: samples.count,
        failed,
        formats,
        gray: gray_pictures,
        width,
        height,
        bytes,
        total_bytes: sizes.total(),
        pixels: color.stats(channels),
    })
}

fn no_samples() -> Error {
    Error::new(ErrorKind::Setting("statistics need at least one sample".into()))
}

/// Evenly spaced samples of a source.
struct Spaced {
    count: usize,
    len: usize,
}

impl Spaced {
    fn new(source: &dyn Source, limit: usize) -> Result<Self> {
        let len = source.len();
        let count = len.min(limit);
        if count == 0 { Err(no_samples()) } else { Ok(Self { count, len }) }
    }

    /// The index of the one at `n`.
    fn index(&self, n: usize) -> usize {
        (n as u128 * self.len as u128 / self.count as u128) as usize
    }
}

/// Sums of the values of pixels and of their squares. Whole numbers: exact, whatever the order.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    pixels: u128,
    /// Of each channel; gray is repeated.
    values: [u128; 3],
    squares: [u128; 3],
}

impl Sums {
    fn of(image: &Image) -> Self {
        let channels = usize::from(image.channels());
        // 64 bits hold the squares of a picture of any size that fits in memory.
        let (mut values, mut squares) = ([0u64; 3], [0u64; 3]);
        for pixel in image.pixels().chunks_exact(channels) {
            for ((value, square), &byte) in values.iter_mut().zip(&mut squares).zip(pixel) {
                *value += u64::from(byte);
                *square += u64::from(byte) * u64::from(byte);
            }
        }
        let each = |sums: [u64; 3]| std::array::from_fn(|c| u128::from(sums[c.min(channels - 1)]));
        let pixels = (image.pixels().len() / channels) as u128;
        Self { pixels, values: each(values), squares: each(squares) }
    }

    fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        for channel in 0..3 {
            self.values[channel] += other.values[channel];
            self.squares[channel] += other.squares[channel];
        }
    }

    fn stats(&self, channels: usize) -> PixelStats {
        let pixels = self.pixels as f64;
        let mean = |channel: usize| self.values[channel] as f64 / pixels / 255.0;
        let square = |channel: usize| self.squares[channel] as f64 / pixels / (255.0 * 255.0);
        let std = |channel: usize| (square(channel) - mean(channel).powi(2)).max(0.0).sqrt();
        PixelStats {
            mean: (0..channels).map(|channel| mean(channel) as f32).collect(),
            std: (0..channels).map(|channel| std(channel) as f32).collect(),
        }
    }
}

/// What one picture is like.
struct Look {
    width: u32,
    height: u32,
    is_gray: bool,
    bytes: u64,
    format: &'static str,
    sums: Sums,
}

impl Look {
    fn at(source: &dyn Source, index: usize, buffer: &mut Vec<u8>) -> Result<Self> {
        let stored = source.fetch(index, buffer)?;
        let (bytes, format) = match stored {
            Stored::File(bytes) => (bytes.len(), format_of(bytes).unwrap_or_default()),
            Stored::Pixels { bytes, .. } => (bytes.len(), "pixels"),
        };
        let image = stored.decode(&Limits::default());
        let image = image.map_err(|kind| Error::in_place(source.place(index), kind))?;
        let (width, height, is_gray) = (image.width(), image.height(), image.channels() == 1);
        Ok(Self { width, height, is_gray, bytes: bytes as u64, format, sums: Sums::of(&image) })
    }
}

/// How often each number came.
#[derive(Debug, Default)]
struct Tally(BTreeMap<u64, usize>);

impl Tally {
    fn add(&mut self, number: u64) {
        *self.0.entry(number).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(number, &count)| number * count as u64).sum()
    }

    fn spread(&self) -> Option<Spread> {
        let (&min, &max) = (self.0.keys().next()?, self.0.keys().next_back()?);
        let half = self.0.values().sum::<usize>().div_ceil(2);
        let mut below = 0;
        let median = self.0.iter().find_map(|(&number, &count)| {
            below += count;
            (below >= half).then_some(number)
        })?;
        Some(Spread { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::source::{Idx, Memory, Sample};
    use crate::testing::shared_data;

    #[test]
    fn every_pixel_counts_the_same() {
        let sample = |a, b| Sample { image: Image::new(2, 1, 1, vec![a, b]), label: 0 };
        let memory = Memory::new(vec![sample(0, 0), sample(0, 255)], vec!["a".into()]).unwrap();
        let preprocess = Preprocess::new(1, 1, 2);
        let stats = pixel_stats(&memory, &preprocess, 10, OnError::Fail).unwrap();
        assert_eq!(stats.mean, [0.25]);
        assert!((stats.std[0] - 0.1875f32.sqrt()).abs() < 1e-6);
        assert_eq!(pixel_stats(&memory, &preprocess, 1, OnError::Fail).unwrap().mean, [0.0]);
        assert!(pixel_stats(&memory, &preprocess, 0, OnError::Fail).is_err());
    }

    #[test]
    fn channels_are_those_the_network_sees() {
        let image = |channels, pixels| Sample { image: Image::new(1, 1, channels, pixels), label: 0 };
        let samples = vec![image(3, vec![255, 0, 51]), image(1, vec![255])];
        let memory = Memory::new(samples, vec!["a".into()]).unwrap();
        let stats = pixel_stats(&memory, &Preprocess::new(3, 1, 1), 2, OnError::Fail).unwrap();
        assert_eq!(stats.mean, [1.0, 0.5, 0.6]);
        assert_eq!(stats.std[0], 0.0);
    }

    #[test]
    fn pictures_are_counted_as_they_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
        }
        let path = |name: &str| folder.path().join(name);
        image::GrayImage::from_pixel(4, 2, image::Luma([51])).save(path("a/1.png")).unwrap();
        image::RgbImage::from_pixel(2, 6, image::Rgb([255, 0, 51])).save(path("a/2.bmp")).unwrap();
        image::RgbImage::from_pixel(3, 4, image::Rgb([255, 0, 51])).save(path("b/3.png")).unwrap();
        std::fs::write(path("b/4.jpg"), "text").unwrap();
        let source = crate::source::Folder::open(folder.path()).unwrap();
        let mut told = Vec::new();
        let stats = dataset_stats(&source, usize::MAX, &mut |done, all| told.push((done, all))).unwrap();
        assert_eq!(told, [(1, 4), (2, 4), (3, 4), (4, 4)]);
        assert_eq!((stats.samples, stats.looked_at, stats.failed, stats.gray), (4, 4, 1, 1));
        assert_eq!(stats.classes, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
        assert_eq!(stats.formats, BTreeMap::from([("bmp".to_owned(), 1), ("png".to_owned(), 2)]));
        assert_eq!(stats.width, Spread { min: 2, median: 3, max: 4 });
        assert_eq!(stats.height, Spread { min: 2, median: 4, max: 6 });
        let sizes =
            ["a/1.png", "a/2.bmp", "b/3.png"].map(|name| std::fs::metadata(path(name)).unwrap().len());
        assert_eq!(stats.total_bytes, sizes.iter().sum::<u64>());
        // 8 gray pixels of 0.2, and 24 of (1, 0, 0.2).
        assert_eq!(stats.pixels.mean, [0.8, 0.05, 0.2]);
        assert!((stats.pixels.std[0] - 0.12f32.sqrt()).abs() < 1e-6, "{:?}", stats.pixels);

        let bad = crate::source::Subset::new(std::sync::Arc::new(source), vec![3]).unwrap();
        let error = dataset_stats(&bad, 10, &mut |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("4.jpg: not an image"), "{error}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let digits = crate::source::Digits::new(300, 3);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let seen = pixel_stats(&digits, &Preprocess::new(3, 14, 14), 250, OnError::Fail).unwrap();
                (seen, dataset_stats(&digits, 250, &mut |_, _| ()).unwrap())
            })
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5));
        assert_eq!((one.1.looked_at, one.1.formats["pixels"]), (250, 250));
    }

    #[test]
    fn mnist_has_its_well_known_statistics() {
        let Some(folder) = shared_data("mnist_idx") else { return };
        let file = |name: &str| folder.join(format!("train-{name}-ubyte.gz"));
        let mnist = Idx::open(file("images-idx3"), file("labels-idx1")).unwrap();
        let stats = pixel_stats(&mnist, &Preprocess::new(1, 28, 28), usize::MAX, OnError::Fail).unwrap();
        assert!((stats.mean[0] - 0.1307).abs() < 1e-4 && (stats.std[0] - 0.3081).abs() < 1e-4, "{stats:?}");
    }
}
