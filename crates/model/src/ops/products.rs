//! The innermost loops of a direct convolution: pixels times channels, summed in registers.

use pulp::{Arch, Simd, WithSimd};

/// How many sums the registers hold, as vectors, beside what they are made of.
const WIDE_REGISTERS: usize = 28;
const NARROW_REGISTERS: usize = 12;

/// Runs beyond which addresses no longer fit in registers.
const MOST_RUNS: usize = 7;

/// The vectors of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// Numbers in a vector.
    pub(super) lanes: usize,
    /// Vectors that can be summed at once.
    registers: usize,
}

impl Machine {
    pub(super) fn new() -> Self {
        let lanes = Arch::new().dispatch(Lanes);
        // 32 registers with AVX-512 and on ARM, 16 elsewhere.
        let many = lanes == 16 || cfg!(target_arch = "aarch64");
        Self { lanes, registers: if many { WIDE_REGISTERS } else { NARROW_REGISTERS } }
    }

    /// The runs of `along` pixels that are summed at once with `vectors` of channels.
    pub(super) fn runs(self, along: usize, vectors: usize) -> usize {
        (self.registers / (along * vectors)).clamp(1, MOST_RUNS)
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Sums of products over terms.
///
/// A term is a vector or two of channels, and a place: how far from where each run of pixels begins lie those that the channels are multiplied with.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) pixels: &'a [f32],
    pub(super) places: &'a [usize],
    /// `[term, channel]`.
    pub(super) channels: &'a [f32],
    /// Vectors of channels, 1 or 2.
    pub(super) vectors: usize,
    /// Pixels in a run, 1 to 7.
    pub(super) along: usize,
}

impl Terms<'_> {
    /// Writes into `sums`, `[run, pixel, channel]`, what the terms are for runs that begin at `starts`, as many as are summed at once or a multiple
    /// of that, or adds it to what is there.
    ///
    /// # Panics
    ///
    /// When a term leads out of the pixels.
    pub(super) fn sum(self, machine: Machine, starts: &[usize], sums: &mut [f32], add: bool) {
        let runs = machine.runs(self.along, self.vectors);
        macro_rules! sweeps {
            ($(($vectors:literal, $runs:literal, $along:literal)),+ $(,)?) => {
                match (self.vectors, runs, self.along) {
                    $(($vectors, $runs, $along) => {
                        Arch::new().dispatch(Sweep::<$vectors, $runs, $along> { terms: self, starts, sums, add });
                    })+
                    (vectors, runs, along) => unreachable!("{runs} runs of {along} pixels with {vectors} vectors"),
                }
            };
        }
        sweeps!(
            (1, 7, 1),
            (1, 7, 2),
            (1, 7, 3),
            (1, 7, 4),
            (1, 5, 5),
            (1, 4, 6),
            (1, 4, 7),
            (2, 7, 1),
            (2, 7, 2),
            (2, 4, 3),
            (2, 3, 4),
            (2, 2, 5),
            (2, 2, 6),
            (2, 2, 7),
            (1, 6, 2),
            (1, 4, 3),
            (1, 3, 4),
            (1, 2, 5),
            (1, 2, 6),
            (1, 1, 7),
            (2, 6, 1),
            (2, 3, 2),
            (2, 2, 3),
            (2, 1, 4),
            (2, 1, 5),
            (2, 1, 6),
            (2, 1, 7),
        );
    }
}

struct Sweep<'a, const VECTORS: usize, const RUNS: usize, const ALONG: usize> {
    terms: Terms<'a>,
    starts: &'a [usize],
    sums: &'a mut [f32],
    add: bool,
}

impl<const VECTORS: usize, const RUNS: usize, const ALONG: usize> WithSimd
    for Sweep<'_, VECTORS, RUNS, ALONG>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { terms, starts, sums, add } = self;
        let (channels, _) = S::as_simd_f32s(terms.channels);
        let (channels, _) = channels.as_chunks::<VECTORS>();
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let (sums, _) = sums.as_chunks_mut::<VECTORS>();
        let (sums, _) = sums.as_chunks_mut::<ALONG>();
        let (sums, _) = sums.as_chunks_mut::<RUNS>();
        let (starts, _) = starts.as_chunks::<RUNS>();
        for (starts, sums) in starts.iter().zip(sums) {
            let mut sum = [[[simd.splat_f32s(0.0); VECTORS]; ALONG]; RUNS];
            for (place, channels) in terms.places.iter().zip(channels) {
                for (run, start) in starts.iter().enumerate() {
                    let pixels = &terms.pixels[start + place..][..ALONG];
                    for along in 0..ALONG {
                        let pixel = simd.splat_f32s(pixels[along]);
                        for vector in 0..VECTORS {
                            let sum = &mut sum[run][along][vector];
                            *sum = simd.mul_add_e_f32s(pixel, channels[vector], *sum);
                        }
                    }
                }
            }
            for run in 0..RUNS {
                for along in 0..ALONG {
                    for vector in 0..VECTORS {
                        let to = &mut sums[run][along][vector];
                        let sum = sum[run][along][vector];
                        *to = if add { simd.add_f32s(*to, sum) } else { sum };
                    }
                }
            }
        }
    }
}
