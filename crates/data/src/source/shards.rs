//! Tar shards with indexes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::labels::Labels;
use super::{Source, Stored};
use crate::shard::manifest::{Manifest, ShardEntry, list_shards};
use crate::shard::{Classes, IndexFile, OpenFiles, Record, raw};
use crate::storage::{ObjectOptions, PositionedFile, Storage, What};
use crate::{Error, ErrorKind, Place, Result};

/// Bytes of the blocks of a tar archive, at which entries begin.
const BLOCK: u64 = 512;
/// Shards that are opened at the same time, and so files held open while a set is loaded.
const OPENED_AT_ONCE: usize = 32;

/// A folder of tar shards, or one of them, read in any order through the indexes beside them (see [`crate::shard`]).
///
/// Samples are numbered as they lie in the shards, and shards are sorted by name or as `manifest.json` lists them. Class
/// names come from the manifest, or else from the indexes: sorted names, or `0`, `1`, … where the shards only have numbers.
///
/// A fetch is one read at a known place, of a picture whose CRC-32C is checked. In memory a sample takes 13 to 16 bytes.
pub struct Shards {
    files: OpenFiles,
    /// For each shard, the number of its first sample; at the end the number of all.
    starts: Vec<usize>,
    located: Vec<Located>,
    labels: Labels,
    class_names: Vec<String>,
}

/// Where the picture of a sample lies in its shard.
#[derive(Debug, Clone, Copy)]
struct Located {
    /// Counted in blocks.
    block: u32,
    len: u32,
    crc: u32,
}

/// What the indexes of a set say, before its classes are known.
#[derive(Default)]
struct Loading {
    files: Vec<(PathBuf, u64)>,
    starts: Vec<usize>,
    located: Vec<Located>,
    /// By the numbers of each shard's own index.
    labels: Vec<u32>,
    /// Of each shard; neighbours with the same classes share them.
    classes: Vec<Arc<Classes>>,
}

impl Shards {
    /// Opens the shards in the folder `path`, or the one shard there: a path or an address, as [`Storage::of`] takes it.
    ///
    /// # Errors
    ///
    /// When there are none, one has no index, an index is damaged or was made from another shard, a shard of the manifest is
    /// missing, has another number of samples or is not in it, or the classes do not fit the manifest's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let (storage, path) = Storage::of(path, &ObjectOptions::default())?;
        Self::open_in(&storage, path, None)
    }

    /// Opens the shards at `path` with the classes of another set, in its order: a validation or test part.
    ///
    /// # Errors
    ///
    /// As [`Shards::open`], or when there is a class that is none of `class_names`.
    pub fn with_classes(path: impl AsRef<Path>, class_names: &[String]) -> Result<Self> {
        let (storage, path) = Storage::of(path, &ObjectOptions::default())?;
        Self::open_in(&storage, path, Some(class_names))
    }

    /// Opens the shards at `path` of `storage`, with their own classes or those of another set.
    ///
    /// # Errors
    ///
    /// As [`Shards::open`] without `class_names`, and as [`Shards::with_classes`] with them.
    pub fn open_in(
        storage: &Storage,
        path: impl AsRef<Path>,
        class_names: Option<&[String]>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let what = storage.look(path)?;
        let folder = match (what, path.parent()) {
            (What::File, Some(parent)) => parent,
            _ => path,
        };
        let mut refusal = None;
        let manifest = Manifest::probe(storage, folder, &mut refusal)?;
        let shards = match (what, refusal) {
            (What::File, _) => vec![path.to_owned()],
            (What::Folder, Some(refusal)) => return Err(refusal),
            (What::Folder, None) => shards_of(storage, path, manifest.as_ref())?,
        };
        let expected = manifest.as_ref().and_then(|manifest| manifest.shards.as_deref());
        let expected = expected.filter(|_| what == What::Folder);
        let mut loading = Loading::open(storage, path, &shards, expected)?;
        loading.name_numbers(manifest.as_ref());
        let class_names = match (class_names, manifest) {
            (Some(names), _) => names.to_vec(),
            (None, Some(manifest)) => manifest.classes,
            (None, None) => loading.class_names(),
        };
        loading.finish(storage.clone(), class_names)
    }

    /// The number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.starts.len() - 1
    }

    /// What the index says about sample `index`.
    ///
    /// # Errors
    ///
    /// When the index cannot be read any more.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn record(&self, index: usize) -> Result<Record> {
        let (shard, number) = self.locate(index);
        IndexFile::open(self.files.storage(), self.files.path(shard))?.record(number)
    }

    /// The shard of sample `index`, and its number there.
    fn locate(&self, index: usize) -> (usize, u64) {
        assert!(index < self.located.len(), "sample {index} of {}", self.located.len());
        let shard = self.starts.partition_point(|&start| start <= index) - 1;
        (shard, (index - self.starts[shard]) as u64)
    }

    /// The name of the picture of a sample.
    fn name(&self, shard: usize, number: u64) -> Result<String> {
        let index = IndexFile::open(self.files.storage(), self.files.path(shard))?;
        index.name(&index.record(number)?)
    }
}

impl Loading {
    /// Of shards that a manifest lists, `expected` is what it says of them, in the same order.
    fn open(
        storage: &Storage,
        path: &Path,
        shards: &[PathBuf],
        expected: Option<&[ShardEntry]>,
    ) -> Result<Self> {
        let mut loading = Self { starts: vec![0], ..Self::default() };
        for some in shards.chunks(OPENED_AT_ONCE) {
            for (shard, opened) in some.iter().zip(open_all(storage, some)) {
                let (index, tar) = opened?;
                if let Some(expected) = expected.and_then(|all| all.get(loading.files.len())) {
                    check_samples(shard, &index, expected.samples)?;
                }
                loading.add(shard.clone(), &index, &tar)?;
            }
        }
        if loading.located.is_empty() {
            return Err(Error::at(
                path,
                ErrorKind::NotADataSet("there are no pictures in these shards".into()),
            ));
        }
        Ok(loading)
    }

    fn add(&mut self, shard: PathBuf, index: &IndexFile, tar: &PositionedFile) -> Result<()> {
        let len = tar.len().map_err(|e| Error::at(&shard, e))?;
        // An index of holes can claim any number of samples: it is believed only as far as it is read.
        let soon = index.samples().min(1 << 16) as usize;
        self.located.reserve(soon);
        self.labels.reserve(soon);
        let mut too_far = false;
        let classes = index.load(&mut |record| {
            let block = u32::try_from(record.offset / BLOCK);
            too_far |= block.is_err();
            self.located.push(Located { block: block.unwrap_or_default(), len: record.len, crc: record.crc });
            self.labels.push(record.label);
        })?;
        if too_far {
            let message = "a shard of more than 2 TiB; make smaller ones (1 GiB or less)";
            return Err(Error::at(&shard, ErrorKind::TooLarge(message.into())));
        }
        let shared = self.classes.last().filter(|last| ***last == classes).cloned();
        self.classes.push(shared.unwrap_or_else(|| Arc::new(classes)));
        self.starts.push(self.located.len());
        self.files.push((shard, len));
        Ok(())
    }

    /// Gives numbers their names: those of the manifest, or else, beside shards with names, the numbers themselves.
    fn name_numbers(&mut self, manifest: Option<&Manifest>) {
        let named = manifest.map(|manifest| Arc::new(Classes::Named(manifest.classes.clone())));
        let mixed = self.classes.iter().any(|classes| matches!(**classes, Classes::Named(_)));
        for classes in &mut self.classes {
            let Classes::Numbered(largest) = **classes else { continue };
            match &named {
                // One that is too large keeps its number, and is told of later.
                Some(named) if manifest.is_some_and(|m| (largest as usize) < m.classes.len()) => {
                    *classes = named.clone()
                }
                None if mixed => {
                    *classes = Arc::new(Classes::Named((0..=largest).map(|n| n.to_string()).collect()))
                }
                _ => {}
            }
        }
    }

    /// The classes that occur in the shards: names, sorted, or numbers up to the largest.
    fn class_names(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        let mut largest = None;
        for (shard, classes) in self.classes.iter().enumerate() {
            match &**classes {
                Classes::Numbered(number) => largest = largest.max(Some(*number)),
                Classes::Named(list) => {
                    let mut occurs = vec![false; list.len()];
                    self.labels_of(shard).iter().for_each(|&label| occurs[label as usize] = true);
                    names.extend(list.iter().zip(occurs).filter(|(_, occurs)| *occurs).map(|(name, _)| name));
                }
            }
        }
        match largest {
            Some(largest) => (0..=largest).map(|number| number.to_string()).collect(),
            None => names.into_iter().cloned().collect(),
        }
    }

    fn labels_of(&self, shard: usize) -> &[u32] {
        &self.labels[self.starts[shard]..self.starts[shard + 1]]
    }

    /// Gives every sample its place in `class_names`.
    fn finish(mut self, storage: Storage, class_names: Vec<String>) -> Result<Shards> {
        let places: HashMap<&str, u32> =
            class_names.iter().zip(0..).map(|(name, number)| (name.as_str(), number)).collect();
        let mut renumbered: Vec<Option<u32>> = Vec::new();
        for (shard, classes) in self.classes.iter().enumerate() {
            let unknown = |class: &str| {
                let message =
                    format!("the class {class:?} is not among the {} known ones", class_names.len());
                Error::at(&self.files[shard].0, ErrorKind::Classes(message))
            };
            let labels = &mut self.labels[self.starts[shard]..self.starts[shard + 1]];
            match &**classes {
                Classes::Numbered(largest)
                    if *largest as usize >= class_names.len() && !labels.is_empty() =>
                {
                    return Err(unknown(&largest.to_string()));
                }
                Classes::Numbered(_) => {}
                Classes::Named(names) => {
                    if shard == 0 || !Arc::ptr_eq(classes, &self.classes[shard - 1]) {
                        renumbered = names.iter().map(|name| places.get(name.as_str()).copied()).collect();
                    }
                    for label in labels {
                        let own = *label as usize;
                        *label = renumbered[own].ok_or_else(|| unknown(&names[own]))?;
                    }
                }
            }
        }
        self.located.shrink_to_fit();
        Ok(Shards {
            files: OpenFiles::new(storage, self.files),
            starts: self.starts,
            located: self.located,
            labels: Labels::narrow(self.labels, class_names.len()),
            class_names,
        })
    }
}

/// Sees whether an index has as many samples as the manifest says. One of a damaged shard may have fewer.
fn check_samples(shard: &Path, index: &IndexFile, expected: u64) -> Result<()> {
    let found = index.samples();
    if found == expected || (index.partial() && found < expected) {
        return Ok(());
    }
    let message = format!(
        "manifest.json says that this shard has {expected} samples, its index has {found}; if it was copied, copy it again with its \
         index, else take \"shards\" out of manifest.json"
    );
    Err(Error::at(shard, ErrorKind::Corrupt(message)))
}

/// The shards of a folder: those that are there, which must be those of the manifest.
fn shards_of(storage: &Storage, folder: &Path, manifest: Option<&Manifest>) -> Result<Vec<PathBuf>> {
    let listed = manifest.and_then(|manifest| manifest.shards.as_ref());
    let listed = listed.map(|shards| shards.iter().map(|shard| folder.join(&shard.name)).collect::<Vec<_>>());
    let listed = match listed {
        // Nothing to compare with: a shard that is not there is told when it is opened.
        Some(listed) if !storage.lists() => return Ok(listed),
        listed => listed,
    };
    let found = list_shards(storage, folder)?;
    let wrong = |what: String| Err(Error::at(folder, ErrorKind::NotADataSet(what)));
    let Some(listed) = listed else {
        return if found.is_empty() { wrong("there are no .tar files in it".into()) } else { Ok(found) };
    };
    let there: HashSet<_> = found.iter().collect();
    if let Some(lost) = listed.iter().find(|shard| !there.contains(shard)) {
        let message = "manifest.json lists this shard, but it is not there";
        return Err(Error::at(lost, ErrorKind::NotADataSet(message.into())));
    }
    let known: HashSet<_> = listed.iter().collect();
    match found.iter().find(|shard| !known.contains(shard)) {
        None => Ok(listed),
        Some(extra) => {
            let message = "manifest.json does not list this shard; move it away, or take \"shards\" out of manifest.json";
            Err(Error::at(extra, ErrorKind::NotADataSet(message.into())))
        }
    }
}

/// Opens shards and their indexes, and sees whether they belong together; at the same time where each takes a request.
fn open_all(storage: &Storage, shards: &[PathBuf]) -> Vec<Result<(IndexFile, PositionedFile)>> {
    let open = |shard: &PathBuf| {
        let index = IndexFile::open(storage, shard)?;
        let tar = storage.open(shard)?;
        index.check(shard, &tar)?;
        Ok((index, tar))
    };
    if storage.fetches_at_once() == 0 {
        return shards.iter().map(open).collect();
    }
    thread::scope(|scope| {
        let start = |shard| thread::Builder::new().spawn_scoped(scope, move || open(shard));
        let threads: Vec<_> = shards.iter().map(start).collect();
        let lost =
            |how: String| Err(Error::new(ErrorKind::Worker(format!("a thread that opens shards {how}"))));
        let opened = threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| lost("was lost".into())),
            Err(e) => lost(format!("cannot be started: {e}; raise the limit on processes (ulimit -u)")),
        });
        opened.collect()
    })
}

impl Source for Shards {
    fn len(&self) -> usize {
        self.located.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let (shard, _) = self.locate(index);
        let Located { block, len, crc } = self.located[index];
        // What lies in the buffer is written over: only what is new in it is cleared.
        buffer.resize(len as usize, 0);
        let read = self.files.get(shard)?.read_exact_at(buffer, u64::from(block) * BLOCK);
        read.map_err(|e| Error::in_place(self.place(index), e))?;
        if crc32c::crc32c(buffer) != crc {
            let message =
                "the picture is not the one that was indexed (its checksum is another): the shard is damaged";
            return Err(Error::in_place(self.place(index), ErrorKind::Corrupt(message.into())));
        }
        raw::stored(buffer).map_err(|kind| Error::in_place(self.place(index), kind))
    }

    fn fetches_at_once(&self) -> usize {
        self.files.storage().fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels.get(index)
    }

    fn place(&self, index: usize) -> Place {
        let (shard, number) = self.locate(index);
        let offset = u64::from(self.located[index].block) * BLOCK;
        let path = self.files.path(shard);
        let unnamed = Place { offset: Some(offset), ..Place::record(path, number) };
        // The name would be another request, and this may be the place of one that has failed.
        if !self.files.storage().is_disk() {
            return unnamed;
        }
        match self.name(shard, number) {
            Ok(name) => Place::entry(path, name, offset),
            // Where it begins tells it as well, if not as kindly.
            Err(_) => unnamed,
        }
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (samples, shards, classes) = (self.len(), self.shard_count(), self.class_names.len());
        write!(f, "Shards({samples} images in {shards} shards, {classes} classes)")
    }
}
