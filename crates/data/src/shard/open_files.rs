//! Many files, few of them open.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{PositionedFile, Storage};
use crate::{Error, ErrorKind, Result};

/// Files held open at once: well below the 1,024 that systems allow a process.
const MAX_OPEN: usize = 400;

/// Files that are opened when they are read, and closed when too many are open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    storage: Storage,
    shards: Vec<Shard>,
    /// The numbers of those that are open, the oldest first.
    open: Mutex<VecDeque<usize>>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// The length it had when the set was opened.
    len: u64,
    file: Mutex<Option<Arc<PositionedFile>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenFiles {
    /// The files of `storage` at the given paths, which have the given lengths.
    pub(crate) fn new(storage: Storage, files: impl IntoIterator<Item = (PathBuf, u64)>) -> Self {
        let shard = |(path, len)| Shard { path, len, file: Mutex::new(None) };
        Self { storage, shards: files.into_iter().map(shard).collect(), open: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The path of file `number`.
    pub(crate) fn path(&self, number: usize) -> &PathBuf {
        &self.shards[number].path
    }

    /// File `number`, open.
    pub(crate) fn get(&self, number: usize) -> Result<Arc<PositionedFile>> {
        let shard = &self.shards[number];
        let file = {
            let mut slot = lock(&shard.file);
            if let Some(file) = &*slot {
                return Ok(file.clone());
            }
            let file = Arc::new(self.storage.open(&shard.path)?);
            let len = file.len().map_err(|e| Error::at(&shard.path, e))?;
            if len != shard.len {
                let message = format!(
                    "the file had {} bytes and has {len} now; it must not change while it is used",
                    shard.len
                );
                return Err(Error::at(&shard.path, ErrorKind::Corrupt(message)));
            }
            *slot = Some(file.clone());
            file
        };
        // No thread holds two locks at once. Whoever reads the closed file at the moment keeps it until it is done.
        let mut open = lock(&self.open);
        open.push_back(number);
        let oldest = if open.len() > MAX_OPEN { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            *lock(&self.shards[oldest].file) = None;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_than_may_be_open_are_all_read() {
        let folder = tempfile::tempdir().unwrap();
        let count = MAX_OPEN + 50;
        let path = |number: usize| folder.path().join(number.to_string());
        for number in 0..count {
            std::fs::write(path(number), (number as u32).to_le_bytes()).unwrap();
        }
        let files = OpenFiles::new(Storage::DISK, (0..count).map(|number| (path(number), 4)));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let files = &files;
                scope.spawn(move || {
                    for step in 0..2 * count {
                        let number = (step * 7 + thread * 101) % count;
                        let mut bytes = [0; 4];
                        files.get(number).unwrap().read_exact_at(&mut bytes, 0).unwrap();
                        assert_eq!(u32::from_le_bytes(bytes) as usize, number);
                    }
                });
            }
        });
        let open = files.shards.iter().filter(|shard| lock(&shard.file).is_some()).count();
        assert!(open <= MAX_OPEN, "{open} files are open");
        std::fs::write(path(0), b"longer").unwrap();
        let fresh = OpenFiles::new(Storage::DISK, [(path(0), 4)]);
        assert!(fresh.get(0).unwrap_err().to_string().contains("has 6 now"));
    }
}
