//! Vectors that threads fill a chunk at a time.
//!
//! One of two places with `unsafe`: memory that is written whole is not filled with zeros before.

#![allow(unsafe_code)]

use rayon::prelude::*;

/// A vector of `length` elements. `work` is given what a thread works with, the number of a chunk, and the chunk to write: so many elements, or
/// fewer in the last, with whatever is there from before.
pub(super) fn by_chunks<S>(
    length: usize,
    chunk: usize,
    init: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(length);
    let room = &mut all.spare_capacity_mut()[..length];
    room.par_chunks_mut(chunk).enumerate().for_each_init(
        // Chunks are made in the cache, and copied from there.
        || (init(), vec![0.0; chunk.min(length)]),
        |(state, made), (n, to)| {
            let made = &mut made[..to.len()];
            work(state, n, made);
            to.write_copy_of_slice(made);
        },
    );
    // SAFETY: the chunks are `length` elements together, each was copied into its place, and a panic on the way has not come here.
    unsafe { all.set_len(length) };
    all
}

#[cfg(test)]
mod tests {
    use super::by_chunks;

    #[test]
    fn every_chunk_is_where_it_belongs() {
        for (length, chunk) in [(0, 3), (1, 3), (3, 3), (10, 3), (10_000, 7), (5, 100)] {
            let all = by_chunks(
                length,
                chunk,
                || 1,
                |one, n, part| {
                    part.iter_mut().enumerate().for_each(|(k, value)| *value = (n * chunk + k + *one) as f32);
                },
            );
            let expected: Vec<f32> = (1..=length).map(|n| n as f32).collect();
            assert_eq!(all, expected, "{length} in chunks of {chunk}");
        }
    }

    #[test]
    fn a_panic_passes_through() {
        let made = std::panic::catch_unwind(|| by_chunks(100, 10, || (), |(), n, _| assert!(n < 5)));
        assert!(made.is_err());
    }
}
