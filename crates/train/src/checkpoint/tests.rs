//! A disk that fails, loses power and changes bits; what is left is a whole checkpoint or none.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;

/// What happens at one operation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Error(ErrorKind),
    /// A part of a file is written, then there is no room.
    ShortWrite,
    /// The process ends: no operation from here on is done.
    Abort,
}

#[derive(Debug, Clone, PartialEq)]
enum Op {
    MakeFolder(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// A disk that records what is done to it, and fails at the operation of the given number.
#[derive(Debug, Clone, Default)]
struct Faulty {
    log: Arc<Mutex<Vec<Op>>>,
    fault: Option<(usize, Fault)>,
}

impl Faulty {
    fn at(number: usize, fault: Fault) -> Self {
        Self { fault: Some((number, fault)), ..Self::default() }
    }

    fn log(&self) -> Vec<Op> {
        self.log.lock().unwrap().clone()
    }

    /// Records an operation; an error if it fails.
    fn next(&self, op: Op) -> io::Result<()> {
        let mut log = self.log.lock().unwrap();
        let number = log.len();
        log.push(op.clone());
        match self.fault {
            Some((at, Fault::Abort)) if number >= at => Err(ErrorKind::Interrupted.into()),
            Some((at, Fault::Error(kind))) if number == at => Err(kind.into()),
            Some((at, Fault::ShortWrite)) if number == at => {
                if let Op::Write(path, bytes) = op {
                    fs::write(path, &bytes[..bytes.len() / 2])?;
                }
                Err(ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl Disk for Faulty {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.next(Op::MakeFolder(path.into()))?;
        Machine.make_folder(path)
    }
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.next(Op::Write(path.into(), bytes.into()))?;
        Machine.write(path, bytes)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.next(Op::Sync(path.into()))?;
        Machine.sync(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.next(Op::Rename(from.into(), to.into()))?;
        Machine.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.next(Op::Remove(path.into()))?;
        Machine.remove(path)
    }
}

/// A small checkpoint in which every byte depends on the step.
fn content(step: u64) -> Vec<Content> {
    let bytes = |length: u64| (0..length).map(|n| (n * 7 + step) as u8).collect();
    vec![("state.json", bytes(40)), ("model.safetensors", bytes(300)), ("optimizer.bpk", bytes(200))]
}

fn checkpoints(place: &TempDir, disk: impl Disk + 'static) -> Checkpoints {
    Checkpoints::new(place.path().join("checkpoints"), Box::new(disk))
}

/// The step of the newest whole checkpoint, of which every byte is as it was written.
#[track_caller]
fn newest_step(checkpoints: &Checkpoints) -> Option<u64> {
    let checkpoint = checkpoints.newest().unwrap().checkpoint?;
    let name = checkpoint.folder.file_name().unwrap().to_str().unwrap();
    let step = name.strip_prefix(PREFIX).unwrap().parse().unwrap();
    for (name, bytes) in content(step) {
        assert_eq!(checkpoint.read(name).unwrap(), bytes, "{name} of step {step}");
    }
    Some(step)
}

/// The finished checkpoints, the newest first.
fn names(checkpoints: &Checkpoints) -> Vec<String> {
    checkpoints.steps().unwrap().into_iter().map(|(_, name)| name).collect()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn the_newest_is_read_and_two_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    assert_eq!(newest_step(&checkpoints), None);
    for step in [0, 5, 500, 12_345_678_901] {
        checkpoints.commit(step, &content(step)).unwrap();
        assert_eq!(newest_step(&checkpoints), Some(step));
    }
    assert_eq!(names(&checkpoints), ["step-12345678901", "step-0000000500"]);
    let latest = fs::read_to_string(place.path().join("checkpoints/LATEST")).unwrap();
    assert_eq!(latest, "step-12345678901\n");
    // The same step again takes the place of the first.
    checkpoints.commit(12_345_678_901, &content(12_345_678_901)).unwrap();
    assert_eq!(fs::read_dir(place.path().join("checkpoints")).unwrap().count(), 3);
    checkpoints.remove().unwrap();
    assert!(!place.path().join("checkpoints").exists());
}

#[test]
fn damaged_checkpoints_of_later_steps_do_not_push_out_a_new_one() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    checkpoints.commit(1, &content(1)).unwrap();
    for later in ["step-0000000008", "step-9999999999"] {
        fs::create_dir(place.path().join("checkpoints").join(later)).unwrap();
    }
    assert_eq!(newest_step(&checkpoints), Some(1));
    checkpoints.commit(2, &content(2)).unwrap();
    assert_eq!(names(&checkpoints), ["step-0000000002", "step-0000000001"]);
}

#[test]
fn what_else_lies_beside_checkpoints_stays() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    let folder = place.path().join("checkpoints");
    fs::create_dir_all(folder.join(".ssh")).unwrap();
    for name in [".profile", ".ssh/key", "notes"] {
        fs::write(folder.join(name), name).unwrap();
    }
    for name in [".step-0000000007", ".old-step-0000000001"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    checkpoints.commit(1, &content(1)).unwrap();
    checkpoints.commit(2, &content(2)).unwrap();
    checkpoints.remove().unwrap();
    let left = files(&folder);
    let left: Vec<_> =
        left.keys().map(|path| path.strip_prefix(&folder).unwrap().to_str().unwrap()).collect();
    assert_eq!(left, [".profile", ".ssh/key", "notes"]);
}

#[test]
fn what_a_killed_process_has_not_removed_is_in_nobodys_way() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    let old = place.path().join("checkpoints/.old-step-0000000001");
    let left = || {
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("state.json"), "of before").unwrap();
    };
    // The same step was saved twice, and the process ended before the first of the two was removed.
    checkpoints.commit(1, &content(1)).unwrap();
    left();
    checkpoints.commit(1, &content(1)).unwrap();
    assert_eq!(newest_step(&checkpoints), Some(1));
    left();
    checkpoints.remove().unwrap();
    assert!(!place.path().join("checkpoints").exists());
}

#[test]
fn a_file_that_the_manifest_has_not_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    checkpoints.commit(1, &content(1)).unwrap();
    let manifest = place.path().join("checkpoints/step-0000000001/manifest.json");
    fs::write(&manifest, r#"{"version":1,"files":[]}"#).unwrap();
    let checkpoint = checkpoints.newest().unwrap().checkpoint.unwrap();
    assert!(checkpoint.find("state.json").is_none());
    let error = checkpoint.read("state.json").unwrap_err().to_string();
    assert!(error.contains("step-0000000001") && error.contains("it has no `state.json`"), "{error}");
}

/// The operations of a commit with those of two steps there: of a third, or of the second once more.
fn third_commit(step: u64, disk: Faulty) -> (TempDir, Result<()>) {
    let place = tempfile::tempdir().unwrap();
    let healthy = checkpoints(&place, Machine);
    healthy.commit(1, &content(1)).unwrap();
    healthy.commit(2, &content(2)).unwrap();
    let result = checkpoints(&place, disk).commit(step, &content(step));
    (place, result)
}

#[test]
fn an_error_or_an_end_at_any_operation_leaves_a_whole_checkpoint() {
    [3, 2].into_iter().for_each(an_error_or_an_end_at_any_operation_of_a_commit);
}

fn an_error_or_an_end_at_any_operation_of_a_commit(third: u64) {
    let disk = Faulty::default();
    third_commit(third, disk.clone()).1.unwrap();
    let operations = disk.log().len();
    assert_eq!(operations, 16);
    let faults = [
        Fault::Error(ErrorKind::StorageFull),
        Fault::Error(ErrorKind::Other),
        Fault::Error(ErrorKind::PermissionDenied),
        Fault::ShortWrite,
        Fault::Abort,
    ];
    for number in 0..operations {
        for fault in faults {
            let (place, result) = third_commit(third, Faulty::at(number, fault));
            let healthy = checkpoints(&place, Machine);
            let step = newest_step(&healthy).unwrap();
            match result {
                Ok(()) => assert_eq!(step, third, "{fault:?} at {number}"),
                Err(error) => {
                    // Only the name of the new one may already be there.
                    assert!(step == 2 || step == third, "{fault:?} at {number}: {step}");
                    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
                    assert!(error.to_string().contains("checkpoints"), "{error}");
                }
            }
            assert!(healthy.newest().unwrap().damaged.is_empty(), "{fault:?} at {number}");
            // The one before is as it was, until the new one is safe.
            if step == 2 {
                assert!(names(&healthy).contains(&"step-0000000001".to_owned()));
            }
            // And the next one goes well, with nothing left lying about.
            healthy.commit(4, &content(4)).unwrap();
            assert_eq!(newest_step(&healthy), Some(4));
            assert_eq!(
                fs::read_dir(place.path().join("checkpoints")).unwrap().count(),
                3,
                "{fault:?} at {number}"
            );
        }
    }
}

/// What is on the disk after a loss of power, if of `done` what was not yet synced is kept or lost as `draw` says: names may be there or not,
/// and files may have any part of their bytes.
fn after_power_loss(done: &[Op], draw: &mut impl FnMut() -> u64) {
    let synced = |after: usize, path: &Path| done[after..].iter().any(|op| *op == Op::Sync(path.to_owned()));
    for (number, op) in done.iter().enumerate() {
        let parent = |path: &Path| path.parent().unwrap().to_owned();
        let name_is_kept = match op {
            Op::MakeFolder(path) | Op::Write(path, _) | Op::Remove(path) | Op::Rename(_, path) => {
                synced(number, &parent(path)) || draw().is_multiple_of(2)
            }
            Op::Sync(_) => continue,
        };
        if !name_is_kept {
            continue;
        }
        // An operation on what was itself lost does nothing.
        let _ = match op {
            Op::Write(path, bytes) => {
                let kept =
                    if synced(number, path) { bytes.len() } else { draw() as usize % (bytes.len() + 1) };
                Machine.write(path, &bytes[..kept])
            }
            Op::MakeFolder(path) => Machine.make_folder(path),
            Op::Rename(from, to) => Machine.rename(from, to),
            Op::Remove(path) => Machine.remove(path),
            Op::Sync(_) => Ok(()),
        };
    }
}

/// The same operations in another folder.
fn moved(operations: &[Op], from: &Path, to: &Path) -> Vec<Op> {
    let moved = |path: &Path| to.join(path.strip_prefix(from).unwrap());
    let moved = |op: &Op| match op {
        Op::MakeFolder(path) => Op::MakeFolder(moved(path)),
        Op::Write(path, bytes) => Op::Write(moved(path), bytes.clone()),
        Op::Sync(path) => Op::Sync(moved(path)),
        Op::Rename(from, to) => Op::Rename(moved(from), moved(to)),
        Op::Remove(path) => Op::Remove(moved(path)),
    };
    operations.iter().map(moved).collect()
}

/// Numbers that are as good as random, the same in every run of the test.
fn draws() -> impl FnMut() -> u64 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

#[test]
fn a_loss_of_power_at_any_moment_leaves_a_whole_checkpoint() {
    let mut draw = draws();
    // The operations of commits in one place, one of a step that was saved before, played again in another.
    let disk = Faulty::default();
    let first = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    for step in [1, 2, 2, 3] {
        checkpoints(&first, disk.clone()).commit(step, &content(step)).unwrap();
        ends.push((disk.log().len(), step));
    }
    for done in 0..=disk.log().len() {
        for _ in 0..8 {
            let place = tempfile::tempdir().unwrap();
            let operations = moved(&disk.log()[..done], first.path(), place.path());
            after_power_loss(&operations, &mut draw);
            // What a commit has promised is there.
            let promised = ends.iter().filter(|(end, _)| *end <= done).map(|(_, step)| *step).max();
            let promised = promised.unwrap_or_default();
            let found = newest_step(&checkpoints(&place, Machine)).unwrap_or_default();
            assert!(found >= promised, "after {done} operations: {found}, not {promised}");
        }
    }
}

#[test]
fn a_checkpoint_cut_at_any_byte_is_refused_and_the_older_one_used() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    checkpoints.commit(1, &content(1)).unwrap();
    checkpoints.commit(2, &content(2)).unwrap();
    let whole = files(&place.path().join("checkpoints/step-0000000002"));
    assert_eq!(whole.len(), 4);
    for (path, bytes) in &whole {
        for length in 0..bytes.len() {
            fs::write(path, &bytes[..length]).unwrap();
            assert_eq!(newest_step(&checkpoints), Some(1), "{} cut to {length}", path.display());
            if !path.ends_with(MANIFEST) {
                let reason = checkpoints.newest().unwrap().damaged[0].to_string();
                assert!(reason.contains(&format!(": {length} bytes, not {}", bytes.len())), "{reason}");
            }
        }
        fs::remove_file(path).unwrap();
        assert_eq!(newest_step(&checkpoints), Some(1), "{} gone", path.display());
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(newest_step(&checkpoints), Some(2));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    checkpoints.commit(1, &content(1)).unwrap();
    checkpoints.commit(2, &content(2)).unwrap();
    let whole = files(&place.path().join("checkpoints/step-0000000002"));
    let mut flipped = 0;
    for (path, bytes) in &whole {
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &damaged).unwrap();
            let newest = checkpoints.newest().unwrap();
            assert_eq!(newest.damaged.len(), 1, "bit {bit} of {}", path.display());
            let error = newest.damaged[0].to_string();
            assert!(error.contains("step-0000000002"), "{error}");
            flipped += 1;
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(flipped > 1000, "{flipped}");
}

#[test]
fn a_manifest_reaches_no_file_outside() {
    let place = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(&place, Machine);
    checkpoints.commit(1, &content(1)).unwrap();
    let manifest = place.path().join("checkpoints/step-0000000001/manifest.json");
    for name in ["../LATEST", "/etc/passwd", "..", "", "a/b"] {
        let text = format!(r#"{{"version":1,"files":[{{"name":"{name}","bytes":0,"sha256":""}}]}}"#);
        fs::write(&manifest, text).unwrap();
        let damaged = checkpoints.newest().unwrap().damaged;
        assert!(damaged[0].to_string().contains("is no name of a file"), "{}", damaged[0]);
    }
    fs::write(&manifest, vec![b'['; 1 << 20]).unwrap();
    assert_eq!(checkpoints.newest().unwrap().damaged.len(), 1);
    fs::write(&manifest, r#"{"version":2,"files":[]}"#).unwrap();
    assert!(checkpoints.newest().unwrap().damaged[0].to_string().contains("version 2"));
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("metrics.jsonl");
    let disk = Faulty::default();
    replace(&disk, &path, b"old").unwrap();
    let operations = disk.log().len();
    for number in 0..operations {
        for fault in [Fault::Error(ErrorKind::StorageFull), Fault::ShortWrite, Fault::Abort] {
            let result = replace(&Faulty::at(number, fault), &path, b"newer");
            let found = fs::read(&path).unwrap();
            assert!(found == b"old" || found == b"newer", "{fault:?} at {number}");
            assert!(result.is_err() || found == b"newer");
            replace(&Machine, &path, b"old").unwrap();
        }
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_loss_of_power_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let mut draw = draws();
    let (disk, first) = (Faulty::default(), tempfile::tempdir().unwrap());
    let contents: [&[u8]; 3] = [b"old", b"newer than old", b"newest"];
    let mut ends = Vec::new();
    for content in contents {
        replace(&disk, &first.path().join("last.safetensors"), content).unwrap();
        ends.push(disk.log().len());
    }
    for done in 0..=disk.log().len() {
        for _ in 0..32 {
            let place = tempfile::tempdir().unwrap();
            after_power_loss(&moved(&disk.log()[..done], first.path(), place.path()), &mut draw);
            let found = fs::read(place.path().join("last.safetensors")).ok();
            // What was promised is there, or what came after it.
            let promised = ends.iter().filter(|&&end| end <= done).count();
            let may_be = &contents[promised.saturating_sub(1)..];
            let is_there = found.as_ref().is_some_and(|found| may_be.contains(&found.as_slice()));
            assert!(is_there || promised == 0 && found.is_none(), "after {done} operations: {found:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn syncing_reaches_the_disk() {
    // The kernel refuses to sync what has no disk behind it, which shows that it was asked.
    assert!(Machine.sync(Path::new("/dev/null")).is_err());
    let place = tempfile::tempdir().unwrap();
    Machine.sync(place.path()).unwrap();
}
