//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What a file is called until it is whole.
const PART: &str = "part";

/// Whether a file is one that an [`AtomicFile`] of a shard, an index, a manifest or a journal left behind: `NAME.EXTENSION.PROCESS.part`.
pub(crate) fn is_part(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let mut ends = name.rsplit('.');
    ends.next() == Some(PART)
        && ends.next().is_some_and(|process| process.parse::<u32>().is_ok())
        && matches!(ends.next(), Some("tar" | "idx" | "json" | "jsonl"))
}

/// A file under a name of its own, which takes its place when it is [committed](AtomicFile::commit), and is removed when it
/// is not.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    part: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins the file that will be `target`. Two processes that write the same file do not get in each other's way.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let mut part = target.as_os_str().to_owned();
        part.push(format!(".{}.{PART}", std::process::id()));
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&part).map_err(|e| Error::at(&part, e))?;
        Ok(Self { file, part, target: target.to_owned(), committed: false })
    }

    /// The file itself, which can be read, too.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// A failure of the operating system, at this file.
    pub(crate) fn failed(&self, error: io::Error) -> Error {
        Error::at(&self.part, error)
    }

    /// Brings the bytes to the disk, then the file to its place.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failed(e))?;
        fs::rename(&self.part, &self.target).map_err(|e| Error::at(&self.target, e))?;
        self.committed = true;
        sync_folder(&self.target)
    }

    /// Writes `bytes` as the file `target`.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = Self::create(target)?;
        file.write_all(bytes).map_err(|e| file.failed(e))?;
        file.commit()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Whoever gave up on it has an error of their own to tell.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Brings the name of `file` to the disk.
#[cfg(unix)]
fn sync_folder(file: &Path) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::at(folder, e))
}

/// Folders cannot be opened here; the file system looks after names itself.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("list.json");
        AtomicFile::write(&target, b"old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"half of the n").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(is_part(Path::new("a/shard-000000.tar.idx.71.part")) && is_part(Path::new("s.tar.9.part")));
        for other in ["thesis.pdf.part", "s.tar.part", "s.tar.x.part", "9.part", "part"] {
            assert!(!is_part(Path::new(other)), "{other}");
        }
        AtomicFile::write(&target, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }
}
