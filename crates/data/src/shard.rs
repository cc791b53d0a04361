//! Shards: many pictures in one tar archive, and beside it an index, so that they can be read in any order.
//!
//! A shard is an ordinary tar archive as WebDataset has them: entries with the same path up to the first dot of the file name
//! follow each other and are a sample, `00000012_beach.jpg` and `00000012_beach.cls`. [`index`] makes the index of any such
//! archive in one pass, without a copy of it; [`pack`](crate::pack::pack) makes shards from any
//! [`Source`](crate::Source); [`Shards`](crate::source::Shards) reads them.
//!
//! # The index
//!
//! `NAME.tar.idx` lies beside `NAME.tar`. All numbers are little-endian.
//!
//! | bytes | header |
//! |---|---|
//! | 0..8 | `tarindex` |
//! | 8..12 | version: 1 |
//! | 12..16 | flags: 1, labels are class numbers and there are no class names; 2, something damaged was left out |
//! | 16..24 | number of samples |
//! | 24..32 | length of the archive |
//! | 32..40 | length of the names |
//! | 40..48 | CRC-32C of the first 16 KiB of the archive, and of the last |
//! | 48..56 | number of class names, and their length |
//! | 56..60 | CRC-32C of records and class names |
//! | 60..64 | CRC-32C of the header before it |
//!
//! Then come the records, 48 bytes a sample:
//!
//! | bytes | record |
//! |---|---|
//! | 0..8 | where the picture begins in the archive: a multiple of 512 |
//! | 8..16 | FNV-1a of the picture's name |
//! | 16..24 | length of the picture, and its CRC-32C |
//! | 24..32 | width and height as stored |
//! | 32..36 | label |
//! | 36..42 | where its name begins among the names (4 bytes), and its length (2) |
//! | 42..45 | codec (1 jpeg, 2 png, 3 webp, 4 bmp, 5 gif, 6 pnm, 7 tiff, 8 raw), channels, EXIF orientation |
//! | 45..48 | 0 |
//!
//! then the class names, each as its length (2 bytes) and its bytes, and the names of the pictures without anything between
//! them.
//!
//! # Raw pixels
//!
//! An entry with the extension `.rgb8` or `.l8` is a picture that needs no decoding: `rawpix8`, one byte with the number of
//! channels, width and height as 4-byte numbers, then `[height, width, channels]`.

pub(crate) mod atomic;
mod class;
mod index_file;
mod indexer;
pub(crate) mod manifest;
mod open_files;
pub(crate) mod raw;
mod record;
mod sample;
mod tar;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

pub use indexer::{IndexOptions, IndexProgress, IndexReport, index};
pub use record::{Codec, Record};

#[cfg(feature = "parquet")]
pub(crate) use class::{Class, MAX_CLASS_NAME, MAX_CLASSES};
pub(crate) use index_file::{Classes, IndexFile};
pub(crate) use open_files::OpenFiles;
pub(crate) use record::Head;
