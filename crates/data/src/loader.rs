//! Worker threads that turn a source into batches, in a fixed order.
//!
//! A pass is cut into chunks of a few samples. Workers take chunks in order, decode and prepare them, and put the bytes
//! into their place in the batch; the consumer takes batches in order. How many workers there are decides only how fast
//! it goes: which sample stands where, and what augmentation does to it, depends on seed, epoch and position.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::order::permute;
use crate::{Augment, Error, ErrorKind, Preprocess, Result, Source};

/// What a [`Loader`] does with its source.
#[derive(Debug, Clone)]
pub struct LoaderConfig {
    /// Samples a batch, at least 1. The last batch of a pass has what is left, unless `drop_last`.
    pub batch_size: usize,
    /// The seed of a new order every epoch; without it samples come as the source numbers them.
    pub shuffle: Option<u64>,
    /// What becomes of each picture.
    pub preprocess: Preprocess,
    /// Random changes, made after preprocessing.
    pub augment: Augment,
    /// Worker threads; with 0 the consumer's own thread does the work.
    pub threads: usize,
    /// Bytes of batches that may wait for the consumer; one batch may always wait.
    pub max_bytes: usize,
    /// Leaves out a last batch that would be smaller than the others.
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    /// 64 samples, in the source's order, one gray pixel each (set [`LoaderConfig::preprocess`]), two threads, 256 MiB.
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: None,
            preprocess: Preprocess::new(1, 1, 1),
            augment: Augment::default(),
            threads: 2,
            max_bytes: 256 << 20,
            drop_last: false,
        }
    }
}

/// Prepared pictures on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `[batch, height, width, channels]`.
    pub pixels: Vec<u8>,
    /// `[batch]`, indices of classes.
    pub labels: Vec<u32>,
    /// `[batch]`, indices of samples in the source.
    pub indices: Vec<usize>,
}

/// A source as a stream of batches. Its threads live as long as it does.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What the workers know.
struct Shared {
    source: Arc<dyn Source>,
    config: LoaderConfig,
    /// Samples a chunk.
    chunk: usize,
    /// Batches that may be open at once.
    open: usize,
    state: Mutex<State>,
    /// There may be a chunk to take, or nothing more ever.
    work: Condvar,
    /// The first open batch may be done.
    done: Condvar,
}

struct State {
    /// Counts passes, so that a worker knows that its chunk belongs to one that is over.
    pass: u64,
    epoch: u64,
    /// The next chunk of the pass.
    next_chunk: usize,
    /// The number of the first batch in `batches`.
    first: usize,
    batches: VecDeque<OpenBatch>,
    /// Emptied buffers of earlier batches.
    spare: Vec<Vec<u8>>,
    stop: bool,
}

/// A batch that workers still fill, or that waits for the consumer.
struct OpenBatch {
    batch: Batch,
    missing_chunks: usize,
    /// The failure at the lowest position.
    failure: Option<(usize, Error)>,
}

impl Loader {
    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When the batch size is 0, or larger than a source that is shuffled (which means that it is learned from: not one
    /// step would see a whole batch), the preprocessing is out of range, or a thread cannot be started.
    pub fn new(source: Arc<dyn Source>, config: LoaderConfig) -> Result<Self> {
        config.preprocess.check()?;
        let setting = |text: String| Err(Error::new(ErrorKind::Setting(text)));
        if source.is_empty() {
            return setting("there are no images to load".into());
        }
        if config.batch_size == 0 {
            return setting("a batch of 0 images; the batch size must be at least 1".into());
        }
        if config.shuffle.is_some() && config.batch_size > source.len() {
            return setting(format!(
                "a batch of {} images is larger than the {} images to learn from; use a smaller batch size",
                config.batch_size,
                source.len()
            ));
        }
        let batch_size = config.batch_size.min(source.len());
        let threads = config.threads;
        let shared = Arc::new(Shared {
            // About two chunks a thread and batch: small enough to share the work, large enough not to fight for the lock.
            chunk: batch_size.div_ceil(2 * threads.max(1)),
            open: (config.max_bytes / batch_size.saturating_mul(config.preprocess.bytes()))
                .clamp(1, 2 * threads.max(1) + 2),
            source,
            config: LoaderConfig { batch_size, ..config },
            state: Mutex::new(State {
                pass: 0,
                epoch: 0,
                next_chunk: usize::MAX,
                first: 0,
                batches: VecDeque::new(),
                spare: Vec::new(),
                stop: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        // Built before the threads start: if one cannot be started, dropping it ends those that were.
        let mut loader = Self { shared, workers: Vec::new() };
        for number in 0..threads {
            let shared = loader.shared.clone();
            let thread =
                std::thread::Builder::new().name(format!("loader-{number}")).spawn(move || shared.work());
            loader.workers.push(thread.map_err(|e| {
                Error::new(ErrorKind::Worker(format!(
                    "a loader thread cannot be started: {e}; use fewer threads"
                )))
            })?);
        }
        Ok(loader)
    }

    /// The samples of a pass.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.shared.source
    }

    /// The number of samples in a pass: all, or with `drop_last` those of whole batches.
    #[must_use]
    pub fn samples_per_epoch(&self) -> usize {
        self.shared.samples_per_epoch()
    }

    /// What this loader does.
    #[must_use]
    pub fn config(&self) -> &LoaderConfig {
        &self.shared.config
    }

    /// The batches of pass `epoch`. A pass that is still under way ends: its iterator gives nothing more.
    pub fn epoch(&self, epoch: u64) -> Batches<'_> {
        let mut state = self.shared.lock();
        state.pass += 1;
        state.epoch = epoch;
        state.next_chunk = 0;
        state.first = 0;
        state.batches.clear();
        self.shared.work.notify_all();
        Batches {
            shared: &self.shared,
            pass: state.pass,
            epoch,
            next: 0,
            inline: self.workers.is_empty(),
            failed: false,
        }
    }

    /// Takes back the buffer of a batch that is no longer needed, for a later one.
    pub fn recycle(&self, batch: Batch) {
        let mut state = self.shared.lock();
        if state.spare.len() < self.shared.open {
            state.spare.push(batch.pixels);
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing left to say.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("samples", &self.shared.source.len())
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// The batches of one pass. The first failure ends it.
pub struct Batches<'a> {
    shared: &'a Arc<Shared>,
    pass: u64,
    epoch: u64,
    /// The number of the next batch.
    next: usize,
    inline: bool,
    failed: bool,
}

impl Batches<'_> {
    /// Samples delivered so far.
    #[must_use]
    pub fn delivered(&self) -> usize {
        (self.next * self.shared.config.batch_size).min(self.shared.samples_per_epoch())
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.failed || self.next >= self.shared.batch_count() {
            return None;
        }
        let batch = if self.inline { self.shared.load_batch(self.epoch, self.next) } else { self.wait()? };
        self.next += 1;
        self.failed = batch.is_err();
        Some(batch)
    }
}

impl Batches<'_> {
    /// The next batch once it is whole; nothing if another pass has begun.
    fn wait(&self) -> Option<Result<Batch>> {
        let mut state = self.shared.lock();
        loop {
            if state.pass != self.pass {
                return None;
            }
            if state.batches.front().is_some_and(|open| open.missing_chunks == 0) {
                let open = state.batches.pop_front()?;
                state.first += 1;
                self.shared.work.notify_all();
                return Some(match open.failure {
                    Some((_, error)) => Err(error),
                    None => Ok(open.batch),
                });
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.pass == self.pass {
            // Workers must not go on with a pass that nobody takes.
            state.next_chunk = usize::MAX;
            state.batches.clear();
        }
    }
}

impl std::fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches")
            .field("epoch", &self.epoch)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// A chunk that a worker has taken.
struct Job {
    pass: u64,
    epoch: u64,
    batch: usize,
    /// Positions in the pass.
    positions: Range<usize>,
}

/// What a worker makes of a chunk.
#[derive(Default)]
struct Chunk {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    indices: Vec<usize>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples_per_epoch(&self) -> usize {
        let left_over = self.source.len() % self.config.batch_size;
        self.source.len() - if self.config.drop_last { left_over } else { 0 }
    }

    fn batch_count(&self) -> usize {
        self.samples_per_epoch().div_ceil(self.config.batch_size)
    }

    /// Positions of a batch.
    fn positions(&self, batch: usize) -> Range<usize> {
        let start = batch * self.config.batch_size;
        start..(start + self.config.batch_size).min(self.samples_per_epoch())
    }

    fn work(&self) {
        while let Some(job) = self.take() {
            let mut chunk = Chunk::default();
            let mut failure = None;
            for position in job.positions.clone() {
                if let Err(error) = self.load(job.epoch, position, &mut chunk) {
                    failure = Some((position, error));
                    break;
                }
                if self.is_over(job.pass) {
                    break;
                }
            }
            self.put(&job, &chunk, failure);
        }
    }

    /// Whether nobody wants chunks of this pass any more.
    fn is_over(&self, pass: u64) -> bool {
        let state = self.lock();
        state.stop || state.pass != pass || state.next_chunk == usize::MAX
    }

    /// The next chunk, once there is one and its batch may be opened; nothing when the loader ends.
    fn take(&self) -> Option<Job> {
        let chunks = self.config.batch_size.div_ceil(self.chunk);
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let batch = state.next_chunk / chunks;
            if batch < self.batch_count() && batch < state.first.saturating_add(self.open) {
                let all = self.positions(batch);
                let start = all.start + state.next_chunk % chunks * self.chunk;
                state.next_chunk += 1;
                if start >= all.end {
                    continue; // The last batch may have fewer chunks.
                }
                while state.first + state.batches.len() <= batch {
                    let open = self.open_batch(&mut state);
                    state.batches.push_back(open);
                }
                let positions = start..(start + self.chunk).min(all.end);
                return Some(Job { pass: state.pass, epoch: state.epoch, batch, positions });
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Room for the batch after the last open one.
    fn open_batch(&self, state: &mut State) -> OpenBatch {
        let count = self.positions(state.first + state.batches.len()).len();
        let mut pixels = state.spare.pop().unwrap_or_default();
        pixels.resize(count * self.config.preprocess.bytes(), 0);
        OpenBatch {
            batch: Batch { pixels, labels: vec![0; count], indices: vec![0; count] },
            missing_chunks: count.div_ceil(self.chunk),
            failure: None,
        }
    }

    /// Puts a finished chunk into its batch.
    fn put(&self, job: &Job, chunk: &Chunk, failure: Option<(usize, Error)>) {
        let mut state = self.lock();
        let state = &mut *state;
        if state.pass != job.pass {
            return;
        }
        let Some(open) = job.batch.checked_sub(state.first).and_then(|n| state.batches.get_mut(n)) else {
            return;
        };
        let start = job.positions.start - job.batch * self.config.batch_size;
        let bytes = self.config.preprocess.bytes();
        open.batch.pixels[start * bytes..][..chunk.pixels.len()].copy_from_slice(&chunk.pixels);
        open.batch.labels[start..][..chunk.labels.len()].copy_from_slice(&chunk.labels);
        open.batch.indices[start..][..chunk.indices.len()].copy_from_slice(&chunk.indices);
        if let Some((position, error)) = failure
            && open.failure.as_ref().is_none_or(|(earlier, _)| position < *earlier)
        {
            open.failure = Some((position, error));
        }
        open.missing_chunks -= 1;
        if open.missing_chunks == 0 {
            self.done.notify_all();
        }
    }

    /// A whole batch on this thread.
    fn load_batch(&self, epoch: u64, batch: usize) -> Result<Batch> {
        let mut chunk = Chunk::default();
        for position in self.positions(batch) {
            self.load(epoch, position, &mut chunk)?;
        }
        Ok(Batch { pixels: chunk.pixels, labels: chunk.labels, indices: chunk.indices })
    }

    /// Appends the sample at `position` of the pass.
    fn load(&self, epoch: u64, position: usize, chunk: &mut Chunk) -> Result<()> {
        let config = &self.config;
        let index = match config.shuffle {
            Some(seed) => permute(seed, epoch, self.source.len() as u64, position as u64) as usize,
            None => position,
        };
        let prepared = catch_unwind(AssertUnwindSafe(|| {
            let sample = self.source.read(index)?;
            let image = config.preprocess.apply(sample.image);
            let seed = config.shuffle.unwrap_or_default();
            Ok((config.augment.apply(image, seed, epoch, index as u64), sample.label))
        }));
        let (image, label) = prepared.unwrap_or_else(|_| {
            let key = catch_unwind(AssertUnwindSafe(|| self.source.place(index).to_string()));
            let key = key.unwrap_or_else(|_| format!("sample {index}"));
            Err(Error::new(ErrorKind::Worker(format!(
                "{key}: the decoder panicked; remove or repair the file"
            ))))
        })?;
        chunk.pixels.extend_from_slice(image.pixels());
        chunk.labels.push(label);
        chunk.indices.push(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
