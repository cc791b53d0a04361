//! Vectors that threads fill a part at a time.
//!
//! One of three places with `unsafe`: memory that is written whole is not filled with zeros before.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::simd::wide;

/// A part of a vector that nothing was written into.
pub(super) struct Room<'a>(pub(super) &'a mut [MaybeUninit<f32>]);

impl<'a> Room<'a> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Zeros.
    pub(super) fn zeros(self) -> &'a mut [f32] {
        self.fill(&std::iter::repeat(0.0))
    }

    /// The first of these numbers, which lie side by side.
    ///
    /// # Panics
    ///
    /// When they are too few.
    pub(super) fn copy(self, numbers: &[f32]) -> &'a mut [f32] {
        let length = self.len();
        self.0.write_copy_of_slice(&numbers[..length])
    }

    /// The first of these numbers, many at once.
    ///
    /// # Panics
    ///
    /// When they are too few.
    pub(super) fn fill(self, numbers: &(impl Iterator<Item = f32> + Clone)) -> &'a mut [f32] {
        let width = self.len();
        self.fill_rows(
            width,
            #[inline(always)]
            |_| numbers.clone(),
        )
    }

    /// For each row of so many numbers the first of those that belong to it.
    ///
    /// # Panics
    ///
    /// When they are too few.
    pub(super) fn fill_rows<I: Iterator<Item = f32>>(
        self,
        width: usize,
        mut numbers: impl FnMut(usize) -> I,
    ) -> &'a mut [f32] {
        let filled = wide(
            #[inline(always)]
            || {
                let mut filled = 0;
                for (n, row) in self.0.chunks_mut(width.max(1)).enumerate() {
                    for (to, number) in row.iter_mut().zip(numbers(n)) {
                        to.write(number);
                        filled += 1;
                    }
                }
                filled
            },
        );
        assert_eq!(filled, self.0.len(), "numbers for the whole part");
        // SAFETY: as many elements were written as there are, each of them once.
        unsafe { self.0.assume_init_mut() }
    }
}

/// A vector of `length` elements. `work` is given what a thread works with, the number of a part, and the part: so many elements, or fewer in the
/// last. It returns the part, filled.
///
/// # Panics
///
/// When it returns another.
pub(super) fn by_parts<S>(
    length: usize,
    part: usize,
    init: impl Fn() -> S + Sync,
    work: impl for<'a> Fn(&mut S, usize, Room<'a>) -> &'a mut [f32] + Sync,
) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(length);
    let room = &mut all.spare_capacity_mut()[..length];
    room.par_chunks_mut(part).enumerate().for_each_init(&init, |state, (n, room)| {
        let here = (room.as_ptr().cast::<f32>(), room.len());
        let filled = work(state, n, Room(room));
        assert_eq!((filled.as_ptr(), filled.len()), here, "the part itself");
    });
    // SAFETY: the parts are `length` elements together, each was filled, and a panic on the way has not come here.
    unsafe { all.set_len(length) };
    all
}

/// The same of parts that are made in the cache, with whatever is there from before, and copied from there.
pub(super) fn by_chunks<S>(
    length: usize,
    chunk: usize,
    init: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let scratch = || (init(), vec![0.0; chunk.min(length)]);
    by_parts(length, chunk, scratch, |(state, made), n, room| {
        let made = &mut made[..room.len()];
        work(state, n, made);
        room.copy(made)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_where_it_belongs() {
        for (length, part) in [(0, 3), (1, 3), (3, 3), (10, 3), (10_000, 7), (5, 100)] {
            let number = |n: usize, k: usize| (n * part + k + 1) as f32;
            let expected: Vec<f32> = (1..=length).map(|n| n as f32).collect();
            let parts = by_parts(length, part, || (), |(), n, room| room.fill(&(0..).map(|k| number(n, k))));
            assert_eq!(parts, expected, "{length} in parts of {part}");
            let chunks = by_chunks(
                length,
                part,
                || (),
                |(), n, chunk| chunk.iter_mut().enumerate().for_each(|(k, value)| *value = number(n, k)),
            );
            assert_eq!(chunks, expected, "{length} in chunks of {part}");
        }
    }

    #[test]
    fn a_panic_passes_through() {
        let made = std::panic::catch_unwind(|| by_chunks(100, 10, || (), |(), n, _| assert!(n < 5)));
        assert!(made.is_err());
    }

    #[test]
    #[should_panic(expected = "numbers for the whole part")]
    fn too_few_numbers_are_noticed() {
        by_parts(10, 10, || (), |(), _, room| room.fill(&[1.0].into_iter()));
    }

    #[test]
    #[should_panic(expected = "the part itself")]
    fn another_part_is_noticed() {
        by_parts(10, 10, || (), |(), _, _| Box::leak(Box::new([0.0; 10])));
    }
}
