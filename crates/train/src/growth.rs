//! Images that grow while training goes on.

use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;
use pyrograph_model::{ModelConfig, param_infos};

use crate::{Error, Result};

/// The share of the epochs after which images have their full size.
const GROWING: f64 = 0.75;

/// Height and width of images in `epoch` of `epochs`, counted from 1, that begin with a larger side of `start` and end with `full`.
pub(crate) fn size_in(epoch: usize, epochs: usize, start: u32, full: [usize; 2]) -> [usize; 2] {
    let side = full[0].max(full[1]);
    let first = f64::from(start) / side as f64;
    let done = ((epoch - 1) as f64 / (GROWING * epochs as f64)).min(1.0);
    let share = first + (1.0 - first) * done;
    // A multiple of what networks divide by; small images are divided less often.
    let step = if side >= 128 { 32.0 } else { 4.0 };
    full.map(|side| ((side as f64 * share / step).round() * step).max(4.0).min(side as f64) as usize)
}

/// `images`, `[batch, channels, height, width]`, at the size `[height, width]`, which is no larger: the mean of what falls on each pixel.
pub(crate) fn shrunk(images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if [height, width] == size { images } else { adaptive_avg_pool2d(images, size) }
}

/// Whether the network of `config` can learn from images whose larger side is `start` at first.
///
/// # Errors
///
/// Says what hinders it.
pub(crate) fn check(config: &ModelConfig, start: u32) -> Result<()> {
    let input = config.input();
    let full = [input.height, input.width];
    if start as usize > input.height.max(input.width) {
        let message =
            format!("`data.start_size` is {start}; images of {input} cannot begin larger than they end");
        return Err(Error::Recipe(message));
    }
    let [height, width] = size_in(1, 1, start, full);
    let mut small = config.clone();
    small.common_mut().input = pyrograph_model::InputShape { height, width, ..input };
    let shapes = |config: &ModelConfig| {
        let params = param_infos(&config.init(0, &burn::tensor::Device::default()));
        params.into_iter().map(|param| param.shape).collect::<Vec<_>>()
    };
    if small.check().is_err() || shapes(&small) != shapes(config) {
        let message = format!(
            "`data.start_size` is {start}; this network takes images of one size only, {height}x{width} needs other weights"
        );
        return Err(Error::Recipe(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use pyrograph_model::InputShape;

    use super::*;

    #[test]
    fn images_grow_over_three_quarters_of_the_epochs() {
        let sizes: Vec<_> = (1..=8).map(|epoch| size_in(epoch, 8, 128, [224, 224])[0]).collect();
        assert_eq!(sizes, [128, 160, 160, 192, 192, 224, 224, 224]);
        let small: Vec<_> = (1..=4).map(|epoch| size_in(epoch, 4, 16, [32, 28])).collect();
        assert_eq!(small, [[16, 16], [20, 20], [28, 24], [32, 28]]);
        assert_eq!(size_in(1, 1, 32, [32, 32]), [32, 32]);
    }

    #[test]
    fn a_smaller_image_has_the_means_of_the_larger() {
        let image = Tensor::<4>::from_floats([[[[1.0, 3.0], [5.0, 7.0]]]], &Device::flex());
        let [small]: [f32; 1] = shrunk(image, [1, 1]).into_data().try_to_vec().unwrap().try_into().unwrap();
        assert_eq!(small, 4.0);
    }

    #[test]
    fn networks_that_may_grow_take_both_sizes() {
        let device = Device::flex();
        let input = InputShape { channels: 3, height: 64, width: 64 };
        for (name, may) in [
            ("resnet18", true),
            ("convnext_atto", true),
            ("mobilenet_v2", true),
            ("swin_t", true),
            ("small_cnn", false),
            ("vit_tiny_patch16_224", false),
        ] {
            let config = ModelConfig::from_name(name, input, 3).unwrap();
            assert_eq!(check(&config, 32).is_ok(), may, "{name}");
            if may {
                let model = config.init(0, &device);
                assert_eq!(model.forward(Tensor::ones([1, 3, 32, 32], &device)).dims(), [1, 3], "{name}");
            }
        }
        let config = ModelConfig::from_name("resnet18", input, 3).unwrap();
        assert!(check(&config, 65).unwrap_err().to_string().contains("cannot begin larger"));
    }
}
