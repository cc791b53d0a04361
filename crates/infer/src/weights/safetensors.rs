//! Safetensors files, a tensor at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use pyrograph_model::is_counter;
use safetensors::tensor::{Dtype, Metadata};

use super::unwrap;
use crate::{Error, Result};

/// The longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// An open file whose header was checked: every tensor lies within the file and none over another.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the first tensor begins.
    start: u64,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if size < 8 {
            return Err(damaged(format!("it has {size} bytes, which is too few for a header")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > size - 8 {
            return Err(damaged(format!("its header claims {length} bytes; the file has {size}")));
        }
        if length > MAX_HEADER {
            return Err(damaged(format!("its header has {length} bytes; the format allows {MAX_HEADER}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|e| damaged(e.to_string()))?;
        let (needed, found) = (header.data_len() as u64, size - 8 - length);
        if needed != found {
            return Err(damaged(format!("its tensors take {needed} bytes; {found} are there")));
        }
        Ok(Self { path: path.to_owned(), file, header, start: 8 + length })
    }

    /// The entry `key` beside the tensors.
    pub(crate) fn entry(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// All tensors in f32; counters are left out.
    pub(crate) fn read_all(mut self) -> Result<BTreeMap<String, TensorData>> {
        let names = self.header.offset_keys().into_iter().map(|name| (name.clone(), name)).collect();
        let weights = unwrap(names).into_iter().filter(|(name, _)| !is_counter(name));
        weights.map(|(name, stored_as)| Ok((name, self.read(&stored_as)?))).collect()
    }

    fn read(&mut self, name: &str) -> Result<TensorData> {
        let Self { path, header, file, start } = self;
        let io = |source| Error::Io { path: path.clone(), source };
        let missing =
            || Error::Damaged { path: path.clone(), reason: format!("there is no tensor `{name}`") };
        let info = header.info(name).ok_or_else(missing)?;
        let dtype = match info.dtype {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                let found = format!("{other:?}");
                return Err(Error::TensorType { path: path.clone(), name: name.to_owned(), found });
            }
        };
        let (from, to) = info.data_offsets;
        // Not filled with zeros first: the header was checked, so as many bytes are there.
        let mut bytes = Vec::with_capacity(to - from);
        file.seek(SeekFrom::Start(*start + from as u64)).map_err(io)?;
        file.by_ref().take((to - from) as u64).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() < to - from {
            return Err(io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(TensorData::from_bytes_vec(bytes, info.shape.clone(), dtype).convert::<f32>())
    }
}
