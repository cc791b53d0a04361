//! Pictures that come more than once.

use std::collections::HashSet;

use super::sample::Record;
use super::{CheckOptions, Collector, Problem};

/// Reports the same contents within a part, in two parts and with two labels, and what looks alike.
pub(super) fn find_repeats(records: &[Record], options: &CheckOptions, found: &mut Collector<'_>) {
    let content =
        |index: u32| Some(records.get(index as usize)?.content).filter(|content| *content != [0; 2]);
    for same in runs(records.len(), content) {
        let bytes = "the same bytes";
        if differ(&same, |index| found.part(index)) {
            found.add(Problem::Leak, &same, same.len(), format!("{bytes} in several parts"));
        } else {
            found.add(Problem::Duplicate, &same, same.len(), format!("{bytes} several times"));
        }
        if differ(&same, |index| found.label(index)) {
            found.add(Problem::Conflict, &same, same.len(), format!("{bytes} with several labels"));
        }
    }
    if !options.look_alikes {
        return;
    }
    let look = |index: u32| Some(records.get(index as usize)?.look).filter(|look| *look != 0);
    for alike in runs(records.len(), look) {
        // Exact repeats are reported already: one of each is enough.
        let mut contents = HashSet::new();
        let distinct: Vec<usize> =
            alike.into_iter().filter(|&index| contents.insert(records[index].content)).collect();
        if distinct.len() > 1 {
            let place = if differ(&distinct, |index| found.part(index)) { " in several parts" } else { "" };
            let message = format!("look alike{place}, with other bytes");
            found.add(Problem::LookAlike, &distinct, distinct.len(), message);
        }
    }
}

/// The indices with equal keys, ascending, for keys that come at least twice; in order of their first index.
fn runs<K: Ord>(count: usize, key: impl Fn(u32) -> Option<K>) -> Vec<Vec<usize>> {
    let mut order: Vec<u32> = (0..count as u32).filter(|&index| key(index).is_some()).collect();
    order.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)).then(a.cmp(&b)));
    let same = order.chunk_by(|&a, &b| key(a) == key(b)).filter(|run| run.len() > 1);
    let mut runs: Vec<Vec<usize>> =
        same.map(|run| run.iter().map(|&index| index as usize).collect()).collect();
    runs.sort_unstable();
    runs
}

/// Whether not all of `indices` have the same.
fn differ<T: PartialEq>(indices: &[usize], of: impl Fn(usize) -> T) -> bool {
    indices.windows(2).any(|pair| of(pair[0]) != of(pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_in_order_of_their_first_index() {
        let keys = [5, 9, 0, 9, 5, 1, 9, 0];
        let key = |index: u32| Some(keys[index as usize]).filter(|key| *key != 0);
        assert_eq!(runs(keys.len(), key), [vec![0, 4], vec![1, 3, 6]]);
        assert!(runs(0, key).is_empty());
    }
}
