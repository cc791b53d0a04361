//! Statistics of an image set.

use crate::source::Source;
use crate::{Error, ErrorKind, Result};

/// Mean and standard deviation of each channel, for values 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelStats {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The (population) standard deviation of each channel.
    pub std: Vec<f32>,
}

/// The statistics of at most `limit` samples, evenly spaced over `source`; every pixel counts the same.
///
/// There is one channel when every sample that was looked at is gray, otherwise there are three.
///
/// # Errors
///
/// When there are no samples, or one cannot be read.
pub fn pixel_stats(source: &dyn Source, limit: usize) -> Result<PixelStats> {
    let count = source.len().min(limit);
    if count == 0 {
        return Err(Error::new(ErrorKind::Setting("statistics need at least one sample".into())));
    }
    let mut color = false;
    let mut pixels = 0.0;
    let mut sums = [[0.0f64; 2]; 3];
    for i in 0..count {
        // In 128 bits: the product of two lengths.
        let index = (i as u128 * source.len() as u128 / count as u128) as usize;
        let image = source.read(index)?.image;
        color |= image.channels() == 3;
        pixels += f64::from(image.width()) * f64::from(image.height());
        let channels = usize::from(image.channels());
        for (channel, sum) in sums.iter_mut().enumerate() {
            // Whole numbers below 2^53: exact, whatever the order. Gray counts for all three channels.
            let values = image.pixels().iter().skip(channel % channels).step_by(channels);
            let (first, second) = values.fold((0u64, 0u64), |(a, b), &v| {
                let v = u64::from(v);
                (a + v, b + v * v)
            });
            sum[0] += first as f64;
            sum[1] += second as f64;
        }
    }
    let channels = if color { 3 } else { 1 };
    let mean = |s: &[f64; 2]| s[0] / pixels / 255.0;
    let std = |s: &[f64; 2]| (s[1] / pixels / (255.0 * 255.0) - mean(s).powi(2)).max(0.0).sqrt();
    Ok(PixelStats {
        mean: sums[..channels].iter().map(|s| mean(s) as f32).collect(),
        std: sums[..channels].iter().map(|s| std(s) as f32).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Idx, Memory, Sample};
    use crate::testing::shared_data;
    use crate::Image;

    #[test]
    fn every_pixel_counts_the_same() {
        let sample = |width, value| Sample { image: Image::new(width, 1, 1, vec![value; width as usize]), label: 0 };
        let memory = Memory::new(vec![sample(3, 0), sample(1, 255)], vec!["a".into()]).unwrap();
        let stats = pixel_stats(&memory, 10).unwrap();
        assert_eq!(stats.mean, [0.25]);
        assert!((stats.std[0] - 0.1875f32.sqrt()).abs() < 1e-6);
        assert_eq!(pixel_stats(&memory, 1).unwrap().mean, [0.0]);
        assert!(pixel_stats(&memory, 0).is_err());
    }

    #[test]
    fn gray_counts_for_every_channel_of_a_coloured_set() {
        let image = |channels, pixels| Sample { image: Image::new(1, 1, channels, pixels), label: 0 };
        let samples = vec![image(3, vec![255, 0, 51]), image(1, vec![255])];
        let stats = pixel_stats(&Memory::new(samples, vec!["a".into()]).unwrap(), 2).unwrap();
        assert_eq!(stats.mean, [1.0, 0.5, 0.6]);
        assert_eq!(stats.std[0], 0.0);
    }

    #[test]
    fn mnist_has_its_well_known_statistics() {
        let Some(folder) = shared_data("mnist_idx") else { return };
        let file = |name: &str| folder.join(format!("train-{name}-ubyte.gz"));
        let mnist = Idx::open(file("images-idx3"), file("labels-idx1")).unwrap();
        let stats = pixel_stats(&mnist, usize::MAX).unwrap();
        assert!((stats.mean[0] - 0.1307).abs() < 1e-4 && (stats.std[0] - 0.3081).abs() < 1e-4, "{stats:?}");
    }
}
