//! Parquet files, alone or in parts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::DataSet;
use super::listing::{Listing, TEST, TRAIN, VALID, is_parquet};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// One file, whatever it is called.
pub(super) fn open_one(storage: &Storage, path: &Path) -> Result<DataSet> {
    open(storage, path, &Parts { train: vec![path.to_owned()], ..Parts::default() })
}

/// The files of a folder, by the beginnings of their names; all of them for training where none tells a part.
pub(super) fn open_parquet(found: &Listing) -> Result<DataSet> {
    no_file_lacks(found)?;
    let mut parts = Parts::default();
    for name in found.files.iter().filter(|name| is_parquet(name)) {
        let file = found.root.join(name);
        match part_of(name) {
            Some(Part::Train) => &mut parts.train,
            Some(Part::Valid) => &mut parts.valid,
            Some(Part::Test) => &mut parts.test,
            None => &mut parts.other,
        }
        .push(file);
    }
    if parts.train.is_empty() {
        // Files of a single kind are a set of their own.
        let Parts { train, valid, test, other } = &mut parts;
        let kinds = [valid, test, other].into_iter().filter(|files| !files.is_empty()).collect::<Vec<_>>();
        match <[_; 1]>::try_from(kinds) {
            Ok([only]) => std::mem::swap(train, only),
            Err(_) => {
                let message = "there are Parquet files for validation or testing, but none for training (train-….parquet)";
                return Err(Error::at(&found.root, ErrorKind::NotADataSet(message.into())));
            }
        }
    }
    open(&found.storage, &found.root, &parts)
}

/// The files in the folder `train`, and in those of other parts beside it.
pub(super) fn open_split_parquet(found: &Listing, train: &Listing) -> Result<DataSet> {
    let files = |inside: &Listing| -> Vec<PathBuf> {
        inside.files.iter().filter(|name| is_parquet(name)).map(|name| inside.root.join(name)).collect()
    };
    let mut used = vec![train.root.clone()];
    let mut part = |names: &[&str]| -> Result<Vec<PathBuf>> {
        let Some(path) = found.only_folder(names)? else { return Ok(Vec::new()) };
        let inside = found.inside(&path)?;
        no_file_lacks(&inside)?;
        used.extend(inside.has_parquet().then_some(path));
        Ok(if inside.has_parquet() { files(&inside) } else { Vec::new() })
    };
    no_file_lacks(train)?;
    let parts = Parts { train: files(train), valid: part(&VALID)?, test: part(&TEST)?, other: Vec::new() };
    let mut set = open(&found.storage, &found.root, &parts)?;
    let folders = found.folders.iter().map(|name| found.root.join(name));
    let unused: Vec<PathBuf> = folders.filter(|path| !used.contains(path)).collect();
    set.leave_out(&unused, "the folder is no part of Parquet files");
    Ok(set)
}

/// Refuses files that are numbered `…-00000-of-00002` where one of them is not there.
fn no_file_lacks(found: &Listing) -> Result<()> {
    let mut series: BTreeMap<(&str, usize), BTreeSet<usize>> = BTreeMap::new();
    for name in found.files.iter().filter(|name| is_parquet(name)) {
        if let Some((of, number)) = numbered(name) {
            series.entry(of).or_default().insert(number);
        }
    }
    for ((beginning, count), there) in series {
        if let Some(lost) = (0..count).find(|number| !there.contains(number)) {
            let name = format!("{beginning}{lost:05}-of-{count:05}….parquet");
            let message = "this file is not there, and the others of its series are; get it, too, or give the address of one file";
            return Err(Error::at(found.root.join(name), ErrorKind::NotADataSet(message.into())));
        }
    }
    Ok(())
}

/// What comes before the number of a file `train-00003-of-00005-1f2e.parquet`, how many there are, and its own number.
fn numbered(name: &str) -> Option<((&str, usize), usize)> {
    let (before, after) = name.split_once("-of-")?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = before.get(before.len().checked_sub(5)?..).filter(|text| digits(text))?;
    let count = after.get(..5).filter(|text| digits(text))?;
    Some(((&before[..before.len() - 5], count.parse().ok()?), number.parse().ok()?))
}

/// Files by part.
#[derive(Default)]
struct Parts {
    train: Vec<PathBuf>,
    valid: Vec<PathBuf>,
    test: Vec<PathBuf>,
    /// Those whose names tell no part beside others that do.
    other: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Valid,
    Test,
}

/// The part that the first word of a file's name tells.
fn part_of(name: &str) -> Option<Part> {
    let word = name.split(|c: char| !c.is_alphabetic()).next()?;
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(word));
    match () {
        () if is(&TRAIN) => Some(Part::Train),
        () if is(&VALID) => Some(Part::Valid),
        () if is(&TEST) => Some(Part::Test),
        () => None,
    }
}

#[cfg(feature = "parquet")]
fn open(storage: &Storage, _: &Path, parts: &Parts) -> Result<DataSet> {
    use crate::source::{Parquet, Source};

    let train = Parquet::open_in(storage, &parts.train, None)?;
    let part = |files: &[PathBuf]| match files {
        [] => Ok(None),
        files => Parquet::open_in(storage, files, Some(train.class_names())).map(Some),
    };
    let valid = part(&parts.valid)?;
    let (test, secret) = match part(&parts.test) {
        Err(error) if matches!(error.kind(), ErrorKind::Unlabelled) => (None, &parts.test[..]),
        test => (test?, &[][..]),
    };
    let mut set = DataSet::from_parts(train, valid, test);
    let say = |file: &PathBuf| format!("{}: the pictures have no labels", file.display());
    set.left_out.extend(secret.iter().map(say));
    set.leave_out(&parts.other, "the file is not called as a part is");
    Ok(set)
}

#[cfg(not(feature = "parquet"))]
fn open(_: &Storage, path: &Path, _: &Parts) -> Result<DataSet> {
    let message = "this build does not read Parquet files; build with --features parquet";
    Err(Error::at(path, ErrorKind::Setting(message.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_parts() {
        for (name, part) in [
            ("train-00000-of-00005.parquet", Some(Part::Train)),
            ("Training.parquet", Some(Part::Train)),
            ("validation-00000-of-00001-b1c2.parquet", Some(Part::Valid)),
            ("val_0.parquet", Some(Part::Valid)),
            ("test.parquet", Some(Part::Test)),
            ("trainset.parquet", None),
            ("0000.parquet", None),
        ] {
            assert_eq!(part_of(name), part, "{name}");
        }
    }

    #[test]
    fn numbers_tell_how_many_files_there_are() {
        assert_eq!(numbered("train-00003-of-00005.parquet"), Some((("train-", 5), 3)));
        assert_eq!(numbered("a-b-00000-of-00002-0f1e.parquet"), Some((("a-b-", 2), 0)));
        for other in [
            "train.parquet",
            "train-3-of-5.parquet",
            "-of-.parquet",
            "0000-of-00001.parquet",
            "ä0000-of-00001.parquet",
        ] {
            assert_eq!(numbered(other), None, "{other}");
        }
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn without_the_feature_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("train.parquet");
        std::fs::write(&file, "PAR1").unwrap();
        for path in [&file, root.path()] {
            let error = DataSet::open(path).unwrap_err().to_string();
            assert!(error.contains("build with --features parquet"), "{error}");
        }
    }
}
