//! What Keras wrote: the HDF5 files of version 3 (`.weights.h5`) and those before (`.h5`), weights alone or the whole model.
//!
//! A layer's variables come under the names that the network has in this house and in PyTorch's layouts. Which network it is shows in the
//! names of the layers ([`names`]). Nothing in a file can run: the description of the model and the optimizer's state are not read.

#[cfg(feature = "keras")]
mod layouts;
#[cfg(feature = "keras")]
mod names;
#[cfg(feature = "keras")]
mod variables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::TensorData;
use pyrograph_model::ModelConfig;

use crate::{Error, Result};

/// What an HDF5 file begins with.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Whether the file at `path` is one that Keras wrote: an HDF5 file. Its weights are those of a network `…_keras`.
///
/// # Errors
///
/// When the file cannot be read.
pub fn is_keras(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).map_err(io)?.take(8).read_to_end(&mut head).map_err(io)?;
    Ok(head == SIGNATURE)
}

/// Mean and deviation of the colours, for values 0 to 1, that the published weights of a network of Keras expect; nothing for other networks,
/// and for other images than colour.
///
/// - MobileNet takes values from -1 to 1.
/// - EfficientNet has ImageNet's statistics within its first layers, which are left out here.
/// - ResNet takes values from 0 to 255 with the means of ImageNet taken off, in the order blue, green, red; [`read_weights`](crate::read_weights)
///   puts the weights of its first convolution in the order red, green, blue.
#[must_use]
pub fn keras_statistics(config: &ModelConfig) -> Option<([f32; 3], [f32; 3])> {
    if !config.is_keras() || config.input().channels != 3 {
        return None;
    }
    match config {
        ModelConfig::MobileNetV1(_) => Some(([0.5; 3], [0.5; 3])),
        ModelConfig::EfficientNet(_) => Some(([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])),
        ModelConfig::ResNet(_) => {
            Some(([123.68, 116.779, 103.939].map(|mean: f32| mean / 255.0), [1.0 / 255.0; 3]))
        }
        _ => None,
    }
}

/// That Keras's weights in the file at `path` go into a network that computes what Keras's does.
///
/// # Errors
///
/// When the file is Keras's and the network is not, which would take its tensors and give other logits; the message names the network that is.
pub fn check_keras(path: impl AsRef<Path>, config: &ModelConfig) -> Result<()> {
    let path = path.as_ref();
    if config.is_keras() || !is_keras(path)? {
        return Ok(());
    }
    let reason = "its weights are for one of Keras's networks, which compute something else than others of the same shape; take \
                  mobilenet_keras, efficientnet_b0_keras, resnet50_keras or one of their relatives";
    Err(Error::NotKeras { path: path.to_owned(), reason: reason.into() })
}

/// The tensors of the file at `path`.
#[cfg(not(feature = "keras"))]
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    Err(Error::NoKeras { path: path.to_owned() })
}

/// The tensors of the file at `path`.
#[cfg(feature = "keras")]
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let variables = variables::read(path, names::ignored)?;
    let wrong = |reason: String| Error::NotKeras { path: path.to_owned(), reason };
    let family = names::Family::of(variables.iter().map(|variable| variable.layer.as_str()));
    let Some(family) = family else {
        return Err(wrong("its layers are not those of MobileNet, EfficientNet or ResNet".into()));
    };
    layouts::tensors(family, variables).map_err(wrong)
}

#[cfg(test)]
#[cfg(feature = "keras")]
mod tests;
