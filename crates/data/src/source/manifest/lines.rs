//! The lines of a text file and what a line says of a picture.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde::Deserialize;
use serde_json::Value;

use crate::storage::{Storage, Stream};
use crate::{Error, ErrorKind, Place, Result};

/// The longest line in bytes.
pub(super) const MAX_LINE: u64 = 1 << 20;

/// Names under which the path of a picture is given; the first that is there counts.
const IMAGE_KEYS: [&str; 5] = ["image", "path", "file", "file_name", "filename"];
/// Names under which its class is given; the first that is there counts.
const LABEL_KEYS: [&str; 4] = ["label", "class", "category", "target"];
const SPLIT_KEY: &str = "split";

/// How the lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON object a line.
    Json,
    /// Columns with this byte between them.
    Separated(u8),
}

impl Format {
    /// Told by the extension.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::Json),
            "csv" => Some(Self::Separated(b',')),
            "tsv" => Some(Self::Separated(b'\t')),
            _ => None,
        }
    }
}

/// What a line says. Nothing in it is empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) image: String,
    pub(super) label: String,
    pub(super) split: Option<String>,
}

/// The lines of a file that have something on them, each at most [`MAX_LINE`] bytes.
pub(super) struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<Stream>,
    buffer: Vec<u8>,
    number: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn open(storage: &Storage, path: &'a Path) -> Result<Self> {
        let reader = BufReader::with_capacity(1 << 16, Stream::new(storage.open(path)?));
        Ok(Self { path, reader, buffer: Vec::new(), number: 0 })
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// A failure of the last line.
    pub(super) fn refuse(&self, message: impl Into<String>) -> Error {
        refuse(self.path, self.number, message)
    }

    /// The next line that is not blank, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&str>> {
        loop {
            self.buffer.clear();
            // The end of the line, of one or two bytes, is no part of it.
            let mut line = self.reader.by_ref().take(MAX_LINE + 2);
            let read = line.read_until(b'\n', &mut self.buffer).map_err(|e| Error::at(self.path, e))?;
            if read == 0 {
                return Ok(None);
            }
            let Some(number) = self.number.checked_add(1) else {
                let message = "it has more than 4,294,967,295 lines";
                return Err(Error::at(self.path, ErrorKind::TooLarge(message.into())));
            };
            self.number = number;
            if self.number == 1 && self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.buffer.drain(..3);
            }
            for end in [b'\n', b'\r'] {
                self.buffer.pop_if(|last| *last == end);
            }
            if self.buffer.len() as u64 > MAX_LINE {
                return Err(self.refuse("the line is longer than 1 MiB; is this a list of images?"));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(refuse(self.path, self.number, "the line is not UTF-8 text")),
        }
    }
}

fn refuse(path: &Path, line: u32, message: impl Into<String>) -> Error {
    Error::in_place(Place::line(path, line.into()), ErrorKind::Corrupt(message.into()))
}

/// Makes records of lines.
pub(super) enum Parser {
    Json,
    Table(Box<Table>),
}

impl Parser {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Separated(separator) => Self::Table(Box::new(Table::new(separator))),
        }
    }

    /// What `line` says; nothing if it is a header. A problem is told in words.
    ///
    /// `exists` is asked about the first path of a table that has no header.
    pub(super) fn parse(
        &mut self,
        line: &str,
        exists: impl FnOnce(&str) -> bool,
    ) -> Result<Option<Record>, String> {
        let record = match self {
            Self::Json => Some(parse_json(line)?),
            Self::Table(table) => table.parse(line, exists)?,
        };
        match &record {
            Some(record) if record.image.is_empty() => Err("the path of the image is empty".into()),
            Some(record) if record.label.is_empty() => Err("the label is empty".into()),
            _ => Ok(record),
        }
    }
}

/// A line of JSON. What has other names is passed over, however deep it is nested.
#[derive(Deserialize)]
struct JsonLine {
    image: Option<String>,
    path: Option<String>,
    file: Option<String>,
    file_name: Option<String>,
    filename: Option<String>,
    label: Option<Value>,
    class: Option<Value>,
    category: Option<Value>,
    target: Option<Value>,
    split: Option<String>,
}

fn parse_json(line: &str) -> Result<Record, String> {
    let line: JsonLine = serde_json::from_str(line).map_err(|e| {
        format!("it is no line of JSON as {{\"image\": \"a/b.jpg\", \"label\": \"cat\"}}: {e}")
    })?;
    let images = [line.image, line.path, line.file, line.file_name, line.filename];
    let labels = [line.label, line.class, line.category, line.target];
    let image = images.into_iter().flatten().next();
    let image =
        image.ok_or_else(|| format!("it names no image; its key may be {}", IMAGE_KEYS.join(", ")))?;
    let label = match labels.into_iter().flatten().next() {
        Some(Value::String(name)) => name,
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => number.to_string(),
        Some(_) => return Err("its label is neither a name nor a whole number".into()),
        None => return Err(format!("it has no label; its key may be {}", LABEL_KEYS.join(", "))),
    };
    Ok(trimmed(&image, &label, line.split.as_deref()))
}

fn trimmed(image: &str, label: &str, split: Option<&str>) -> Record {
    let split = split.map(|split| split.trim().to_owned());
    Record { image: image.trim().to_owned(), label: label.trim().to_owned(), split }
}

/// The columns of a table, and the state of reading its lines.
pub(super) struct Table {
    separator: u8,
    reader: Reader,
    /// The line with an end.
    line: Vec<u8>,
    /// Its fields without quotes, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    columns: Option<Columns>,
}

#[derive(Clone, Copy)]
struct Columns {
    count: usize,
    image: usize,
    label: usize,
    split: Option<usize>,
}

impl Table {
    fn new(separator: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(separator).build();
        let (line, text, ends) = (Vec::new(), Vec::new(), Vec::new());
        Self { separator, reader, line, text, ends, columns: None }
    }

    fn parse(&mut self, line: &str, exists: impl FnOnce(&str) -> bool) -> Result<Option<Record>, String> {
        let known = self.columns;
        let separator = if self.separator == b'\t' { "tabs" } else { "commas" };
        let fields = self.fields(line)?;
        let columns = match known {
            Some(columns) => columns,
            None => match header(&fields) {
                Some(columns) => {
                    self.columns = Some(columns);
                    return Ok(None);
                }
                None if fields.len() == 2 && exists(fields[0].trim()) => {
                    Columns { count: 2, image: 0, label: 1, split: None }
                }
                None => {
                    return Err(format!(
                        "it should be a header that names the columns, as image,label or path,label,split, separated by {separator} \
                         (for the image: {}; for the class: {}), or a path of an image that is there and its label",
                        IMAGE_KEYS.join(", "),
                        LABEL_KEYS.join(", ")
                    ));
                }
            },
        };
        if fields.len() != columns.count {
            let (have, want) = (fields.len(), columns.count);
            return Err(format!(
                "it has {have} columns, but the first line has {want}; quote a field that has a separator in it"
            ));
        }
        let split = columns.split.map(|split| fields[split]).filter(|split| !split.is_empty());
        let record = trimmed(fields[columns.image], fields[columns.label], split);
        self.columns = Some(columns);
        Ok(Some(record))
    }

    /// The fields of one line, without quotes.
    fn fields(&mut self, line: &str) -> Result<Vec<&str>, String> {
        self.line.clear();
        self.line.extend(line.as_bytes());
        self.line.push(b'\n');
        let separators = line.bytes().filter(|&byte| byte == self.separator).count();
        self.ends.resize(separators + 2, 0);
        self.text.resize(self.line.len(), 0);
        self.reader.reset();
        match self.reader.read_record(&self.line, &mut self.text, &mut self.ends) {
            (ReadRecordResult::Record, read, _, count) if read == self.line.len() => {
                let ends = self.ends.get(..count).unwrap_or_default();
                let starts = std::iter::once(&0).chain(ends);
                let field =
                    |(start, end): (&usize, &usize)| std::str::from_utf8(self.text.get(*start..*end)?).ok();
                let fields: Option<Vec<&str>> = starts.zip(ends).map(field).collect();
                fields.ok_or_else(|| "its quotes are damaged".into())
            }
            (ReadRecordResult::InputEmpty, ..) => {
                Err("a quote is opened and not closed in the same line".into())
            }
            _ => Err("there is a carriage return in the middle of the line".into()),
        }
    }
}

/// The columns that a header names.
fn header(fields: &[&str]) -> Option<Columns> {
    let column = |name: &&str| fields.iter().position(|field| field.trim().eq_ignore_ascii_case(name));
    let image = IMAGE_KEYS.iter().find_map(column)?;
    let label = LABEL_KEYS.iter().find_map(column)?;
    Some(Columns { count: fields.len(), image, label, split: column(&SPLIT_KEY) })
}

#[cfg(test)]
mod tests;
