//! Files that many threads read at once, each wherever it likes.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// A file without a cursor.
#[derive(Debug)]
pub(crate) struct PositionedFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl PositionedFile {
    /// Opens `path` for reading.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Opening a pipe would wait for somebody to write into it.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::at(path, ErrorKind::NotADataSet("this is no file".into())));
        }
        let file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::at(path, ErrorKind::Missing),
            _ => Error::at(path, e),
        })?;
        Ok(Self::new(file))
    }

    /// Takes an open file.
    pub(crate) fn new(file: File) -> Self {
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Self { file }
    }

    /// The length in bytes.
    #[cfg(unix)]
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The length in bytes.
    #[cfg(not(unix))]
    pub(crate) fn len(&self) -> io::Result<u64> {
        use std::sync::PoisonError;
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).metadata()?.len())
    }

    /// Fills `buffer` with the bytes from `offset` on.
    #[cfg(unix)]
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    /// Fills `buffer` with the bytes from `offset` on.
    #[cfg(not(unix))]
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        use std::sync::PoisonError;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
