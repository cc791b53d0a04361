//! What `torch.save` wrote.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use pyrograph_model::is_counter;
use pytorch_reader::{DType as Stored, PytorchReader, Tensor};
use zip::ZipArchive;

use super::{pickle, unwrap};
use crate::{Error, Result};

/// More than the description of any network takes, its tensors not counted.
const MAX_PICKLE: u64 = 256 << 20;

/// The tensors of the checkpoint at `path`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let pickles = pickles(path)?;
    let refused = |reason| Error::RefusedPickle { path: path.to_owned(), reason };
    let mut at = 0;
    for _ in 0..pickles.count {
        if at < pickles.bytes.len() {
            pickle::check(&pickles.bytes, &mut at).map_err(refused)?;
        }
    }
    drop(pickles);
    let damaged = |reason: String| Error::DamagedCheckpoint { path: path.to_owned(), reason };
    let reader = PytorchReader::new(path).map_err(|e| damaged(e.to_string()))?;
    let tensors: BTreeMap<String, Tensor> = reader.into_tensors().into_iter().collect();
    let tensors = unwrap(tensors);
    check_size(path, tensors.values())?;
    let mut read = BTreeMap::new();
    for (name, tensor) in tensors {
        if is_counter(&name) {
            continue;
        }
        let dtype = match tensor.dtype() {
            Stored::F64 => DType::F64,
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::BF16 => DType::BF16,
            other => {
                return Err(Error::TensorType { path: path.to_owned(), name, found: format!("{other:?}") });
            }
        };
        let shape = tensor.shape().to_vec();
        let bytes = tensor.read().map_err(|e| damaged(e.to_string()))?;
        read.insert(name, TensorData::from_bytes_vec(bytes, shape, dtype).convert::<f32>());
    }
    Ok(read)
}

/// Views may show one stored value any number of times, and archives may be compressed: together the tensors may take a few times as much as
/// the file.
fn check_size<'a>(path: &Path, tensors: impl Iterator<Item = &'a Tensor>) -> Result<()> {
    let file = path.metadata().map_err(|source| Error::Io { path: path.to_owned(), source })?.len();
    let most = file.saturating_mul(8).saturating_add(16 << 20);
    let bytes = |tensor: &Tensor| {
        let values = tensor.shape().iter().try_fold(1u64, |product, &side| product.checked_mul(side as u64));
        values.unwrap_or(u64::MAX).saturating_mul(4)
    };
    let needed = tensors.map(bytes).fold(0, u64::saturating_add);
    if needed <= most {
        return Ok(());
    }
    let reason = format!("its tensors would take {needed} bytes, the file has {file}");
    Err(Error::DamagedCheckpoint { path: path.to_owned(), reason })
}

/// Pickles, one after the other, and what may follow.
struct Pickles {
    bytes: Vec<u8>,
    count: usize,
}

/// The pickles of a file: that of the archive, or up to five that stand before the storages.
fn pickles(path: &Path) -> Result<Pickles> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let damaged = |reason: String| Error::DamagedCheckpoint { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(io)?;
    let mut magic = [0; 2];
    file.read_exact(&mut magic).map_err(|e| damaged(e.to_string()))?;
    let file = Cursor::new(magic).chain(file);
    if magic != *b"PK" {
        let mut bytes = Vec::new();
        file.take(MAX_PICKLE).read_to_end(&mut bytes).map_err(io)?;
        return Ok(Pickles { bytes, count: 5 });
    }
    let (_, file) = file.into_inner();
    let mut archive = ZipArchive::new(file).map_err(|e| damaged(e.to_string()))?;
    let entries = archive
        .file_names()
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| damaged(e.to_string()))?;
    let names: Vec<String> =
        entries.into_iter().filter(|name| name.ends_with("data.pkl")).map(Into::into).collect();
    let [name] = &names[..] else {
        return Err(damaged(format!("the archive has {} entries called data.pkl, not one", names.len())));
    };
    let entry = archive.by_name(name).map_err(|e| damaged(e.to_string()))?;
    let mut bytes = Vec::new();
    entry.take(MAX_PICKLE).read_to_end(&mut bytes).map_err(|e| damaged(e.to_string()))?;
    Ok(Pickles { bytes, count: 1 })
}
