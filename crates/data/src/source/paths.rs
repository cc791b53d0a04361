//! The paths of millions of files in little memory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Files below a root: 12 bytes each and their names, one after the other; folders are held once.
pub(super) struct Paths {
    root: PathBuf,
    /// Relative to the root, or absolute.
    folders: Vec<PathBuf>,
    folder_of: Vec<u32>,
    names: Vec<u8>,
    /// Where each name ends.
    ends: Vec<u64>,
}

impl Paths {
    /// No files below `root`.
    pub(super) fn new(root: &Path) -> Self {
        let (folders, folder_of, names, ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { root: root.to_owned(), folders, folder_of, names, ends }
    }

    /// The number of a new folder, at `path` from the root.
    pub(super) fn add_folder(&mut self, path: PathBuf) -> u32 {
        self.folders.push(path);
        // Each has a path of its own in memory: four billion do not fit.
        (self.folders.len() - 1) as u32
    }

    /// Adds the file called `name` in folder `folder`.
    pub(super) fn push(&mut self, folder: u32, name: &[u8]) {
        self.folder_of.push(folder);
        self.names.extend(name);
        self.ends.push(self.names.len() as u64);
    }

    /// The number of files.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of folders.
    #[cfg(test)]
    pub(super) fn folders(&self) -> usize {
        self.folders.len()
    }

    /// What the files lie below.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The number of the folder of file `index`.
    pub(super) fn folder_of(&self, index: usize) -> u32 {
        self.folder_of[index]
    }

    /// The path of file `index` from the root.
    pub(super) fn relative(&self, index: usize) -> PathBuf {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let name = name_from_bytes(&self.names[start as usize..self.ends[index] as usize]);
        self.folders[self.folder_of[index] as usize].join(name)
    }

    /// The path of file `index`, with the root.
    pub(super) fn full(&self, index: usize) -> PathBuf {
        self.root.join(self.relative(index))
    }
}

/// The bytes that stand for a name, if there are any: on Unix its own, elsewhere those of its Unicode text.
#[cfg(unix)]
pub(super) fn name_to_bytes(name: &OsStr) -> Option<&[u8]> {
    use std::os::unix::ffi::OsStrExt;
    Some(name.as_bytes())
}

/// The name that `bytes` stand for.
#[cfg(unix)]
pub(super) fn name_from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).into()
}

/// The bytes that stand for a name, if there are any: on Unix its own, elsewhere those of its Unicode text.
#[cfg(not(unix))]
pub(super) fn name_to_bytes(name: &OsStr) -> Option<&[u8]> {
    name.to_str().map(str::as_bytes)
}

/// The name that `bytes` stand for.
#[cfg(not(unix))]
pub(super) fn name_from_bytes(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}
