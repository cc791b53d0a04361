//! Layers in rows, named by their numbers as in PyTorch's `Sequential`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{
    Activate, Activation, AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, DropPath, Dropout, GroupNorm,
    MaxPool2d, SqueezeExcitation,
};
use crate::InitRng;
use crate::ops::add;

/// One of a row of layers. A field `features: Vec<Layer>` has parameters such as `features.3.weight`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Layer {
    /// A convolution.
    Conv(Conv2d),
    /// Batch normalization.
    Norm(BatchNorm2d),
    /// Group normalization.
    GroupNorm(GroupNorm),
    /// An activation.
    Activate(Activate),
    /// A max pool.
    MaxPool(MaxPool2d),
    /// Means.
    AvgPool(AdaptiveAvgPool2d),
    /// Dropout.
    Dropout(Dropout),
    /// Channels weighted by what the whole picture shows.
    SqueezeExcitation(SqueezeExcitation),
    /// Layers around a shortcut.
    Residual(Residual),
    /// A row within the row.
    Row(Vec<Layer>),
}

/// Layers, and where they change neither size nor channels their input added.
#[derive(Module, Debug)]
pub struct Residual {
    /// The layers.
    pub block: Vec<Layer>,
    /// Whether the input is added.
    pub skips: bool,
    /// Leaves the layers out for some images while learning.
    pub drop_path: DropPath,
}

impl Layer {
    /// # Shapes
    ///
    /// - input: `[batch, channels, height, width]`
    /// - output: the same, with other channels, height and width
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => layer.forward(input),
            Self::Norm(layer) => layer.forward(input),
            Self::GroupNorm(layer) => layer.forward(input),
            Self::Activate(layer) => layer.forward(input),
            Self::MaxPool(layer) => layer.forward(input),
            Self::AvgPool(layer) => layer.forward(input),
            Self::Dropout(layer) => layer.forward(input),
            Self::SqueezeExcitation(layer) => layer.forward(input),
            Self::Residual(layer) => layer.forward(input),
            Self::Row(layers) => forward_all(layers, input),
        }
    }
}

impl Residual {
    /// # Shapes
    ///
    /// - input: `[batch, channels, height, width]`
    /// - output: the same, with other channels, height and width unless the input is added
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if self.skips {
            add(self.drop_path.forward(forward_all(&self.block, input.clone())), input, None)
        } else {
            forward_all(&self.block, input)
        }
    }
}

/// One layer after the other.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: the same, with other channels, height and width
pub fn forward_all(layers: &[Layer], input: Tensor<4>) -> Tensor<4> {
    let (mut layers, mut x) = (layers, input);
    loop {
        (x, layers) = match layers {
            [Layer::Row(first), Layer::Row(second), rest @ ..] => match both(first, second, &x) {
                Some(x) => (x, rest),
                None => (forward_all(first, x), &layers[1..]),
            },
            [Layer::Conv(conv), Layer::Norm(norm), Layer::Activate(activate), rest @ ..] => {
                (conv.forward_normalized(x, norm, activate.function()), rest)
            }
            [Layer::Conv(conv), Layer::Norm(norm), rest @ ..] => {
                (conv.forward_normalized(x, norm, Activation::Identity), rest)
            }
            [layer, rest @ ..] => (layer.forward(x), rest),
            [] => return x,
        };
    }
}

/// What two rows of a convolution, a normalization and an activation give, if that is computed at once.
fn both(first: &[Layer], second: &[Layer], input: &Tensor<4>) -> Option<Tensor<4>> {
    match (first, second) {
        (
            [Layer::Conv(conv1), Layer::Norm(norm1), Layer::Activate(activate1)],
            [Layer::Conv(conv2), Layer::Norm(norm2), Layer::Activate(activate2)],
        ) => Conv2d::forward_both(
            input,
            [(conv1, norm1, activate1.function()), (conv2, norm2, activate2.function())],
        ),
        _ => None,
    }
}

/// A row of a convolution, batch normalization and an activation; `epsilon` and `momentum` are the normalization's.
#[must_use]
pub fn conv_norm(
    conv: Conv2dConfig,
    activation: Activation,
    (epsilon, momentum): (f64, f64),
    rng: &mut InitRng,
    device: &Device,
) -> Layer {
    Layer::Row(vec![
        Layer::Conv(conv.init(rng, device)),
        Layer::Norm(BatchNorm2d::new(conv.outputs, rng, device).with(epsilon, momentum)),
        Layer::Activate(Activate::new(activation)),
    ])
}

/// `channels`, wider by `factor`, as a multiple of 8 that is at most a tenth below: how the MobileNets and EfficientNets round.
#[must_use]
pub fn channels_of(channels: usize, factor: f64) -> usize {
    let wide = channels as f64 * factor;
    let near = ((wide + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * wide { near + 8 } else { near }
}
