//! How long it takes to open a folder of images: the first time, and again when nothing has changed.
//!
//! ```text
//! cargo run --release -p pyrograph-data --example open_times            100,000 empty files in 100 classes, made for it
//! cargo run --release -p pyrograph-data --example open_times -- 10000   another number of files
//! ```
//!
//! The second time is that of a kept listing, the third that of a listing after one file was added.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pyrograph_data::Source;
use pyrograph_data::source::{Folder, Scan};

const CLASSES: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: usize = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let place = tempfile::tempdir()?;
    let (root, cache) = (place.path().join("photos"), place.path().join("cache"));
    for class in 0..CLASSES {
        let folder = root.join(format!("class{class:03}"));
        fs::create_dir_all(&folder)?;
        for number in (class..files).step_by(CLASSES) {
            fs::File::create(folder.join(format!("picture-{number:08}.jpg")))?;
        }
    }
    // A tree that changed just now is not kept.
    std::thread::sleep(Duration::from_secs(3));
    println!("{files} files in {CLASSES} classes");
    open("without a listing", &root, &cache)?;
    open("with the listing", &root, &cache)?;
    open("with the listing", &root, &cache)?;
    fs::File::create(root.join("class000/new.jpg"))?;
    open("after a change", &root, &cache)?;
    Ok(())
}

fn open(what: &str, root: &Path, cache: &Path) -> pyrograph_data::Result<()> {
    let start = Instant::now();
    let folder = Folder::open_with(root, None, &mut Scan::new().with_cache(Some(cache.into())))?;
    let milliseconds = 1e3 * start.elapsed().as_secs_f64();
    println!("{what:20} {milliseconds:8.2} ms, {} images", folder.len());
    Ok(())
}
