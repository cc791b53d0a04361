//! Feature pyramid network (<https://arxiv.org/abs/1612.03144>): fine maps that know what deep ones have seen.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::InitRng;
use crate::layer::{Conv2d, Conv2dConfig, ConvInit, Layer, relu, resize_nearest};

/// Maps of a backbone brought to the same number of channels, each with the deeper ones added, and two more levels below, as
/// RetinaNet has them (<https://arxiv.org/abs/1708.02002>). Names are torchvision's.
#[derive(Module, Debug)]
pub(crate) struct FeaturePyramid {
    /// 1x1, from the channels of each map; each in a row of one.
    inner_blocks: Vec<Layer>,
    /// 3x3, after the deeper maps were added.
    layer_blocks: Vec<Layer>,
    extra_blocks: ExtraLevels,
}

/// Two levels below the last, each half as large.
#[derive(Module, Debug)]
struct ExtraLevels {
    p6: Conv2d,
    p7: Conv2d,
}

impl FeaturePyramid {
    /// The pyramid of maps with these channels, the finest first; all its levels have `width` channels.
    pub(crate) fn new(channels: &[usize], width: usize, rng: &mut InitRng, device: &Device) -> Self {
        let conv = |inputs, kernel| Conv2dConfig {
            bias: true,
            init: ConvInit::LecunUniform,
            ..Conv2dConfig::new(inputs, width, kernel)
        };
        let row = |conv: Conv2d| Layer::Row(vec![Layer::Conv(conv)]);
        let halving = Conv2dConfig { stride: 2, ..conv(width, 3) };
        Self {
            inner_blocks: channels.iter().map(|&inputs| row(conv(inputs, 1).init(rng, device))).collect(),
            layer_blocks: channels.iter().map(|_| row(conv(width, 3).init(rng, device))).collect(),
            extra_blocks: ExtraLevels { p6: halving.init(rng, device), p7: halving.init(rng, device) },
        }
    }

    /// # Shapes
    ///
    /// - maps: `[batch, channels, height, width]` each, the finest first
    /// - levels: as many and two more, `[batch, width, height, width]` each; the two are half the size of the level before, rounded up
    pub(crate) fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let mut levels = Vec::new();
        let mut deeper: Option<Tensor<4>> = None;
        for ((map, inner), layer) in maps.into_iter().zip(&self.inner_blocks).zip(&self.layer_blocks).rev() {
            let mut x = inner.forward(map);
            if let Some(deeper) = deeper {
                let [_, _, height, width] = x.dims();
                x = x + resize_nearest(deeper, [height, width]);
            }
            levels.push(layer.forward(x.clone()));
            deeper = Some(x);
        }
        let extra = levels.first().map(|last| {
            let p6 = self.extra_blocks.p6.forward(last.clone());
            [p6.clone(), self.extra_blocks.p7.forward(relu(p6))]
        });
        levels.reverse();
        levels.extend(extra.into_iter().flatten());
        levels
    }
}
