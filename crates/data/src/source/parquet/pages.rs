//! The pages of a column, and the values in them.
//!
//! What a page says about itself is checked before anything is allocated for it. The `parquet` crate decodes what is in the pages; on
//! damaged ones it may panic, which is caught here and becomes an error.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::codec::Codec;
use super::thrift::Thrift;
use crate::ErrorKind;

/// Values that are decoded at a time.
const STEP: usize = 256;

const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// A page as its header describes it.
struct Header {
    kind: i64,
    /// Bytes, plain and as they are stored.
    plain: usize,
    stored: usize,
    crc: Option<u32>,
    values: u32,
    encoding: i64,
    /// Of definition and repetition levels, in the first version of pages.
    level_encodings: [i64; 2],
    /// Bytes of definition and repetition levels before the values, in the second.
    level_bytes: [u32; 2],
    nulls: u32,
    compressed: bool,
}

/// Pages that lie one after the other, not decompressed yet.
pub(super) struct Pages {
    pages: VecDeque<(Header, Bytes)>,
    codec: Codec,
}

/// The file contradicts itself.
pub(super) fn corrupt(what: impl Into<String>) -> ErrorKind {
    ErrorKind::Corrupt(what.into())
}

impl Header {
    fn read(bytes: &[u8]) -> Result<(Self, usize), &'static str> {
        const WRONG: &str = "a page does not say what it holds";
        let mut thrift = Thrift::new(bytes);
        let mut own = [None; 5];
        let mut inner = [None; 9];
        let mut last = 0;
        while let Some((number, kind)) = thrift.field(&mut last)? {
            match number {
                1..=4 => own[number as usize] = Some(thrift.int(kind)?),
                5 | 7 | 8 => inner = thrift.ints(kind)?,
                _ => thrift.skip(kind, 1)?,
            }
        }
        let size = |value: Option<i64>| value.and_then(|v| u32::try_from(v).ok()).ok_or(WRONG);
        let kind = own[1].ok_or(WRONG)?;
        let mut header = Self {
            kind,
            plain: size(own[2])? as usize,
            stored: size(own[3])? as usize,
            crc: own[4].map(|crc| crc as u32),
            values: 0,
            encoding: 0,
            level_encodings: [0; 2],
            level_bytes: [0; 2],
            nulls: 0,
            compressed: true,
        };
        if kind != INDEX {
            header.values = size(inner[1])?;
            header.encoding = inner[if kind == DATA_V2 { 4 } else { 2 }].ok_or(WRONG)?;
        }
        if kind == DATA {
            header.level_encodings = [inner[3].ok_or(WRONG)?, inner[4].ok_or(WRONG)?];
        }
        if kind == DATA_V2 {
            header.nulls = size(inner[2])?;
            header.level_bytes = [size(inner[5])?, size(inner[6])?];
            header.compressed = inner[7] != Some(0);
        }
        Ok((header, thrift.position()))
    }

    /// Whether the values are numbers of entries of the dictionary.
    fn refers_to_dictionary(&self) -> bool {
        self.kind != DICTIONARY && matches!(encoding(self.encoding), Ok(Encoding::RLE_DICTIONARY))
    }

    /// The bytes of levels, which are stored as they are.
    fn levels(&self) -> usize {
        self.level_bytes.iter().map(|&len| len as usize).sum()
    }
}

fn encoding(number: i64) -> Result<Encoding, ErrorKind> {
    match number {
        0 => Ok(Encoding::PLAIN),
        2 | 8 => Ok(Encoding::RLE_DICTIONARY),
        3 => Ok(Encoding::RLE),
        _ => {
            let message = format!(
                "its values are written with encoding {number}, which is not read; write it with plain or dictionary encoding (in \
                 Python: pyarrow.parquet.write_table without column_encoding)"
            );
            Err(ErrorKind::NotADataSet(message))
        }
    }
}

/// Some writers name the other one where there are no levels.
fn level_encoding(number: i64) -> Encoding {
    #[allow(deprecated)]
    let packed = Encoding::BIT_PACKED;
    if number == 4 { packed } else { Encoding::RLE }
}

impl Pages {
    /// The pages in `bytes`, which hold `rows` rows. `limit` bounds the bytes of all of them, decompressed.
    pub(super) fn find(
        bytes: &Bytes,
        codec: Codec,
        kind: Type,
        rows: usize,
        limit: usize,
    ) -> Result<Self, ErrorKind> {
        let mut pages = VecDeque::new();
        let (mut at, mut plain, mut found) = (0, 0usize, 0usize);
        while at < bytes.len() {
            let (header, len) = Header::read(&bytes[at..]).map_err(corrupt)?;
            let start = at + len;
            let end = start.checked_add(header.stored).filter(|end| *end <= bytes.len());
            at = end.ok_or_else(|| corrupt("a page is longer than the column"))?;
            let body = bytes.slice(start..at);
            match header.kind {
                INDEX => continue,
                DATA | DATA_V2 => found = found.saturating_add(header.values as usize),
                DICTIONARY if pages.is_empty() => {}
                _ => return Err(corrupt("a page is of an unknown kind, or in the wrong place")),
            }
            plain = plain.saturating_add(header.plain);
            if plain > limit {
                let message = format!("its pages have more than {} MiB", limit >> 20);
                return Err(ErrorKind::TooLarge(message));
            }
            header.check(&body, kind)?;
            pages.push_back((header, body));
        }
        if found != rows {
            return Err(corrupt(format!("there are {found} values where there should be {rows}")));
        }
        Ok(Self { pages, codec })
    }

    /// The bytes of all pages, decompressed.
    pub(super) fn plain_bytes(&self) -> usize {
        self.pages.iter().map(|(header, _)| header.plain).sum()
    }

    /// Whether a dictionary is needed that is not among the pages.
    pub(super) fn lack_dictionary(&self) -> bool {
        let has = self.pages.front().is_some_and(|(header, _)| header.kind == DICTIONARY);
        !has && self.pages.iter().any(|(header, _)| header.refers_to_dictionary())
    }

    /// Puts the dictionary that lies elsewhere before the pages.
    pub(super) fn add_dictionary(&mut self, mut dictionary: Self) {
        dictionary.pages.append(&mut self.pages);
        self.pages = dictionary.pages;
    }

    /// Calls `take` with the value of each row, in order; without one where it is null.
    pub(super) fn each<T: DataType>(
        self,
        column: ColumnDescPtr,
        mut take: impl FnMut(Option<T::T>) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        if self.lack_dictionary() {
            return Err(corrupt("its dictionary is missing"));
        }
        let rows = self.rows();
        let whole = column.max_def_level();
        let mut reader = guarded(|| Ok(ColumnReaderImpl::<T>::new(column, Box::new(self))))?;
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < rows {
            values.clear();
            levels.clear();
            let step = STEP.min(rows - done);
            let read = guarded(|| reader.read_records(step, Some(&mut levels), None, &mut values))?.0;
            // A column that is never null has no levels.
            if read == 0 || (whole > 0 && levels.len() != read) {
                return Err(corrupt(format!("there are {done} values where there should be {rows}")));
            }
            done += read;
            let mut values = values.drain(..);
            for row in 0..read {
                let there = levels.get(row).is_none_or(|level| *level == whole);
                let value = if there { values.next() } else { None };
                if there && value.is_none() {
                    return Err(corrupt("there are fewer values than there should be"));
                }
                take(value)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        let data = self.pages.iter().filter(|(header, _)| header.kind != DICTIONARY);
        data.map(|(header, _)| header.values as usize).sum()
    }

    fn plain(&self, header: &Header, body: &Bytes) -> Result<Bytes, String> {
        if self.codec == Codec::None || !header.compressed {
            return Ok(body.clone());
        }
        let levels = header.levels();
        let plain = self.codec.decompress(&body[levels..], header.plain - levels)?;
        if levels == 0 {
            return Ok(plain.into());
        }
        Ok([&body[..levels], &plain].concat().into())
    }
}

impl Header {
    /// What the parquet crate believes.
    fn check(&self, body: &[u8], kind: Type) -> Result<(), ErrorKind> {
        encoding(self.encoding)?;
        if self.levels() > self.plain.min(self.stored) {
            return Err(corrupt("the levels of a page are longer than the page"));
        }
        // Each entry of a dictionary takes its length at least, or is a number of fixed length.
        let least = if kind == Type::INT64 { 8 } else { 4 };
        if self.kind == DICTIONARY && self.values as usize > self.plain / least {
            return Err(corrupt("a dictionary has more entries than there is room for"));
        }
        if let Some(expected) = self.crc {
            let mut crc = flate2::Crc::new();
            crc.update(body);
            if crc.sum() != expected {
                return Err(corrupt("the checksum of a page is another: the file is damaged"));
            }
        }
        Ok(())
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        let Some((header, body)) = self.pages.pop_front() else { return Ok(None) };
        let buf = self.plain(&header, &body).map_err(ParquetError::General)?;
        let encoding = encoding(header.encoding).map_err(|e| ParquetError::General(e.to_string()))?;
        let num_values = header.values;
        Ok(Some(match header.kind {
            DICTIONARY => Page::DictionaryPage { buf, num_values, encoding, is_sorted: false },
            DATA => Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: level_encoding(header.level_encodings[0]),
                rep_level_encoding: level_encoding(header.level_encodings[1]),
                statistics: None,
            },
            _ => Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls: header.nulls,
                num_rows: num_values,
                def_levels_byte_len: header.level_bytes[0],
                rep_levels_byte_len: header.level_bytes[1],
                is_compressed: header.compressed,
                statistics: None,
            },
        }))
    }

    // Rows are never skipped: pages without wanted rows are not here.
    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        Err(ParquetError::NYI("pages are not skipped".into()))
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        Err(ParquetError::NYI("pages are not skipped".into()))
    }
}

impl Iterator for Pages {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// What the parquet crate makes of a file. It panics on some that are damaged.
pub(super) fn guarded<T>(work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, ErrorKind> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(corrupt(format!("it is damaged: {e}"))),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(corrupt(format!("it is damaged: {said}")))
        }
    }
}
