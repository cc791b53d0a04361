//! What of a folder of shards is done: the file that lets the same command go on where it stopped.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Encoding, LeftOut};
use crate::shard::IndexFile;
use crate::shard::atomic::is_part;
use crate::storage::{PositionedFile, Storage};
use crate::{Error, ErrorKind, Result};

/// The name of the file: a line with the [`Plan`], then a line with a [`Finished`] for every shard that is done.
const NAME: &str = "pack.jsonl";
/// The largest such file in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Everything that decides about the bytes of the shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) version: u32,
    pub(super) name: String,
    pub(super) encoding: Encoding,
    pub(super) short_side: Option<u32>,
    pub(super) shard_bytes: u64,
    pub(super) shuffle: Option<u64>,
    /// Samples of the source.
    pub(super) samples: u64,
    /// SHA-256 of its labels, class names and file names.
    pub(super) source: String,
    pub(super) shards: u64,
}

impl Plan {
    /// The file name of shard `number`.
    pub(super) fn shard_name(&self, number: usize) -> String {
        format!("{}-{number:06}.tar", self.name)
    }

    /// The positions in the packing order that shard `number` holds.
    pub(super) fn positions(&self, number: usize) -> Range<usize> {
        let begin =
            |number: u64| (u128::from(number) * u128::from(self.samples) / u128::from(self.shards)) as usize;
        begin(number as u64)..begin(number as u64 + 1)
    }
}

/// A shard that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) shard: usize,
    pub(super) samples: u64,
    pub(super) bytes: u64,
    /// Files that were kept as they are.
    pub(super) kept: u64,
    pub(super) left_out: Vec<LeftOut>,
}

/// The journal of a folder, which this process alone may write.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    pub(super) plan: Plan,
    /// For each shard, what became of it.
    pub(super) finished: Vec<Option<Finished>>,
}

impl Journal {
    /// Takes up the journal of `folder`, or begins one. `plan` makes the plan; where there is a journal, it is given the
    /// number of shards of the plan there, which the new one must equal.
    pub(super) fn open(folder: &Path, plan: impl FnOnce(Option<u64>) -> Result<Plan>) -> Result<Self> {
        let path = folder.join(NAME);
        fs::create_dir_all(folder).map_err(|e| Error::at(folder, e))?;
        let file = lock(&path)?;
        // A journal without a whole line is one that this call, or one that was killed at once, has begun.
        let Some(mut journal) = Self::take_up(&path, &file)? else {
            return Self::begin(folder, path, file, plan);
        };
        let wanted = plan(Some(journal.plan.shards))?;
        if let Some(difference) = difference(&journal.plan, &wanted) {
            let message = format!(
                "the shards in this folder are packed otherwise: {difference}; choose another folder, or remove this one"
            );
            return Err(Error::at(folder, ErrorKind::Setting(message)));
        }
        journal.verify(folder);
        remove_parts(folder)?;
        Ok(journal)
    }

    /// A new journal, in a folder with nothing else in it.
    fn begin(
        folder: &Path,
        path: PathBuf,
        mut file: File,
        plan: impl FnOnce(Option<u64>) -> Result<Plan>,
    ) -> Result<Self> {
        let begun = refuse_others(folder).and_then(|()| plan(None)).and_then(|plan| {
            let mut line = to_line(&plan, &path)?;
            line.push(b'\n');
            let written =
                file.set_len(0).and_then(|()| file.write_all(&line)).and_then(|()| file.sync_data());
            written.map_err(|e| Error::at(&path, e))?;
            Ok(plan)
        });
        let plan = begun.inspect_err(|_| {
            // Nothing is left in a folder that is not taken.
            let _ = fs::remove_file(&path);
        })?;
        remove_parts(folder)?;
        let finished = vec![None; plan.shards as usize];
        Ok(Self { file, path, plan, finished })
    }

    /// Notes a shard that has come to its place.
    pub(super) fn finish(&mut self, finished: Finished) -> Result<()> {
        let mut line = to_line(&finished, &self.path)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|e| Error::at(&self.path, e))?;
        let shard = finished.shard;
        self.finished[shard] = Some(finished);
        Ok(())
    }

    /// Reads a journal that is there; nothing where it has no whole line.
    fn take_up(path: &Path, file: &File) -> Result<Option<Self>> {
        let at = |e| Error::at(path, e);
        let mut file = file.try_clone().map_err(at)?;
        let mut bytes = Vec::new();
        (&file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(at)?;
        let wrong = || {
            Error::at(path, ErrorKind::Corrupt("this journal cannot be read; choose another folder".into()))
        };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(wrong());
        }
        // A line that was not written to its end is one of a shard that was not finished.
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Ok(None) };
        let whole = end + 1;
        let mut lines = bytes[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let plan: Plan = lines.next().and_then(|line| serde_json::from_slice(line).ok()).ok_or_else(wrong)?;
        if plan.version != 1 || plan.shards == 0 || plan.shards > plan.samples {
            return Err(wrong());
        }
        let mut finished: Vec<Option<Finished>> = Vec::new();
        for line in lines {
            let line: Finished = serde_json::from_slice(line).map_err(|_| wrong())?;
            if line.shard as u64 >= plan.shards {
                return Err(wrong());
            }
            finished.resize(finished.len().max(line.shard + 1), None);
            let shard = line.shard;
            finished[shard] = Some(line);
        }
        file.set_len(whole as u64).map_err(at)?;
        file.seek(SeekFrom::End(0)).map_err(at)?;
        Ok(Some(Self { file, path: path.to_owned(), plan, finished }))
    }

    /// Forgets the shards that are not there as they were finished.
    fn verify(&mut self, folder: &Path) {
        self.finished.resize(self.plan.shards as usize, None);
        for (number, finished) in self.finished.iter_mut().enumerate() {
            let shard = folder.join(self.plan.shard_name(number));
            let holds = |samples: u64| -> Result<bool> {
                let index = IndexFile::open(&Storage::DISK, &shard)?;
                index.check(&shard, &PositionedFile::open(&shard)?)?;
                index.load(&mut |_| ())?;
                Ok(index.samples() == samples)
            };
            if finished.as_ref().is_some_and(|finished| !holds(finished.samples).unwrap_or(false)) {
                *finished = None;
            }
        }
    }
}

/// Opens the journal, or makes an empty one, for this process alone.
fn lock(path: &Path) -> Result<File> {
    let at = |e| Error::at(path, e);
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::at(path, ErrorKind::Setting("this is no file; choose another folder".into())));
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(at)?;
    let taken = || {
        let message = "another process packs into this folder";
        Error::at(path, ErrorKind::Setting(message.into()))
    };
    file.try_lock().map_err(|e| match e {
        TryLockError::WouldBlock => taken(),
        TryLockError::Error(e) => at(e),
    })?;
    // Another process may have removed it between opening and locking.
    if path.exists() { Ok(file) } else { Err(taken()) }
}

fn to_line(value: &impl Serialize, path: &Path) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::at(path, std::io::Error::from(e)))
}

/// The first setting in which two plans differ, for people.
fn difference(old: &Plan, new: &Plan) -> Option<String> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return None;
    };
    old.iter().find(|(key, value)| new.get(*key) != Some(value)).map(|(key, value)| match key.as_str() {
        "source" | "samples" => "they come from other images".to_owned(),
        _ => format!("{key} was {value} and is {} now", new.get(key).unwrap_or(&Value::Null)),
    })
}

/// A folder with something else in it is not written to.
fn refuse_others(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::at(folder, e))? {
        let path = entry.map_err(|e| Error::at(folder, e))?.path();
        if !is_part(&path) && path.file_name().is_none_or(|name| name != NAME) {
            let message =
                "there is something in this folder already; shards are packed into an empty or a new one";
            return Err(Error::at(path, ErrorKind::Setting(message.into())));
        }
    }
    Ok(())
}

/// Removes what a process that was killed left behind.
fn remove_parts(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::at(folder, e))? {
        let path = entry.map_err(|e| Error::at(folder, e))?.path();
        if is_part(&path) {
            fs::remove_file(&path).map_err(|e| Error::at(&path, e))?;
        }
    }
    Ok(())
}
