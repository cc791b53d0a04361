//! The threads of a loader and what they share.
//!
//! The samples of a pass are numbered jobs. Fetchers (where the storage has latency) and workers take jobs in order; a worker puts
//! its sample into its place in an open batch, and the consumer takes batches in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::batch::{BadSample, Batch, OpenBatch, Prepared};
use super::batch_plan::BatchPlan;
use super::prepare::{Fetched, Worker};
use super::stats::Counters;
use super::{LoaderConfig, OnError};
use crate::order::{Draw, Order, SampleRng, Sequence};
use crate::{Error, ErrorKind, Result, Source};

/// Batches in flight where there is room for them: one that is consumed, one that waits, one that is filled.
const OPEN: usize = 3;
/// How many others are tried in place of a sample that cannot be read.
const REPLACEMENTS: u32 = 64;
/// The time between two looks whether a wait should end.
const STOP_HEARD_WITHIN: Duration = Duration::from_millis(100);
/// Keeps the draws of replacements apart from those of transforms.
const REPLACEMENT: u64 = 0x5245_504C_4143_4501;

/// What the threads know.
pub(super) struct Shared {
    pub source: Arc<dyn Source>,
    pub sequence: Sequence,
    pub config: LoaderConfig,
    pub plan: BatchPlan,
    pub stats: Counters,
    /// Batches that may be open at once.
    open: usize,
    /// Jobs that may be fetched ahead of decoding; 0 where workers fetch themselves.
    ahead: u64,
    state: Mutex<State>,
    /// There may be a job to take, or nothing more ever.
    work: Condvar,
    /// The first open batch may be done.
    done: Condvar,
}

/// A pass under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    number: u64,
    pub epoch: u64,
}

struct State {
    /// Counts passes, so that a thread knows that its job belongs to one that is over.
    pass: Pass,
    /// The number of the first batch in `batches`.
    first: u64,
    batches: VecDeque<OpenBatch>,
    /// The next sample to decode: a batch, and a place in it.
    next: Place,
    /// The next sample to fetch.
    next_fetch: Place,
    /// What has been fetched for `next` and the samples after it.
    fetched: VecDeque<Option<Result<Fetched>>>,
    /// The number of jobs decoded so far, which is the job of the first in `fetched`.
    decoded: u64,
    fetched_bytes: usize,
    /// Emptied buffers of earlier batches and files.
    spare: Vec<BytesMut>,
    spare_files: Vec<Vec<u8>>,
    /// What each thread is at, since when.
    busy: Vec<Option<(Instant, usize)>>,
    last_progress: Instant,
    asked: Option<Instant>,
    bad: Vec<BadSample>,
    over: bool,
    stop: bool,
}

/// A place in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    batch: u64,
    slot: u64,
}

/// A sample that a worker has taken.
struct Job {
    pass: Pass,
    place: Place,
    position: u64,
    room: BytesMut,
    fetched: Option<Result<Fetched>>,
}

impl Shared {
    pub(super) fn new(
        source: Arc<dyn Source>,
        sequence: Sequence,
        config: LoaderConfig,
        decoders: usize,
        fetchers: usize,
    ) -> Self {
        let plan = BatchPlan::new(sequence.len(), &config);
        let per_batch = (plan.batch / plan.world).max(1) as usize;
        let batch_bytes = per_batch.saturating_mul(config.preprocess.bytes());
        // Small batches: enough of them that every thread has a sample, and one in waiting.
        let wanted = OPEN.max((2 * decoders).div_ceil(per_batch) + 1);
        let open = (config.max_bytes / batch_bytes.max(1)).clamp(1, wanted);
        let pass = Pass { number: 0, epoch: 0 };
        Self {
            plan,
            stats: Counters::default(),
            open,
            ahead: if fetchers == 0 { 0 } else { 2 * fetchers as u64 + decoders as u64 },
            state: Mutex::new(State {
                pass,
                first: 0,
                batches: VecDeque::new(),
                next: Place { batch: 0, slot: 0 },
                next_fetch: Place { batch: 0, slot: 0 },
                fetched: VecDeque::new(),
                decoded: 0,
                fetched_bytes: 0,
                spare: Vec::new(),
                spare_files: Vec::new(),
                busy: vec![None; decoders + fetchers],
                last_progress: Instant::now(),
                asked: None,
                bad: Vec::new(),
                over: true,
                stop: false,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
            source,
            sequence,
            config,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_all();
    }

    /// Starts a pass at `batch`.
    pub(super) fn begin(&self, epoch: u64, batch: usize) -> Pass {
        let mut state = self.lock();
        state.pass = Pass { number: state.pass.number + 1, epoch };
        state.first = batch as u64;
        state.next = Place { batch: batch as u64, slot: 0 };
        state.next_fetch = state.next;
        state.batches.clear();
        state.forget_fetched();
        state.bad.clear();
        state.last_progress = Instant::now();
        state.asked = None;
        state.over = false;
        self.work.notify_all();
        state.pass
    }

    /// Nobody takes batches of this pass any more.
    pub(super) fn end(&self, pass: Pass) {
        let mut state = self.lock();
        if state.pass == pass {
            state.over = true;
            state.batches.clear();
            state.forget_fetched();
        }
    }

    pub(super) fn recycle(&self, batch: Batch) {
        let mut state = self.lock();
        if state.spare.len() < self.open {
            state.spare.push(batch.pixels);
        }
    }

    pub(super) fn bad_samples(&self) -> Vec<BadSample> {
        self.lock().bad.clone()
    }

    /// Where a place lies in its pass; nothing where the pass is over.
    fn position(&self, place: Place) -> Option<u64> {
        if place.batch >= self.plan.batches() as u64 {
            return None;
        }
        let positions = self.plan.positions(place.batch);
        // A rank may have no sample of a short last batch.
        Some(positions.start + place.slot).filter(|position| *position < positions.end)
    }

    /// The place after this one.
    fn after(&self, place: Place) -> Place {
        let count = self.plan.positions(place.batch).count() as u64;
        if place.slot + 1 < count {
            Place { slot: place.slot + 1, ..place }
        } else {
            Place { batch: place.batch + 1, slot: 0 }
        }
    }

    /// Sample and number of appearance at `position`; padding repeats from the start of the pass.
    fn draw(&self, epoch: u64, position: u64) -> Draw {
        self.sequence.at(epoch, self.plan.first + position % self.plan.samples)
    }

    /// The life of a worker.
    pub(super) fn decode(&self, thread: usize) {
        let mut worker = Worker::default();
        while let Some(job) = self.take(Some(thread)) {
            self.work_on(job, &mut worker, Some(thread));
        }
    }

    /// All jobs of one batch, on this thread.
    pub(super) fn decode_batch(&self, pass: Pass, batch: usize) {
        let mut worker = Worker::default();
        loop {
            let state = self.lock();
            if state.pass != pass || state.next.batch > batch as u64 {
                return;
            }
            drop(state);
            match self.take(None) {
                Some(job) => self.work_on(job, &mut worker, None),
                None => return,
            }
        }
    }

    fn work_on(&self, mut job: Job, worker: &mut Worker, thread: Option<usize>) {
        let prepared = self.prepare(&mut job, worker);
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(thread) = thread {
            state.busy[thread] = None;
        }
        state.last_progress = Instant::now();
        if state.pass != job.pass || state.over {
            return;
        }
        if let Some(Ok(fetched)) = job.fetched {
            state.spare_files.push(fetched.bytes);
        }
        let number = job.place.batch.checked_sub(state.first);
        let Some(open) = number.and_then(|n| state.batches.get_mut(n as usize)) else { return };
        open.put(job.place.slot as usize, job.room, prepared);
        if open.is_done() {
            self.done.notify_all();
        }
    }

    /// The next sample, once there is one and its batch may be opened; nothing when the loader ends. Without a thread
    /// (the consumer's own) it never waits.
    fn take(&self, thread: Option<usize>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some(job) = self.next_job(&mut state, thread) {
                return Some(job);
            }
            thread?;
            let idle = Instant::now();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            self.stats.idle.add_time(idle.elapsed());
        }
    }

    fn next_job(&self, state: &mut State, thread: Option<usize>) -> Option<Job> {
        if state.over {
            return None;
        }
        let place = state.next;
        let position = self.position(place)?;
        if place.batch >= state.first + self.open as u64 {
            return None;
        }
        let fetched = if self.ahead > 0 {
            // In order: the bytes of this very sample have to be there.
            state.fetched.front()?.as_ref()?;
            state.fetched.pop_front()?
        } else {
            None
        };
        if let Some(Ok(fetched)) = &fetched {
            state.fetched_bytes -= fetched.bytes.len();
        }
        self.open_batches(state, place.batch);
        let open = state.batches.back_mut()?;
        let room = open.take(place.slot as usize);
        state.next = self.after(place);
        state.decoded += 1;
        if let Some(thread) = thread {
            state.busy[thread] = Some((Instant::now(), self.draw(state.pass.epoch, position).index as usize));
        }
        if self.ahead > 0 {
            // There is room to fetch another.
            self.work.notify_all();
        }
        Some(Job { pass: state.pass, place, position, room, fetched })
    }

    /// Opens every batch up to `batch`.
    fn open_batches(&self, state: &mut State, batch: u64) {
        while state.first + state.batches.len() as u64 <= batch {
            let number = state.first + state.batches.len() as u64;
            let memory = state.spare.pop().unwrap_or_default();
            let count = self.plan.positions(number).count();
            state.batches.push_back(OpenBatch::new(count, self.config.preprocess.bytes(), memory));
        }
    }

    /// The life of a fetcher.
    pub(super) fn fetch(&self, thread: usize) {
        loop {
            let mut state = self.lock();
            let (pass, job, position, buffer) = loop {
                if state.stop {
                    return;
                }
                let ahead = state.fetched.len() as u64;
                let room = ahead < self.ahead && (state.fetched_bytes < self.config.max_bytes || ahead == 0);
                let position = self.position(state.next_fetch).filter(|_| room && !state.over);
                if let Some(position) = position {
                    state.fetched.push_back(None);
                    state.next_fetch = self.after(state.next_fetch);
                    let index = self.draw(state.pass.epoch, position).index as usize;
                    state.busy[thread] = Some((Instant::now(), index));
                    let buffer = state.spare_files.pop().unwrap_or_default();
                    break (state.pass, state.decoded + ahead, position, buffer);
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let started = Instant::now();
            let index = self.draw(pass.epoch, position).index as usize;
            let fetched = self.guarded(index, || Fetched::of(self.source.as_ref(), index, buffer));
            self.stats.fetching.add_time(started.elapsed());
            let mut state = self.lock();
            state.busy[thread] = None;
            state.last_progress = Instant::now();
            if state.pass == pass
                && !state.over
                && let Some(place) = job.checked_sub(state.decoded)
            {
                state.fetched_bytes += fetched.as_ref().map_or(0, |fetched| fetched.bytes.len());
                if let Some(slot) = state.fetched.get_mut(place as usize) {
                    *slot = Some(fetched);
                }
                self.work.notify_all();
            }
        }
    }

    /// Fetches (where no fetcher did) and prepares the sample of a job, or another in its place.
    fn prepare(&self, job: &mut Job, worker: &mut Worker) -> Result<Prepared> {
        let epoch = job.pass.epoch;
        let counts = job.position < self.plan.samples;
        let mut draw = self.draw(epoch, job.position);
        let mut bad: Option<BadSample> = None;
        let mut tried = 0;
        // The copies of a sample have one stand-in, and are copies of it.
        let repeats = u64::from(self.config.repeats);
        let repeat = draw.copy % repeats;
        let first_copy = job.position.wrapping_sub(repeat);
        let mut others = SampleRng::new(self.config.seed, epoch, first_copy, REPLACEMENT);
        loop {
            let index = draw.index as usize;
            let fetched = if tried == 0 { job.fetched.take() } else { None };
            let outcome = match fetched {
                Some(Err(error)) => Err(error),
                Some(Ok(fetched)) => {
                    let outcome = self.guarded(index, || {
                        worker.prepare(self, draw, epoch, fetched.stored(), &mut job.room)
                    });
                    job.fetched = Some(Ok(fetched));
                    outcome
                }
                None => self.guarded(index, || worker.fetch_and_prepare(self, draw, epoch, &mut job.room)),
            };
            let error = match outcome {
                Ok(()) => {
                    self.stats.samples.add(1);
                    // What stands in must not be measured a second time.
                    let counts = counts && (bad.is_none() || self.config.order != Order::Sequential);
                    return Ok(Prepared { label: self.source.label(index), index, counts, bad });
                }
                Err(error) => error,
            };
            if self.config.on_error == OnError::Fail || tried >= REPLACEMENTS {
                return Err(error);
            }
            // A bad stand-in is listed where it stands by right.
            bad.get_or_insert_with(|| BadSample {
                index,
                place: self.source.place(index),
                reason: error.kind().to_string(),
            });
            tried += 1;
            let other = self.draw(epoch, others.below(self.plan.samples));
            draw = Draw { copy: other.copy / repeats * repeats + repeat, ..other };
        }
    }

    /// What `work` gives; a panic in it is an error that names the sample.
    fn guarded<T>(&self, index: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let place = catch_unwind(AssertUnwindSafe(|| self.source.place(index))).unwrap_or_default();
            let message = format!("reading sample {index} panicked; remove or repair it");
            Err(Error::in_place(place, ErrorKind::Worker(message)))
        })
    }

    /// The next batch once it is whole; nothing if another pass has begun.
    pub(super) fn wait_for(&self, pass: Pass) -> Option<Result<Batch>> {
        let asked = Instant::now();
        let mut state = self.lock();
        if let Some(before) = state.asked.replace(asked) {
            self.stats.consumer_total.add_time(asked - before);
        }
        loop {
            if state.pass != pass {
                return None;
            }
            // A batch without places (of a rank with no sample in a short last one) is opened by nobody else.
            if state.batches.is_empty() && self.plan.positions(state.first).is_empty() {
                let first = state.first;
                self.open_batches(&mut state, first);
            }
            if state.batches.front().is_some_and(OpenBatch::is_done) {
                let open = state.batches.pop_front()?;
                state.first += 1;
                self.work.notify_all();
                self.stats.consumer_waiting.add_time(asked.elapsed());
                let finished = open.finish().and_then(|(batch, bad)| {
                    state.bad.extend(bad);
                    self.within_budget(&state.bad).map(|()| batch)
                });
                return Some(finished);
            }
            let quiet = state.last_progress.max(asked).elapsed();
            let Some(left) = self.config.patience.checked_sub(quiet).filter(|left| !left.is_zero()) else {
                return Some(Err(self.hangs(&state, quiet)));
            };
            let left = match &self.config.stop {
                Some(stop) if stop.load(Ordering::Relaxed) => {
                    return Some(Err(Error::new(ErrorKind::Stopped)));
                }
                Some(_) => left.min(STOP_HEARD_WITHIN),
                None => left,
            };
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn within_budget(&self, bad: &[BadSample]) -> Result<()> {
        let OnError::Replace { at_most } = self.config.on_error else { return Ok(()) };
        let allowed = (at_most * self.plan.samples as f64) as usize;
        match bad.first() {
            Some(first) if bad.len() > allowed => {
                let (bad, all) = (bad.len(), self.plan.samples);
                let message = format!(
                    "{bad} samples of a pass of {all} cannot be read, {allowed} may be replaced; the first: {}",
                    first.reason
                );
                Err(Error::in_place(first.place.clone(), ErrorKind::Corrupt(message)))
            }
            _ => Ok(()),
        }
    }

    fn hangs(&self, state: &State, quiet: Duration) -> Error {
        let longest = state.busy.iter().flatten().min_by_key(|(since, _)| *since);
        let seconds = quiet.as_secs_f64();
        match longest {
            Some(&(_, index)) => {
                let message = format!(
                    "no sample was finished for {seconds:.1} s, this one hangs longest; is its storage alive?"
                );
                Error::in_place(self.source.place(index), ErrorKind::Worker(message))
            }
            None => Error::new(ErrorKind::Worker(format!(
                "no sample was finished for {seconds:.1} s, and no thread is at one"
            ))),
        }
    }
}

impl State {
    fn forget_fetched(&mut self) {
        self.fetched.clear();
        self.fetched_bytes = 0;
    }
}
