//! Packing that is stopped by a failure, by force or by a full disk, and taken up again.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A source that fails to fetch after some fetches.
struct Failing<'a> {
    inner: &'a dyn Source,
    left: AtomicUsize,
}

impl Source for Failing<'_> {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let spend = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            return Err(Error::at("far/away", std::io::Error::other("the network is down")));
        }
        self.inner.fetch(index, buffer)
    }

    fn label(&self, index: usize) -> u32 {
        self.inner.label(index)
    }

    fn place(&self, index: usize) -> Place {
        self.inner.place(index)
    }

    fn class_names(&self) -> &[String] {
        self.inner.class_names()
    }
}

fn small_shards() -> PackOptions {
    PackOptions { shard_bytes: 12_000, ..PackOptions::default() }
}

#[test]
fn a_call_that_failed_is_taken_up_and_ends_with_the_same_bytes() {
    let source = Digits::new(50, 3);
    let whole = tempfile::tempdir().unwrap();
    let shards = quiet(&source, whole.path(), &small_shards()).unwrap().shards;
    for fetches in [0, 30, 77, 99] {
        let out = tempfile::tempdir().unwrap();
        let failing = Failing { inner: &source, left: AtomicUsize::new(fetches) };
        let error = quiet(&failing, out.path(), &small_shards()).unwrap_err().to_string();
        assert_eq!(error, "far/away: the network is down");
        let names: Vec<_> = contents(out.path()).into_keys().collect();
        assert!(names.iter().all(|name| !name.ends_with("part") && name != "manifest.json"), "{names:?}");
        let report = quiet(&source, out.path(), &small_shards()).unwrap();
        assert_eq!((report.shards, report.samples), (shards, 50));
        assert_eq!(report.made_before > 0, fetches > 50, "{fetches}: {report:?}");
        assert_eq!(contents(out.path()), contents(whole.path()));
        // Once more, with nothing left to do.
        let failing = Failing { inner: &source, left: AtomicUsize::new(0) };
        assert_eq!(quiet(&failing, out.path(), &small_shards()).unwrap().made_before, shards);
        assert_eq!(contents(out.path()), contents(whole.path()));
    }
}

#[test]
fn a_shard_that_was_lost_or_changed_is_made_again() {
    let source = Digits::new(50, 3);
    let out = tempfile::tempdir().unwrap();
    let report = quiet(&source, out.path(), &small_shards()).unwrap();
    let whole = contents(out.path());
    fs::remove_file(out.path().join("shard-000001.tar")).unwrap();
    fs::write(out.path().join("shard-000002.tar"), b"short").unwrap();
    fs::write(out.path().join("shard-000003.tar.idx"), b"short").unwrap();
    assert_eq!(quiet(&source, out.path(), &small_shards()).unwrap().made_before, report.shards - 3);
    let again = contents(out.path());
    for (name, bytes) in whole.iter().filter(|(name, _)| *name != "pack.jsonl") {
        assert_eq!(again.get(name), Some(bytes), "{name}");
    }
}

#[test]
fn other_options_other_images_and_other_contents_are_refused() {
    let source = Digits::new(20, 3);
    let out = tempfile::tempdir().unwrap();
    quiet(&source, out.path(), &PackOptions::default()).unwrap();
    let refused = |source: &dyn Source, options: &PackOptions| {
        let before = contents(out.path());
        let error = quiet(source, out.path(), options).unwrap_err().to_string();
        assert_eq!(contents(out.path()), before);
        error
    };
    let other = PackOptions { shuffle: Some(5), ..PackOptions::default() };
    assert!(refused(&source, &other).contains("shuffle was 0 and is 5 now"));
    assert!(refused(&Digits::new(21, 3), &PackOptions::default()).contains("they come from other images"));
    let threads = PackOptions { threads: 1, leave_out: 3, ..PackOptions::default() };
    assert!(quiet(&source, out.path(), &threads).is_ok());
    let full = folder(&[("notes.txt", b"x".to_vec())]);
    let error = quiet(&source, full.path(), &PackOptions::default()).unwrap_err().to_string();
    assert!(error.contains("notes.txt: there is something in this folder"), "{error}");

    let journal = fs::File::open(out.path().join("pack.jsonl")).unwrap();
    journal.lock().unwrap();
    assert!(refused(&source, &PackOptions::default()).contains("another process packs"));
    drop(journal);
    fs::write(out.path().join("pack.jsonl"), "nonsense\n").unwrap();
    assert!(refused(&source, &PackOptions::default()).contains("pack.jsonl: this journal cannot be read"));
}

/// Not a test of its own: what the two below run in a process that is stopped by force.
#[test]
fn packs_in_a_process_of_its_own() {
    let Some(out) = std::env::var_os("PYROGRAPH_TEST_PACK_INTO") else { return };
    let abort_at = std::env::var("PYROGRAPH_TEST_ABORT_AT").ok().and_then(|text| text.parse().ok());
    let result = pack(&Digits::new(50, 3), &out, &small_shards(), &mut |progress| {
        if Some(progress.samples_done) == abort_at {
            std::process::abort();
        }
    });
    println!("result: {}", result.unwrap_err());
}

#[cfg(unix)]
fn in_a_process(shell: &str, out: &Path, abort_at: &str) -> std::process::Output {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!(
            "{shell} exec \"$0\" --exact pack::tests::stopped::packs_in_a_process_of_its_own --nocapture"
        ),
    ]);
    command.arg(std::env::current_exe().unwrap());
    command.env("PYROGRAPH_TEST_PACK_INTO", out).env("PYROGRAPH_TEST_ABORT_AT", abort_at).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_process_that_was_killed_leaves_only_whole_shards() {
    let source = Digits::new(50, 3);
    let whole = tempfile::tempdir().unwrap();
    quiet(&source, whole.path(), &small_shards()).unwrap();
    for abort_at in ["0", "3", "23", "49"] {
        let out = tempfile::tempdir().unwrap();
        assert!(!in_a_process("ulimit -c 0;", out.path(), abort_at).status.success());
        for (name, bytes) in contents(out.path()).iter().filter(|(name, _)| name.ends_with(".tar")) {
            assert_eq!(contents(whole.path()).get(name), Some(bytes), "{name}, killed at {abort_at}");
        }
        let report = quiet(&source, out.path(), &small_shards()).unwrap();
        assert_eq!(report.made_before > 0, ["23", "49"].contains(&abort_at), "{report:?}");
        assert_eq!(contents(out.path()), contents(whole.path()), "killed at {abort_at}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_no_half_shard() {
    let source = Digits::new(50, 3);
    let whole = tempfile::tempdir().unwrap();
    quiet(&source, whole.path(), &small_shards()).unwrap();
    // A limit on the size of files stands for the disk: the system refuses the write in the same way.
    for blocks in [1, 4, 9, 16] {
        let out = tempfile::tempdir().unwrap();
        let output = in_a_process(&format!("ulimit -f {blocks}; trap '' XFSZ;"), out.path(), "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains(&format!("result: {}", out.path().display())) && text.contains("too large"),
            "{text}"
        );
        let left: Vec<_> = contents(out.path()).into_keys().collect();
        assert!(left.iter().all(|name| name == "pack.jsonl" || name.ends_with(".idx")), "{left:?}");
        quiet(&source, out.path(), &small_shards()).unwrap();
        assert_eq!(contents(out.path()), contents(whole.path()));
    }
}
