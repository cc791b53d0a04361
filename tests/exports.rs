//! The curves of a run in files for other programs: read back, and the same whether the run was stopped or not.
//!
//! With a Python that has tensorboard, `python3` or what `PYROGRAPH_PYTHON` names, TensorBoard reads its file, too; elsewhere the test says so
//! and passes.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use pyrograph::Model;
use pyrograph::burn::tensor::Device;
use pyrograph::train::{
    Callback, EpochRow, Error, Plan, Recipe, Result, RunOptions, StepEnd, StopSignal, run_plan,
};

const EPOCHS: usize = 3;
/// Values that depend on how fast the machine is.
const TIMES: [&str; 3] = ["seconds", "images_per_second", "waiting_share"];

fn plan(folder: &Path) -> Plan {
    let photos = folder.join("photos");
    for (class, color) in [("red", [200, 20, 20]), ("blue", [20, 20, 200])] {
        fs::create_dir_all(photos.join(class)).unwrap();
        for n in 0..16u8 {
            let picture =
                RgbImage::from_fn(12, 12, |x, _| Rgb(color.map(|v: u8| v.wrapping_add(x as u8 * n))));
            picture.save(photos.join(class).join(format!("{n}.png"))).unwrap();
        }
    }
    let settings =
        [("model", "small_cnn"), ("batch", "8"), ("seed", "5"), ("data.path", photos.to_str().unwrap())];
    let recipe = Recipe { epochs: EPOCHS, ..Recipe::default() };
    Plan::new(&settings.iter().fold(recipe, |recipe, (key, value)| recipe.set(key, value).unwrap())).unwrap()
}

fn options(out: &Path) -> RunOptions {
    let (csv, tensorboard) = (true, true);
    RunOptions {
        device: Device::flex(),
        out: Some(out.into()),
        threads: 2,
        csv,
        tensorboard,
        ..RunOptions::default()
    }
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

/// A point of a curve.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    tag: String,
    step: u64,
    wall_time: f64,
    value: f32,
}

/// CRC-32C, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

/// A field of a message.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Value<'_>>> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found: BTreeMap<u64, Vec<Value<'_>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => 0,
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("no field is written in the form {other}"),
        };
        let value =
            if key & 7 == 0 { Value::Number(varint(&mut bytes)) } else { Value::Bytes(&bytes[..length]) };
        bytes = &bytes[length..];
        found.entry(key >> 3).or_default().push(value);
    }
    found
}

/// The points of an event file, every checksum compared.
fn points(path: &Path) -> Vec<Point> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[..];
    let mut next = |length: usize| {
        let (data, after) = rest.split_at(length);
        let (crc, after) = after.split_at(4);
        rest = after;
        let crc = u32::from_le_bytes(crc.try_into().unwrap());
        assert_eq!(crc, crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8));
        (data, after.is_empty())
    };
    let (mut points, mut version) = (Vec::new(), false);
    loop {
        let length = u64::from_le_bytes(next(8).0.try_into().unwrap());
        let (event, last) = next(length as usize);
        let event = fields(event);
        let text = |value: &Value<'_>| match value {
            Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Value::Number(_) => panic!("no text"),
        };
        if let Some(said) = event.get(&3) {
            assert_eq!((text(&said[0]).as_str(), points.len()), ("brain.Event:2", 0));
            version = true;
        }
        let (Some([Value::Bytes(wall_time)]), step) = (event.get(&1).map(Vec::as_slice), event.get(&2))
        else {
            panic!("an event without a time");
        };
        for summary in event.get(&5).into_iter().flatten() {
            let (Value::Bytes(summary), Some([Value::Number(step)])) = (summary, step.map(Vec::as_slice))
            else {
                panic!("an event without a step");
            };
            for scalar in fields(summary).remove(&1).unwrap() {
                let Value::Bytes(scalar) = scalar else { panic!("no message") };
                let scalar = fields(scalar);
                let Value::Bytes(value) = scalar[&2][0] else { panic!("no float") };
                points.push(Point {
                    tag: text(&scalar[&1][0]),
                    step: *step,
                    wall_time: f64::from_le_bytes((*wall_time).try_into().unwrap()),
                    value: f32::from_le_bytes(value.try_into().unwrap()),
                });
            }
        }
        if last {
            assert!(version);
            return points;
        }
    }
}

fn events(out: &Path) -> Vec<Point> {
    points(&out.join("tensorboard/events.out.tfevents.0.pyrograph"))
}

/// The table as a map for each line.
fn table(out: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(out.join("metrics.csv")).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    let names: Vec<&str> = head.split(',').collect();
    let line = |line: &str| {
        let values: Vec<&str> = line.split(',').collect();
        assert_eq!(values.len(), names.len());
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
    };
    lines.lines().map(line).collect()
}

fn rows(out: &Path) -> Vec<EpochRow> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A tag, and where its value is in a row.
type Scalar = (&'static str, fn(&EpochRow) -> f64);

/// Both files say what `metrics.jsonl` says, all of it and once.
fn agree(out: &Path) {
    let (rows, points) = (rows(out), events(out));
    assert_eq!(rows.len(), EPOCHS);
    let scalars: [Scalar; 8] = [
        ("loss/train", |row| row.train_loss),
        ("loss/valid", |row| row.valid_loss),
        ("accuracy/train", |row| row.train_accuracy),
        ("accuracy/valid", |row| row.valid_accuracy),
        ("top5/valid", |row| row.valid_top5),
        ("learning_rate", |row| row.learning_rate),
        ("images_per_second", |row| row.images_per_second),
        ("waiting_share", |row| row.waiting_share),
    ];
    let began = fs::metadata(out.join("recipe.toml")).unwrap().modified().unwrap();
    let mut time = began.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let mut expected = Vec::new();
    for row in &rows {
        time += row.seconds;
        for (tag, value) in scalars {
            let (tag, step, value) = (tag.to_owned(), row.epoch as u64, value(row) as f32);
            expected.push(Point { tag, step, wall_time: time, value });
        }
    }
    let timeless =
        |points: &[Point]| points.iter().map(|p| Point { wall_time: 0.0, ..p.clone() }).collect::<Vec<_>>();
    assert_eq!(timeless(&points), timeless(&expected));
    assert!(points.iter().zip(&expected).all(|(a, b)| (a.wall_time - b.wall_time).abs() < 1e-3));

    let json = rows.iter().map(|row| serde_json::to_value(row).unwrap());
    for (line, row) in table(out).iter().zip(json) {
        for (name, value) in line {
            assert_eq!(value.parse::<f64>().unwrap(), row[name].as_f64().unwrap(), "{name}");
        }
    }
    assert_eq!(table(out).len(), EPOCHS);
}

/// Tags, steps and values, and the lines of the table.
type Timeless = (Vec<(String, u64, f32)>, Vec<BTreeMap<String, String>>);

/// What does not depend on how fast the machine is.
fn without_times(out: &Path) -> Timeless {
    let points = events(out).into_iter().filter(|point| !TIMES.contains(&point.tag.as_str()));
    let mut table = table(out);
    table.iter_mut().for_each(|line| line.retain(|name, _| !TIMES.contains(&name.as_str())));
    (points.map(|point| (point.tag, point.step, point.value)).collect(), table)
}

#[test]
fn curves_of_a_stopped_run_are_those_of_one_that_was_not() {
    let place = tempfile::tempdir().unwrap();
    let plan = plan(place.path());
    let whole = place.path().join("whole");
    run_plan(&plan, &options(&whole), Vec::new()).unwrap();
    agree(&whole);
    for step in 1..9 {
        let out = place.path().join(format!("stopped-{step}"));
        let stopping = options(&out);
        let stopper = Box::new(StopAfter(step, stopping.stop.clone()));
        let stopped = run_plan(&plan, &stopping, vec![stopper]);
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "step {step}");
        let events = out.join("tensorboard/events.out.tfevents.0.pyrograph");
        match step % 3 {
            // A process that was killed while it wrote leaves a part of a record,
            0 => fs::write(&events, [&fs::read(&events).unwrap()[..], &[7; 5]].concat()).unwrap(),
            // or less than that,
            1 => fs::write(&events, &fs::read(&events).unwrap()[..20]).unwrap(),
            // or an epoch that is not in the checkpoint.
            _ => drop(fs::copy(whole.join("tensorboard/events.out.tfevents.0.pyrograph"), &events).unwrap()),
        }
        run_plan(&plan, &options(&out), Vec::new()).unwrap();
        agree(&out);
        assert_eq!(without_times(&out), without_times(&whole), "stopped after step {step}");
    }
}

#[test]
fn a_run_that_is_over_gets_the_files_that_are_asked_for_later() {
    let place = tempfile::tempdir().unwrap();
    let (plan, out) = (plan(place.path()), place.path().join("run"));
    run_plan(&plan, &RunOptions { csv: false, tensorboard: false, ..options(&out) }, Vec::new()).unwrap();
    assert!(!out.join("metrics.csv").exists() && !out.join("tensorboard").exists());
    run_plan(&plan, &options(&out), Vec::new()).unwrap();
    agree(&out);
}

#[test]
fn files_that_a_run_has_are_kept_up_when_it_goes_on_unasked() {
    let place = tempfile::tempdir().unwrap();
    let (plan, out) = (plan(place.path()), place.path().join("run"));
    let stopping = options(&out);
    let stopper = Box::new(StopAfter(5, stopping.stop.clone()));
    assert!(run_plan(&plan, &stopping, vec![stopper]).is_err());
    run_plan(&plan, &RunOptions { csv: false, tensorboard: false, ..options(&out) }, Vec::new()).unwrap();
    agree(&out);
}

const READER: &str = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in events.Tags()['scalars']:
    for point in events.Scalars(tag):
        print(tag, point.step, repr(point.wall_time), repr(point.value))
";

#[test]
fn tensorboard_reads_its_file() {
    let python = std::env::var("PYROGRAPH_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no tensorboard");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    run_plan(&plan(place.path()), &options(&out), Vec::new()).unwrap();
    let output = Command::new(&python).args(["-c", READER]).arg(out.join("tensorboard")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut theirs: Vec<Point> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            Point {
                tag: parts[0].into(),
                step: parts[1].parse().unwrap(),
                wall_time: parts[2].parse().unwrap(),
                value: parts[3].parse::<f64>().unwrap() as f32,
            }
        })
        .collect();
    let mut ours = events(&out);
    for points in [&mut theirs, &mut ours] {
        points.sort_by(|a, b| (&a.tag, a.step).cmp(&(&b.tag, b.step)));
    }
    assert_eq!(ours.len(), 8 * EPOCHS);
    assert_eq!(theirs, ours);
}
