//! Statistics of an image set.

use crate::source::Source;
use crate::{Error, ErrorKind, Preprocess, Result};

/// Mean and standard deviation of each channel, for values 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelStats {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The (population) standard deviation of each channel.
    pub std: Vec<f32>,
}

/// The statistics of at most `limit` samples, evenly spaced over `source`, as `preprocess` prepares them; every pixel counts
/// the same.
///
/// # Errors
///
/// When there are no samples, or one cannot be read.
pub fn pixel_stats(source: &dyn Source, preprocess: &Preprocess, limit: usize) -> Result<PixelStats> {
    let count = source.len().min(limit);
    if count == 0 {
        return Err(Error::new(ErrorKind::Setting("statistics need at least one sample".into())));
    }
    let channels = usize::from(preprocess.channels);
    // Whole numbers: exact, whatever the order.
    let mut sums = vec![[0u128; 2]; channels];
    for n in 0..count {
        let index = (n as u128 * source.len() as u128 / count as u128) as usize;
        let image = preprocess.apply(source.read(index)?.image);
        for pixel in image.pixels().chunks_exact(channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                sum[0] += u128::from(value);
                sum[1] += u128::from(value) * u128::from(value);
            }
        }
    }
    let pixels = (count * preprocess.bytes() / channels) as f64;
    let mean = |s: &[u128; 2]| s[0] as f64 / pixels / 255.0;
    let std = |s: &[u128; 2]| (s[1] as f64 / pixels / (255.0 * 255.0) - mean(s).powi(2)).max(0.0).sqrt();
    Ok(PixelStats {
        mean: sums.iter().map(|s| mean(s) as f32).collect(),
        std: sums.iter().map(|s| std(s) as f32).collect(),
    })
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
        let stats = pixel_stats(&memory, &preprocess, 10).unwrap();
        assert_eq!(stats.mean, [0.25]);
        assert!((stats.std[0] - 0.1875f32.sqrt()).abs() < 1e-6);
        assert_eq!(pixel_stats(&memory, &preprocess, 1).unwrap().mean, [0.0]);
        assert!(pixel_stats(&memory, &preprocess, 0).is_err());
    }

    #[test]
    fn channels_are_those_the_network_sees() {
        let image = |channels, pixels| Sample { image: Image::new(1, 1, channels, pixels), label: 0 };
        let samples = vec![image(3, vec![255, 0, 51]), image(1, vec![255])];
        let memory = Memory::new(samples, vec!["a".into()]).unwrap();
        let stats = pixel_stats(&memory, &Preprocess::new(3, 1, 1), 2).unwrap();
        assert_eq!(stats.mean, [1.0, 0.5, 0.6]);
        assert_eq!(stats.std[0], 0.0);
    }

    #[test]
    fn mnist_has_its_well_known_statistics() {
        let Some(folder) = shared_data("mnist_idx") else { return };
        let file = |name: &str| folder.join(format!("train-{name}-ubyte.gz"));
        let mnist = Idx::open(file("images-idx3"), file("labels-idx1")).unwrap();
        let stats = pixel_stats(&mnist, &Preprocess::new(1, 28, 28), usize::MAX).unwrap();
        assert!((stats.mean[0] - 0.1307).abs() < 1e-4 && (stats.std[0] - 0.3081).abs() < 1e-4, "{stats:?}");
    }
}
