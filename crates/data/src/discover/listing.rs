//! The names in a folder, and what set they tell of.

use std::path::{Path, PathBuf};

use crate::shard::manifest::Manifest;
use crate::storage::{Names, Storage};
use crate::{Error, ErrorKind, Result};

/// The names of the folder of the training part, in any letter case.
pub(super) const TRAIN: [&str; 2] = ["train", "training"];
pub(super) const VALID: [&str; 4] = ["val", "valid", "validation", "dev"];
pub(super) const TEST: [&str; 2] = ["test", "testing"];

/// The names in a folder, hidden ones left out, sorted.
pub(super) struct Listing {
    pub(super) storage: Storage,
    pub(super) root: PathBuf,
    pub(super) files: Vec<String>,
    pub(super) folders: Vec<String>,
}

impl Listing {
    pub(super) fn of(storage: &Storage, root: &Path) -> Result<Self> {
        let Names { files, folders } =
            if storage.lists() { storage.list(root)? } else { by_manifests(storage, root)? };
        Ok(Self { storage: storage.clone(), root: root.to_owned(), files, folders })
    }

    /// What is in `folder`, which is in this one.
    pub(super) fn inside(&self, folder: &Path) -> Result<Self> {
        Self::of(&self.storage, folder)
    }

    /// The one folder with one of these names, in any letter case.
    pub(super) fn only_folder(&self, names: &[&str]) -> Result<Option<PathBuf>> {
        let mut fitting =
            self.folders.iter().filter(|folder| names.iter().any(|n| n.eq_ignore_ascii_case(folder)));
        match (fitting.next(), fitting.next()) {
            (Some(one), Some(other)) => {
                let message = format!("{one} and {other} could both be the same part; rename or move one");
                Err(Error::at(&self.root, ErrorKind::NotADataSet(message)))
            }
            (one, _) => Ok(one.map(|name| self.root.join(name))),
        }
    }

    /// The one file whose name begins so; the plain one where there is also a gzipped one.
    pub(super) fn file(&self, beginning: &str) -> Option<PathBuf> {
        self.files.iter().find(|name| name.starts_with(beginning)).map(|name| self.root.join(name))
    }

    pub(super) fn has_idx(&self) -> bool {
        ["train-images", "t10k-images", "test-images"].iter().any(|name| self.file(name).is_some())
    }

    /// Whether it holds shards. Beside class folders a .tar file is something else.
    pub(super) fn has_shards(&self) -> bool {
        self.folders.is_empty() && self.files.iter().any(|name| name.ends_with(".tar"))
    }

    /// Whether it holds Parquet files. Beside class folders such a file is something else.
    pub(super) fn has_parquet(&self) -> bool {
        self.folders.is_empty() && self.files.iter().any(|name| is_parquet(name))
    }

    /// The folder in this one that holds `train/….parquet`, where it is called `default` or the only one: what Hugging Face makes of
    /// other formats has a folder a configuration.
    pub(super) fn configuration_inside(&self) -> Result<Option<(Self, Self)>> {
        let only = if self.folders.len() == 1 { self.folders.first() } else { None };
        let Some(name) = self.folders.iter().find(|name| *name == "default").or(only) else {
            return Ok(None);
        };
        let inside = self.inside(&self.root.join(name))?;
        let Some(train) = inside.only_folder(&TRAIN)? else { return Ok(None) };
        let train = inside.inside(&train)?;
        Ok(train.has_parquet().then_some((inside, train)))
    }

    /// The folder `data` in this one, if it holds Parquet files: where Hugging Face puts them.
    pub(super) fn parquet_inside(&self) -> Result<Option<Self>> {
        if self.folders.len() != 1 {
            return Ok(None);
        }
        let Some(data) = self.only_folder(&["data"])? else { return Ok(None) };
        Ok(Some(self.inside(&data)?).filter(Self::has_parquet))
    }

    pub(super) fn has_bin(&self) -> bool {
        self.files.iter().any(|name| name.ends_with(".bin"))
    }

    /// The folder of a known set in this one, where torchvision or the original archive puts it.
    pub(super) fn known_inside(&self) -> Result<Option<Self>> {
        let mut inside = Vec::new();
        for place in KNOWN_PLACES {
            let folder = self.root.join(place);
            if folder.is_dir() {
                let found = self.inside(&folder)?;
                if found.has_idx() || found.has_bin() {
                    inside.push((place, found));
                }
            }
        }
        if let [(one, _), (other, _), ..] = &inside[..] {
            let message = format!("there are several sets in it; give the path of one, as {one} or {other}");
            return Err(Error::at(&self.root, ErrorKind::NotADataSet(message)));
        }
        if inside.is_empty()
            && let Some(pickled) = PICKLED.iter().find(|name| self.root.join(name).is_dir())
        {
            let message =
                "these are Python pickles, which are not read; fetch the binary version of this set";
            return Err(Error::at(self.root.join(pickled), ErrorKind::NotADataSet(message.into())));
        }
        Ok(inside.pop().map(|(_, found)| found))
    }
}

/// What is in `root`, where it cannot be listed: the shards of its manifest, or the folders of parts that have a manifest.
fn by_manifests(storage: &Storage, root: &Path) -> Result<Names> {
    let mut refusal = None;
    if let Some(shards) = Manifest::probe(storage, root, &mut refusal)?.and_then(|manifest| manifest.shards) {
        let files = shards.into_iter().map(|shard| shard.name).collect();
        return Ok(Names { files, folders: Vec::new() });
    }
    let mut folders = Vec::new();
    for part in TRAIN.iter().chain(&VALID).chain(&TEST) {
        if Manifest::probe(storage, &root.join(part), &mut refusal)?.is_some() {
            folders.push((*part).to_owned());
        }
    }
    match refusal {
        _ if !folders.is_empty() => Ok(Names { files: Vec::new(), folders }),
        Some(refusal) => Err(refusal),
        // It says why.
        None => storage.list(root),
    }
}

/// Whether a file of this name is a Parquet file.
pub(super) fn is_parquet(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Where torchvision and the original archives put their files.
const KNOWN_PLACES: [&str; 6] =
    ["raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "cifar-10-batches-bin", "cifar-100-binary"];
/// What torchvision makes of CIFAR.
const PICKLED: [&str; 2] = ["cifar-10-batches-py", "cifar-100-python"];
