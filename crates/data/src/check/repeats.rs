//! Pictures that come more than once.

use std::collections::HashSet;

use rayon::prelude::*;

use super::sample::{Record, Thumbnail};
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
    for similar in runs(records.len(), look) {
        // Exact repeats are reported already: one of each is enough.
        let mut contents = HashSet::new();
        let distinct = similar.into_iter().filter(|&index| contents.insert(records[index].content));
        let distinct: Vec<usize> = distinct.take(MOST_COMPARED).collect();
        for group in alike(&distinct, found) {
            let parts = if differ(&group, |index| found.part(index)) { " in several parts" } else { "" };
            let labels = if differ(&group, |index| found.label(index)) { " with several labels" } else { "" };
            let message = format!("look alike{parts}{labels}, with other bytes");
            found.add(Problem::LookAlike, &group, group.len(), message);
        }
    }
}

/// Pictures of one look that are compared with each other.
const MOST_COMPARED: usize = 1_000;

/// Those of `similar` that are really alike, together, in order of their first.
///
/// Equal hashes only say that two pictures are light and dark in the same places. Now they are read again.
fn alike(similar: &[usize], found: &Collector<'_>) -> Vec<Vec<usize>> {
    if similar.len() < 2 {
        return Vec::new();
    }
    let read = |&index: &usize| found.sample(index).and_then(|(source, at)| Thumbnail::of(source, at));
    let thumbnails: Vec<Option<Thumbnail>> = similar.par_iter().map(read).collect();
    let mut groups: Vec<(Thumbnail, Vec<usize>)> = Vec::new();
    for (&index, thumbnail) in similar.iter().zip(thumbnails) {
        let Some(thumbnail) = thumbnail else { continue };
        match groups.iter_mut().find(|(first, _)| first.is_like(&thumbnail)) {
            Some((_, group)) => group.push(index),
            None => groups.push((thumbnail, vec![index])),
        }
    }
    groups.into_iter().map(|(_, group)| group).filter(|group| group.len() > 1).collect()
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
