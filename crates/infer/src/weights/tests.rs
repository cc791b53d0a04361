//! Weight files as others write them, damaged ones, and pickles that would do harm.

use std::io::Write;
use std::path::PathBuf;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/weights/fixtures").join(name)
}

fn floats(tensor: &TensorData) -> Vec<f32> {
    tensor.clone().try_to_vec::<f32>().unwrap()
}

#[test]
fn every_form_of_checkpoint_gives_the_same_weights() {
    let counted: Vec<f32> = (0..24u8).map(|n| f32::from(n) / 8.0).collect();
    for name in ["zip.pt", "legacy.pth", "wrapped_bf16.pt", "views.pt"] {
        let weights = read_weights(fixture(name)).unwrap();
        assert_eq!(weights.keys().collect::<Vec<_>>(), ["conv.weight", "norm.bias"], "{name}");
        assert_eq!(floats(&weights["norm.bias"]), [-1.5, 2.0], "{name}");
        let conv = &weights["conv.weight"];
        assert_eq!(conv.shape().to_vec(), [2, 3, 2, 2]);
        if name == "views.pt" {
            // Each 2x2 is transposed.
            assert_eq!(floats(conv)[..4], [counted[0], counted[2], counted[1], counted[3]]);
        } else {
            assert_eq!(floats(conv), counted, "{name}");
        }
    }
}

#[test]
fn a_value_that_is_seen_many_times_takes_no_more_memory_than_its_file_warrants() {
    let error = read_weights(fixture("expanded.pt")).unwrap_err().to_string();
    assert!(error.contains("576000000 bytes"), "{error}");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_neither_read_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(read_weights(&pipe).unwrap_err().to_string().contains("not a file"));
    let device = burn::tensor::Device::flex();
    assert!(crate::ModelFile::load(&pipe, &device).unwrap_err().to_string().contains("not a file"));
    assert!(read_weights(folder.path()).unwrap_err().to_string().contains("not a file"));
}

#[test]
fn state_dicts_within_others_are_found() {
    for names in [
        &["conv.weight"][..],
        &["module.module.conv.weight"],
        &["state_dict.model.conv.weight", "epoch.count"],
        &["state_dict.module._orig_mod.conv.weight", "model_ema.conv.weight"],
        &["net.conv.weight"],
    ] {
        let tensors: BTreeMap<String, u8> = names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        assert_eq!(unwrap(tensors).into_keys().collect::<Vec<_>>(), ["conv.weight"], "{names:?}");
    }
}

#[test]
fn names_of_old_torchvision_files_are_those_of_today() {
    for (before, now) in [
        ("features.denseblock1.denselayer1.norm.2.weight", "features.denseblock1.denselayer1.norm2.weight"),
        ("features.denseblock4.denselayer16.conv.1.weight", "features.denseblock4.denselayer16.conv1.weight"),
        ("features.transition1.norm.weight", "features.transition1.norm.weight"),
        ("encoder.layers.encoder_layer_0.mlp.linear_2.bias", "encoder.layers.encoder_layer_0.mlp.3.bias"),
    ] {
        assert_eq!(today(before.into()), now);
    }
}

#[test]
fn a_whole_pickled_model_is_refused_with_advice() {
    let error = read_weights(fixture("whole_model.pt")).unwrap_err().to_string();
    assert!(error.contains("`torch.nn.modules.container.Sequential`"), "{error}");
    assert!(error.contains("Nothing in it was run") && error.contains("state_dict()"), "{error}");
}

#[test]
fn a_checkpoint_cut_anywhere_is_an_error_and_never_zeros() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zip.pt", "legacy.pth", "wrapped_bf16.pt"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name);
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_weights(&path).is_err(), "{name} cut after {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zip.pt", "legacy.pth", "views.pt"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            let _ = read_weights(&path);
        }
    }
}

/// What a harmful pickle calls, with what.
const CALLS: [(&str, &str, &str); 8] = [
    ("os", "system", "touch /tmp/harm"),
    ("posix", "system", "touch /tmp/harm"),
    ("builtins", "eval", "1+1"),
    ("__builtin__", "exec", "import os"),
    ("runpy", "run_path", "/tmp/harm.py"),
    ("subprocess", "Popen", "harm"),
    ("torch.hub", "load", "harm"),
    ("numpy.testing._private.utils", "runstring", "harm"),
];

/// Ways to call it, by the opcodes of each protocol.
fn pickles(module: &str, name: &str, argument: &str) -> Vec<(&'static str, Vec<u8>)> {
    let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let unicode = |text: &str| [&b"\x8c"[..], &short(text)].concat();
    let long = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let global = format!("c{module}\n{name}\n").into_bytes();
    let stack_global = [unicode(module), b"\x94".to_vec(), unicode(name), b"\x94\x93".to_vec()].concat();
    let from_memo = [unicode(name), b"\x940".to_vec(), unicode(module), b"\x94h\x00\x93".to_vec()].concat();
    let text = [b"V".as_slice(), argument.as_bytes(), b"\n"].concat();
    let call = |target: &[u8], argument: &[u8], call: &[u8]| [target, argument, call].concat();
    vec![
        ("protocol 0, REDUCE", [&global[..], b"(", &text, b"tR."].concat()),
        (
            "protocol 0, INST",
            [&b"("[..], &text, b"i", module.as_bytes(), b"\n", name.as_bytes(), b"\n."].concat(),
        ),
        ("protocol 1, OBJ", [&b"("[..], &global, &long(argument), b"o."].concat()),
        ("protocol 2, REDUCE", call(&[&b"\x80\x02"[..], &global].concat(), &long(argument), b"\x85R.")),
        ("protocol 2, NEWOBJ", call(&[&b"\x80\x02"[..], &global].concat(), &long(argument), b"\x85\x81.")),
        (
            "protocol 3, BUILD",
            call(&[&b"\x80\x03"[..], &global].concat(), b")R", &[&long(argument)[..], b"b."].concat()),
        ),
        (
            "protocol 4, STACK_GLOBAL",
            call(&[&b"\x80\x04"[..], &stack_global].concat(), &unicode(argument), b"\x85R."),
        ),
        (
            "protocol 4, NEWOBJ_EX",
            call(&[&b"\x80\x04"[..], &stack_global].concat(), &unicode(argument), b"\x85}\x92."),
        ),
        (
            "protocol 5, dropped",
            call(&[&b"\x80\x05"[..], &stack_global].concat(), &unicode(argument), b"\x85R0}."),
        ),
        (
            "protocol 2, among others",
            [&b"\x80\x02}q\x00X\x01\x00\x00\x00a"[..], &global, &long(argument), b"\x85Rs."].concat(),
        ),
        (
            "protocol 4, from the memo",
            call(&[&b"\x80\x04"[..], &from_memo].concat(), &unicode(argument), b"\x85R."),
        ),
    ]
}

fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("archive/data.pkl", SimpleFileOptions::default()).unwrap();
    zip.write_all(pickle).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The five pickles of the form before PyTorch 1.6, the fourth being this.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let sys_info = b"\x80\x02}q\x00X\x0d\x00\x00\x00little_endianq\x01\x88s.";
    [&magic[..], b"\x80\x02M\xe9\x03.", sys_info, pickle, b"\x80\x02]q\x00."].concat()
}

#[test]
fn a_pickle_that_calls_something_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pt");
    let mut built = 0;
    for (module, name, argument) in CALLS {
        for (how, pickle) in pickles(module, name, argument) {
            for (form, bytes) in
                [("bare", pickle.clone()), ("zip", archive(&pickle)), ("legacy", legacy(&pickle))]
            {
                std::fs::write(&path, &bytes).unwrap();
                let error = read_weights(&path).unwrap_err();
                assert!(matches!(error, Error::RefusedPickle { .. }), "{form}, {how}: {error}");
                // A name that is put together from the memo in a way no pickler writes is refused, too.
                let message = error.to_string();
                let named = message.contains(&format!("`{module}.{name}`"));
                assert!(named, "{form}, {how}: {message}");
                built += 1;
            }
        }
    }
    assert_eq!(built, 8 * 11 * 3);
}

#[test]
fn pickles_that_hide_what_they_refer_to_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pt");
    for (pickle, message) in [
        // The strings are there, but others stand before the instruction.
        (
            &b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93\x8c\x01x\x85R."[..],
            "not written out",
        ),
        (b"\x80\x02\x82\x01.", "extension registry"),
        (b"\x80\x02\x83\x01\x00.", "extension registry"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "extension registry"),
        (b"\x80\x05\x97.", "buffers outside"),
        (b"\x80\x02\xff.", "no instruction"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "it ends within"),
        (b"(cos", "does not end"),
    ] {
        std::fs::write(&path, pickle).unwrap();
        let error = read_weights(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error} (expected: {message})");
    }
}

#[test]
fn a_storage_shorter_than_its_tensor_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.pth");
    let whole = std::fs::read(fixture("legacy.pth")).unwrap();
    // The shape (2, 3, 2, 2) becomes (2, 9, 2, 2).
    let shape = b"(K\x02K\x03K\x02K\x02t";
    let at = whole.windows(shape.len()).position(|bytes| bytes == shape).unwrap();
    let mut bytes = whole.clone();
    bytes[at + 4] = 9;
    std::fs::write(&path, bytes).unwrap();
    let error = read_weights(&path).unwrap_err().to_string();
    assert!(error.contains("not a whole PyTorch checkpoint"), "{error}");
    // A shape whose product does not fit.
    let long = |n: i64| [&b"\x8a\x08"[..], &n.to_le_bytes()].concat();
    let huge = [&b"("[..], &long(i64::MAX), &long(i64::MAX), b"K\x02K\x02t"].concat();
    let bytes = [&whole[..at], &huge, &whole[at + shape.len()..]].concat();
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(read_weights(&path).unwrap_err(), Error::DamagedCheckpoint { .. }));
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn safetensors_of_every_float_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let header = r#"{"model.a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
        "model.b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},
        "model.c":{"dtype":"F64","shape":[],"data_offsets":[6,14]},
        "model.n.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[14,22]}}"#;
    let data = [&[0x00, 0x3C, 0x00, 0xC0][..], &[0x80, 0x3F], &2.5f64.to_le_bytes(), &[0; 8]].concat();
    std::fs::write(&path, safetensors(header, &data)).unwrap();
    let weights = read_weights(&path).unwrap();
    let all: Vec<(&str, Vec<f32>)> =
        weights.iter().map(|(name, tensor)| (name.as_str(), floats(tensor))).collect();
    assert_eq!(all, [("a", vec![1.0, -2.0]), ("b", vec![1.0]), ("c", vec![2.5])]);
}

#[test]
fn damaged_safetensors_are_refused_before_anything_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let one = |shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let two = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
    let int = r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
    for (bytes, message) in [
        (vec![1, 2, 3], "too few"),
        (u64::MAX.to_le_bytes().to_vec(), "claims"),
        (safetensors("{", &[]), "not a whole"),
        (safetensors(&one("[2]", "[0,4]"), &[0; 4]), "not a whole"),
        (safetensors(&one("[1]", "[0,4]"), &[0; 3]), "3 are there"),
        (safetensors(&one("[1]", "[0,4]"), &[0; 5]), "5 are there"),
        (safetensors(&one("[18446744073709551615,18446744073709551615]", "[0,4]"), &[0; 4]), "not a whole"),
        (safetensors(&one("[1000000000000]", "[0,4000000000000]"), &[0; 4]), "4 are there"),
        (safetensors(two, &[0; 6]), "not a whole"),
        (safetensors(int, &[0; 4]), "is I32"),
        (safetensors("{}", &[]), "no weights"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let error = read_weights(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error} (expected: {message})");
    }
}

#[test]
#[cfg(not(feature = "keras"))]
fn keras_weights_are_refused_by_name_where_they_are_not_read() {
    let error = read_weights(fixture("keras.h5")).unwrap_err().to_string();
    assert!(error.contains("--features keras"), "{error}");
}
