//! How fast pictures are fetched from Parquet files: `cargo bench -p pyrograph-data --no-default-features --features parquet --bench parquet`
//! with the paths of Parquet files behind `--`, each a set of its own.
//!
//! Prints pictures and bytes a second in order, in blocks and fully shuffled, fetched and not decoded, with one thread.

// A measurement that cannot go on has nothing better to do than to stop.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use pyrograph_data::order::{Order, Sequence};
use pyrograph_data::source::Parquet;
use pyrograph_data::{Source, Stored};

/// Pictures that a pass fetches at most: a full shuffle of large row groups takes long.
const MOST: u64 = 2_000;

fn main() {
    for path in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
        let begin = Instant::now();
        let source = Parquet::open(&[&path]).unwrap();
        println!("{path}: {source:?}, opened in {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
        for (what, order) in [
            ("in order", Order::Sequential),
            ("blocks of 100, 10 at a time", Order::Blocks { block: 100, window: 10 }),
            ("shuffled", Order::Shuffled),
        ] {
            // Each pass begins with nothing in memory.
            let source = Parquet::open(&[&path]).unwrap();
            let sequence = Sequence::new(&order, 1, 1, &source).unwrap();
            let (mut buffer, mut bytes) = (Vec::new(), 0);
            let count = MOST.min(source.len() as u64);
            let begin = Instant::now();
            for position in 0..count {
                match source.fetch(sequence.at(0, position).index as usize, &mut buffer).unwrap() {
                    Stored::File(file) => bytes += file.len(),
                    Stored::Pixels { bytes: pixels, .. } => bytes += pixels.len(),
                }
            }
            let seconds = begin.elapsed().as_secs_f64();
            println!(
                "  {what}: {count} in {seconds:.2} s, {:.0} img/s, {:.0} MB/s",
                count as f64 / seconds,
                bytes as f64 / seconds / 1e6
            );
        }
    }
}
