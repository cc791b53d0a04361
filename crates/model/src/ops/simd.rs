//! Plain loops, compiled for the widest vector instructions that the machine has.

use pulp::{Arch, Simd, WithSimd};

/// Numbers in the longest vectors.
pub(super) const MOST_LANES: usize = 16;

struct Loops<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Loops<F> {
    type Output = R;

    // Called as `FnMut`: a closure's way of being called once is a function of its own, which would be compiled without the instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Runs `loops`, which must be `#[inline(always)]` itself, as everything that it calls.
pub(super) fn wide<R>(loops: impl FnMut() -> R) -> R {
    Arch::new().dispatch(Loops(loops))
}
