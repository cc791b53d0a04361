//! MixUp and CutMix where the batch lies.

use burn::tensor::{Tensor, TensorData};

use super::ImageBatch;
use crate::transform::mix::{Mix, Rect};

impl ImageBatch {
    /// Mixes the pictures; `targets`, `[batch, classes]`, are what they show then.
    pub(super) fn mix(&mut self, mix: &Mix, targets: Vec<f32>) {
        let device = self.images.device();
        let count = mix.partner.len();
        let classes = targets.len() / count.max(1);
        self.soft_targets = Some(Tensor::from_data(TensorData::new(targets, [count, classes]), &device));
        if mix.lambda >= 1.0 {
            return;
        }
        let partner: Vec<i64> = mix.partner.iter().map(|&partner| partner as i64).collect();
        let partner = Tensor::from_data(TensorData::new(partner, [count]), &device);
        let images = self.images.clone();
        let others = images.clone().select(0, partner);
        self.images = match mix.cut {
            None => images.mul_scalar(mix.lambda) + others.mul_scalar(1.0 - mix.lambda),
            Some(Rect { left, top, width, height }) => {
                let [_, channels, ..] = images.dims();
                let (rows, columns) =
                    (top as usize..(top + height) as usize, left as usize..(left + width) as usize);
                let place = [0..count, 0..channels, rows, columns];
                images.slice_assign(place.clone(), others.slice(place))
            }
        };
    }
}

#[cfg(feature = "flex")]
#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;
    use crate::transform::mix::{Layout, Shape};

    #[test]
    fn the_device_mixes_as_the_host_does() {
        let (count, channels, height, width) = (3, 2, 5, 4);
        let values: Vec<f32> =
            (0..count * channels * height * width).map(|n| (n * 37 % 101) as f32).collect();
        let shape = Shape { channels, height, width, layout: Layout::Nchw };
        for cut in [
            None,
            Some(Rect { left: 1, top: 2, width: 2, height: 3 }),
            Some(Rect { left: 4, top: 0, width: 0, height: 2 }),
        ] {
            let mix = Mix { lambda: 0.7, partner: vec![2, 0, 1], cut };
            let mut expected = values.clone();
            mix.blend(&mut expected, &shape);
            let device = Device::flex();
            let data = TensorData::new(values.clone(), [count, channels, height, width]);
            let mut batch = ImageBatch {
                images: Tensor::from_data(data, &device),
                targets: Tensor::<1, Int>::from_ints([0, 1, 1], &device),
                soft_targets: None,
                indices: vec![0, 1, 2],
                counts: vec![true; 3],
            };
            batch.mix(&mix, mix.soft_targets(&[0, 1, 1], 2, 0.0).unwrap());
            let mixed = batch.images.into_data().try_to_vec::<f32>().unwrap();
            assert!(
                mixed.iter().zip(&expected).all(|(mixed, expected)| (mixed - expected).abs() < 1e-4),
                "{cut:?}"
            );
            assert_eq!(batch.soft_targets.unwrap().dims(), [3, 2]);
        }
    }
}
