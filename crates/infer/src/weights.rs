//! Weights that others trained: safetensors files, PyTorch's checkpoints and Keras's files as tensors by name.
//!
//! A checkpoint of PyTorch is a program for Python's unpickler. Nothing in it is ever executed: the crate `pytorch-reader`
//! interprets the few calls that rebuild tensors, and what refers to anything else is refused by name ([`pickle`]).

mod keras;
mod pickle;
mod published;
mod pytorch;
mod safetensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::tensor::TensorData;

pub use self::keras::{check_keras, is_keras, keras_statistics};
pub use self::published::{PublishedWeights, View, find_weights};
pub(crate) use self::safetensors::SafetensorsFile;
use crate::error::is_file;
use crate::{Error, Result};

/// Under which a checkpoint keeps the weights, beside optimizers and counts; the first there is.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];
/// More than anybody puts around them.
const MAX_WRAPPERS: usize = 8;
/// What is put before every name by training on several devices or by compiling.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// Reads the weights at `path`, in f32 and in PyTorch's layouts, by their names in the state dict.
///
/// It may be a safetensors file or what `torch.save` wrote, in the form of today (a zip archive) or the one before PyTorch 1.6: a state dict,
/// one within `state_dict`, `model_state_dict`, `model` or `net`, or one whose names all begin with `module.` or `_orig_mod.`, which is left out.
/// Values may be f64, f32, f16 or bf16, and may have been saved from a GPU.
///
/// With the feature `keras` it may also be an HDF5 file that Keras wrote, in the form of version 3 (`.weights.h5`) or the one before (`.h5`), of
/// MobileNet, EfficientNet or ResNet from `keras.applications`. Its tensors are for the networks called `…_keras`, which [`check_keras`] makes
/// sure of: the biases of ResNet's convolutions have gone into the means of the normalizations behind them, which gives the same once training is
/// over, the weights of its first convolution are for red, green and blue, and EfficientNet's statistics of images are left out
/// ([`keras_statistics`]).
///
/// # Errors
///
/// When the file cannot be read, is damaged or cut short, holds no weights, or refers to anything in Python but what rebuilds
/// tensors: the message names it. Also when it is Keras's and has other layers, or this build does not read it.
pub fn read_weights(path: impl AsRef<Path>) -> Result<BTreeMap<String, TensorData>> {
    let path = path.as_ref();
    is_file(path)?;
    let tensors = if is_keras(path)? {
        keras::read(path)?
    } else if is_pytorch(path)? {
        pytorch::read(path)?
    } else {
        SafetensorsFile::open(path)?.read_all()?
    };
    if tensors.is_empty() {
        return Err(Error::NoWeights { path: path.to_owned() });
    }
    Ok(tensors.into_iter().map(|(name, tensor)| (today(name), tensor)).collect())
}

/// Names of tensors that torchvision changed after it had published weights.
fn today(name: String) -> String {
    let changes = [
        // The two layers of a transformer's MLP.
        (".mlp.linear_1.", ".mlp.0."),
        (".mlp.linear_2.", ".mlp.3."),
    ];
    for (before, now) in changes {
        if name.contains(before) {
            return name.replace(before, now);
        }
    }
    // Those of DenseNet: `denselayer1.norm.1.weight`.
    let dense = name.contains(".denselayer");
    let changed = ["norm", "conv"].into_iter().find(|layer| dense && name.contains(&format!(".{layer}.")));
    match changed {
        Some(layer) => name.replace(&format!(".{layer}."), &format!(".{layer}")),
        None => name,
    }
}

/// Whether the file begins as those of `torch.save` do; all others are taken for safetensors.
pub(crate) fn is_pytorch(path: &Path) -> Result<bool> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).map_err(io)?.take(9).read_to_end(&mut head).map_err(io)?;
    // A safetensors file begins with the length of its header, which begins with a brace.
    let safetensors = head.get(8) == Some(&b'{');
    Ok(!safetensors
        && (head.starts_with(b"PK") || head.first().is_some_and(|byte| b"\x80(}]cl".contains(byte))))
}

/// The weights among the tensors of a file, under their own names. Trainers put state dicts into each other.
fn unwrap<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    for _ in 0..MAX_WRAPPERS {
        let inside = WRAPPERS.iter().map(|wrapper| format!("{wrapper}."));
        let inside = inside.into_iter().find(|inside| tensors.keys().any(|name| name.starts_with(inside)));
        let all = PREFIXES.iter().find(|prefix| tensors.keys().all(|name| name.starts_with(**prefix)));
        let Some(prefix) = inside.or(all.map(|all| (*all).to_owned())) else { break };
        tensors.retain(|name, _| name.starts_with(&prefix));
        tensors = without_prefix(tensors, &prefix);
    }
    tensors
}

fn without_prefix<T>(tensors: BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

#[cfg(test)]
mod tests;
