//! How fast shards are opened and read: `cargo bench -p pyrograph-data --no-default-features --bench shards`.
//!
//! Prints the time to open ten million samples, a label and a place in the set at random positions, and raw pictures of
//! 256 x 256 x 3 a second, from memory that holds the files already. With the path of a folder of photos behind `--`, also how
//! fast they are packed, and how large they become.

// A measurement that cannot go on has nothing better to do than to stop.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use pyrograph_data::order::{SampleRng, permute};
use pyrograph_data::pack::{Encoding, PackOptions, pack};
use pyrograph_data::shard::{IndexOptions, index};
use pyrograph_data::source::{Folder, Memory, Shards};
use pyrograph_data::{Image, Sample, Source};

const SHARDS: u64 = 1_000;
const SAMPLES_A_SHARD: u64 = 10_000;
/// Bytes of one sample of the large set, as its index claims.
const SAMPLE_BYTES: u64 = 110 << 10;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    open_ten_million(folder.path());
    read_raw(folder.path());
    if let Some(photos) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        pack_photos(Path::new(&photos), folder.path());
    }
}

/// Shards that are all hole, and indexes that are not.
fn open_ten_million(folder: &Path) {
    let folder = folder.join("large");
    std::fs::create_dir(&folder).unwrap();
    let names: Vec<String> = (0..1000).map(|class| format!("n{class:08}")).collect();
    for shard in 0..SHARDS {
        let tar = folder.join(format!("large-{shard:06}.tar"));
        let file = std::fs::File::create(&tar).unwrap();
        file.set_len(SAMPLES_A_SHARD * SAMPLE_BYTES).unwrap();
        write_index(&folder.join(format!("large-{shard:06}.tar.idx")), &names);
    }
    let before = resident();
    let begin = Instant::now();
    let shards = Shards::open(&folder).unwrap();
    println!(
        "opened {} samples in {} shards: {:.2} s",
        shards.len(),
        shards.shard_count(),
        begin.elapsed().as_secs_f64()
    );
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("memory: {:.1} bytes a sample", (after - before) as f64 / shards.len() as f64);
    }
    let len = shards.len() as u64;
    let time = |what: &str, count: u64, look: &dyn Fn(usize)| {
        let begin = Instant::now();
        (0..count).for_each(|position| look(permute(1, 2, len, position) as usize));
        println!("{what} of a random sample: {:.0} ns", begin.elapsed().as_nanos() as f64 / count as f64);
    };
    time("order alone", 1_000_000, &|index| {
        black_box(index);
    });
    time("order and label", 1_000_000, &|index| {
        black_box(shards.label(index));
    });
    time("place, with its name", 20_000, &|index| {
        black_box(shards.place(index));
    });
}

/// An index as the documentation of `shard` describes it.
fn write_index(path: &Path, class_names: &[String]) {
    let mut body = Vec::new();
    let mut picture_names = Vec::new();
    let mut random = SampleRng::new(1, 2, 3, 4);
    for sample in 0..SAMPLES_A_SHARD {
        let name = format!("{sample:08}_picture.jpg");
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        body.extend((sample * SAMPLE_BYTES).to_le_bytes());
        body.extend(hash.to_le_bytes());
        let label = random.below(class_names.len() as u64) as u32;
        for word in [SAMPLE_BYTES as u32, 0, 500, 375, label, picture_names.len() as u32] {
            body.extend(word.to_le_bytes());
        }
        body.extend((name.len() as u16).to_le_bytes());
        body.extend([1, 3, 1, 0, 0, 0]);
        picture_names.extend(name.bytes());
    }
    let records = body.len();
    for name in class_names {
        body.extend((name.len() as u16).to_le_bytes());
        body.extend(name.bytes());
    }
    let hole = crc32c::crc32c(&[0; 16 << 10]);
    let mut header = b"tarindex".to_vec();
    header.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    header.extend(SAMPLES_A_SHARD.to_le_bytes());
    header.extend((SAMPLES_A_SHARD * SAMPLE_BYTES).to_le_bytes());
    header.extend((picture_names.len() as u64).to_le_bytes());
    let class_bytes = (body.len() - records) as u32;
    for word in [hole, hole, class_names.len() as u32, class_bytes, crc32c::crc32c(&body)] {
        header.extend(word.to_le_bytes());
    }
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    [header, body, picture_names].iter().for_each(|part| out.write_all(part).unwrap());
    out.flush().unwrap();
}

fn read_raw(folder: &Path) {
    let out = folder.join("raw");
    let mut random = SampleRng::new(5, 6, 7, 8);
    let mut sample = |label: u32| {
        let pixels = (0..256 * 256 * 3).map(|_| random.next_u64() as u8).collect();
        Sample { image: Image::new(256, 256, 3, pixels), label }
    };
    let samples = (0..1_000).map(|number| sample(number % 10)).collect();
    let source = Memory::new(samples, (0..10).map(|class| class.to_string()).collect()).unwrap();
    let options = PackOptions {
        encoding: Encoding::Raw { square: None },
        shard_bytes: 32 << 20,
        ..PackOptions::default()
    };
    let begin = Instant::now();
    let report = pack(&source, &out, &options, &mut |_| ()).unwrap();
    println!("packed {} MB as raw pixels: {:.2} s", report.bytes / 1_000_000, begin.elapsed().as_secs_f64());
    let shards = Shards::open(&out).unwrap();
    for threads in [1, 2] {
        let passes = 5;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let shards = &shards;
                scope.spawn(move || {
                    let mut buffer = Vec::new();
                    for position in 0..passes * shards.len() as u64 {
                        let (epoch, position) =
                            (position / shards.len() as u64, position % shards.len() as u64);
                        let index = permute(thread, epoch, shards.len() as u64, position) as usize;
                        black_box(shards.fetch(index, &mut buffer).unwrap());
                    }
                });
            }
        });
        let seconds = begin.elapsed().as_secs_f64();
        let fetched = (threads * passes * shards.len() as u64) as f64;
        println!(
            "raw 256x256x3, {threads} threads: {:.0} samples/s, {:.1} GB/s, checksums checked",
            fetched / seconds,
            fetched * 196_624.0 / seconds / 1e9
        );
    }
}

fn pack_photos(photos: &Path, folder: &Path) {
    let source = Folder::open(photos).unwrap();
    let jpeg = |restart| PackOptions {
        encoding: Encoding::Jpeg { quality: 90, restart },
        short_side: Some(256),
        ..PackOptions::default()
    };
    let cases = [
        ("as they are", PackOptions::default()),
        ("as JPEG", jpeg(false)),
        ("as JPEG with restarts", jpeg(true)),
    ];
    for (number, (what, options)) in cases.into_iter().enumerate() {
        let out = folder.join(number.to_string());
        let begin = Instant::now();
        let report = pack(&source, &out, &options, &mut |_| ()).unwrap();
        let rate = report.samples as f64 / begin.elapsed().as_secs_f64();
        println!("photos {what}: {rate:.0} images/s, {} kB", report.bytes / 1000);
        let begin = Instant::now();
        let again = IndexOptions { again: true, ..IndexOptions::default() };
        index(&out, &again, &mut |_| ()).unwrap();
        println!("indexed again: {:.0} images/s", report.samples as f64 / begin.elapsed().as_secs_f64());
    }
}

/// Bytes of memory that this process holds, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}
