//! An order bound to a source: which sample stands at each position of each epoch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{SampleRng, combine, permute};
use crate::{Error, ErrorKind, Result, Source};

/// How the samples of a source follow each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Order {
    /// As the source numbers them.
    #[default]
    Sequential,
    /// Every sample once, in a new order every epoch.
    Shuffled,
    /// Every sample once, in a new order that keeps neighbours near each other in time: blocks of neighbours are shuffled,
    /// and so are the samples of each `window` of blocks. For storage where a seek is dear. The larger the window, the better
    /// the shuffle; a window over all blocks is `Shuffled`.
    Blocks {
        /// Samples a block, at least 1.
        block: u64,
        /// Blocks a window, at least 1.
        window: u64,
    },
    /// As many draws as there are samples, every class equally often: those of a small class come several times, each time
    /// augmented anew.
    Balanced,
    /// As many draws as there are samples, each independent, a sample's chance in proportion to its weight.
    #[serde(skip)]
    Weighted(Arc<[f64]>),
}

/// One draw of a [`Sequence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The sample.
    pub index: u64,
    /// Which of its appearances in the epoch this is, so that each is augmented differently.
    pub copy: u64,
}

/// The draws of every epoch, as a function of (seed, epoch, position) that remembers nothing.
#[derive(Debug, Clone)]
pub struct Sequence {
    seed: u64,
    repeats: u64,
    len: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Sequential,
    Shuffled,
    Blocks {
        block: u64,
        window: u64,
    },
    /// The samples of each class that has any.
    Balanced(Vec<Vec<u32>>),
    /// Running sums of the weights.
    Weighted(Vec<f64>),
}

impl Sequence {
    /// The draws of `order` from `source`, each sample `repeats` times in a row with different augmentation (Hoffer et al.,
    /// "Augment your batch", 2019, <https://arxiv.org/abs/1901.09335>; Berman et al., "MultiGrain", 2019,
    /// <https://arxiv.org/abs/1902.05509>).
    ///
    /// An epoch has as many draws as the source has samples, whatever `repeats` is. So it sees one in `repeats` of the samples, and
    /// `repeats` epochs in a row share one pass of the order: of `n` samples, epoch `e` begins at place `e % repeats * n / repeats` of pass
    /// `e / repeats` (rounded down), and takes `n / repeats` of them (rounded up). Where `repeats` divides `n`, every sample of the pass
    /// comes in exactly one of these epochs; otherwise one that stands where two epochs meet, or last, may come in both, or less often.
    ///
    /// # Errors
    ///
    /// When a size or `repeats` is 0, or weights are not one finite number a sample, none negative, with a positive sum.
    pub fn new(order: &Order, seed: u64, repeats: u32, source: &dyn Source) -> Result<Self> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Setting(what)));
        let len = source.len() as u64;
        if repeats == 0 {
            return refuse("`repeats` is 0; it must be at least 1, which repeats nothing".into());
        }
        let kind = match order {
            Order::Sequential => Kind::Sequential,
            Order::Shuffled => Kind::Shuffled,
            Order::Blocks { block: 0, .. } | Order::Blocks { window: 0, .. } => {
                return refuse("the block and the window of an order must be at least 1".into());
            }
            &Order::Blocks { block, window } => Kind::Blocks { block, window },
            Order::Balanced => {
                let mut classes = vec![Vec::new(); source.class_names().len()];
                for index in 0..source.len() {
                    classes[source.label(index) as usize].push(index as u32);
                }
                classes.retain(|class| !class.is_empty());
                Kind::Balanced(classes)
            }
            Order::Weighted(weights) => {
                if weights.len() != source.len() {
                    return refuse(format!("{} weights for {len} samples", weights.len()));
                }
                if let Some(at) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
                    return refuse(format!(
                        "the weight of sample {at} is {}; it must be 0 or more",
                        weights[at]
                    ));
                }
                let sums: Vec<f64> = weights
                    .iter()
                    .scan(0.0, |sum, weight| {
                        *sum += weight;
                        Some(*sum)
                    })
                    .collect();
                if !sums.last().is_some_and(|sum| *sum > 0.0 && sum.is_finite()) {
                    return refuse("the weights of the samples must have a positive, finite sum".into());
                }
                Kind::Weighted(sums)
            }
        };
        Ok(Self { seed, repeats: repeats.into(), len, kind })
    }

    /// Draws an epoch.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The draw at `position` of `epoch`.
    ///
    /// # Panics
    ///
    /// If `position >= len()`.
    #[must_use]
    pub fn at(&self, epoch: u64, position: u64) -> Draw {
        assert!(position < self.len, "position {position} of {}", self.len);
        let (repeat, place) = (position % self.repeats, position / self.repeats);
        // Epochs that share a pass take one part of it each.
        let (pass, part) = (epoch / self.repeats, epoch % self.repeats);
        let first = self.len / self.repeats * part + self.len % self.repeats * part / self.repeats;
        let Draw { index, copy } = self.draw(pass, first + place);
        Draw { index, copy: copy * self.repeats + repeat }
    }

    /// The draw at `position` of a pass in which nothing is repeated.
    fn draw(&self, epoch: u64, position: u64) -> Draw {
        match &self.kind {
            Kind::Sequential => Draw { index: position, copy: 0 },
            Kind::Shuffled => Draw { index: permute(self.seed, epoch, self.len, position), copy: 0 },
            &Kind::Blocks { block, window } => {
                Draw { index: in_blocks(self.seed, epoch, self.len, position, block, window), copy: 0 }
            }
            Kind::Balanced(classes) => balanced(self.seed, epoch, classes, position),
            Kind::Weighted(sums) => {
                let mut rng = SampleRng::new(self.seed, epoch, position, WEIGHTED);
                let total = sums.last().copied().unwrap_or_default();
                let point = rng.unit_f64() * total;
                // The first sum above the point: a weight of 0 is never drawn.
                let index = sums.partition_point(|sum| *sum <= point).min(sums.len() - 1);
                Draw { index: index as u64, copy: position }
            }
        }
    }
}

/// Keeps the streams of this file apart from each other and from those of transforms.
const WEIGHTED: u64 = 0x5745_4947_4854_4544;
const BLOCKS: u64 = 0x424C_4F43_4B53_0001;
const WINDOWS: u64 = 0x5749_4E44_4F57_0001;
const CLASSES: u64 = 0x434C_4153_5345_5301;

/// Whole blocks are shuffled; what is left over is the last block. Where blocks begin moves with the epoch, so that it is not
/// always the same samples that come last and together.
fn in_blocks(seed: u64, epoch: u64, len: u64, position: u64, block: u64, window: u64) -> u64 {
    let block = block.min(len);
    let whole = len / block;
    let span = block.saturating_mul(window).min(len);
    let first = position / span * span;
    let in_window = (len - first).min(span);
    let place = first + permute(combine(combine(seed, WINDOWS), first), epoch, in_window, position - first);
    let number = place / block;
    let number = if number < whole { permute(combine(seed, BLOCKS), epoch, whole, number) } else { number };
    let shift = SampleRng::new(seed, epoch, 0, BLOCKS).below(block);
    (number * block + place % block + shift) % len
}

/// Rounds over all classes, in a new order each round; within a class every sample comes once before one comes twice.
fn balanced(seed: u64, epoch: u64, classes: &[Vec<u32>], position: u64) -> Draw {
    let count = classes.len() as u64;
    let (round, turn) = (position / count, position % count);
    let class = permute(combine(combine(seed, CLASSES), round), epoch, count, turn);
    let members = &classes[class as usize];
    let size = members.len() as u64;
    let (copy, turn) = (round / size, round % size);
    let member = permute(combine(combine(seed, class), copy), epoch, size, turn);
    Draw { index: members[member as usize].into(), copy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::source::{Memory, Sample};

    fn source(labels: &[u32]) -> Memory {
        let sample = |&label| Sample { image: Image::new(1, 1, 1, vec![0]), label };
        let names = (0..3).map(|n| n.to_string()).collect();
        Memory::new(labels.iter().map(sample).collect(), names).unwrap()
    }

    fn draws(order: &Order, repeats: u32, len: usize, epoch: u64) -> Vec<Draw> {
        let sequence = Sequence::new(order, 9, repeats, &source(&vec![0; len])).unwrap();
        (0..sequence.len()).map(|position| sequence.at(epoch, position)).collect()
    }

    fn sorted(draws: &[Draw]) -> Vec<u64> {
        let mut indices: Vec<u64> = draws.iter().map(|draw| draw.index).collect();
        indices.sort_unstable();
        indices
    }

    #[test]
    fn every_order_without_weights_gives_every_sample_once() {
        for len in [1, 2, 3, 10, 97, 1000] {
            let expected: Vec<u64> = (0..len as u64).collect();
            let blocks = [(1, 1), (7, 1), (7, 3), (16, 4), (1000, 1), (5, 1000)];
            let blocks = blocks.map(|(block, window)| Order::Blocks { block, window });
            for order in [Order::Sequential, Order::Shuffled].iter().chain(&blocks) {
                for epoch in 0..3 {
                    assert_eq!(sorted(&draws(order, 1, len, epoch)), expected, "{order:?} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_window_touches_few_blocks_and_epochs_differ() {
        let order = Order::Blocks { block: 100, window: 4 };
        let first = draws(&order, 1, 10_000, 0);
        for window in first.chunks(400) {
            let mut blocks: Vec<u64> = window.iter().map(|draw| draw.index / 100).collect();
            blocks.sort_unstable();
            blocks.dedup();
            // A block that begins between two hundreds touches both.
            assert!(blocks.len() <= 8, "{blocks:?}");
        }
        assert_ne!(first, draws(&order, 1, 10_000, 1));
        let together = first.windows(2).filter(|pair| pair[1].index == pair[0].index + 1).count();
        assert!(together < 100, "{together} neighbours");
    }

    #[test]
    fn balanced_draws_show_every_class_equally_often() {
        let labels: Vec<u32> = [vec![0; 90], vec![1; 9], vec![2; 1]].concat();
        let sequence = Sequence::new(&Order::Balanced, 1, 1, &source(&labels)).unwrap();
        let draws: Vec<Draw> = (0..sequence.len()).map(|position| sequence.at(0, position)).collect();
        let count = |class| draws.iter().filter(|draw| labels[draw.index as usize] == class).count();
        assert!([count(0), count(1), count(2)].iter().all(|n| (33..=34).contains(n)));
        // The nine of the second class: each three or four times, each time another copy.
        let copies = |index| draws.iter().filter(|d| d.index == index).map(|d| d.copy).collect::<Vec<_>>();
        assert!((90..99).all(|index| matches!(copies(index)[..], [0, 1, 2] | [0, 1, 2, 3])));
    }

    #[test]
    fn weighted_draws_follow_the_weights() {
        let weights: Vec<f64> = (0..1000).map(|n| f64::from(n % 4)).collect();
        let sequence = Sequence::new(&Order::Weighted(weights.into()), 1, 1, &source(&[0; 1000])).unwrap();
        let mut counts = [0u32; 4];
        for epoch in 0..10 {
            (0..1000).for_each(|position| counts[(sequence.at(epoch, position).index % 4) as usize] += 1);
        }
        assert_eq!(counts[0], 0);
        for (weight, count) in counts.iter().enumerate().skip(1) {
            let expected = 10_000.0 * weight as f64 / 6.0;
            assert!((f64::from(*count) - expected).abs() < 250.0, "{counts:?}");
        }
        for weights in [vec![1.0; 3], vec![-1.0; 1000], vec![0.0; 1000], vec![f64::NAN; 1000]] {
            assert!(Sequence::new(&Order::Weighted(weights.into()), 1, 1, &source(&[0; 1000])).is_err());
        }
    }

    #[test]
    fn repeated_samples_stand_together_as_different_copies() {
        let repeated = draws(&Order::Shuffled, 3, 10, 0);
        let plain = draws(&Order::Shuffled, 1, 10, 0);
        for (position, draw) in repeated.iter().enumerate() {
            assert_eq!((draw.index, draw.copy), (plain[position / 3].index, position as u64 % 3));
        }
    }

    #[test]
    fn epochs_of_repeated_samples_share_a_pass_and_see_all_of_it() {
        let blocks = Order::Blocks { block: 5, window: 2 };
        for order in [Order::Sequential, Order::Shuffled, blocks] {
            for (len, repeats) in [(12, 3), (12, 4), (10, 3), (97, 4), (5, 5), (3, 7), (1, 4)] {
                for pass in 0..3 {
                    let mut copies = vec![0u64; len];
                    for part in 0..repeats {
                        let draws = draws(&order, repeats, len, pass * u64::from(repeats) + u64::from(part));
                        assert_eq!(draws.len(), len);
                        draws.iter().for_each(|draw| copies[draw.index as usize] += 1);
                        // All but the last stand there as often as they are to be repeated.
                        let mut groups = draws.chunks(repeats as usize);
                        assert!(groups.all(|group| group.iter().all(|draw| draw.index == group[0].index)));
                    }
                    let repeats = u64::from(repeats);
                    let whole = (len as u64).is_multiple_of(repeats);
                    let fits = |n: &u64| if whole { *n == repeats } else { (1..2 * repeats).contains(n) };
                    assert!(copies.iter().all(fits), "{order:?} of {len}, {repeats} times: {copies:?}");
                }
            }
        }
    }

    #[test]
    fn sizes_of_nothing_are_refused() {
        let new = |order, repeats| Sequence::new(&order, 0, repeats, &source(&[0; 4]));
        assert!(new(Order::Blocks { block: 0, window: 1 }, 1).is_err());
        assert!(new(Order::Blocks { block: 1, window: 0 }, 1).is_err());
        assert!(new(Order::Shuffled, 0).is_err());
    }
}
