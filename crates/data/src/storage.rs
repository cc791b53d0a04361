//! Where files lie: on the disks of this machine or, with the feature `object-store`, in object storage.
//!
//! An address is written where a path is: `s3://bucket/photos`, `gs://…`, `az://container/…`, `https://host/…`. A part of an object is
//! asked for as a part of a file is read, so that shards in a bucket are read in any order without being fetched whole.

#[cfg(feature = "object-store")]
mod block_cache;
#[cfg(feature = "object-store")]
mod objects;
mod options;
mod positioned;

#[cfg(feature = "object-store")]
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use options::ObjectOptions;
pub(crate) use positioned::{PositionedFile, Stream};

use crate::{Error, ErrorKind, Result};

/// Where the files of an image set lie.
#[derive(Debug, Clone)]
pub struct Storage(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Disk,
    #[cfg(feature = "object-store")]
    Objects(std::sync::Arc<objects::Objects>),
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Folder,
}

/// The names in a folder, sorted, without hidden ones and those that are no Unicode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) files: Vec<String>,
    pub(crate) folders: Vec<String>,
}

impl Storage {
    /// The disks of this machine.
    pub const DISK: Self = Self(Kind::Disk);

    /// The storage of the file or folder at `path`, a path or an address, and the path to give to whatever opens it there.
    ///
    /// Credentials and endpoints come from the environment, under the names that the tools of each provider use: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_SKIP_SIGNATURE=true` for buckets open to all,
    /// `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`. Profiles in `~/.aws` are not read:
    /// `aws configure export-credentials --format env` turns one into variables. Web servers are asked without
    /// credentials.
    ///
    /// # Errors
    ///
    /// When the address is of no known kind, a variable has a value that cannot be used, or the build lacks the feature `object-store`.
    /// Nothing is asked of the storage yet.
    pub fn of(path: impl AsRef<Path>, options: &ObjectOptions) -> Result<(Self, PathBuf)> {
        let path = path.as_ref();
        let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
            return Ok((Self::DISK, path.to_owned()));
        };
        if scheme == "file" {
            return Ok((Self::DISK, rest.into()));
        }
        Self::connect(path, options)
    }

    #[cfg(feature = "object-store")]
    fn connect(path: &Path, options: &ObjectOptions) -> Result<(Self, PathBuf)> {
        ObjectOptions::cache_gigabytes()?;
        let objects = objects::Objects::connect(path, options)?;
        Ok((Self(Kind::Objects(std::sync::Arc::new(objects))), path.to_owned()))
    }

    #[cfg(not(feature = "object-store"))]
    fn connect(path: &Path, _: &ObjectOptions) -> Result<(Self, PathBuf)> {
        let message = "this build does not read object storage; build with --features object-store";
        Err(Error::at(path, ErrorKind::Setting(message.into())))
    }

    /// Whether these are the disks of this machine.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        matches!(self.0, Kind::Disk)
    }

    /// As [`Source::fetches_at_once`](crate::Source::fetches_at_once).
    pub(crate) fn fetches_at_once(&self) -> usize {
        match &self.0 {
            Kind::Disk => 0,
            #[cfg(feature = "object-store")]
            Kind::Objects(_) => objects::FETCHES_AT_ONCE,
        }
    }

    /// Whether a file or a folder is at `path`.
    pub(crate) fn look(&self, path: &Path) -> Result<What> {
        match &self.0 {
            Kind::Disk => match fs::metadata(path) {
                Ok(found) if found.is_dir() => Ok(What::Folder),
                Ok(_) => Ok(What::File),
                Err(e) => Err(Error::at(path, missing_or(e))),
            },
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => objects.look(path),
        }
    }

    /// Whether a file is at `path`, which may have any name.
    ///
    /// # Errors
    ///
    /// When object storage does not say.
    pub(crate) fn has_file(&self, path: &Path) -> Result<bool> {
        match self.open(path) {
            Ok(_) => Ok(true),
            Err(e) if !self.is_disk() && !matches!(e.kind(), ErrorKind::Missing | ErrorKind::Setting(_)) => {
                Err(e)
            }
            Err(_) => Ok(false),
        }
    }

    /// Whether folders can be listed: web servers cannot be asked what they have.
    pub(crate) fn lists(&self) -> bool {
        match &self.0 {
            Kind::Disk => true,
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => objects.lists(),
        }
    }

    /// What is in `folder` itself, where folders can be listed.
    pub(crate) fn list(&self, folder: &Path) -> Result<Names> {
        match &self.0 {
            Kind::Disk => list_disk(folder),
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => objects.list(folder),
        }
    }

    /// The files at and below `folder`, as paths from it, in no order; `None` for disks, which are listed folder by folder. `progress` is told
    /// how many were found.
    #[cfg_attr(not(feature = "object-store"), allow(unused_variables))]
    pub(crate) fn list_below(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Option<Vec<String>>> {
        match &self.0 {
            Kind::Disk => Ok(None),
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => objects.list_below(folder, progress).map(Some),
        }
    }

    /// The file at `path`, to be read in parts.
    pub(crate) fn open(&self, path: &Path) -> Result<PositionedFile> {
        match &self.0 {
            Kind::Disk => PositionedFile::open(path),
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => Ok(PositionedFile::of_object(objects.open(path)?)),
        }
    }

    /// The whole file at `path` in `buffer`, refused if it has more than `limit` bytes.
    pub(crate) fn read(&self, path: &Path, limit: u64, buffer: &mut Vec<u8>) -> Result<(), ErrorKind> {
        match &self.0 {
            Kind::Disk => read_disk(path, limit, buffer),
            #[cfg(feature = "object-store")]
            Kind::Objects(objects) => objects.read(path, limit, buffer),
        }
    }
}

/// The file at `path` on a disk of this machine. What is no file is not opened: a pipe would wait for somebody to write into it.
pub(crate) fn open_on_disk(path: &Path) -> Result<fs::File, ErrorKind> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(ErrorKind::NotADataSet("this is no file".into()));
    }
    fs::File::open(path).map_err(missing_or)
}

fn missing_or(error: std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::Missing,
        _ => error.into(),
    }
}

fn too_large(limit: u64) -> ErrorKind {
    ErrorKind::TooLarge(format!("the file has more than {} MiB", limit >> 20))
}

fn list_disk(folder: &Path) -> Result<Names> {
    let mut found = Names::default();
    for entry in fs::read_dir(folder).map_err(|e| Error::at(folder, e))? {
        let entry = entry.map_err(|e| Error::at(folder, e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            let kind = entry.file_type().map_err(|e| Error::at(entry.path(), e))?;
            let is_folder = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            if is_folder { &mut found.folders } else { &mut found.files }.push(name);
        }
    }
    found.files.sort_unstable();
    found.folders.sort_unstable();
    Ok(found)
}

fn read_disk(path: &Path, limit: u64, buffer: &mut Vec<u8>) -> Result<(), ErrorKind> {
    buffer.clear();
    let file = open_on_disk(path)?;
    let size = file.metadata().map_err(missing_or)?.len();
    // One byte more than is expected, to see the end without growing.
    buffer.reserve_exact(size.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(buffer).map_err(missing_or)?;
    if buffer.len() as u64 > limit { Err(too_large(limit)) } else { Ok(()) }
}
