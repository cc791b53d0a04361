use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::order::permute;
use crate::source::{Memory, Sample};
use crate::{Image, Place, Stored};

/// `len` pictures of 2x2 pixels that hold their index; it can be slow, fail or panic at one place.
#[derive(Default)]
struct Numbers {
    len: usize,
    delay: Duration,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
    /// Of every hundred samples this many are bad.
    bad_below: usize,
    /// This one hangs for a second.
    hangs_at: Option<usize>,
    fetches: usize,
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
        if self.hangs_at == Some(index) {
            std::thread::sleep(Duration::from_secs(1));
        }
        if self.fails_at == Some(index) || index % 100 < self.bad_below {
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
    fn fetches_at_once(&self) -> usize {
        self.fetches
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
    let augment = Some("flip|random_crop(2, padding=1)".parse().unwrap());
    let config = LoaderConfig {
        batch_size,
        order: Order::Shuffled,
        seed: 7,
        preprocess,
        augment,
        threads,
        ..LoaderConfig::default()
    };
    Loader::new(source, config).unwrap()
}

/// A loader with the settings of [`loader`], changed.
fn with(source: Numbers, change: impl FnOnce(&mut LoaderConfig)) -> Loader {
    let preprocess = Preprocess::new(1, 2, 2);
    let augment = Some("flip|random_crop(2, padding=1)".parse().unwrap());
    let mut config = LoaderConfig {
        batch_size: 8,
        order: Order::Shuffled,
        seed: 7,
        preprocess,
        augment,
        ..LoaderConfig::default()
    };
    change(&mut config);
    Loader::new(Arc::new(source), config).unwrap()
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
            LoaderConfig { batch_size: 10, preprocess, threads, tail: Tail::Drop, ..LoaderConfig::default() };
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
    let new = |len, batch_size, order| {
        let config = LoaderConfig { batch_size, order, ..LoaderConfig::default() };
        Loader::new(Arc::new(numbers(len)), config).map_err(|e| e.to_string())
    };
    assert!(new(10, 0, Order::Sequential).unwrap_err().contains("at least 1"));
    let error = new(10, 11, Order::Shuffled).unwrap_err();
    assert!(error.contains("11") && error.contains("10"), "{error}");
    assert!(new(10, 11, Order::Sequential).is_ok());
    assert!(new(0, 1, Order::Sequential).is_err());
    let ranks = |batch_size, rank, world| {
        let config = LoaderConfig { batch_size, rank, world, ..LoaderConfig::default() };
        Loader::new(Arc::new(numbers(10)), config).map_err(|e| e.to_string())
    };
    let repeated = |batch_size, repeats| {
        let config = LoaderConfig { batch_size, repeats, ..LoaderConfig::default() };
        Loader::new(Arc::new(numbers(10)), config).map_err(|e| e.to_string())
    };
    assert!(repeated(4, 0).unwrap_err().contains("`repeats` is 0"));
    let error = repeated(4, 5).unwrap_err();
    assert!(error.contains("`repeats` is 5") && error.contains("the batch size, 4"), "{error}");
    assert!(repeated(4, 4).is_ok());
    assert!(ranks(6, 0, 4).unwrap_err().contains("evenly for 4 ranks"));
    assert!(ranks(6, 2, 2).unwrap_err().contains("rank 2 of 2"));
}

#[test]
fn fetching_ahead_changes_nothing_but_the_time() {
    let expected = pass(&loader(numbers(103), 10, 0), 3);
    let slow = || Numbers { delay: Duration::from_millis(4), fetches: 16, ..numbers(103) };
    let started = Instant::now();
    assert_eq!(pass(&loader(slow(), 10, 1), 3), expected);
    // One after the other they would take 412 ms.
    assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
    let fails = loader(Numbers { fails_at: Some(5), ..slow() }, 10, 2);
    let error = fails.epoch(1).find_map(Result::err).unwrap();
    assert!(error.to_string().contains("picture-5"), "{error}");
    let panics = loader(Numbers { panics_at: Some(5), ..slow() }, 10, 2);
    assert!(panics.epoch(1).find_map(Result::err).unwrap().to_string().contains("picture-5"));
    for taken in [0, 1, 3] {
        let loader = loader(slow(), 10, 2);
        assert_eq!(loader.epoch(0).take(taken).count(), taken);
        assert_eq!(pass(&loader, 3), expected);
    }
}

#[test]
fn a_pass_goes_on_from_every_batch_with_any_number_of_threads() {
    let whole = pass(&loader(numbers(97 * 4), 4, 2), 5);
    assert_eq!(whole.len(), 97);
    let loaders = [0, 1, 2, 4, 7].map(|threads| loader(numbers(97 * 4), 4, threads));
    let first = &loaders[0];
    let mut batches = first.epoch(5);
    let mut positions = vec![batches.position()];
    while batches.next().is_some() {
        positions.push(batches.position());
    }
    for (taken, position) in positions.iter().enumerate() {
        let text = serde_json::to_string(position).unwrap();
        assert!(text.len() < 200, "{text}");
        let position: Position = serde_json::from_str(&text).unwrap();
        let loader = &loaders[taken % loaders.len()];
        let rest: Vec<Batch> = loader.resume(&position).unwrap().collect::<Result<_>>().unwrap();
        assert!(rest == whole[taken..], "resumed after {taken} batches");
    }
}

#[test]
fn a_position_of_something_else_is_refused() {
    let position = loader(numbers(40), 4, 0).epoch(0).position();
    for other in [
        loader(numbers(41), 4, 0),
        loader(numbers(40), 5, 0),
        with(numbers(40), |config| {
            config.batch_size = 4;
            config.seed = 8;
        }),
    ] {
        assert!(other.resume(&position).unwrap_err().to_string().contains("another image set"));
    }
    let loader = loader(numbers(40), 4, 0);
    assert!(loader.resume(&Position { batch: 11, ..position.clone() }).is_err());
    assert_eq!(loader.resume(&Position { batch: 10, ..position }).unwrap().count(), 0);
}

#[test]
fn every_world_size_sees_the_same_global_batches() {
    for tail in [Tail::Keep, Tail::Drop, Tail::Pad] {
        let whole = pass(&with(numbers(83), |config| config.tail = tail), 2);
        for world in [1, 2, 4, 8] {
            let ranks: Vec<Vec<Batch>> = (0..world)
                .map(|rank| {
                    let loader = with(numbers(83), |config| {
                        (config.rank, config.world, config.tail) = (rank, world, tail);
                    });
                    pass(&loader, 2)
                })
                .collect();
            for (number, global) in whole.iter().enumerate() {
                let pixels: Vec<u8> = ranks.iter().flat_map(|r| r[number].pixels().to_vec()).collect();
                let indices: Vec<usize> = ranks.iter().flat_map(|r| r[number].indices.clone()).collect();
                let counts: Vec<bool> = ranks.iter().flat_map(|r| r[number].counts.clone()).collect();
                assert_eq!((&pixels[..], &indices), (global.pixels(), &global.indices), "{world}, {tail:?}");
                assert_eq!(counts, global.counts);
            }
        }
    }
}

#[test]
fn a_padded_batch_says_which_samples_count() {
    let loader = with(numbers(11), |config| (config.tail, config.order) = (Tail::Pad, Order::Sequential));
    let batches = pass(&loader, 0);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1].indices, [8, 9, 10, 0, 1, 2, 3, 4]);
    assert_eq!(batches[1].counts, [true, true, true, false, false, false, false, false]);
    assert_eq!(loader.samples_per_epoch(), 11);
}

#[test]
fn bad_samples_are_replaced_counted_and_listed() {
    for (bad_below, expected) in [(0, 0), (1, 10), (50, 500)] {
        let load = |threads, fetches| {
            let loader = with(Numbers { bad_below, fetches, ..numbers(1000) }, |config| {
                config.on_error = OnError::Replace { at_most: 1.0 };
                config.threads = threads;
            });
            let batches = pass(&loader, 3);
            (batches, loader.bad_samples())
        };
        let (batches, bad) = load(0, 0);
        let mut indices: Vec<usize> = bad.iter().map(|bad| bad.index).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), expected);
        assert!(bad.iter().all(|bad| bad.reason.contains("not an image") && bad.place.path.is_some()));
        assert!(batches.iter().all(|batch| batch.labels.len() == 8));
        assert!(batches.iter().flat_map(|batch| &batch.indices).all(|index| index % 100 >= bad_below));
        for (threads, fetches) in [(1, 0), (3, 0), (2, 8)] {
            assert_eq!(load(threads, fetches), (batches.clone(), bad.clone()));
        }
    }
}

#[test]
fn too_many_bad_samples_end_the_pass() {
    let loader = with(Numbers { bad_below: 2, ..numbers(1000) }, |config| {
        config.on_error = OnError::Replace { at_most: 0.01 };
    });
    let error = loader.epoch(0).find_map(Result::err).unwrap();
    assert!(error.to_string().contains("11 samples of a pass of 1000 cannot be read, 10 may be"), "{error}");
    let all_bad = with(Numbers { bad_below: 100, ..numbers(1000) }, |config| {
        config.on_error = OnError::Replace { at_most: 1.0 };
    });
    assert!(all_bad.epoch(0).next().unwrap().is_err());
}

#[test]
fn a_sample_that_hangs_is_reported_within_the_patience() {
    for fetches in [0, 2] {
        let loader = with(Numbers { hangs_at: Some(3), fetches, ..numbers(16) }, |config| {
            config.order = Order::Sequential;
            config.patience = Duration::from_millis(100);
        });
        let started = Instant::now();
        let error = loader.epoch(0).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("picture-3"), "{error}");
        assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    }
}

#[test]
fn a_part_of_a_pass_is_what_stands_there() {
    let whole: Vec<usize> =
        pass(&with(numbers(50), |_| {}), 1).iter().flat_map(|b| b.indices.clone()).collect();
    let part = with(numbers(50), |config| config.part = Some(13..31));
    let found: Vec<usize> = pass(&part, 1).iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(found, whole[13..31]);
}

/// The indices of a batch, each once, with how often each stands there.
fn counted(batch: &Batch) -> Vec<(usize, usize)> {
    batch.indices.chunk_by(|a, b| a == b).map(|copies| (copies[0], copies.len())).collect()
}

#[test]
fn repeated_samples_are_together_in_a_batch_and_each_copy_is_changed_differently() {
    // Pictures of four random pixels: a crop or a flip shows.
    let image = |n: usize| Image::new(2, 2, 1, (0..4).map(|at| (n * 37 + at * 59) as u8).collect());
    let samples = (0..48).map(|n| Sample { image: image(n), label: 0 }).collect();
    let source = Arc::new(Memory::new(samples, vec!["all".into()]).unwrap());
    let config = LoaderConfig {
        batch_size: 12,
        order: Order::Shuffled,
        seed: 5,
        repeats: 3,
        preprocess: Preprocess::new(1, 2, 2),
        augment: Some("flip|random_crop(2, padding=1)".parse().unwrap()),
        ..LoaderConfig::default()
    };
    let loader = Loader::new(source, config).unwrap();
    assert_eq!(loader.batches_per_epoch(), 4);
    let mut seen = Vec::new();
    let mut all_equal = 0;
    for epoch in 0..3 {
        for batch in pass(&loader, epoch) {
            let counted = counted(&batch);
            assert!(counted.iter().all(|(_, copies)| *copies == 3), "{counted:?}");
            seen.extend(counted.iter().map(|(index, _)| *index));
            let pictures: Vec<&[u8]> = batch.pixels().chunks(4).collect();
            all_equal += pictures.chunks(3).filter(|copies| copies.iter().all(|c| *c == copies[0])).count();
        }
    }
    // Three epochs show everything, each picture in one of them.
    seen.sort_unstable();
    assert_eq!(seen, (0..48).collect::<Vec<_>>());
    // 18 changes are equally probable.
    assert!(all_equal <= 3, "{all_equal} of 48 pictures have three equal copies");
}

#[test]
fn repeated_samples_are_the_same_for_any_threads_and_ranks_and_from_every_batch() {
    for (len, batch_size, tail) in [(97, 8, Tail::Keep), (96, 12, Tail::Drop), (95, 4, Tail::Pad)] {
        let new = |threads, rank, world| {
            with(Numbers { bad_below: 5, ..numbers(len) }, |config| {
                (config.batch_size, config.repeats, config.tail) = (batch_size, 3, tail);
                (config.threads, config.rank, config.world) = (threads, rank, world);
                config.on_error = OnError::Replace { at_most: 1.0 };
            })
        };
        for epoch in [0, 1, 2, 5] {
            let expected = pass(&new(0, 0, 1), epoch);
            for (taken, threads) in (0..expected.len()).zip([1, 2, 3, 0].into_iter().cycle()) {
                let loader = new(threads, 0, 1);
                let rest = loader.resume(&loader.position(epoch, taken)).unwrap();
                let rest: Vec<Batch> = rest.collect::<Result<_>>().unwrap();
                assert!(rest == expected[taken..], "resumed after {taken} batches");
            }
            let ranks: Vec<Vec<Batch>> = (0..2).map(|rank| pass(&new(2, rank, 2), epoch)).collect();
            for (number, batch) in expected.iter().enumerate() {
                let pixels: Vec<u8> = ranks.iter().flat_map(|r| r[number].pixels().to_vec()).collect();
                assert_eq!(pixels, batch.pixels());
            }
        }
    }
}

#[test]
fn the_copies_of_a_bad_sample_have_one_stand_in() {
    let loader = with(Numbers { bad_below: 20, ..numbers(96) }, |config| {
        (config.batch_size, config.repeats) = (12, 3);
        config.on_error = OnError::Replace { at_most: 1.0 };
    });
    for epoch in 0..3 {
        for batch in pass(&loader, epoch) {
            assert!(batch.indices.iter().all(|index| index % 100 >= 20));
            assert!(batch.indices.chunks(3).all(|copies| copies.iter().all(|copy| *copy == copies[0])));
        }
        assert_eq!(loader.bad_samples().len() % 3, 0);
    }
}

#[test]
fn the_time_of_the_stages_is_counted() {
    let loader = with(Numbers { delay: Duration::from_millis(1), ..numbers(40) }, |_| {});
    pass(&loader, 0);
    let stats = loader.stats();
    assert_eq!((stats.samples, stats.bytes), (40, 160));
    assert!(stats.fetching >= Duration::from_millis(40) && stats.waiting_share() > 0.5, "{stats:?}");
}
