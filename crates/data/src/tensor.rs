//! Sources, loaders and batches as Burn knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dataset::{Dataset, DatasetError};

use crate::loader::Batches;
use crate::source::{Cifar, Digits, Folder, Idx, Manifest, Memory, Sample, Shards, Source, Subset};
use crate::{Batch, Loader, LoaderConfig, Preprocess};

/// Pictures ready for a network.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// `[batch, channels, height, width]`, normalized.
    pub images: Tensor<4>,
    /// `[batch]`, indices of classes.
    pub targets: Tensor<1, Int>,
    /// `[batch]`, indices of samples in their source.
    pub indices: Vec<usize>,
    /// `[batch]`: false for a sample that only fills the batch and must not be measured.
    pub counts: Vec<bool>,
}

/// Makes batches of samples, with Burn's loaders or without.
#[derive(Debug, Clone)]
pub struct ImageBatcher {
    /// What becomes of each picture.
    pub preprocess: Preprocess,
}

impl ImageBatcher {
    /// Puts a batch on `device`, normalized.
    #[must_use]
    pub fn tensors(&self, batch: &Batch, device: &Device) -> ImageBatch {
        let (indices, counts) = (batch.indices.clone(), batch.counts.clone());
        ImageBatch { indices, counts, ..self.put(batch.pixels(), &batch.labels, device) }
    }

    /// `pixels` `[batch, height, width, channels]`, and `labels` `[batch]`, counted from 0 and all of them to be measured.
    fn put(&self, pixels: &[u8], labels: &[u32], device: &Device) -> ImageBatch {
        let preprocess = &self.preprocess;
        let mut values = vec![0f32; pixels.len()];
        let size = preprocess.bytes();
        for (pixels, out) in pixels.chunks_exact(size).zip(values.chunks_exact_mut(size)) {
            preprocess.normalize_into(pixels, out);
        }
        let count = labels.len();
        let shape =
            [count, preprocess.channels.into(), preprocess.height as usize, preprocess.width as usize];
        let targets: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        ImageBatch {
            images: Tensor::from_data(TensorData::new(values, shape), device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
            indices: (0..count).collect(),
            counts: vec![true; count],
        }
    }
}

impl Batcher<Sample, ImageBatch> for ImageBatcher {
    /// `indices` count from 0: samples do not know their place.
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> ImageBatch {
        let labels: Vec<u32> = samples.iter().map(|sample| sample.label).collect();
        let pixels: Vec<u8> = samples
            .into_iter()
            .flat_map(|sample| self.preprocess.apply(sample.image).into_pixels())
            .collect();
        self.put(&pixels, &labels, device)
    }
}

/// A source of any kind as a Burn dataset.
#[derive(Clone)]
pub struct SourceDataset(pub Arc<dyn Source>);

impl Dataset<Sample> for SourceDataset {
    fn get(&self, index: usize) -> Result<Sample, DatasetError> {
        self.0.read(index).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for SourceDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceDataset({} samples)", self.0.len())
    }
}

// A foreign trait cannot be implemented for every `Source` at once.
macro_rules! dataset {
    ($($source:ty),*) => {$(
        impl Dataset<Sample> for $source {
            fn get(&self, index: usize) -> Result<Sample, DatasetError> {
                self.read(index).map_err(DatasetError::new)
            }

            fn len(&self) -> usize {
                Source::len(self)
            }
        }
    )*};
}

dataset!(Folder, Manifest, Shards, Idx, Cifar, Memory, Digits, Subset);

/// A [`Loader`] as Burn's `DataLoader`: each call of `iter` is the next epoch.
#[derive(Debug)]
pub struct TensorLoader {
    loader: Arc<Loader>,
    batcher: ImageBatcher,
    device: Device,
    epoch: Arc<AtomicU64>,
}

impl TensorLoader {
    /// Batches of `loader` on `device`, from epoch 0.
    #[must_use]
    pub fn new(loader: Loader, device: Device) -> Self {
        let batcher = ImageBatcher { preprocess: loader.config().preprocess.clone() };
        Self { loader: Arc::new(loader), batcher, device, epoch: Arc::new(AtomicU64::new(0)) }
    }

    /// The loader below, to ask it for its position and its bad samples.
    #[must_use]
    pub fn loader(&self) -> &Arc<Loader> {
        &self.loader
    }

    /// The batches of pass `epoch`; the counter of `iter` stays as it is.
    #[must_use]
    pub fn epoch(&self, epoch: u64) -> TensorBatches<'_> {
        TensorBatches { batches: self.loader.epoch(epoch), loader: self }
    }
}

/// The batches of one pass.
#[derive(Debug)]
pub struct TensorBatches<'a> {
    batches: Batches<'a>,
    loader: &'a TensorLoader,
}

impl Iterator for TensorBatches<'_> {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(DatasetError::new(error))),
        };
        let tensors = self.loader.batcher.tensors(&batch, &self.loader.device);
        self.loader.loader.recycle(batch);
        Some(Ok(tensors))
    }
}

impl DataLoaderIterator<ImageBatch> for TensorBatches<'_> {
    fn progress(&self) -> Progress {
        let total = self.loader.loader.samples_per_epoch();
        Progress::new(self.batches.delivered(), total, Some("images".into()))
    }
}

impl DataLoader<ImageBatch> for TensorLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch> + 'a> {
        Box::new(self.epoch(self.epoch.fetch_add(1, Ordering::Relaxed)))
    }

    fn num_items(&self) -> usize {
        self.loader.samples_per_epoch()
    }

    /// The same loader, threads and epoch counter included, with batches on another device.
    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self {
            loader: self.loader.clone(),
            batcher: self.batcher.clone(),
            device: device.clone(),
            epoch: self.epoch.clone(),
        })
    }

    /// The positions from `start` to `end` of every pass: over the epochs of a shuffled order each part sees every sample.
    ///
    /// # Panics
    ///
    /// If the range is not within the source, is empty, or its threads cannot be started: Burn leaves no way to say so.
    #[allow(clippy::expect_used)]
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        let old = self.loader.config();
        let first = old.part.as_ref().map_or(0, |part| part.start);
        let batch_size = old.batch_size.min(end - start);
        let config = LoaderConfig { part: Some(first + start..first + end), batch_size, ..old.clone() };
        let loader = Loader::new(self.loader.source().clone(), config);
        let loader = loader.expect("the loader of a part starts as that of the whole");
        let part = Self::new(loader, self.device.clone());
        part.epoch.store(self.epoch.load(Ordering::Relaxed), Ordering::Relaxed);
        Arc::new(part)
    }
}

#[cfg(feature = "flex")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::order::Order;

    fn source(len: usize) -> Arc<dyn Source> {
        let sample =
            |n: usize| Sample { image: Image::new(1, 2, 3, vec![n as u8; 6]), label: (n % 2) as u32 };
        let names = ["even", "odd"].map(String::from).to_vec();
        Arc::new(Memory::new((0..len).map(sample).collect(), names).unwrap())
    }

    fn loader(len: usize, shuffle: Option<u64>) -> TensorLoader {
        let preprocess = Preprocess::new(3, 2, 1);
        let order = if shuffle.is_some() { Order::Shuffled } else { Order::Sequential };
        let seed = shuffle.unwrap_or_default();
        let config = LoaderConfig { batch_size: 4, order, seed, preprocess, ..LoaderConfig::default() };
        TensorLoader::new(Loader::new(source(len), config).unwrap(), Device::flex())
    }

    fn indices(loader: &dyn DataLoader<ImageBatch>) -> Vec<usize> {
        loader.iter().flat_map(|batch| batch.unwrap().indices).collect()
    }

    #[test]
    fn batches_have_shape_and_scale() {
        let batch = loader(6, None).epoch(0).next().unwrap().unwrap();
        assert_eq!((batch.images.dims(), batch.targets.dims()), ([4, 3, 2, 1], [4]));
        let values = batch.images.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values[6..12], [1.0 / 255.0; 6]);
        assert_eq!(batch.targets.into_data().convert::<i64>().try_to_vec::<i64>().unwrap(), [0, 1, 0, 1]);
    }

    #[test]
    fn each_iteration_is_the_next_epoch_on_every_device() {
        let loader = loader(10, Some(1));
        let first = indices(&loader);
        let moved = loader.to_device(&Device::flex());
        let second = indices(moved.as_ref());
        assert_ne!(first, second);
        let again = |epoch| loader.epoch(epoch).flat_map(|batch| batch.unwrap().indices).collect::<Vec<_>>();
        assert_eq!((again(0), again(1)), (first, second));
    }

    #[test]
    fn progress_counts_images() {
        let loader = loader(10, None);
        let mut batches = loader.iter();
        let done = |batches: &dyn DataLoaderIterator<ImageBatch>| batches.progress().items_processed;
        assert_eq!(done(batches.as_ref()), 0);
        batches.next();
        assert_eq!(done(batches.as_ref()), 4);
        batches.by_ref().for_each(drop);
        assert_eq!((done(batches.as_ref()), loader.num_items()), (10, 10));
    }

    #[test]
    fn a_slice_is_a_part() {
        let part = loader(10, None).slice(3, 6);
        assert_eq!(part.num_items(), 3);
        let batch = part.iter().next().unwrap().unwrap();
        assert_eq!(batch.targets.into_data().convert::<i64>().try_to_vec::<i64>().unwrap(), [1, 0, 1]);
    }

    #[test]
    fn slices_of_a_shuffled_pass_share_it_and_change_with_the_epoch() {
        let whole = loader(10, Some(3));
        let parts = [whole.slice(0, 4), whole.slice(4, 10)];
        let mut seen = Vec::new();
        for epoch in 0..4 {
            let all: Vec<usize> = whole.epoch(epoch).flat_map(|batch| batch.unwrap().indices).collect();
            let cut: Vec<usize> = parts.iter().flat_map(|part| indices(part.as_ref())).collect();
            assert_eq!(cut, all);
            seen.push(cut[..4].to_vec());
        }
        seen.dedup();
        assert!(seen.len() > 1, "the first device sees the same samples in every epoch");
    }

    #[test]
    fn the_batcher_serves_burns_own_loader() {
        let batcher = ImageBatcher { preprocess: Preprocess::new(1, 4, 4) };
        let dataset = SourceDataset(source(5));
        let samples = (0..5).map(|index| dataset.get(index).unwrap()).collect();
        assert_eq!(batcher.batch(samples, &Device::flex()).images.dims(), [5, 1, 4, 4]);
    }
}
