//! Files as Keras writes them, damaged ones, and others' HDF5 files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::tensor::TensorData;
use pyrograph_model::{InputShape, ModelConfig, is_counter, param_infos};

use super::names::Family;
use crate::weights::read_weights;
use crate::{Error, check_keras, keras_statistics};

const FORMS: [&str; 4] = ["keras.h5", "keras.weights.h5", "keras_old.h5", "keras_resnet.h5"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/weights/fixtures").join(name)
}

fn config(name: &str) -> ModelConfig {
    ModelConfig::from_name(name, InputShape { channels: 3, height: 64, width: 64 }, 5).unwrap()
}

/// Value `n` of variable `v` in the fixtures.
fn value(v: usize, n: usize) -> f32 {
    (100.0 * v as f64 + n as f64).sin() as f32
}

fn same(tensor: &TensorData, expected: &[f32]) {
    let found = tensor.clone().try_to_vec::<f32>().unwrap();
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == expected.len() && off < 1e-5, "{found:?} against {expected:?}");
}

#[test]
fn every_form_of_file_gives_the_same_weights_in_pytorchs_layouts() {
    for form in &FORMS[..3] {
        let weights = read_weights(fixture(form)).unwrap();
        let shapes: Vec<(&str, Vec<usize>)> =
            weights.iter().map(|(name, tensor)| (name.as_str(), tensor.shape().to_vec())).collect();
        let expected = [
            ("fc.bias", vec![3]),
            ("fc.weight", vec![3, 2]),
            ("stage1.0.0.weight", vec![2, 3, 3, 3]),
            ("stage1.0.1.bias", vec![2]),
            ("stage1.0.1.running_mean", vec![2]),
            ("stage1.0.1.running_var", vec![2]),
            ("stage1.0.1.weight", vec![2]),
            ("stage1.1.0.weight", vec![2, 1, 2, 2]),
        ];
        assert_eq!(shapes, expected, "{form}");
        let (mut conv, mut depthwise) = (Vec::new(), Vec::new());
        for output in 0..2 {
            for input in 0..3 {
                conv.extend((0..9).map(|pixel| value(0, (pixel * 3 + input) * 2 + output)));
            }
            depthwise.extend((0..4).map(|pixel| value(5, pixel * 2 + output)));
        }
        same(&weights["stage1.0.0.weight"], &conv);
        same(&weights["stage1.1.0.weight"], &depthwise);
        same(&weights["stage1.0.1.weight"], &[value(1, 0), value(1, 1)]);
        same(&weights["stage1.0.1.bias"], &[value(2, 0), value(2, 1)]);
        same(&weights["stage1.0.1.running_mean"], &[value(3, 0), value(3, 1)]);
        same(&weights["stage1.0.1.running_var"], &[1.0 + value(4, 0), 1.0 + value(4, 1)]);
        same(&weights["fc.weight"], &[0, 3, 1, 4, 2, 5].map(|n| value(6, n)));
        same(&weights["fc.bias"], &[0, 1, 2].map(|n| value(7, n)));
    }
}

#[test]
fn a_bias_goes_into_the_mean_behind_it_and_blue_comes_last() {
    let weights = read_weights(fixture("keras_resnet.h5")).unwrap();
    same(&weights["conv1.weight"], &[4, 2, 0, 5, 3, 1].map(|n| value(0, n)));
    same(&weights["bn1.running_mean"], &[0, 1].map(|n| value(4, n) - value(1, n)));
    same(&weights["fc.weight"], &[0, 3, 1, 4, 2, 5].map(|n| value(6, n)));
    assert!(!weights.contains_key("conv1.bias"));
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_zeros() {
    let folder = tempfile::tempdir().unwrap();
    for form in FORMS {
        let whole = std::fs::read(fixture(form)).unwrap();
        let path = folder.path().join(form);
        for length in (0..whole.len()).step_by(13) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_weights(&path).is_err(), "{form} cut after {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for form in FORMS {
        let whole = std::fs::read(fixture(form)).unwrap();
        let path = folder.path().join(form);
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            let _ = read_weights(&path);
        }
    }
}

#[test]
fn a_size_beyond_the_file_is_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.h5");
    let whole = std::fs::read(fixture("keras_old.h5")).unwrap();
    // The shape (3, 3, 3, 2) of the first kernel.
    let sizes = |sizes: [u64; 4]| sizes.map(u64::to_le_bytes).concat();
    let shape = sizes([3, 3, 3, 2]);
    let at = whole.windows(shape.len()).position(|bytes| bytes == shape).unwrap();
    for huge in [[3, 3, 3, 1 << 40], [1 << 62; 4], [u64::MAX, 1, 1, 1], [1 << 12; 4]] {
        let bytes = [&whole[..at], &sizes(huge), &whole[at + shape.len()..]].concat();
        std::fs::write(&path, bytes).unwrap();
        let error = read_weights(&path).unwrap_err();
        assert!(matches!(&error, Error::DamagedHdf5 { .. }), "{error}");
        assert!(error.to_string().contains("conv1/kernel"), "{error}");
    }
}

#[test]
fn keras_weights_are_kept_out_of_networks_that_compute_something_else() {
    let path = fixture("keras.h5");
    check_keras(&path, &config("mobilenet_keras")).unwrap();
    let error = check_keras(&path, &config("mobilenet_v1_100")).unwrap_err().to_string();
    assert!(error.contains("mobilenet_keras"), "{error}");
    check_keras(fixture("zip.pt"), &config("mobilenet_v1_100")).unwrap();
}

#[test]
fn only_keras_networks_have_keras_statistics() {
    assert_eq!(keras_statistics(&config("mobilenet_keras")), Some(([0.5; 3], [0.5; 3])));
    let (mean, std) = keras_statistics(&config("resnet50_keras")).unwrap();
    assert!((mean[0] * 255.0 - 123.68).abs() < 1e-4 && (std[2] * 255.0 - 1.0).abs() < 1e-6);
    assert!(keras_statistics(&config("efficientnet_b4_keras")).is_some());
    assert_eq!(keras_statistics(&config("resnet50")), None);
}

/// The names of layers in Keras's networks, from how the networks are built.
fn layers(family: Family, blocks: &[usize]) -> Vec<String> {
    let mut layers: Vec<String> = Vec::new();
    match family {
        Family::MobileNet => {
            layers.extend(["conv1", "conv1_bn", "conv_preds"].map(String::from));
            for n in 1..=13 {
                layers.extend(["dw", "pw"].map(|kind| format!("conv_{kind}_{n}")));
                layers.extend(["dw", "pw"].map(|kind| format!("conv_{kind}_{n}_bn")));
            }
        }
        Family::EfficientNet => {
            layers.extend(["stem_conv", "stem_bn", "top_conv", "top_bn", "predictions"].map(String::from));
            for (group, &count) in blocks.iter().enumerate() {
                for letter in ('a'..='z').take(count) {
                    let block = format!("block{}{letter}", group + 1);
                    let expand = if group > 0 { &["expand_conv", "expand_bn"][..] } else { &[] };
                    let rest = ["dwconv", "bn", "se_reduce", "se_expand", "project_conv", "project_bn"];
                    layers.extend(expand.iter().chain(&rest).map(|layer| format!("{block}_{layer}")));
                }
            }
        }
        Family::ResNet => {
            layers.extend(["conv1_conv", "conv1_bn", "predictions"].map(String::from));
            for (stage, &count) in blocks.iter().enumerate() {
                for block in 1..=count {
                    for n in usize::from(block > 1)..4 {
                        let layer = format!("conv{}_block{block}_{n}", stage + 2);
                        layers.extend([format!("{layer}_conv"), format!("{layer}_bn")]);
                    }
                }
            }
        }
    }
    layers
}

#[test]
fn every_layer_of_keras_has_a_place_and_every_place_a_layer() {
    use super::names::Part;
    for (name, family, blocks) in [
        ("mobilenet_keras", Family::MobileNet, &[][..]),
        ("efficientnet_b0_keras", Family::EfficientNet, &[1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet_b4_keras", Family::EfficientNet, &[2, 4, 4, 6, 6, 8, 2]),
        ("resnet50_keras", Family::ResNet, &[3, 4, 6, 3]),
        ("resnet152_keras", Family::ResNet, &[3, 8, 36, 3]),
    ] {
        let layers = layers(family, blocks);
        assert_eq!(Family::of(layers.iter().map(String::as_str)), Some(family));
        let places: BTreeSet<String> = layers
            .iter()
            .map(|layer| match family.part(layer).unwrap() {
                Part::Conv(place) | Part::Depthwise(place) | Part::Norm(place) | Part::Linear(place) => place,
                Part::ConvBefore(place, _) | Part::FirstConvBefore(place, _) => place,
            })
            .collect();
        assert_eq!(places.len(), layers.len(), "{name}");
        let model = config(name).init(0, &burn::tensor::Device::flex());
        let ours: BTreeSet<String> = param_infos(&model)
            .into_iter()
            .filter(|info| !is_counter(&info.name))
            .map(|info| info.name[..info.name.rfind('.').unwrap()].to_owned())
            .collect();
        assert_eq!(places, ours, "{name}");
    }
    for (family, layer) in [
        (Family::MobileNet, "conv_dw_14"),
        (Family::MobileNet, "conv_pw_x_bn"),
        (Family::EfficientNet, "block1a_expand_conv"),
        (Family::EfficientNet, "block8a_bn"),
        (Family::EfficientNet, "blocké_bn"),
        (Family::ResNet, "conv2_block0_1_conv"),
        (Family::ResNet, "conv6_block1_1_conv"),
        (Family::ResNet, "dense"),
    ] {
        assert_eq!(family.part(layer), None, "{layer}");
    }
}
