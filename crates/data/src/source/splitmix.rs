//! The small generator behind splits and drawn digits.

/// SplitMix64 (Steele, Lea and Flood 2014): a counter and a mixing function, the same on every platform.
#[derive(Debug, Clone)]
pub(super) struct SplitMix(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl SplitMix {
    /// The stream of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent stream for item `index` of `seed`.
    pub(super) fn keyed(seed: u64, index: u64) -> Self {
        let mut outer = Self(seed);
        let key = outer.next_u64();
        let mut inner = Self(key ^ index.wrapping_mul(GOLDEN));
        Self(inner.next_u64())
    }

    /// The next 64 bits.
    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number in `0..n`; `n` must not be 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        // The high half of the product: the bias is at most n / 2^64.
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `0.0..1.0` with 24 random bits.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// A number between `low` and `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A bell-shaped number with mean 0 and standard deviation 1, within -6 and 6.
    pub(super) fn bell(&mut self) -> f32 {
        // The sum of twelve uniform numbers needs no logarithm, whose last bit differs between platforms.
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // The reference values of Vigna's splitmix64.c for seed 1234567.
        let mut random = SplitMix::new(1_234_567);
        let first: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = SplitMix::keyed(1, 2);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!(random.below(7) < 7);
            sum += random.bell();
        }
        assert!((sum / 10_000.0).abs() < 0.05);
    }
}
