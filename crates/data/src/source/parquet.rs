//! Parquet files as Hugging Face's `datasets` writes them.

mod cache;
mod classes;
mod codec;
mod columns;
mod file;
mod labelling;
mod pages;
mod pieces;
mod thrift;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use ::parquet::basic::Type;
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::schema::types::ColumnDescPtr;
use bytes::Bytes;

use self::cache::{Cache, Rows};
use self::classes::Joined;
use self::columns::Columns;
use self::file::{Opened, named};
use self::pages::Pages;
use self::pieces::{MAX_PIECE, Piece, ROW_BYTES};
use super::labels::Labels;
use super::{Source, Stored};
use crate::in_order::in_order;
use crate::shard::OpenFiles;
use crate::storage::{ObjectOptions, PositionedFile, Storage};
use crate::{Error, ErrorKind, Limits, Place, Result};

/// Bytes of decoded rows that are kept in memory.
const KEPT: usize = 256 << 20;

/// One or more Parquet files of pictures and labels, as Hugging Face's `datasets` writes them.
///
/// Pictures are in the one column that is a struct of `bytes` and `path`, or in a column of bytes called `image`, `img`, `jpg`, … Labels are
/// whole numbers or text in a column called `label`, `labels`, `fine_label`, `target`, `class`, … The names of numbers come from the key
/// `huggingface` of the file, where `datasets` writes them; without it they are `0`, `1`, … Names that are labels are sorted.
/// Plain and dictionary encoding are read, without compression or with Snappy, Zstandard, gzip or `LZ4_RAW`.
///
/// Samples are numbered as they lie in the files. Labels are read when a set is opened, and take 1 to 4 bytes of memory each. A picture
/// is fetched by decoding the page it lies in where the file has an index of pages (`write_page_index=True` in pyarrow, which `datasets` sets),
/// or else its whole row group: at most 256 MiB. Of what was decoded, 256 MiB are kept, what was used last; while a row group is decoded,
/// its compressed bytes come on top.
///
/// Parquet is made for reading in order. Whoever trains on a set for long has it faster as shards: `pyrograph pack` makes them. To train
/// on Parquet itself, [`Order::Blocks`](crate::order::Order) suits, with blocks as long as a row group and a window of as many as fit in
/// 256 MiB: then each is decoded about once a pass. A full shuffle of a set that is larger decodes a page or a whole row group for nearly
/// every picture.
pub struct Parquet {
    files: OpenFiles,
    /// For each file, the number of its first sample; at the end the number of all.
    starts: Vec<usize>,
    /// The column of pictures of each file.
    columns: Vec<ColumnDescPtr>,
    image_name: String,
    pieces: Vec<Piece>,
    labels: Labels,
    class_names: Vec<String>,
    cache: Cache<ByteArray>,
}

/// The files so far.
#[derive(Default)]
struct Loading {
    files: Vec<(PathBuf, u64)>,
    starts: Vec<usize>,
    columns: Vec<ColumnDescPtr>,
    first: Option<Columns>,
    pieces: Vec<Piece>,
    labels: Vec<u32>,
    classes: Joined,
}

impl Parquet {
    /// Opens `files`, paths or addresses as [`Storage::of`] takes them, one after the other as one set.
    ///
    /// # Errors
    ///
    /// When there are none, one is damaged or has no such columns, a label is null or out of range, the files have different columns or
    /// classes, or a row group is too large to be read at once. The error names the file, and the row group or row.
    pub fn open(files: &[impl AsRef<Path>]) -> Result<Self> {
        Self::open_at(files, None)
    }

    /// Opens `files` with the classes of another set, in its order: a validation or test part.
    ///
    /// # Errors
    ///
    /// As [`Parquet::open`], or when there is a class that is none of `class_names`.
    pub fn with_classes(files: &[impl AsRef<Path>], class_names: &[String]) -> Result<Self> {
        Self::open_at(files, Some(class_names))
    }

    fn open_at(files: &[impl AsRef<Path>], class_names: Option<&[String]>) -> Result<Self> {
        let Some(first) = files.first() else { return Err(none_given()) };
        let options = ObjectOptions::default();
        let (storage, first) = Storage::of(first, &options)?;
        let mut paths = vec![first];
        for file in &files[1..] {
            // All lie in the storage of the first: a connection a file would be many.
            let (own, path) = Storage::of(file, &options)?;
            if own.is_disk() != storage.is_disk() {
                let message = "all files of a set must be in the same storage";
                return Err(Error::at(path, ErrorKind::Setting(message.into())));
            }
            paths.push(path);
        }
        Self::open_in(&storage, &paths, class_names)
    }

    /// Opens `files` of `storage`, with their own classes or those of another set.
    ///
    /// # Errors
    ///
    /// As [`Parquet::open`] without `class_names`, and as [`Parquet::with_classes`] with them.
    pub fn open_in(
        storage: &Storage,
        files: &[impl AsRef<Path>],
        class_names: Option<&[String]>,
    ) -> Result<Self> {
        let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
        let mut loading = Loading { starts: vec![0], ..Loading::default() };
        let threads = storage.fetches_at_once().max(1);
        let open = |number: usize| Opened::open(storage, files[number]);
        in_order(0..files.len(), threads, open, |number, opened| loading.add(files[number], opened))?;
        let Some(first) = files.first() else { return Err(none_given()) };
        if loading.labels.is_empty() {
            return Err(Error::at(first, ErrorKind::NotADataSet("there are no rows in it".into())));
        }
        loading.finish(storage.clone(), class_names)
    }

    /// The number of files.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.columns.len()
    }

    /// The file of sample `index`.
    fn file_of(&self, index: usize) -> usize {
        assert!(index < self.labels.len(), "sample {index} of {}", self.labels.len());
        self.starts.partition_point(|&start| start <= index) - 1
    }

    /// The pictures of piece `number`, which is in file `file`.
    fn decode(
        &self,
        file: &PositionedFile,
        number: usize,
        column: ColumnDescPtr,
    ) -> Result<Rows<ByteArray>, ErrorKind> {
        let piece = &self.pieces[number];
        let read = |offset: u64, len: usize| -> Result<Bytes, ErrorKind> {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes.into())
        };
        let stored = read(piece.offset, piece.len)?;
        let find = |bytes: &Bytes, rows: usize, limit: usize| {
            Pages::find(bytes, piece.codec, Type::BYTE_ARRAY, rows, limit)
        };
        let mut pages = find(&stored, piece.rows, MAX_PIECE)?;
        if pages.lack_dictionary()
            && let Some((offset, len)) = piece.dictionary.filter(|(_, len)| *len <= MAX_PIECE)
        {
            pages.add_dictionary(find(&read(offset, len)?, 0, MAX_PIECE - pages.plain_bytes())?);
        }
        let bytes = pages.plain_bytes().max(piece.len) + piece.rows * ROW_BYTES;
        let mut values = Vec::with_capacity(piece.rows);
        pages.each::<ByteArrayType>(column, |value| {
            values.push(value);
            Ok(())
        })?;
        Ok(Rows { values, bytes })
    }
}

fn none_given() -> Error {
    Error::new(ErrorKind::NotADataSet("no Parquet file was given".into()))
}

impl Loading {
    fn add(&mut self, path: &Path, mut opened: Opened) -> Result<()> {
        let first = self.first.get_or_insert_with(|| opened.columns.clone());
        for (what, own, expected) in [
            ("pictures", &opened.columns.image_name, &first.image_name),
            ("labels", &opened.columns.label_name, &first.label_name),
        ] {
            if own != expected {
                let message = format!(
                    "its {what} are in the column {own}, those of {} in {expected}; files of one set have the same columns",
                    self.files.first().map(|(path, _)| path.display().to_string()).unwrap_or_default()
                );
                return Err(Error::at(path, ErrorKind::NotADataSet(message)));
            }
        }
        self.classes.add(path, opened.classes, &mut opened.labels)?;
        let before = self.labels.len();
        self.pieces
            .extend(opened.pieces.into_iter().map(|piece| Piece { first: before + piece.first, ..piece }));
        self.labels.append(&mut opened.labels);
        self.starts.push(self.labels.len());
        self.columns.push(opened.image);
        self.files.push((path.to_owned(), opened.len));
        Ok(())
    }

    /// Gives every sample its place in `class_names`.
    fn finish(mut self, storage: Storage, class_names: Option<&[String]>) -> Result<Parquet> {
        let (class_names, names) = self.classes.finish(class_names);
        let mut file = 0;
        for (index, label) in self.labels.iter_mut().enumerate() {
            *label = names.class(*label).map_err(|kind| {
                while self.starts[file + 1] <= index {
                    file += 1;
                }
                Error::in_record(&self.files[file].0, (index - self.starts[file]) as u64, kind)
            })?;
        }
        self.pieces.shrink_to_fit();
        Ok(Parquet {
            files: OpenFiles::new(storage, self.files),
            starts: self.starts,
            columns: self.columns,
            image_name: self.first.map(|columns| columns.image_name).unwrap_or_default(),
            pieces: self.pieces,
            labels: Labels::narrow(self.labels, class_names.len()),
            class_names,
            cache: Cache::new(KEPT),
        })
    }
}

impl Source for Parquet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        let file = self.file_of(index);
        let number = self.pieces.partition_point(|piece| piece.first <= index) - 1;
        let piece = &self.pieces[number];
        let rows = self.cache.get(number, piece.cost, || {
            let decoded = self.decode(&*self.files.get(file)?, number, self.columns[file].clone());
            decoded.map_err(|kind| {
                Error::in_place(self.place(index), named(piece.group as usize, &self.image_name, kind))
            })
        })?;
        let refuse = |kind| Err(Error::in_place(self.place(index), kind));
        let picture = rows.values.get(index - piece.first).and_then(Option::as_ref).map(ByteArray::data);
        let limit = Limits::default().max_file_bytes;
        match picture {
            None => refuse(ErrorKind::Corrupt(format!(
                "the picture is null; the column {} must hold the bytes of every picture, not only its path",
                self.image_name
            ))),
            Some([]) => refuse(ErrorKind::Corrupt("the picture has no bytes".into())),
            Some(bytes) if bytes.len() as u64 > limit => {
                refuse(ErrorKind::TooLarge(format!("the file has more than {} MiB", limit >> 20)))
            }
            Some(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(bytes);
                Ok(Stored::File(buffer))
            }
        }
    }

    fn fetches_at_once(&self) -> usize {
        self.files.storage().fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels.get(index)
    }

    fn place(&self, index: usize) -> Place {
        let file = self.file_of(index);
        Place::record(self.files.path(file), (index - self.starts[file]) as u64)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (samples, files, classes) = (self.len(), self.file_count(), self.class_names.len());
        write!(f, "Parquet({samples} images in {files} files, {classes} classes)")
    }
}
