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

/// Where something lies: a sample, or a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, folder or address.
    pub path: Option<PathBuf>,
    /// The record inside the file, counted from 0.
    pub record: Option<u64>,
    /// The line of the file, counted from 1.
    pub line: Option<u64>,
    /// The name of the entry inside an archive, or of the file that a list names.
    pub entry: Option<String>,
    /// Where it begins in the file, in bytes.
    pub offset: Option<u64>,
}

impl Place {
    /// The whole file, folder or address.
    #[must_use]
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// Record `record` (from 0) of the file at `path`.
    #[must_use]
    pub fn record(path: impl Into<PathBuf>, record: u64) -> Self {
        Self { record: Some(record), ..Self::path(path) }
    }

    /// Line `line` (from 1) of the file at `path`.
    #[must_use]
    pub fn line(path: impl Into<PathBuf>, line: u64) -> Self {
        Self { line: Some(line), ..Self::path(path) }
    }

    /// The entry called `entry` of the archive at `path`, which begins at byte `offset`.
    #[must_use]
    pub fn entry(path: impl Into<PathBuf>, entry: impl Into<String>, offset: u64) -> Self {
        Self { entry: Some(entry.into()), offset: Some(offset), ..Self::path(path) }
    }
}

/// A name with its control characters escaped: what a file or a class is called must not move the cursor of a terminal.
#[must_use]
pub fn printable(name: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || ('\u{202A}'..='\u{202E}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    name.chars().flat_map(|c| if hidden(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            write!(f, "{separator}{text}")?;
            separator = ": ";
            Ok(())
        };
        if let Some(path) = &self.path {
            part(f, format_args!("{}", printable(&path.display().to_string())))?;
        }
        if let Some(record) = self.record {
            part(f, format_args!("record {record}"))?;
        }
        if let Some(line) = self.line {
            part(f, format_args!("line {line}"))?;
        }
        match (&self.entry, self.offset) {
            (Some(entry), Some(offset)) => part(f, format_args!("{} at byte {offset}", printable(entry)))?,
            (Some(entry), None) => part(f, format_args!("{}", printable(entry)))?,
            (None, Some(offset)) => part(f, format_args!("byte {offset}"))?,
            (None, None) => {}
        }
        Ok(())
    }
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
    /// Nothing says what a picture shows.
    #[error(
        "the picture has no label (-1), as those of test parts whose labels are kept secret; it can be neither learned from nor measured on"
    )]
    Unlabelled,
    /// A setting that this data cannot satisfy.
    #[error("{0}")]
    Setting(String),
    /// Object storage cannot be read.
    #[error("{0}")]
    Storage(String),
    /// Object storage or a web server does not let this be read.
    #[error("{0}")]
    Refused(String),
    /// A download failed.
    #[error("{0}")]
    Download(String),
    /// A worker thread was lost.
    #[error("{0}")]
    Worker(String),
    /// A loader was asked to stop while images did not come.
    #[error("stopped as asked, while waiting for images")]
    Stopped,
}

/// The data layer's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind` at `path`.
    pub fn at(path: impl AsRef<Path>, kind: impl Into<ErrorKind>) -> Self {
        Self::in_place(Place::path(path.as_ref()), kind)
    }

    /// A failure of `kind` in record `record` (from 0) of the file at `path`.
    pub fn in_record(path: impl AsRef<Path>, record: u64, kind: impl Into<ErrorKind>) -> Self {
        Self::in_place(Place::record(path.as_ref(), record), kind)
    }

    /// A failure of `kind` that has no place.
    pub fn new(kind: impl Into<ErrorKind>) -> Self {
        Self::in_place(Place::default(), kind)
    }

    /// A failure of `kind` at `place`.
    pub fn in_place(place: Place, kind: impl Into<ErrorKind>) -> Self {
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
        if self.0.place != Place::default() {
            write!(f, "{}: ", self.0.place)?;
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
