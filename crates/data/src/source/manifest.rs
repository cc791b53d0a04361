//! Lists of images and labels: a CSV, TSV or JSONL file.

mod lines;

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::lines::{Format, Lines, Parser, Record};
use super::paths::{Paths, name_from_bytes};
use super::{Source, Stored};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Limits, Place, Result};

/// More classes than any list has whose label column is really one.
const MAX_CLASSES: usize = 100_000;
/// How addresses begin.
const ADDRESSES: [&str; 5] = ["http://", "https://", "s3://", "gs://", "az://"];
/// The longest label in bytes.
const MAX_LABEL: usize = 1024;

/// Images named by the lines of a file, each with its label.
///
/// - `.jsonl`, `.ndjson`: an object a line, `{"image": "a/b.jpg", "label": "cat"}`.
/// - `.csv`, `.tsv`: a header that names the columns, as `image,label`, and a line for each image. Without a header,
///   two columns are path and label. Fields may be quoted; a field with a line end in it is refused.
///
/// The key or column of the path is the first there is of `image`, `path`, `file`, `file_name` and `filename`; that of the
/// label the first of `label`, `class`, `category` and `target`; others are passed over. A label is a name or a whole
/// number, which is a name, too. Classes are sorted: by number if all labels are numbers, else by name. Blank
/// lines, white space around paths and labels, and a byte order mark are passed over.
///
/// An optional `split` says which part a line belongs to: `train` or `training`; `val`, `valid`, `validation` or `dev`;
/// `test` or `testing`, in any letter case. A line without one is for training.
///
/// A relative path counts from the folder of the list. Absolute paths and such as lead out of that folder with `..` are
/// followed: a list is as trusted as the command that names it, and files are only ever read. A path may come
/// twice in a part, but not with two labels and not in two parts. Whether a file is there is told when it is read. A list in object
/// storage names what lies below its own folder there.
///
/// A line takes about 20 bytes of memory and the name of its file; folders are held once.
pub struct Manifest {
    storage: Storage,
    file: Arc<Path>,
    paths: Paths,
    labels: Vec<u32>,
    /// The line of each image, from 1.
    lines: Vec<u32>,
    class_names: Vec<String>,
}

/// The parts of a list. All have the classes of the first.
#[derive(Debug)]
pub struct ManifestParts {
    /// The lines for training.
    pub train: Manifest,
    /// The lines for validation, if there are any.
    pub valid: Option<Manifest>,
    /// The lines for testing, if there are any.
    pub test: Option<Manifest>,
}

impl Manifest {
    /// Whether `path` has the extension of a list.
    #[must_use]
    pub fn is_list(path: impl AsRef<Path>) -> bool {
        Format::of(path.as_ref()).is_some()
    }

    /// Reads the list at `path`, all parts as one.
    ///
    /// # Errors
    ///
    /// When it cannot be read, a line says too little or contradicts another, or there are fewer than two classes. The
    /// error names the line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (all, classes) = read(&Storage::DISK, path, |_| Ok(0))?;
        let [all, ..] = all;
        let names = classes.names(path)?;
        Ok(all.finish(&names))
    }

    /// Reads the list at `path`, each part by itself.
    ///
    /// # Errors
    ///
    /// As [`Manifest::open`], and when no line is for training, a class has none that is, or a split is none of the
    /// known ones.
    pub fn open_parts(path: impl AsRef<Path>) -> Result<ManifestParts> {
        Self::open_parts_in(&Storage::DISK, path)
    }

    /// [`Manifest::open_parts`] of a list that lies in `storage`: see [`Storage::of`].
    ///
    /// # Errors
    ///
    /// As [`Manifest::open_parts`].
    pub fn open_parts_in(storage: &Storage, path: impl AsRef<Path>) -> Result<ManifestParts> {
        let path = path.as_ref();
        let (parts, classes) = read(storage, path, part_number)?;
        let [train, valid, test] = parts;
        if train.labels.is_empty() {
            let message = "no line in it is for training: each says another split";
            return Err(Error::at(path, ErrorKind::NotADataSet(message.into())));
        }
        let mut trained = vec![false; classes.names.len()];
        for &label in &train.labels {
            trained[label as usize] = true;
        }
        for part in [&valid, &test] {
            if let Some(at) = part.labels.iter().position(|&label| !trained[label as usize]) {
                let name = &classes.names[part.labels[at] as usize];
                let message = format!("the class {name:?} has no line for training");
                return Err(part.refuse(at, ErrorKind::Classes(message)));
            }
        }
        let names = classes.names(path)?;
        let some = |part: Builder| (!part.labels.is_empty()).then(|| part.finish(&names));
        let (valid, test) = (some(valid), some(test));
        Ok(ManifestParts { train: train.finish(&names), valid, test })
    }

    /// Reads lists as the validation part of Tiny-ImageNet has: file name and class with tabs between them, and what is
    /// passed over; the files lie in `images` beside the list.
    ///
    /// # Errors
    ///
    /// When it cannot be read, a line says too little, or a class is none of `class_names`.
    pub(crate) fn open_annotations(path: &Path, class_names: &[String]) -> Result<Self> {
        let numbers: HashMap<&str, u32> = class_names.iter().map(String::as_str).zip(0..).collect();
        let mut part = Builder::new(&Storage::DISK, path);
        let mut lines = Lines::open(&Storage::DISK, path)?;
        while let Some(line) = lines.next()? {
            let mut columns = line.split('\t').map(str::trim);
            let (Some(image), Some(class)) = (columns.next(), columns.next()) else {
                return Err(lines.refuse("it has no second column with the class"));
            };
            let Some(&label) = numbers.get(class) else {
                let message = format!("the class {class:?} is not among the {} known ones", numbers.len());
                let place = Place::line(path, lines.number().into());
                return Err(Error::in_place(place, ErrorKind::Classes(message)));
            };
            let image = format!("images/{image}");
            let number = lines.number();
            part.push(&image, label, number);
        }
        if part.labels.is_empty() {
            return Err(Error::at(path, ErrorKind::NotADataSet("there are no lines in it".into())));
        }
        let same: Vec<u32> = (0..class_names.len() as u32).collect();
        Ok(part.finish(&Names { sorted: class_names.to_vec(), of: same }))
    }

    /// The path of image `index`.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    #[must_use]
    pub fn path(&self, index: usize) -> PathBuf {
        self.paths.full(index)
    }
}

/// 0 for training, 1 for validation, 2 for testing.
fn part_number(record: &Record) -> Result<usize, String> {
    let split = record.split.as_deref().unwrap_or_default();
    match split.to_ascii_lowercase().as_str() {
        "" | "train" | "training" => Ok(0),
        "val" | "valid" | "validation" | "dev" => Ok(1),
        "test" | "testing" => Ok(2),
        _ => Err(format!("the split {split:?} is none of train, validation, test")),
    }
}

/// The records of each part, with labels in the order of `Classes`.
fn read(
    storage: &Storage,
    path: &Path,
    part: impl Fn(&Record) -> Result<usize, String>,
) -> Result<([Builder; 3], Classes)> {
    let Some(format) = Format::of(path) else {
        let message = "a list of images is a .csv, .tsv or .jsonl file";
        return Err(Error::at(path, ErrorKind::NotADataSet(message.into())));
    };
    let mut parts = [(); 3].map(|()| Builder::new(storage, path));
    let mut classes = Classes::default();
    let mut parser = Parser::new(format);
    let mut lines = Lines::open(storage, path)?;
    let root = parts[0].paths.root().to_owned();
    let mut unknown = None;
    while let Some(line) = lines.next()? {
        let exists = |image: &str| {
            // Told below.
            is_address(image)
                || storage.has_file(&root.join(image)).unwrap_or_else(|error| {
                    unknown = Some(error);
                    true
                })
        };
        let parsed = parser.parse(line, exists);
        if let Some(error) = unknown.take() {
            return Err(error);
        }
        let Some(record) = parsed.map_err(|message| lines.refuse(message))? else { continue };
        if is_address(&record.image) {
            return Err(lines.refuse(format!(
                "{:?} is an address; pictures must lie below the folder of the list, and are named as paths from there",
                record.image
            )));
        }
        let part = part(&record).map_err(|message| lines.refuse(message))?;
        let label = classes.number(&record.label).map_err(|message| lines.refuse(message))?;
        parts[part].push(&record.image, label, lines.number());
    }
    if parts.iter().all(|part| part.labels.is_empty()) {
        return Err(Error::at(path, ErrorKind::NotADataSet("there are no images in it".into())));
    }
    no_contradiction(&parts, &classes)?;
    Ok((parts, classes))
}

fn is_address(image: &str) -> bool {
    ADDRESSES.iter().any(|begin| image.starts_with(begin))
}

/// The labels seen so far.
#[derive(Default)]
struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// The classes in their order.
struct Names {
    sorted: Vec<String>,
    /// The place of each number of [`Classes`] in `sorted`.
    of: Vec<u32>,
}

impl Classes {
    fn number(&mut self, name: &str) -> Result<u32, String> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        if name.len() > MAX_LABEL {
            return Err(format!("the label has more than {MAX_LABEL} bytes; is it the right column?"));
        }
        if self.names.len() == MAX_CLASSES {
            return Err(format!(
                "there are more than {MAX_CLASSES} different labels; is it the right column?"
            ));
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    fn names(&self, path: &Path) -> Result<Names> {
        if let [only] = &self.names[..] {
            let message = format!("there is only one class, {only:?}; a classifier needs at least two");
            return Err(Error::at(path, ErrorKind::Classes(message)));
        }
        let values: Option<Vec<i64>> = self.names.iter().map(|name| name.parse().ok()).collect();
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        match values {
            // Names as "01" and "1" have the same value: then the text decides.
            Some(values) => order.sort_unstable_by_key(|&at| (values[at], &self.names[at])),
            None => order.sort_unstable_by_key(|&at| &self.names[at]),
        }
        let mut of = vec![0; order.len()];
        for (place, &at) in order.iter().enumerate() {
            of[at] = place as u32;
        }
        Ok(Names { sorted: order.iter().map(|&at| self.names[at].clone()).collect(), of })
    }
}

/// A part of a list while it is read.
struct Builder {
    storage: Storage,
    file: Arc<Path>,
    paths: Paths,
    folders: HashMap<String, u32>,
    labels: Vec<u32>,
    lines: Vec<u32>,
}

impl Builder {
    fn new(storage: &Storage, file: &Path) -> Self {
        let paths = Paths::new(file.parent().unwrap_or(Path::new("")));
        let (folders, labels, lines) = (HashMap::new(), Vec::new(), Vec::new());
        Self { storage: storage.clone(), file: file.into(), paths, folders, labels, lines }
    }

    fn push(&mut self, image: &str, label: u32, line: u32) {
        let (folder, name) = match image.rfind('/') {
            Some(end) => image.split_at(end + 1),
            None => ("", image),
        };
        let number = match self.folders.get(folder) {
            Some(&number) => number,
            None => {
                let number = self.paths.add_folder(name_from_bytes(folder.as_bytes()));
                self.folders.insert(folder.to_owned(), number);
                number
            }
        };
        self.paths.push(number, name.as_bytes());
        self.labels.push(label);
        self.lines.push(line);
    }

    fn refuse(&self, index: usize, kind: ErrorKind) -> Error {
        Error::in_place(Place::line(&*self.file, self.lines[index].into()), kind)
    }

    fn finish(self, names: &Names) -> Manifest {
        let Self { storage, file, paths, mut labels, lines, .. } = self;
        for label in &mut labels {
            *label = names.of[*label as usize];
        }
        Manifest { storage, file, paths, labels, lines, class_names: names.sorted.clone() }
    }
}

/// Refuses a path with two labels or in two parts.
fn no_contradiction(parts: &[Builder; 3], classes: &Classes) -> Result<()> {
    let path_of = |(part, index): (usize, u32)| parts[part].paths.relative(index as usize);
    let mut hashes: Vec<(u64, u8, u32)> = Vec::new();
    for (part, builder) in parts.iter().enumerate() {
        for index in 0..builder.paths.len() {
            let mut hasher = DefaultHasher::new();
            builder.paths.relative(index).hash(&mut hasher);
            hashes.push((hasher.finish(), part as u8, index as u32));
        }
    }
    hashes.sort_unstable();
    let mut earliest: Option<(u32, Error)> = None;
    for same in hashes.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
        let first = (usize::from(same[0].1), same[0].2);
        for other in same[1..].iter().map(|&(_, part, index)| (usize::from(part), index)) {
            let [one, two] = [first, other].map(|(part, index)| {
                (parts[part].lines[index as usize], parts[part].labels[index as usize], part)
            });
            let (earlier, later) = if one.0 < two.0 { (one, two) } else { (two, one) };
            let message = if one.1 != two.1 {
                let [earlier, later] = [earlier, later].map(|line| &classes.names[line.1 as usize]);
                format!("the image is labelled {later:?} here and {earlier:?}")
            } else if one.2 != two.2 {
                "the image is in another split".to_owned()
            } else {
                continue;
            };
            if path_of(first) == path_of(other) && earliest.as_ref().is_none_or(|(line, _)| later.0 < *line) {
                let message = format!("{message} in line {}; keep one of the two", earlier.0);
                let image = path_of(first).display().to_string();
                let place = Place { entry: Some(image), ..Place::line(&*parts[0].file, later.0.into()) };
                earliest = Some((later.0, Error::in_place(place, ErrorKind::Corrupt(message))));
            }
        }
    }
    earliest.map_or(Ok(()), |(_, error)| Err(error))
}

impl Source for Manifest {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let (path, limit) = (self.path(index), Limits::default().max_file_bytes);
        let refuse = |kind| Error::in_place(self.place(index), kind);
        // Opening a pipe would wait for its other end.
        if self.storage.is_disk() && fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(refuse(ErrorKind::NotADataSet("this is no file".into())));
        }
        self.storage.read(&path, limit, buffer).map_err(refuse)?;
        Ok(Stored::File(buffer))
    }

    fn fetches_at_once(&self) -> usize {
        self.storage.fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn place(&self, index: usize) -> Place {
        let image = self.paths.relative(index).display().to_string();
        Place { entry: Some(image), ..Place::line(&*self.file, self.lines[index].into()) }
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (images, classes) = (self.len(), self.class_names.len());
        write!(f, "Manifest({}: {images} images in {classes} classes)", self.file.display())
    }
}

#[cfg(test)]
mod tests;
