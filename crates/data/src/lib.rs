//! Image sets: bytes become samples, samples become batches.
//!
//! Read in this order:
//!
//! 1. [`Image`] and [`decode`]: bytes of any common format become 8-bit pixels as a person sees them; [`jpeg`] decodes only the part
//!    of a photo that a crop needs.
//! 2. [`Source`]: a numbered set of labelled images, from class folders, lists, tar shards, Parquet (feature
//!    `parquet`), IDX or CIFAR files, memory, or drawn.
//! 3. [`DataSet`]: the train, validation and test parts found at a path; [`mod@check`] tells what is wrong with them, and
//!    [`dataset_stats`] what they are like.
//! 4. [`Preprocess`]: what a network wants to see, and how to make it from an image.
//! 5. [`order`]: which sample comes when, as a pure function of seed, epoch and position.
//! 6. [`Loader`]: worker threads that turn all of it into batches, in that order.
//! 7. [`shard`] and [`pack`]: many pictures in one file, for sets that are too large for folders.
//! 8. [`Storage`]: disks and object storage; what the others open by a path is opened by an address as well.
//! 9. [`tensor`] (feature `burn`): the same things as Burn's `Dataset`, `Batcher` and `DataLoader`.
//!
//! Without the feature `burn` the crate builds and runs without Burn.

mod cache;
pub mod check;
mod decode;
mod discover;
#[cfg(feature = "download")]
pub mod download;
mod error;
mod image;
mod in_order;
pub mod jpeg;
mod loader;
pub mod order;
pub mod pack;
mod preprocess;
mod resize;
pub mod shard;
pub mod source;
mod stats;
mod storage;
#[cfg(feature = "burn")]
pub mod tensor;
#[cfg(test)]
mod testing;
pub mod transform;

pub use cache::cache_folder;
pub use check::{CheckOptions, CheckReport, check};
pub use decode::{Limits, decode, decode_view};
pub use discover::DataSet;
pub use error::{Error, ErrorKind, Place, Result, printable};
pub use image::Image;
pub use loader::{BadSample, Batch, Batches, Loader, LoaderConfig, LoaderStats, OnError, Position, Tail};
pub use preprocess::Preprocess;
pub use resize::{Filter, Region, resize, resize_region};
pub use source::{Sample, Source, Stored, class_counts, split};
pub use stats::{PixelStats, Spread, Stats, dataset_stats, pixel_stats};
pub use storage::{ObjectOptions, Storage};
pub use transform::Pipeline;
