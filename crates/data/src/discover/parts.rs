//! Class folders, alone or in the folders of parts.

use std::path::Path;
use std::sync::Arc;

use super::DataSet;
use super::listing::{Listing, TEST, VALID};
use crate::Result;
use crate::source::{Folder, Manifest, Scan, Shards, Source};

/// The classes of Tiny-ImageNet's validation part.
const ANNOTATIONS: &str = "val_annotations.txt";

/// `CLASS/**/IMAGE`.
pub(super) fn open_class_folders(found: &Listing, scan: &mut Scan<'_>) -> Result<DataSet> {
    let folder = Folder::open_in(&found.storage, &found.root, None, scan)?;
    let left_out = ignored(&folder);
    let mut set = DataSet::from_parts(folder, None, None);
    set.left_out.extend(left_out);
    Ok(set)
}

/// `train/CLASS/**/IMAGE` and the other parts beside it.
pub(super) fn open_split_folders(found: &Listing, train: &Path, scan: &mut Scan<'_>) -> Result<DataSet> {
    let mut left_out = Vec::new();
    let folder = Folder::open_in(&found.storage, train, None, scan)?;
    left_out.extend(ignored(&folder));
    let mut used = vec![train.to_owned()];
    let mut part = |names: &[&str]| -> Result<Option<Arc<dyn Source>>> {
        let Some(path) = found.only_folder(names)? else { return Ok(None) };
        let part = open_part(&found.inside(&path)?, folder.class_names(), scan, &mut left_out)?;
        used.extend(part.is_some().then_some(path));
        Ok(part)
    };
    let valid = part(&VALID)?;
    let test = part(&TEST)?;
    let unused: Vec<&str> = found
        .folders
        .iter()
        .filter(|name| !used.contains(&found.root.join(name)))
        .map(String::as_str)
        .collect();
    let mut set = DataSet::from_shared(Arc::new(folder), valid, test);
    if !unused.is_empty() {
        set.description += &format!("; left out: {}", unused.join(", "));
        let is_part = |name: &&&str| VALID.iter().chain(&TEST).any(|part| part.eq_ignore_ascii_case(name));
        for name in &unused {
            let why = if is_part(&name) { "has no class folders" } else { "is not called as a part is" };
            set.left_out.push(format!("{}: the folder {why}", found.root.join(name).display()));
        }
    }
    set.left_out.append(&mut left_out);
    Ok(set)
}

/// Shards of the training part, and of the other parts beside it.
pub(super) fn open_split_shards(found: &Listing, train: &Path) -> Result<DataSet> {
    let train = Shards::open_in(&found.storage, train, None)?;
    let part = |names: &[&str]| match found.only_folder(names)? {
        Some(path) if found.inside(&path)?.has_shards() => {
            Shards::open_in(&found.storage, path, Some(train.class_names())).map(Some)
        }
        _ => Ok(None),
    };
    let (valid, test) = (part(&VALID)?, part(&TEST)?);
    Ok(DataSet::from_parts(train, valid, test))
}

/// A part beside the training part; none when nothing in it says what the pictures show.
fn open_part(
    found: &Listing,
    class_names: &[String],
    scan: &mut Scan<'_>,
    left_out: &mut Vec<String>,
) -> Result<Option<Arc<dyn Source>>> {
    let only_images = found.folders == ["images"] && !class_names.iter().any(|name| name == "images");
    let annotations = found.root.join(ANNOTATIONS);
    if only_images && found.storage.is_disk() && annotations.is_file() {
        return Ok(Some(Arc::new(Manifest::open_annotations(&annotations, class_names)?)));
    }
    // The test pictures of ImageNet, Tiny-ImageNet and of contests have no labels.
    if only_images || found.folders.is_empty() {
        return Ok(None);
    }
    let folder = Folder::open_in(&found.storage, &found.root, Some(class_names), scan)?;
    left_out.extend(ignored(&folder));
    Ok(Some(Arc::new(folder)))
}

/// "photos: 12 files are no images in class folders: a.txt, b.txt, …"
fn ignored(folder: &Folder) -> Option<String> {
    let count = folder.ignored();
    let names: Vec<String> = folder.first_ignored().iter().map(|path| path.display().to_string()).collect();
    let more = if count > names.len() { ", …" } else { "" };
    let files = if count == 1 { "1 file is no image" } else { &format!("{count} files are no images") };
    (count > 0)
        .then(|| format!("{}: {files} of a class: {}{more}", folder.root().display(), names.join(", ")))
}

#[cfg(test)]
mod tests;
