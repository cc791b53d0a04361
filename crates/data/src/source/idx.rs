//! The IDX files of MNIST and its relatives.
//!
//! The layout is Yann LeCun's: two zero bytes, the type (8 for unsigned bytes), the number of dimensions, each
//! dimension as a big-endian 32-bit number, then the values.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Source, Stored};
use crate::storage::open_on_disk;
use crate::{Error, ErrorKind, Place, Result};

/// More than any set that is kept whole in memory should have.
const MAX_BYTES: u64 = 2 << 30;

/// The classes of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017).
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// A pair of IDX files, images and labels, plain or gzipped, held in memory.
///
/// Images are `[count, height, width]` (gray) or `[count, height, width, 3]`, values 0 to 255.
pub struct Idx {
    path: PathBuf,
    pixels: Vec<u8>,
    labels: Vec<u8>,
    width: u32,
    height: u32,
    channels: u8,
    class_names: Vec<String>,
}

impl Idx {
    /// Reads `images` and `labels`. The classes are the digits from 0 to the greatest label, or the names
    /// of Fashion-MNIST when the path says "fashion".
    ///
    /// # Errors
    ///
    /// When a file is missing, is no IDX file of bytes, has another length than its header says, is larger
    /// than 2 GiB, or the two files have different counts.
    pub fn open(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let (images, labels) = (images.as_ref(), labels.as_ref());
        let mut idx = Self::load(images, labels)?;
        let classes = idx.labels.iter().max().map_or(2, |&label| usize::from(label) + 1).max(2);
        idx.class_names = if classes <= FASHION.len() && is_fashion(images) {
            FASHION.map(String::from).to_vec()
        } else {
            (0..classes).map(|class| class.to_string()).collect()
        };
        Ok(idx)
    }

    /// Reads `images` and `labels` with the given classes: those of the training set, for its test set.
    ///
    /// # Errors
    ///
    /// As [`Idx::open`], and when a label has no class name.
    pub fn with_class_names(
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        class_names: &[String],
    ) -> Result<Self> {
        let mut idx = Self::load(images.as_ref(), labels.as_ref())?;
        let classes = class_names.len();
        if let Some(at) = idx.labels.iter().position(|&label| usize::from(label) >= classes) {
            let message = format!("label {} is out of range, there are {classes} classes", idx.labels[at]);
            return Err(Error::in_record(labels, at as u64, ErrorKind::Corrupt(message)));
        }
        idx.class_names = class_names.to_vec();
        Ok(idx)
    }

    fn load(images: &Path, labels: &Path) -> Result<Self> {
        let (label_dims, label_values) = read_idx(labels)?;
        let (image_dims, pixels) = read_idx(images)?;
        let refuse = |path: &Path, what: String| Err(Error::at(path, ErrorKind::Corrupt(what)));
        if label_dims.len() != 1 {
            return refuse(labels, format!("its shape is {label_dims:?}; labels have one dimension"));
        }
        let (count, height, width, channels) = match image_dims[..] {
            [count, height, width] => (count, height, width, 1),
            [count, height, width, 3] => (count, height, width, 3),
            _ => {
                let wanted = "[count, height, width] or [count, height, width, 3]";
                return refuse(images, format!("its shape is {image_dims:?}; images are {wanted}"));
            }
        };
        if pixels.is_empty() {
            return refuse(images, format!("its shape is {image_dims:?}: there are no images in it"));
        }
        if count as usize != label_values.len() {
            let have = label_values.len();
            let other = images.display();
            return refuse(labels, format!("it has {have} labels, but {other} has {count} images"));
        }
        let (path, class_names) = (images.to_owned(), Vec::new());
        Ok(Self { path, pixels, labels: label_values, width, height, channels, class_names })
    }
}

fn is_fashion(images: &Path) -> bool {
    let says = |part: &std::ffi::OsStr| part.to_string_lossy().to_lowercase().contains("fashion");
    let resolved = std::fs::canonicalize(images).unwrap_or_else(|_| images.to_owned());
    // The file, its folder, and the one above, as in `FashionMNIST/raw`; not every folder above them.
    resolved.iter().rev().take(3).any(says)
}

/// The dimensions and values of an IDX file of unsigned bytes.
fn read_idx(path: &Path) -> Result<(Vec<u32>, Vec<u8>)> {
    let at = |kind: ErrorKind| Error::at(path, kind);
    let mut file = open_on_disk(path).map_err(at)?;
    let size = file.metadata().map_err(|e| at(e.into()))?.len();
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(|e| at(e.into()))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| at(e.into()))?;
    let gzipped = magic == [0x1F, 0x8B];
    let reader = BufReader::with_capacity(1 << 16, file);
    if gzipped { read_values(MultiGzDecoder::new(reader), None) } else { read_values(reader, Some(size)) }
        .map_err(at)
}

/// `size` is the length of the whole file where it is known.
fn read_values(mut reader: impl Read, size: Option<u64>) -> Result<(Vec<u32>, Vec<u8>), ErrorKind> {
    let cut = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt("the file is cut short".into()),
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            ErrorKind::Corrupt(format!("the gzip data is damaged: {e}"))
        }
        _ => ErrorKind::Io(e),
    };
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(cut)?;
    let [0, 0, 8, dimensions @ 1..=4] = magic else {
        return Err(ErrorKind::Corrupt("it is no IDX file of bytes with 1 to 4 dimensions".into()));
    };
    let mut shape = Vec::new();
    let mut count = 1u64;
    for _ in 0..dimensions {
        let mut dimension = [0; 4];
        reader.read_exact(&mut dimension).map_err(cut)?;
        let dimension = u32::from_be_bytes(dimension);
        shape.push(dimension);
        count = count.saturating_mul(u64::from(dimension));
    }
    if count > MAX_BYTES {
        return Err(ErrorKind::TooLarge(format!("its header says {shape:?}; at most 2 GiB are read")));
    }
    let header = 4 + 4 * u64::from(dimensions);
    let differs = |have: &str| {
        let wanted = format!("its header says {shape:?}, that is {count} bytes");
        ErrorKind::Corrupt(format!("{wanted}, but {have} follow; the file is damaged or cut short"))
    };
    if let Some(have) = size.map(|size| size.saturating_sub(header))
        && have != count
    {
        return Err(differs(&have.to_string()));
    }
    // Grows with what is really there, not with what the header says.
    let mut values = Vec::new();
    reader.take(count + 1).read_to_end(&mut values).map_err(cut)?;
    match values.len() as u64 {
        have if have > count => Err(differs("more")),
        have if have < count => Err(differs(&have.to_string())),
        _ => Ok((shape, values)),
    }
}

impl Source for Idx {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn fetch<'a>(&'a self, index: usize, _: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let Self { width, height, channels, .. } = *self;
        let size = width as usize * height as usize * usize::from(channels);
        let bytes = &self.pixels[index * size..(index + 1) * size];
        Ok(Stored::Pixels { width, height, channels, bytes })
    }

    fn label(&self, index: usize) -> u32 {
        u32::from(self.labels[index])
    }

    fn place(&self, index: usize) -> Place {
        Place::record(&self.path, index as u64)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Idx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, width, height, channels, .. } = self;
        write!(f, "Idx({}: {} of {width}x{height}x{channels})", path.display(), self.labels.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::testing::{conforms, shared_data};

    fn idx_bytes(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|d| d.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Writes both files and opens them.
    fn open(images: &[u8], labels: &[u8]) -> Result<Idx> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("images"), images).unwrap();
        std::fs::write(folder.path().join("labels"), labels).unwrap();
        Idx::open(folder.path().join("images"), folder.path().join("labels"))
    }

    fn message(images: &[u8], labels: &[u8]) -> String {
        open(images, labels).unwrap_err().to_string()
    }

    #[test]
    fn idx_conforms_gzipped_or_plain_gray_or_coloured() {
        let pixels: Vec<u8> = (0..36).collect();
        let labels = idx_bytes(&[3], &[0, 4, 1]);
        let gray = open(&idx_bytes(&[3, 4, 3], &pixels), &gzip(&labels)).unwrap();
        conforms(&gray);
        assert_eq!(gray.read(1).unwrap().image, crate::Image::new(3, 4, 1, (12..24).collect()));
        assert_eq!(gray.class_names().len(), 5);
        let color = open(&gzip(&idx_bytes(&[3, 2, 2, 3], &pixels)), &labels).unwrap();
        conforms(&color);
        assert_eq!(color.read(2).unwrap().image.channels(), 3);
    }

    #[test]
    fn a_header_that_disagrees_with_the_length_is_an_error() {
        let labels = idx_bytes(&[2], &[0, 1]);
        for pack in [|b: &[u8]| b.to_vec(), gzip] {
            let short = message(&pack(&idx_bytes(&[2, 2, 2], &[0; 7])), &labels);
            assert!(short.contains("images") && short.contains("8 bytes, but 7 follow"), "{short}");
            let long = message(&pack(&idx_bytes(&[2, 2, 2], &[0; 9])), &labels);
            assert!(long.contains("8 bytes, but"), "{long}");
            let huge = message(&pack(&idx_bytes(&[u32::MAX, u32::MAX, u32::MAX], &[0; 9])), &labels);
            assert!(huge.contains("2 GiB"), "{huge}");
        }
    }

    #[test]
    fn damaged_files_name_themselves() {
        let (images, labels) = (idx_bytes(&[2, 1, 1], &[5, 6]), idx_bytes(&[2], &[0, 1]));
        assert!(message(b"hello", &labels).contains("no IDX file"));
        assert!(message(b"", &labels).contains("cut short"));
        assert!(message(&images, &idx_bytes(&[3], &[0, 1, 0])).contains("3 labels, but"));
        assert!(message(&images, &images).contains("labels have one dimension"));
        assert!(message(&idx_bytes(&[0, 1, 1], &[]), &idx_bytes(&[0], &[])).contains("no images"));
        let mut damaged = gzip(&images);
        damaged.truncate(damaged.len() - 9);
        assert!(message(&damaged, &labels).contains("images: "));
        let missing = Idx::open("nowhere/images", "nowhere/labels").unwrap_err().to_string();
        assert!(missing.contains("nowhere") && missing.contains("no such file"), "{missing}");
    }

    #[test]
    fn a_label_beyond_the_given_classes_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (images, labels) = (folder.path().join("i"), folder.path().join("l"));
        std::fs::write(&images, idx_bytes(&[2, 1, 1], &[5, 6])).unwrap();
        std::fs::write(&labels, idx_bytes(&[2], &[0, 3])).unwrap();
        let names = ["a".to_owned(), "b".to_owned()];
        let error = Idx::with_class_names(&images, &labels, &names).unwrap_err();
        assert_eq!(error.place().record, Some(1));
        assert!(error.to_string().contains("label 3 is out of range"), "{error}");
    }

    #[test]
    fn fashion_mnist_has_its_names() {
        let Some(folder) = shared_data("fashion_mnist_idx") else { return };
        let file = |name: &str| folder.join(format!("t10k-{name}-ubyte.gz"));
        let idx = Idx::open(file("images-idx3"), file("labels-idx1")).unwrap();
        assert_eq!(idx.len(), 10_000);
        assert_eq!(idx.class_names()[idx.label(0) as usize], "Ankle boot");
        assert_eq!(crate::class_counts(&idx), [1000; 10]);
    }
}
