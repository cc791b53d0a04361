//! Where the pictures of a file lie, in pieces that are decoded together.

use parquet::data_type::ByteArray;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::page_index::index_reader::decode_offset_index;

use super::codec::Codec;
use super::columns::Columns;
use super::file::{MAX_FOOTER, Window};
use super::pages::{corrupt, guarded};
use super::thrift;
use crate::ErrorKind;

/// The most bytes that are decoded at once: a page where there is an index of pages, or else the pictures of a row group.
pub(super) const MAX_PIECE: usize = 256 << 20;
/// Memory of a row beside its bytes.
pub(super) const ROW_BYTES: usize = std::mem::size_of::<Option<ByteArray>>();

/// Rows of a file that are decoded together.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// The first row, counted from the first row of the set, and how many there are.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) group: u32,
    pub(super) codec: Codec,
    /// Where the pages lie.
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Where a dictionary lies that is not among them, and how long it is.
    pub(super) dictionary: Option<(u64, usize)>,
    /// Bytes of memory that it takes when it is decoded, about.
    pub(super) cost: usize,
}

/// Where the pages of a column lie.
pub(super) fn chunk(file: &Window, column: &ColumnChunkMetaData) -> Result<(u64, usize), ErrorKind> {
    if column.file_path().is_some() {
        let message = "it lies in another file; give the files that hold the data";
        return Err(ErrorKind::NotADataSet(message.into()));
    }
    let dictionary = column.dictionary_page_offset().filter(|offset| *offset > 0);
    let start = dictionary.map_or(column.data_page_offset(), |d| d.min(column.data_page_offset()));
    let range = (u64::try_from(start), u64::try_from(column.compressed_size()));
    let (Ok(start), Ok(len)) = range else { return Err(corrupt("its place in the file makes no sense")) };
    if start.checked_add(len).is_none_or(|end| end > file.len) {
        return Err(corrupt("it points beyond the end of the file, which is damaged or cut short"));
    }
    Ok((start, usize::try_from(len).unwrap_or(usize::MAX)))
}

/// Refuses what does not fit in memory.
pub(super) fn check_size(len: usize, plain: usize, rows: usize) -> Result<(), ErrorKind> {
    let most = len.max(plain.saturating_add(rows.saturating_mul(ROW_BYTES)));
    if most <= MAX_PIECE {
        return Ok(());
    }
    Err(ErrorKind::NotADataSet(format!(
        "it has {} MiB that have to be read at once, and at most {} MiB are; write the file with a page index or in smaller row groups \
         (in Python: pyarrow.parquet.write_table(…, row_group_size=100, write_page_index=True))",
        most.div_ceil(1 << 20),
        MAX_PIECE >> 20
    )))
}

/// The pieces of the pictures of a row group: its pages where there is an index of them, or else one.
pub(super) fn image_pieces(
    file: &Window,
    group: &RowGroupMetaData,
    columns: &Columns,
    number: u32,
    first: usize,
    rows: usize,
) -> Result<Vec<Piece>, ErrorKind> {
    let column = group.column(columns.image);
    let codec = Codec::of(column.compression())?;
    let (start, len) = chunk(file, column)?;
    let plain =
        usize::try_from(column.uncompressed_size()).map_err(|_| corrupt("it has less than no bytes"))?;
    let piece = |first: usize,
                 rows: usize,
                 offset: u64,
                 len: usize,
                 plain: usize,
                 dictionary: Option<(u64, usize)>| {
        check_size(len, plain, rows)?;
        let beside = dictionary.map_or(0, |(_, len)| len);
        let cost = len.max(plain) + rows * ROW_BYTES + beside;
        Ok::<_, ErrorKind>(Piece { first, rows, group: number, codec, offset, len, dictionary, cost })
    };
    let index = (column.offset_index_offset(), column.offset_index_length());
    let (Some(at), Some(index_len)) = index else {
        return Ok(vec![piece(first, rows, start, len, plain, None)?]);
    };
    let damaged = || corrupt("its index of pages is damaged");
    let (Ok(at), Ok(index_len)) = (u64::try_from(at), usize::try_from(index_len)) else {
        return Err(damaged());
    };
    if index_len > MAX_FOOTER {
        return Err(damaged());
    }
    let index = file.get(at, index_len)?;
    thrift::check(&index).map_err(|_| damaged())?;
    let index = guarded(|| decode_offset_index(&index)).map_err(|_| damaged())?;
    let locations = index.page_locations();
    let begin = |number: usize| {
        let row = locations.get(number).map_or(rows as i64, |page| page.first_row_index);
        usize::try_from(row).ok().filter(|row| *row <= rows).ok_or_else(damaged)
    };
    if begin(0)? != 0 {
        return Err(damaged());
    }
    let (mut pieces, mut from) = (Vec::new(), start);
    let mut dictionary = None;
    for (number, page) in locations.iter().enumerate() {
        let (Ok(offset), Ok(page_len)) =
            (u64::try_from(page.offset), usize::try_from(page.compressed_page_size))
        else {
            return Err(damaged());
        };
        if offset < from || offset.saturating_add(page_len as u64) > start + len as u64 {
            return Err(damaged());
        }
        if number == 0 && offset > start {
            dictionary = Some((start, (offset - start) as usize));
        }
        from = offset + page_len as u64;
        let page_rows = begin(number + 1)?.checked_sub(begin(number)?).ok_or_else(damaged)?;
        if page_rows > 0 {
            // What the pages take decompressed is known for all of them only.
            let share = (plain as f64 * (page_len as f64 / len.max(1) as f64)) as usize;
            pieces.push(piece(first + begin(number)?, page_rows, offset, page_len, share, dictionary)?);
        }
    }
    Ok(pieces)
}
