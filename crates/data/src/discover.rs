//! What image set lies at a path.

mod listing;
mod parquet;
mod parts;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::listing::{Listing, TRAIN, is_parquet};
use self::parquet::{open_parquet, open_split_parquet};
use self::parts::{open_class_folders, open_split_folders, open_split_shards};
use crate::source::{Cifar, CifarKind, Digits, Folder, Idx, Manifest, ManifestParts, Scan, Shards, Source};
use crate::storage::{Storage, What};
use crate::{Error, ErrorKind, Result};

/// The parts of an image set. All parts have the same classes in the same order.
#[derive(Clone)]
pub struct DataSet {
    /// What to learn from.
    pub train: Arc<dyn Source>,
    /// What to watch while learning; when there is none, hold out a part of `train` with
    /// [`split`](crate::source::split).
    pub valid: Option<Arc<dyn Source>>,
    /// What to measure the finished network on.
    pub test: Option<Arc<dyn Source>>,
    /// One sentence for people: what was found.
    pub description: String,
    /// What lies at the path and is in no part, a sentence each.
    pub left_out: Vec<String>,
}

/// Names that [`DataSet::open`] knows when there is no such path.
pub(crate) const NAMED: [&str; 4] = ["mnist", "fashion-mnist", "cifar10", "cifar100"];

impl DataSet {
    /// Opens whatever image set lies at `path`:
    ///
    /// - class folders, `CLASS/**/IMAGE`;
    /// - `train` or `training` with class folders, beside such folders called `val`, `valid`, `validation` or `dev`, and
    ///   `test` or `testing`, in any letter case: ImageNet, and the original Tiny-ImageNet, whose validation classes are in
    ///   `val/val_annotations.txt`;
    /// - tar shards with indexes, or `train` beside folders of other parts that hold them, or a single one;
    /// - Parquet files as Hugging Face has them (feature `parquet`): one; a folder of them, or its folder `data`, in parts by the beginning of
    ///   their names (`train-00000-of-00005.parquet`, `validation-…`, `test-…`); or `train` beside folders of other parts that hold them, in a folder `default` or the only
    ///   one, too;
    /// - the IDX files of MNIST and its relatives, `train-images*`, `train-labels*` and `t10k-*`, gzipped or not;
    /// - the binary files of CIFAR-10 and CIFAR-100, or a single file of their records;
    /// - the folders that torchvision puts these into: `MNIST/raw`, `FashionMNIST/raw`, `KMNIST/raw`,
    ///   `cifar-10-batches-bin`, `cifar-100-binary`;
    /// - a list of images and labels, `.csv`, `.tsv` or `.jsonl`: a [`Manifest`];
    /// - the address of shards, Parquet files or class folders, alone or in parts, or of a list, in object storage: see [`Storage::of`]. Web
    ///   servers cannot be asked what they have: there it is a list, or shards with the `manifest.json` that packing writes.
    ///
    /// # Errors
    ///
    /// When there is nothing at `path`, nothing known in it, or a part of it is damaged or has other classes
    /// than the training part.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &mut Scan::new())
    }

    /// [`DataSet::open`], with folders listed as `scan` says.
    ///
    /// # Errors
    ///
    /// As [`DataSet::open`].
    pub fn open_with(path: impl AsRef<Path>, scan: &mut Scan<'_>) -> Result<Self> {
        let (storage, path) = Storage::of(path, scan.objects())?;
        let what = storage.look(&path).map_err(|e| match e.kind() {
            ErrorKind::Missing => missing(&path),
            _ => e,
        })?;
        if what == What::File {
            return open_file(&storage, &path);
        }
        let found = Listing::of(&storage, &path)?;
        // A class may be called "train", too: then it has images in it, not folders.
        if let Some(train) = found.only_folder(&TRAIN)? {
            let inside = found.inside(&train)?;
            if !inside.folders.is_empty() {
                return open_split_folders(&found, &train, scan);
            }
            if inside.has_shards() {
                return open_split_shards(&found, &train);
            }
            if inside.has_parquet() {
                return open_split_parquet(&found, &inside);
            }
        }
        if found.has_shards() {
            return Ok(Self::from_parts(Shards::open_in(&storage, &path, None)?, None, None));
        }
        if found.has_parquet() {
            return open_parquet(&found);
        }
        if let Some(inside) = found.parquet_inside()? {
            return open_parquet(&inside);
        }
        if let Some((configuration, train)) = found.configuration_inside()? {
            return open_split_parquet(&configuration, &train);
        }
        if !storage.is_disk() {
            return open_class_folders(&found, scan);
        }
        if found.has_idx() {
            return open_idx(&found);
        }
        // Beside class folders a .bin file is something else.
        if found.folders.is_empty() && found.has_bin() {
            return open_cifar(&found);
        }
        match found.known_inside()? {
            Some(inside) if inside.has_idx() => open_idx(&inside),
            Some(inside) => open_cifar(&inside),
            None => open_class_folders(&found, scan),
        }
    }

    /// All images at or below `path`, of one class: for what looks at pictures only.
    ///
    /// # Errors
    ///
    /// When `path` cannot be read, or there are no images.
    pub fn unlabelled(path: impl AsRef<Path>) -> Result<Self> {
        let mut set = Self::from_parts(Folder::unlabelled(path)?, None, None);
        set.description = format!("Found {} images, without classes", grouped(set.train.len()));
        Ok(set)
    }

    /// The digits that this crate draws itself: 6,000 to train on and 1,000 to test on, made from `seed`.
    #[must_use]
    pub fn digits(seed: u64) -> Self {
        // Another stream and not a continuation: a longer training set never runs into the test set.
        let test = Digits::new(1_000, seed ^ 0x7E57_0000_0000_7E57);
        let mut set = Self::from_parts(Digits::new(6_000, seed), None, Some(test));
        set.description = set.description.replacen("Found", "Drew", 1);
        set
    }

    fn from_parts<S: Source + 'static>(train: S, valid: Option<S>, test: Option<S>) -> Self {
        let share = |part: S| -> Arc<dyn Source> { Arc::new(part) };
        Self::from_shared(share(train), valid.map(share), test.map(share))
    }

    /// Tells that `paths` are in no part, and why.
    fn leave_out(&mut self, paths: &[PathBuf], why: &str) {
        let names: Vec<_> =
            paths.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
        if !names.is_empty() {
            self.description += &format!("; left out: {}", names.join(", "));
        }
        self.left_out.extend(paths.iter().map(|path| format!("{}: {why}", path.display())));
    }

    fn from_shared(
        train: Arc<dyn Source>,
        valid: Option<Arc<dyn Source>>,
        test: Option<Arc<dyn Source>>,
    ) -> Self {
        let description = describe(train.as_ref(), valid.as_deref(), test.as_deref());
        Self { train, valid, test, description, left_out: Vec::new() }
    }
}

impl std::fmt::Debug for DataSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataSet({})", self.description)
    }
}

/// "Found 1,534 images in 10 classes (train 1,134, validation 400)."
fn describe(train: &dyn Source, valid: Option<&dyn Source>, test: Option<&dyn Source>) -> String {
    let parts = [("train", Some(train)), ("validation", valid), ("test", test)];
    let counts: Vec<_> = parts.into_iter().filter_map(|(name, part)| Some((name, part?.len()))).collect();
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    let mut text = format!("Found {} images in {} classes", grouped(total), train.class_names().len());
    if counts.len() > 1 {
        let parts: Vec<_> =
            counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
        text += &format!(" ({})", parts.join(", "));
    }
    text
}

/// 1234567 as "1,234,567".
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn missing(path: &Path) -> Error {
    let name = path.to_string_lossy().to_lowercase();
    if NAMED.contains(&name.as_str()) {
        let how = if cfg!(feature = "download") {
            "no such folder; download it first"
        } else {
            "no such folder; to download this set, build with --features download"
        };
        return Error::at(path, ErrorKind::NotADataSet(how.into()));
    }
    Error::at(path, ErrorKind::Missing)
}

fn open_idx(found: &Listing) -> Result<DataSet> {
    let pair = |part: &str| -> Result<Option<(PathBuf, PathBuf)>> {
        match (found.file(&format!("{part}-images")), found.file(&format!("{part}-labels"))) {
            (Some(images), Some(labels)) => Ok(Some((images, labels))),
            (Some(images), None) => {
                let message = format!("there is no {part}-labels file beside it");
                Err(Error::at(images, ErrorKind::NotADataSet(message)))
            }
            _ => Ok(None),
        }
    };
    let Some((images, labels)) = pair("train")? else {
        let message = "there is no train-images file beside the other IDX files";
        return Err(Error::at(&found.root, ErrorKind::NotADataSet(message.into())));
    };
    let train = Idx::open(images, labels)?;
    let test = pair("t10k")?.or(pair("test")?);
    let test = test.map(|(images, labels)| Idx::with_class_names(images, labels, train.class_names()));
    Ok(DataSet::from_parts(train, None, test.transpose()?))
}

fn open_cifar(found: &Listing) -> Result<DataSet> {
    let paths = |wanted: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
        found.files.iter().filter(|name| wanted(name)).map(|name| found.root.join(name)).collect()
    };
    let is_test = |name: &str| name == "test_batch.bin" || name == "test.bin";
    let train = paths(&|name| name.ends_with(".bin") && !is_test(name));
    let Some(first) = train.first() else {
        let message = "there are test records, but none to train on (data_batch_*.bin or train.bin)";
        return Err(Error::at(&found.root, ErrorKind::NotADataSet(message.into())));
    };
    let kind = cifar_kind(first)?;
    let test = paths(&|name| is_test(name));
    let test = if test.is_empty() { None } else { Some(Cifar::open(&test, kind)?) };
    Ok(DataSet::from_parts(Cifar::open(&train, kind)?, None, test))
}

/// Tells the sets apart by the length of a file; no file of the original archives fits both.
fn cifar_kind(file: &Path) -> Result<CifarKind> {
    let size = fs::metadata(file).map_err(|e| Error::at(file, e))?.len();
    let fits = |kind: &CifarKind| size > 0 && size % kind.record_bytes() as u64 == 0;
    [CifarKind::Ten, CifarKind::Hundred].into_iter().find(fits).ok_or_else(|| {
        let message = format!(
            "its {size} bytes are no whole number of CIFAR-10 records (3,073 bytes) or CIFAR-100 records (3,074 bytes)"
        );
        Error::at(file, ErrorKind::NotADataSet(message))
    })
}

fn open_file(storage: &Storage, path: &Path) -> Result<DataSet> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if Manifest::is_list(path) {
        let ManifestParts { train, valid, test } = Manifest::open_parts_in(storage, path)?;
        return Ok(DataSet::from_parts(train, valid, test));
    }
    if name.ends_with(".bin") {
        return Ok(DataSet::from_parts(Cifar::open(&[path], cifar_kind(path)?)?, None, None));
    }
    if name.ends_with(".tar") {
        return Ok(DataSet::from_parts(Shards::open_in(storage, path, None)?, None, None));
    }
    if is_parquet(&name) {
        return parquet::open_one(storage, path);
    }
    let message = "this is one file, not an image set; give the folder that has class folders, IDX or CIFAR files, \
                   or a .csv, .tsv or .jsonl file of paths and labels";
    Err(Error::at(path, ErrorKind::NotADataSet(message.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared_data;

    fn write(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::new(2, 2).save(path).unwrap();
        }
    }

    fn lens(set: &DataSet) -> (usize, Option<usize>, Option<usize>) {
        (set.train.len(), set.valid.as_ref().map(|s| s.len()), set.test.as_ref().map(|s| s.len()))
    }

    #[test]
    fn class_folders_with_or_without_parts_are_found() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["cat/1.png", "dog/1.png", "dog/2.png"]);
        fs::write(root.path().join("weights.bin"), "x").unwrap();
        fs::write(root.path().join("about-images.txt"), "x").unwrap();
        let set = DataSet::open(root.path()).unwrap();
        assert_eq!(set.description, "Found 3 images in 2 classes");
        assert_eq!(lens(&set), (3, None, None));

        for name in ["val", "Valid", "validation"] {
            let parts = tempfile::tempdir().unwrap();
            write(parts.path(), &["Train/cat/1.png", "Train/dog/1.png", "TEST/dog/1.png"]);
            write(&parts.path().join(name), &["dog/1.png", "dog/2.png"]);
            let set = DataSet::open(parts.path()).unwrap();
            assert_eq!(set.description, "Found 5 images in 2 classes (train 2, validation 2, test 1)");
            assert_eq!(set.valid.unwrap().label(0), 1);
        }
    }

    #[test]
    fn an_unknown_validation_class_is_named() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["train/cat/1.png", "train/dog/1.png", "val/fox/1.png"]);
        let error = DataSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("the class \"fox\""), "{error}");
    }

    #[test]
    fn a_class_may_be_called_train() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["train/1.png", "plane/1.png"]);
        assert_eq!(DataSet::open(root.path()).unwrap().train.class_names(), ["plane", "train"]);
    }

    #[test]
    fn a_test_folder_without_classes_is_no_part() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["train/cat/1.png", "train/dog/1.png", "test/1.png"]);
        assert_eq!(lens(&DataSet::open(root.path()).unwrap()), (2, None, None));
    }

    #[test]
    fn idx_files_are_found_and_half_a_pair_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        put("train-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6]);
        let error = DataSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("no train-labels file"), "{error}");
        put("train-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 0, 2]);
        put("t10k-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5]);
        put("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 1]);
        let set = DataSet::open(root.path()).unwrap();
        assert_eq!(set.description, "Found 3 images in 3 classes (train 2, test 1)");
        put("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 3]);
        let error = DataSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte: record 0: label 3 is out of range"), "{error}");
    }

    #[test]
    fn cifar_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: usize| fs::write(root.path().join(name), vec![1; bytes]).unwrap();
        put("test_batch.bin", 3073);
        assert!(DataSet::open(root.path()).unwrap_err().to_string().contains("none to train on"));
        put("data_batch_1.bin", 2 * 3073);
        put("data_batch_2.bin", 3073);
        assert_eq!(lens(&DataSet::open(root.path()).unwrap()), (3, None, Some(1)));
        assert_eq!(DataSet::open(root.path().join("data_batch_1.bin")).unwrap().train.len(), 2);
        let hundred = tempfile::tempdir().unwrap();
        fs::write(hundred.path().join("train.bin"), vec![1; 3074]).unwrap();
        assert_eq!(DataSet::open(hundred.path()).unwrap().train.class_names().len(), 100);
        fs::write(hundred.path().join("train.bin"), vec![1; 3000]).unwrap();
        assert!(DataSet::open(hundred.path()).unwrap_err().to_string().contains("train.bin: its 3000 bytes"));
    }

    #[test]
    fn folders_that_torchvision_makes_are_found() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put(
            "FashionMNIST/raw/train-images-idx3-ubyte",
            &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6],
        );
        put("FashionMNIST/raw/train-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 0, 2]);
        for path in ["", "FashionMNIST", "FashionMNIST/raw"] {
            let set = DataSet::open(root.path().join(path)).unwrap();
            assert_eq!(set.description, "Found 2 images in 10 classes", "{path}");
            assert_eq!(set.train.class_names()[9], "Ankle boot");
        }
        put("cifar-10-batches-bin/data_batch_1.bin", &[1; 2 * 3073]);
        put("cifar-10-batches-bin/batches.meta.txt", b"");
        let error = DataSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("several sets") && error.contains("cifar-10-batches-bin"), "{error}");
        fs::remove_dir_all(root.path().join("FashionMNIST")).unwrap();
        assert_eq!(lens(&DataSet::open(root.path()).unwrap()), (2, None, None));
        fs::remove_dir_all(root.path().join("cifar-10-batches-bin")).unwrap();
        put("cifar-10-batches-py/data_batch_1", b"pickle");
        assert!(DataSet::open(root.path()).unwrap_err().to_string().contains("the binary version"));
    }

    #[test]
    fn shards_with_or_without_parts_are_found() {
        let root = tempfile::tempdir().unwrap();
        for (part, count) in [("train", 8), ("validation", 4), ("test", 3)] {
            let options = crate::pack::PackOptions::default();
            crate::pack::pack(&Digits::new(count, 1), root.path().join(part), &options, &mut |_| ()).unwrap();
        }
        let set = DataSet::open(root.path()).unwrap();
        assert_eq!(set.description, "Found 15 images in 10 classes (train 8, validation 4, test 3)");
        let train = root.path().join("train");
        assert_eq!(lens(&DataSet::open(&train).unwrap()), (8, None, None));
        assert_eq!(lens(&DataSet::open(train.join("shard-000000.tar")).unwrap()), (8, None, None));
    }

    #[test]
    fn a_list_is_a_data_set() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["1.png", "2.png", "3.png"]);
        let csv = root.path().join("list.csv");
        fs::write(&csv, "image,label,split\n1.png,cat,train\n2.png,dog,train\n3.png,cat,val\n").unwrap();
        let set = DataSet::open(&csv).unwrap();
        assert_eq!(set.description, "Found 3 images in 2 classes (train 2, validation 1)");
        let jsonl = root.path().join("list.jsonl");
        fs::write(&jsonl, "{\"path\":\"1.png\",\"label\":0}\n{\"path\":\"2.png\",\"label\":1}\n").unwrap();
        assert_eq!(DataSet::open(&jsonl).unwrap().description, "Found 2 images in 2 classes");
        fs::write(&jsonl, "{\"path\":\"1.png\"}\n").unwrap();
        assert!(
            DataSet::open(&jsonl).unwrap_err().to_string().contains("list.jsonl: line 1: it has no label")
        );
    }

    #[test]
    fn what_is_not_there_says_so() {
        let missing = DataSet::open("nowhere/photos").unwrap_err().to_string();
        assert_eq!(missing, "nowhere/photos: no such file or folder; check the path");
        assert!(DataSet::open("mnist").unwrap_err().to_string().contains("download"));
        let root = tempfile::tempdir().unwrap();
        assert!(DataSet::open(root.path()).unwrap_err().to_string().contains("the folder is empty"));
        fs::write(root.path().join("notes.txt"), "x").unwrap();
        assert!(DataSet::open(root.path()).unwrap_err().to_string().contains("no class folders"));
        assert!(DataSet::open(root.path().join("notes.txt")).unwrap_err().to_string().contains("one file"));
    }

    #[test]
    fn digits_are_described() {
        let set = DataSet::digits(1);
        assert_eq!(set.description, "Drew 7,000 images in 10 classes (train 6,000, test 1,000)");
        assert_ne!(set.train.read(0).unwrap(), set.test.unwrap().read(0).unwrap());
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn real_sets_are_found() {
        for (name, expected) in [
            ("mnist_idx", "Found 70,000 images in 10 classes (train 60,000, test 10,000)"),
            ("cifar10_bin4000_lossless", "Found 4,000 images in 10 classes"),
            ("tiny_imagenet_200", "Found 5,000 images in 10 classes"),
        ] {
            if let Some(path) = shared_data(name) {
                assert_eq!(DataSet::open(path).unwrap().description, expected);
            }
        }
        if let Some(path) = shared_data("clothing_small") {
            let set = DataSet::open(path).unwrap();
            assert!(set.valid.is_some() && set.test.is_none(), "{}", set.description);
        }
    }
}
