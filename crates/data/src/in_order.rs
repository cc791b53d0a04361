//! Many threads that work, one that takes what they make in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, ErrorKind, Result, Source};

/// Calls `work` with every number of `range` on `threads` threads (at least one), and `take` on this one with the results,
/// in the order of the numbers. How many threads there are decides only how fast it goes. Results that wait are at most
/// twice the threads.
///
/// # Errors
///
/// The first failure of `work` in the order of the numbers, or of `take`; what comes after it is not taken. A panic in `work`
/// is such a failure.
pub(crate) fn in_order<T: Send>(
    range: Range<usize>,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let threads = threads.clamp(1, range.len().max(1));
    let queue = Queue {
        state: Mutex::new(State {
            next: range.start,
            first: range.start,
            done: VecDeque::new(),
            stop: false,
        }),
        end: range.end,
        ahead: 2 * threads,
        room: Condvar::new(),
        ready: Condvar::new(),
    };
    std::thread::scope(|scope| {
        // However this one leaves, the others must not wait for it.
        let _stop = StopOnDrop(&queue);
        for number in 0..threads {
            let thread = std::thread::Builder::new().name(format!("work-{number}"));
            thread.spawn_scoped(scope, || queue.work(&work)).map_err(|e| {
                Error::new(ErrorKind::Worker(format!("a thread cannot be started: {e}; use fewer threads")))
            })?;
        }
        range.into_iter().try_for_each(|number| take(number, queue.take()?))
    })
}

/// The threads that read a whole source: all cores, or as many as its storage wants at the same time.
pub(crate) fn readers(source: &dyn Source) -> usize {
    rayon::current_num_threads().max(source.fetches_at_once())
}

struct Queue<T> {
    state: Mutex<State<T>>,
    end: usize,
    /// How far the work may be ahead of the taking.
    ahead: usize,
    room: Condvar,
    ready: Condvar,
}

struct State<T> {
    /// The next number to work on.
    next: usize,
    /// The number of the first of `done`.
    first: usize,
    done: VecDeque<Option<Result<T>>>,
    stop: bool,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, work: &(impl Fn(usize) -> Result<T> + Sync)) {
        loop {
            let mut state = self.lock();
            while !state.stop && state.next < self.end && state.next >= state.first + self.ahead {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stop || state.next >= self.end {
                return;
            }
            let number = state.next;
            state.next += 1;
            state.done.push_back(None);
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| work(number)));
            let result = result.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Worker(format!(
                    "the program failed at item {number}; this is a mistake in it"
                ))))
            });
            let mut state = self.lock();
            let first = state.first;
            if let Some(place) = state.done.get_mut(number - first) {
                *place = Some(result);
            }
            self.ready.notify_one();
        }
    }

    fn take(&self) -> Result<T> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.done.front_mut().and_then(Option::take) {
                state.done.pop_front();
                state.first += 1;
                self.room.notify_all();
                return result;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct StopOnDrop<'a, T>(&'a Queue<T>);

impl<T> Drop for StopOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(number: usize) -> Error {
        Error::new(ErrorKind::Setting(number.to_string()))
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let mut taken = Vec::new();
            let work = |number: usize| {
                std::thread::sleep(std::time::Duration::from_micros((number * 7919 % 13) as u64 * 20));
                Ok(number * 2)
            };
            in_order(3..60, threads, work, |number, double| {
                taken.push((number, double));
                Ok(())
            })
            .unwrap();
            assert!(taken.into_iter().eq((3..60).map(|n| (n, 2 * n))), "{threads} threads");
        }
        in_order(0..0, 4, |_| Ok(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn the_first_failure_ends_it_wherever_it_happens() {
        let mut taken = 0;
        let work = |number| if number == 5 || number == 6 { Err(failure(number)) } else { Ok(()) };
        let error = in_order(0..100, 3, work, |_, ()| {
            taken += 1;
            Ok(())
        });
        assert_eq!((error.unwrap_err().to_string(), taken), ("5".to_owned(), 5));
        let error = in_order(0..100, 3, Ok, |number, _| if number == 9 { Err(failure(9)) } else { Ok(()) });
        assert_eq!(error.unwrap_err().to_string(), "9");
        let work = |number: usize| if number == 2 { panic!("on purpose") } else { Ok(()) };
        let error = in_order(0..100, 3, work, |_, ()| Ok(())).unwrap_err();
        assert!(error.to_string().contains("item 2"), "{error}");
    }
}
