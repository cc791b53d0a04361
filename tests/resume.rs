//! Runs that are stopped, killed, or run out of room, and what becomes of them.
//!
//! The long forms: `cargo test --test resume -- --ignored --nocapture`.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
#[cfg(unix)]
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use pyrograph::Model;
use pyrograph::burn::module::{Module, ModuleMapper, Param, ParamId};
use pyrograph::burn::tensor::{Device, Tensor, TensorData};
use pyrograph::model::{named_tensors, param_infos};
use pyrograph::train::{
    Callback, EpochRow, Error, Plan, Recipe, Result, RunOptions, StepEnd, StopSignal, run_plan,
};

/// Three classes of small noisy pictures.
fn photos(folder: &Path, count: u32) -> PathBuf {
    let photos = folder.join("photos");
    let mut state = 1u32;
    for (class, color) in [("red", [180, 40, 40]), ("green", [40, 180, 40]), ("blue", [40, 40, 180])] {
        fs::create_dir_all(photos.join(class)).unwrap();
        for n in 0..count {
            let picture = RgbImage::from_fn(16, 16, |_, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Rgb(color.map(|value: u8| value.wrapping_add((state >> 24) as u8 / 2)))
            });
            picture.save(photos.join(class).join(format!("{n}.png"))).unwrap();
        }
    }
    photos
}

fn recipe(photos: &Path, settings: &[(&str, &str)]) -> Recipe {
    let usual = [("model", "small_cnn"), ("batch", "8"), ("epochs", "3"), ("seed", "5"), ("augment", "flip")];
    usual.iter().chain(settings).fold(
        Recipe::default().set("data.path", photos.to_str().unwrap()).unwrap(),
        |recipe, (key, value)| recipe.set(key, value).unwrap(),
    )
}

/// What comes out of a run: its models, and its curve without the times.
#[derive(Debug, PartialEq)]
struct Leaves {
    best: Vec<u8>,
    last: Vec<u8>,
    rows: Vec<EpochRow>,
}

fn results(out: &Path) -> Leaves {
    let rows = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let rows = rows.lines().filter_map(|line| serde_json::from_str::<EpochRow>(line).ok());
    let rows = rows.map(|row| EpochRow { seconds: 0.0, images_per_second: 0.0, waiting_share: 0.0, ..row });
    let file = |name: &str| fs::read(out.join(name)).unwrap();
    Leaves { best: file("best.safetensors"), last: file("last.safetensors"), rows: rows.collect() }
}

/// Asks to stop after a step.
struct StopAfter(u64, StopSignal);

impl Callback for StopAfter {
    fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
        if step.step == self.0 {
            self.1.stop();
        }
        Ok(())
    }
}

fn options(out: &Path) -> RunOptions {
    RunOptions { device: Device::flex(), out: Some(out.to_owned()), threads: 2, ..RunOptions::default() }
}

/// Stops a run after each of its steps in turn, goes on, and compares with the run that was not stopped.
fn goes_on_bit_for_bit(name: &str, settings: &[(&str, &str)], every: usize) {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::new(&recipe(&photos(place.path(), 20), settings)).unwrap();
    let whole = place.path().join("whole");
    let mut last_step = 0;
    struct Count(std::sync::Arc<std::sync::atomic::AtomicU64>);
    impl Callback for Count {
        fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
            self.0.store(step.step, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    }
    let steps = std::sync::Arc::default();
    run_plan(&plan, &options(&whole), vec![Box::new(Count(std::sync::Arc::clone(&steps)))]).unwrap();
    last_step += steps.load(std::sync::atomic::Ordering::Relaxed);
    let expected = results(&whole);
    assert!(!whole.join("checkpoints").exists());
    assert_eq!(expected.rows.len(), 3);

    for step in (1..=last_step).step_by(every) {
        let out = place.path().join(format!("stopped-{step}"));
        let options = options(&out);
        let stopper = Box::new(StopAfter(step, options.stop.clone()));
        let error = run_plan(&plan, &options, vec![stopper]).unwrap_err();
        assert!(matches!(error, Error::Interrupted { step: at, .. } if at == step), "{error}");
        // On a different number of threads.
        let options = RunOptions { threads: 1, stop: StopSignal::default(), ..options };
        run_plan(&plan, &options, Vec::new()).unwrap();
        assert!(results(&out) == expected, "{name}: stopped after step {step} of {last_step}");
    }
}

#[test]
fn a_run_stopped_after_any_step_ends_as_if_it_had_not_been() {
    goes_on_bit_for_bit("SGD", &[], 1);
}

#[test]
fn averages_mixing_accumulation_and_every_optimizer_go_on_too() {
    let adam = [
        ("optim.kind", "adamw"),
        ("ema", "0.9"),
        ("mix.mixup", "0.2"),
        ("accumulate", "2"),
        ("dropout", "0.1"),
    ];
    goes_on_bit_for_bit("AdamW", &adam, 2);
    let lion = [("optim.kind", "lion"), ("optim.clip_norm", "1"), ("data.repeats", "3")];
    goes_on_bit_for_bit("Lion, each image three times", &lion, 5);
    goes_on_bit_for_bit("RMSprop", &[("optim.kind", "rmsprop"), ("label_smoothing", "0.1")], 5);
    goes_on_bit_for_bit("Adam", &[("optim.kind", "adam"), ("optim.clip_value", "0.1")], 5);
    let lamb = [("optim.kind", "lamb"), ("loss", "bce"), ("optim.clip_adaptive", "0.01")];
    goes_on_bit_for_bit("LAMB", &lamb, 5);
    let grows = [("model", "resnet20"), ("drop_path", "0.2"), ("data.start_size", "8")];
    goes_on_bit_for_bit("a residual network whose images grow", &grows, 6);
    let paced = [("amp", "bf16"), ("schedule_by", "epoch")];
    goes_on_bit_for_bit("products in bfloat16 and a rate for each epoch", &paced, 6);
    let plateau = [("schedule.kind", "plateau"), ("schedule.patience_epochs", "1"), ("optim.lr", "0.2")];
    goes_on_bit_for_bit("a rate that falls where accuracy does not rise", &plateau, 5);
}

#[test]
fn a_network_learns_from_a_teacher_and_goes_on_with_it() {
    let place = tempfile::tempdir().unwrap();
    let photos = photos(place.path(), 20);
    let teacher = place.path().join("teacher");
    run_plan(&Plan::new(&recipe(&photos, &[])).unwrap(), &options(&teacher), Vec::new()).unwrap();
    let teacher = teacher.to_str().unwrap();
    let taught = [("model", "mlp"), ("distill.teacher", teacher), ("distill.weight", "0.9")];
    goes_on_bit_for_bit("a pupil", &taught, 7);
    // The labels alone lead elsewhere.
    let results = |name: &str, settings: &[(&str, &str)]| {
        let out = place.path().join(name);
        run_plan(&Plan::new(&recipe(&photos, settings)).unwrap(), &options(&out), Vec::new()).unwrap();
        results(&out).last
    };
    assert!(results("taught", &taught) != results("alone", &taught[..1]));
    let refused = |settings: &[(&str, &str)]| Plan::new(&recipe(&photos, settings)).unwrap_err().to_string();
    let error = refused(&[("distill.teacher", teacher), ("data.size", "32"), ("augment", "none")]);
    assert!(error.contains("distill.teacher") && error.contains("data.size"), "{error}");
    let error = refused(&[("distill.teacher", "nowhere.safetensors")]);
    assert!(error.contains("nowhere.safetensors"), "{error}");
    std::fs::rename(photos.join("red"), photos.join("crimson")).unwrap();
    let error = refused(&[("distill.teacher", teacher)]);
    assert!(error.contains("`blue`") || error.contains("`crimson`"), "{error}");
}

/// The program, training on `photos` of `place` into `out`.
#[cfg(unix)]
fn program(place: &Path, out: &str, more: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pyrograph"));
    let usual = ["train", "photos", "--model", "small_cnn", "--batch", "4", "--epochs", "3", "--seed", "5"];
    command
        .current_dir(place)
        .args(usual)
        .args(["--threads", "2", "--device", "flex", "--out", out])
        .args(more);
    command.stdin(std::process::Stdio::null());
    command
}

/// Numbers that are as good as random, the same in every run of the test.
#[cfg(unix)]
struct Chance(u64);

#[cfg(unix)]
impl Chance {
    /// 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

/// Gives the same command again and again, each time with a process that ends as `end` wants, until one ends by itself; as often as it takes
/// to have `wanted` of them stopped. What comes out must be what comes out undisturbed.
#[cfg(unix)]
fn survives(
    name: &str,
    more: &[&str],
    wanted: usize,
    end: impl Fn(&mut std::process::Child, &Path, std::time::Duration, &mut Chance) -> bool,
) {
    let place = tempfile::tempdir().unwrap();
    photos(place.path(), 40);
    // The shortest of three: on a busy machine a process may take many times as long as it usually does.
    let undisturbed = (0..3).map(|n| {
        let started = std::time::Instant::now();
        let whole = program(place.path(), &format!("whole-{n}"), more).output().unwrap();
        assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
        started.elapsed()
    });
    let usual = undisturbed.min().unwrap();
    let expected = results(&place.path().join("whole-0"));
    let (mut stopped, mut chance) = (0, Chance(7));
    for run in 0.. {
        let out = format!("run-{run}");
        loop {
            let mut child = program(place.path(), &out, more)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let ended = stopped < wanted && end(&mut child, &place.path().join(&out), usual, &mut chance);
            let output = child.wait_with_output().unwrap();
            if ended {
                stopped += 1;
            } else {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{name}: {said}");
                break;
            }
        }
        assert!(results(&place.path().join(&out)) == expected, "{name}: {out} came out otherwise");
        fs::remove_dir_all(place.path().join(&out)).unwrap();
        if stopped >= wanted {
            break;
        }
    }
    println!("{name}: {stopped} processes were stopped, and everything came out bit for bit");
}

/// Kills at a random instant; whether it was in time.
#[cfg(unix)]
fn kill_some_time(
    child: &mut std::process::Child,
    _: &Path,
    usual: std::time::Duration,
    chance: &mut Chance,
) -> bool {
    std::thread::sleep(usual.mul_f64(0.8 * chance.share()));
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    running
}

/// Kills while a checkpoint is being written, one of the next few.
#[cfg(unix)]
fn kill_inside_a_save(
    child: &mut std::process::Child,
    out: &Path,
    usual: std::time::Duration,
    chance: &mut Chance,
) -> bool {
    std::thread::sleep(usual.mul_f64(0.5 * chance.share()));
    let unfinished = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".step-");
    while child.try_wait().unwrap().is_none() {
        let entries = fs::read_dir(out.join("checkpoints")).into_iter().flatten().flatten();
        if entries.into_iter().any(|entry| unfinished(&entry.file_name())) {
            // At another place of the save each time.
            std::thread::sleep(std::time::Duration::from_micros((2000.0 * chance.share()) as u64));
            child.kill().unwrap();
            return true;
        }
    }
    false
}

/// Waits until the process trains, if it does not end before. Until it has looked at the images a signal ends it as it does any process.
#[cfg(unix)]
fn wait_until_it_trains(child: &mut std::process::Child) -> BufReader<std::process::ChildStdout> {
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("Run folder") {
        line.clear();
        if said.read_line(&mut line).unwrap() == 0 {
            break;
        }
    }
    said
}

/// Asks to stop at a random instant; the process must say 75, and have saved every step that it has made.
#[cfg(unix)]
fn terminate(
    child: &mut std::process::Child,
    out: &Path,
    usual: std::time::Duration,
    chance: &mut Chance,
) -> bool {
    let _said = wait_until_it_trains(child);
    std::thread::sleep(usual.mul_f64(0.3 * chance.share()));
    if child.try_wait().unwrap().is_some() {
        return false;
    }
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    let code = child.wait().unwrap().code();
    // In the last moments everything is done, and there is nothing to go on from.
    assert!(code == Some(75) || code == Some(0), "{code:?}");
    if code == Some(75) {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let newest = fs::read_to_string(out.join("checkpoints/LATEST")).unwrap();
        let saved: u64 = newest.trim().strip_prefix("step-").unwrap().parse().unwrap();
        assert!(said.contains(&format!("at step {saved};")), "{saved} is saved: {said}");
    }
    code == Some(75)
}

#[test]
#[cfg(unix)]
fn a_run_killed_at_any_instant_comes_out_bit_for_bit() {
    survives("killed", &["--save-every", "3"], 20, kill_some_time);
    survives("killed inside saves", &["--save-every", "1"], 12, kill_inside_a_save);
}

#[test]
#[cfg(unix)]
#[ignore = "takes minutes: cargo test --release --test resume -- --ignored --nocapture killed_often"]
fn a_run_killed_often_comes_out_bit_for_bit() {
    survives("killed", &["--save-every", "3"], 200, kill_some_time);
    survives("killed inside saves", &["--save-every", "1"], 64, kill_inside_a_save);
}

#[test]
#[cfg(unix)]
fn a_run_that_is_asked_to_stop_says_75_and_loses_nothing() {
    survives("terminated", &["--save-every", "1000"], 10, terminate);
}

#[test]
#[cfg(unix)]
#[ignore = "takes a minute: cargo test --release --test resume -- --ignored --nocapture asked_often"]
fn a_run_that_is_asked_often_to_stop_says_75_and_loses_nothing() {
    survives("terminated", &["--save-every", "1000"], 50, terminate);
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_it_at_once_and_it_goes_on_all_the_same() {
    survives("signalled twice", &["--save-every", "3"], 3, |child, _, usual, chance| {
        let _said = wait_until_it_trains(child);
        std::thread::sleep(usual.mul_f64(0.2 * chance.share()));
        let signals = format!("kill -INT {0}; kill -INT {0}", child.id());
        std::process::Command::new("sh")
            .args(["-c", &signals])
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 75 | 130)), "{code:?}");
        code != Some(0)
    });
}

/// Files may become no larger than so many KiB, which is what a full disk looks like to a write.
#[test]
#[cfg(unix)]
fn a_full_disk_is_a_named_error_and_the_run_goes_on_once_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    photos(place.path(), 40);
    assert!(program(place.path(), "whole", &[]).output().unwrap().status.success());
    let expected = results(&place.path().join("whole"));
    let largest = expected.best.len() as u64 / 1024 + 1;
    for (n, kilobytes) in [0, 1, largest / 2, largest - 1].into_iter().enumerate() {
        let out = format!("run-{n}");
        let mut child = std::process::Command::new("bash");
        let plain = program(place.path(), &out, &[]);
        let line = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" \"$@\"");
        child.current_dir(place.path()).args(["-c", &line]).arg(plain.get_program()).args(plain.get_args());
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{kilobytes} KiB: {said}");
        assert!(said.starts_with("error: ") && said.contains(&out), "{kilobytes} KiB: {said}");
        let again = program(place.path(), &out, &[]).output().unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        assert!(results(&place.path().join(&out)) == expected, "{kilobytes} KiB");
    }
}

/// A run that was killed once it had saved something: the folder of its newest checkpoint.
#[cfg(target_os = "linux")]
fn killed_after_a_save(place: &Path, out: &str, start: impl Fn(&[&str]) -> std::process::Command) -> PathBuf {
    let mut child = start(&["--save-every", "1"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let checkpoints = place.join(out).join("checkpoints");
    let newest = || fs::read_to_string(checkpoints.join("LATEST")).unwrap_or_default().trim().to_owned();
    while newest().as_str() < "step-0000000004" {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had saved anything");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    checkpoints.join(newest())
}

#[test]
#[cfg(target_os = "linux")]
fn without_room_permission_or_memory_it_says_so_and_the_last_checkpoint_stays() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    photos(place, 40);
    // What root may do cannot be forbidden: the program runs as somebody else then, who must reach it and its folder.
    let copy = place.join("pyrograph");
    fs::copy(env!("CARGO_BIN_EXE_pyrograph"), &copy).unwrap();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(place, 0o777);
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let after = |line: &str, out: &str, more: &[&str]| {
        let mut command = std::process::Command::new("bash");
        command.current_dir(place).env("HOME", place).arg("-c").arg(format!("{line} exec \"$0\" \"$@\""));
        command.arg(&copy).args(program(place, out, more).get_args());
        if is_root {
            command.uid(65534).gid(65534);
        }
        command
    };
    assert!(after("", "whole", &[]).output().unwrap().status.success());
    let expected = results(&place.join("whole"));
    let faults = [
        ("room", "trap '' XFSZ; ulimit -f 1;", &["File too large"][..]),
        ("permission", "", &["Permission denied"]),
        // There is none for values, or none for the stack of a thread.
        ("memory", "ulimit -v 60000;", &["memory allocation", "temporarily unavailable"]),
    ];
    for (out, line, says) in faults {
        let newest = killed_after_a_save(place, out, |more| after("", out, more));
        let files = || -> Vec<Vec<u8>> {
            let mut paths: Vec<PathBuf> =
                fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            paths.iter().map(|path| fs::read(path).unwrap()).collect()
        };
        let before = files();
        let folder = newest.parent().unwrap();
        if out == "permission" {
            set_mode(folder, 0o555);
        }
        let output = after(line, out, &["--save-every", "1"]).output().unwrap();
        set_mode(folder, 0o755);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_said = says.iter().any(|says| said.contains(says));
        assert!(!output.status.success() && is_said, "{out}: {:?}, {said}", output.status);
        if out != "memory" {
            assert!(said.starts_with(&format!("error: {out}/")), "{said}");
            assert_eq!(output.status.code(), Some(1), "{said}");
        }
        assert!(files() == before, "{out}: the checkpoint is another");
        let again = after("", out, &[]).output().unwrap();
        assert!(again.status.success(), "{out}: {}", String::from_utf8_lossy(&again.stderr));
        assert!(results(&place.join(out)) == expected, "{out}");
    }
}

#[test]
#[cfg(unix)]
fn another_recipe_is_refused_and_a_run_that_is_over_is_measured_again() {
    let place = tempfile::tempdir().unwrap();
    photos(place.path(), 40);
    let first = program(place.path(), "run", &[]).output().unwrap();
    let expected = results(&place.path().join("run"));
    let other = program(place.path(), "run", &["--lr", "0.5"]).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1));
    assert!(said.contains("optim.lr: 0.05 there, 0.5 here"), "{said}");
    let fresh = program(place.path(), "run", &["--fresh"]).output().unwrap();
    assert!(String::from_utf8_lossy(&fresh.stderr).contains("not empty"));
    let again = program(place.path(), "run", &[]).output().unwrap();
    let (first, again) = (String::from_utf8(first.stdout).unwrap(), String::from_utf8(again.stdout).unwrap());
    assert!(again.contains("The run is over"), "{again}");
    let accuracy = |text: &str| {
        text.lines().find(|line| line.contains(" accuracy ") && !line.starts_with("epoch")).map(str::to_owned)
    };
    assert_eq!(accuracy(&first), accuracy(&again));
    assert!(results(&place.path().join("run")) == expected);
}

#[test]
fn a_best_model_that_is_gone_is_noticed_before_more_is_learned() {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::new(&recipe(&photos(place.path(), 20), &[])).unwrap();
    let out = place.path().join("run");
    let options = options(&out);
    // After the first epoch.
    let stopper = Box::new(StopAfter(11, options.stop.clone()));
    let error = run_plan(&plan, &options, vec![stopper]).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    let options = RunOptions { stop: StopSignal::default(), ..options };
    for harm in [&|path: &Path| fs::write(path, b"").unwrap(), &|path: &Path| fs::remove_file(path).unwrap()]
        as [&dyn Fn(&Path); 2]
    {
        harm(&out.join("best.safetensors"));
        let error = run_plan(&plan, &options, vec![Box::new(Never)]).unwrap_err();
        assert!(matches!(error, Error::BestModel { .. }), "{error}");
        assert!(
            error.to_string().contains("best.safetensors") && error.to_string().contains("--fresh"),
            "{error}"
        );
    }
    fs::copy(out.join("last.safetensors"), out.join("best.safetensors")).unwrap();
    run_plan(&plan, &options, Vec::new()).unwrap();
}

/// Fails when a step is made.
struct Never;

impl Callback for Never {
    fn step_end(&mut self, step: &StepEnd, _: &mut Model) -> Result<()> {
        panic!("step {} was made", step.step);
    }
}

/// Puts a value into the weights after some steps.
struct Poison {
    steps: std::collections::BTreeMap<u64, f32>,
}

impl Callback for Poison {
    fn step_end(&mut self, step: &StepEnd, network: &mut Model) -> Result<()> {
        let Some(value) = self.steps.remove(&step.step) else { return Ok(()) };
        let mut tensors: std::collections::BTreeMap<_, _> = named_tensors(network).into_iter().collect();
        let learned: Vec<String> =
            param_infos(network).into_iter().filter(|info| info.learned).map(|info| info.name).collect();
        let name = &learned[step.step as usize % learned.len()];
        let mut values = tensors.remove(name).unwrap().try_to_vec::<f32>().unwrap();
        let at = (7 * step.step as usize) % values.len();
        values[at] = value;
        *network = spoilt(network.clone(), name, values);
        Ok(())
    }
}

/// The network with other values in one tensor. Loading would refuse them.
fn spoilt(network: Model, name: &str, values: Vec<f32>) -> Model {
    struct Spoil(ParamId, Vec<f32>);
    impl ModuleMapper for Spoil {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if param.id != self.0 {
                return param;
            }
            let data = TensorData::new(self.1.clone(), param.dims());
            param.map(|old| Tensor::from_data(data, &old.device()).require_grad())
        }
    }
    let id = param_infos(&network).into_iter().find(|info| info.name == name).unwrap().id;
    network.map(&mut Spoil(id, values))
}

#[test]
fn weights_that_turn_bad_are_taken_back_and_the_images_are_named() {
    for (n, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle().take(20).enumerate() {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::new(&recipe(&photos(place.path(), 20), &[("epochs", "4")])).unwrap();
        let out = place.path().join("run");
        let poison = Poison { steps: [(n as u64 + 1, value)].into() };
        run_plan(&plan, &options(&out), vec![Box::new(poison)]).unwrap();
        let list = fs::read_to_string(out.join("left_out.txt")).unwrap();
        assert!(list.lines().count() >= 1, "{list}");
        assert!(list.contains("is not finite") && list.contains(".png"), "{list}");
        let result = results(&out);
        assert_eq!(result.rows.iter().map(|row| row.left_out).sum::<u64>(), list.lines().count() as u64);
        assert!(result.rows.iter().all(|row| row.train_loss.is_finite() && row.valid_loss.is_finite()));
        // Loading refuses what is not finite.
        for file in ["best.safetensors", "last.safetensors"] {
            pyrograph::ModelFile::load(out.join(file), &Device::flex()).unwrap();
        }
    }
}

#[test]
fn a_run_that_does_not_recover_ends_with_an_error() {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::new(&recipe(&photos(place.path(), 20), &[("epochs", "8")])).unwrap();
    let out = place.path().join("run");
    let poison = Poison { steps: (2..60).map(|step| (step, f32::NAN)).collect() };
    let error = run_plan(&plan, &options(&out), vec![Box::new(poison)]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(".png") && text.contains("--set optim.lr=0.005"), "{text}");
}
