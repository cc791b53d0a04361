//! A part of another source, and how to choose one.

use std::sync::Arc;

use super::splitmix::SplitMix;
use super::{Source, Stored};
use crate::{Error, ErrorKind, Place, Result};

/// Some samples of another source, in a given order.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    indices: Vec<usize>,
}

impl Subset {
    /// The samples of `source` at `indices`.
    ///
    /// # Errors
    ///
    /// When an index is not below `source.len()`.
    pub fn new(source: Arc<dyn Source>, indices: Vec<usize>) -> Result<Self> {
        let len = source.len();
        match indices.iter().find(|&&i| i >= len) {
            None => Ok(Self { source, indices }),
            Some(index) => {
                let message = format!("there is no sample {index} among {len}");
                Err(Error::new(ErrorKind::Setting(message)))
            }
        }
    }
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        self.source.fetch(self.indices[index], buffer)
    }

    fn fetches_at_once(&self) -> usize {
        self.source.fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.source.label(self.indices[index])
    }

    fn place(&self, index: usize) -> Place {
        self.source.place(self.indices[index])
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }
}

impl std::fmt::Debug for Subset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subset({} of {})", self.indices.len(), self.source.len())
    }
}

/// Splits `0..len` by chance into what is kept and the `fraction` (0 to 1) that is held out, each ascending.
///
/// The split depends on `len`, `fraction` and `seed` alone. At least one sample is kept where there is one,
/// and at least one is held out where there are two and `fraction` is above 0.
#[must_use]
pub fn split(len: usize, fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let wanted = (len as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
    let least = usize::from(fraction > 0.0 && len > 1);
    let held_out = wanted.max(least).min(len.saturating_sub(1));
    let mut indices: Vec<usize> = (0..len).collect();
    let mut random = SplitMix::new(seed);
    // The first steps of a Fisher-Yates shuffle choose the part that is held out.
    for i in 0..held_out {
        let j = i + random.below((len - i) as u64) as usize;
        indices.swap(i, j);
    }
    let mut kept = indices.split_off(held_out);
    kept.sort_unstable();
    indices.sort_unstable();
    (kept, indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Digits;
    use crate::testing::conforms;

    #[test]
    fn a_subset_conforms_and_keeps_its_order() {
        let whole: Arc<dyn Source> = Arc::new(Digits::new(20, 1));
        let subset = Subset::new(whole.clone(), vec![7, 3, 19]).unwrap();
        conforms(&subset);
        assert_eq!(subset.read(1).unwrap(), whole.read(3).unwrap());
        assert_eq!(subset.place(2), whole.place(19));
        assert!(Subset::new(whole, vec![20]).is_err());
    }

    #[test]
    fn a_split_is_a_partition_that_only_the_seed_changes() {
        let (kept, held_out) = split(1000, 0.1, 5);
        assert_eq!((kept.len(), held_out.len()), (900, 100));
        let mut all = [kept.clone(), held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(split(1000, 0.1, 5), (kept.clone(), held_out));
        assert_ne!(split(1000, 0.1, 6).0, kept);
    }

    #[test]
    fn tiny_sets_keep_one_on_each_side() {
        assert_eq!(split(0, 0.5, 0), (vec![], vec![]));
        assert_eq!(split(1, 0.5, 0), (vec![0], vec![]));
        assert_eq!(split(2, 0.01, 0).1.len(), 1);
        assert_eq!(split(2, 1.0, 0).0.len(), 1);
        assert_eq!(split(9, 0.0, 0).1.len(), 0);
        assert_eq!(split(9, f64::NAN, 0).1.len(), 0);
    }
}
