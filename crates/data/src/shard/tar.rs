//! Reading tar archives: ustar, with PAX and GNU headers.
//!
//! An index needs to know where an entry's bytes begin, has to stop at the same byte whatever is done to an archive, and must
//! not believe one that contradicts itself; nothing is ever unpacked. IEEE Std 1003.1, "pax interchange format", and the GNU
//! tar manual describe the headers.

use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Place, Result};

/// Headers and contents begin at multiples of this.
pub(crate) const BLOCK: u64 = 512;
/// The longest name of an entry in bytes.
pub(crate) const MAX_NAME: usize = 1024;
/// The largest extended header in bytes.
const MAX_EXTENDED: u64 = 64 << 10;
/// A ustar header can say that an entry is smaller than this: a second word on it must be the same.
const USTAR_SIZES: u64 = 8 << 30;

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, with `/` between folders; of a refused one, what can be shown of it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Where its first header begins.
    pub(crate) header: u64,
    /// Where its contents begin.
    pub(crate) data: u64,
    /// Bytes of its contents.
    pub(crate) size: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Something that is never read: a link, a device, a name that leads out of the archive. Says why.
    Refused(&'static str),
}

/// The entries of an archive, from its beginning.
pub(crate) struct Entries<R> {
    input: BufReader<R>,
    path: PathBuf,
    /// The length of the archive.
    len: u64,
    /// Where the input stands.
    at: u64,
    /// Where the next header begins.
    next: u64,
}

/// What extended headers say about the entry they stand before.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    long_name: Option<Vec<u8>>,
    has_pax: bool,
}

impl<R: Read + Seek> Entries<R> {
    /// The archive `input`, `len` bytes long, called `path` in messages.
    pub(crate) fn new(input: R, path: &Path, len: u64) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), path: path.to_owned(), len, at: 0, next: 0 }
    }

    /// The next entry, or nothing at the mark that ends an archive.
    ///
    /// After an error there is no telling where the next entry would begin.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let first = self.next;
        let mut extended = Extended::default();
        loop {
            let header = self.next;
            if self.len.saturating_sub(header) < BLOCK {
                let what = "the archive is cut short: it ends here without the mark of its end";
                return Err(self.corrupt("", header.min(self.len), what));
            }
            let mut block = [0; BLOCK as usize];
            self.read_at(header, &mut block)?;
            if block.iter().all(|&byte| byte == 0) {
                return if header == first {
                    self.expect_nothing_more().map(|()| None)
                } else {
                    Err(self.corrupt("", header, "an extended header without an entry"))
                };
            }
            let block = Header(&block);
            block.check().map_err(|what| self.corrupt("", header, what))?;
            let size = block.size().map_err(|what| self.corrupt("", header, what))?;
            let data = header + BLOCK;
            match block.kind() {
                kind @ (b'x' | b'g' | b'L' | b'K') => self.extend(&mut extended, kind, header, size)?,
                kind => {
                    let entry = extended.entry(&block, kind, first, data, size);
                    let entry = entry.map_err(|what| self.corrupt("", header, what))?;
                    let end =
                        data.checked_add(entry.size).filter(|&end| end <= self.len).ok_or_else(|| {
                            let what = format!(
                                "the archive is cut short: {} bytes of this entry are missing",
                                (data.saturating_add(entry.size)) - self.len
                            );
                            self.corrupt(&entry.name, first, &what)
                        })?;
                    self.next = end.next_multiple_of(BLOCK);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The contents of `entry`, which came last and has at most `limit` bytes.
    pub(crate) fn read(&mut self, entry: &Entry, limit: u64, buffer: &mut Vec<u8>) -> Result<()> {
        if entry.size > limit {
            let message =
                format!("{} bytes, more than the {} MiB that an entry may have", entry.size, limit >> 20);
            return Err(Error::in_place(self.place(&entry.name, entry.header), ErrorKind::TooLarge(message)));
        }
        buffer.resize(entry.size as usize, 0);
        self.read_at(entry.data, buffer)
    }

    /// A contradiction in `entry`, located.
    pub(crate) fn place(&self, name: &str, offset: u64) -> Place {
        match name {
            "" => Place { offset: Some(offset), ..Place::path(&self.path) },
            name => Place::entry(&self.path, name, offset),
        }
    }

    fn corrupt(&self, name: &str, offset: u64, what: &str) -> Error {
        Error::in_place(self.place(name, offset), ErrorKind::Corrupt(what.into()))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        // Both lie within a file: their difference fits.
        let step = offset as i64 - self.at as i64;
        let read = self.input.seek_relative(step).and_then(|()| self.input.read_exact(buffer));
        read.map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                self.corrupt("", offset, "the archive became shorter while it was read")
            }
            _ => Error::in_place(self.place("", offset), e),
        })?;
        self.at = offset + buffer.len() as u64;
        Ok(())
    }

    /// Reads the extended header of `size` bytes that `header` announces.
    fn extend(&mut self, extended: &mut Extended, kind: u8, header: u64, size: u64) -> Result<()> {
        let data = header + BLOCK;
        if data.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(self.corrupt("", header, "the archive is cut short in an extended header"));
        }
        self.next = (data + size).next_multiple_of(BLOCK);
        if kind == b'L' && size > MAX_NAME as u64 + 1 && extended.long_name.is_none() {
            // The name is not read; that it is too long is all that matters.
            extended.long_name = Some(vec![b'x'; MAX_NAME + 1]);
            return Ok(());
        }
        if size > MAX_EXTENDED {
            return Err(self.corrupt("", header, "an extended header of more than 64 KiB"));
        }
        let mut bytes = vec![0; size as usize];
        self.read_at(data, &mut bytes)?;
        let taken = match kind {
            b'L' => extended.add_long_name(bytes),
            b'K' => Ok(()),
            b'g' => refuse_global(&bytes),
            _ => extended.add_pax(&bytes),
        };
        taken.map_err(|what| self.corrupt("", header, what))
    }

    /// What follows the end mark must be nothing: archives that were put together with `cat` would lose all but the first.
    fn expect_nothing_more(&mut self) -> Result<()> {
        let mut block = vec![0; 64 << 10];
        let mut offset = self.next;
        while offset < self.len {
            let piece = block.len().min((self.len - offset) as usize);
            self.read_at(offset, &mut block[..piece])?;
            if let Some(found) = block[..piece].iter().position(|&byte| byte != 0) {
                let what = "there is more behind the mark of the archive's end; were archives put together with cat? \
                            (tar --concatenate does it right)";
                return Err(self.corrupt("", offset + found as u64, what));
            }
            offset += piece as u64;
        }
        Ok(())
    }
}

impl Extended {
    fn add_long_name(&mut self, mut bytes: Vec<u8>) -> Result<(), &'static str> {
        if self.long_name.is_some() {
            return Err("two long names for one entry");
        }
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            bytes.truncate(end);
        }
        self.long_name = Some(bytes);
        Ok(())
    }

    fn add_pax(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if std::mem::replace(&mut self.has_pax, true) {
            return Err("two extended headers for one entry");
        }
        for record in pax_records(bytes) {
            let (key, value) = record?;
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"size" => {
                    let text = std::str::from_utf8(value)
                        .ok()
                        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                    self.size =
                        Some(text.and_then(|text| text.parse().ok()).ok_or("a size that is no number")?);
                }
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// The entry of a header, as these words before it change it.
    fn entry(
        &mut self,
        block: &Header<'_>,
        kind: u8,
        header: u64,
        data: u64,
        ustar_size: u64,
    ) -> Result<Entry, &'static str> {
        let size = match self.size {
            // Readers that believe the other one would see other entries.
            Some(size) if size != ustar_size && size < USTAR_SIZES => {
                return Err("two sizes that contradict each other");
            }
            Some(size) => size,
            None => ustar_size,
        };
        if matches!(kind, b'1'..=b'6') && size != 0 {
            return Err("a link, device or folder that claims contents");
        }
        let name = self.path.take().or(self.long_name.take()).unwrap_or_else(|| block.name());
        let (name, problem) = match clean_name(&name) {
            Ok(name) => (name, None),
            Err(problem) => {
                let shown =
                    String::from_utf8_lossy(&name[..name.len().min(100)]).escape_default().to_string();
                (shown, Some(problem))
            }
        };
        let kind = match (kind, problem) {
            (_, Some(problem)) => Kind::Refused(problem),
            _ if self.sparse => Kind::Refused("a sparse file"),
            (b'1' | b'2', _) => Kind::Refused("a link"),
            (b'3' | b'4' | b'6', _) => Kind::Refused("a device"),
            (b'5', _) => Kind::Folder,
            (b'0' | 0 | b'7', _) if name.ends_with('/') => Kind::Folder,
            (b'0' | 0 | b'7', _) => Kind::File,
            (b'S', _) => Kind::Refused("a sparse file"),
            _ => Kind::Refused("an entry of an unknown kind"),
        };
        // The map of an old sparse file may go on in blocks of its own, which no size counts.
        if block.kind() == b'S' && block.sparse_goes_on() {
            return Err("a sparse file whose map goes on");
        }
        Ok(Entry { name, kind, header, data, size })
    }
}

/// A header block.
struct Header<'a>(&'a [u8; BLOCK as usize]);

impl Header<'_> {
    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn size(&self) -> Result<u64, &'static str> {
        number(&self.0[124..136]).ok_or("a size that is no number")
    }

    fn sparse_goes_on(&self) -> bool {
        self.0[482] != 0
    }

    fn check(&self) -> Result<(), &'static str> {
        let without = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
        let bytes = || self.0.iter().enumerate().map(|(at, &byte)| without(at, byte));
        let unsigned: u64 = bytes().map(u64::from).sum();
        // Some old programs added up signed bytes.
        let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
        match number(&self.0[148..156]) {
            Some(sum) if sum == unsigned || i64::try_from(sum) == Ok(signed) => Ok(()),
            _ => Err("this is no tar header (its checksum is wrong)"),
        }
    }

    fn name(&self) -> Vec<u8> {
        let until_nul = |field: &[u8]| field.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        let name = until_nul(&self.0[..100]);
        // Only POSIX headers have a prefix; GNU's keep times at its place.
        let prefix = until_nul(&self.0[345..500]);
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name;
        }
        [&prefix[..], b"/", &name].concat()
    }
}

/// An octal number, or a positive one of base 256.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The bit below the mark is the sign.
        let start = (first & 0x40 == 0).then_some(u64::from(first & 0x3F))?;
        return rest
            .iter()
            .try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(u64::from(byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() {
        return Some(0);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(text, 8).ok())?
}

/// A global header may say nothing that would change where entries lie or what they are called.
fn refuse_global(bytes: &[u8]) -> Result<(), &'static str> {
    let mut global = Extended::default();
    global.add_pax(bytes)?;
    if global.path.is_some() || global.size.is_some() || global.sparse {
        return Err("a global header that renames or resizes every entry");
    }
    Ok(())
}

/// `LENGTH KEY=VALUE\n`, one after the other.
fn pax_records(mut bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), &'static str>> {
    const WRONG: &str = "an extended header that cannot be read";
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = (|| {
            let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            bytes = &bytes[length..];
            Some((&record[..equals], &record[equals + 1..]))
        })();
        if record.is_none() {
            bytes = &[];
        }
        Some(record.ok_or(WRONG))
    })
}

/// The name as text, without `./` before it, or what is wrong with it.
fn clean_name(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.len() > MAX_NAME {
        return Err("a name of more than 1,024 bytes");
    }
    let mut name = std::str::from_utf8(bytes).map_err(|_| "a name that is not Unicode")?;
    if name.chars().any(char::is_control) {
        return Err("a name with control characters");
    }
    if name.starts_with('/') {
        return Err("an absolute name");
    }
    if name.split('/').any(|part| part == "..") {
        return Err("a name that leads out of the archive");
    }
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    if name.is_empty() && bytes.is_empty() { Err("an entry without a name") } else { Ok(name.into()) }
}
