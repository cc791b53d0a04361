//! Keras's variables as tensors in PyTorch's layouts.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::names::{Family, Part};
use super::variables::Variable;

/// The tensors of a network of this family; what does not fit is told.
pub(super) fn tensors(
    family: Family,
    variables: Vec<Variable>,
) -> Result<BTreeMap<String, TensorData>, String> {
    let mut tensors = BTreeMap::new();
    let mut biases = Vec::new();
    for Variable { layer, name, place, data } in variables {
        let Some(part) = family.part(&layer) else {
            return Err(format!("{} has no layer `{layer}`", family.name()));
        };
        let Some(name) = reference_name(&part, &name) else {
            return Err(format!("`{place}` is no variable of such a layer"));
        };
        let (target, data) = match (part, name) {
            (Part::ConvBefore(_, norm) | Part::FirstConvBefore(_, norm), "bias") => {
                biases.push((format!("{norm}.running_mean"), place, data));
                continue;
            }
            (Part::Conv(target) | Part::ConvBefore(target, _), "weight") => {
                (target, outputs_first(&data, false))
            }
            (Part::FirstConvBefore(target, _), "weight") => {
                (target, outputs_first(&data, false).map(red_first))
            }
            (Part::Depthwise(target), "weight") => (target, outputs_first(&data, true)),
            (Part::Linear(target), "weight") => {
                (target, outputs_first(&data, false).and_then(|data| matrix(&data)))
            }
            (
                Part::Conv(target)
                | Part::ConvBefore(target, _)
                | Part::FirstConvBefore(target, _)
                | Part::Depthwise(target)
                | Part::Norm(target)
                | Part::Linear(target),
                _,
            ) => (target, Some(data)),
        };
        let data = data.ok_or_else(|| format!("`{place}` has another shape than a layer of its kind"))?;
        if tensors.insert(format!("{target}.{name}"), data).is_some() {
            return Err(format!("`{place}` is there twice"));
        }
    }
    for (mean, place, bias) in biases {
        let means =
            tensors.get_mut(&mean).ok_or_else(|| format!("`{place}` has no normalization behind it"))?;
        let (Ok(from), Ok(bias)) = (means.as_slice::<f32>(), bias.as_slice::<f32>()) else {
            return Err(format!("`{place}` is not in f32"));
        };
        if from.len() != bias.len() {
            return Err(format!(
                "`{place}` has {} values, the normalization behind it {}",
                bias.len(),
                from.len()
            ));
        }
        // What is added to every value is taken off again with the mean: leaving both out changes nothing.
        let without: Vec<f32> = from.iter().zip(bias).map(|(mean, bias)| mean - bias).collect();
        *means = TensorData::new(without, means.shape().clone());
    }
    Ok(tensors)
}

/// PyTorch's name of a variable, which has in Keras a name or a number.
fn reference_name(part: &Part, name: &str) -> Option<&'static str> {
    Some(match (part, name) {
        (Part::Norm(_), "gamma" | "0") => "weight",
        (Part::Norm(_), "beta" | "1") => "bias",
        (Part::Norm(_), "moving_mean" | "2") => "running_mean",
        (Part::Norm(_), "moving_variance" | "3") => "running_var",
        (Part::Norm(_), _) => return None,
        (_, "kernel" | "depthwise_kernel" | "0") => "weight",
        (_, "bias" | "1") => "bias",
        _ => return None,
    })
}

/// `[height, width, inputs, outputs]` as `[outputs, inputs, height, width]`, or as `[inputs, 1, height, width]` with each output seeing one
/// input; `[inputs, outputs]` as `[outputs, inputs, 1, 1]`. Nothing for other shapes.
fn outputs_first(data: &TensorData, depthwise: bool) -> Option<TensorData> {
    let [height, width, inputs, outputs] = match data.shape().to_vec()[..] {
        [inputs, outputs] => [1, 1, inputs, outputs],
        [height, width, inputs, outputs] => [height, width, inputs, outputs],
        _ => return None,
    };
    if depthwise && outputs != 1 {
        return None;
    }
    let values = data.as_slice::<f32>().ok()?;
    let area = height * width;
    let mut moved = vec![0f32; values.len()];
    for pixel in 0..area {
        for input in 0..inputs {
            for output in 0..outputs {
                moved[(output * inputs + input) * area + pixel] =
                    values[(pixel * inputs + input) * outputs + output];
            }
        }
    }
    let shape = if depthwise { [inputs, 1, height, width] } else { [outputs, inputs, height, width] };
    Some(TensorData::new(moved, shape))
}

/// `[outputs, inputs, 1, 1]` as `[outputs, inputs]`.
fn matrix(data: &TensorData) -> Option<TensorData> {
    let [outputs, inputs, 1, 1] = data.shape().to_vec()[..] else { return None };
    Some(TensorData::new(data.as_slice::<f32>().ok()?.to_vec(), [outputs, inputs]))
}

/// Weights of three colours in the other order.
fn red_first(data: TensorData) -> TensorData {
    let shape = data.shape().to_vec();
    let (&[_, 3, height, width], Ok(values)) = (&shape[..], data.as_slice::<f32>()) else { return data };
    let mut turned = Vec::with_capacity(values.len());
    for colours in values.chunks(3 * height * width) {
        for colour in colours.chunks(height * width).rev() {
            turned.extend_from_slice(colour);
        }
    }
    TensorData::new(turned, shape)
}
