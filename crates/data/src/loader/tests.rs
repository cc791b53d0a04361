use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{Place, Stored};

/// `len` pictures of 2x2 pixels that hold their index; it can be slow, fail or panic at one place.
#[derive(Default)]
struct Numbers {
    len: usize,
    delay: Duration,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
    reads: AtomicUsize,
}

impl Source for Numbers {
    fn len(&self) -> usize {
        self.len
    }
    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.delay);
        assert_ne!(self.panics_at, Some(index), "as asked");
        if self.fails_at == Some(index) {
            return Err(Error::in_place(self.place(index), ErrorKind::UnknownFormat));
        }
        *buffer = vec![index as u8; 4];
        Ok(Stored::Pixels { width: 2, height: 2, channels: 1, bytes: buffer })
    }
    fn label(&self, index: usize) -> u32 {
        (index % 2) as u32
    }
    fn place(&self, index: usize) -> Place {
        Place::path(format!("picture-{index}"))
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
}

fn numbers(len: usize) -> Numbers {
    Numbers { len, ..Numbers::default() }
}

fn loader(source: Numbers, batch_size: usize, threads: usize) -> Loader {
    loader_of(Arc::new(source), batch_size, threads)
}

fn loader_of(source: Arc<Numbers>, batch_size: usize, threads: usize) -> Loader {
    let preprocess = Preprocess::new(1, 2, 2);
    let augment = Augment { flip: true, crop_padding: 1 };
    let config = LoaderConfig {
        batch_size,
        shuffle: Some(7),
        preprocess,
        augment,
        threads,
        ..LoaderConfig::default()
    };
    Loader::new(source, config).unwrap()
}

fn pass(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).collect::<Result<_>>().unwrap()
}

#[test]
fn batches_are_the_same_for_any_number_of_threads() {
    let expected = pass(&loader(numbers(103), 10, 0), 3);
    for threads in [1, 2, 7] {
        let loader = loader(numbers(103), 10, threads);
        assert_eq!(pass(&loader, 3), expected, "{threads} threads");
        assert_eq!(pass(&loader, 3), expected, "{threads} threads, again");
    }
}

#[test]
fn every_sample_comes_once_and_the_last_batch_has_what_is_left() {
    let batches = pass(&loader(numbers(103), 10, 2), 0);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.indices.len()).collect();
    assert_eq!(sizes, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 3]);
    let mut indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..103).collect::<Vec<_>>());
    for batch in &batches {
        assert!(batch.indices.iter().zip(&batch.labels).all(|(index, label)| index % 2 == *label as usize));
    }
}

#[test]
fn a_small_last_batch_can_be_left_out() {
    for threads in [0, 2] {
        let preprocess = Preprocess::new(1, 2, 2);
        let config =
            LoaderConfig { batch_size: 10, preprocess, threads, drop_last: true, ..LoaderConfig::default() };
        let loader = Loader::new(Arc::new(numbers(29)), config).unwrap();
        assert_eq!(loader.samples_per_epoch(), 20);
        let mut batches = loader.epoch(0);
        assert!(batches.by_ref().all(|batch| batch.unwrap().labels.len() == 10));
        assert_eq!(batches.delivered(), 20);
    }
}

#[test]
fn epochs_differ() {
    let loader = loader(numbers(50), 10, 2);
    assert_ne!(pass(&loader, 0), pass(&loader, 1));
}

#[test]
fn without_shuffling_samples_come_in_their_order() {
    let preprocess = Preprocess::new(1, 2, 2);
    let config = LoaderConfig { batch_size: 100, preprocess, ..LoaderConfig::default() };
    let loader = Loader::new(Arc::new(numbers(9)), config).unwrap();
    assert_eq!(pass(&loader, 0)[0].indices, (0..9).collect::<Vec<_>>());
}

#[test]
fn a_failure_is_delivered_once_in_its_place_and_the_next_pass_works() {
    for threads in [0, 3] {
        let loader = loader(Numbers { fails_at: Some(5), ..numbers(40) }, 4, threads);
        let batches: Vec<Result<Batch>> = loader.epoch(1).collect();
        let expected = (0..40).position(|n| permute(7, 1, 40, n) == 5).unwrap() / 4;
        assert_eq!(batches.len(), expected + 1);
        assert!(batches[..expected].iter().all(Result::is_ok));
        assert!(batches[expected].as_ref().unwrap_err().to_string().contains("picture-5"));
        assert!(loader.epoch(2).any(|batch| batch.is_err()));
    }
}

#[test]
fn a_panic_becomes_an_error_that_names_the_sample() {
    for threads in [0, 2] {
        let loader = loader(Numbers { panics_at: Some(3), ..numbers(12) }, 4, threads);
        for epoch in 0..3 {
            let error = loader.epoch(epoch).find_map(Result::err).unwrap();
            assert!(matches!(error.kind(), ErrorKind::Worker(_)));
            assert!(error.to_string().contains("picture-3"), "{error}");
        }
    }
}

#[test]
fn a_pass_left_half_way_does_not_disturb_the_next() {
    let loader = loader(numbers(200), 10, 3);
    let expected = pass(&loader, 5);
    for taken in 0..5 {
        assert_eq!(loader.epoch(4).take(taken).count(), taken);
        assert_eq!(pass(&loader, 5), expected);
    }
}

#[test]
fn a_new_pass_ends_the_old_one() {
    let loader = loader(numbers(200), 10, 2);
    let mut old = loader.epoch(0);
    assert!(old.next().is_some());
    let new = loader.epoch(1);
    assert!(old.next().is_none());
    assert_eq!(new.count(), 20);
}

#[test]
fn no_more_batches_wait_than_the_bound_allows() {
    let source = Arc::new(numbers(1000));
    let preprocess = Preprocess::new(1, 2, 2);
    // Four bytes a picture, ten a batch: room for two batches.
    let config =
        LoaderConfig { batch_size: 10, preprocess, max_bytes: 80, threads: 4, ..LoaderConfig::default() };
    let loader = Loader::new(source.clone(), config).unwrap();
    let mut batches = loader.epoch(0);
    for taken in 1..=5 {
        batches.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(source.reads.load(Ordering::SeqCst) <= (taken + 2) * 10);
    }
}

#[test]
fn dropping_stops_at_once() {
    let loader = loader(Numbers { delay: Duration::from_millis(20), ..numbers(100_000) }, 50_000, 2);
    let batches = loader.epoch(0);
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    drop(batches);
    drop(loader);
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn many_loaders_come_and_go() {
    for n in 0..200 {
        let loader = loader(numbers(20), 4, 1 + n % 4);
        let _ = loader.epoch(0).take(n % 6).count();
    }
}

#[test]
fn recycled_buffers_change_nothing() {
    let loader = loader(numbers(95), 10, 2);
    let expected = pass(&loader, 0);
    for batch in loader.epoch(1) {
        loader.recycle(batch.unwrap());
    }
    assert_eq!(pass(&loader, 0), expected);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let new = |len, batch_size, shuffle| {
        let config = LoaderConfig { batch_size, shuffle, ..LoaderConfig::default() };
        Loader::new(Arc::new(numbers(len)), config).map_err(|e| e.to_string())
    };
    assert!(new(10, 0, None).unwrap_err().contains("at least 1"));
    let error = new(10, 11, Some(0)).unwrap_err();
    assert!(error.contains("11") && error.contains("10"), "{error}");
    assert!(new(10, 11, None).is_ok());
    assert!(new(0, 1, None).is_err());
}
