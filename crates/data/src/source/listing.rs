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
}

impl<'a> Scan<'a> {
    /// Nothing is kept, nobody is told.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Listings are kept in `cache`, as [`cache_folder`](crate::cache_folder) gives it.
    #[must_use]
    pub fn with_cache(self, cache: impl Into<PathBuf>) -> Self {
        Self { cache: Some(cache.into()), ..self }
    }

    /// `progress` is told the number of images found so far, now and then, on the calling thread.
    #[must_use]
    pub fn with_progress(self, progress: &'a mut dyn FnMut(usize)) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Lists `root`, or takes a listing that still holds.
    pub(super) fn tree(&mut self, root: &Path) -> Result<Tree> {
        let kept = self.cache.as_deref().and_then(|cache| Kept::at(cache, root));
        let tree = match kept.as_ref().and_then(Kept::read).filter(|tree| tree.is_current(root)) {
            Some(tree) => tree,
            None => {
                let start = SystemTime::now();
                let before = self.found;
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
        self.found += tree.0.iter().map(|branch| branch.image_count as usize).sum::<usize>();
        self.tell(self.found);
        Ok(tree)
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
mod tests {
    use super::*;
    use crate::Source;
    use crate::source::Folder;

    fn write(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "a picture").unwrap();
        }
    }

    /// A tree that has been left alone for long enough, and its cache.
    fn settled_tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (root, cache) = (place.path().join("photos"), place.path().join("cache"));
        write(&root, &["cat/1.jpg", "cat/in/2.jpg", "dog/1.jpg", "dog/notes.txt", "list.csv"]);
        settle();
        (place, root, cache)
    }

    const SHORT: Duration = Duration::from_millis(30);

    fn settle() {
        std::thread::sleep(3 * SHORT);
    }

    fn scan(cache: &Path) -> Scan<'_> {
        Scan { settled: Some(SHORT), ..Scan::new().with_cache(cache) }
    }

    fn open(root: &Path, cache: &Path) -> Folder {
        Folder::open_with(root, None, &mut scan(cache)).unwrap()
    }

    fn kept(cache: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(cache.join("listings")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_kept_listing_says_what_a_scan_says() {
        let (_place, root, cache) = settled_tree();
        let first = open(&root, &cache);
        let [file] = &kept(&cache)[..] else { panic!("one listing: {:?}", kept(&cache)) };
        let written = fs::metadata(file).unwrap().modified().unwrap();
        settle();
        let second = open(&root, &cache);
        assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), written);
        let all = |folder: &Folder| {
            (0..folder.len()).map(|i| (folder.path(i), folder.label(i))).collect::<Vec<_>>()
        };
        assert_eq!(all(&first), all(&second));
        assert_eq!(all(&first), all(&Folder::open(&root).unwrap()));
        assert_eq!((second.len(), second.ignored()), (3, first.ignored()));
        assert_eq!(second.class_names(), ["cat", "dog"]);
        assert_eq!(second.first_ignored(), first.first_ignored());
    }

    #[test]
    fn files_and_folders_that_come_go_or_get_another_name_are_noticed() {
        let (_place, root, cache) = settled_tree();
        let steps: [(&str, &dyn Fn(&Path), usize); 6] = [
            ("added", &|root| write(root, &["cat/in/3.jpg"]), 4),
            ("removed", &|root| fs::remove_file(root.join("cat/in/2.jpg")).unwrap(), 3),
            ("renamed", &|root| fs::rename(root.join("cat/1.jpg"), root.join("dog/9.jpg")).unwrap(), 3),
            ("new folder", &|root| write(root, &["fox/deep/1.jpg"]), 4),
            ("removed folder", &|root| fs::remove_dir_all(root.join("fox")).unwrap(), 3),
            ("new folder in a class", &|root| write(root, &["cat/other/1.jpg"]), 4),
        ];
        assert_eq!(open(&root, &cache).len(), 3);
        for (what, change, expected) in steps {
            // The change may come as soon as the listing is there.
            change(&root);
            assert_eq!(open(&root, &cache).len(), expected, "{what}");
            settle();
            assert_eq!(open(&root, &cache).len(), expected, "{what}, listed again");
            assert_eq!(open(&root, &cache).len(), expected, "{what}, kept");
        }
    }

    #[test]
    fn restored_times_hide_no_change() {
        let (_place, root, cache) = settled_tree();
        open(&root, &cache);
        let folder = root.join("dog");
        let before = fs::metadata(&folder).unwrap().modified().unwrap();
        write(&root, &["dog/2.jpg"]);
        if cfg!(unix) {
            fs::File::open(&folder).unwrap().set_modified(before).unwrap();
        }
        assert_eq!(open(&root, &cache).len(), 4);
    }

    #[test]
    fn a_tree_that_has_just_changed_is_not_kept() {
        let (_place, root, cache) = settled_tree();
        Folder::open_with(&root, None, &mut Scan::new().with_cache(&cache)).unwrap();
        assert!(kept(&cache).is_empty());
    }

    #[test]
    fn damaged_and_foreign_listings_are_made_again() {
        let (_place, root, cache) = settled_tree();
        open(&root, &cache);
        let file = kept(&cache).remove(0);
        let good = fs::read(&file).unwrap();
        let real = root.canonicalize().unwrap();
        assert!(decode(&good, &real).is_some());
        assert!(decode(&good, Path::new("/elsewhere")).is_none());
        for end in 0..good.len() {
            assert!(decode(&good[..end], &real).is_none(), "cut at {end}");
            let mut flipped = good.clone();
            flipped[end] ^= 1 << (end % 8);
            assert!(decode(&flipped, &real).is_none(), "flipped at {end}");
        }
        // Whole, but with numbers that lie: no memory is taken for them, and no panic.
        for at in MAGIC.len()..good.len() - 4 {
            let mut lying = good[..good.len() - 4].to_vec();
            lying[at] = 0xFF;
            let sum = checksum(&lying);
            lying.extend(sum.to_le_bytes());
            if let Some(tree) = decode(&lying, &real) {
                tree.is_current(&real);
            }
        }
        for bad in [&good[..good.len() / 2], b"", &[0xFF; 100]] {
            fs::write(&file, bad).unwrap();
            assert_eq!(open(&root, &cache).len(), 3);
            assert_eq!(fs::read(&file).unwrap(), good);
        }
    }

    #[test]
    fn no_name_leads_out_of_the_tree() {
        let branch = |parent, name: &str, images: &str| Branch {
            parent,
            name: name.into(),
            images: images.into(),
            image_count: images.matches('/').count() as u32,
            ..Branch::default()
        };
        let root = Path::new("/photos");
        let whole = |inner: Branch| decode(&encode(&Tree(vec![branch(0, "", ""), inner]), root), root);
        assert!(whole(branch(0, "cat", "1.jpg/2.jpg/")).is_some());
        for (name, images) in
            [("..", ""), ("", ""), ("a/b", ""), ("a\0b", ""), ("cat", "../"), ("cat", "/"), ("cat", "x")]
        {
            assert!(whole(branch(0, name, images)).is_none(), "{name:?} {images:?}");
        }
        assert!(whole(branch(1, "cat", "")).is_none());
    }

    #[test]
    fn the_tree_itself_is_never_written_to() {
        let (_place, root, _) = settled_tree();
        for inside in [root.join("cat"), root.join("new/cache"), root.clone()] {
            open(&root, &inside);
        }
        assert!(!root.join("new").exists() && !root.join("listings").exists());
        assert!(!root.join("cat/listings").exists());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_done_without() {
        let (place, root, _) = settled_tree();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(open(&root, &file).len(), 3);
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn the_images_found_so_far_are_told() {
        let (_place, root, cache) = settled_tree();
        let mut told = Vec::new();
        for _ in 0..2 {
            let mut progress = |found| told.push(found);
            Folder::open_with(&root, None, &mut scan(&cache).with_progress(&mut progress)).unwrap();
            assert!(told.is_sorted() && told.last() == Some(&3), "{told:?}");
            told.clear();
        }
    }
}
