//! The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009).
//!
//! A record is one label byte (two in CIFAR-100: coarse, fine) and 3,072 bytes of a 32x32 picture: all red
//! values, then green, then blue, each row by row.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Source, Stored};
use crate::storage::open_on_disk;
use crate::{Error, ErrorKind, Place, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// More than any set that is kept whole in memory should have.
const MAX_BYTES: u64 = 2 << 30;

const CIFAR_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CifarKind {
    /// CIFAR-10: records of 3,073 bytes, 10 classes.
    Ten,
    /// CIFAR-100: records of 3,074 bytes, 100 (fine) classes.
    Hundred,
}

impl CifarKind {
    /// The number of classes.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }

    /// The bytes of one record: labels and picture.
    #[must_use]
    pub fn record_bytes(self) -> usize {
        self.label_bytes() + 3 * PLANE
    }

    fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    fn names_file(self) -> &'static str {
        match self {
            Self::Ten => "batches.meta.txt",
            Self::Hundred => "fine_label_names.txt",
        }
    }
}

/// One or more CIFAR binary files, held in memory: 32x32 pictures of three channels.
pub struct Cifar {
    kind: CifarKind,
    files: Vec<(PathBuf, usize)>,
    records: Vec<u8>,
    class_names: Vec<String>,
}

impl Cifar {
    /// Reads `files` one after the other. Class names come from the text file of the original archive when
    /// it lies beside the first file; otherwise they are the known ones of CIFAR-10, or numbers.
    ///
    /// # Errors
    ///
    /// When a file is missing or empty, has a length that is no whole number of records, or a label that is
    /// out of range.
    pub fn open(files: &[impl AsRef<Path>], kind: CifarKind) -> Result<Self> {
        let Some(first) = files.first() else {
            return Err(Error::new(ErrorKind::NotADataSet("no CIFAR file was given".into())));
        };
        let class_names = class_names(first.as_ref(), kind);
        let mut cifar = Self { kind, files: Vec::new(), records: Vec::new(), class_names };
        for file in files {
            cifar.add(file.as_ref())?;
        }
        Ok(cifar)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let at = |kind: ErrorKind| Error::at(path, kind);
        let mut file = open_on_disk(path).map_err(at)?;
        let size = file.metadata().map_err(|e| at(e.into()))?.len();
        let record = self.kind.record_bytes();
        if size == 0 || size % record as u64 != 0 {
            let message = format!("{size} bytes are no whole number of records of {record} bytes");
            return Err(at(ErrorKind::Corrupt(message)));
        }
        if self.records.len() as u64 + size > MAX_BYTES {
            return Err(at(ErrorKind::TooLarge("at most 2 GiB are read".into())));
        }
        let start = self.records.len();
        file.by_ref().take(size).read_to_end(&mut self.records).map_err(|e| at(e.into()))?;
        if (self.records.len() - start) as u64 != size {
            return Err(at(ErrorKind::Corrupt("the file became shorter while it was read".into())));
        }
        for (number, bytes) in self.records[start..].chunks_exact(record).enumerate() {
            let label = bytes[self.kind.label_bytes() - 1];
            if usize::from(label) >= self.kind.classes() {
                let message =
                    format!("label {label} is out of range, there are {} classes", self.kind.classes());
                return Err(Error::in_record(path, number as u64, ErrorKind::Corrupt(message)));
            }
        }
        self.files.push((path.to_owned(), self.records.len() / record));
        Ok(())
    }

    fn record(&self, index: usize) -> &[u8] {
        let size = self.kind.record_bytes();
        &self.records[index * size..(index + 1) * size]
    }
}

fn class_names(file: &Path, kind: CifarKind) -> Vec<String> {
    let beside = file.with_file_name(kind.names_file());
    let mut text = String::new();
    // A names file that cannot be read, or has another number of lines, is as good as none.
    let read = open_on_disk(&beside).and_then(|f| Ok(f.take(1 << 16).read_to_string(&mut text)?));
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(Into::into).collect();
    if read.is_ok() && names.len() == kind.classes() {
        return names;
    }
    match kind {
        CifarKind::Ten => CIFAR_10.map(String::from).to_vec(),
        CifarKind::Hundred => (0..100).map(|class| class.to_string()).collect(),
    }
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.records.len() / self.kind.record_bytes()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let planes = &self.record(index)[self.kind.label_bytes()..];
        buffer.clear();
        for i in 0..PLANE {
            buffer.extend([planes[i], planes[i + PLANE], planes[i + 2 * PLANE]]);
        }
        Ok(Stored::Pixels { width: SIDE as u32, height: SIDE as u32, channels: 3, bytes: buffer })
    }

    fn label(&self, index: usize) -> u32 {
        u32::from(self.record(index)[self.kind.label_bytes() - 1])
    }

    fn place(&self, index: usize) -> Place {
        let file = self.files.partition_point(|(_, end)| *end <= index);
        let start = if file == 0 { 0 } else { self.files[file - 1].1 };
        Place::record(&self.files[file].0, (index - start) as u64)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Cifar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cifar({:?}: {} records in {} files)", self.kind, self.len(), self.files.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{conforms, shared_data};

    /// `labels.len()` records whose red, green and blue are 1, 2 and 3 plus the position.
    fn records(labels: &[&[u8]]) -> Vec<u8> {
        let plane = |base: u8| (0..PLANE).map(move |i| base.wrapping_add((i % 64) as u8));
        labels
            .iter()
            .flat_map(|l| l.iter().copied().chain((1..=3).flat_map(plane)).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn cifar_conforms_and_planes_become_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a.bin", "b.bin"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], records(&[&[3], &[9]])).unwrap();
        std::fs::write(&files[1], records(&[&[0]])).unwrap();
        let ten = Cifar::open(&files, CifarKind::Ten).unwrap();
        conforms(&ten);
        assert_eq!(ten.read(1).unwrap().image.pixels()[..6], [1, 2, 3, 2, 3, 4]);
        assert_eq!(ten.class_names()[ten.label(1) as usize], "truck");
        assert_eq!(ten.place(2), Place::record(&files[1], 0));

        std::fs::write(&files[0], records(&[&[3, 99], &[9, 0]])).unwrap();
        let hundred = Cifar::open(&files[..1], CifarKind::Hundred).unwrap();
        conforms(&hundred);
        assert_eq!((hundred.label(0), hundred.class_names().len()), (99, 100));
    }

    #[test]
    fn names_beside_the_file_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        std::fs::write(&file, records(&[&[1]])).unwrap();
        let lines: String = (0..10).map(|i| format!("name{i}\n")).collect();
        std::fs::write(folder.path().join("batches.meta.txt"), lines + "\n").unwrap();
        assert_eq!(Cifar::open(&[&file], CifarKind::Ten).unwrap().class_names()[1], "name1");
    }

    #[test]
    fn damaged_files_name_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        let message = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            Cifar::open(&[&file], CifarKind::Ten).unwrap_err().to_string()
        };
        assert!(message(&records(&[&[1]])[1..]).contains("a.bin: 3072 bytes are no whole number"));
        assert!(message(b"").contains("0 bytes"));
        assert!(message(&records(&[&[1], &[10]])).contains("record 1: label 10 is out of range"));
        assert!(Cifar::open(&[folder.path().join("b.bin")], CifarKind::Ten).is_err());
        assert!(Cifar::open(&[] as &[&Path], CifarKind::Ten).is_err());
    }

    #[test]
    fn the_first_record_of_cifar_10_is_a_frog() {
        let Some(folder) = shared_data("cifar10_bin4000_lossless") else { return };
        let cifar = Cifar::open(&[folder.join("data_batch_first4000.bin")], CifarKind::Ten).unwrap();
        assert_eq!(cifar.len(), 4000);
        assert_eq!(cifar.class_names()[cifar.label(0) as usize], "frog");
        assert_eq!(cifar.read(0).unwrap().image.pixels()[..3], [59, 62, 63]);
    }
}
