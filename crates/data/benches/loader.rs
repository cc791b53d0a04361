//! What the loader costs above the work itself: its images a second beside those of a bare loop that does the same to the same
//! pictures on as many threads, and keeps nothing: no order, no batches, no bound on memory, no place for a failure.
//!
//! ```text
//! cargo bench -p pyrograph-data --no-default-features --bench loader -- PHOTOS [THREADS]
//! ```
//!
//! `PHOTOS` is a folder of pictures, read from memory after a first pass. Random crops of 224 pixels and flips; medians of passes in turn. The
//! last line is the loop that one would write first: `zune-jpeg` decodes the whole picture, of which the crop is resized.

// A measurement that cannot go on has nothing better to do than to stop.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pyrograph_data::order::{Order, permute};
use pyrograph_data::source::Folder;
use pyrograph_data::transform::{Draws, Scene};
use pyrograph_data::{
    Image, Limits, Loader, LoaderConfig, Pipeline, Preprocess, Source, Stored, Tail, decode_view,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

const SIDE: u32 = 224;
const BATCH: usize = 64;
const ROUNDS: u64 = 9;
/// Passes that are measured together.
const PASSES: u64 = 3;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(folder) = arguments.first() else {
        println!("skipped: give a folder of photos, `cargo bench … --bench loader -- PHOTOS`");
        return;
    };
    let threads: usize = arguments.get(1).map_or(2, |threads| threads.parse().unwrap());
    let source: Arc<dyn Source> = Arc::new(Folder::unlabelled(folder).unwrap());
    // The same number of pictures for all.
    let count = source.len() / BATCH * BATCH;
    let steps: Pipeline = format!("random_resized_crop({SIDE})|flip").parse().unwrap();
    let loader = Loader::new(
        source.clone(),
        LoaderConfig {
            batch_size: BATCH,
            order: Order::Shuffled,
            tail: Tail::Drop,
            preprocess: Preprocess::new(3, SIDE, SIDE),
            augment: Some(steps.clone()),
            exact: false,
            threads,
            ..LoaderConfig::default()
        },
    )
    .unwrap();
    let bare = |epoch| {
        each(source.as_ref(), count, threads, epoch, &|stored, draws| same_work(stored, draws, &steps))
    };
    let first = |epoch| {
        each(source.as_ref(), count, threads, epoch, &|stored, draws| first_loop(stored, draws, &steps))
    };
    let loading = |epoch| {
        for batch in loader.epoch(epoch) {
            loader.recycle(batch.unwrap());
        }
    };
    let ways: [(&str, &dyn Fn(u64)); 3] =
        [("loader", &loading), ("bare loop, the same work", &bare), ("bare loop, zune-jpeg", &first)];
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for ((_, way), rates) in ways.iter().zip(&mut rates) {
            let begin = Instant::now();
            (0..PASSES).for_each(|pass| way(round * PASSES + pass));
            // The first round brings files into memory.
            if round > 0 {
                rates.push((PASSES * count as u64) as f64 / begin.elapsed().as_secs_f64());
            }
        }
    }
    println!("{count} photos a pass, {threads} threads, medians of {ROUNDS}");
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    for ((name, _), others) in ways.iter().zip(&rates) {
        let ratios: Vec<f64> = rates[0].iter().zip(others).map(|(loader, other)| loader / other).collect();
        println!(
            "{name:26} {:6.0} img/s   the loader is at {:5.1} %",
            median(others),
            100.0 * median(&ratios)
        );
    }
}

/// A pass of `threads` threads over the first `count` pictures of an order, one by one as they come.
fn each(
    source: &dyn Source,
    count: usize,
    threads: usize,
    epoch: u64,
    work: &(dyn Fn(&Stored<'_>, &Draws) -> Image + Sync),
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut file = Vec::new();
                let mut room = vec![0; (SIDE * SIDE * 3) as usize];
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    if position >= count {
                        break;
                    }
                    let index = permute(0, epoch, source.len() as u64, position as u64);
                    let stored = source.fetch(index as usize, &mut file).unwrap();
                    let image = work(&stored, &Draws { seed: 0, epoch, index }).with_channels(3);
                    room.copy_from_slice(image.pixels());
                    black_box(&room);
                }
            });
        }
    });
}

fn same_work(stored: &Stored<'_>, draws: &Draws, steps: &Pipeline) -> Image {
    let choose = |width, height| steps.view(width, height, draws);
    let (image, covered) = decode_view(stored, &Limits::default(), false, choose).unwrap();
    let mut scene = Scene::from(image);
    steps.apply_from(covered.unwrap_or(0), &mut scene, draws);
    scene.image
}

fn first_loop(stored: &Stored<'_>, draws: &Draws, steps: &Pipeline) -> Image {
    let Stored::File(bytes) = stored else { unreachable!("a folder has files") };
    let mut decoder = JpegDecoder::new(ZCursor::new(*bytes));
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    let (width, height) = (width as u32, height as u32);
    let channels = (pixels.len() / (width * height) as usize) as u8;
    let image = Image::new(width, height, channels, pixels);
    let (view, _) = steps.view(width, height, draws).unwrap();
    let mut scene = Scene::from(image);
    view.apply(&mut scene);
    scene.image
}
