//! Writing a shard and its index.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::atomic::AtomicFile;
use super::index_file::{Fingerprint, Index};
use super::record::{Head, Record};
use super::tar::BLOCK;
use crate::storage::PositionedFile;
use crate::{Error, ErrorKind, Limits, Result};

/// The longest key: with an extension it fits the name field of a ustar header, so that no extended header is ever needed.
pub(crate) const MAX_KEY: usize = 92;

/// A shard that is being written. It appears with its index when it is finished, or not at all.
///
/// The same samples always give the same bytes: owner, group and time of every entry are 0.
pub(crate) struct ShardWriter {
    target: PathBuf,
    out: BufWriter<AtomicFile>,
    at: u64,
    index: Index,
}

/// A picture as it will lie in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Its key, without dots and folders, at most [`MAX_KEY`] letters of ASCII.
    pub(crate) key: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Head,
    pub(crate) crc: u32,
    pub(crate) label: u32,
}

impl ShardWriter {
    /// Begins the shard `target`, whose labels are places in `class_names`.
    pub(crate) fn create(target: &Path, class_names: &[String]) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 20, AtomicFile::create(target)?);
        let index = Index { class_names: class_names.to_vec(), ..Index::default() };
        Ok(Self { target: target.to_owned(), out, at: 0, index })
    }

    /// Adds a picture and its class.
    pub(crate) fn add(&mut self, sample: &Packed) -> Result<()> {
        let Packed { key, bytes, head, crc, label } = sample;
        let name = format!("{key}.{}", head.codec.extension(head.channels));
        if bytes.len() as u64 > Limits::default().max_file_bytes {
            let message = format!("{name} has {} bytes; an entry may have 256 MiB", bytes.len());
            return Err(Error::at(&self.target, ErrorKind::TooLarge(message)));
        }
        let record = Record {
            offset: self.at + BLOCK,
            len: bytes.len() as u32,
            crc: *crc,
            width: head.width,
            height: head.height,
            codec: head.codec,
            channels: head.channels,
            orientation: head.orientation,
            label: *label,
            name_hash: 0,
            name: (0, 0),
        };
        let pushed = self.index.push(&name, record);
        pushed.map_err(|what| Error::at(&self.target, ErrorKind::TooLarge(what.into())))?;
        self.entry(&name, bytes)?;
        self.entry(&format!("{key}.cls"), label.to_string().as_bytes())
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.at
    }

    /// Ends the archive and brings first the index and then the shard to its place; the length of the shard.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let written = self.out.write_all(&[0; 2 * BLOCK as usize]).and_then(|()| self.out.flush());
        let (tar, _) = self.out.into_parts();
        written.map_err(|e| tar.failed(e))?;
        let copy = tar.file().try_clone().map_err(|e| tar.failed(e))?;
        let fingerprint = Fingerprint::of(&PositionedFile::new(copy)).map_err(|e| tar.failed(e))?;
        // An index without its shard does no harm; a shard without its index would not be opened.
        self.index.write(&self.target, &fingerprint)?;
        tar.commit()?;
        Ok(fingerprint.len)
    }

    fn entry(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let padding = bytes.len().next_multiple_of(BLOCK as usize) - bytes.len();
        let header = header(name, bytes.len() as u64);
        let mut write = || -> io::Result<()> {
            self.out.write_all(&header)?;
            self.out.write_all(bytes)?;
            self.out.write_all(&[0; BLOCK as usize][..padding])
        };
        write().map_err(|e| self.out.get_ref().failed(e))?;
        self.at += BLOCK + (bytes.len() + padding) as u64;
        Ok(())
    }
}

/// The ustar header of a file called `name`, at most 100 bytes long, with `size` bytes.
fn header(name: &str, size: u64) -> [u8; BLOCK as usize] {
    let mut header = [0; BLOCK as usize];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
