//! What can go wrong between a path and a batch, always with the place.

use std::fmt;
use std::path::{Path, PathBuf};

/// A failure of the data layer: what, where, and what to do about it.
///
/// The message names the file (and the record inside it where there is one).
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    place: Place,
}

/// Where a failure happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file or folder.
    pub path: Option<PathBuf>,
    /// The record inside the file, counted from 0.
    pub record: Option<u64>,
}

/// The kinds of failure. Each message says what to do where the cause does not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// No such file or folder.
    #[error("no such file or folder; check the path")]
    Missing,
    /// There is nothing there that could be read as an image set.
    #[error("{0}")]
    NotADataSet(String),
    /// The bytes are no picture in a known format.
    #[error("not an image in a known format (jpeg, png, webp, bmp, gif, pnm, tiff)")]
    UnknownFormat,
    /// The picture is damaged or cut short.
    #[error("the image cannot be decoded: {0}")]
    Decode(String),
    /// The picture is larger than the limits allow.
    #[error("the image is too large: {0}")]
    TooLarge(String),
    /// A data file contradicts itself or its companion.
    #[error("{0}")]
    Corrupt(String),
    /// A class is missing, empty or alone.
    #[error("{0}")]
    Classes(String),
    /// A setting that this data cannot satisfy.
    #[error("{0}")]
    Setting(String),
    /// A download failed.
    #[error("{0}")]
    Download(String),
    /// A worker thread was lost.
    #[error("{0}")]
    Worker(String),
}

/// The data layer's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind` at `path`.
    pub fn at(path: impl AsRef<Path>, kind: impl Into<ErrorKind>) -> Self {
        Self::with_place(kind, Place { path: Some(path.as_ref().to_owned()), record: None })
    }

    /// A failure of `kind` in record `record` (from 0) of the file at `path`.
    pub fn in_record(path: impl AsRef<Path>, record: u64, kind: impl Into<ErrorKind>) -> Self {
        Self::with_place(kind, Place { path: Some(path.as_ref().to_owned()), record: Some(record) })
    }

    /// A failure of `kind` that has no place.
    pub fn new(kind: impl Into<ErrorKind>) -> Self {
        Self::with_place(kind, Place::default())
    }

    fn with_place(kind: impl Into<ErrorKind>, place: Place) -> Self {
        Self(Box::new(Inner { kind: kind.into(), place }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Where it went wrong.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.place.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(record) = self.0.place.record {
            write!(f, "record {record}: ")?;
        }
        self.0.kind.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The kind's own text is already in this message: only what lies below it is a source.
        std::error::Error::source(&self.0.kind)
    }
}
