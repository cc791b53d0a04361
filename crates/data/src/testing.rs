//! What the tests of this crate share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::Source;

/// `shared/data/NAME` beside the workspace, or where `PYROGRAPH_SHARED` points; prints why when it is absent.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let beside =
        || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|up| up.join("shared")).find(|p| p.is_dir());
    let shared = std::env::var_os("PYROGRAPH_SHARED").map(PathBuf::from).or_else(beside);
    let found = shared.map(|s| s.join("data").join(name)).filter(|p| p.exists());
    if found.is_none() {
        println!("skipped: shared/data/{name} not found");
    }
    found
}

/// What every source must do; each implementation's tests call it.
pub(crate) fn conforms(source: &dyn Source) {
    assert!(!source.is_empty());
    assert!(!source.class_names().is_empty());
    let mut places = HashSet::new();
    for index in 0..source.len() {
        let label = source.label(index);
        assert!((label as usize) < source.class_names().len(), "label {label} of sample {index}");
        let place = source.place(index).to_string();
        assert!(places.insert(place.clone()), "the place {place:?} comes twice");
    }
    let step = source.len().div_ceil(100);
    let mut backwards: Vec<_> = (0..source.len()).step_by(step).collect();
    backwards.reverse();
    for index in backwards {
        let sample = source.read(index).unwrap();
        assert_eq!(sample.label, source.label(index));
        assert_eq!(sample, source.read(index).unwrap(), "sample {index} changes");
    }
    // Many threads read at once and see the same.
    let alone = source.read(0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(source.read(0).unwrap(), alone));
        }
    });
}
