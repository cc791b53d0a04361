//! What lies in a folder and below it, listed on many threads.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::paths::{name_from_bytes, name_to_bytes};
use super::stamp::{Identity, Stamp};
use crate::decode::is_image;
use crate::{Error, ErrorKind, Result};

/// The extensions whose files are taken for images; what they really are is told by their bytes.
const EXTENSIONS: [&str; 15] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "pnm", "pbm", "pgm", "ppm", "tif",
    "tiff",
];
/// Deeper nesting comes from a loop.
const MAX_DEPTH: usize = 64;
/// Folders that are listed before the progress is told again.
const FOLDERS_AT_ONCE: usize = 64;
/// Files that are no images and are remembered by name.
const NAMED_IGNORED: usize = 10;

/// Ends each name in a list of names: no system allows it inside one.
pub(super) const NAME_END: u8 = b'/';

/// A folder, what it holds and when that changed last. Names only: no file with a known extension is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Branch {
    /// The folder that this one lies in; the root lies in itself.
    pub(super) parent: u32,
    pub(super) name: Vec<u8>,
    pub(super) stamp: Stamp,
    /// The names of its images, sorted, each followed by [`NAME_END`].
    pub(super) images: Vec<u8>,
    pub(super) image_count: u32,
    /// Files that are no images.
    pub(super) ignored: u32,
    /// The names of the first of them, each followed by [`NAME_END`].
    pub(super) ignored_names: Vec<u8>,
}

impl Branch {
    /// The names of the images, sorted.
    pub(super) fn image_names(&self) -> impl Iterator<Item = &[u8]> {
        split_names(&self.images)
    }

    /// The names of the first ignored files.
    pub(super) fn first_ignored(&self) -> impl Iterator<Item = PathBuf> {
        split_names(&self.ignored_names).map(name_from_bytes)
    }
}

fn split_names(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split_inclusive(|&byte| byte == NAME_END).map(|name| &name[..name.len() - 1])
}

/// A root and every folder below it, each before those in it, sorted by name. The first is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree(pub(super) Vec<Branch>);

impl Tree {
    /// Lists `root`. `progress` is told the images found so far, on this thread.
    ///
    /// Links are followed. Those that lead to a folder that is already listed are passed over: in the whole tree if
    /// `whole`, otherwise in the same folder of the root, so that two classes may share pictures. Names that begin
    /// with a dot are passed over. The result does not depend on the number of threads.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read, or they are nested deeper than a tree without loops would be.
    pub(super) fn list(root: &Path, whole: bool, progress: &mut dyn FnMut(usize)) -> Result<Self> {
        let mut grown = Vec::new();
        let mut seen = HashSet::new();
        let mut found = 0;
        let mut open = vec![Open { parent: 0, class: 0, name: OsString::new(), path: PathBuf::new() }];
        for _ in 0..=MAX_DEPTH {
            let mut next = Vec::new();
            for some in open.chunks(FOLDERS_AT_ONCE) {
                let listed: Vec<_> =
                    some.par_iter().map(|open| list_folder(&root.join(&open.path))).collect();
                for (open, listed) in some.iter().zip(listed) {
                    let (identity, mut branch, folders) = listed?;
                    let at_root = grown.is_empty();
                    // The root, class 0, counts as listed in every class.
                    if seen.contains(&(0, identity.clone())) || !seen.insert((open.class, identity)) {
                        continue;
                    }
                    let number = grown.len() as u32;
                    next.extend(folders.into_iter().enumerate().map(|(n, name)| Open {
                        parent: number,
                        class: if at_root && !whole { n as u32 + 1 } else { open.class },
                        path: open.path.join(&name),
                        name,
                    }));
                    branch.parent = open.parent;
                    branch.name = name_to_bytes(&open.name).unwrap_or_default().to_vec();
                    found += branch.image_count as usize;
                    grown.push(branch);
                }
                progress(found);
            }
            if next.is_empty() {
                return Ok(Self(depth_first(grown)));
            }
            open = next;
        }
        let deepest = open.first().map(|open| root.join(&open.path)).unwrap_or_default();
        let message = format!("folders are nested more than {MAX_DEPTH} deep; is there a loop of links?");
        Err(Error::at(deepest, ErrorKind::NotADataSet(message)))
    }

    /// The tree of these files, paths from the root with `/` between names. A file is an image if its extension says so: what is in it is
    /// not looked at.
    pub(super) fn from_names(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        let mut grown = vec![Branch::default()];
        let mut numbers = std::collections::HashMap::from([(String::new(), 0u32)]);
        let hidden = |name: &&str| name.is_empty() || name.starts_with('.');
        for path in names.iter().map(String::as_str).filter(|path| !path.split('/').any(|name| hidden(&name)))
        {
            let (mut folder, mut number) = ("", 0);
            let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
            for part in folders.split('/').filter(|part| !part.is_empty()) {
                let end = folder.len() + usize::from(!folder.is_empty()) + part.len();
                folder = &path[..end];
                number = match numbers.get(folder) {
                    Some(&number) => number,
                    None => {
                        let branch = Branch { parent: number, name: part.into(), ..Branch::default() };
                        grown.push(branch);
                        numbers.insert(folder.to_owned(), grown.len() as u32 - 1);
                        grown.len() as u32 - 1
                    }
                };
            }
            let branch = &mut grown[number as usize];
            if has_image_extension(OsStr::new(name)) {
                branch.images.extend(name.as_bytes());
                branch.images.push(NAME_END);
                branch.image_count += 1;
            } else {
                branch.ignored += 1;
                if branch.ignored as usize <= NAMED_IGNORED {
                    branch.ignored_names.extend(name.as_bytes());
                    branch.ignored_names.push(NAME_END);
                }
            }
        }
        Self(depth_first(grown))
    }

    /// Whether a folder has changed since it was listed, as far as the file system tells.
    pub(super) fn is_current(&self, root: &Path) -> bool {
        let paths = self.paths();
        let same = |(branch, path): (&Branch, &PathBuf)| {
            fs::metadata(root.join(path)).is_ok_and(|metadata| Stamp::of(&metadata) == branch.stamp)
        };
        self.0.par_iter().zip(&paths).all(same)
    }

    /// The path of each folder from the root.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = Vec::with_capacity(self.0.len());
        for branch in &self.0 {
            let parent = paths.get(branch.parent as usize).cloned().unwrap_or_default();
            paths.push(parent.join(name_from_bytes(&branch.name)));
        }
        paths
    }
}

/// A folder that is still to be listed.
struct Open {
    parent: u32,
    /// Which folder of the root it lies in, from 1.
    class: u32,
    name: OsString,
    path: PathBuf,
}

/// Brings folders that were found level by level into the order of a tree.
fn depth_first(mut found: Vec<Branch>) -> Vec<Branch> {
    let mut children = vec![Vec::new(); found.len()];
    for (number, branch) in found.iter().enumerate().skip(1) {
        children[branch.parent as usize].push(number);
    }
    let mut ordered: Vec<Branch> = Vec::with_capacity(found.len());
    let mut open = vec![(0, 0)];
    while let Some((number, parent)) = open.pop() {
        let Some(branch) = found.get_mut(number) else { continue };
        let mut branch = std::mem::take(branch);
        branch.parent = parent;
        let here = ordered.len() as u32;
        ordered.push(branch);
        // The last one pushed comes next.
        open.extend(children[number].iter().rev().map(|&child| (child, here)));
    }
    ordered
}

/// One folder: which it is, its files, and the names of the folders in it, sorted.
fn list_folder(folder: &Path) -> Result<(Identity, Branch, Vec<OsString>)> {
    // Before its entries are read: what is added meanwhile is seen now or makes the stamp another.
    let metadata = fs::metadata(folder).map_err(|e| Error::at(folder, e))?;
    let mut branch = Branch { stamp: Stamp::of(&metadata), ..Branch::default() };
    let identity = Identity::of(folder, &metadata)?;
    let mut folders = Vec::new();
    for entry in entries(folder)? {
        match name_to_bytes(&entry.name) {
            Some(_) if entry.is_folder => folders.push(entry.name),
            Some(bytes) if is_image_file(folder, &entry.name)? => {
                branch.images.extend(bytes);
                branch.images.push(NAME_END);
                branch.image_count += 1;
            }
            name => {
                if let Some(name) = name.filter(|_| (branch.ignored as usize) < NAMED_IGNORED) {
                    branch.ignored_names.extend(name);
                    branch.ignored_names.push(NAME_END);
                }
                branch.ignored += 1;
            }
        }
    }
    Ok((identity, branch, folders))
}

struct Entry {
    name: OsString,
    is_folder: bool,
}

/// What is in `folder`, links followed, sorted by name, without hidden names. Pipes, devices and links that lead nowhere are there if they are
/// named like images: reading them is an error, and leaving them out would be a loss that nobody is told of.
fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::at(folder, e))? {
        let entry = entry.map_err(|e| Error::at(folder, e))?;
        let name = entry.file_name();
        // What macOS leaves in archives is hidden in all but its name.
        if name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX" {
            continue;
        }
        let kind = entry.file_type().map_err(|e| Error::at(entry.path(), e))?;
        let target = if kind.is_symlink() {
            fs::metadata(entry.path()).ok().map(|m| m.file_type())
        } else {
            Some(kind)
        };
        if target.is_some_and(|t| t.is_dir() || t.is_file()) || has_image_extension(&name) {
            entries.push(Entry { name, is_folder: target.is_some_and(|t| t.is_dir()) });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
    Ok(entries)
}

fn is_image_file(folder: &Path, name: &OsStr) -> Result<bool> {
    Ok(has_image_extension(name) || starts_as_image(&folder.join(name))?)
}

/// Whether a file of this name is taken for an image.
pub(crate) fn has_image_extension(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

fn starts_as_image(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(|e| Error::at(path, e))?;
    file.take(32).read_to_end(&mut head).map_err(|e| Error::at(path, e))?;
    Ok(is_image(&head))
}
