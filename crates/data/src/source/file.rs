//! Reading a picture file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, ErrorKind, Limits, Result};

/// The bytes of a picture file, at most as many as [`Limits`] allow.
pub(crate) fn read_file(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    read_bytes(path, buffer).map_err(|kind| Error::at(path, kind))
}

/// [`read_file`] for a caller that has a better name for the place.
pub(super) fn read_bytes(path: &Path, buffer: &mut Vec<u8>) -> Result<(), ErrorKind> {
    let refused = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::Missing,
        _ => e.into(),
    };
    let limit = Limits::default().max_file_bytes;
    buffer.clear();
    let file = File::open(path).map_err(refused)?;
    let size = file.metadata().map_err(refused)?.len();
    // One byte more than is expected, to see the end without growing.
    buffer.reserve_exact(size.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(buffer).map_err(refused)?;
    if buffer.len() as u64 > limit {
        return Err(ErrorKind::TooLarge(format!("the file has more than {} MiB", limit >> 20)));
    }
    Ok(())
}
