//! Where images come from.

mod cifar;
mod digits;
mod folder;
mod idx;
mod labels;
mod manifest;
mod memory;
#[cfg(feature = "parquet")]
mod parquet;
mod paths;
mod scan;
mod shards;
mod splitmix;
mod stamp;
mod subset;
mod tree;

#[cfg(feature = "parquet")]
pub use self::parquet::Parquet;
pub use cifar::{Cifar, CifarKind};
pub use digits::Digits;
pub use folder::{Folder, image_files};
pub use idx::Idx;
pub use manifest::{Manifest, ManifestParts};
pub use memory::Memory;
pub use scan::Scan;
pub use shards::Shards;
pub use subset::{Subset, split};
pub(crate) use tree::has_image_extension;

pub use crate::image::Stored;
use crate::{Error, Image, Limits, Place, Result};

/// One labelled picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The picture.
    pub image: Image,
    /// The index of its class in [`Source::class_names`].
    pub label: u32,
}

/// A numbered, labelled set of images: the one trait of this crate that a new kind of storage implements.
///
/// Sources are read from many threads at once, in any order; the same index always gives the same sample. Fetching is
/// apart from decoding, so that a loader can fetch ahead, and decode only what it needs of a picture.
pub trait Source: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What storage holds of the picture of sample `index`. `buffer` is room that the answer may lie in; what it held
    /// before is lost.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched; the error names the place.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>>;

    /// The class of sample `index`, without decoding it.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn label(&self, index: usize) -> u32;

    /// Where sample `index` lies, for people and for messages.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn place(&self, index: usize) -> Place;

    /// The names of the classes, in label order.
    fn class_names(&self) -> &[String];

    /// How many samples a loader should fetch at the same time, ahead of decoding. 0: fetching takes no longer than
    /// reading memory or a local disk, and whoever decodes fetches. Storage with latency says more.
    fn fetches_at_once(&self) -> usize {
        0
    }

    /// Fetches and decodes sample `index`, whole and upright.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched or decoded; the error names the place.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn read(&self, index: usize) -> Result<Sample> {
        let mut buffer = Vec::new();
        let image = self.fetch(index, &mut buffer)?.decode(&Limits::default());
        let image = image.map_err(|kind| Error::in_place(self.place(index), kind))?;
        Ok(Sample { image, label: self.label(index) })
    }
}

/// The number of samples of each class, in label order.
#[must_use]
pub fn class_counts(source: &dyn Source) -> Vec<usize> {
    let mut counts = vec![0; source.class_names().len()];
    for index in 0..source.len() {
        counts[source.label(index) as usize] += 1;
    }
    counts
}
