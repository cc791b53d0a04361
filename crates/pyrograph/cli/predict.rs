//! `pyrograph predict`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::data::source::image_files;
use pyrograph::data::{Error as DataError, ErrorKind, Image, Limits, decode, printable};
use pyrograph::infer::{Prediction, Predictor};

use super::on_disk::refuse_input_address;
use super::{Compute, complain, test_time};

/// Images that go through the network together.
const BATCH: usize = 32;

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Model file, as best.safetensors of a run folder
    model: PathBuf,

    /// Image files, folders of them, or - for one image on standard input
    #[arg(required = true)]
    images: Vec<PathBuf>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// Classes to print, the most probable first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,

    /// Answer with the mean of the probabilities for each image and its mirror image; takes twice the time, and is of use for photos
    #[arg(long)]
    flip: bool,

    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &PredictArgs) -> Result<ExitCode> {
    for path in args.images.iter().chain([&args.model]) {
        refuse_input_address(path)?;
    }
    args.compute.threads()?;
    let (device, _) = args.compute.device()?;
    let predictor = Predictor::load(&args.model, &device)?.with_test_time(test_time(args.flip));
    let mut paths = Vec::new();
    for path in &args.images {
        if path.is_dir() {
            let found = image_files(path)?;
            if found.is_empty() {
                bail!("{}: no images in this folder", path.display());
            }
            paths.extend(found);
        } else {
            paths.push(path.clone());
        }
    }
    let mut failed = 0;
    let mut out = std::io::stdout().lock();
    for paths in paths.chunks(BATCH) {
        let mut names = Vec::new();
        let mut images = Vec::new();
        for path in paths {
            match read(path) {
                Ok(image) => {
                    names.push(path);
                    images.push(image);
                }
                // One bad image among many must not hide the answers for the others.
                Err(error) => {
                    failed += 1;
                    complain(&format!("error: {error}"));
                }
            }
        }
        for (path, predictions) in names.into_iter().zip(predictor.predict(images, args.top as usize)?) {
            writeln!(out, "{}", if args.json { json(path, &predictions) } else { text(path, &predictions) })?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> pyrograph::data::Result<Image> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let limit = Limits::default().max_file_bytes;
        let read = std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes);
        if read.map_err(|e| DataError::at("standard input", e))? as u64 > limit {
            let message = format!("it has more than {} MiB", limit >> 20);
            return Err(DataError::at("standard input", ErrorKind::TooLarge(message)));
        }
        return decode(&bytes, &Limits::default()).map_err(|kind| DataError::at("standard input", kind));
    }
    Image::open(path)
}

fn json(path: &Path, predictions: &[Prediction]) -> String {
    serde_json::json!({ "image": path.to_string_lossy(), "predictions": predictions }).to_string()
}

fn text(path: &Path, predictions: &[Prediction]) -> String {
    let classes: Vec<String> =
        predictions.iter().map(|p| format!("{} {:.1} %", p.class, 100.0 * p.probability)).collect();
    format!("{}: {}", printable(&path.display().to_string()), printable(&classes.join(", ")))
}
