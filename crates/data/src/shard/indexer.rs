//! Indexes for shards that have none.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::index_file::{Fingerprint, IndexFile};
use super::manifest::list_shards;
use super::sample::{Scan, scan};
use super::tar::Entries;
use crate::in_order::in_order;
use crate::storage::{PositionedFile, Storage};
use crate::{Error, ErrorKind, Result};

/// Blocks are counted in 32 bits.
const MAX_SHARD: u64 = 1 << 41;
/// Bytes between two tellings of progress within a shard.
const STEP: u64 = 64 << 20;

/// How [`index`] goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexOptions {
    /// Shards read at the same time, at least 1.
    pub threads: usize,
    /// Whether a shard with something wrong in it gets an index of what is right: the samples before the place where it
    /// breaks off, without those that have no class or no picture that can be read. Otherwise it gets none.
    pub leave_out_damaged: bool,
    /// Whether shards whose index fits and is whole are read again, too.
    pub again: bool,
}

impl Default for IndexOptions {
    /// Two threads, nothing is left out, and what is indexed is not read again.
    fn default() -> Self {
        Self { threads: 2, leave_out_damaged: false, again: false }
    }
}

/// How far [`index`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// The shard that was read last.
    pub shard: PathBuf,
    /// Shards that are done.
    pub shards_done: usize,
    /// All shards.
    pub shards: usize,
    /// Samples in the shards that are done.
    pub samples: u64,
    /// Bytes that are read.
    pub bytes_done: u64,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// What [`index`] found.
#[derive(Debug, Default)]
pub struct IndexReport {
    /// Shards that have an index now.
    pub shards: usize,
    /// Those of them that had one already.
    pub unchanged: usize,
    /// Samples in these indexes.
    pub samples: u64,
    /// Entries that are never read: links, devices, names that are absolute or lead out of the archive.
    pub refused: u64,
    /// Samples without a picture.
    pub without_picture: u64,
    /// Samples with a picture that cannot be used.
    pub unusable: u64,
    /// Shards that got no index, or one with only a part of their samples.
    pub damaged: Vec<PathBuf>,
    /// What is wrong with them, each with its place; of many in one shard the first 100.
    pub failures: Vec<Error>,
}

/// What became of one shard.
struct Outcome {
    samples: u64,
    unchanged: bool,
    /// Whether it has an index.
    indexed: bool,
    scan: Scan,
}

/// Writes the index of every shard at `path`: one `.tar` file, or a folder of them, or a folder with such folders in it
/// (`train/`, `validation/`, …). Each shard is read once, and nothing but the indexes is written.
///
/// A sample is the run of entries with the same key, which is the path up to the first dot of the file name. Its picture is
/// the entry with the extension of an image; its class is in the `.cls` entry (a number or a name), in the `.json` entry
/// (under `class_name`, `class`, `label` or `cls`), or else it is the first folder of the path.
///
/// What is wrong with a shard is in the report and does not keep the others from being indexed.
///
/// # Errors
///
/// When `path` is missing or has no shards, a shard cannot be read, or an index cannot be written.
pub fn index(
    path: impl AsRef<Path>,
    options: &IndexOptions,
    progress: &mut (dyn FnMut(&IndexProgress) + Send),
) -> Result<IndexReport> {
    let path = path.as_ref();
    let shards = find_shards(path)?;
    let sizes =
        shards.iter().map(|shard| fs::metadata(shard).map(|m| m.len()).map_err(|e| Error::at(shard, e)));
    let bytes = sizes.sum::<Result<u64>>()?;
    let state = IndexProgress {
        shard: path.to_owned(),
        shards_done: 0,
        shards: shards.len(),
        samples: 0,
        bytes_done: 0,
        bytes,
    };
    let meter = Meter(Mutex::new((state, progress)));
    let mut report = IndexReport::default();
    let work = |number: usize| index_shard(&shards[number], options, &meter);
    in_order(0..shards.len(), options.threads, work, |number, outcome| {
        report.take(&shards[number], outcome);
        Ok(())
    })?;
    Ok(report)
}

/// Whoever is told of progress.
type Listener<'a> = &'a mut (dyn FnMut(&IndexProgress) + Send);

/// The progress of all threads.
struct Meter<'a>(Mutex<(IndexProgress, Listener<'a>)>);

impl Meter<'_> {
    /// Tells that `bytes` more of `shard` are read, and its samples when it is done.
    fn tell(&self, shard: &Path, bytes: u64, done: Option<u64>) {
        let mut locked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, progress) = &mut *locked;
        state.shard = shard.to_owned();
        state.bytes_done += bytes;
        state.shards_done += usize::from(done.is_some());
        state.samples += done.unwrap_or_default();
        progress(state);
    }
}

impl IndexReport {
    fn take(&mut self, shard: &Path, outcome: Outcome) {
        let Outcome { samples, unchanged, indexed, scan, .. } = outcome;
        self.shards += usize::from(indexed);
        self.unchanged += usize::from(unchanged);
        self.samples += samples;
        self.refused += scan.refused;
        self.without_picture += scan.without_picture;
        self.unusable += scan.unusable;
        if !scan.failures.is_empty() {
            self.damaged.push(shard.to_owned());
        }
        self.failures.extend(scan.failures);
    }
}

/// The shards at `path` or one folder below it.
fn find_shards(path: &Path) -> Result<Vec<PathBuf>> {
    let metadata = fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::at(path, ErrorKind::Missing),
        _ => Error::at(path, e),
    })?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = list_shards(&Storage::DISK, path)?;
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| Error::at(path, e))? {
        let entry = entry.map_err(|e| Error::at(path, e))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable();
    for folder in folders {
        found.extend(list_shards(&Storage::DISK, &folder)?);
    }
    if found.is_empty() {
        return Err(Error::at(path, ErrorKind::NotADataSet("there are no .tar files in it".into())));
    }
    Ok(found)
}

fn index_shard(shard: &Path, options: &IndexOptions, meter: &Meter<'_>) -> Result<Outcome> {
    let at = |e| Error::at(shard, e);
    let tar = PositionedFile::open(shard)?;
    let fingerprint = Fingerprint::of(&tar).map_err(at)?;
    if fingerprint.len > MAX_SHARD {
        let message = "a shard of more than 2 TiB; make smaller ones (1 GiB or less)";
        return Err(Error::at(shard, ErrorKind::TooLarge(message.into())));
    }
    if !options.again
        && let Ok(known) = IndexFile::open(&Storage::DISK, shard)
        && !known.partial()
        && known.check(shard, &tar).is_ok()
        && known.load(&mut |_| ()).is_ok()
    {
        meter.tell(shard, fingerprint.len, Some(known.samples()));
        return Ok(Outcome {
            samples: known.samples(),
            unchanged: true,
            indexed: true,
            scan: Scan::default(),
        });
    }
    let file = File::open(shard).map_err(at)?;
    let mut told = 0;
    let mut scan = scan(&mut Entries::new(file, shard, fingerprint.len), &mut |read| {
        if read - told >= STEP {
            meter.tell(shard, read - told, None);
            told = read;
        }
    });
    // A shard that is written to while it is read would get an index that fits nothing.
    if Fingerprint::of(&tar).map_err(at)? != fingerprint {
        let message = "the shard changed while it was read; run `pyrograph index` again when it is whole";
        return Err(Error::at(shard, ErrorKind::Corrupt(message.into())));
    }
    // Of the index itself nothing is needed any longer once it is written.
    let mut index = std::mem::take(&mut scan.index);
    index.partial = !scan.failures.is_empty();
    let indexed = !index.partial || options.leave_out_damaged;
    let samples = if indexed { index.records.len() as u64 } else { 0 };
    if indexed {
        index.write(shard, &fingerprint)?;
    }
    meter.tell(shard, fingerprint.len - told, Some(samples));
    Ok(Outcome { samples, unchanged: false, indexed, scan })
}
