//! The program from outside: what works, and one clear message for everything that cannot.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use pyrograph::burn::tensor::Device;
use pyrograph::model::{InputShape, ModelConfig, named_tensors};
use tempfile::TempDir;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn pyrograph(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_pyrograph"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    ran(&output)
}

fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Runs and expects exit code 1 and one line on standard error that has every one of `parts`.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let ran = pyrograph(folder, arguments);
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{arguments:?}: {}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{arguments:?}: no `{part}` in: {}", ran.stderr);
    }
}

/// Two classes of small pictures, red and blue.
fn photos(folder: &Path, count: u8) -> PathBuf {
    let photos = folder.join("photos");
    for (class, color) in [("red", [200, 20, 20]), ("blue", [20, 20, 200])] {
        fs::create_dir_all(photos.join(class)).unwrap();
        for n in 0..count {
            let picture =
                RgbImage::from_fn(12, 10, |x, _| Rgb(color.map(|v: u8| v.wrapping_add(x as u8 + n))));
            picture.save(photos.join(class).join(format!("{n}.png"))).unwrap();
        }
    }
    photos
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_folder_of_photos_becomes_a_model_that_knows_them() {
    let place = place();
    photos(place.path(), 12);
    let train =
        ["train", "photos", "--epochs", "6", "--batch", "4", "--out", "run", "--until", "accuracy=1.0"];
    let trained = pyrograph(place.path(), &train);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    assert!(trained.stdout.contains("Found 24 images in 2 classes"), "{}", trained.stdout);
    assert!(trained.stdout.contains("validation accuracy"), "{}", trained.stdout);
    for file in
        ["recipe.toml", "metrics.jsonl", "best.safetensors", "last.safetensors", "report.html", "example.png"]
    {
        assert!(place.path().join("run").join(file).is_file(), "{file}");
    }
    let page = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    assert!(!page.contains("http://") && !page.contains("https://"));

    let model = "run/best.safetensors";
    let evaluated = pyrograph(place.path(), &["eval", model, "photos", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert_eq!((report["part"].as_str(), report["images"].as_u64()), (Some("train"), Some(24)));

    let predicted = pyrograph(
        place.path(),
        &["predict", model, "photos/red", "photos/blue/0.png", "--json", "--top", "1"],
    );
    assert_eq!(predicted.code, Some(0), "{}", predicted.stderr);
    let answers: Vec<serde_json::Value> =
        predicted.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 13);
    assert!(answers[0]["predictions"][0]["probability"].as_f64().unwrap() > 0.5);

    let mut piped = Command::new(env!("CARGO_BIN_EXE_pyrograph"));
    let image = fs::File::open(place.path().join("photos/red/1.png")).unwrap();
    let piped =
        ran(&piped.args(["predict", model, "-"]).current_dir(place.path()).stdin(image).output().unwrap());
    assert!(piped.stdout.starts_with("-: "), "{}{}", piped.stdout, piped.stderr);

    assert!(pyrograph(place.path(), &["summary", model]).stdout.contains("conv1 (Conv2d)"));

    // The same recipe gives the same bytes, whatever the number of threads; the folder is not written twice.
    refused(place.path(), &[&train[..], &["--fresh"]].concat(), &["run", "not empty", "--out"]);
    for threads in ["1", "3"] {
        let out = format!("again-{threads}");
        let again = ["train", "--recipe", "run/recipe.toml", "--threads", threads, "--out", &out];
        assert_eq!(pyrograph(place.path(), &again).code, Some(0));
        for file in ["best.safetensors", "last.safetensors"] {
            let read = |run: &str| fs::read(place.path().join(run).join(file)).unwrap();
            assert!(read("run") == read(&out), "{file} differs with {threads} threads");
        }
    }

    bad_models(place.path());
}

/// A model file that is damaged, foreign or for other classes.
fn bad_models(folder: &Path) {
    let whole = fs::read(folder.join("run/best.safetensors")).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(folder.join("cut.safetensors"), &whole[..length]).unwrap();
        refused(folder, &["predict", "cut.safetensors", "photos/red/0.png"], &["cut.safetensors"]);
    }
    // Another architecture's description over these weights.
    let text = String::from_utf8_lossy(&whole[..2000]).into_owned();
    let place = text.find("small_cnn").unwrap();
    let mut other = whole;
    other[place..place + 9].copy_from_slice(b"small_xyz");
    fs::write(folder.join("other.safetensors"), &other).unwrap();
    refused(
        folder,
        &["predict", "other.safetensors", "photos/red/0.png"],
        &["other.safetensors", "small_xyz"],
    );
    refused(folder, &["predict", "photos/red/0.png", "photos/red/0.png"], &["photos/red/0.png"]);
    refused(folder, &["predict", "none.safetensors", "photos/red/0.png"], &["none.safetensors"]);

    fs::create_dir_all(folder.join("others/green")).unwrap();
    fs::create_dir_all(folder.join("others/red")).unwrap();
    fs::copy(folder.join("photos/red/0.png"), folder.join("others/green/0.png")).unwrap();
    fs::copy(folder.join("photos/red/0.png"), folder.join("others/red/0.png")).unwrap();
    refused(folder, &["eval", "run/best.safetensors", "others"], &["`green`", "blue, red"]);

    fs::write(folder.join("photos/red/bad.png"), "no picture").unwrap();
    let ran =
        pyrograph(folder, &["predict", "run/best.safetensors", "photos/red/bad.png", "photos/red/0.png"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("bad.png") && ran.stdout.contains("0.png"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn paths_and_folders_that_cannot_be_learned_from_are_refused() {
    let place = place();
    let folder = place.path();
    refused(folder, &["train", "nowhere"], &["nowhere", "no such file or folder"]);
    fs::create_dir(folder.join("empty")).unwrap();
    refused(folder, &["train", "empty"], &["empty"]);
    let photos = photos(folder, 2);
    fs::create_dir(photos.join("nothing")).unwrap();
    refused(folder, &["train", "photos"], &["nothing", "no image"]);
    fs::remove_dir(photos.join("nothing")).unwrap();
    fs::remove_dir_all(photos.join("blue")).unwrap();
    refused(folder, &["train", "photos"], &["photos", "one class"]);
    refused(folder, &["train", "photos/red"], &["photos/red", "class"]);
}

#[test]
fn images_that_cannot_be_read_are_named() {
    let place = place();
    let photos = photos(place.path(), 3);
    let whole = fs::read(photos.join("red/1.png")).unwrap();
    for (name, bytes) in [
        ("red/text.jpg", b"this is a text".to_vec()),
        ("red/cut.png", whole[..whole.len() - 20].to_vec()),
        ("red/huge.png", huge_png()),
    ] {
        fs::write(photos.join(name), bytes).unwrap();
        refused(place.path(), &["train", "photos", "--batch", "2", "--epochs", "1", "--out", "run"], &[name]);
        fs::remove_file(photos.join(name)).unwrap();
        let _ = fs::remove_dir_all(place.path().join("run"));
    }
}

/// A PNG whose header claims 65,535 x 65,535 pixels.
fn huge_png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0".to_vec();
    let crc = bytes[12..29].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    bytes.extend((!crc).to_be_bytes());
    bytes.extend(b"\0\0\0\0IEND\xaeB`\x82");
    bytes
}

#[test]
fn idx_files_that_contradict_themselves_are_refused() {
    let place = place();
    let idx = place.path().join("idx");
    fs::create_dir(&idx).unwrap();
    let images = |count: u8, bytes: usize| {
        [&[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 4, 0, 0, 0, 4][..], &vec![7; bytes]].concat()
    };
    let labels = |labels: &[u8]| [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8][..], labels].concat();
    let write = |name: &str, bytes: Vec<u8>| fs::write(idx.join(name), bytes).unwrap();
    write("train-labels-idx1-ubyte", labels(&[0, 1, 0]));
    write("train-images-idx3-ubyte", images(3, 40));
    refused(place.path(), &["train", "idx"], &["train-images-idx3-ubyte"]);
    write("train-images-idx3-ubyte", images(2, 32));
    refused(place.path(), &["train", "idx"], &["idx"]);
    write("train-images-idx3-ubyte", images(3, 48));
    write("t10k-images-idx3-ubyte", images(1, 16));
    write("t10k-labels-idx1-ubyte", labels(&[9]));
    refused(place.path(), &["train", "idx"], &["t10k-labels-idx1-ubyte", "9"]);
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let place = place();
    photos(place.path(), 3);
    let train =
        |more: &[&str], parts: &[&str]| refused(place.path(), &[&["train", "photos"], more].concat(), parts);
    train(&["--epochs", "0"], &["`epochs` is 0", "at least 1"]);
    train(&["--batch", "0"], &["`batch` is 0"]);
    train(&["--batch", "1000"], &["1000", "smaller batch"]);
    train(&["--set", "data.repeats=0"], &["`data.repeats` is 0", "at least 1"]);
    train(&["--batch", "2", "--set", "data.repeats=3"], &["`data.repeats` is 3", "the batch size, 2"]);
    train(&["--model", "resnet19"], &["resnet19", "did you mean"]);
    train(&["--device", "quantum"], &["quantum", "did you mean"]);
    if !cfg!(feature = "cuda") {
        train(&["--device", "cuda:0"], &["--features cuda"]);
    }
    train(&["--set", "optim.rate=1"], &["optim.rate", "`lr`"]);
    train(&["--set", "optim.lr"], &["NAME=VALUE"]);
    train(&["--until", "speed=1"], &["speed", "accuracy"]);
    fs::write(place.path().join("recipe.toml"), "epoch = 3\n").unwrap();
    train(&["--recipe", "recipe.toml"], &["recipe.toml", "`epoch`", "did you mean `epochs`"]);
    train(&["--recipe", "missing.toml"], &["missing.toml"]);
    assert!(!place.path().join("runs").exists(), "a refused run leaves no folder");
}

#[test]
fn a_run_folder_that_cannot_be_made_is_named() {
    let place = place();
    photos(place.path(), 3);
    fs::write(place.path().join("file"), "x").unwrap();
    refused(place.path(), &["train", "photos", "--batch", "2", "--out", "file/run"], &["file/run"]);
}

/// The kernel's own folders refuse new folders even to root, which no permission bits do.
#[cfg(target_os = "linux")]
#[test]
fn a_place_without_write_permission_is_named() {
    let place = place();
    photos(place.path(), 3);
    refused(
        place.path(),
        &["train", "photos", "--batch", "2", "--out", "/sys/pyrograph-run"],
        &["/sys/pyrograph-run", "cannot be made"],
    );
}

#[test]
fn wrong_arguments_exit_with_2() {
    let place = place();
    assert_eq!(pyrograph(place.path(), &["trian"]).code, Some(2));
    assert_eq!(pyrograph(place.path(), &["predict"]).code, Some(2));
    assert_eq!(pyrograph(place.path(), &["train", "--epochs", "many"]).code, Some(2));
}

#[test]
fn what_needs_no_data_works_anywhere() {
    let place = place();
    for (arguments, part) in [
        (&["models"][..], "resnet152"),
        (&["models", "cifar"][..], "resnet18_cifar"),
        (&["summary", "resnet50", "--size", "64"][..], "25,557,032 parameters"),
        (&["devices"][..], "flex"),
        (&["completions", "bash"][..], "pyrograph"),
        (&["train", "--print-recipe"][..], "[schedule]"),
        (&["train", "--help"][..], "Examples:"),
    ] {
        let ran = pyrograph(place.path(), arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.contains(part), "{arguments:?}: {}", ran.stdout);
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_set_is_checked_packed_indexed_shown_and_trained_on_as_shards() {
    let place = place();
    let folder = place.path();
    let photos = photos(folder, 12);
    let done = |arguments: &[&str]| {
        let ran = pyrograph(folder, arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let stats: serde_json::Value = serde_json::from_str(&done(&["stats", "photos", "--json"])).unwrap();
    assert_eq!((stats["samples"].as_u64(), stats["width"]["max"].as_u64()), (Some(24), Some(12)));
    assert!(done(&["check", "photos"]).contains("24 images can be used"));

    for (out, more) in [("kept", &[][..]), ("raw", &["--raw"]), ("small", &["--short-side", "8"])] {
        let packed = done(&[&["pack", "photos", out], more].concat());
        assert!(packed.contains("train: 24 images in 1 shards"), "{packed}");
        let again = done(&[&["pack", "photos", out], more].concat());
        assert!(again.contains("1 of them made before"), "{again}");
        fs::remove_file(folder.join(out).join("shard-000000.tar.idx")).unwrap();
        refused(folder, &["stats", out], &["pyrograph index"]);
        assert!(done(&["index", out]).contains("24 samples"));
    }
    // The same pixels in the same order give the same model, whatever they were read from.
    let train = |data: &str, out: &str| {
        done(&["train", data, "--epochs", "1", "--batch", "4", "--out", out]);
        fs::read(folder.join(out).join("last.safetensors")).unwrap().len()
    };
    assert_eq!(train("kept", "run-kept"), train("raw", "run-raw"));

    for augment in [&[][..], &["--augment"], &["--augment", "random_resized_crop(16)|rand_augment(2, 9)"]] {
        let _ = fs::remove_file(folder.join("sheet.png"));
        let sheet =
            [&["show", "photos", "--size", "16", "--count", "3", "--out", "sheet.png"], augment].concat();
        assert!(done(&sheet).contains("sheet.png"));
        let columns = if augment.is_empty() { 3 } else { 8 };
        let (width, _) = image::image_dimensions(folder.join("sheet.png")).unwrap();
        assert_eq!(width, columns * 18 + 2);
    }
    let measured =
        done(&["bench-data", "photos", "--size", "16", "--batch", "4", "--seconds", "0.1", "--json"]);
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    assert!(measured["img_s"].as_f64().unwrap() > 0.0);
    let other = ["bench-data", "photos", "--batch", "4", "--seconds", "0.1", "--vs", "echo '{\"img_s\": 1}'"];
    assert!(done(&other).contains("times as fast"));

    fs::write(photos.join("red/0.png"), "no picture").unwrap();
    let ran = pyrograph(folder, &["check", "photos"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains("red/0.png") && ran.stdout.contains("23 images can be used"),
        "{}",
        ran.stdout
    );
    refused(folder, &["pack", "photos", "bad"], &["red/0.png"]);
    refused(folder, &["pack", "photos", "photos/in"], &["photos/in", "inside the images"]);
    refused(folder, &["show", "photos", "--out", "sheet.png"], &["sheet.png", "already"]);
    assert!(done(&["pack", "photos", "good", "--leave-out", "1"]).contains("1 left out"));
}

#[test]
fn images_that_cannot_be_read_are_replaced_up_to_the_share_that_is_allowed() {
    let place = place();
    let photos = photos(place.path(), 12);
    fs::write(photos.join("red/0.png"), "no picture").unwrap();
    let train = ["train", "photos", "--epochs", "1", "--batch", "4", "--out"];
    let ran = pyrograph(place.path(), &[&train[..], &["run", "--set", "data.replace_bad=0.2"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // It is in the part that is learned from, or in the one that is measured.
    let list = place.path().join("run/bad_images.txt");
    if list.exists() {
        assert!(ran.stdout.contains("1 images could not be read"), "{}", ran.stdout);
        assert!(fs::read_to_string(list).unwrap().contains("red/0.png: not an image"));
    }
    fs::write(photos.join("blue/0.png"), "no picture").unwrap();
    fs::write(photos.join("blue/1.png"), "no picture").unwrap();
    refused(
        place.path(),
        &[&train[..], &["run-2", "--set", "data.replace_bad=0.01"]].concat(),
        &["cannot be read"],
    );
}

#[test]
fn training_starts_from_the_weights_of_another_run() {
    let place = place();
    photos(place.path(), 12);
    let train = |more: &[&str]| {
        let usual = ["train", "photos", "--epochs", "2", "--batch", "4", "--lr", "0.02"];
        pyrograph(place.path(), &[&usual[..], more].concat())
    };
    assert_eq!(train(&["--out", "first"]).code, Some(0));
    // A third class: the network is the same, its head is new.
    let third = place.path().join("photos/green");
    fs::create_dir(&third).unwrap();
    for n in 0..12u8 {
        RgbImage::from_pixel(12, 10, Rgb([n, 180, 9])).save(third.join(format!("{n}.png"))).unwrap();
    }
    let frozen = ["--weights", "first", "--set", "start.freeze_epochs=2", "--out", "second"];
    let ran = train(&frozen);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("Weights from first; new: fc2.weight, fc2.bias"), "{}", ran.stdout);
    let tensors = |run: &str| {
        let path = place.path().join(run).join("best.safetensors");
        pyrograph::infer::read_weights(path).unwrap()
    };
    let (first, second) = (tensors("first"), tensors("second"));
    // What is frozen keeps every bit, running statistics, too.
    for (name, tensor) in &second {
        let kept = !name.starts_with("fc");
        assert_eq!(first.get(name) == Some(tensor), kept, "{name}");
    }
    refused(
        place.path(),
        &["train", "photos", "--model", "resnet20", "--weights", "first", "--out", "x"],
        &["first: ", "tensor `conv1.weight` is", "are these weights of a resnet20?"],
    );
    assert!(!place.path().join("x").exists());
}

#[test]
fn parts_can_be_kept_from_learning_and_activations_from_memory() {
    let place = place();
    photos(place.path(), 12);
    let train = |set: &str, out: &str| {
        let usual =
            ["train", "photos", "--size", "32", "--model", "resnet20", "--epochs", "1", "--batch", "8"];
        let ran = pyrograph(place.path(), &[&usual[..], &["--set", set, "--out", out]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        pyrograph::infer::read_weights(place.path().join(out).join("best.safetensors")).unwrap()
    };
    let (plain, again) = (train("seed=0", "plain"), train("gradient_checkpointing=true", "again"));
    assert!(plain == again, "computing activations again changes what is learned");
    let plain_weights = ["--weights", "plain", "--set", "start.freeze_epochs=1"];
    let more = ["--set", "gradient_checkpointing=true", "--epochs", "1", "--batch", "8", "--out", "more"];
    let ran = pyrograph(place.path(), &[&["train", "photos"][..], &plain_weights, &more].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("its last layer is for as many classes"), "{}", ran.stdout);
    let kept = train("start.freeze=[\"conv1\", \"layer1\"]", "kept");
    let moved = |name: &str| plain[name] != kept[name];
    assert!(moved("linear.weight") && moved("conv1.weight") && moved("layer1.0.conv1.weight"));
    let input = InputShape { channels: 3, height: 32, width: 32 };
    let new = ModelConfig::from_name("resnet20", input, 2).unwrap().init(0, &Device::flex());
    for (name, tensor) in named_tensors(&new) {
        let fixed = ["conv1.", "layer1."].iter().any(|part| name.starts_with(part)) && !name.contains("bn");
        assert!(!fixed || kept[&name] == tensor, "{name}");
    }
    refused(
        place.path(),
        &["train", "photos", "--model", "resnet20", "--set", "start.freeze=[\"stem\"]", "--out", "x"],
        &["start.freeze", "`stem`", "conv1"],
    );
    let all = "start.freeze=[\"conv1\", \"bn1\", \"layer1\", \"layer2\", \"layer3\", \"linear\"]";
    refused(
        place.path(),
        &["train", "photos", "--model", "resnet20", "--set", all, "--out", "x"],
        &["nothing to learn"],
    );
    let head = ["--weights", "plain", "--set", "start.freeze=linear", "--set", "start.freeze_epochs=1"];
    refused(place.path(), &[&["train", "photos", "--out", "x"][..], &head].concat(), &["nothing to learn"]);
    assert!(!place.path().join("x").exists());
}

#[test]
fn published_weights_are_known_by_name() {
    let place = place();
    photos(place.path(), 4);
    let listed = pyrograph(place.path(), &["models", "resnet50"]);
    assert!(listed.stdout.contains("torchvision/resnet50.v2 "), "{}", listed.stdout);
    refused(
        place.path(),
        &["convert", "gone.pth", "-o", "x"],
        &["gone.pth: no such file or folder; check the path"],
    );
    refused(
        place.path(),
        &["train", "photos", "--weights", "resnet18"],
        &["did you mean `torchvision/resnet18`"],
    );
    let unknown = ["train", "photos", "--weights", "torchvision/resnet5O", "--out", "x"];
    refused(place.path(), &unknown, &["did you mean `torchvision/resnet50`"]);
    if !cfg!(feature = "download") {
        let convert = ["convert", "timm/resnet18d", "-o", "x"];
        refused(place.path(), &convert, &["resnet18d_ra2-48a79e06.pth", "--features download"]);
    }
}

#[test]
fn a_sweep_trains_each_value_and_lists_the_runs() {
    let place = place();
    photos(place.path(), 8);
    let usual = ["train", "photos", "--model", "linear", "--epochs", "1", "--out", "sweep"];
    let curves = ["--sweep", "optim.lr=0.01,0.1", "--csv", "--tensorboard"];
    let ran = pyrograph(place.path(), &[&usual[..], &curves].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let listed = pyrograph(place.path(), &["runs", "sweep"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert_eq!(listed.stdout.lines().count(), 3);
    assert!(ran.stdout.ends_with(&listed.stdout), "{}", ran.stdout);
    for file in ["best.safetensors", "metrics.csv", "tensorboard/events.out.tfevents.0.pyrograph"] {
        assert!(place.path().join("sweep/optim.lr=0.1").join(file).is_file(), "{file}");
    }
    fs::rename(place.path().join("sweep/optim.lr=0.01"), place.path().join("sweep/<script>")).unwrap();
    let ran = pyrograph(place.path(), &["runs", "sweep", "--html", "runs.html"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let page = fs::read_to_string(place.path().join("runs.html")).unwrap();
    for part in ["<bdi>optim.lr=0.1</bdi>", "<bdi>&lt;script&gt;</bdi>", ">optim.<wbr>lr</th>", ">0.01</td>"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains(">model<"));
    refused(place.path(), &["runs", "sweep", "--html", "photos"], &["photos", ".html"]);
    fs::create_dir(place.path().join("folder.html")).unwrap();
    refused(place.path(), &["runs", "sweep", "--html", "folder.html"], &["folder.html", "not a file"]);
    // One that diverges does not keep the next from running.
    let usual = ["train", "photos", "--model", "linear", "--epochs", "9", "--out", "diverged"];
    let rates = ["--set", "data.normalize=false", "--sweep", "optim.lr=1e38,0.1"];
    let ran = pyrograph(place.path(), &[&usual[..], &rates].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 of 2 trainings failed"), "{}", ran.stderr);
    assert!(place.path().join("diverged/optim.lr=0.1/best.safetensors").is_file());
    refused(place.path(), &["train", "photos", "--sweep", "optim.lr=0.1,x", "--out", "x"], &["optim.lr=x"]);
    assert!(!place.path().join("x").exists());
    refused(place.path(), &["runs", "photos"], &["no runs"]);
}

#[test]
#[cfg(target_os = "linux")]
fn the_largest_batch_is_found_and_kept_when_a_run_goes_on() {
    let place = place();
    photos(place.path(), 40);
    let train = |more: &[&str]| {
        let usual = ["train", "photos", "--model", "mlp", "--size", "16", "--epochs", "2", "--out", "run"];
        pyrograph(place.path(), &[&usual[..], more].concat())
    };
    let ran = train(&["--batch", "auto"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // An epoch of 72 images has eight steps.
    assert!(ran.stdout.contains("Batches of 8 images, the most that fit"), "{}", ran.stdout);
    // As if it had been stopped, with another number: that of the folder counts.
    let recipe = place.path().join("run/recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("batch = 8", "batch = 4")).unwrap();
    fs::remove_file(place.path().join("run/metrics.jsonl")).unwrap();
    let ran = train(&["--batch", "auto"]);
    assert!(ran.stdout.contains("Batches of 4 images"), "{}{}", ran.stdout, ran.stderr);
    let ran = train(&["--batch", "most"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("a number of images, or auto"), "{}", ran.stderr);
    let sweep = ["train", "photos", "--batch", "auto", "--sweep", "optim.lr=0.1,0.2"];
    refused(place.path(), &sweep, &["--sweep batch="]);
}

#[test]
fn weights_of_others_become_a_model_file() {
    let place = place();
    photos(place.path(), 4);
    let fixture = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("crates/infer/src/weights/fixtures")
            .join(name)
            .display()
            .to_string()
    };
    let convert = ["convert", &fixture("whole_model.pt"), "--model", "resnet18", "-o", "x.safetensors"];
    refused(place.path(), &convert, &["torch.nn.modules.container.Sequential", "Nothing in it was run"]);
    let convert = ["convert", &fixture("zip.pt"), "--model", "resnet18", "-o", "x.safetensors"];
    refused(place.path(), &convert, &["zip.pt", "tensor `conv1.weight` is missing"]);
    refused(place.path(), &["convert", "gone.pth", "--model", "resnet18", "-o", "x"], &["gone.pth"]);
    // A model file's tensors are weights like any others.
    let trained = pyrograph(
        place.path(),
        &["train", "photos", "--epochs", "1", "--size", "32", "--model", "resnet20", "--out", "run"],
    );
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    fs::write(place.path().join("names.txt"), "blue\nred\n").unwrap();
    let run = [
        "convert",
        "run/best.safetensors",
        "--model",
        "resnet20",
        "-o",
        "x.safetensors",
        "--classes",
        "names.txt",
    ];
    let ran = pyrograph(place.path(), &run);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("2 classes"), "{}", ran.stdout);
    let predicted = pyrograph(place.path(), &["predict", "x.safetensors", "photos/red/0.png"]);
    assert_eq!(predicted.code, Some(0), "{}", predicted.stderr);
    assert!(!place.path().join("x").exists());
    refused(place.path(), &run, &["x.safetensors", "such a file already"]);
    let mut bytes_as_mean = [&run[..], &["--mean", "123.7,116.3,103.5"]].concat();
    bytes_as_mean[5] = "y.safetensors";
    refused(place.path(), &bytes_as_mean, &["--mean", "divide"]);
    #[cfg(unix)]
    {
        // What is no file, or leads elsewhere, is not replaced by one.
        let link = place.path().join("link.safetensors");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        let mut to_link = run;
        to_link[5] = "link.safetensors";
        refused(place.path(), &to_link, &["link.safetensors", "not a file"]);
        assert!(link.is_symlink());
    }
}
