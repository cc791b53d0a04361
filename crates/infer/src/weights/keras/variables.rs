//! Variables of layers in an HDF5 file.
//!
//! The file is not trusted. The crate `hdf5-reader` checks what a file claims against its length; what it leaves open is bounded here: how
//! much is read, which is never more than the file has bytes, how many objects are looked at, and how deep groups may nest.

use std::path::Path;

use burn::tensor::{DType, TensorData};
use hdf5_reader::error::Error as Hdf5Error;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};

use crate::{Error, Result};

/// More than the weights of any network have.
const MOST_OBJECTS: usize = 100_000;
/// Deeper than a model within a model within a model.
const DEEPEST: usize = 16;
/// More than the description of a whole model takes, in bytes.
const LONGEST_HEADER: usize = 16 << 20;
/// Whose parts are no weights.
const NOT_WEIGHTS: [&str; 2] = ["optimizer", "optimizer_weights"];

/// A variable of a layer, in f32.
#[derive(Debug)]
pub(super) struct Variable {
    /// The layer's name.
    pub(super) layer: String,
    /// `kernel`, `gamma`, …, or in files of Keras 3 its number.
    pub(super) name: String,
    /// Where it is in the file.
    pub(super) place: String,
    /// In Keras's layout.
    pub(super) data: TensorData,
}

/// The variables of all layers but those whose names are `ignored`.
pub(super) fn read(path: &Path, ignored: fn(&str) -> bool) -> Result<Vec<Variable>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(io)?.len();
    let bytes_left = usize::try_from(length).unwrap_or(usize::MAX);
    let options = OpenOptions::default()
        .with_chunk_cache_bytes(0)
        .with_max_chunk_bytes(bytes_left)
        .with_max_read_bytes(bytes_left)
        .with_max_object_header_bytes(LONGEST_HEADER.min(bytes_left));
    let mut walk = Walk { path, ignored, objects_left: MOST_OBJECTS, bytes_left, variables: Vec::new() };
    let file = Hdf5File::open_with_options(path, options).map_err(|e| walk.damaged("/", &e))?;
    let root = file.root_group().map_err(|e| walk.damaged("/", &e))?;
    let (groups, _) = root.members().map_err(|e| walk.damaged("/", &e))?;
    // A whole model in the older form keeps its weights apart.
    match groups.iter().find(|group| group.name() == "model_weights") {
        Some(weights) => walk.group(weights, "/model_weights", 1)?,
        None => walk.group(&root, "", 0)?,
    }
    Ok(walk.variables)
}

struct Walk<'a> {
    path: &'a Path,
    ignored: fn(&str) -> bool,
    objects_left: usize,
    bytes_left: usize,
    variables: Vec<Variable>,
}

impl Walk<'_> {
    /// The variables in `group`, which lies at `place`, and in the groups within.
    fn group(&mut self, group: &Group, place: &str, depth: usize) -> Result<()> {
        let (groups, datasets) = group.members().map_err(|e| self.damaged(place, &e))?;
        self.objects_left = self
            .objects_left
            .checked_sub(groups.len() + datasets.len())
            .ok_or_else(|| self.refused(place, format!("there are more than {MOST_OBJECTS} objects")))?;
        if depth > DEEPEST {
            return Err(self.refused(place, format!("groups lie more than {DEEPEST} deep")));
        }
        if !datasets.is_empty() {
            let layer = self.layer(group, place)?;
            if !(self.ignored)(&layer) {
                for dataset in datasets {
                    self.variable(&dataset, &layer, place)?;
                }
            }
        }
        for group in groups {
            if depth > 0 || !NOT_WEIGHTS.contains(&group.name()) {
                self.group(&group, &format!("{place}/{}", group.name()), depth + 1)?;
            }
        }
        Ok(())
    }

    /// The name of the layer whose variables lie in `group`: in files of Keras 3 an attribute of the group, which is called `vars`, in those
    /// before the group's own.
    fn layer(&self, group: &Group, place: &str) -> Result<String> {
        if group.name() != "vars" {
            return Ok(group.name().to_owned());
        }
        // States of random numbers, as dropout has them, lie in a part of the layer.
        if place.ends_with("/seed_generator/vars") {
            return Ok("seed_generator".into());
        }
        match group.attribute("name") {
            Ok(name) => name.read_string().map_err(|e| self.damaged(place, &e)),
            Err(Hdf5Error::AttributeNotFound(_)) => Err(Error::NotKeras {
                path: self.path.to_owned(),
                reason: format!(
                    "`{place}` does not say which layer it belongs to, as files of early Keras 3 do not; save the model again with a \
                     newer Keras, or as `model.save(\"model.h5\")`"
                ),
            }),
            Err(error) => Err(self.damaged(place, &error)),
        }
    }

    fn variable(&mut self, dataset: &Dataset, layer: &str, place: &str) -> Result<()> {
        // TensorFlow numbers the outputs of what it computes.
        let name = dataset.name().strip_suffix(":0").unwrap_or(dataset.name());
        if name.contains("seed_generator") {
            return Ok(());
        }
        let place = format!("{place}/{}", dataset.name());
        let dtype = match dataset.dtype() {
            Datatype::FloatingPoint { size: 8, .. } => DType::F64,
            Datatype::FloatingPoint { size: 4, .. } => DType::F32,
            Datatype::FloatingPoint { size: 2, .. } => DType::F16,
            other => {
                let found = format!("{other:?}");
                return Err(Error::TensorType { path: self.path.to_owned(), name: place, found });
            }
        };
        let sizes: Option<Vec<usize>> = dataset.shape().iter().map(|&size| size.try_into().ok()).collect();
        let values = sizes.as_ref().and_then(|sizes| sizes.iter().try_fold(1usize, |n, &m| n.checked_mul(m)));
        let bytes = values.and_then(|values| values.checked_mul(dtype.size()));
        let (Some(shape), Some(bytes)) = (sizes, bytes) else {
            return Err(self.refused(&place, "its size is beyond all numbers".into()));
        };
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            self.refused(&place, "the tensors up to it take more bytes than the file has".into())
        })?;
        let read = dataset.read_native_bytes().map_err(|e| self.damaged(&place, &e))?;
        if read.len() != bytes {
            return Err(self.refused(&place, format!("it has {} bytes, not {bytes}", read.len())));
        }
        let data = TensorData::from_bytes_vec(read, shape, dtype).convert::<f32>();
        self.variables.push(Variable { layer: layer.into(), name: name.into(), place, data });
        Ok(())
    }

    fn damaged(&self, place: &str, error: &Hdf5Error) -> Error {
        self.refused(place, error.to_string())
    }

    fn refused(&self, place: &str, reason: String) -> Error {
        let place = if place.is_empty() { "/" } else { place };
        Error::DamagedHdf5 { path: self.path.to_owned(), place: place.to_owned(), reason }
    }
}
