//! Checkpoints: folders that are there whole or not at all.
//!
//! ```text
//! checkpoints/
//!   LATEST                  the name of the newest, for people; nothing reads it
//!   step-0000000500/
//!     manifest.json         length and SHA-256 of every other file; written last
//!     state.json            how far the run has come
//!     model.safetensors     the network, a model file like any other
//!     average.safetensors   the average of its weights, where the recipe asks for one
//!     optimizer.bpk         what the optimizer keeps of each parameter, in f32
//! ```
//!
//! A checkpoint is written into a folder whose name begins with a dot. Every file and the folder are on the disk before it gets its name,
//! and the name is on the disk before an older one goes. Reading takes the newest one in which every byte is as the manifest has it.

mod disk;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use self::disk::{Disk, Machine};
use crate::{Error, Result};

const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// More than a manifest has.
const MANIFEST_BYTES: u64 = 1 << 16;
/// The newest, and one to go back to should the newest be damaged.
const KEPT: usize = 2;
/// Before the number of the step.
const PREFIX: &str = "step-";
/// What is being written, or about to be removed. Whatever of a checkpoint begins so was left by a process that has ended.
const UNFINISHED: &str = ".";
/// What was taken out of sight, before its name.
const OLD: &str = ".old-";
/// The name of the newest.
const LATEST: &str = "LATEST";

/// A file of a checkpoint, by its name.
pub(crate) type Content = (&'static str, Vec<u8>);

/// The checkpoints of one run.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    disk: Box<dyn Disk>,
}

/// A checkpoint of which every byte was compared with its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    folder: PathBuf,
    /// The step that it is of.
    pub(crate) step: u64,
    /// What its manifest has.
    files: Vec<String>,
}

/// The newest checkpoint that is whole, and what is wrong with those that are newer.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) damaged: Vec<Error>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Checkpoints {
    /// Those in `folder`, which need not exist yet.
    pub(crate) fn new(folder: PathBuf, disk: Box<dyn Disk>) -> Self {
        Self { folder, disk }
    }

    /// Makes `files` the checkpoint of `step`. When this returns, it survives a loss of power, and all but the newest ones are gone.
    ///
    /// # Errors
    ///
    /// When the disk refuses something. What was there before is then there still.
    pub(crate) fn commit(&self, step: u64, files: &[Content]) -> Result<()> {
        let name = format!("{PREFIX}{step:010}");
        let (new, unfinished) = (self.folder.join(&name), self.folder.join(format!("{UNFINISHED}{name}")));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Checkpoint { path, source }
        };
        let disk = &self.disk;
        if !self.folder.exists() {
            let run = self.folder.parent().unwrap_or(Path::new("."));
            disk.make_folder(&self.folder).and_then(|()| disk.sync(run)).map_err(at(&self.folder))?;
        }
        self.bring_back();
        self.sweep();
        disk.make_folder(&unfinished).map_err(at(&unfinished))?;
        let mut manifest = Manifest { version: VERSION, files: Vec::new() };
        for (name, bytes) in files {
            let path = unfinished.join(name);
            disk.write(&path, bytes).and_then(|()| disk.sync(&path)).map_err(at(&path))?;
            let (name, sha256) = ((*name).to_owned(), hex(&Sha256::digest(bytes)));
            manifest.files.push(Entry { name, bytes: bytes.len() as u64, sha256 });
        }
        let path = unfinished.join(MANIFEST);
        let json = serde_json::to_vec(&manifest).map_err(io::Error::other).map_err(at(&path))?;
        disk.write(&path, &json).and_then(|()| disk.sync(&path)).map_err(at(&path))?;
        disk.sync(&unfinished).map_err(at(&unfinished))?;
        if new.exists() {
            // One of the same step that was found damaged, or left by a run on from an older one.
            self.retire(&name).map_err(at(&new))?;
        }
        disk.rename(&unfinished, &new).and_then(|()| disk.sync(&self.folder)).map_err(at(&new))?;

        // The checkpoint is safe. What fails from here on loses nothing and is tried again with the next one.
        let _ = self.point_at(&name);
        let (passed_over, others): (Vec<_>, Vec<_>) =
            self.steps()?.into_iter().partition(|(of, _)| *of > step);
        // Later ones were damaged, or the run would not have gone on from before them.
        for (_, name) in passed_over.iter().chain(others.iter().skip(KEPT)) {
            let _ = self.retire(name);
        }
        self.sweep();
        Ok(())
    }

    /// The newest checkpoint that is whole.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(crate) fn newest(&self) -> Result<Newest> {
        self.bring_back();
        let mut newest = Newest::default();
        for (step, name) in self.steps()? {
            let folder = self.folder.join(name);
            match verify(&folder) {
                Ok(files) => {
                    newest.checkpoint = Some(Checkpoint { folder, step, files });
                    break;
                }
                Err(reason) => newest.damaged.push(Error::DamagedCheckpoint { path: folder, reason }),
            }
        }
        Ok(newest)
    }

    /// Removes them all: a run that is over has no use for them. What else somebody has put into their folder stays.
    pub(crate) fn remove(&self) -> Result<()> {
        let failure = |source| Error::Checkpoint { path: self.folder.clone(), source };
        for (_, name) in self.steps()? {
            self.retire(&name).map_err(failure)?;
        }
        self.sweep();
        let _ = self.disk.remove(&self.folder.join(LATEST));
        match fs::read_dir(&self.folder).map_err(failure)?.next() {
            None => self.disk.remove(&self.folder).map_err(failure),
            Some(_) => Ok(()),
        }
    }

    /// Steps and names of finished checkpoints, the newest first.
    fn steps(&self) -> Result<Vec<(u64, String)>> {
        let failure = |source| Error::Checkpoint { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failure(error)),
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(failure)?.file_name().to_string_lossy().into_owned();
            if let Some(step) = name.strip_prefix(PREFIX).and_then(|step| step.parse::<u64>().ok()) {
                steps.push((step, name));
            }
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Takes a checkpoint out of sight, which happens at once, so that a removal that is cut short leaves no half of one.
    fn retire(&self, name: &str) -> io::Result<()> {
        let old = self.folder.join(format!("{OLD}{name}"));
        // Left by a process that was killed.
        if old.exists() {
            self.disk.remove(&old)?;
        }
        self.disk.rename(&self.folder.join(name), &old)
    }

    /// Gives a checkpoint its name again that was to make room for another of the same step, which then did not come.
    fn bring_back(&self) {
        for old in self.hidden().filter(|name| name.starts_with(OLD)) {
            let name = self.folder.join(&old[OLD.len()..]);
            if !name.exists() {
                let _ = self.disk.rename(&self.folder.join(old), &name);
            }
        }
    }

    /// Removes what was left unfinished.
    fn sweep(&self) {
        for name in self.hidden() {
            let _ = self.disk.remove(&self.folder.join(name));
        }
    }

    /// What is out of sight of checkpoints. Other hidden files are somebody's own, where the folder is a link to a place for large files.
    fn hidden(&self) -> impl Iterator<Item = String> + use<> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| {
            let is_step = |name: &str| name.starts_with(PREFIX);
            name.strip_prefix(OLD).is_some_and(is_step)
                || name.strip_prefix(UNFINISHED).is_some_and(|name| is_step(name) || name == LATEST)
        })
    }

    fn point_at(&self, name: &str) -> io::Result<()> {
        let unfinished = self.folder.join(format!("{UNFINISHED}{LATEST}"));
        self.disk.write(&unfinished, format!("{name}\n").as_bytes())?;
        self.disk.rename(&unfinished, &self.folder.join(LATEST))
    }
}

impl Checkpoint {
    /// Where one of its files is, if it has it.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        self.files.iter().any(|file| file == name).then(|| self.folder.join(name))
    }

    /// Where one of its files is.
    ///
    /// # Errors
    ///
    /// When the manifest has none of this name: then nobody has compared its bytes.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        self.find(name).ok_or_else(|| self.damaged(format!("{MANIFEST}: it has no `{name}`")))
    }

    /// The whole of one of its files.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name)?;
        fs::read(&path).map_err(|source| Error::Checkpoint { path, source })
    }

    /// What is said of it where something in it cannot be.
    pub(crate) fn damaged(&self, reason: String) -> Error {
        Error::DamagedCheckpoint { path: self.folder.clone(), reason }
    }
}

/// Puts `bytes` in the place of `path`: at every moment the file is the old or the new one.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let failure = |source| Error::Checkpoint { path: path.to_owned(), source };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failure(io::ErrorKind::InvalidInput.into()));
    };
    let unfinished = folder.join(format!("{UNFINISHED}{}", name.to_string_lossy()));
    // Left by a process that was killed.
    if unfinished.exists() {
        disk.remove(&unfinished).map_err(failure)?;
    }
    disk.write(&unfinished, bytes)
        .and_then(|()| disk.sync(&unfinished))
        .and_then(|()| disk.rename(&unfinished, path))
        .and_then(|()| disk.sync(folder))
        .map_err(failure)
}

/// The files of a checkpoint, if every byte is as the manifest has it.
fn verify(folder: &Path) -> Result<Vec<String>, String> {
    let mut json = Vec::new();
    let read = open(&folder.join(MANIFEST)).and_then(|file| file.take(MANIFEST_BYTES).read_to_end(&mut json));
    read.map_err(|e| format!("{MANIFEST}: {e}"))?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| format!("{MANIFEST}: {e}"))?;
    if manifest.version != VERSION {
        return Err(format!(
            "{MANIFEST}: version {}; this program reads version {VERSION}",
            manifest.version
        ));
    }
    for Entry { name, bytes, sha256 } in &manifest.files {
        if Path::new(name).file_name().is_none_or(|plain| plain != name.as_str()) {
            return Err(format!("{MANIFEST}: `{name}` is no name of a file"));
        }
        let path = folder.join(name);
        let unread = |e: io::Error| format!("{name}: {e}");
        let file = open(&path).map_err(unread)?;
        let length = file.metadata().map_err(unread)?.len();
        if length != *bytes {
            return Err(format!("{name}: {length} bytes, not {bytes}"));
        }
        if hash_of(file).map_err(unread)? != *sha256 {
            return Err(format!("{name}: its SHA-256 is not that of the manifest"));
        }
    }
    Ok(manifest.files.into_iter().map(|file| file.name).collect())
}

/// A file of a checkpoint. What is none, such as a pipe, is not opened: that may wait for ever.
fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() { File::open(path) } else { Err(io::Error::other("this is no file")) }
}

/// The SHA-256 of a file, in hex.
fn hash_of(mut file: File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").field("folder", &self.folder).finish_non_exhaustive()
    }
}
