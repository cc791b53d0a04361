//! Threads that stay awake while a network answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rayon::Yield;

use crate::folded::kept;

/// Threads for one answer: more do not make one of a few milliseconds faster, and to wake them takes time.
const THREADS: usize = 8;

/// How often a thread looks for work in vain before it sleeps after all: for about a tenth of a millisecond.
const LOOKS: usize = 500;

/// Until this is dropped, other threads of the pool that it was made on look for work all the time.
///
/// An answer to one image is a hundred operations of some microseconds, and a thread that sleeps between them is woken in about the time that one
/// takes. On a machine that others share, where that takes longer still, two threads answered by a twentieth to a sixth
/// faster for it.
pub(crate) struct Awake(Arc<AtomicBool>);

impl Awake {
    /// On a thread of a pool: its others.
    pub(crate) fn others() -> Self {
        let awake = Self(Arc::new(AtomicBool::new(true)));
        for _ in 1..rayon::current_num_threads().min(THREADS) {
            let still = awake.0.clone();
            rayon::spawn(move || look_for_work(&still));
        }
        awake
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Not for long where there is none, and not on a thread that answers itself: what waits below goes on.
fn look_for_work(still: &AtomicBool) {
    let mut looks = 0;
    while looks < LOOKS && still.load(Ordering::Relaxed) && kept().is_none() {
        match rayon::yield_now() {
            Some(Yield::Executed) => looks = 0,
            _ => looks += 1,
        }
        thread::yield_now();
    }
}
