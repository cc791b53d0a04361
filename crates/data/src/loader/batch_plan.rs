//! How a pass is cut into batches, and those for ranks.

use std::ops::Range;

use super::{LoaderConfig, Tail};

/// How the positions of a pass are cut into batches, and those for ranks.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchPlan {
    /// Where our part of the sequence begins.
    pub first: u64,
    /// Its length.
    pub samples: u64,
    /// Samples of a whole batch, over all ranks.
    pub batch: u64,
    tail: Tail,
    rank: u64,
    pub world: u64,
}

impl BatchPlan {
    pub(super) fn new(len: u64, config: &LoaderConfig) -> Self {
        let part = config.part.clone().map_or(0..len, |part| part.start as u64..part.end as u64);
        let samples = part.end - part.start;
        // A set that is not learned from may be smaller than a batch; only a padded batch keeps its size then.
        let batch = config.batch_size as u64;
        let batch = if config.tail == Tail::Pad || config.world > 1 { batch } else { batch.min(samples) };
        Self {
            first: part.start,
            samples,
            batch,
            tail: config.tail,
            rank: config.rank as u64,
            world: config.world as u64,
        }
    }

    /// Batches in a pass.
    pub(super) fn batches(&self) -> usize {
        let batches = match self.tail {
            Tail::Drop => self.samples / self.batch,
            Tail::Keep | Tail::Pad => self.samples.div_ceil(self.batch),
        };
        batches as usize
    }

    /// The places of this rank in batch `number`, as positions of the pass; those from `samples` on are padding.
    pub(super) fn positions(&self, number: u64) -> Range<u64> {
        let start = number * self.batch;
        let end =
            if self.tail == Tail::Pad { start + self.batch } else { (start + self.batch).min(self.samples) };
        let count = end - start;
        start + count * self.rank / self.world..start + count * (self.rank + 1) / self.world
    }

    /// The samples of this rank that count in the first `batches` batches.
    pub(super) fn samples_before(&self, batches: usize) -> usize {
        let counted = |number: usize| {
            let positions = self.positions(number as u64);
            positions.end.min(self.samples).saturating_sub(positions.start.min(self.samples))
        };
        let Some(last) = batches.checked_sub(1) else { return 0 };
        // All but the last of a pass have the same size.
        let whole = self.batch * (self.rank + 1) / self.world - self.batch * self.rank / self.world;
        (last as u64 * whole + counted(last)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(samples: u64, batch: usize, tail: Tail, rank: usize, world: usize) -> BatchPlan {
        let config = LoaderConfig { batch_size: batch, tail, rank, world, ..LoaderConfig::default() };
        BatchPlan::new(samples, &config)
    }

    #[test]
    fn ranks_share_every_batch_and_the_tail_is_as_asked() {
        for tail in [Tail::Keep, Tail::Drop, Tail::Pad] {
            for world in [1, 2, 4, 8] {
                for samples in [8, 9, 23, 40] {
                    let plans: Vec<BatchPlan> =
                        (0..world).map(|rank| plan(samples, 8, tail, rank, world)).collect();
                    let batches = plans[0].batches();
                    let positions: Vec<u64> = (0..batches as u64)
                        .flat_map(|batch| plans.iter().flat_map(move |plan| plan.positions(batch)))
                        .collect();
                    let end = match tail {
                        Tail::Keep => samples,
                        Tail::Drop => samples / 8 * 8,
                        Tail::Pad => samples.next_multiple_of(8),
                    };
                    assert_eq!(positions, (0..end).collect::<Vec<_>>(), "{samples} for {world}, {tail:?}");
                    let counted: usize = plans.iter().map(|plan| plan.samples_before(batches)).sum();
                    assert_eq!(counted as u64, end.min(samples), "{samples} for {world}, {tail:?}");
                }
            }
        }
    }
}
