//! Which sample comes when, and with which random choices: pure functions of seed, epoch and position.
//!
//! Nothing here has a history. A run that stops and goes on, a loader with one thread or sixteen, and a
//! person asking "what was batch 812 of epoch 3?" all get the same answer.

mod sequence;

pub use sequence::{Draw, Order, Sequence};

/// Rounds of the Feistel network. Four suffice against an adversary with a good round function (Luby and
/// Rackoff, "How to construct pseudorandom permutations", 1988); very small blocks profit from more.
const ROUNDS: u64 = 8;

/// The smallest network: 1,024 values.
const FEWEST_BITS: u32 = 10;

/// The sample at `position` of a shuffled pass over `0..len`.
///
/// For a fixed `seed` and `epoch`, the positions `0..len` give every sample once. It takes no memory: a
/// keyed Feistel network permutes the next power of two, and walks on until it is back below `len`
/// (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
///
/// # Panics
///
/// If `position >= len`.
#[must_use]
pub fn permute(seed: u64, epoch: u64, len: u64, position: u64) -> u64 {
    assert!(position < len, "position {position} of {len}");
    if len == 1 {
        return 0;
    }
    // A network of few bits cannot reach every order: a short pass walks through a longer one.
    let bits = (u64::BITS - (len - 1).leading_zeros()).max(FEWEST_BITS);
    let key = combine(combine(ORDER, seed), epoch);
    let mut value = position;
    // The network is a permutation of all values: from a value below `len` the walk must come back below it.
    loop {
        value = feistel(key, bits, value);
        if value < len {
            return value;
        }
    }
}

/// A keyed permutation of the `bits`-bit numbers. The halves need not be equally wide: each round changes
/// one by the other, which any second application of the same round undoes.
fn feistel(key: u64, bits: u32, value: u64) -> u64 {
    let right_bits = bits / 2;
    let left_mask = low_mask(bits - right_bits);
    let right_mask = low_mask(right_bits);
    let mut left = (value >> right_bits) & left_mask;
    let mut right = value & right_mask;
    for round in 0..ROUNDS {
        let word = |half: u64| mix(key ^ mix(half.wrapping_add((round + 1).wrapping_mul(GOLDEN))));
        if round % 2 == 0 {
            left = (left ^ word(right)) & left_mask;
        } else {
            right = (right ^ word(left)) & right_mask;
        }
    }
    (left << right_bits) | right
}

fn low_mask(bits: u32) -> u64 {
    // `bits` is at most 32: half of 64, rounded up.
    (1u64 << bits) - 1
}

/// Random choices for one sample: a counter-based generator with nothing to store or carry along.
///
/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), keyed by
/// seed, epoch, sample and operation. Not for secrets.
#[derive(Debug, Clone)]
pub struct SampleRng {
    key: u64,
    counter: u64,
}

impl SampleRng {
    /// The generator for sample `index` in `epoch`. `op` keeps the operations on one sample apart, so
    /// that adding one does not change the choices of another.
    #[must_use]
    pub fn new(seed: u64, epoch: u64, index: u64, op: u64) -> Self {
        let key = [seed, epoch, index, op].into_iter().fold(CHOICES, combine);
        Self { key, counter: 0 }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        mix(self.key.wrapping_add(self.counter))
    }

    /// A number in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of the product: the bias is below n / 2^64.
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }
}

/// 2^64 divided by the golden ratio, made odd: the step of SplitMix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// Where the keys of orders and of random choices start: the same seed gives unrelated numbers.
const ORDER: u64 = 0x6F72_6465_7200_0001;
const CHOICES: u64 = 0x6368_6F69_6365_0001;

fn combine(key: u64, part: u64) -> u64 {
    mix(key ^ mix(part.wrapping_add(GOLDEN)))
}

/// SplitMix64's finalizer, a permutation of the 64-bit numbers.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, epoch: u64, len: u64) -> Vec<u64> {
        (0..len).map(|position| permute(seed, epoch, len, position)).collect()
    }

    #[test]
    fn every_index_comes_exactly_once() {
        for len in (1..70).chain([127, 128, 129, 1000, 4096, 4097, 60_000]) {
            for seed in 0..3 {
                let mut seen = order(seed, 5, len);
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..len), "len {len}");
            }
        }
    }

    #[test]
    fn huge_sets_need_no_memory() {
        let len = (1 << 40) + 12_345;
        let some: std::collections::HashSet<u64> =
            (0..1000).map(|p| permute(1, 2, len, len - 1 - p)).collect();
        assert_eq!(some.len(), 1000);
        assert!(some.iter().all(|&i| i < len));
        assert!(permute(1, 2, u64::MAX, 3) < u64::MAX);
    }

    #[test]
    fn seed_and_epoch_change_the_order() {
        assert_eq!(order(1, 0, 100), order(1, 0, 100));
        assert_ne!(order(1, 0, 100), order(1, 1, 100));
        assert_ne!(order(1, 0, 100), order(2, 0, 100));
        assert_ne!(order(0, 1, 100), order(1, 0, 100));
    }

    /// Chi-square of `counts` against the uniform distribution.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn small_sets_are_shuffled_evenly() {
        for len in [2u64, 3, 5, 7, 10, 16, 20] {
            let mut counts = vec![0u32; (len * len) as usize];
            for epoch in 0..4000 {
                for (position, index) in order(7, epoch, len).into_iter().enumerate() {
                    counts[position * len as usize + index as usize] += 1;
                }
            }
            // (len - 1)^2 degrees of freedom; six standard deviations above their mean.
            let freedom = ((len - 1) * (len - 1)) as f64;
            let limit = freedom + 6.0 * (2.0 * freedom).sqrt();
            let found = chi_square(&counts) * (len as f64 - 1.0) / len as f64;
            assert!(found < limit, "len {len}: {found} is not below {limit}");
        }
    }

    #[test]
    fn neighbours_do_not_stay_together() {
        let order = order(3, 0, 10_000);
        let together = order.windows(2).filter(|w| w[1] == w[0] + 1).count();
        assert!(together < 15, "{together} neighbours");
    }

    #[test]
    fn random_choices_are_even_and_repeatable() {
        let mut counts = [0u32; 9];
        for index in 0..9000 {
            counts[SampleRng::new(1, 2, index, 3).below(9) as usize] += 1;
        }
        assert!(chi_square(&counts) < 8.0 + 6.0 * 4.0, "{counts:?}");
        let mut rng = SampleRng::new(1, 2, 3, 4);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit())));
        let heads = (0..10_000).filter(|_| rng.chance(0.5)).count();
        assert!((4700..5300).contains(&heads), "{heads}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(SampleRng::new(1, 2, 3, 4).next_u64(), SampleRng::new(1, 2, 3, 4).next_u64());
        assert_ne!(SampleRng::new(1, 2, 3, 4).next_u64(), SampleRng::new(1, 2, 3, 5).next_u64());
    }
}
