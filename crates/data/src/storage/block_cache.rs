//! Pieces of objects on a local disk, bounded in bytes.
//!
//! One file a piece: its bytes, then the CRC-32C of every 16 KiB of them (4 bytes each, little-endian). A piece is written under another
//! name and renamed, so that one is there whole or not at all; what is damaged is as good as not there.
//!
//! Shuffled epochs read every piece about equally often, in another order each time. Under such a load a cache that makes room by
//! dropping pieces of the same set drops what it will be asked for next. So what the objects of this process brought in stays, and when
//! there is no more room, the rest is read from the storage exactly; only pieces that earlier runs left are dropped, the
//! oldest first.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;

use super::PositionedFile;

/// Held by the process that writes into the cache.
const LOCK: &str = "lock";
/// Bytes that share a checksum: no more than these is read around what is asked for.
const CHUNK: u64 = 16 << 10;
const CHECKSUM: u64 = 4;

/// Which piece of which object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    pub(super) object: u128,
    pub(super) block: u64,
}

impl BlockId {
    fn name(self) -> String {
        format!("{:032x}-{:x}", self.object, self.block)
    }

    fn parse(name: &str) -> Option<Self> {
        let (object, block) = name.split_once('-')?;
        Some(Self {
            object: u128::from_str_radix(object, 16).ok()?,
            block: u64::from_str_radix(block, 16).ok()?,
        })
    }
}

/// The pieces in one folder.
pub(super) struct BlockCache {
    folder: PathBuf,
    state: Mutex<State>,
    fetched: Condvar,
    /// Held while this process writes here. Without it, what others wrote is still read.
    lock: Option<File>,
}

struct State {
    /// Bytes that may still come.
    room: u64,
    /// The disk took no more: whole pieces that cannot be kept would be fetched for every picture in them.
    failed: bool,
    /// What earlier runs left, the oldest first.
    old: VecDeque<(BlockId, u64)>,
    /// Objects that this process reads.
    used: HashSet<u128>,
    /// Pieces that a thread is fetching.
    fetching: HashSet<BlockId>,
}

impl BlockCache {
    /// Bytes of a piece: some dozens of pictures, and one request.
    pub(super) const BLOCK: u64 = 1 << 20;

    /// The cache in `folder`, the same one for all of this process. A folder that cannot be used keeps nothing.
    pub(super) fn shared(folder: &Path, most: u64) -> Arc<Self> {
        static OPEN: Mutex<Option<HashMap<PathBuf, Weak<BlockCache>>>> = Mutex::new(None);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        if let Some(cache) = open.get(folder).and_then(Weak::upgrade) {
            return cache;
        }
        let cache = Arc::new(Self::open(folder, most));
        open.insert(folder.to_owned(), Arc::downgrade(&cache));
        cache
    }

    fn open(folder: &Path, most: u64) -> Self {
        let lock = fs::create_dir_all(folder).and_then(|()| File::create(folder.join(LOCK)));
        let lock = lock.ok().filter(|lock| lock.try_lock().is_ok());
        let mut found = Vec::new();
        if lock.is_some() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                match (name.to_str().and_then(BlockId::parse), entry.metadata()) {
                    (Some(id), Ok(file)) => {
                        found.push((file.modified().unwrap_or(SystemTime::UNIX_EPOCH), id, file.len()));
                    }
                    // What was being written when a process died.
                    _ if name.as_encoded_bytes().starts_with(b".tmp") => drop(fs::remove_file(entry.path())),
                    _ => {}
                }
            }
        }
        found.sort_unstable_by_key(|&(modified, BlockId { object, block }, _)| (modified, object, block));
        let held: u64 = found.iter().map(|(_, _, len)| len).sum();
        let mut state = State {
            room: most.saturating_sub(held),
            failed: false,
            old: found.into_iter().map(|(_, id, len)| (id, len)).collect(),
            used: HashSet::new(),
            fetching: HashSet::new(),
        };
        // The bound may have been larger before.
        let mut above = held.saturating_sub(most);
        while above > 0
            && let Some((id, len)) = state.old.pop_front()
        {
            drop(fs::remove_file(folder.join(id.name())));
            above = above.saturating_sub(len);
        }
        Self { folder: folder.to_owned(), state: Mutex::new(state), fetched: Condvar::new(), lock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes `range` of a piece of `len` bytes: of the one that is kept, or of what `fetch` brings, which is kept. `None` when it is not
    /// here and there is no room for it. Only one thread fetches a piece; others wait for it.
    pub(super) fn get(
        &self,
        id: BlockId,
        len: u64,
        range: Range<u64>,
        fetch: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<Option<Bytes>> {
        let stored = len + CHECKSUM * len.div_ceil(CHUNK);
        loop {
            if let Some(bytes) = self.read(id, len, &range) {
                return Ok(Some(bytes));
            }
            let mut state = self.state();
            state.used.insert(id.object);
            if state.fetching.contains(&id) {
                drop(self.fetched.wait(state));
                continue;
            }
            if self.lock.is_none() || !state.make_room(&self.folder, stored) {
                return Ok(None);
            }
            state.fetching.insert(id);
            break;
        }
        let fetching = Fetching { cache: self, id, kept: false, len: stored };
        // Another thread may have brought it since this one looked.
        if let Some(bytes) = self.read(id, len, &range) {
            return Ok(Some(bytes));
        }
        let bytes = fetch()?;
        fetching.keep(&bytes);
        Ok(Some(bytes.slice(range.start as usize..range.end as usize)))
    }

    /// Damage is a `None`: the piece will be written over. Its bytes are counted twice then: rather too few are kept than too many.
    fn read(&self, id: BlockId, len: u64, range: &Range<u64>) -> Option<Bytes> {
        let file = PositionedFile::new(File::open(self.folder.join(id.name())).ok()?);
        if file.len().ok()? != len + CHECKSUM * len.div_ceil(CHUNK) {
            return None;
        }
        let chunks = range.start / CHUNK..range.end.div_ceil(CHUNK);
        let start = chunks.start * CHUNK;
        let mut bytes = vec![0; ((chunks.end * CHUNK).min(len) - start) as usize];
        let mut sums = vec![0; (CHECKSUM * (chunks.end - chunks.start)) as usize];
        file.read_exact_at(&mut bytes, start).ok()?;
        file.read_exact_at(&mut sums, len + CHECKSUM * chunks.start).ok()?;
        if checksums(&bytes) != sums {
            return None;
        }
        Some(Bytes::from(bytes).slice((range.start - start) as usize..(range.end - start) as usize))
    }
}

/// The checksum of every chunk.
fn checksums(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(CHUNK as usize).flat_map(|chunk| crc32c::crc32c(chunk).to_le_bytes()).collect()
}

impl State {
    /// Takes `len` bytes of the room, dropping what earlier runs left where there is none.
    fn make_room(&mut self, folder: &Path, len: u64) -> bool {
        if self.failed {
            return false;
        }
        while self.room < len {
            let used = &self.used;
            let Some(place) = self.old.iter().position(|(id, _)| !used.contains(&id.object)) else {
                return false;
            };
            let Some((id, freed)) = self.old.remove(place) else { return false };
            if fs::remove_file(folder.join(id.name())).is_ok() {
                self.room += freed;
            }
        }
        self.room -= len;
        true
    }
}

/// A piece that is on its way: dropped without it, others may try.
struct Fetching<'a> {
    cache: &'a BlockCache,
    id: BlockId,
    len: u64,
    kept: bool,
}

impl Fetching<'_> {
    /// Writes the piece. A disk that is full, or taken away, keeps nothing from then on: it is only a cache.
    fn keep(mut self, bytes: &[u8]) {
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::with_prefix_in(".tmp", &self.cache.folder)?;
            file.write_all(bytes)?;
            file.write_all(&checksums(bytes))?;
            file.persist(self.cache.folder.join(self.id.name()))?;
            Ok(())
        };
        self.kept = write().is_ok();
        if !self.kept {
            self.cache.state().failed = true;
        }
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if !self.kept {
            state.room += self.len;
        }
        state.fetching.remove(&self.id);
        drop(state);
        self.cache.fetched.notify_all();
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCache({}, {} bytes left)", self.folder.display(), self.state().room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_is_asked_once() {
        let root = tempfile::tempdir().unwrap();
        let cache = BlockCache::open(&root.path().join("objects"), 1 << 30);
        let get =
            |block| cache.get(BlockId { object: 1, block }, 8, 2..4, || Ok(Bytes::from_static(b"abcdefgh")));
        assert_eq!(get(0).unwrap().unwrap(), "cd");
        fs::remove_dir_all(root.path().join("objects")).unwrap();
        assert_eq!(get(1).unwrap().unwrap(), "cd");
        for block in 0..4 {
            assert_eq!(get(block).unwrap(), None);
        }
    }
}
