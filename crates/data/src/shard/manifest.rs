//! `manifest.json`: what a folder of shards holds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic::AtomicFile;
use super::class::{Class, MAX_CLASSES};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// The name of the file.
const NAME: &str = "manifest.json";
/// The largest such file in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// A folder of shards. Other keys are left for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The names of the classes, in label order.
    pub(crate) classes: Vec<String>,
    /// The shards, in order; without it, all that are there.
    pub(crate) shards: Option<Vec<ShardEntry>>,
}

/// One shard of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardEntry {
    /// The file's name.
    pub(crate) name: String,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

impl Manifest {
    /// The manifest of `folder`, if it has one.
    pub(crate) fn read(storage: &Storage, folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        if storage.is_disk() && fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::at(&path, ErrorKind::NotADataSet("this is no file".into())));
        }
        let mut bytes = Vec::new();
        match storage.read(&path, MAX_BYTES, &mut bytes) {
            Err(ErrorKind::Missing) => return Ok(None),
            Err(ErrorKind::TooLarge(_)) => {
                let message = format!("the manifest has more than {} MiB", MAX_BYTES >> 20);
                return Err(Error::at(&path, ErrorKind::Corrupt(message)));
            }
            Err(kind) => return Err(Error::at(&path, kind)),
            Ok(()) => {}
        }
        let wrong = |what: String| Error::at(&path, ErrorKind::Corrupt(what));
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the manifest cannot be read: {e}")))?;
        manifest.check().map_err(|what| wrong(format!("the manifest is wrong: {what}")))?;
        Ok(Some(manifest))
    }

    /// [`Manifest::read`] where it need not be there. Some web servers refuse what they do not have, as S3 where nobody may list it: that
    /// is no manifest, and kept in `refusal` for when nothing else is found.
    pub(crate) fn probe(
        storage: &Storage,
        folder: &Path,
        refusal: &mut Option<Error>,
    ) -> Result<Option<Self>> {
        Self::read(storage, folder).or_else(|error| {
            if storage.lists() || !matches!(error.kind(), ErrorKind::Refused(_)) {
                return Err(error);
            }
            refusal.get_or_insert(error);
            Ok(None)
        })
    }

    /// Writes the manifest of `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::at(&path, std::io::Error::from(e)))?;
        AtomicFile::write(&path, &text)
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.classes.is_empty() || self.classes.len() > MAX_CLASSES as usize {
            return Err(format!("there are {} classes; it must be 1 to {MAX_CLASSES}", self.classes.len()));
        }
        if let Some(wrong) = self.classes.iter().find(|name| Class::from_name(name).is_err()) {
            return Err(format!(
                "the class {:?} cannot be the name of one",
                wrong.chars().take(50).collect::<String>()
            ));
        }
        let mut sorted: Vec<_> = self.classes.iter().collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the class {:?} comes twice", twice[0]));
        }
        let mut names: Vec<_> = self.shards.iter().flatten().map(|shard| &shard.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the shard {:?} comes twice", twice[0]));
        }
        let mut shards = self.shards.iter().flatten();
        match shards.find(|shard| !is_shard_name(&shard.name)) {
            None => Ok(()),
            Some(shard) => Err(format!(
                "the manifest has the shard {:?}; it must be the name of a .tar file beside it",
                shard.name
            )),
        }
    }
}

/// A file name, with no folder in it, that ends in `.tar`.
pub(crate) fn is_shard_name(name: &str) -> bool {
    name.ends_with(".tar") && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// The shards in `folder` itself, sorted by name.
pub(crate) fn list_shards(storage: &Storage, folder: &Path) -> Result<Vec<PathBuf>> {
    let files = storage.list(folder)?.files.into_iter().filter(|name| is_shard_name(name));
    let paths = files.map(|name| folder.join(name));
    Ok(paths.filter(|path| !storage.is_disk() || path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_and_a_hostile_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(&Storage::DISK, folder.path()).unwrap(), None);
        let shards = vec![ShardEntry { name: "a-000000.tar".into(), samples: 3, bytes: 5120 }];
        let manifest = Manifest { classes: vec!["cat".into(), "dog".into()], shards: Some(shards) };
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(&Storage::DISK, folder.path()).unwrap(), Some(manifest));
        for text in [
            "",
            "[]",
            r#"{"classes": []}"#,
            r#"{"classes": ["a", "a"]}"#,
            r#"{"classes": ["a\u001b"]}"#,
            r#"{"classes": ["a"], "shards": [{"name": "../x.tar", "samples": 1, "bytes": 1}]}"#,
            r#"{"classes": ["a"], "shards": [{"name": "x.tar", "samples": 1, "bytes": 1}, {"name": "x.tar", "samples": 1, "bytes": 1}]}"#,
            r#"{"classes": ["a"], "shards": [{"name": "/x.tar", "samples": 1, "bytes": 1}]}"#,
        ] {
            fs::write(folder.path().join(NAME), text).unwrap();
            let error = Manifest::read(&Storage::DISK, folder.path()).unwrap_err().to_string();
            assert!(error.contains("manifest.json"), "{error}");
        }
        fs::write(folder.path().join(NAME), r#"{"classes": ["b", "a"], "by": "hand"}"#).unwrap();
        assert_eq!(Manifest::read(&Storage::DISK, folder.path()).unwrap().unwrap().classes, ["b", "a"]);
    }
}
