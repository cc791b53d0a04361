//! What the threads of a loader do with their time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sums over all threads of a loader since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoaderStats {
    /// Samples prepared.
    pub samples: u64,
    /// Bytes fetched from storage.
    pub bytes: u64,
    /// Time spent fetching.
    pub fetching: Duration,
    /// Time spent decoding and preparing.
    pub decoding: Duration,
    /// Time that decoding threads waited for something to do: for room in the batches, or for bytes.
    pub idle: Duration,
    /// Time that the consumer waited for a batch.
    pub consumer_waiting: Duration,
    /// Time between the consumer's asking for a batch and its asking for the next.
    pub consumer_total: Duration,
}

impl LoaderStats {
    /// The share of its time that the consumer waited, 0 to 1; 0 before the first batch.
    #[must_use]
    pub fn waiting_share(&self) -> f64 {
        if self.consumer_total.is_zero() {
            return 0.0;
        }
        self.consumer_waiting.as_secs_f64() / self.consumer_total.as_secs_f64()
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub samples: Counter,
    pub bytes: Counter,
    pub fetching: Counter,
    pub decoding: Counter,
    pub idle: Counter,
    pub consumer_waiting: Counter,
    pub consumer_total: Counter,
}

/// A sum; times are in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn add_time(&self, time: Duration) {
        self.add(time.as_nanos() as u64);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

impl Counters {
    pub(super) fn read(&self) -> LoaderStats {
        LoaderStats {
            samples: self.samples.get(),
            bytes: self.bytes.get(),
            fetching: self.fetching.time(),
            decoding: self.decoding.time(),
            idle: self.idle.time(),
            consumer_waiting: self.consumer_waiting.time(),
            consumer_total: self.consumer_total.time(),
        }
    }
}
