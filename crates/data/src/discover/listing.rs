//! The names in a folder, and what set they tell of.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The names in a folder, hidden ones left out, sorted.
pub(super) struct Listing {
    pub(super) root: PathBuf,
    pub(super) files: Vec<String>,
    pub(super) folders: Vec<String>,
}

impl Listing {
    pub(super) fn of(root: &Path) -> Result<Self> {
        let mut found = Self { root: root.to_owned(), files: Vec::new(), folders: Vec::new() };
        for entry in fs::read_dir(root).map_err(|e| Error::at(root, e))? {
            let entry = entry.map_err(|e| Error::at(root, e))?;
            // What has no Unicode name is none of the known files.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.starts_with('.') {
                let kind = entry.file_type().map_err(|e| Error::at(entry.path(), e))?;
                let is_folder = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
                if is_folder { &mut found.folders } else { &mut found.files }.push(name);
            }
        }
        found.files.sort_unstable();
        found.folders.sort_unstable();
        Ok(found)
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

    pub(super) fn has_bin(&self) -> bool {
        self.files.iter().any(|name| name.ends_with(".bin"))
    }

    /// The folder of a known set in this one, where torchvision or the original archive puts it.
    pub(super) fn known_inside(&self) -> Result<Option<Self>> {
        let mut inside = Vec::new();
        for place in KNOWN_PLACES {
            let folder = self.root.join(place);
            if folder.is_dir() {
                let found = Self::of(&folder)?;
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

/// Where torchvision and the original archives put their files.
const KNOWN_PLACES: [&str; 6] =
    ["raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "cifar-10-batches-bin", "cifar-100-binary"];
/// What torchvision makes of CIFAR.
const PICKLED: [&str; 2] = ["cifar-10-batches-py", "cifar-100-python"];

/// Whether there are folders in the folder at `path`.
pub(super) fn has_folders(path: &Path) -> Result<bool> {
    Ok(!Listing::of(path)?.folders.is_empty())
}
