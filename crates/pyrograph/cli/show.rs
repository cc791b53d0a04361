//! `pyrograph show`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use pyrograph::data::order::permute;
use pyrograph::data::source::Subset;
use pyrograph::data::{Image, Loader, LoaderConfig, Pipeline, Preprocess};
use pyrograph::train::augment_steps;

use super::data::{Part, open_without_classes, part};
use super::on_disk::{refuse_existing, refuse_output_address};
use super::{Threads, say};

/// Pixels between two pictures of a sheet.
const GAP: usize = 2;
/// The gray between them.
const GROUND: u8 = 128;
/// Columns of a sheet.
const COLUMNS: usize = 8;

/// Arguments of `show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph show photos/
  pyrograph show photos/ --augment 'random_resized_crop(128)|flip|trivial_augment_wide'

With --augment each row is one image: first as it is measured, then as seven epochs would show it.")]
pub(crate) struct ShowArgs {
    /// Images to show, as for `train`; a folder of images without classes will do, too
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Height and width in pixels that the network sees
    #[arg(long, value_name = "PIXELS", default_value_t = 128, value_parser = clap::value_parser!(u32).range(4..=1024))]
    size: u32,

    /// Steps of training images; without a value a random window and a flip
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "")]
    augment: Option<String>,

    /// Images to show
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    count: u16,

    /// Seed of the choice of images and of every random step
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Part of the data
    #[arg(long, default_value = "train")]
    part: Part,

    /// PNG file to write; one that is there is not written over [default: sheet-N.png]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    threads: Threads,
}

pub(crate) fn run(args: &ShowArgs) -> Result<ExitCode> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => {
            (1..).map(|n| PathBuf::from(format!("sheet-{n}.png"))).find(|p| !p.exists()).unwrap_or_default()
        }
    };
    refuse_output_address(&out)?;
    if out.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        bail!("{}: a sheet is a PNG file; let its name end in .png", out.display());
    }
    refuse_existing(&out)?;
    let size = args.size;
    let steps: Pipeline = format!("resize({size})|center_crop({size})").parse()?;
    let preprocess = Preprocess { steps, ..Preprocess::new(3, size, size) };
    let augment = match args.augment.as_deref() {
        None => None,
        Some("") => augment_steps(&format!("random_resized_crop({size})|flip"), &preprocess, false)?,
        Some(text) => augment_steps(text, &preprocess, false)?,
    };
    let threads = args.threads.count()?;
    let data = open_without_classes(&args.data)?;
    say(&data.description);
    let (_, source) = part(&data, Some(args.part), [Part::Train; 3])?;
    let count = usize::from(args.count).min(source.len());
    let mut config =
        LoaderConfig { batch_size: count, seed: args.seed, preprocess, threads, ..LoaderConfig::default() };
    let chosen = (0..count as u64).map(|n| permute(args.seed, 0, source.len() as u64, n) as usize);
    let chosen: Vec<usize> = chosen.collect();
    for &index in &chosen {
        let class = &source.class_names()[source.label(index) as usize];
        say(&format!("  {class}: {}", source.place(index)));
    }
    let subset = Arc::new(Subset::new(source, chosen)?);
    let plain = batch(&Loader::new(subset.clone(), config.clone())?, 0)?;
    let mut epochs = vec![plain];
    if let Some(steps) = augment {
        say(&steps.to_string());
        config.augment = Some(steps);
        let loader = Loader::new(subset, config.clone())?;
        for epoch in 1..COLUMNS as u64 {
            epochs.push(batch(&loader, epoch)?);
        }
    }
    let bytes = config.preprocess.bytes();
    let tile = |picture: usize, epoch: usize| &epochs[epoch][picture * bytes..][..bytes];
    let every = |picture| (0..epochs.len()).map(move |epoch| (picture, epoch));
    let tiles: Vec<&[u8]> = (0..count).flat_map(every).map(|(picture, epoch)| tile(picture, epoch)).collect();
    let sheet = sheet(&tiles, size as usize);
    write_new(&out, &sheet.to_png()).with_context(|| out.display().to_string())?;
    say(&format!("Sheet of {} pictures: {}", tiles.len(), out.display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet, whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(bytes));
    written.inspect_err(|error| {
        if error.kind() != std::io::ErrorKind::AlreadyExists {
            // Half a sheet is none. If it cannot be removed, either, the first error says what is wrong.
            let _ = fs::remove_file(path);
        }
    })
}

/// The pixels of the one batch of a pass.
fn batch(loader: &Loader, epoch: u64) -> Result<Vec<u8>> {
    let batch = loader.epoch(epoch).next().context("there are no images")??;
    Ok(batch.pixels().to_vec())
}

/// Pictures of `side` x `side` pixels beside and below each other.
fn sheet(tiles: &[&[u8]], side: usize) -> Image {
    let columns = tiles.len().min(COLUMNS);
    let step = side + GAP;
    let (width, height) = (columns * step + GAP, tiles.len().div_ceil(columns) * step + GAP);
    let mut pixels = vec![GROUND; width * height * 3];
    for (number, tile) in tiles.iter().enumerate() {
        let (left, top) = (GAP + number % columns * step, GAP + number / columns * step);
        for (y, row) in tile.chunks_exact(side * 3).enumerate() {
            pixels[((top + y) * width + left) * 3..][..side * 3].copy_from_slice(row);
        }
    }
    Image::new(width as u32, height as u32, 3, pixels)
}
