//! The passes with AVX2, through `pulp`'s safe names for its instructions.

use std::arch::x86_64::{__m128i, __m256i};

use pulp::cast;
use pulp::x86::V3;

use super::{FIRST_SHIFT, SECOND_SHIFT, Transform, wave, write_row};

/// Pairs of constants, for an instruction that multiplies and adds pairs.
type Pairs = [i16; 16];

/// What frequencies `first` and `second` add to sample `place`, for all columns.
const fn both(length: usize, place: usize, first: usize, second: usize) -> Pairs {
    let mut pairs = [0; 16];
    let mut at = 0;
    while at < 16 {
        pairs[at] = wave(length, place, if at % 2 == 0 { first } else { second });
        at += 1;
    }
    pairs
}

/// What frequencies `2 * pair` and `2 * pair + 1` add to each sample.
const fn along(length: usize, pair: usize) -> Pairs {
    let mut pairs = [0; 16];
    let mut at = 0;
    while at < 16 {
        pairs[at] = wave(length, at / 2, 2 * pair + at % 2);
        at += 1;
    }
    pairs
}

/// For each sample of the first half: frequencies (0, 2), (4, 6), (1, 3) and (5, 7).
const fn first_pass(length: usize) -> [[Pairs; 4]; 4] {
    let mut constants = [[[0; 16]; 4]; 4];
    let mut y = 0;
    while y < 4 {
        constants[y] =
            [both(length, y, 0, 2), both(length, y, 4, 6), both(length, y, 1, 3), both(length, y, 5, 7)];
        y += 1;
    }
    constants
}

/// `value / 2^BITS`, the rounding being added already.
#[inline(always)]
fn shift<const BITS: i32>(v3: V3, value: __m256i) -> __m256i {
    v3.avx2._mm256_srai_epi32::<BITS>(value)
}

#[inline(always)]
fn add(v3: V3, a: __m256i, b: __m256i) -> __m256i {
    v3.avx2._mm256_add_epi32(a, b)
}

#[inline(always)]
fn times(v3: V3, a: __m256i, constants: Pairs) -> __m256i {
    v3.avx2._mm256_madd_epi16(a, cast(constants))
}

/// A row of coefficients.
#[inline(always)]
fn row(v3: V3, block: &[i16; 64], steps: &[i16; 64], k: usize) -> __m128i {
    let (block, steps) = (block.as_chunks::<8>().0, steps.as_chunks::<8>().0);
    v3.sse2._mm_mullo_epi16(cast(block[k]), cast(steps[k]))
}

/// Two rows, their columns side by side.
#[inline(always)]
fn pair(v3: V3, a: __m128i, b: __m128i) -> __m256i {
    v3.avx._mm256_set_m128i(v3.sse2._mm_unpackhi_epi16(a, b), v3.sse2._mm_unpacklo_epi16(a, b))
}

/// The samples of a row, from pairs of its coefficients: each is multiplied into all of them.
#[inline(always)]
fn along_row<const USED: usize>(v3: V3, pairs: [i32; 4], constants: &[Pairs; 4]) -> __m256i {
    let mut sum: __m256i = cast([(1 << (SECOND_SHIFT - 1)) + (128 << SECOND_SHIFT); 8]);
    let mut k = 0;
    while k < USED / 2 {
        sum = add(v3, sum, times(v3, v3.avx._mm256_set1_epi32(pairs[k]), constants[k]));
        k += 1;
    }
    shift::<SECOND_SHIFT>(v3, sum)
}

/// The samples of two rows. The halves of registers keep to themselves: what is packed is left, left, right, right.
#[inline(always)]
fn along_two_rows<const USED: usize>(v3: V3, a: __m256i, b: __m256i, constants: &[Pairs; 4]) -> __m256i {
    let [p0, p1, q0, q1, p2, p3, q2, q3]: [i32; 8] = cast(v3.avx2._mm256_packs_epi32(a, b));
    v3.avx2._mm256_packs_epi32(
        along_row::<USED>(v3, [p0, p1, p2, p3], constants),
        along_row::<USED>(v3, [q0, q1, q2, q3], constants),
    )
}

impl Transform for V3 {
    #[inline(always)]
    fn transform<const ACROSS: usize, const DOWN: usize, const USED: usize>(
        self,
        block: &[i16; 64],
        steps: &[i16; 64],
        plane: &mut [u8],
        stride: usize,
    ) {
        // Down the columns, with a sum of the even frequencies and one of the odd for each two rows of samples.
        let constants = const { first_pass(DOWN) };
        let even_low = pair(self, row(self, block, steps, 0), row(self, block, steps, 2));
        let even_high = pair(self, row(self, block, steps, 4), row(self, block, steps, 6));
        let odd_low = pair(self, row(self, block, steps, 1), row(self, block, steps, 3));
        let odd_high = pair(self, row(self, block, steps, 5), row(self, block, steps, 7));
        let round: __m256i = cast([1 << (FIRST_SHIFT - 1); 8]);
        let mut sums: [__m256i; 8] = [round; 8];
        let mut y = 0;
        while y < DOWN.div_ceil(2) {
            let mut even = add(self, round, times(self, even_low, constants[y][0]));
            let mut odd = times(self, odd_low, constants[y][2]);
            if USED > 4 {
                even = add(self, even, times(self, even_high, constants[y][1]));
                odd = add(self, odd, times(self, odd_high, constants[y][3]));
            }
            let mirrored = self.avx2._mm256_sub_epi32(even, odd);
            sums[DOWN - 1 - y] = shift::<FIRST_SHIFT>(self, mirrored);
            sums[y] = shift::<FIRST_SHIFT>(self, add(self, even, odd));
            y += 1;
        }

        let constants: [Pairs; 4] =
            const { [along(ACROSS, 0), along(ACROSS, 1), along(ACROSS, 2), along(ACROSS, 3)] };
        let in_order: __m256i = cast([0, 4, 1, 5, 2, 6, 3, 7]);
        let mut y = 0;
        while y < DOWN {
            let packed = self.avx2._mm256_packus_epi16(
                along_two_rows::<USED>(self, sums[y], sums[y + 1], &constants),
                along_two_rows::<USED>(self, sums[y + 2], sums[y + 3], &constants),
            );
            let rows: [[u8; 8]; 4] = cast(self.avx2._mm256_permutevar8x32_epi32(packed, in_order));
            for (i, row) in rows.iter().enumerate() {
                if let (true, Some(row)) = (y + i < DOWN, row.first_chunk::<ACROSS>()) {
                    write_row(plane, (y + i) * stride, *row);
                }
            }
            y += 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Portable, samples};
    use super::*;
    use crate::order::SampleRng;

    #[test]
    fn samples_are_those_of_the_portable_loops() {
        let Some(v3) = V3::try_new() else {
            println!("skipped: no AVX2");
            return;
        };
        let mut rng = SampleRng::new(8, 8, 8, 8);
        for round in 0..2000u32 {
            let block: [i16; 64] = std::array::from_fn(|_| {
                let value = rng.next_u64() as i16;
                if rng.chance(0.5) { 0 } else { value >> (round % 13) }
            });
            let steps: [i16; 64] = std::array::from_fn(|_| 1 + rng.below(1 << (round % 9)) as i16);
            for size in super::super::tests::SIZES {
                let mut few = block;
                if round % 2 == 0 {
                    few.iter_mut().enumerate().filter(|(p, _)| p & 0b100_100 != 0).for_each(|(_, v)| *v = 0);
                }
                let seen = if round % 2 == 0 { 0b011_011 } else { 63 };
                let (mut portable, mut vectors) = ([0; 80], [0; 80]);
                samples(Portable, &few, seen, &steps, size, &mut portable, 10);
                samples(v3, &few, seen, &steps, size, &mut vectors, 10);
                assert_eq!(portable, vectors, "{size:?}");
            }
        }
    }
}
