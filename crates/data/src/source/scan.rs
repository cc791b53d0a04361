//! Listings of folders that are kept from one run to the next.
//!
//! A file `listings/HASH` in the cache folder, where HASH tells the root. Little-endian:
//!
//! ```text
//! "pyrograph listing 1\n"
//! the real path of the root                                       bytes
//! the number of folders                                           u32
//! of each: parent u32, modified i64, changed i64, number u64, images u32, ignored u32,
//!          name, names of images, names of the first ignored      bytes each
//! CRC-32 of all before it                                         u32
//! ```
//!
//! where bytes are their count as a u64 and then they themselves. Nothing in it is trusted: what is cut short, damaged,
//! of another root or not as this module writes it is as good as not there.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::stamp::Stamp;
use super::tree::{Branch, NAME_END, Tree};
use crate::Result;
use crate::cache::lies_below;
use crate::storage::{ObjectOptions, Storage};

const MAGIC: &[u8] = b"pyrograph listing 1\n";
/// A listing of about a hundred million files.
const MAX_BYTES: u64 = 4 << 30;
/// The coarsest times of a common file system, those of FAT.
const SETTLED: Duration = Duration::from_secs(2);

/// How folders are listed: where listings are kept, and who is told how far it is.
///
/// The first scan of a tree reads every folder; later ones only ask when each folder changed last, and read all of them
/// again when one did. So a file or folder that was added, removed, renamed or replaced by one of another name is
/// noticed. What is inside a file plays no part in a listing: formats, sizes and damage are told when it is read. Not
/// noticed is the file without a known extension that has become an image, or is none any more, under the same name, and the
/// link whose target has come or gone.
///
/// A tree that changed in the two seconds before its scan is not kept, because a further change could bear the same time.
/// A listing is never written into the tree itself, and one that cannot be written is not: it only saves time.
#[derive(Default)]
pub struct Scan<'a> {
    cache: Option<PathBuf>,
    settled: Option<Duration>,
    progress: Option<&'a mut dyn FnMut(usize)>,
    found: usize,
    objects: ObjectOptions,
}

impl<'a> Scan<'a> {
    /// Nothing is kept, nobody is told.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Listings are kept in `cache`, as [`cache_folder`](crate::cache_folder) gives it; nowhere if it gives none.
    #[must_use]
    pub fn with_cache(self, cache: Option<PathBuf>) -> Self {
        Self { cache, ..self }
    }

    /// `progress` is told the number of images found so far, now and then, on the calling thread.
    #[must_use]
    pub fn with_progress(self, progress: &'a mut dyn FnMut(usize)) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Object storage is read as `objects` says.
    #[must_use]
    pub fn with_objects(self, objects: ObjectOptions) -> Self {
        Self { objects, ..self }
    }

    /// How object storage is read.
    pub(crate) fn objects(&self) -> &ObjectOptions {
        &self.objects
    }

    /// Lists `root`, or takes a listing that still holds.
    pub(super) fn tree(&mut self, storage: &Storage, root: &Path) -> Result<Tree> {
        let before = self.found;
        if let Some(names) = storage.list_below(root, &mut |found| self.tell(before + found))? {
            return Ok(self.counted(Tree::from_names(names)));
        }
        let kept = self.cache.as_deref().and_then(|cache| Kept::at(cache, root));
        let tree = match kept.as_ref().and_then(Kept::read).filter(|tree| tree.is_current(root)) {
            Some(tree) => tree,
            None => {
                let start = SystemTime::now();
                let tree = Tree::list(root, false, &mut |found| self.tell(before + found))?;
                let settled = self.settled.unwrap_or(SETTLED);
                if let Some(kept) = kept
                    && tree.0.iter().all(|branch| branch.stamp.is_older_than(start, settled))
                {
                    kept.write(&tree);
                }
                tree
            }
        };
        Ok(self.counted(tree))
    }

    fn counted(&mut self, tree: Tree) -> Tree {
        self.found += tree.0.iter().map(|branch| branch.image_count as usize).sum::<usize>();
        self.tell(self.found);
        tree
    }

    fn tell(&mut self, found: usize) {
        if let Some(progress) = &mut self.progress {
            progress(found);
        }
    }
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scan(cache {:?}, {} images found)", self.cache, self.found)
    }
}

/// Where the listing of a root is kept.
struct Kept {
    root: PathBuf,
    file: PathBuf,
}

impl Kept {
    /// Nowhere when `cache` lies in the tree itself.
    fn at(cache: &Path, root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok()?;
        if lies_below(cache, &root) {
            return None;
        }
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { file: cache.join("listings").join(name), root })
    }

    fn read(&self) -> Option<Tree> {
        let file = fs::File::open(&self.file).ok()?;
        let size = file.metadata().ok()?.len();
        if size > MAX_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).ok()?;
        decode(&bytes, &self.root)
    }

    /// Whole or not at all. A failure is of no consequence.
    fn write(&self, tree: &Tree) {
        let written = || -> std::io::Result<()> {
            let folder = self.file.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&encode(tree, &self.root))?;
            file.persist(&self.file)?;
            Ok(())
        };
        let _ = written();
    }
}

fn encode(tree: &Tree, root: &Path) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put(&mut out, root.as_os_str().as_encoded_bytes());
    out.extend((tree.0.len() as u32).to_le_bytes());
    for branch in &tree.0 {
        out.extend(branch.parent.to_le_bytes());
        out.extend(branch.stamp.modified.to_le_bytes());
        out.extend(branch.stamp.changed.to_le_bytes());
        out.extend(branch.stamp.number.to_le_bytes());
        out.extend(branch.image_count.to_le_bytes());
        out.extend(branch.ignored.to_le_bytes());
        for bytes in [&branch.name, &branch.images, &branch.ignored_names] {
            put(&mut out, bytes);
        }
    }
    let checksum = checksum(&out);
    out.extend(checksum.to_le_bytes());
    out
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn decode(bytes: &[u8], root: &Path) -> Option<Tree> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if checksum(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = Rest(body.strip_prefix(MAGIC)?);
    if rest.bytes()? != root.as_os_str().as_encoded_bytes() {
        return None;
    }
    let count = rest.number()?;
    let mut branches: Vec<Branch> = Vec::new();
    for number in 0..count {
        let parent = rest.number()?;
        let stamp = Stamp {
            modified: i64::from_le_bytes(rest.array()?),
            changed: i64::from_le_bytes(rest.array()?),
            number: u64::from_le_bytes(rest.array()?),
        };
        let (image_count, ignored) = (rest.number()?, rest.number()?);
        let [name, images, ignored_names] = [rest.bytes()?, rest.bytes()?, rest.bytes()?].map(<[u8]>::to_vec);
        let is_root = number == 0 && parent == 0 && name.is_empty();
        let fits = is_root || (parent < number && is_name(&name));
        if !fits || names_in(&images) != Some(image_count as usize) || names_in(&ignored_names).is_none() {
            return None;
        }
        branches.push(Branch { parent, name, stamp, images, image_count, ignored, ignored_names });
    }
    (rest.0.is_empty() && !branches.is_empty()).then_some(Tree(branches))
}

/// How many names there are, if each is one.
fn names_in(names: &[u8]) -> Option<usize> {
    let each = names.split_inclusive(|&byte| byte == NAME_END);
    let mut count = 0;
    for name in each {
        is_name(name.strip_suffix(&[NAME_END])?).then_some(())?;
        count += 1;
    }
    Some(count)
}

/// No name leads out of its folder.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b".") && !name.contains(&NAME_END) && !name.contains(&0)
}

/// What is still to be decoded.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(u64::from_le_bytes(self.array()?)).ok()?;
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
