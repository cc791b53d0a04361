//! Sources, loaders and batches as Burn knows them.

mod mix;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_dataset::{Dataset, DatasetError};

use crate::loader::Batches;
use crate::source::{Cifar, Digits, Folder, Idx, Manifest, Memory, Sample, Shards, Source, Subset};
use crate::transform::mix::Mixing;
use crate::{Batch, Loader, LoaderConfig, Position, Preprocess};

/// Pictures ready for a network.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// `[batch, channels, height, width]`, normalized.
    pub images: Tensor<4>,
    /// `[batch]`, indices of classes.
    pub targets: Tensor<1, Int>,
    /// `[batch, classes]`, each row summing to 1, where pictures were mixed with others; `targets` are then those of the pictures
    /// themselves.
    pub soft_targets: Option<Tensor<2>>,
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
    /// Where bytes become numbers.
    pub normalize_on: NormalizeOn,
}

/// Where the bytes of pictures become normalized numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NormalizeOn {
    /// On the host: best where the device is the host's own processor.
    #[default]
    Host,
    /// On the device, which gets bytes, a quarter of what numbers take: best for GPUs. Devices that have no bytes get numbers. The last
    /// bits may differ from those of the host.
    Device,
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
        let count = labels.len();
        let images = if self.normalize_on == NormalizeOn::Device && device.supports_dtype(DType::U8) {
            self.normalized_there(pixels, device)
        } else {
            self.normalized_here(pixels, device)
        };
        let targets: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        ImageBatch {
            images,
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
            soft_targets: None,
            indices: (0..count).collect(),
            counts: vec![true; count],
        }
    }
}

impl ImageBatcher {
    /// A batcher that normalizes on the host.
    #[must_use]
    pub fn new(preprocess: Preprocess) -> Self {
        Self { preprocess, normalize_on: NormalizeOn::Host }
    }

    fn normalized_here(&self, pixels: &[u8], device: &Device) -> Tensor<4> {
        let Preprocess { channels, height, width, .. } = self.preprocess;
        let size = self.preprocess.bytes();
        let mut values = vec![0f32; pixels.len()];
        for (pixels, out) in pixels.chunks_exact(size).zip(values.chunks_exact_mut(size)) {
            self.preprocess.normalize_into(pixels, out);
        }
        let shape = [pixels.len() / size, channels.into(), height as usize, width as usize];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn normalized_there(&self, pixels: &[u8], device: &Device) -> Tensor<4> {
        let Preprocess { channels, height, width, mean, std, .. } = &self.preprocess;
        let channels = usize::from(*channels);
        let shape = [pixels.len() / self.preprocess.bytes(), *height as usize, *width as usize, channels];
        let bytes = TensorData::new(pixels.to_vec(), shape);
        let bytes = Tensor::<4, Int>::from_data(bytes, (device, DType::U8));
        let each = |values: &[f32]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, channels, 1, 1]), device)
        };
        let (mean, std) = (each(mean), each(std));
        let values = bytes.float().cast(mean.dtype()).permute([0, 3, 1, 2]).div_scalar(255.0);
        (values - mean) / std
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
#[cfg(feature = "parquet")]
dataset!(crate::source::Parquet);

/// A [`Loader`] as Burn's `DataLoader`: each call of `iter` is the next epoch.
#[derive(Debug)]
pub struct TensorLoader {
    loader: Arc<Loader>,
    batcher: ImageBatcher,
    mixing: Mixing,
    device: Device,
    epoch: Arc<AtomicU64>,
    /// Where the next call of `iter` begins, if not at the beginning of the next epoch.
    start: Arc<Mutex<Option<Position>>>,
}

impl TensorLoader {
    /// Batches of `loader` on `device`, from epoch 0.
    #[must_use]
    pub fn new(loader: Loader, device: Device) -> Self {
        let batcher = ImageBatcher::new(loader.config().preprocess.clone());
        let epoch = Arc::new(AtomicU64::new(0));
        let start = Arc::new(Mutex::new(None));
        Self { loader: Arc::new(loader), batcher, mixing: Mixing::default(), device, epoch, start }
    }

    /// The same batches, of which the next call of `iter` gives those from `position` to the end of its pass, and later ones the passes after it.
    ///
    /// # Errors
    ///
    /// As [`Loader::resume`].
    pub fn starting_at(self, position: &Position) -> crate::Result<Self> {
        self.loader.resume(position)?;
        self.epoch.store(position.epoch, Ordering::Relaxed);
        Ok(Self { start: Arc::new(Mutex::new(Some(position.clone()))), ..self })
    }

    /// The same batches, their pictures mixed on the device and with soft targets.
    ///
    /// # Errors
    ///
    /// When a number of `mixing` is out of its range.
    pub fn with_mixing(self, mixing: Mixing) -> crate::Result<Self> {
        mixing.check()?;
        Ok(Self { mixing, ..self })
    }

    /// The same batches, normalized there.
    #[must_use]
    pub fn with_normalize_on(mut self, normalize_on: NormalizeOn) -> Self {
        self.batcher.normalize_on = normalize_on;
        self
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
        let TensorLoader { loader, batcher, mixing, device, .. } = self.loader;
        let (epoch, number) = self.batches.next_batch();
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(DatasetError::new(error))),
        };
        let mut tensors = batcher.tensors(&batch, device);
        if mixing.is_on() {
            let Preprocess { width, height, .. } = batcher.preprocess;
            let seed = loader.config().seed;
            let mix = mixing.draw(seed, epoch, number, batch.labels.len(), width, height);
            let mixed = mix.soft_targets(&batch.labels, loader.source().class_names().len(), 0.0);
            match mixed {
                Ok(targets) => tensors.mix(&mix, targets),
                Err(error) => return Some(Err(DatasetError::new(error))),
            }
        }
        loader.recycle(batch);
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
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It was found to be one of this loader's when it was given.
        let rest = start.and_then(|position| self.loader.resume(&position).ok());
        let batches = rest.unwrap_or_else(|| self.loader.epoch(epoch));
        Box::new(TensorBatches { batches, loader: self })
    }

    fn num_items(&self) -> usize {
        self.loader.samples_per_epoch()
    }

    /// The same loader, threads and epoch counter included, with batches on another device.
    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self {
            loader: self.loader.clone(),
            batcher: self.batcher.clone(),
            mixing: self.mixing,
            device: device.clone(),
            epoch: self.epoch.clone(),
            start: self.start.clone(),
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
        let (batcher, mixing) = (self.batcher.clone(), self.mixing);
        let part = Self { batcher, mixing, ..Self::new(loader, self.device.clone()) };
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
    fn bytes_are_normalized_on_the_device_as_on_the_host() {
        let preprocess =
            Preprocess { mean: vec![0.4, 0.5, 0.6], std: vec![0.2, 0.25, 0.3], ..Preprocess::new(3, 2, 4) };
        let pixels: Vec<u8> = (0..72).map(|n| (n * 7) as u8).collect();
        let [here, there] = [NormalizeOn::Host, NormalizeOn::Device].map(|normalize_on| {
            let batcher = ImageBatcher { preprocess: preprocess.clone(), normalize_on };
            batcher.put(&pixels, &[0, 1, 2], &Device::flex()).images
        });
        assert!(Device::flex().supports_dtype(DType::U8));
        assert_eq!(here.dims(), there.dims());
        let [here, there] = [here, there].map(|images| images.into_data().try_to_vec::<f32>().unwrap());
        assert!(here.iter().zip(&there).all(|(here, there)| (here - there).abs() < 1e-6));
    }

    #[test]
    fn mixed_batches_have_soft_targets_and_change_with_the_epoch() {
        let plain = loader(10, None);
        // Pictures of two pixels have no room for rectangles.
        let mixing = Mixing { mixup: 0.4, ..Mixing::default() };
        let mixed = loader(10, None).with_mixing(mixing).unwrap();
        let all = |loader: &TensorLoader, epoch| -> Vec<ImageBatch> {
            loader.epoch(epoch).map(|batch| batch.unwrap()).collect()
        };
        let values = |batches: Vec<ImageBatch>| -> Vec<f32> {
            batches
                .into_iter()
                .flat_map(|batch| batch.images.into_data().try_to_vec::<f32>().unwrap())
                .collect()
        };
        assert!(all(&plain, 0).iter().all(|batch| batch.soft_targets.is_none()));
        for batch in all(&mixed, 0) {
            let soft = batch.soft_targets.unwrap();
            assert_eq!(soft.dims(), [batch.indices.len(), 2]);
            let sums = soft.sum_dim(1).into_data().try_to_vec::<f32>().unwrap();
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
        }
        assert_eq!(values(all(&mixed, 0)), values(all(&mixed, 0)));
        assert_ne!(values(all(&mixed, 0)), values(all(&mixed, 1)));
        assert_ne!(values(all(&mixed, 0)), values(all(&plain, 0)));
        assert!(loader(4, None).with_mixing(Mixing { mixup: -1.0, ..mixing }).is_err());
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
        let batcher = ImageBatcher::new(Preprocess::new(1, 4, 4));
        let dataset = SourceDataset(source(5));
        let samples = (0..5).map(|index| dataset.get(index).unwrap()).collect();
        assert_eq!(batcher.batch(samples, &Device::flex()).images.dims(), [5, 1, 4, 4]);
    }
}
