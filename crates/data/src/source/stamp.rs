//! Which folder it is, and when it changed last.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a folder looks like from outside. It is another after a file or folder in it was added, removed or renamed, or
/// after another folder took its place; not after the contents of a file in it changed.
///
/// On Unix the time of the last change of the entry itself is part of it. Nothing can set that back, not even a tool
/// that restores modification times, as `tar` and `rsync` do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of its entries, in nanoseconds since 1970.
    pub(super) modified: i64,
    /// Of the folder itself (elsewhere than on Unix: its creation), in nanoseconds since 1970.
    pub(super) changed: i64,
    /// Its number in the file system; 0 where there is none.
    pub(super) number: u64,
}

impl Stamp {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            number: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = |time: std::io::Result<SystemTime>| time.map_or(0, since_1970);
        Self { modified: time(metadata.modified()), changed: time(metadata.created()), number: 0 }
    }

    /// Whether the last change lies so long before `time` that a later one would have another stamp.
    pub(super) fn is_older_than(&self, time: SystemTime, by: Duration) -> bool {
        let newest = if cfg!(unix) { self.changed } else { self.modified };
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        newest < since_1970(time).saturating_sub(by)
    }
}

/// In nanoseconds.
fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The same for every path and link to a folder, and another for every other folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] std::path::PathBuf);

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(_: &std::path::Path, metadata: &Metadata) -> crate::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        Ok(Self((metadata.dev(), metadata.ino())))
    }

    #[cfg(not(unix))]
    pub(super) fn of(path: &std::path::Path, _: &Metadata) -> crate::Result<Self> {
        path.canonicalize().map(Self).map_err(|e| crate::Error::at(path, e))
    }
}
