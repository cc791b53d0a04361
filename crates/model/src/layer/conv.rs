//! 2-d convolution.

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::init::{Draw, InitRng};
use crate::trace::{self, Event};

/// Configuration of a [`Conv2d`] with square kernels, PyTorch's defaults and no bias.
#[derive(Debug, Clone, Copy)]
pub struct Conv2dConfig {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step of the window, both ways.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
    /// Step between the pixels that a kernel sees.
    pub dilation: usize,
    /// Parts that channels are cut into, each seen by its own kernels; as many as channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Starting values.
    pub init: ConvInit,
}

/// Starting values of a convolution's weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConvInit {
    /// PyTorch's default: uniform within `1 / sqrt(fan_in)`.
    Default,
    /// He's normal for ReLU over the inputs of a unit (<https://arxiv.org/abs/1502.01852>).
    HeFanIn,
    /// He's uniform for ReLU over the inputs of a unit.
    HeUniform,
    /// Uniform with a variance of `1 / fan_in`, for units without ReLU: torchvision's feature pyramids.
    LecunUniform,
    /// He's normal for ReLU over the outputs of a unit, as torchvision's ResNets.
    HeFanOut,
    /// Normal with this standard deviation.
    Normal(f64),
}

/// Cross-correlation of images with learned kernels.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs / groups, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
    dilation: usize,
    groups: usize,
}

impl Conv2dConfig {
    /// A convolution with stride 1, padding that keeps the size for odd kernels, and no bias.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        let (stride, padding, dilation, groups) = (1, kernel / 2, 1, 1);
        let (bias, init) = (false, ConvInit::Default);
        Self { inputs, outputs, kernel, stride, padding, dilation, groups, bias, init }
    }

    /// A convolution of each channel with its own kernel.
    #[must_use]
    pub fn depthwise(channels: usize, kernel: usize) -> Self {
        Self { groups: channels, ..Self::new(channels, channels, kernel) }
    }

    /// The layer on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Conv2d {
        let area = self.kernel * self.kernel;
        let inputs = self.inputs / self.groups;
        let fan_in = (inputs * area) as f64;
        let draw = match self.init {
            ConvInit::Default => Draw::Uniform { bound: fan_in.sqrt().recip() },
            ConvInit::HeFanIn => Draw::Normal { std: (2.0 / fan_in).sqrt() },
            ConvInit::HeUniform => Draw::Uniform { bound: (6.0 / fan_in).sqrt() },
            ConvInit::LecunUniform => Draw::Uniform { bound: (3.0 / fan_in).sqrt() },
            ConvInit::HeFanOut => Draw::Normal { std: (2.0 / (self.outputs * area) as f64).sqrt() },
            ConvInit::Normal(std) => Draw::Normal { std },
        };
        let shape = [self.outputs, inputs, self.kernel, self.kernel];
        let weight = rng.param(shape, draw, device);
        let draw = match self.init {
            ConvInit::Default => Draw::Uniform { bound: fan_in.sqrt().recip() },
            _ => Draw::Constant(0.0),
        };
        let bias = self.bias.then(|| rng.param([self.outputs], draw, device));
        let Self { stride, padding, dilation, groups, .. } = *self;
        Conv2d { weight, bias, stride, padding, dilation, groups }
    }
}

impl Conv2d {
    /// # Shapes
    ///
    /// - input: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`, `height' = (height + 2 padding - dilation (kernel - 1) - 1) / stride + 1`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [self.dilation; 2], self.groups);
        let output = conv2d(input, self.weight.val(), self.bias.as_ref().map(Param::val), options);
        trace::report(|| {
            let [_, inputs, height, width] = self.weight.dims();
            let shape = output.dims();
            Event {
                kind: "Conv2d",
                param: Some(self.weight.id),
                output: shape.to_vec(),
                macs: (shape[1] * shape[2] * shape[3] * inputs * height * width) as u64,
            }
        });
        output
    }
}
