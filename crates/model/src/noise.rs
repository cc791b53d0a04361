//! The random draws of a forward pass, as functions of a seed and a step.

use std::cell::Cell;

use crate::init::{mix, unit};

/// A key, and how many layers have drawn since it was set.
pub(crate) type State = (u64, u64);

thread_local! {
    static NOISE: Cell<State> = const { Cell::new((0, 0)) };
}

/// What layers that drop draw on this thread from now on follows from `seed` and `step` alone, on every backend. Called before each
/// step of training, it makes training repeatable.
pub fn of_step(seed: u64, step: u64) {
    NOISE.set((mix(mix(seed) ^ step), 0));
}

/// Where this thread stands.
#[cfg(feature = "flex")]
pub(crate) fn state() -> State {
    NOISE.get()
}

/// Lets this thread go on from there.
#[cfg(feature = "flex")]
pub(crate) fn set_state(state: State) {
    NOISE.set(state);
}

/// The next `count` draws, in `[0, 1)`.
pub(crate) fn draws(count: usize) -> Vec<f64> {
    let (key, layer) = NOISE.get();
    NOISE.set((key, layer + 1));
    let key = mix(key ^ layer);
    (0..count as u64).map(|n| unit(key, n)).collect()
}
