//! What a kept listing notices, and what becomes of a bad one.

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

fn scan<'a>(cache: &Path) -> Scan<'a> {
    Scan { settled: Some(SHORT), ..Scan::new().with_cache(Some(cache.into())) }
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
    let all =
        |folder: &Folder| (0..folder.len()).map(|i| (folder.path(i), folder.label(i))).collect::<Vec<_>>();
    assert_eq!(all(&first), all(&second));
    assert_eq!(all(&first), all(&Folder::open(&root).unwrap()));
    assert_eq!((second.len(), second.ignored()), (3, first.ignored()));
    assert_eq!(second.class_names(), ["cat", "dog"]);
    assert_eq!(second.first_ignored(), first.first_ignored());
}

/// What changes, how, and the images there are then.
type Step = (&'static str, fn(&Path), usize);

#[test]
fn files_and_folders_that_come_go_or_get_another_name_are_noticed() {
    let (_place, root, cache) = settled_tree();
    let steps: [Step; 6] = [
        ("added", |root| write(root, &["cat/in/3.jpg"]), 4),
        ("removed", |root| fs::remove_file(root.join("cat/in/2.jpg")).unwrap(), 3),
        ("renamed", |root| fs::rename(root.join("cat/1.jpg"), root.join("dog/9.jpg")).unwrap(), 3),
        ("new folder", |root| write(root, &["fox/deep/1.jpg"]), 4),
        ("removed folder", |root| fs::remove_dir_all(root.join("fox")).unwrap(), 3),
        ("new folder in a class", |root| write(root, &["cat/other/1.jpg"]), 4),
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
    let mut careful = Scan { settled: Some(Duration::from_secs(3600)), ..scan(&cache) };
    Folder::open_with(&root, None, &mut careful).unwrap();
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
