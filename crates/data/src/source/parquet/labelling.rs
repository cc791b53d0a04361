//! The labels of a file.

use std::collections::HashMap;

use parquet::basic::Type;
use parquet::data_type::{ByteArrayType, Int32Type, Int64Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::classes::Classes;
use super::codec::Codec;
use super::columns::Columns;
use super::file::Window;
use super::pages::{Pages, corrupt};
use super::pieces::{MAX_PIECE, check_size, chunk};
use crate::ErrorKind;
use crate::shard::{Class, MAX_CLASSES};

/// The pages of the labels of a row group.
pub(super) fn label_pages(
    file: &Window,
    column: &ColumnChunkMetaData,
    rows: usize,
) -> Result<(Pages, ColumnDescPtr), ErrorKind> {
    let codec = Codec::of(column.compression())?;
    let (start, len) = chunk(file, column)?;
    check_size(len, 0, 0)?;
    let pages = Pages::find(&file.get(start, len)?, codec, column.column_type(), rows, MAX_PIECE)?;
    Ok((pages, column.column_descr_ptr()))
}

/// The labels of a file while they are read.
pub(super) struct Labelling<'a> {
    columns: &'a Columns,
    labels: Vec<u32>,
    names: Vec<String>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl<'a> Labelling<'a> {
    pub(super) fn new(columns: &'a Columns) -> Self {
        Self { columns, labels: Vec::new(), names: Vec::new(), numbers: HashMap::new() }
    }

    /// The labels of the next rows. A failure says at which row, where it is known.
    pub(super) fn read(
        &mut self,
        (pages, column): (Pages, ColumnDescPtr),
    ) -> Result<(), (Option<u64>, ErrorKind)> {
        let mut wrong = None;
        let mut note = |label: Result<u32, ErrorKind>| {
            // The place comes with it, which the reader of pages does not know.
            self.labels.push(*label.as_ref().unwrap_or(&0));
            label.map(drop).map_err(|kind| {
                wrong = Some((Some(self.labels.len() as u64 - 1), kind));
                corrupt("a label is wrong")
            })
        };
        let null =
            || corrupt(format!("the column {} is null: a picture without a label", self.columns.label_name));
        let known = self.columns.class_names.as_ref().map(Vec::len);
        let number = |value: i64| {
            let most = known.unwrap_or(MAX_CLASSES as usize);
            match u32::try_from(value) {
                Ok(label) if (label as usize) < most => Ok(label),
                _ if value == -1 => Err(ErrorKind::Unlabelled),
                _ if known.is_some() => {
                    Err(corrupt(format!("label {value} is out of range, there are {most} classes")))
                }
                _ => Err(corrupt(format!("label {value} is out of range, 0 to {}", most - 1))),
            }
        };
        let (names, numbers) = (&mut self.names, &mut self.numbers);
        let mut name = |value: &[u8]| -> Result<u32, ErrorKind> {
            if let Some(label) = numbers.get(value) {
                return Ok(*label);
            }
            let text = std::str::from_utf8(value).map_err(|_| corrupt("a class that is not Unicode"))?;
            Class::from_name(text).map_err(corrupt)?;
            let label = names.len() as u32;
            if label == MAX_CLASSES {
                return Err(ErrorKind::Classes(
                    "there are more than a million different labels; is it the right column?".into(),
                ));
            }
            names.push(text.into());
            numbers.insert(value.into(), label);
            Ok(label)
        };
        let read = match column.physical_type() {
            Type::INT32 => pages.each::<Int32Type>(column, |value| {
                note(value.ok_or_else(null).and_then(|value| number(value.into())))
            }),
            Type::INT64 => {
                pages.each::<Int64Type>(column, |value| note(value.ok_or_else(null).and_then(number)))
            }
            _ => pages.each::<ByteArrayType>(column, |value| {
                note(value.ok_or_else(null).and_then(|value| name(value.data())))
            }),
        };
        match (read, wrong) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(wrong)) => Err(wrong),
            (Err(kind), None) => Err((None, kind)),
        }
    }

    pub(super) fn finish(self) -> (Vec<u32>, Classes) {
        let classes = match &self.columns.class_names {
            Some(names) if !self.columns.named => Classes::Declared(names.clone()),
            _ if self.columns.named => Classes::Texts(self.names),
            _ => Classes::Numbers(self.labels.iter().copied().max().unwrap_or(0)),
        };
        (self.labels, classes)
    }
}
