//! What a commit does to a disk, one operation at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The operations of a commit. [`Machine`] is the one that runs use; tests have one whose operations fail.
pub(crate) trait Disk: Send {
    /// Makes a folder in one that is there.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a new file; it is not yet safe.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Waits until a file's bytes, or the names in a folder, are on the disk.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or folder another name at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, or a folder with all that is in it.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// This machine's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine;

impl Disk for Machine {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        File::create_new(path)?.write_all(bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if cfg!(windows) {
            // There names need no more than the rename, and a file must be open for writing.
            return if path.is_dir() {
                Ok(())
            } else {
                OpenOptions::new().write(true).open(path)?.sync_all()
            };
        }
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }
}
