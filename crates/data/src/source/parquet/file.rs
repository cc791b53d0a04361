//! One file, and what its footer says.

use std::path::Path;

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::ColumnDescPtr;

use super::classes::Classes;
use super::columns::Columns;
use super::labelling::{Labelling, label_pages};
use super::pages::{corrupt, guarded};
use super::pieces::{Piece, image_pieces};
use super::thrift;
use crate::storage::{PositionedFile, Storage};
use crate::{Error, ErrorKind, Result};

/// The longest footer: a few hundred bytes a row group.
pub(super) const MAX_FOOTER: usize = 16 << 20;
/// What the end of a file brings in one read.
const TAIL: u64 = 64 << 10;
const TAIL_FAR: u64 = 1 << 20;
/// The length of the footer, and what ends every file.
const END: usize = 8;
const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";

/// What there is in a file.
pub(super) struct Opened {
    pub(super) len: u64,
    pub(super) columns: Columns,
    pub(super) image: ColumnDescPtr,
    /// `first` counts from the first row of the file.
    pub(super) pieces: Vec<Piece>,
    /// Numbers in `classes`.
    pub(super) labels: Vec<u32>,
    pub(super) classes: Classes,
}

/// Says which row group and column of the file at `path` is meant.
fn in_group(path: &Path, group: usize, column: &str, kind: ErrorKind) -> Error {
    Error::at(path, named(group, column, kind))
}

/// Puts row group and column before what went wrong.
pub(super) fn named(group: usize, column: &str, kind: ErrorKind) -> ErrorKind {
    let say = |what: String| format!("row group {group}, column {column}: {what}");
    match kind {
        ErrorKind::Corrupt(what) => ErrorKind::Corrupt(say(what)),
        ErrorKind::NotADataSet(what) => ErrorKind::NotADataSet(say(what)),
        other => other,
    }
}

/// A file whose end is in memory.
pub(super) struct Window {
    file: PositionedFile,
    pub(super) len: u64,
    tail: Bytes,
}

impl Window {
    fn open(file: PositionedFile) -> Result<Self, ErrorKind> {
        let len = file.len()?;
        let tail_len = len.min(if file.is_far() { TAIL_FAR } else { TAIL });
        let mut tail = vec![0; tail_len as usize];
        file.read_exact_at(&mut tail, len - tail_len)?;
        Ok(Self { file, len, tail: tail.into() })
    }

    pub(super) fn get(&self, offset: u64, len: usize) -> Result<Bytes, ErrorKind> {
        let beyond = || corrupt("it points beyond the end of the file, which is damaged or cut short");
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len).ok_or_else(beyond)?;
        let tail_start = self.len - self.tail.len() as u64;
        if offset >= tail_start {
            return Ok(self.tail.slice((offset - tail_start) as usize..(end - tail_start) as usize));
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn footer(&self) -> Result<ParquetMetaData, ErrorKind> {
        let is_none = || {
            ErrorKind::NotADataSet(
                "this is no Parquet file, or it is cut short: it does not end as one".into(),
            )
        };
        let start = self.tail.len().checked_sub(END).ok_or_else(is_none)?;
        let (len, magic) = self.tail[start..].split_at(END - MAGIC.len());
        match magic {
            MAGIC => {}
            ENCRYPTED => {
                return Err(ErrorKind::NotADataSet("the file is encrypted, which is not read".into()));
            }
            _ => return Err(is_none()),
        }
        let len = len.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
        let offset = self.len.checked_sub((END + len) as u64);
        let offset = offset
            .ok_or_else(|| corrupt("its footer is longer than the file, which is damaged or cut short"))?;
        if len > MAX_FOOTER {
            let message = format!("its footer has {} MiB; at most {} are read", len >> 20, MAX_FOOTER >> 20);
            return Err(ErrorKind::NotADataSet(message));
        }
        let footer = self.get(offset, len)?;
        thrift::check(&footer).map_err(|what| corrupt(format!("its footer is damaged: {what}")))?;
        guarded(|| ParquetMetaDataReader::decode_metadata(&footer))
    }
}

impl Opened {
    pub(super) fn open(storage: &Storage, path: &Path) -> Result<Self> {
        let at = |kind: ErrorKind| Error::at(path, kind);
        let file = Window::open(storage.open(path)?).map_err(at)?;
        let footer = file.footer().map_err(at)?;
        let columns =
            guarded(|| Ok(Columns::of(footer.file_metadata()))).and_then(|found| found).map_err(at)?;
        let mut labels = Labelling::new(&columns);
        let mut pieces = Vec::new();
        let mut first = 0usize;
        for (number, group) in footer.row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
            // A row has a picture, and a picture some bytes: what claims more would only take memory.
            let end = first.checked_add(rows).filter(|end| *end as u64 <= file.len);
            let end = end.ok_or_else(|| {
                let message =
                    format!("row group {number} claims {} rows, more than there are bytes", group.num_rows());
                at(corrupt(message))
            })?;
            if rows > 0 {
                let found = image_pieces(&file, group, &columns, number as u32, first, rows);
                pieces.extend(found.map_err(|kind| in_group(path, number, &columns.image_name, kind))?);
                let pages = label_pages(&file, group.column(columns.label), rows);
                let read = pages.map_err(|kind| (None, kind)).and_then(|pages| labels.read(pages));
                read.map_err(|(row, kind)| match row {
                    Some(row) => Error::in_record(path, row, kind),
                    None => in_group(path, number, &columns.label_name, kind),
                })?;
            }
            first = end;
        }
        let image = footer.file_metadata().schema_descr().column(columns.image);
        let (labels, classes) = labels.finish();
        Ok(Self { len: file.len, columns, image, pieces, labels, classes })
    }
}
