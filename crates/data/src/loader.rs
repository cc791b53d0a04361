//! A source as a stream of batches, in an order that depends on nothing but seed, epoch and position.
//!
//! ```text
//! Sequence ─▶ fetchers ─▶ workers: decode, prepare ─▶ open batches ─▶ Batches (the consumer)
//!             (storage     a sample at a time, each      in order,
//!             with latency) into its place in the batch  bounded in bytes
//! ```
//!
//! How many threads there are decides only how fast it goes: which sample stands where, and what augmentation does to it,
//! is the same for any number of them, on any number of machines, and after any interruption.

mod batch;
mod batch_plan;
mod engine;
mod position;
mod prepare;
mod stats;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use batch::{BadSample, Batch};
pub use position::Position;
pub use stats::LoaderStats;

use engine::{Pass, Shared};

use crate::order::{Order, Sequence};
use crate::transform::Pipeline;
use crate::{Error, ErrorKind, Limits, Preprocess, Result, Source};

/// What a [`Loader`] does with its source.
#[derive(Debug, Clone)]
pub struct LoaderConfig {
    /// Samples a batch over all ranks, at least 1 and a multiple of `world`.
    pub batch_size: usize,
    /// How samples follow each other.
    pub order: Order,
    /// Decides the order and every random change.
    pub seed: u64,
    /// How often a sample stands in a row, each time changed differently; 1 to the batch size. A pass keeps its number of samples, and so
    /// shows one in `repeats` of the source: [`Sequence::new`] says which. Where the batch size is a multiple, all copies are in one batch.
    pub repeats: u32,
    /// What becomes of the samples that fill no whole batch.
    pub tail: Tail,
    /// Which part of each batch is ours, of how many: (0, 1) is all of it. Every world size that divides the batch sees the same
    /// batches.
    pub rank: usize,
    /// See `rank`.
    pub world: usize,
    /// Only these positions of every pass, where there is a part; batches are cut from it. Over the epochs a part of a shuffled
    /// order sees everything.
    pub part: Option<Range<usize>>,
    /// What becomes of each picture.
    pub preprocess: Preprocess,
    /// What is done to each picture in place of the steps of `preprocess`: the random changes of training. A picture that they leave at another
    /// size than the network's is stretched.
    pub augment: Option<Pipeline>,
    /// Whether every pixel is exactly that of the decoded picture, resampled. Otherwise a JPEG that is shown much smaller may be decoded at 1/2,
    /// 1/4 or 1/8 of its size: much faster for photos of a camera, and hardly to be seen.
    pub exact: bool,
    /// What becomes of a sample that cannot be read.
    pub on_error: OnError,
    /// What a picture may claim before it is refused.
    pub limits: Limits,
    /// Threads that decode; with 0 the consumer's own thread does the work.
    pub threads: usize,
    /// Samples fetched at the same time, ahead of decoding; without a number, what the source asks for. With 0 whoever
    /// decodes fetches.
    pub fetches: Option<usize>,
    /// Bytes of batches that may wait for the consumer, and of fetched files that may wait for decoding; one batch may always
    /// wait.
    pub max_bytes: usize,
    /// How long the loader may go without finishing a sample before that is an error that says where it hangs.
    pub patience: Duration,
    /// Where it is set, a batch that is not there yet is an error and not waited for.
    pub stop: Option<Arc<AtomicBool>>,
}

/// What becomes of the samples at the end of a pass that fill no whole batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// They are a smaller batch.
    #[default]
    Keep,
    /// They are left out: in a shuffled order others each epoch.
    Drop,
    /// Their batch is filled with samples that do not count ([`Batch::counts`]), so that every rank has as many batches and every batch
    /// one shape.
    Pad,
}

/// What becomes of a sample that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum OnError {
    /// Its error ends the pass.
    #[default]
    Fail,
    /// Another sample, chosen by seed, epoch and position, stands in for it, so that batches keep their shape. It is listed in
    /// [`Loader::bad_samples`]. More than `at_most`, a share of the pass from 0 to 1, end the pass.
    Replace {
        /// From 0 to 1.
        at_most: f64,
    },
}

impl Default for LoaderConfig {
    /// 64 samples, in the source's order, one gray pixel each (set [`LoaderConfig::preprocess`]), two threads, 256 MiB.
    fn default() -> Self {
        Self {
            batch_size: 64,
            order: Order::Sequential,
            seed: 0,
            repeats: 1,
            tail: Tail::Keep,
            rank: 0,
            world: 1,
            part: None,
            preprocess: Preprocess::new(1, 1, 1),
            augment: None,
            exact: true,
            on_error: OnError::Fail,
            limits: Limits::default(),
            threads: 2,
            fetches: None,
            max_bytes: 256 << 20,
            patience: Duration::from_secs(120),
            stop: None,
        }
    }
}

/// A source as a stream of batches. Its threads live as long as it does.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When there are no samples, the batch size is 0, no multiple of the world size or larger than a source that is learned from
    /// (any order but [`Order::Sequential`]: not one step would see a whole batch), smaller than the number of repeats, another setting is
    /// out of range, or a thread cannot be started.
    pub fn new(source: Arc<dyn Source>, config: LoaderConfig) -> Result<Self> {
        check(source.as_ref(), &config)?;
        let sequence = Sequence::new(&config.order, config.seed, config.repeats, source.as_ref())?;
        let (decoders, fetchers) = match (config.threads, config.fetches) {
            // The consumer's own thread does all of it.
            (0, _) => (0, 0),
            (threads, Some(fetches)) => (threads, fetches),
            (threads, None) => (threads, source.fetches_at_once()),
        };
        let shared = Arc::new(Shared::new(source, sequence, config, decoders, fetchers));
        // Built before the threads start: if one cannot be started, dropping it ends those that were.
        let mut loader = Self { shared, threads: Vec::new() };
        for number in 0..decoders {
            loader.start(format!("decode-{number}"), move |shared| shared.decode(number))?;
        }
        for number in 0..fetchers {
            loader.start(format!("fetch-{number}"), move |shared| shared.fetch(decoders + number))?;
        }
        Ok(loader)
    }

    fn start(&mut self, name: String, work: impl FnOnce(Arc<Shared>) + Send + 'static) -> Result<()> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || work(shared)).map_err(|e| {
            Error::new(ErrorKind::Worker(format!(
                "a loader thread cannot be started: {e}; use fewer threads"
            )))
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where the samples come from.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.shared.source
    }

    /// What this loader does.
    #[must_use]
    pub fn config(&self) -> &LoaderConfig {
        &self.shared.config
    }

    /// Which sample stands where in which epoch.
    #[must_use]
    pub fn sequence(&self) -> &Sequence {
        &self.shared.sequence
    }

    /// The number of samples of a pass that count, on this rank.
    #[must_use]
    pub fn samples_per_epoch(&self) -> usize {
        self.shared.plan.samples_before(self.shared.plan.batches())
    }

    /// The number of batches in a pass, the same on every rank.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        self.shared.plan.batches()
    }

    /// The batches of pass `epoch`. A pass that is still under way ends: its iterator gives nothing more.
    pub fn epoch(&self, epoch: u64) -> Batches<'_> {
        self.begin(epoch, 0)
    }

    /// The batches from `position` to the end of its pass.
    ///
    /// # Errors
    ///
    /// When the position was taken with another set, order, seed or batch size, or lies past the end.
    pub fn resume(&self, position: &Position) -> Result<Batches<'_>> {
        let batch = position.check(&self.shared)?;
        Ok(self.begin(position.epoch, batch))
    }

    /// Where batch `batch` of pass `epoch` begins, both counted from 0.
    #[must_use]
    pub fn position(&self, epoch: u64, batch: usize) -> Position {
        Position::of(&self.shared, epoch, batch)
    }

    fn begin(&self, epoch: u64, batch: usize) -> Batches<'_> {
        let pass = self.shared.begin(epoch, batch);
        Batches { shared: &self.shared, pass, next: batch, inline: self.threads.is_empty(), failed: false }
    }

    /// Takes back the buffer of a batch that is no longer needed, for a later one.
    pub fn recycle(&self, batch: Batch) {
        self.shared.recycle(batch);
    }

    /// The samples of the current pass that could not be read and were replaced, as far as batches have been delivered.
    #[must_use]
    pub fn bad_samples(&self) -> Vec<BadSample> {
        self.shared.bad_samples()
    }

    /// What the threads have been doing since the loader was made.
    #[must_use]
    pub fn stats(&self) -> LoaderStats {
        self.shared.stats.read()
    }
}

/// Longer than a sample takes; a thread that is stuck in storage or in a decoder is left behind.
const FAREWELL: Duration = Duration::from_secs(2);

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        let asked = Instant::now();
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && asked.elapsed() < FAREWELL {
                std::thread::sleep(Duration::from_micros(200));
            }
            if thread.is_finished() {
                // A thread that panicked has nothing left to say.
                let _ = thread.join();
            }
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

fn check(source: &dyn Source, config: &LoaderConfig) -> Result<()> {
    config.preprocess.check()?;
    let LoaderConfig { batch_size, rank, world, .. } = *config;
    let len = config.part.as_ref().map_or(source.len(), Range::len);
    let problem = if len == 0 {
        "there are no images to load".into()
    } else if config.part.as_ref().is_some_and(|part| part.end > source.len()) {
        format!("the part {:?} of {} images", config.part, source.len())
    } else if batch_size == 0 {
        "a batch of 0 images; the batch size must be at least 1".into()
    } else if world == 0 || rank >= world {
        format!("rank {rank} of {world}; ranks count from 0 and stay below the world size")
    } else if batch_size % world != 0 {
        format!("a batch of {batch_size} images cannot be cut evenly for {world} ranks; make it a multiple")
    } else if config.part.is_none() && config.repeats as usize > batch_size {
        // A part has smaller batches than the whole.
        let repeats = config.repeats;
        format!("`repeats` is {repeats}; it must be at most the batch size, {batch_size}")
    } else if config.order != Order::Sequential && batch_size > len {
        format!(
            "a batch of {batch_size} images is larger than the {len} images to learn from; use a smaller batch size"
        )
    } else if config.tail == Tail::Drop && batch_size > len {
        format!("the {len} images fill no batch of {batch_size}; use a smaller batch size")
    } else if matches!(config.on_error, OnError::Replace { at_most } if !(0.0..=1.0).contains(&at_most)) {
        "the share of samples that may be replaced must be from 0 to 1".into()
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Setting(problem)))
}

/// The batches of one pass. The first failure ends it.
pub struct Batches<'a> {
    shared: &'a Arc<Shared>,
    pass: Pass,
    /// The number of the next batch.
    next: usize,
    inline: bool,
    failed: bool,
}

impl Batches<'_> {
    /// The number of samples before the next batch that count, on this rank.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.shared.plan.samples_before(self.next)
    }

    /// The pass, and the number of the next batch in it.
    #[must_use]
    pub fn next_batch(&self) -> (u64, u64) {
        (self.pass.epoch, self.next as u64)
    }

    /// Where the next batch begins: all that [`Loader::resume`] needs. Batches that wait in the loader are not counted.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of(self.shared, self.pass.epoch, self.next)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.failed || self.next >= self.shared.plan.batches() {
            return None;
        }
        if self.inline {
            self.shared.decode_batch(self.pass, self.next);
        }
        let batch = self.shared.wait_for(self.pass)?;
        self.next += 1;
        self.failed = batch.is_err();
        Some(batch)
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        self.shared.end(self.pass);
    }
}

impl std::fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("pass", &self.pass).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
