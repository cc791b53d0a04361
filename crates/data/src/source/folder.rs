//! Folders of images, one folder a class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::paths::{Paths, name_from_bytes};
use super::scan::Scan;
use super::tree::Tree;
use super::{Source, Stored};
use crate::storage::{Storage, What};
use crate::{Error, ErrorKind, Limits, Place, Result};

/// Class folders: `root/CLASS/**/IMAGE`.
///
/// Classes are sorted by name, and so are the images of a class; folders inside a class belong to it. Names
/// that begin with a dot are passed over. A file is an image if its extension is known, in any letter case,
/// or else if its first bytes are those of an image; other files are counted in [`Folder::ignored`].
pub struct Folder {
    class_names: Vec<String>,
    storage: Storage,
    paths: Paths,
    /// The class of each folder of `paths`.
    classes: Vec<u32>,
    ignored: usize,
    first_ignored: Vec<PathBuf>,
}

impl Folder {
    /// The most files that [`Folder::first_ignored`] names.
    pub const NAMED_IGNORED: usize = 10;

    /// Opens `root`, whose folders are the classes.
    ///
    /// # Errors
    ///
    /// When it is missing or no folder, has no class folders, only one, or one without an image.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(root, None, &mut Scan::new())
    }

    /// Opens `root` with the classes of another set, in its order: a validation or test folder. A class may
    /// be missing here.
    ///
    /// # Errors
    ///
    /// When `root` is missing or no folder, has a class folder that is none of `class_names`, or no images.
    pub fn with_classes(root: impl AsRef<Path>, class_names: &[String]) -> Result<Self> {
        Self::open_with(root, Some(class_names), &mut Scan::new())
    }

    /// Opens `root` as `scan` says, with its own classes or those of another set.
    ///
    /// # Errors
    ///
    /// As [`Folder::open`] without `class_names`, and as [`Folder::with_classes`] with them.
    pub fn open_with(
        root: impl AsRef<Path>,
        class_names: Option<&[String]>,
        scan: &mut Scan<'_>,
    ) -> Result<Self> {
        let (storage, root) = Storage::of(root, scan.objects())?;
        Self::open_in(&storage, &root, class_names, scan)
    }

    /// [`Folder::open_with`], with `root` in `storage`.
    pub(crate) fn open_in(
        storage: &Storage,
        root: &Path,
        class_names: Option<&[String]>,
        scan: &mut Scan<'_>,
    ) -> Result<Self> {
        if storage.look(root)? == What::File {
            let message = "this is a file, not a folder of classes";
            return Err(Error::at(root, ErrorKind::NotADataSet(message.into())));
        }
        let tree = scan.tree(storage, root)?;
        let found = class_folders(root, &tree)?;
        match class_names {
            Some(known) => {
                let folder = Self::from_tree(storage, root, &tree, known)?;
                if folder.is_empty() {
                    return Err(Error::at(root, ErrorKind::NotADataSet("there are no images in it".into())));
                }
                Ok(folder)
            }
            None => {
                if let [only] = &found[..] {
                    let message =
                        format!("there is only one class, {only:?}; a classifier needs at least two folders");
                    return Err(Error::at(root, ErrorKind::Classes(message)));
                }
                let folder = Self::from_tree(storage, root, &tree, &found)?;
                let counts = crate::class_counts(&folder);
                if let Some((name, _)) = found.iter().zip(counts).find(|(_, count)| *count == 0) {
                    let message = "there is no image in this class folder; add some, or remove the folder";
                    return Err(Error::at(root.join(name), ErrorKind::Classes(message.into())));
                }
                Ok(folder)
            }
        }
    }

    /// Every image at or below `root`, all of one class called `unlabelled`: for what looks at pictures only, as statistics.
    ///
    /// # Errors
    ///
    /// When `root` cannot be read, or there are no images.
    pub fn unlabelled(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let tree = Tree::list(root, true, &mut |_| ())?;
        let mut folder = Self {
            class_names: vec!["unlabelled".into()],
            storage: Storage::DISK,
            paths: Paths::new(root),
            classes: Vec::new(),
            ignored: 0,
            first_ignored: Vec::new(),
        };
        for (branch, path) in tree.0.iter().zip(tree.paths()) {
            let number = folder.paths.add_folder(path);
            folder.classes.push(0);
            for name in branch.image_names() {
                folder.paths.push(number, name);
            }
        }
        if folder.is_empty() {
            return Err(Error::at(root, ErrorKind::NotADataSet("there are no images in it".into())));
        }
        Ok(folder)
    }

    fn from_tree(storage: &Storage, root: &Path, tree: &Tree, class_names: &[String]) -> Result<Self> {
        let mut folder = Self {
            class_names: class_names.to_vec(),
            storage: storage.clone(),
            paths: Paths::new(root),
            classes: Vec::new(),
            ignored: 0,
            first_ignored: Vec::new(),
        };
        let numbers: HashMap<&str, u32> = class_names.iter().map(String::as_str).zip(0..).collect();
        let mut class = 0;
        for (number, (branch, path)) in tree.0.iter().zip(tree.paths()).enumerate() {
            folder.ignored += branch.ignored as usize;
            let room = Self::NAMED_IGNORED.saturating_sub(folder.first_ignored.len());
            let first = branch.first_ignored().take(room);
            folder.first_ignored.extend(first.map(|name| root.join(&path).join(name)));
            if number == 0 {
                // Images beside the class folders show nobody knows what.
                folder.ignored += branch.image_count as usize;
                let room = Self::NAMED_IGNORED.saturating_sub(folder.first_ignored.len());
                folder
                    .first_ignored
                    .extend(branch.image_names().take(room).map(|name| root.join(name_from_bytes(name))));
                continue;
            }
            if branch.parent == 0 {
                let known = path.to_str().and_then(|name| numbers.get(name));
                class = *known.ok_or_else(|| {
                    let message =
                        format!("the class {path:?} is not among the {} known ones", class_names.len());
                    Error::at(root.join(&path), ErrorKind::Classes(message))
                })?;
            }
            if branch.image_count > 0 {
                let number = folder.paths.add_folder(path);
                folder.classes.push(class);
                for name in branch.image_names() {
                    folder.paths.push(number, name);
                }
            }
        }
        Ok(folder)
    }

    /// The folder whose folders are the classes.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.paths.root()
    }

    /// The number of files that are no images, which were passed over.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// The first files that were passed over, at most [`Folder::NAMED_IGNORED`].
    #[must_use]
    pub fn first_ignored(&self) -> &[PathBuf] {
        &self.first_ignored
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

/// The names of the class folders, sorted.
fn class_folders(root: &Path, tree: &Tree) -> Result<Vec<String>> {
    let at_top = tree.0.iter().zip(tree.paths()).skip(1).filter(|(branch, _)| branch.parent == 0);
    let mut names = Vec::new();
    for (_, path) in at_top {
        let Some(name) = path.to_str() else {
            let message = "the name of a class folder must be Unicode; rename it";
            return Err(Error::at(root.join(&path), ErrorKind::Classes(message.into())));
        };
        names.push(name.to_owned());
    }
    if !names.is_empty() {
        return Ok(names);
    }
    let layout =
        "put the images of each class into a folder of its own, as in photos/cat/1.jpg, photos/dog/1.jpg";
    let (images, others) = tree.0.first().map_or((0, 0), |top| (top.image_count, top.ignored));
    let message = match (images, others) {
        (0, 0) => format!("the folder is empty; {layout}"),
        (0, _) => format!("there are no class folders and no images in it; {layout}"),
        _ => format!("there are {images} images, but no class folders that say what they show; {layout}"),
    };
    Err(Error::at(root, ErrorKind::NotADataSet(message)))
}

/// Every image file at or below `folder`, sorted, told from other files as [`Folder`] tells them.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn image_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let tree = Tree::list(folder, true, &mut |_| ())?;
    let mut files = Vec::new();
    for (branch, path) in tree.0.iter().zip(tree.paths()) {
        let path = folder.join(path);
        files.extend(branch.image_names().map(|name| path.join(name_from_bytes(name))));
    }
    Ok(files)
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let (path, limit) = (self.path(index), Limits::default().max_file_bytes);
        self.storage.read(&path, limit, buffer).map_err(|kind| Error::at(&path, kind))?;
        Ok(Stored::File(buffer))
    }

    fn fetches_at_once(&self) -> usize {
        self.storage.fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.classes[self.paths.folder_of(index) as usize]
    }

    fn place(&self, index: usize) -> Place {
        Place::path(self.path(index))
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (images, classes) = (self.len(), self.class_names.len());
        write!(f, "Folder({}: {images} images in {classes} classes)", self.paths.root().display())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::ffi::OsStr;
    use std::fs;
    use std::io::Cursor;

    use super::*;
    use crate::testing::{conforms, shared_data};

    fn write(root: &Path, files: &[&str]) {
        for (number, file) in files.iter().enumerate() {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = Cursor::new(Vec::new());
            let picture = image::GrayImage::from_pixel(2, 2, image::Luma([number as u8]));
            picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            fs::write(path, bytes.into_inner()).unwrap();
        }
    }

    fn names(folder: &Folder) -> Vec<String> {
        let relative = |i| folder.paths.relative(i).display().to_string();
        (0..folder.len()).map(relative).collect()
    }

    #[test]
    fn a_folder_conforms_whatever_the_names_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let files =
            ["dog/b.JPG", "dog/a.jpeg", "cat/images/2.PNG", "cat/1", "cat/images/deep/3.odd", "cat/.x.png"];
        write(root.path(), &files);
        fs::write(root.path().join("cat/boxes.txt"), "1 2 3").unwrap();
        fs::write(root.path().join("LICENSE"), "free").unwrap();
        write(&root.path().join(".git"), &["a.png"]);
        let folder = Folder::open(root.path()).unwrap();
        conforms(&folder);
        assert_eq!(folder.class_names(), ["cat", "dog"]);
        assert_eq!(
            names(&folder),
            ["cat/1", "cat/images/2.PNG", "cat/images/deep/3.odd", "dog/a.jpeg", "dog/b.JPG"]
        );
        assert_eq!(crate::class_counts(&folder), [3, 2]);
        assert_eq!(folder.ignored(), 2);
    }

    #[test]
    fn what_is_no_class_folder_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        let message = || Folder::open(path).unwrap_err().to_string();
        assert!(message().contains("the folder is empty"));
        write(path, &["1.png", "2.png"]);
        assert!(message().contains("2 images, but no class folders"));
        write(path, &["cat/1.png"]);
        assert!(message().contains("only one class, \"cat\""));
        fs::create_dir(path.join("dog")).unwrap();
        assert!(message().contains("dog: there is no image"), "{}", message());
        let missing = Folder::open(path.join("nowhere")).unwrap_err().to_string();
        assert!(missing.contains("nowhere: no such file or folder"));
        assert!(Folder::open(path.join("1.png")).unwrap_err().to_string().contains("this is a file"));
    }

    #[test]
    fn a_validation_folder_may_lack_a_class_but_not_have_another() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["dog/1.png", "fox/1.png"]);
        let known = ["ant", "dog", "fox"].map(String::from);
        let folder = Folder::with_classes(root.path(), &known).unwrap();
        conforms(&folder);
        assert_eq!([folder.label(0), folder.label(1)], [1, 2]);
        let error = Folder::with_classes(root.path(), &known[..2]).unwrap_err().to_string();
        assert!(error.contains("the class \"fox\" is not among the 2"), "{error}");
    }

    #[test]
    fn a_bad_file_is_named_when_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["a/1.png", "b/1.png"]);
        fs::write(root.path().join("a/0.jpg"), "I am a text").unwrap();
        let whole = fs::read(root.path().join("b/1.png")).unwrap();
        fs::write(root.path().join("b/1.png"), &whole[..whole.len() / 2]).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let text = folder.read(0).unwrap_err();
        assert!(
            matches!(text.kind(), ErrorKind::UnknownFormat)
                && text.to_string().contains("0.jpg: not an image")
        );
        assert!(folder.read(2).unwrap_err().to_string().contains("1.png: the image cannot be decoded"));
        fs::remove_file(root.path().join("a/1.png")).unwrap();
        assert!(folder.read(1).unwrap_err().to_string().contains("1.png"));
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_and_odd_names_do_no_harm() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["a/1.png", "a/in/2.png", "b/1.png"]);
        std::os::unix::fs::symlink(root.path(), root.path().join("a/in/up")).unwrap();
        let odd = root.path().join("b").join(OsStr::from_bytes(b"\xFFodd.png"));
        fs::copy(root.path().join("b/1.png"), odd).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        conforms(&folder);
        // The link up leads to what is listed already.
        assert_eq!(folder.len(), 4);
        assert_eq!(image_files(root.path()).unwrap().len(), 4);
        assert!(folder.read(folder.len() - 1).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn what_is_named_like_an_image_and_is_no_file_is_an_error_when_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &["a/1.png", "b/1.png"]);
        std::os::unix::fs::symlink("nowhere", root.path().join("a/2.png")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("a/notes")).unwrap();
        // A pipe, or whatever else is no file.
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("a/3.png")).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        assert_eq!(folder.len(), 4);
        assert!(folder.read(0).is_ok());
        for (index, name, says) in [(1, "a/2.png", "no such file"), (2, "a/3.png", "no file")] {
            let error = folder.read(index).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn tiny_imagenet_and_faces_are_class_folders() {
        if let Some(path) = shared_data("tiny_imagenet_200/train") {
            let folder = Folder::open(path).unwrap();
            assert_eq!((folder.len(), folder.class_names().len(), folder.ignored()), (5000, 10, 10));
            assert_eq!(folder.read(0).unwrap().image.width(), 64);
        }
        if let Some(path) = shared_data("orl_faces") {
            assert_eq!(crate::class_counts(&Folder::open(path).unwrap()), [10; 20]);
        }
    }
}
