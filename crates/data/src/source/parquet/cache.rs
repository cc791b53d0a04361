//! Decoded pages in memory, bounded in bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Result;

/// What is kept: the pictures of some rows that follow each other, each where it is not null.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) values: Vec<Option<T>>,
    /// Bytes in memory.
    pub(super) bytes: usize,
}

/// What was used last stays. Only one thread decodes a piece; others wait for it.
pub(super) struct Cache<T> {
    /// Bytes of what is kept and of what is being decoded, unless a single piece takes more.
    most: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    kept: HashMap<usize, (u64, Arc<Rows<T>>)>,
    /// The numbers of pieces, by the time of their last use.
    by_use: BTreeMap<u64, usize>,
    time: u64,
    decoding: HashSet<usize>,
    /// Bytes of what is kept, and those that are promised to what is being decoded.
    kept_bytes: usize,
    promised: usize,
}

impl<T> Cache<T> {
    pub(super) fn new(most: usize) -> Self {
        let state = State {
            kept: HashMap::new(),
            by_use: BTreeMap::new(),
            time: 0,
            decoding: HashSet::new(),
            kept_bytes: 0,
            promised: 0,
        };
        Self { most, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Piece `number`: the one that is kept, or what `decode` makes of it with about `cost` bytes of memory, which is kept.
    pub(super) fn get(
        &self,
        number: usize,
        cost: usize,
        decode: impl FnOnce() -> Result<Rows<T>>,
    ) -> Result<Arc<Rows<T>>> {
        let mut state = self.lock();
        loop {
            if let Some(rows) = state.used(number) {
                return Ok(rows);
            }
            if !state.decoding.contains(&number) && state.make_room(self.most, cost) {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.decoding.insert(number);
        state.promised += cost;
        drop(state);
        let mut decoding = Decoding { cache: self, number, cost };
        let rows = Arc::new(decode()?);
        let mut state = self.lock();
        // What was promised is now there.
        state.promised -= cost;
        state.make_room(self.most, rows.bytes);
        state.keep(number, rows.clone());
        drop(state);
        decoding.cost = 0;
        drop(decoding);
        Ok(rows)
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.lock().kept_bytes
    }
}

impl<T> State<T> {
    fn used(&mut self, number: usize) -> Option<Arc<Rows<T>>> {
        let (used, rows) = self.kept.get_mut(&number)?;
        self.by_use.remove(used);
        self.time += 1;
        *used = self.time;
        self.by_use.insert(self.time, number);
        Some(rows.clone())
    }

    fn keep(&mut self, number: usize, rows: Arc<Rows<T>>) {
        self.time += 1;
        self.kept_bytes += rows.bytes;
        self.by_use.insert(self.time, number);
        self.kept.insert(number, (self.time, rows));
    }

    /// Drops what was not used for longest, until there is room for `cost` bytes. There always is when nothing else is being decoded.
    fn make_room(&mut self, most: usize, cost: usize) -> bool {
        if self.promised > 0 && self.promised + cost > most {
            return false;
        }
        while self.kept_bytes + self.promised + cost > most
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some((_, rows)) = self.kept.remove(&oldest) {
                self.kept_bytes -= rows.bytes;
            }
        }
        true
    }
}

/// A piece that is being decoded: dropped, however it ended, others may try.
struct Decoding<'a, T> {
    cache: &'a Cache<T>,
    number: usize,
    cost: usize,
}

impl<T> Drop for Decoding<'_, T> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.promised -= self.cost;
        state.decoding.remove(&self.number);
        drop(state);
        self.cache.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Error, ErrorKind};

    fn rows(number: usize, bytes: usize) -> Rows<usize> {
        Rows { values: vec![Some(number)], bytes }
    }

    #[test]
    fn the_bound_holds_and_what_was_used_last_stays() {
        let cache = Cache::new(100);
        let decoded = AtomicUsize::new(0);
        let get = |number: usize, bytes: usize| {
            let rows = cache.get(number, bytes, || {
                decoded.fetch_add(1, Ordering::Relaxed);
                Ok(rows(number, bytes))
            });
            assert_eq!(rows.unwrap().values, [Some(number)]);
            cache.kept_bytes()
        };
        assert_eq!([get(0, 40), get(1, 40), get(0, 40), get(2, 40)], [40, 80, 80, 80]);
        assert_eq!((get(0, 40), decoded.load(Ordering::Relaxed)), (80, 3));
        assert_eq!((get(1, 40), decoded.load(Ordering::Relaxed)), (80, 4));
        // One that is larger than the bound is decoded all the same, and alone.
        assert_eq!([get(3, 400), get(4, 10)], [400, 10]);
    }

    #[test]
    fn a_piece_is_decoded_once_and_after_a_failure_again() {
        let cache = Cache::new(1000);
        let decoded = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (cache, decoded) = (&cache, &decoded);
                scope.spawn(move || {
                    for step in 0..40 {
                        let number = (step + thread) % 10;
                        let rows = cache.get(number, 10, || {
                            std::thread::sleep(std::time::Duration::from_micros(300));
                            if decoded.fetch_add(1, Ordering::Relaxed) == 0 {
                                return Err(Error::new(ErrorKind::Corrupt("once".into())));
                            }
                            Ok(rows(number, 10))
                        });
                        assert!(rows.is_ok_and(|rows| rows.values == [Some(number)]) || step < 10);
                    }
                });
            }
        });
        assert_eq!(decoded.load(Ordering::Relaxed), 11);
        assert_eq!((cache.kept_bytes(), cache.lock().promised), (100, 0));
    }
}
