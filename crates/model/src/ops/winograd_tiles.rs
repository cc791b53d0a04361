//! What tiles of pixels and kernels become before and after their products: polynomials' values at points, and polynomials again (Lavin and Gray,
//! <https://arxiv.org/abs/1509.09308>, section 4.3).
//!
//! The points are 0, ±5/8, ±3/2 and infinity. Sums of such lose less to rounding than those of 0, ±1 and ±2.

use pulp::{Arch, Simd, WithSimd};

/// Pixels of a tile that comes out, each way.
pub(super) const OUT: usize = 4;

/// Pixels that it sees.
pub(super) const SEEN: usize = 6;

/// Pixels of a kernel.
pub(super) const KERNEL: usize = 3;

const P: f32 = 0.625;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;

/// What kernels are divided by at each point, so that pixels are not: products of its distances to the others.
const AT_0: f32 = 1.0 / (P2 * Q2);
const AT_P: f32 = 1.0 / (2.0 * P2 * (P2 - Q2));
const AT_Q: f32 = 1.0 / (2.0 * Q2 * (Q2 - P2));

/// A matrix that a row or a column is multiplied with.
pub(super) trait Line<const FROM: usize, const TO: usize> {
    fn of<S: Simd>(simd: S, from: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// For pixels that go in.
#[derive(Clone, Copy)]
pub(super) struct Pixels;
/// For kernels.
#[derive(Clone, Copy)]
pub(super) struct Kernels;
/// For sums of their products: pixels that come out.
#[derive(Clone, Copy)]
pub(super) struct Sums;
/// For gradients of pixels that come out.
#[derive(Clone, Copy)]
pub(super) struct Gradients;
/// For sums of products of gradients and pixels: gradients of kernels.
#[derive(Clone, Copy)]
pub(super) struct KernelSums;

impl Line<SEEN, SEEN> for Pixels {
    #[inline(always)]
    fn of<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; SEEN]) -> [S::f32s; SEEN] {
        let (even_p, odd_p) = (times(simd, -Q2, c, e), times(simd, -Q2, b, d));
        let (even_q, odd_q) = (times(simd, -P2, c, e), times(simd, -P2, b, d));
        [
            times(simd, P2 * Q2, a, times(simd, -P2 - Q2, c, e)),
            times(simd, P, odd_p, even_p),
            times(simd, -P, odd_p, even_p),
            times(simd, Q, odd_q, even_q),
            times(simd, -Q, odd_q, even_q),
            times(simd, P2 * Q2, b, times(simd, -P2 - Q2, d, f)),
        ]
    }
}

impl Line<KERNEL, SEEN> for Kernels {
    #[inline(always)]
    fn of<S: Simd>(simd: S, [a, b, c]: [S::f32s; KERNEL]) -> [S::f32s; SEEN] {
        let even_p = times(simd, AT_P, a, scaled(simd, AT_P * P2, c));
        let even_q = times(simd, AT_Q, a, scaled(simd, AT_Q * Q2, c));
        [
            scaled(simd, AT_0, a),
            times(simd, AT_P * P, b, even_p),
            times(simd, -AT_P * P, b, even_p),
            times(simd, AT_Q * Q, b, even_q),
            times(simd, -AT_Q * Q, b, even_q),
            c,
        ]
    }
}

impl Line<SEEN, OUT> for Sums {
    #[inline(always)]
    fn of<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; SEEN]) -> [S::f32s; OUT] {
        let (even_p, even_q) = (simd.add_f32s(b, c), simd.add_f32s(d, e));
        let (odd_p, odd_q) = (simd.sub_f32s(b, c), simd.sub_f32s(d, e));
        [
            simd.add_f32s(a, simd.add_f32s(even_p, even_q)),
            times(simd, P, odd_p, scaled(simd, Q, odd_q)),
            times(simd, P2, even_p, scaled(simd, Q2, even_q)),
            times(simd, P2 * P, odd_p, times(simd, Q2 * Q, odd_q, f)),
        ]
    }
}

impl Line<OUT, SEEN> for Gradients {
    #[inline(always)]
    fn of<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; OUT]) -> [S::f32s; SEEN] {
        let (even_p, odd_p) = (times(simd, P2, c, a), times(simd, P2, d, b));
        let (even_q, odd_q) = (times(simd, Q2, c, a), times(simd, Q2, d, b));
        [
            a,
            times(simd, P, odd_p, even_p),
            times(simd, -P, odd_p, even_p),
            times(simd, Q, odd_q, even_q),
            times(simd, -Q, odd_q, even_q),
            d,
        ]
    }
}

impl Line<SEEN, KERNEL> for KernelSums {
    #[inline(always)]
    fn of<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; SEEN]) -> [S::f32s; KERNEL] {
        let (even_p, even_q) =
            (scaled(simd, AT_P, simd.add_f32s(b, c)), scaled(simd, AT_Q, simd.add_f32s(d, e)));
        let (odd_p, odd_q) = (simd.sub_f32s(b, c), simd.sub_f32s(d, e));
        [
            times(simd, AT_0, a, simd.add_f32s(even_p, even_q)),
            times(simd, AT_P * P, odd_p, scaled(simd, AT_Q * Q, odd_q)),
            times(simd, P2, even_p, times(simd, Q2, even_q, f)),
        ]
    }
}

/// `factor · a`.
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, a: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), a)
}

/// `factor · a + b`.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b)
}

/// Vectors at so many rows and columns, and where in a slice each place's first is.
pub(super) type Places<const N: usize> = [[usize; N]; N];

/// Multiplies a square of numbers with the matrix from both sides, for each of so many channels that follow each other at every place.
///
/// # Panics
///
/// When a place and its channels lead out of a slice, or are not a multiple of what a vector holds.
pub(super) fn both_ways<L: Line<FROM, TO>, const FROM: usize, const TO: usize>(
    _: L,
    channels: usize,
    from: (&[f32], &Places<FROM>),
    to: (&mut [f32], &Places<TO>),
) {
    let matrix = std::marker::PhantomData::<L>;
    Arch::new().dispatch(BothWays { matrix, channels, from, to });
}

struct BothWays<'a, L, const FROM: usize, const TO: usize> {
    matrix: std::marker::PhantomData<L>,
    channels: usize,
    from: (&'a [f32], &'a Places<FROM>),
    to: (&'a mut [f32], &'a Places<TO>),
}

impl<L: Line<FROM, TO>, const FROM: usize, const TO: usize> WithSimd for BothWays<'_, L, FROM, TO> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { channels, from: (from, from_places), to: (to, to_places), .. } = self;
        let (from, rest) = S::as_simd_f32s(from);
        let (to, rest_to) = S::as_mut_simd_f32s(to);
        let lanes = S::F32_LANES;
        assert!(rest.is_empty() && rest_to.is_empty() && channels.is_multiple_of(lanes), "whole vectors");
        let from_places = from_places.map(|row| row.map(|place| place / lanes));
        let to_places = to_places.map(|row| row.map(|place| place / lanes));
        for n in 0..channels / lanes {
            let mut half = [[simd.splat_f32s(0.0); FROM]; TO];
            for column in 0..FROM {
                let mut values = [simd.splat_f32s(0.0); FROM];
                for row in 0..FROM {
                    values[row] = from[from_places[row][column] + n];
                }
                let values = L::of(simd, values);
                for row in 0..TO {
                    half[row][column] = values[row];
                }
            }
            for row in 0..TO {
                let values = L::of(simd, half[row]);
                for column in 0..TO {
                    to[to_places[row][column] + n] = values[column];
                }
            }
        }
    }
}
