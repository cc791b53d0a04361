//! Folders of images, one folder a class.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Source, Stored};
use crate::Limits;
use crate::decode::is_image;
use crate::{Error, ErrorKind, Place, Result};

/// The extensions whose files are taken for images; what they really are is told by their bytes.
const EXTENSIONS: [&str; 15] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "pnm", "pbm", "pgm", "ppm", "tif",
    "tiff",
];

/// Class folders: `root/CLASS/**/IMAGE`.
///
/// Classes are sorted by name, and so are the images of a class; folders inside a class belong to it. Names
/// that begin with a dot are passed over. A file is an image if its extension is known, in any letter case,
/// or else if its first bytes are those of an image; other files are counted in [`Folder::ignored`].
pub struct Folder {
    root: PathBuf,
    class_names: Vec<String>,
    /// Every folder that has images, relative to `root`, with its class.
    folders: Vec<(PathBuf, u32)>,
    /// The folder of each image.
    folder_of: Vec<u32>,
    /// The names of all images one after the other, and where each ends: millions of them fit in memory.
    names: Vec<u8>,
    ends: Vec<u64>,
    ignored: usize,
}

impl Folder {
    /// Opens `root`, whose folders are the classes.
    ///
    /// # Errors
    ///
    /// When it is missing or no folder, has no class folders, only one, or one without an image.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let mut folder = Self::empty(root);
        let names = folder.list_classes()?;
        if let [only] = &names[..] {
            let message =
                format!("there is only one class, {only:?}; a classifier needs at least two folders");
            return Err(Error::at(root, ErrorKind::Classes(message)));
        }
        for name in names {
            folder.add_class(&name, &root.join(&name), folder.class_names.len() as u32)?;
            if folder.folders.last().is_none_or(|(_, class)| *class as usize != folder.class_names.len()) {
                let message = "there is no image in this class folder; add some, or remove the folder";
                return Err(Error::at(root.join(&name), ErrorKind::Classes(message.into())));
            }
            folder.class_names.push(name);
        }
        Ok(folder)
    }

    /// Opens `root` with the classes of another set, in its order: a validation or test folder. A class may
    /// be missing here.
    ///
    /// # Errors
    ///
    /// When `root` is missing or no folder, has a class folder that is none of `class_names`, or no images.
    pub fn with_classes(root: impl AsRef<Path>, class_names: &[String]) -> Result<Self> {
        let root = root.as_ref();
        let mut folder = Self::empty(root);
        folder.class_names = class_names.to_vec();
        let names = folder.list_classes()?;
        for name in names {
            let Some(class) = class_names.iter().position(|known| *known == name) else {
                let message = format!("the class {name:?} is not among the {} known ones", class_names.len());
                return Err(Error::at(root.join(&name), ErrorKind::Classes(message)));
            };
            folder.add_class(&name, &root.join(&name), class as u32)?;
        }
        if folder.is_empty() {
            return Err(Error::at(root, ErrorKind::NotADataSet("there are no images in it".into())));
        }
        Ok(folder)
    }

    /// The number of files that are no images, which were passed over.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// The path of image `index`.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    #[must_use]
    pub fn path(&self, index: usize) -> PathBuf {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let name = name_from_bytes(&self.names[start as usize..self.ends[index] as usize]);
        self.root.join(&self.folders[self.folder_of[index] as usize].0).join(name)
    }

    fn empty(root: &Path) -> Self {
        let (root, class_names, folders) = (root.to_owned(), Vec::new(), Vec::new());
        Self {
            root,
            class_names,
            folders,
            folder_of: Vec::new(),
            names: Vec::new(),
            ends: Vec::new(),
            ignored: 0,
        }
    }

    /// The names of the class folders, sorted; counts the other files of the root as ignored.
    fn list_classes(&mut self) -> Result<Vec<String>> {
        let root = self.root.clone();
        let metadata = fs::metadata(&root).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::at(&root, ErrorKind::Missing),
            _ => Error::at(&root, e),
        })?;
        if !metadata.is_dir() {
            return Err(Error::at(
                &root,
                ErrorKind::NotADataSet("this is a file, not a folder of classes".into()),
            ));
        }
        let (mut names, mut images) = (Vec::new(), 0);
        for entry in list(&root)? {
            if entry.is_folder {
                let Some(name) = entry.name.to_str() else {
                    let message = "the name of a class folder must be Unicode; rename it";
                    return Err(Error::at(root.join(&entry.name), ErrorKind::Classes(message.into())));
                };
                names.push(name.to_owned());
            } else {
                self.ignored += 1;
                images += usize::from(has_image_extension(&entry.name));
            }
        }
        if !names.is_empty() {
            return Ok(names);
        }
        let layout =
            "put the images of each class into a folder of its own, as in photos/cat/1.jpg, photos/dog/1.jpg";
        let message = match (images, self.ignored) {
            (0, 0) => format!("the folder is empty; {layout}"),
            (0, _) => format!("there are no class folders and no images in it; {layout}"),
            _ => format!("there are {images} images, but no class folders that say what they show; {layout}"),
        };
        Err(Error::at(&root, ErrorKind::NotADataSet(message)))
    }

    /// Adds every image at or below `path`.
    fn add_class(&mut self, name: &str, path: &Path, class: u32) -> Result<()> {
        let canonical = |path: &Path| fs::canonicalize(path).map_err(|e| Error::at(path, e));
        // Links can lead back up: each real folder counts once in a class.
        let mut seen = HashSet::from([canonical(path)?]);
        let mut open = vec![PathBuf::from(name)];
        while let Some(relative) = open.pop() {
            let full = self.root.join(&relative);
            let mut inner = Vec::new();
            let mut folder = None;
            for entry in list(&full)? {
                if entry.is_folder {
                    let below = full.join(&entry.name);
                    if seen.insert(canonical(&below)?) {
                        inner.push(relative.join(&entry.name));
                    }
                    continue;
                }
                let known = has_image_extension(&entry.name);
                match name_to_bytes(&entry.name) {
                    Some(bytes) if known || starts_as_image(&full.join(&entry.name))? => {
                        let number = *folder.get_or_insert_with(|| {
                            self.folders.push((relative.clone(), class));
                            self.folders.len() as u32 - 1
                        });
                        self.folder_of.push(number);
                        self.names.extend(bytes);
                        self.ends.push(self.names.len() as u64);
                    }
                    _ => self.ignored += 1,
                }
            }
            if inner.iter().any(|p| p.components().count() > 64) {
                let message = "folders are nested more than 64 deep; is there a loop of links?";
                return Err(Error::at(&full, ErrorKind::NotADataSet(message.into())));
            }
            // The last one pushed is opened next.
            open.extend(inner.into_iter().rev());
        }
        Ok(())
    }
}

/// Every image file at or below `folder`, sorted, told from other files as [`Folder`] tells them.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn image_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let mut found = Folder::empty(folder);
    found.add_class("", folder, 0)?;
    Ok((0..found.len()).map(|index| found.path(index)).collect())
}

struct Entry {
    name: std::ffi::OsString,
    is_folder: bool,
}

/// What is in `folder`, links followed, sorted by name, without hidden names, broken links and devices.
fn list(folder: &Path) -> Result<Vec<Entry>> {
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
        if let Some(target) = target.filter(|t| t.is_dir() || t.is_file()) {
            entries.push(Entry { name, is_folder: target.is_dir() });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
    Ok(entries)
}

/// The bytes of a picture file, at most as many as [`Limits`] allow.
pub(crate) fn read_file(path: &Path, buffer: &mut Vec<u8>) -> Result<()> {
    let refused = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::at(path, ErrorKind::Missing),
        _ => Error::at(path, e),
    };
    let limit = Limits::default().max_file_bytes;
    buffer.clear();
    let file = fs::File::open(path).map_err(refused)?;
    let size = file.metadata().map_err(refused)?.len();
    // One byte more than is expected, to see the end without growing.
    buffer.reserve_exact(size.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(buffer).map_err(refused)?;
    if buffer.len() as u64 > limit {
        let message = format!("the file has more than {} MiB", limit >> 20);
        return Err(Error::at(path, ErrorKind::TooLarge(message)));
    }
    Ok(())
}

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

#[cfg(unix)]
fn name_to_bytes(name: &OsStr) -> Option<&[u8]> {
    use std::os::unix::ffi::OsStrExt;
    Some(name.as_bytes())
}

#[cfg(unix)]
fn name_from_bytes(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn name_to_bytes(name: &OsStr) -> Option<&[u8]> {
    name.to_str().map(str::as_bytes)
}

#[cfg(not(unix))]
fn name_from_bytes(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        read_file(&self.path(index), buffer)?;
        Ok(Stored::File(buffer))
    }

    fn label(&self, index: usize) -> u32 {
        self.folders[self.folder_of[index] as usize].1
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
        write!(f, "Folder({}: {images} images in {classes} classes)", self.root.display())
    }
}

#[cfg(test)]
mod tests {
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
        let relative = |i| folder.path(i).strip_prefix(&folder.root).unwrap().display().to_string();
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
        std::os::unix::fs::symlink("nowhere", root.path().join("a/broken.png")).unwrap();
        let odd = root.path().join("b").join(OsStr::from_bytes(b"\xFFodd.png"));
        fs::copy(root.path().join("b/1.png"), odd).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        conforms(&folder);
        assert!(folder.len() >= 4);
        assert!(folder.read(folder.len() - 1).is_ok());
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
