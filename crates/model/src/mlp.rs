//! Fully connected network: the linear model, or the 784-500-10 of the classic MNIST exercise.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::layer::{Linear, LinearConfig};
use crate::{InitRng, InputShape};

/// Configuration of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// The images.
    pub input: InputShape,
    /// Units of each hidden layer; none gives a linear model (softmax regression).
    pub hidden: Vec<usize>,
    /// Classes.
    pub classes: usize,
}

/// Linear layers with ReLU between them, on flattened images.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl MlpConfig {
    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Mlp {
        let inputs = std::iter::once(self.input.values()).chain(self.hidden.iter().copied());
        let outputs = self.hidden.iter().copied().chain([self.classes]);
        let layers =
            inputs.zip(outputs).map(|(inputs, outputs)| LinearConfig { inputs, outputs }.init(rng, device));
        Mlp { layers: layers.collect() }
    }
}

impl Mlp {
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images.flatten(1, 3);
        for (n, layer) in self.layers.iter().enumerate() {
            if n > 0 {
                x = relu(x);
            }
            x = layer.forward(x);
        }
        x
    }
}
