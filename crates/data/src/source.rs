//! Where images come from.

mod cifar;
mod digits;
mod folder;
mod idx;
mod memory;
mod splitmix;
mod subset;

pub use cifar::{Cifar, CifarKind};
pub use digits::Digits;
pub use folder::{Folder, image_files};
pub use idx::Idx;
pub use memory::Memory;
pub use subset::{Subset, split};

use crate::{Image, Result};

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
/// Sources are read from many threads at once, in any order; the same index always gives the same sample.
pub trait Source: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads and decodes sample `index`.
    ///
    /// # Errors
    ///
    /// When it cannot be read or decoded; the error names the file and the record.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn read(&self, index: usize) -> Result<Sample>;

    /// The class of sample `index`, without decoding it.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    fn label(&self, index: usize) -> u32;

    /// A name for sample `index` that a person can find it by: a path, or a file and record number.
    fn key(&self, index: usize) -> String;

    /// The names of the classes, in label order.
    fn class_names(&self) -> &[String];
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
