//! Vectors of numbers in registers.

use std::mem::MaybeUninit;

use pulp::Simd;

use super::super::Pointwise;
use super::panels::first_of;

/// Where in a row of so many numbers some of its vectors begin.
#[inline(always)]
pub(super) fn places<const WIDE: usize>(vector: usize, numbers: usize, lanes: usize) -> [usize; WIDE] {
    let mut places = [0; WIDE];
    for (n, place) in places.iter_mut().enumerate() {
        *place = first_of(vector + n, numbers, lanes);
    }
    places
}

/// The vectors at these places.
#[inline(always)]
pub(super) fn read<S: Simd, const WIDE: usize>(
    simd: S,
    numbers: &[f32],
    places: [usize; WIDE],
) -> [S::f32s; WIDE] {
    let mut vectors = [simd.splat_f32s(0.0); WIDE];
    for (vector, place) in vectors.iter_mut().zip(places) {
        *vector = S::as_simd_f32s(&numbers[place..][..S::F32_LANES]).0[0];
    }
    vectors
}

/// The vectors that numbers begin with.
#[inline(always)]
pub(super) fn vectors<S: Simd, const WIDE: usize>(numbers: &[f32]) -> &[S::f32s; WIDE] {
    let (vectors, _) = S::as_simd_f32s(&numbers[..WIDE * S::F32_LANES]);
    let (vectors, _) = vectors.as_chunks();
    &vectors[0]
}

/// Writes vectors side by side.
#[inline(always)]
pub(super) fn write<S: Simd, const WIDE: usize>(vectors: &[S::f32s; WIDE], to: &mut [MaybeUninit<f32>]) {
    let (to, _) = S::as_uninit_mut_simd_f32s(&mut to[..WIDE * S::F32_LANES]);
    for (to, vector) in to.iter_mut().zip(vectors) {
        to.write(*vector);
    }
}

/// The function, if it takes a few instructions.
pub(super) fn is_quick(function: Pointwise) -> bool {
    match function {
        Pointwise::Relu
        | Pointwise::Relu6
        | Pointwise::LeakyRelu(_)
        | Pointwise::HardSigmoid
        | Pointwise::HardSwish => true,
        Pointwise::Sigmoid | Pointwise::Silu | Pointwise::Gelu => false,
    }
}

/// The function of each number of the vectors, if it is a quick one.
#[inline(always)]
pub(super) fn apply<S: Simd, const WIDE: usize, const HIGH: usize>(
    simd: S,
    function: Option<Pointwise>,
    sums: &mut [[S::f32s; WIDE]; HIGH],
) {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let (half, sixth) = (simd.splat_f32s(0.5), simd.splat_f32s(1.0 / 6.0));
    match function {
        Some(Pointwise::Relu) => each::<S, WIDE, HIGH>(
            sums,
            #[inline(always)]
            |x| at_least(simd, x, zero),
        ),
        Some(Pointwise::Relu6) => {
            let six = simd.splat_f32s(6.0);
            each::<S, WIDE, HIGH>(
                sums,
                #[inline(always)]
                |x| at_most(simd, at_least(simd, x, zero), six),
            );
        }
        Some(Pointwise::LeakyRelu(slope)) => {
            let slope = simd.splat_f32s(slope as f32);
            each::<S, WIDE, HIGH>(
                sums,
                #[inline(always)]
                |x| simd.select_f32s(simd.less_than_f32s(x, zero), simd.mul_f32s(x, slope), x),
            );
        }
        Some(Pointwise::HardSigmoid) => each::<S, WIDE, HIGH>(
            sums,
            #[inline(always)]
            |x| at_most(simd, at_least(simd, simd.mul_add_e_f32s(x, sixth, half), zero), one),
        ),
        // What is no number makes a product that is none, whatever the other factor.
        Some(Pointwise::HardSwish) => each::<S, WIDE, HIGH>(
            sums,
            #[inline(always)]
            |x| {
                let gate = simd.max_f32s(simd.mul_add_e_f32s(x, sixth, half), zero);
                simd.mul_f32s(x, simd.min_f32s(gate, one))
            },
        ),
        Some(Pointwise::Sigmoid | Pointwise::Silu | Pointwise::Gelu) | None => {}
    }
}

/// The higher of both, and what is no number where `x` is none.
#[inline(always)]
fn at_least<S: Simd>(simd: S, x: S::f32s, low: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(x, low), low, x)
}

/// The lower of both, and what is no number where `x` is none.
#[inline(always)]
fn at_most<S: Simd>(simd: S, x: S::f32s, high: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(high, x), high, x)
}

#[inline(always)]
fn each<S: Simd, const WIDE: usize, const HIGH: usize>(
    sums: &mut [[S::f32s; WIDE]; HIGH],
    function: impl Fn(S::f32s) -> S::f32s,
) {
    for sums in sums {
        for sum in sums {
            *sum = function(*sum);
        }
    }
}
