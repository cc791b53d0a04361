//! The program in the hands of people: commands given again, slips of the pen, and what is told of them.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyrograph"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

fn pyrograph(folder: &Path, arguments: &[&str]) -> Ran {
    let output = command(folder, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Runs and expects that it works.
#[track_caller]
fn works(folder: &Path, arguments: &[&str]) -> String {
    let ran = pyrograph(folder, arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// Runs and expects exit code 1 and an error that has every one of `parts`.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) -> String {
    let ran = pyrograph(folder, arguments);
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{arguments:?}: no `{part}` in: {}", ran.stderr);
    }
    ran.stderr
}

/// A place with two classes of small pictures in `photos`.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (class, color) in [("red", [200, 20, 20]), ("blue", [20, 20, 200])] {
        let folder = place.path().join("photos").join(class);
        fs::create_dir_all(&folder).unwrap();
        for n in 0..10 {
            let picture =
                RgbImage::from_fn(12, 10, |x, _| Rgb(color.map(|v: u8| v.wrapping_add(x as u8 + n))));
            picture.save(folder.join(format!("{n}.png"))).unwrap();
        }
    }
    place
}

/// Training that is short.
const TRAIN: [&str; 7] = ["train", "photos", "--model", "linear", "--batch", "4", "--epochs=2"];

/// [`TRAIN`] with more.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TRAIN, more].concat()
}

/// Starts a training that is long, waits until it learns, sends it a signal, or several, and tells how it ended.
#[cfg(unix)]
fn signalled(folder: &Path, mut command: Command, signal: &str) -> (Option<i32>, String) {
    let mut child =
        command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("epoch")), "no epoch was made");
    let id = child.id().to_string();
    for signal in signal.split(' ') {
        Command::new("kill").args([signal, &id]).status().unwrap();
    }
    for _ in said {}
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_closes_stops_a_run_as_a_signal_does_unless_nohup_is_asked_for() {
    let place = place();
    let long = ["train", "photos", "--model", "linear", "--batch", "4", "--threads", "1", "--out"];
    let stopped = command(place.path(), &[&long[..], &["run", "--epochs", "100000"]].concat());
    let (code, said) = signalled(place.path(), stopped, "-HUP");
    assert_eq!(code, Some(75), "{said}");
    assert!(
        said.contains("the same command goes on") && place.path().join("run/checkpoints").is_dir(),
        "{said}"
    );

    let mut kept = Command::new("sh");
    kept.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pyrograph")]);
    kept.args(long).args(["kept", "--epochs", "40"]);
    let (code, said) = signalled(place.path(), kept, "-HUP");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn fresh_writes_over_nothing_and_says_what_to_do() {
    let place = place();
    works(place.path(), &train(&["--out", "run"]));
    let metrics = || fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    let before = metrics();
    let says = ["run: ", "not empty", "another with --out", "leave --out away"];
    refused(place.path(), &train(&["--out", "run", "--fresh"]), &says);
    assert_eq!(metrics(), before);
    assert!(works(place.path(), &train(&["--fresh"])).contains("Run folder runs"));
}

#[test]
fn a_run_goes_on_however_the_path_of_its_images_is_written() {
    let place = place();
    works(place.path(), &train(&["--out", "run"]));
    let absolute = place.path().join("photos");
    for path in ["photos/", "./photos", "photos/../photos", absolute.to_str().unwrap()] {
        let again = [&["train", path], &TRAIN[2..], &["--out", "run"]].concat();
        assert!(works(place.path(), &again).contains("The run is over"), "{path}");
    }
}

#[test]
#[cfg(unix)]
fn a_stopped_sweep_goes_on_with_the_same_command() {
    let place = place();
    let long = ["train", "photos", "--model", "linear", "--batch", "4", "--threads", "1", "--epochs"];
    let sweep = [&long[..], &["200", "--sweep", "optim.lr=0.01,0.1"]].concat();
    let (code, said) = signalled(place.path(), command(place.path(), &sweep), "-TERM");
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("stopping after this step and saving; once more ends at once\n"), "{said}");
    let said = works(place.path(), &sweep);
    assert!(said.contains("Sweep folder runs/sweep-1") && said.contains("Going on from step"), "{said}");
    assert!(!place.path().join("runs/sweep-2").exists());
    // One that is over is not gone on with.
    let short = train(&["--sweep", "optim.lr=0.01,0.1"]);
    works(place.path(), &short);
    assert!(works(place.path(), &short).contains("Sweep folder runs/sweep-3"));
}

#[test]
fn a_printed_recipe_names_every_setting_and_what_a_sweep_trains() {
    let place = place();
    let settings = works(place.path(), &["train", "--print-recipe"]);
    for key in [
        "model = ",
        "epochs = ",
        "batch ",
        "accumulate = ",
        "seed = ",
        "loss = ",
        "label_smoothing = ",
        "augment = ",
        "dropout = ",
        "drop_path = ",
        "gradient_checkpointing = ",
        "amp ",
        "ema ",
        "weights = ",
        "freeze_epochs = ",
        "freeze = ",
        "teacher = ",
        "weight = ",
        "temperature = ",
        "path = ",
        "data.size ",
        "data.start_size ",
        "data.channels ",
        "normalize = ",
        "valid_fraction = ",
        "replace_bad = ",
        "repeats = ",
        "kind = ",
        "lr = ",
        "momentum = ",
        "nesterov = ",
        "betas = ",
        "eps = ",
        "weight_decay = ",
        "decay_vectors = ",
        "layer_decay = ",
        "optim.clip_norm",
        "optim.clip_value",
        "optim.clip_adaptive",
        "warmup_epochs = ",
        "schedule_by = ",
        "mixup = ",
        "cutmix = ",
        "p = ",
        "switch = ",
        "stop.accuracy",
        "stop.top5",
        "stop.loss",
        "stop.patience",
    ] {
        assert!(settings.contains(key), "no `{key}` in: {settings}");
    }
    fs::write(place.path().join("all.toml"), &settings).unwrap();
    let again = ["train", "--recipe", "all.toml", "--print-recipe", "--sweep", "optim.lr=0.1,0.2"];
    assert_eq!(
        works(place.path(), &again),
        settings + "# Trained once for each of:\n#   optim.lr=0.1\n#   optim.lr=0.2\n"
    );
    refused(place.path(), &["train", "--print-recipe", "--model", "resnt18"], &["did you mean `resnet18`"]);
    refused(place.path(), &["train", "--print-recipe", "--augment", "flipp"], &["`augment`", "flipp"]);
    refused(place.path(), &["train", "--print-recipe", "--sweep", "optim.lr=x"], &["optim.lr=x"]);
}

#[test]
fn a_sweep_is_checked_whole_before_its_first_run() {
    let place = place();
    for (sweep, part) in [
        ("model=linear,resnt18", "did you mean `resnet18`"),
        ("data.path=photos,gone", "gone: there is no such"),
        ("start.weights=,gone.pt", "gone.pt: there is no such"),
        ("optim.lr=0.1,0.1", "the same training"),
    ] {
        refused(place.path(), &["train", "photos", "--sweep", sweep], &[part]);
        assert!(!place.path().join("runs").exists(), "{sweep}");
    }
}

#[test]
fn models_of_one_seed_have_an_average_and_those_of_others_are_told_what_to_do() {
    let place = place();
    for (out, more) in [("a", &["--lr", "0.05"]), ("b", &["--lr", "0.1"]), ("c", &["--seed", "1"])] {
        works(place.path(), &train(&[&["--out", out], &more[..]].concat()));
    }
    assert!(
        works(place.path(), &["average", "a", "b", "-o", "mean.safetensors"]).contains("Average of 2 models")
    );
    refused(
        place.path(),
        &["average", "a", "c", "-o", "x.safetensors"],
        &["c: ", "the same seed", "--weights"],
    );
    for (out, more) in [("d", &["--seed", "2"]), ("e", &["--seed", "3"])] {
        works(place.path(), &train(&[&["--out", out, "--weights", "a"], &more[..]].concat()));
    }
    works(place.path(), &["average", "d", "e", "-o", "soup.safetensors"]);
}

#[test]
fn a_recipe_that_nobody_has_is_answered_with_where_they_are_listed() {
    let place = place();
    refused(place.path(), &["train", "--recipe", "nope"], &["nope", "`pyrograph recipes` lists all"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_path_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let place = place();
    let path = std::ffi::OsStr::from_bytes(b"photos\xff");
    for verb in ["train", "check", "stats", "show"] {
        let output = command(place.path(), &[verb]).arg(path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        assert!(said.contains("no UTF-8") && said.contains("photos\u{fffd}"), "{verb}: {said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_cannot_be_printed_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let place = place();
    for arguments in [&["models"][..], &["recipes", "finetune"], &["train", "--print-recipe"], &["--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(place.path(), arguments).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("output cannot be written: No space left"), "{arguments:?}: {said}");
        let piped = command(place.path(), arguments).stdout(Stdio::piped()).spawn();
        let mut piped = piped.unwrap();
        drop(piped.stdout.take());
        assert_eq!(piped.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn signals_are_heard_where_nothing_can_be_said() {
    let place = place();
    let script = "\"$@\" > out 2> /dev/full & while ! grep -q ^epoch out; do sleep 0.1; done; kill -INT $!; kill -TERM $!; wait $!";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_pyrograph")])
        .args(["train", "photos", "--epochs", "100000"]);
    let code = shell.current_dir(place.path()).status().unwrap().code();
    assert!(matches!(code, Some(75 | 130 | 143)), "{code:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_sweep_goes_on_and_fails_in_the_end_whoever_reads_what_it_says() {
    let sweep = train(&["--sweep", "batch=1000,4"]);
    let place = place();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command(place.path(), &sweep).stderr(full()).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(place.path().join("runs/sweep-1/batch=4/report.html").is_file());

    let again = [&sweep[..], &["--fresh"]].concat();
    let mut piped =
        command(place.path(), &again).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(piped.stdout.take());
    let ended = piped.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 2 trainings failed"), "{said}");

    fs::create_dir_all(place.path().join("runs/odd")).unwrap();
    fs::write(place.path().join("runs/odd/recipe.toml"), "nothing").unwrap();
    let status = command(place.path(), &["runs"]).stderr(full()).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_option_of_other_programs_is_answered_with_what_there_is() {
    let place = place();
    for (option, part) in [
        ("--resume", "the same command goes on by itself where it was stopped; '--fresh' begins anew"),
        ("--pretrained=x", "'--weights'"),
        ("--amp", "'--set amp=bf16'"),
        ("--workers", "'--threads'"),
        ("--wandb", "'--tensorboard'"),
        ("--lr-scheduler", "'--set schedule.kind=VALUE'"),
        ("--weight-decay", "'--set optim.weight_decay=VALUE'"),
        // Only slips of the pen are what is spelt alike.
        ("--epoch", "'--epochs'"),
    ] {
        let ran = pyrograph(place.path(), &["train", option]);
        assert_eq!(ran.code, Some(2), "{option}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{option}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("tip:").count(), 1, "{option}: {}", ran.stderr);
    }
}

#[test]
fn settings_that_need_each_other_are_taken_together() {
    let place = place();
    let kind = ["train", "--print-recipe", "--set", "schedule.kind=step"];
    let said = works(place.path(), &[&kind[..], &["--set", "schedule.every_epochs=3"]].concat());
    assert!(said.contains("every_epochs = 3.0"), "{said}");
    refused(
        place.path(),
        &kind,
        &["--set schedule.kind=step: `schedule.every_epochs` is missing; give it as well"],
    );
    let adamw = ["train", "--print-recipe", "--lr", "0.05", "--set", "optim.kind=adamw"];
    assert!(works(place.path(), &adamw).contains("lr = 0.05"));
}

#[test]
fn slips_of_the_pen_are_answered_with_what_to_do() {
    let place = place();
    fs::write(place.path().join("run.json"), "{\"epochs\": 3}").unwrap();
    let missing = "no such file or folder; check the path";
    for (arguments, parts) in [
        (&["train", "--set", "amp=true"][..], &["--set amp=true", "did you mean `bf16`"][..]),
        (&["train", "--recipe", "run.json"], &["run.json", "recipes are TOML"]),
        (
            &["train", "--recipe", "finetun"],
            &["no such file, and no recipe is called `finetun`", "`finetune`"],
        ),
        (&["train", "--until", "acc=0.9"], &["did you mean `accuracy`"]),
        (&["train", "--set", "distill.teacher=nosuch"], &["`distill.teacher`: nosuch: ", missing]),
        (&["train", "--weights", "nosuch"], &["nosuch: ", missing]),
        (&["train", "photos", "--set", "data.valid_fraction=0"], &["--set data.valid_fraction=0.1"]),
        (&["train", "--augment", "RandomHorizontalFlip"], &["did you mean `flip`"]),
        (&["train", "--set", "drop_rate=0.1"], &["did you mean `dropout`"]),
        (&["runs", "nosuch"], &["nosuch: no such folder; check the path"]),
        (&["predict", "nosuch", "x.png"], &["nosuch: ", missing]),
    ] {
        let said = refused(place.path(), arguments, parts);
        assert!(!said.contains("os error"), "{said}");
    }
}

#[test]
fn a_run_folder_is_a_recipe() {
    let place = place();
    works(place.path(), &train(&["--out", "run", "--lr", "0.03"]));
    let said = works(place.path(), &["train", "--recipe", "run", "--print-recipe"]);
    assert!(said.contains("lr = 0.03") && said.contains("path = \"photos\""), "{said}");
}
