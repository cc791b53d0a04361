//! One model of several: the mean of their weights.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use pyrograph_data::Preprocess;
use pyrograph_model::{ModelConfig, load_tensors, named_tensors};
use serde::Serialize;
use serde_json::Value;

use crate::{Error, ModelFile, Result};

/// The model whose weights and running statistics are the arithmetic means of those of the model files `paths`, two or more. A run folder
/// means the best model in it.
///
/// Along one training the mean often classifies better than any of the models (Izmailov et al., "Averaging weights leads to wider optima
/// and better generalization", 2018, <https://arxiv.org/abs/1803.05407>), and so it does for models that were fine-tuned from the same
/// weights with different settings (Wortsman et al., "Model soups", 2022, <https://arxiv.org/abs/2203.05482>). Models that began with
/// different weights have nothing in common that a mean would keep.
///
/// Sums are f64, and one file at a time is in memory beside them: the mean of equal weights is these weights, bit for bit. Its recipe is
/// that of the models where all have the same.
///
/// # Errors
///
/// When there are fewer than two, a file cannot be loaded (as [`ModelFile::load`], which refuses weights that are not finite), or networks,
/// class names or preprocessing differ: the message names what does. Dropout and drop-path may differ, as they are only for learning.
pub fn average<P: AsRef<Path>>(paths: &[P], device: &Device) -> Result<ModelFile> {
    let given = paths.len();
    let Some((first, others)) = paths.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err(Error::NothingToAverage { given });
    };
    let first = first.as_ref();
    let (kind, tensors) = Kind::load(first, device)?;
    let mut sums: Vec<Sum> = tensors.into_iter().map(Sum::of).collect();
    let mut recipe = kind.recipe.clone();
    for path in others {
        let (other, added) = Kind::load(path.as_ref(), device)?;
        kind.same_as(&other, first, path.as_ref())?;
        if other.recipe != recipe {
            recipe.clear();
        }
        for (sum, (_, added)) in sums.iter_mut().zip(added) {
            sum.values.iter_mut().zip(added.iter::<f64>()).for_each(|(sum, value)| *sum += value);
        }
    }
    let tensors: BTreeMap<String, TensorData> = sums.into_iter().map(|sum| sum.over(given)).collect();
    // The seed of weights that are all replaced does not matter.
    let model = load_tensors(kind.config.init(0, device), tensors)
        .map_err(|source| Error::Weights { path: first.to_owned(), source })?;
    let Kind { config, preprocess, class_names, .. } = kind;
    Ok(ModelFile { config, preprocess, class_names, recipe, model })
}

/// A tensor of the sum.
struct Sum {
    name: String,
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Sum {
    /// A sum of one.
    fn of((name, data): (String, TensorData)) -> Self {
        Self { name, shape: data.shape().to_vec(), values: data.iter::<f64>().collect() }
    }

    /// The mean of `count` tensors whose sum this is, with its name.
    fn over(self, count: usize) -> (String, TensorData) {
        let values: Vec<f32> = self.values.iter().map(|sum| (sum / count as f64) as f32).collect();
        (self.name, TensorData::new(values, self.shape))
    }
}

/// All of a model file but the weights.
struct Kind {
    config: ModelConfig,
    preprocess: Preprocess,
    class_names: Vec<String>,
    recipe: String,
}

impl Kind {
    /// What the file at `path` says of itself, and its tensors, which come in the same order for the same network.
    fn load(path: &Path, device: &Device) -> Result<(Self, Vec<(String, TensorData)>)> {
        let ModelFile { config, preprocess, class_names, recipe, model } = ModelFile::load(path, device)?;
        Ok((Self { config, preprocess, class_names, recipe }, named_tensors(&model)))
    }

    /// Whether `other`, which lies at `path`, is a model of the same kind as this one at `first`.
    fn same_as(&self, other: &Self, first: &Path, path: &Path) -> Result<()> {
        let Some(Difference { what, here, there }) = self.difference(other) else { return Ok(()) };
        Err(Error::Differs { path: path.to_owned(), first: first.to_owned(), what, here: there, there: here })
    }

    /// The first thing in which they differ.
    fn difference(&self, other: &Self) -> Option<Difference> {
        let named = |config: &ModelConfig| config.name().map(Value::from);
        let as_json = |config: &ModelConfig| {
            let mut config = config.clone();
            let common = config.common_mut();
            // These change how a network learns, and not what it is.
            (common.dropout, common.drop_path) = (0.0, 0.0);
            as_value(&config)
        };
        let names = |kind: &Self| kind.class_names.iter().map(|name| Value::from(name.as_str())).collect();
        let (ours, theirs): (Vec<Value>, Vec<Value>) = (names(self), names(other));
        let preprocess = |kind: &Self| as_value(&kind.preprocess);
        let network = named(&self.config).zip(named(&other.config));
        network
            .and_then(|(ours, theirs)| difference("the network", &ours, &theirs))
            .or_else(|| difference("the number of classes", &ours.len().into(), &theirs.len().into()))
            .or_else(|| difference("the network", &as_json(&self.config), &as_json(&other.config)))
            .or_else(|| {
                let mut pairs = ours.iter().zip(&theirs).enumerate();
                pairs.find_map(|(n, (ours, theirs))| difference(&format!("class {n}"), ours, theirs))
            })
            .or_else(|| difference("the preprocessing", &preprocess(self), &preprocess(other)))
    }
}

/// A thing with two values.
struct Difference {
    what: String,
    here: String,
    there: String,
}

/// As JSON that shows numbers with the digits they need.
fn as_value(thing: &impl Serialize) -> Value {
    // By way of a text: numbers in f32 would show what f64 makes of them.
    serde_json::to_string(thing).and_then(|text| serde_json::from_str(&text)).unwrap_or_default()
}

/// The innermost of the first things in which two values differ; `what` they are.
fn difference(what: &str, here: &Value, there: &Value) -> Option<Difference> {
    match (here, there) {
        (here, there) if here == there => None,
        (Value::Object(ours), Value::Object(theirs)) if ours.keys().eq(theirs.keys()) => {
            let mut pairs = ours.iter().zip(theirs.values());
            pairs.find_map(|((key, ours), theirs)| {
                let what =
                    if what.contains('`') { format!("{what}, `{key}`") } else { format!("{what}'s `{key}`") };
                difference(&what, ours, theirs)
            })
        }
        _ => Some(Difference { what: what.to_owned(), here: here.to_string(), there: there.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use pyrograph_model::InputShape;
    use tempfile::TempDir;

    use super::*;

    /// A small CNN for three classes, changed, with weights that `seed` decides, saved.
    fn saved(folder: &TempDir, name: &str, seed: u64, change: impl FnOnce(&mut ModelFile)) -> PathBuf {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let config = ModelConfig::from_name("small_cnn", input, 3).unwrap();
        let mut file = ModelFile {
            model: config.init(seed, &Device::flex()),
            config,
            preprocess: Preprocess::new(1, 8, 8),
            class_names: ["a", "b", "c"].map(String::from).to_vec(),
            recipe: "00ff".into(),
        };
        change(&mut file);
        let path = folder.path().join(name);
        file.save(&path).unwrap();
        path
    }

    /// Every value of every tensor.
    fn values(file: &ModelFile) -> Vec<f32> {
        let tensors = named_tensors(&file.model);
        tensors.iter().flat_map(|(_, data)| data.iter::<f32>().collect::<Vec<_>>()).collect()
    }

    /// Puts another number into a tensor of the network.
    fn put(file: &mut ModelFile, tensor: &str, at: usize, value: f32) {
        let mut tensors: BTreeMap<String, TensorData> = named_tensors(&file.model).into_iter().collect();
        let data = tensors.remove(tensor).unwrap();
        let shape = data.shape().to_vec();
        let mut values = data.try_to_vec::<f32>().unwrap();
        values[at] = value;
        tensors.insert(tensor.to_owned(), TensorData::new(values, shape));
        file.model = load_tensors(file.model.clone(), tensors).unwrap();
    }

    fn refusal(paths: &[&PathBuf]) -> String {
        average(paths, &Device::flex()).unwrap_err().to_string()
    }

    #[test]
    fn the_mean_is_that_of_weights_and_running_statistics() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3)
            .map(|seed| {
                saved(&folder, &format!("{seed}"), seed, |file| {
                    put(file, "bn1.running_var", 0, 1.0 + seed as f32);
                })
            })
            .collect();
        let mean = average(&paths, &Device::flex()).unwrap();
        let files: Vec<ModelFile> =
            paths.iter().map(|path| ModelFile::load(path, &Device::flex()).unwrap()).collect();
        let all: Vec<Vec<f32>> = files.iter().map(values).collect();
        for (at, mean) in values(&mean).into_iter().enumerate() {
            let expected = all.iter().map(|values| f64::from(values[at])).sum::<f64>() / 3.0;
            assert_eq!(mean, expected as f32);
        }
        let variances = named_tensors(&mean.model).into_iter().find(|(name, _)| name == "bn1.running_var");
        assert_eq!(variances.unwrap().1.iter::<f32>().next(), Some(2.0));
        let ModelFile { config, preprocess, class_names, recipe, .. } = &mean;
        let first = &files[0];
        assert_eq!((config, preprocess), (&first.config, &first.preprocess));
        assert_eq!((class_names, recipe), (&first.class_names, &first.recipe));
    }

    #[test]
    fn the_mean_of_a_model_with_itself_is_the_model_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(&folder, "m", 7, |file| {
            put(file, "conv1.weight", 0, -0.0);
            put(file, "conv1.weight", 1, f32::MIN_POSITIVE / 8.0);
            put(file, "conv1.weight", 2, f32::MAX);
        });
        for times in [2, 3, 7] {
            let mean = average(&vec![&path; times], &Device::flex()).unwrap();
            assert!(mean.to_bytes().unwrap() == fs::read(&path).unwrap(), "{times} times");
        }
    }

    #[test]
    fn models_of_different_kinds_are_refused_by_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let a = saved(&folder, "a", 0, |_| ());
        let of = |name: &str, model: &str, classes: usize, side: usize| {
            let input = InputShape { channels: 1, height: side, width: side };
            saved(&folder, name, 0, |file| {
                file.config = ModelConfig::from_name(model, input, classes).unwrap();
                file.model = file.config.init(0, &Device::flex());
                file.class_names = (0..classes).map(|n| ["a", "b", "c", "d"][n].into()).collect();
                file.preprocess = Preprocess::new(1, side as u32, side as u32);
            })
        };
        let others = [
            (of("resnet", "resnet18", 3, 8), &["the network", "\"resnet18\"", "\"small_cnn\""][..]),
            (of("size", "small_cnn", 3, 12), &["the network's `", "12", "8"]),
            (of("classes", "small_cnn", 4, 8), &["the number of classes is 4", "it is 3"]),
            (
                saved(&folder, "names", 0, |file| file.class_names[1] = "z".into()),
                &["class 1 is \"z\"", "it is \"b\""],
            ),
            (
                saved(&folder, "mean", 0, |file| file.preprocess.mean = vec![0.1]),
                &["the preprocessing's `mean` is [0.1]", "it is [0.0]", "the same seed", "--weights"],
            ),
        ];
        for (other, parts) in &others {
            let refusal = refusal(&[&a, &a, other]);
            assert!(refusal.starts_with(&other.display().to_string()), "{refusal}");
            assert!(refusal.contains(&format!("in {} it is", a.display())), "{refusal}");
            assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
            assert_eq!(refusal.contains("--weights"), refusal.contains("`mean`"), "{refusal}");
        }
        assert!(refusal(&[&a]).ends_with("1 given") && refusal(&[]).ends_with("0 given"));
    }

    #[test]
    fn models_that_learned_with_other_settings_have_a_mean_without_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let a = saved(&folder, "a", 0, |_| ());
        let b = saved(&folder, "b", 1, |file| {
            file.config.common_mut().dropout = 0.3;
            file.recipe = "11".into();
        });
        assert_eq!(average(&[&a, &b, &a], &Device::flex()).unwrap().recipe, "");
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused_by_the_name_of_their_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let a = saved(&folder, "a", 0, |_| ());
        let mut bytes = fs::read(&a).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        let bad = folder.path().join("bad");
        fs::write(&bad, bytes).unwrap();
        let refusal = refusal(&[&a, &bad]);
        assert!(refusal.starts_with(&bad.display().to_string()) && refusal.contains("weight"), "{refusal}");
    }
}
