//! 2-d convolution.

use burn::module::{Module, Param};
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Tensor};

use super::{Activation, BatchNorm2d};
use crate::folded::{Kernels, answers, arranged, convolve_both, folded};
use crate::init::{Draw, InitRng};
use crate::ops::{Pointwise, convolve, convolve_with_function, pointwise};
use crate::precision::{rounded, widened};
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
    /// Where the zeros are added, if not on each side alike.
    pub zeros: Zeros,
    /// Step between the pixels that a kernel sees.
    pub dilation: usize,
    /// Parts that channels are cut into, each seen by its own kernels; as many as channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Starting values.
    pub init: ConvInit,
}

/// Where zeros are added to an image that a convolution makes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// As many on each side: PyTorch's.
    Around,
    /// As few as make sizes come out as those that go in, divided by the stride and rounded up; the odd one goes below and to the right:
    /// TensorFlow's `same`. The number in the configuration does not count.
    Same,
    /// Only below and to the right.
    End,
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
    #[module(skip)]
    zeros: Zeros,
    dilation: usize,
    groups: usize,
}

impl Conv2dConfig {
    /// A convolution with stride 1, padding that keeps the size for odd kernels, and no bias.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        let (stride, padding, dilation, groups) = (1, kernel / 2, 1, 1);
        let (bias, init) = (false, ConvInit::Default);
        let zeros = Zeros::Around;
        Self { inputs, outputs, kernel, stride, padding, zeros, dilation, groups, bias, init }
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
        let Self { stride, padding, zeros, dilation, groups, .. } = *self;
        Conv2d { weight, bias, stride, padding, zeros, dilation, groups }
    }
}

impl Conv2d {
    /// # Shapes
    ///
    /// - input: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`, `height' = (height + zeros - dilation (kernel - 1) - 1) / stride + 1`, where `zeros` are
    ///   those above and below: `2 padding` if they are [`Zeros::Around`]
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (input, options) = self.padded(input);
        let output = if let Some(kernels) = self.arranged(&input.device(), &options) {
            kernels.convolve(input, None, options)
        } else {
            let dtype = input.dtype();
            let bias = self.bias.as_ref().map(|bias| rounded(bias.val()));
            widened(convolve(rounded(input), rounded(self.weight.val()), bias, options), dtype)
        };
        self.report(output.dims());
        output
    }

    /// The same, and the function of it.
    ///
    /// # Shapes
    ///
    /// As [`Conv2d::forward`].
    pub fn forward_activated(&self, input: Tensor<4>, activation: Activation) -> Tensor<4> {
        match activation.pointwise() {
            Some(function) => self.forward_with(input, function),
            None => self.forward(input),
        }
    }

    /// The same, for any function.
    pub(super) fn forward_with(&self, input: Tensor<4>, function: Pointwise) -> Tensor<4> {
        if input.device().is_autodiff() {
            return pointwise(self.forward(input), function);
        }
        let (padded, options) = self.padded(input.clone());
        let output = match (self.arranged(&padded.device(), &options), &self.bias) {
            (Some(kernels), _) => kernels.convolve(padded, Some(function), options),
            (None, Some(bias)) => {
                let dtype = padded.dtype();
                let (x, weight) = (rounded(padded), rounded(self.weight.val()));
                widened(convolve_with_function(x, weight, rounded(bias.val()), function, options), dtype)
            }
            (None, None) => return pointwise(self.forward(input), function),
        };
        self.report(output.dims());
        output
    }

    /// The same, normalized, and `activation` of it. Where nothing learns, what the normalization does to each channel is done to the kernels
    /// before.
    ///
    /// # Shapes
    ///
    /// As [`Conv2d::forward`].
    pub fn forward_normalized(
        &self,
        input: Tensor<4>,
        norm: &BatchNorm2d,
        activation: Activation,
    ) -> Tensor<4> {
        let device = input.device();
        if device.is_autodiff() {
            return activation.forward(norm.forward(self.forward(input)));
        }
        let (input, options) = self.padded(input);
        let output = self.folded(norm, &options, &device).convolve(input, activation.pointwise(), options);
        self.report(output.dims());
        norm.report(output.dims());
        output
    }

    /// Its kernels with a normalization folded in.
    fn folded(&self, norm: &BatchNorm2d, options: &ConvOptions<2>, device: &Device) -> Kernels {
        folded((self.weight.id, norm.weight.id), options, || {
            let (scale, shift) = norm.scale_and_shift(device);
            let bias = match &self.bias {
                Some(bias) => bias.val() * scale.clone() + shift,
                None => shift,
            };
            (self.weight.val() * scale.reshape([-1, 1, 1, 1]), bias)
        })
    }

    /// Its kernels, where a prepared network answers.
    fn arranged(&self, device: &Device, options: &ConvOptions<2>) -> Option<Kernels> {
        arranged(self.weight.id, options, device, || {
            let weight = self.weight.val();
            let zeros = || Tensor::zeros([weight.dims()[0]], device);
            let bias = self.bias.as_ref().map_or_else(zeros, Param::val);
            (weight, bias)
        })
    }

    /// What two layers give of which the second follows the first, each normalized and with its activation, where a prepared network answers: what is
    /// between them need not be kept whole.
    pub(super) fn forward_both(
        input: &Tensor<4>,
        [first, second]: [(&Self, &BatchNorm2d, Activation); 2],
    ) -> Option<Tensor<4>> {
        let ([batch, _, height, width], device) = (input.dims(), input.device());
        let expands = first.0.weight.dims()[2..] == [1, 1] && first.0.stride == 1 && first.0.padding == 0;
        let [outputs, ..] = first.0.weight.dims();
        let is_even =
            [height, width].map(|size| second.0.zeros_of(size)).iter().all(|(before, after)| before == after);
        if !answers() || !expands || second.0.groups != outputs || !is_even {
            return None;
        }
        let options = [first, second].map(|(conv, ..)| {
            let padding = [height, width].map(|size| conv.zeros_of(size).0);
            ConvOptions::new([conv.stride; 2], padding, [conv.dilation; 2], conv.groups)
        });
        let kernels = [0, 1].map(|n| {
            let (conv, norm, _) = [first, second][n];
            conv.folded(norm, &options[n], &device)
        });
        let functions = [first, second].map(|(.., activation)| activation.pointwise());
        let output = convolve_both(input.clone(), kernels, functions, options);
        for ((conv, norm, _), shape) in [(first, [batch, outputs, height, width]), (second, output.dims())] {
            conv.report(shape);
            norm.report(shape);
        }
        Some(output)
    }

    /// Tells of images of this shape.
    fn report(&self, shape: [usize; 4]) {
        trace::report(|| {
            let [_, inputs, height, width] = self.weight.dims();
            Event {
                kind: "Conv2d",
                param: Some(self.weight.id),
                output: shape.to_vec(),
                macs: (shape[1] * shape[2] * shape[3] * inputs * height * width) as u64,
            }
        });
    }

    /// The input with those zeros around it that an operation does not add on its own, and what it is to do.
    fn padded(&self, input: Tensor<4>) -> (Tensor<4>, ConvOptions<2>) {
        let [_, _, height, width] = input.dims();
        let (input, padding) = match (self.zeros_of(height), self.zeros_of(width)) {
            ((above, below), (left, right)) if above == below && left == right => (input, [above, left]),
            (vertical, horizontal) => {
                (input.pad([(0, 0), (0, 0), vertical, horizontal], PadMode::Constant(0.0)), [0, 0])
            }
        };
        (input, ConvOptions::new([self.stride; 2], padding, [self.dilation; 2], self.groups))
    }

    /// Zeros before and after a row of `size` pixels.
    fn zeros_of(&self, size: usize) -> (usize, usize) {
        match self.zeros {
            Zeros::Around => (self.padding, self.padding),
            Zeros::End => (0, self.padding),
            Zeros::Same => {
                let seen = self.dilation * (self.weight.dims()[3] - 1) + 1;
                let zeros = ((size.div_ceil(self.stride) - 1) * self.stride + seen).saturating_sub(size);
                (zeros / 2, zeros - zeros / 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    /// What the sum of 3x3 with stride 2 makes of `size` pixels in a row, counted from 1, that lie in one column.
    fn sums(zeros: Zeros, size: usize) -> Vec<f32> {
        let device = Device::flex();
        let config = Conv2dConfig { stride: 2, zeros, ..Conv2dConfig::new(1, 1, 3) };
        let mut conv = config.init(&mut InitRng::new(0), &device);
        conv.weight = Param::from_tensor(Tensor::ones([1, 1, 3, 3], &device));
        let values: Vec<f32> = (1..=size as u16).map(f32::from).collect();
        let image = Tensor::from_data(TensorData::new(values, [1, 1, size, 1]), &device);
        let width = Tensor::zeros([1, 1, size, 1], &device);
        conv.forward(Tensor::cat(vec![image, width], 3)).into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn zeros_go_where_they_are_wanted() {
        assert_eq!(sums(Zeros::Around, 4), [3.0, 9.0]);
        assert_eq!(sums(Zeros::Same, 4), [6.0, 7.0]);
        assert_eq!(sums(Zeros::End, 4), [6.0, 7.0]);
        assert_eq!(sums(Zeros::Around, 5), [3.0, 9.0, 9.0]);
        assert_eq!(sums(Zeros::Same, 5), [3.0, 9.0, 9.0]);
        assert_eq!(sums(Zeros::End, 5), [6.0, 12.0]);
    }

    #[test]
    fn zeros_at_the_end_pass_gradients() {
        let device = Device::flex().autodiff();
        let config = Conv2dConfig { stride: 2, zeros: Zeros::Same, ..Conv2dConfig::new(1, 1, 3) };
        let mut conv = config.init(&mut InitRng::new(0), &device);
        conv.weight = Param::from_tensor(Tensor::ones([1, 1, 3, 3], &device));
        let image = Tensor::<4>::ones([1, 1, 4, 4], &device).require_grad();
        let gradients = conv.forward(image.clone()).sum().backward();
        let gradient = image.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        // Row and column 2 are in two windows each.
        let times = [1.0, 1.0, 2.0, 1.0];
        let expected: Vec<f32> = times.iter().flat_map(|row| times.map(|column| row * column)).collect();
        assert_eq!(gradient, expected);
    }

    #[test]
    fn a_normalization_that_is_done_to_the_kernels_gives_what_it_gives_after() {
        let device = Device::flex();
        for (activation, bias) in
            [(Activation::Relu, true), (Activation::Silu, false), (Activation::Identity, true)]
        {
            let config = Conv2dConfig { bias, stride: 2, ..Conv2dConfig::new(3, 5, 3) };
            let mut rng = InitRng::new(0);
            let conv = config.init(&mut rng, &device);
            let mut norm = BatchNorm2d::new(5, &mut rng, &device);
            let values = |start: f32| Tensor::<1>::from_data([start, 0.5, -0.7, 2.0, 1.0], &device);
            (norm.weight, norm.bias) = (Param::from_tensor(values(0.2)), Param::from_tensor(values(1.3)));
            norm.running_mean.update(values(0.1));
            norm.running_var.update(values(0.3).abs());
            let input = Tensor::arange(0..2 * 3 * 9 * 8, &device).float().sin().reshape([2, 3, 9, 8]);
            let after = activation.forward(norm.forward(conv.forward(input.clone())));
            let before = conv.forward_normalized(input, &norm, activation);
            before
                .into_data()
                .assert_approx_eq::<f32>(&after.into_data(), burn::tensor::Tolerance::absolute(1e-5));
        }
    }
}
