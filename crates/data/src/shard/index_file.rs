//! The file beside a shard that says where its samples lie.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::atomic::AtomicFile;
use super::class::{MAX_CLASS_NAME, MAX_CLASSES};
use super::record::{Record, fnv1a};
use super::tar::{BLOCK, MAX_NAME};
use crate::storage::{PositionedFile, Storage};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"tarindex";
const VERSION: u32 = 1;
/// Bytes of the header.
const HEADER: usize = 64;
/// Set where labels are class numbers rather than places in the list of class names.
const NUMBERED: u32 = 1;
/// Set where something of the shard was left out because it is damaged.
const PARTIAL: u32 = 2;
/// Records read at once.
const PIECE: usize = 1 << 14;
/// The longest list of class names in bytes.
const MAX_CLASS_BYTES: u32 = 256 << 20;
/// Bytes at each end of a shard that its fingerprint covers.
const ENDS: u64 = 16 << 10;

/// What tells a shard from another one under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Bytes of the shard.
    pub(crate) len: u64,
    /// CRC-32C of its first and last 16 KiB.
    head: u32,
    tail: u32,
}

impl Fingerprint {
    pub(crate) fn of(file: &PositionedFile) -> std::io::Result<Self> {
        let len = file.len()?;
        let mut bytes = vec![0; ENDS.min(len) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let head = crc32c::crc32c(&bytes);
        let ends = bytes.len() as u64;
        file.read_exact_at(&mut bytes, len - ends)?;
        Ok(Self { len, head, tail: crc32c::crc32c(&bytes) })
    }
}

/// The index of the shard at `shard`.
pub(crate) fn index_path(shard: &Path) -> PathBuf {
    let mut path = shard.as_os_str().to_owned();
    path.push(".idx");
    path.into()
}

/// What an index holds, before it is written.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) records: Vec<Record>,
    /// The names of the pictures, one after the other.
    pub(crate) names: Vec<u8>,
    /// Empty where labels are class numbers.
    pub(crate) class_names: Vec<String>,
    /// Whether something of the shard was left out because it is damaged.
    pub(crate) partial: bool,
}

impl Index {
    /// Adds a sample whose picture is the entry `name`; what the record says about its name is filled in.
    pub(crate) fn push(&mut self, name: &str, mut record: Record) -> Result<(), &'static str> {
        let too_many = "more than 4 GiB of names in one shard; make smaller ones";
        let begin = u32::try_from(self.names.len()).map_err(|_| too_many)?;
        record.name = (begin, u16::try_from(name.len()).map_err(|_| "a name of more than 1,024 bytes")?);
        record.name_hash = fnv1a(name.as_bytes());
        self.names.extend(name.as_bytes());
        self.records.push(record);
        Ok(())
    }

    /// Writes the index of the shard at `shard`, which is told again by `tar`.
    pub(crate) fn write(&self, shard: &Path, tar: &Fingerprint) -> Result<()> {
        let mut classes = Vec::new();
        for name in &self.class_names {
            classes.extend((name.len() as u16).to_le_bytes());
            classes.extend(name.as_bytes());
        }
        let records =
            self.records.iter().fold(0, |crc, record| crc32c::crc32c_append(crc, &record.to_bytes()));
        let numbered = self.class_names.is_empty();
        let header = Header {
            numbered,
            partial: self.partial,
            samples: self.records.len() as u64,
            tar: *tar,
            class_count: self.class_names.len() as u32,
            class_bytes: classes.len() as u32,
            name_bytes: self.names.len() as u64,
            body: crc32c::crc32c_append(records, &classes),
        };
        refuse_foreign(&index_path(shard))?;
        let file = AtomicFile::create(&index_path(shard))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut write = || {
            out.write_all(&header.to_bytes())?;
            self.records.iter().try_for_each(|record| out.write_all(&record.to_bytes()))?;
            out.write_all(&classes)?;
            out.write_all(&self.names)?;
            out.flush()
        };
        let written = write();
        let (file, _) = out.into_parts();
        written.map_err(|e| file.failed(e))?;
        file.commit()
    }
}

/// The first bytes of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    numbered: bool,
    partial: bool,
    samples: u64,
    tar: Fingerprint,
    class_count: u32,
    class_bytes: u32,
    name_bytes: u64,
    /// CRC-32C of records and class names.
    body: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let flags = if self.numbered { NUMBERED } else { 0 } | if self.partial { PARTIAL } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.samples.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.tar.len.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.name_bytes.to_le_bytes());
        let words = [self.tar.head, self.tar.tail, self.class_count, self.class_bytes, self.body];
        for (place, word) in bytes[40..60].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER]) -> Result<Self, &'static str> {
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if !bytes.starts_with(MAGIC) {
            return Err("this is no index of a shard");
        }
        if word(8) != VERSION {
            return Err("this index has a version that this program does not know");
        }
        if word(60) != crc32c::crc32c(&bytes[..60]) {
            return Err("this index is damaged");
        }
        Ok(Self {
            numbered: word(12) & NUMBERED != 0,
            partial: word(12) & PARTIAL != 0,
            samples: long(16),
            tar: Fingerprint { len: long(24), head: word(40), tail: word(44) },
            name_bytes: long(32),
            class_count: word(48),
            class_bytes: word(52),
            body: word(56),
        })
    }

    /// The length of the whole index.
    fn total(&self) -> Option<u64> {
        let records = self.samples.checked_mul(Record::BYTES as u64)?;
        records.checked_add(HEADER as u64 + u64::from(self.class_bytes))?.checked_add(self.name_bytes)
    }
}

/// An index that is read.
#[derive(Debug)]
pub(crate) struct IndexFile {
    path: PathBuf,
    file: PositionedFile,
    header: Header,
}

/// The classes of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Classes {
    /// Labels are class numbers, the largest being this one.
    Numbered(u32),
    /// Labels are places in this list.
    Named(Vec<String>),
}

impl IndexFile {
    /// Opens the index of the shard at `shard` of `storage`.
    pub(crate) fn open(storage: &Storage, shard: &Path) -> Result<Self> {
        let path = index_path(shard);
        let file = storage.open(&path).map_err(|e| match e.kind() {
            ErrorKind::Missing => {
                let message =
                    "this shard has no index; make one with `pyrograph index` and the path of its folder";
                Error::at(shard, ErrorKind::NotADataSet(message.into()))
            }
            _ => e,
        })?;
        let len = file.len().map_err(|e| Error::at(&path, e))?;
        let mut bytes = [0; HEADER];
        let header = if len < HEADER as u64 {
            Err("this index is cut short")
        } else {
            file.read_exact_at(&mut bytes, 0).map_err(|e| Error::at(&path, e))?;
            Header::from_bytes(&bytes)
        };
        // Whatever is read later lies within the file, and nothing larger than the file is ever allocated.
        let header = header.and_then(|header| match header.total() {
            Some(total) if total == len && header.class_bytes <= MAX_CLASS_BYTES => Ok(header),
            _ => Err("this index is cut short or damaged"),
        });
        Ok(Self { header: header.map_err(|what| damaged(&path, what))?, path, file })
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> u64 {
        self.header.samples
    }

    /// Whether something of the shard was left out because it is damaged.
    pub(crate) fn partial(&self) -> bool {
        self.header.partial
    }

    /// Whether the shard `tar` at `shard` is the one that this index was made from.
    pub(crate) fn check(&self, shard: &Path, tar: &PositionedFile) -> Result<()> {
        let known = &self.header.tar;
        let found = match tar.is_far() {
            // Where each read costs a request, the length must do: every picture has a checksum of its own.
            true => tar.len().map(|len| Fingerprint { len, ..*known }),
            false => Fingerprint::of(tar),
        };
        let found = found.map_err(|e| Error::at(shard, e))?;
        if found == *known {
            return Ok(());
        }
        let message = if found.len == self.header.tar.len {
            "this shard is not the one that its index was made from; run `pyrograph index` again".to_owned()
        } else {
            format!(
                "this shard has {} bytes, but its index was made from one with {}; if it was copied, copy it again, else run \
                 `pyrograph index` again",
                found.len, self.header.tar.len
            )
        };
        Err(Error::at(shard, ErrorKind::Corrupt(message)))
    }

    /// Hands every record to `each`, in order, and gives the classes. Where it fails, what was handed out is not to be used.
    pub(crate) fn load(&self, each: &mut dyn FnMut(&Record)) -> Result<Classes> {
        let at = |e| Error::at(&self.path, e);
        let (mut crc, mut largest) = (0, 0);
        let mut piece = vec![0; PIECE.min(self.header.samples as usize) * Record::BYTES];
        let mut offset = HEADER as u64;
        let mut left = self.header.samples;
        while left > 0 {
            let records = left.min(PIECE as u64);
            let bytes = &mut piece[..records as usize * Record::BYTES];
            self.file.read_exact_at(bytes, offset).map_err(at)?;
            crc = crc32c::crc32c_append(crc, bytes);
            for bytes in bytes.as_chunks().0 {
                let record = self.parse(bytes)?;
                largest = record.label.max(largest);
                each(&record);
            }
            offset += bytes.len() as u64;
            left -= records;
        }
        let mut classes = vec![0; self.header.class_bytes as usize];
        self.file.read_exact_at(&mut classes, offset).map_err(at)?;
        if crc32c::crc32c_append(crc, &classes) != self.header.body {
            return Err(damaged(&self.path, "this index is damaged"));
        }
        if self.header.numbered {
            return Ok(Classes::Numbered(largest));
        }
        let names = parse_names(&classes, self.header.class_count);
        let names =
            names.ok_or_else(|| damaged(&self.path, "the class names of this index cannot be read"))?;
        if largest as usize >= names.len() && self.header.samples > 0 {
            return Err(damaged(&self.path, "this index has a label without a class"));
        }
        Ok(Classes::Named(names))
    }

    /// Record `number`.
    pub(crate) fn record(&self, number: u64) -> Result<Record> {
        let mut bytes = [0; Record::BYTES];
        if number >= self.header.samples {
            return Err(damaged(&self.path, "this index has fewer samples than before"));
        }
        let offset = HEADER as u64 + number * Record::BYTES as u64;
        self.file.read_exact_at(&mut bytes, offset).map_err(|e| Error::at(&self.path, e))?;
        self.parse(&bytes)
    }

    /// The name of the picture of `record`.
    pub(crate) fn name(&self, record: &Record) -> Result<String> {
        let Header { samples, class_bytes, name_bytes, .. } = self.header;
        let (begin, len) = (u64::from(record.name.0), usize::from(record.name.1));
        if begin + len as u64 > name_bytes || len > MAX_NAME {
            return Err(damaged(&self.path, "this index is damaged"));
        }
        let names = HEADER as u64 + samples * Record::BYTES as u64 + u64::from(class_bytes);
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, names + begin).map_err(|e| Error::at(&self.path, e))?;
        let sound = fnv1a(&bytes) == record.name_hash;
        let name = String::from_utf8(bytes).ok().filter(|_| sound);
        name.ok_or_else(|| damaged(&self.path, "the names in this index are damaged"))
    }

    fn parse(&self, bytes: &[u8; Record::BYTES]) -> Result<Record> {
        let inside = |record: &Record| {
            let end = record.offset.checked_add(u64::from(record.len));
            end.is_some_and(|end| end <= self.header.tar.len)
                && record.offset.is_multiple_of(BLOCK)
                && record.label < MAX_CLASSES
        };
        Record::from_bytes(bytes)
            .filter(inside)
            .ok_or_else(|| damaged(&self.path, "this index has a record that leads out of its shard"))
    }
}

fn parse_names(mut bytes: &[u8], count: u32) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes(*len));
        let name = std::str::from_utf8(rest.get(..len)?).ok()?;
        names.push((len <= MAX_CLASS_NAME).then_some(name)?.to_owned());
        bytes = &rest[len..];
    }
    (bytes.is_empty() && names.len() == count as usize && count <= MAX_CLASSES).then_some(names)
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::at(path, ErrorKind::Corrupt(format!("{what}; run `pyrograph index` again")))
}
/// A file of this name that is no index belongs to somebody.
fn refuse_foreign(path: &Path) -> Result<()> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    let read = || -> std::io::Result<[u8; MAGIC.len()]> {
        let mut head = [0; MAGIC.len()];
        std::io::Read::read_exact(&mut std::fs::File::open(path)?, &mut head)?;
        Ok(head)
    };
    // Shorter than the head: an index that was cut, or nothing.
    if found.is_file() && (found.len() < MAGIC.len() as u64 || read().is_ok_and(|head| head == *MAGIC)) {
        return Ok(());
    }
    let message = "this is no index of ours, and is not written over; move it or remove it";
    Err(Error::at(path, ErrorKind::Setting(message.into())))
}
