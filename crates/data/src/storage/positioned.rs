//! Files that many threads read at once, each wherever it likes.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::{Error, Result};

/// A file without a cursor.
#[derive(Debug)]
pub(crate) struct PositionedFile(Inner);

#[derive(Debug)]
enum Inner {
    #[cfg(unix)]
    Disk(File),
    #[cfg(not(unix))]
    Disk(std::sync::Mutex<File>),
    #[cfg(feature = "object-store")]
    Object(super::objects::Object),
}

impl PositionedFile {
    /// Opens the file at `path` on a disk for reading.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        super::open_on_disk(path).map(Self::new).map_err(|kind| Error::at(path, kind))
    }

    /// Takes an open file.
    pub(crate) fn new(file: File) -> Self {
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Self(Inner::Disk(file))
    }

    #[cfg(feature = "object-store")]
    pub(super) fn of_object(object: super::objects::Object) -> Self {
        Self(Inner::Object(object))
    }

    /// Whether a read takes long enough that the fewest possible are made.
    pub(crate) fn is_far(&self) -> bool {
        !matches!(self.0, Inner::Disk(_))
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match &self.0 {
            #[cfg(unix)]
            Inner::Disk(file) => Ok(file.metadata()?.len()),
            #[cfg(not(unix))]
            Inner::Disk(file) => Ok(lock(file).metadata()?.len()),
            #[cfg(feature = "object-store")]
            Inner::Object(object) => Ok(object.len()),
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            #[cfg(unix)]
            Inner::Disk(file) => std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset),
            #[cfg(not(unix))]
            Inner::Disk(file) => {
                use std::io::{Read, Seek, SeekFrom};
                let mut file = lock(file);
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(buffer)
            }
            #[cfg(feature = "object-store")]
            Inner::Object(object) => object.read_exact_at(buffer, offset),
        }
    }
}

/// A file from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Stream {
    file: PositionedFile,
    at: u64,
}

impl Stream {
    pub(crate) fn new(file: PositionedFile) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.len()?.saturating_sub(self.at);
        let count = left.min(buffer.len() as u64) as usize;
        self.file.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(not(unix))]
fn lock(file: &std::sync::Mutex<File>) -> std::sync::MutexGuard<'_, File> {
    file.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
