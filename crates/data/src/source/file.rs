//! Reading a picture file.

use std::path::Path;

use crate::storage::Storage;
use crate::{Error, ErrorKind, Limits, Result};

/// The bytes of a picture file, at most as many as [`Limits`] allow.
pub(crate) fn read_file(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    read_bytes(path, buffer).map_err(|kind| Error::at(path, kind))
}

/// [`read_file`] for a caller that has a better name for the place.
pub(super) fn read_bytes(path: &Path, buffer: &mut Vec<u8>) -> Result<(), ErrorKind> {
    Storage::DISK.read(path, Limits::default().max_file_bytes, buffer)
}
