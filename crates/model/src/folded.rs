//! Kernels with the normalizations that follow folded into them, kept for a network that answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::ParamId;
use burn::tensor::Tensor;

/// Kernels `[outputs, inputs / groups, kernel, kernel]` and biases `[outputs]` of convolutions with the normalizations that follow.
#[derive(Debug, Default)]
pub(crate) struct Folded(Mutex<HashMap<(ParamId, ParamId), (Tensor<4>, Tensor<1>)>>);

#[cfg(all(test, feature = "flex"))]
impl Folded {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

thread_local! {
    /// Those of the network that answers on this thread.
    static FOLDED: RefCell<Option<Arc<Folded>>> = const { RefCell::new(None) };
}

/// Those of this thread.
pub(crate) fn kept() -> Option<Arc<Folded>> {
    FOLDED.with_borrow(Clone::clone)
}

/// Sets those of this thread, and tells what they were before.
pub(crate) fn set(folded: Option<Arc<Folded>>) -> Option<Arc<Folded>> {
    FOLDED.replace(folded)
}

/// Sets what there was before, also where work panics.
pub(crate) struct Restore(pub(crate) Option<Arc<Folded>>);

impl Drop for Restore {
    fn drop(&mut self) {
        set(self.0.take());
    }
}

/// What `fold` gives for the convolution and the normalization with these weights; what it gave before, where a prepared network answers.
pub(crate) fn folded(
    of: (ParamId, ParamId),
    fold: impl FnOnce() -> (Tensor<4>, Tensor<1>),
) -> (Tensor<4>, Tensor<1>) {
    let Some(kept) = kept() else { return fold() };
    let lock = || kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(there) = lock().get(&of) {
        return there.clone();
    }
    // Not under the lock: while this thread waits for others, it may be given the work of another answer.
    let folded = fold();
    lock().entry(of).or_insert(folded).clone()
}
