//! Inverted residual blocks: narrow outside and wide inside (<https://arxiv.org/abs/1801.04381>).

use burn::tensor::Device;

use super::{
    Activation, Conv2dConfig, ConvInit, DropPath, Gate, Layer, Residual, SqueezeExcitation, Zeros, conv_norm,
};
use crate::InitRng;

/// A 1x1 convolution to more channels, a depthwise convolution, channels weighted, and a 1x1 convolution to fewer channels, as
/// MobileNetV3 and EfficientNet have them. Names are torchvision's.
#[derive(Debug, Clone, Copy)]
pub struct InvertedResidual {
    /// Channels in.
    pub inputs: usize,
    /// Channels within; the first convolution is left out if they are those that come in.
    pub expanded: usize,
    /// Channels out.
    pub outputs: usize,
    /// Height and width of the depthwise kernel.
    pub kernel: usize,
    /// Step of the depthwise convolution.
    pub stride: usize,
    /// Where the depthwise convolution adds zeros.
    pub zeros: Zeros,
    /// Step between the pixels that the depthwise kernel sees.
    pub dilation: usize,
    /// What follows the first two convolutions.
    pub activation: Activation,
    /// Channels between the two convolutions that weight channels, their activation and their gate.
    pub squeezed: Option<(usize, Activation, Gate)>,
    /// Epsilon and momentum of the batch normalizations.
    pub norm: (f64, f64),
}

impl InvertedResidual {
    /// The block on `device`: with a shortcut where it changes neither size nor channels.
    #[must_use]
    pub fn init(&self, drop_path: DropPath, rng: &mut InitRng, device: &Device) -> Layer {
        let &Self { inputs, expanded, outputs, kernel, stride, zeros, dilation, activation, norm, .. } = self;
        let init = ConvInit::HeFanOut;
        let mut block = Vec::new();
        if expanded != inputs {
            let conv = Conv2dConfig { init, ..Conv2dConfig::new(inputs, expanded, 1) };
            block.push(conv_norm(conv, activation, norm, rng, device));
        }
        let padding = kernel / 2 * dilation;
        let depthwise = Conv2dConfig::depthwise(expanded, kernel);
        let conv = Conv2dConfig { init, stride, dilation, padding, zeros, ..depthwise };
        block.push(conv_norm(conv, activation, norm, rng, device));
        if let Some((squeezed, activation, gate)) = self.squeezed {
            let layer = SqueezeExcitation::new(expanded, squeezed, (activation, gate), init, rng, device);
            block.push(Layer::SqueezeExcitation(layer));
        }
        let conv = Conv2dConfig { init, ..Conv2dConfig::new(expanded, outputs, 1) };
        block.push(conv_norm(conv, Activation::Identity, norm, rng, device));
        Layer::Residual(Residual { block, skips: stride == 1 && inputs == outputs, drop_path })
    }
}
