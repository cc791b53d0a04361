//! Fully connected network: the linear model, or the 784-500-10 of the classic MNIST exercise.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level};
use crate::layer::{Activation, Dropout, Linear, LinearConfig};
use crate::zoo::{ConfigError, DIGITS, NameInfo, name};

/// Configuration of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Images and classes.
    pub common: Common,
    /// Units of each hidden layer; none gives a linear model (softmax regression).
    pub hidden: Vec<usize>,
}

/// Linear layers with ReLU between them, on flattened images.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    dropout: Dropout,
    /// Whether the last layer gives logits; otherwise it gives features.
    has_head: bool,
}

impl MlpConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        let linear = name("linear", DIGITS, "softmax regression: the baseline everything must beat");
        [linear, name("mlp", DIGITS, "one hidden layer of 500 units")].into_iter()
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let hidden = match name {
            "linear" => vec![],
            "mlp" => vec![500],
            _ => return None,
        };
        Some(Self { common, hidden })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let layers = self.hidden.len();
        ConfigError::unless(layers <= 64, "the number of hidden layers", layers, "at most 64")?;
        for &units in &self.hidden {
            ConfigError::unless((1..=65_536).contains(&units), "a hidden layer", units, "1 to 65536 units")?;
        }
        let sizes: Vec<usize> = self.sizes().collect();
        let weights = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let few = weights <= 1 << 28;
        ConfigError::unless(few, "the number of weights", weights, "at most 268435456; use smaller images")
    }

    /// Values between the layers, those of the image first.
    fn sizes(&self) -> impl Iterator<Item = usize> {
        let Common { input, classes, .. } = self.common;
        let last = (classes > 0).then_some(classes);
        std::iter::once(input.values()).chain(self.hidden.iter().copied()).chain(last)
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Mlp {
        let layers = self.sizes().zip(self.sizes().skip(1));
        let layers = layers.map(|(inputs, outputs)| LinearConfig::new(inputs, outputs).init(rng, device));
        let Common { classes, dropout, .. } = self.common;
        Mlp { layers: layers.collect(), dropout: Dropout::new(dropout), has_head: classes > 0 }
    }
}

impl Backbone for Mlp {
    fn levels(&self) -> Vec<Level> {
        Vec::new()
    }

    fn stage(&self, _: usize, x: Tensor<4>) -> Tensor<4> {
        x
    }

    fn head(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images.flatten(1, 3);
        let Some((last, layers)) = self.layers.split_last() else { return x };
        for layer in layers {
            x = layer.forward_activated(x, Activation::Relu);
        }
        last.forward(if self.has_head { self.dropout.forward(x) } else { x })
    }

    fn stage_of(&self, _: &str) -> usize {
        0
    }
}
