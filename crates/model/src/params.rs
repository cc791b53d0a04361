//! Weights out and in, under PyTorch's names and in PyTorch's layouts.

use std::collections::{BTreeMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::{Model, ModelConfig};

/// Why tensors do not fit a network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// The network needs a tensor that is not there.
    #[error("tensor `{name}` is missing{}", hint(nearest))]
    Missing {
        /// The tensor.
        name: String,
        /// The nearest name that is there and not used.
        nearest: Option<String>,
    },
    /// There is a tensor that the network has no place for.
    #[error("tensor `{name}` belongs to no layer of this network")]
    Extra {
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the network's.
    #[error("tensor `{name}` is {found:?}, the network needs {needed:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The network's.
        needed: Vec<usize>,
    },
    /// The network has no part of this name.
    #[error("the network has no part `{part}`; its parts are {known}")]
    NoSuchPart {
        /// The part asked for.
        part: String,
        /// The parts that are not within others.
        known: String,
    },
    /// A tensor has an infinite value or one that is no number.
    #[error("tensor `{name}` has a value that is not finite at position {position}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The first such value, counted in row-major order.
        position: usize,
    },
}

/// A network whose tensors have names in PyTorch's state dicts: a [`Model`], a [`Segmenter`](crate::Segmenter) or an
/// [`Fcos`](crate::Fcos).
pub trait ReferenceNames {
    /// The name that the reference has for a tensor which is called `name` in our module tree.
    fn reference_name(&self, name: String) -> String {
        name
    }
}

impl ReferenceNames for Model {
    fn reference_name(&self, name: String) -> String {
        self.backbone().reference_name(name)
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; the file has an unused `{name}`"))
}

/// Every tensor of the network in f32, by its PyTorch name, in the order of construction: weights, biases and running
/// statistics.
#[must_use]
pub fn named_tensors(network: &(impl Module + ReferenceNames)) -> Vec<(String, TensorData)> {
    struct Collector<'a> {
        place: Place<'a>,
        tensors: Vec<(String, TensorData)>,
    }
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let mut tensor = param.val();
            if self.place.is_transposed() {
                tensor = tensor.swap_dims(0, 1);
            }
            self.tensors.push((self.place.name(), tensor.into_data().convert::<f32>()));
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
    }
    let mut collector = Collector { place: Place::of(network), tensors: Vec::new() };
    network.visit(&mut collector);
    collector.tensors
}

/// What is known of a parameter without drawing its values.
#[derive(Debug, Clone)]
pub struct ParamInfo {
    /// PyTorch's name.
    pub name: String,
    /// By which gradients and optimizers know it.
    pub id: ParamId,
    /// PyTorch's layout.
    pub shape: Vec<usize>,
    /// Whether it is learned; running statistics are not.
    pub learned: bool,
}

impl ParamInfo {
    /// Whether it belongs to the part of the network that is called `part`: `layer1` has `layer1.0.conv1.weight`, and not `layer10.weight`.
    #[must_use]
    pub fn is_in(&self, part: &str) -> bool {
        self.name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The parameters in the order of construction.
#[must_use]
pub fn param_infos(network: &(impl Module + ReferenceNames)) -> Vec<ParamInfo> {
    struct Lister<'a> {
        place: Place<'a>,
        params: Vec<ParamInfo>,
    }
    impl ModuleVisitor for Lister<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let name = self.place.name();
            let learned = !name.ends_with("running_mean") && !name.ends_with("running_var");
            let shape = self.place.file_shape(&param.lazy_shape());
            self.params.push(ParamInfo { name, id: param.id, shape, learned });
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
    }
    let mut lister = Lister { place: Place::of(network), params: Vec::new() };
    network.visit(&mut lister);
    lister.params
}

/// The network with the parameters of `parts` fixed ([`ParamInfo::is_in`]). They get no gradients. Running statistics still follow the images,
/// as in PyTorch.
///
/// # Errors
///
/// When there is no such part.
pub fn freeze<N: Module + ReferenceNames>(network: N, parts: &[String]) -> Result<N, ParamError> {
    struct Fix(HashSet<ParamId>);
    impl ModuleMapper for Fix {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.0.contains(&param.id) { param.set_require_grad(false) } else { param }
        }
    }
    let params = param_infos(&network);
    if let Some(part) = parts.iter().find(|part| !params.iter().any(|param| param.is_in(part))) {
        let mut known: Vec<&str> = params.iter().filter_map(|param| param.name.split('.').next()).collect();
        known.dedup();
        return Err(ParamError::NoSuchPart { part: part.clone(), known: known.join(", ") });
    }
    let fixed = params.iter().filter(|param| parts.iter().any(|part| param.is_in(part)));
    let fixed = fixed.map(|param| param.id).collect();
    Ok(network.map(&mut Fix(fixed)))
}

/// The number of classes that `tensors` were trained for, if they are those of the network that `config` describes: the length of its last
/// bias.
#[must_use]
pub fn classes_of(config: &ModelConfig, tensors: &BTreeMap<String, TensorData>) -> Option<usize> {
    let model = config.init(0, &Device::default());
    let last = param_infos(&model).pop()?;
    match tensors.get(&last.name)?.shape().to_vec()[..] {
        [classes] => Some(classes),
        _ => None,
    }
}

/// Whether a state dict has under `name` whole numbers that nothing is learned of: the counters of batch norms, called
/// `num_batches_tracked`, on which nothing depends, or Swin's `relative_position_index`, which follows from the window.
#[must_use]
pub fn is_counter(name: &str) -> bool {
    ["num_batches_tracked", "relative_position_index"].iter().any(|end| name.ends_with(end))
}

/// Puts `tensors` (f32, PyTorch's names and layouts) into the network.
///
/// What PyTorch keeps beside that is not learned is ignored ([`is_counter`]).
///
/// # Errors
///
/// The first tensor that is missing, extra, misshapen or not finite. Nothing is loaded then.
pub fn load_tensors<N: Module + ReferenceNames>(
    network: N,
    tensors: BTreeMap<String, TensorData>,
) -> Result<N, ParamError> {
    load(network, tensors, |_| false).map(|(network, _)| network)
}

/// [`load_tensors`] for other classes than those the tensors were trained for: what of the head is missing or has another shape keeps its
/// starting values. Also gives the names of these.
///
/// # Errors
///
/// As [`load_tensors`], for all but the head.
pub fn load_backbone(
    model: Model,
    tensors: BTreeMap<String, TensorData>,
) -> Result<(Model, Vec<String>), ParamError> {
    let names = model.clone();
    let backbone = names.backbone();
    let head = backbone.levels().len();
    load(model, tensors, |name| backbone.stage_of(name) == head)
}

/// Tensors for which `may_differ` may be missing, extra or of another shape; those that were so are named.
fn load<N: Module + ReferenceNames>(
    network: N,
    mut tensors: BTreeMap<String, TensorData>,
    may_differ: impl Fn(&str) -> bool,
) -> Result<(N, Vec<String>), ParamError> {
    tensors.retain(|name, _| !is_counter(name));
    let needed = param_infos(&network);
    let mut kept = Vec::new();
    for ParamInfo { name, shape, .. } in &needed {
        let found = tensors.get(name).map(|tensor| tensor.shape().to_vec());
        match found {
            Some(found) if found == *shape => {}
            _ if may_differ(name) => {
                tensors.remove(name);
                kept.push(name.clone());
                continue;
            }
            Some(found) => {
                return Err(ParamError::Shape { name: name.clone(), found, needed: shape.clone() });
            }
            None => return Err(missing(name, &tensors, &needed)),
        }
        if let Some(position) = not_finite(&tensors[name]) {
            return Err(ParamError::NotFinite { name: name.clone(), position });
        }
    }
    let known: HashSet<&str> = needed.iter().map(|info| info.name.as_str()).collect();
    if let Some(extra) = tensors.keys().find(|name| !known.contains(name.as_str()) && !may_differ(name)) {
        return Err(ParamError::Extra { name: extra.clone() });
    }

    struct Loader<'a> {
        place: Place<'a>,
        tensors: BTreeMap<String, TensorData>,
    }
    impl ModuleMapper for Loader<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(data) = self.tensors.remove(&self.place.name()) else {
                return param;
            };
            let device = param.lazy_device();
            let mut tensor = Tensor::from_data(data, &device);
            if self.place.is_transposed() {
                // Copied once here, so that no step works on a transposed view.
                let transposed = tensor.swap_dims(0, 1).into_data();
                tensor = Tensor::from_data(transposed, &device);
            }
            let id = param.id;
            param.transform_for_load(tensor, id)
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
    }
    // A mapper takes the network itself; its copy shares all tensors.
    let names = network.clone();
    Ok((network.map(&mut Loader { place: Place::of(&names), tensors }), kept))
}

/// The first value that is infinite or no number.
fn not_finite(tensor: &TensorData) -> Option<usize> {
    // f32 as they are; others, if there ever are any, one by one.
    let Ok(values) = tensor.as_slice::<f32>() else {
        return tensor.iter::<f32>().position(|value| !value.is_finite());
    };
    // A part at a time without a way out in the middle, which several values at once are compared by.
    const PART: usize = 4096;
    let part =
        values.chunks(PART).position(|part| !part.iter().fold(true, |all, value| all & value.is_finite()))?;
    let within = values[part * PART..].iter().position(|value| !value.is_finite())?;
    Some(part * PART + within)
}

/// The error for a tensor that is not there, with the nearest that no layer has.
fn missing(name: &str, tensors: &BTreeMap<String, TensorData>, needed: &[ParamInfo]) -> ParamError {
    let unused = tensors.keys().filter(|name| needed.iter().all(|info| info.name != **name));
    let nearest = unused
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    ParamError::Missing { name: name.to_owned(), nearest: nearest.map(|(_, name)| name.clone()) }
}

/// Where a traversal of the module tree is.
struct Place<'a> {
    /// Knows the reference's names.
    network: &'a dyn ReferenceNames,
    /// Name and container of each step.
    steps: Vec<(String, String)>,
}

impl<'a> Place<'a> {
    fn of(network: &'a dyn ReferenceNames) -> Self {
        Self { network, steps: Vec::new() }
    }

    fn enter(&mut self, name: &str, container: &str) {
        self.steps.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.steps.pop();
    }

    /// The PyTorch name: steps into variants of enums are no part of it.
    fn name(&self) -> String {
        let names: Vec<&str> = self
            .steps
            .iter()
            .filter(|(_, container)| !container.starts_with("Enum:"))
            .map(|(name, _)| name.as_str())
            .collect();
        self.network.reference_name(names.join("."))
    }

    /// Whether files hold this parameter the other way round.
    fn is_transposed(&self) -> bool {
        self.steps.last().is_some_and(|(name, container)| name == "weight" && container == "Struct:Linear")
    }

    fn file_shape(&self, shape: &Shape) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self.is_transposed() {
            shape.reverse();
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Gradients;

    use super::*;
    use crate::InputShape;

    fn model(seed: u64) -> Model {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        ModelConfig::from_name("small_cnn", input, 3).unwrap().init(seed, &Device::flex())
    }

    fn tensors(seed: u64) -> BTreeMap<String, TensorData> {
        named_tensors(&model(seed)).into_iter().collect()
    }

    #[test]
    fn weights_survive_the_way_out_and_in() {
        let loaded = load_tensors(model(2), tensors(1)).unwrap();
        assert_eq!(named_tensors(&loaded), named_tensors(&model(1)));
        assert_ne!(named_tensors(&loaded), named_tensors(&model(2)));
    }

    struct WithGradients {
        gradients: Gradients,
        ids: HashSet<ParamId>,
    }

    impl ModuleVisitor for WithGradients {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.val().grad(&self.gradients).is_some() {
                self.ids.insert(param.id);
            }
        }
    }

    #[test]
    fn frozen_parts_get_no_gradients() {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let config = ModelConfig::from_name("small_cnn", input, 3).unwrap();
        let device = Device::flex().autodiff();
        let frozen = freeze(config.init(1, &device), &["conv1".into(), "fc1.bias".into()]).unwrap();
        let gradients = frozen.forward(Tensor::ones([2, 1, 8, 8], &device)).sum().backward();
        let mut with = WithGradients { gradients, ids: HashSet::new() };
        frozen.visit(&mut with);
        for ParamInfo { name, id, learned, .. } in param_infos(&frozen) {
            let fixed = !learned || name.starts_with("conv1.") || name == "fc1.bias";
            assert_eq!(with.ids.contains(&id), !fixed, "{name}");
        }
        let error = freeze(model(0), &["conv".into()]).unwrap_err().to_string();
        assert!(error.contains("`conv`") && error.contains("conv1, bn1"), "{error}");
    }

    #[test]
    fn linear_weights_are_written_as_pytorch_has_them() {
        assert_eq!(tensors(0)["fc2.weight"].shape().to_vec(), [3, 128]);
    }

    #[test]
    fn a_missing_tensor_is_named_with_the_nearest_unused_one() {
        let mut tensors = tensors(0);
        let weight = tensors.remove("fc1.weight").unwrap();
        tensors.insert("fc1.weigth".into(), weight);
        let error = load_tensors(model(0), tensors).unwrap_err();
        let nearest = Some("fc1.weigth".to_owned());
        assert_eq!(error, ParamError::Missing { name: "fc1.weight".into(), nearest });
    }

    #[test]
    fn an_extra_tensor_is_named() {
        let mut tensors = tensors(0);
        tensors.insert("fc3.weight".into(), TensorData::from([1f32]));
        let error = load_tensors(model(0), tensors).unwrap_err();
        assert_eq!(error, ParamError::Extra { name: "fc3.weight".into() });
    }

    #[test]
    fn a_misshapen_tensor_is_named() {
        let mut tensors = tensors(0);
        tensors.insert("bn1.bias".into(), TensorData::from([1f32]));
        let error = load_tensors(model(0), tensors).unwrap_err();
        assert_eq!(error, ParamError::Shape { name: "bn1.bias".into(), found: vec![1], needed: vec![32] });
    }

    #[test]
    fn a_value_that_is_not_finite_is_found() {
        let mut tensors = tensors(0);
        tensors.insert("fc2.bias".into(), TensorData::from([1f32, f32::NAN, 0.0]));
        let error = load_tensors(model(0), tensors).unwrap_err();
        assert_eq!(error, ParamError::NotFinite { name: "fc2.bias".into(), position: 1 });
    }

    #[test]
    fn a_backbone_takes_weights_for_other_classes() {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let other = ModelConfig::from_name("small_cnn", input, 5).unwrap().init(4, &Device::flex());
        assert!(matches!(load_tensors(other.clone(), tensors(0)), Err(ParamError::Shape { .. })));
        let (loaded, kept) = load_backbone(other.clone(), tensors(0)).unwrap();
        assert_eq!(kept, ["fc2.weight", "fc2.bias"]);
        let (loaded, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (named_tensors(&loaded).into_iter().collect(), named_tensors(&other).into_iter().collect());
        assert_eq!(loaded["fc1.weight"], tensors(0)["fc1.weight"]);
        assert_eq!(loaded["fc2.weight"], other["fc2.weight"]);
        let mut without = tensors(0);
        without.remove("fc2.bias");
        without.insert("fc3.bias".into(), TensorData::from([1f32]));
        assert_eq!(load_backbone(model(0), without).unwrap().1, ["fc2.bias"]);
        let mut damaged = tensors(0);
        damaged.remove("conv1.bias");
        assert!(matches!(load_backbone(model(0), damaged), Err(ParamError::Missing { .. })));
    }

    #[test]
    fn what_is_not_learned_is_ignored() {
        let mut tensors = tensors(0);
        tensors.insert("bn1.num_batches_tracked".into(), TensorData::from([7f32]));
        tensors.insert("bn1.relative_position_index".into(), TensorData::from([7f32]));
        assert!(load_tensors(model(0), tensors).is_ok());
    }
}
