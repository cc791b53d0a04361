//! Compressed pages become plain ones, never of more bytes than they were said to have.

use std::io::Read;

use parquet::basic::Compression;

use crate::ErrorKind;

/// How the pages of a column are compressed; those that pure Rust reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Lz4,
    Zstd,
}

impl Codec {
    /// # Errors
    ///
    /// When it is one that is not read.
    pub(super) fn of(compression: Compression) -> Result<Self, ErrorKind> {
        match compression {
            Compression::UNCOMPRESSED => Ok(Self::None),
            Compression::SNAPPY => Ok(Self::Snappy),
            Compression::GZIP(_) => Ok(Self::Gzip),
            Compression::LZ4_RAW => Ok(Self::Lz4),
            Compression::ZSTD(_) => Ok(Self::Zstd),
            other => Err(ErrorKind::NotADataSet(format!(
                "it is compressed with {other}, which is not read; write it with Snappy, Zstandard, gzip or LZ4_RAW, or without \
                 compression (in Python: pyarrow.parquet.write_table(…, compression=\"snappy\"))"
            ))),
        }
    }

    /// The `len` bytes that `bytes` were before they were compressed.
    pub(super) fn decompress(self, bytes: &[u8], len: usize) -> Result<Vec<u8>, String> {
        let plain = match self {
            Self::None => bytes.to_vec(),
            Self::Snappy => {
                let mut plain = vec![0; len];
                let read = snap::raw::Decoder::new().decompress(bytes, &mut plain);
                plain.truncate(read.map_err(|e| e.to_string())?);
                plain
            }
            Self::Lz4 => lz4_flex::block::decompress(bytes, len).map_err(|e| e.to_string())?,
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), len)?,
            Self::Zstd => {
                read(ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|e| e.to_string())?, len)?
            }
        };
        if plain.len() == len {
            return Ok(plain);
        }
        Err(format!("a page has {} bytes where {len} were written", plain.len()))
    }
}

/// At most one byte more than `len`.
fn read(decoder: impl Read, len: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(len + 1);
    decoder.take(len as u64 + 1).read_to_end(&mut plain).map_err(|e| e.to_string())?;
    Ok(plain)
}
