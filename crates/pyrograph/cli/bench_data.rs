//! `pyrograph bench-data`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use pyrograph::burn::optim::{GradientsParams, SgdConfig};
use pyrograph::burn::tensor::Device;
use pyrograph::data::order::Order;
use pyrograph::data::tensor::TensorLoader;
use pyrograph::data::{Loader, LoaderConfig, LoaderStats, Preprocess, Source, Tail};
use pyrograph::model::{InputShape, ModelConfig, cross_entropy};
use serde::Serialize;

use super::Compute;
use super::bench::{median, peak_rss_mib, rate, told_by};
use super::data::{Part, open_without_classes, part};

/// Arguments of `bench-data`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph bench-data photos/ --size 224
  pyrograph bench-data photos/ --model resnet18          is training bound by the loader or by the network?
  pyrograph bench-data photos/ --vs 'python loader.py photos/'

A command after --vs is run in turn with the loader; its last line of output is a JSON object with `img_s`.")]
pub(crate) struct BenchDataArgs {
    /// Images to load, as for `train`; a folder of images without classes will do, too
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Height and width in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = clap::value_parser!(u32).range(4..=4096))]
    size: u32,

    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,

    /// Steps of each image [default: random_resized_crop(SIZE)|flip]
    #[arg(long, value_name = "STEPS")]
    steps: Option<String>,

    /// Decode every picture at its full size, as evaluation does
    #[arg(long)]
    exact: bool,

    /// Seconds of each measurement, at least one pass
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,

    /// Measurements; the median is told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,

    /// Also measure how fast this network trains, and say which of the two holds the other up
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Run this command in turn and compare
    #[arg(long, value_name = "COMMAND")]
    vs: Option<String>,

    /// Part of the data
    #[arg(long, default_value = "train")]
    part: Part,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: Compute,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// The median of the runs.
    img_s: f64,
    /// Of each run.
    img_s_of_runs: Vec<f64>,
    images: usize,
    batch: usize,
    size: u32,
    steps: String,
    threads: usize,
    /// From asking for a pass to its first batch, the median.
    first_batch_ms: f64,
    /// Shares of the time of the decoding threads.
    fetching: f64,
    decoding: f64,
    waiting: f64,
    megabytes_s: f64,
    /// Of this process, where the system tells.
    peak_rss_mib: Option<u64>,
    /// Images a second of the network alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_img_s: Option<f64>,
    /// What the other command told, and how many times faster this loader is, the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_img_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

pub(crate) fn run(args: &BenchDataArgs) -> Result<ExitCode> {
    let threads = args.compute.threads()?;
    let data = open_without_classes(&args.data)?;
    let (_, source) = part(&data, Some(args.part), [Part::Train; 3])?;
    let size = args.size;
    let steps = args.steps.clone().unwrap_or_else(|| format!("random_resized_crop({size})|flip"));
    let batch = args.batch.min(source.len());
    let config = LoaderConfig {
        batch_size: batch,
        order: Order::Shuffled,
        tail: Tail::Drop,
        preprocess: Preprocess::new(3, size, size),
        augment: Some(steps.parse()?),
        exact: args.exact,
        threads,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(source.clone(), config.clone())?;
    // The first pass brings files into memory.
    pass(&loader, 0)?;
    let before = loader.stats();
    let (mut rates, mut firsts, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut working = Duration::ZERO;
    for run in 0..args.runs {
        let measured = measure(&loader, args.seconds, u64::from(run) * 1000 + 1)?;
        working += measured.1;
        rates.push(measured.0);
        firsts.push(measured.2);
        if let Some(command) = &args.vs {
            let told = told_by(command)?;
            let other = rate(&told, "img_s");
            let other = other.with_context(|| format!("{command}: its last line has no `img_s`: {told}"))?;
            ratios.push(measured.0 / other);
            others.push(other);
        }
    }
    let stages = since(&before, &loader.stats());
    let all = (threads.max(1) as f64 * working.as_secs_f64()).max(f64::MIN_POSITIVE);
    let share = |time: Duration| time.as_secs_f64() / all;
    let network_img_s = match &args.model {
        Some(model) => Some(network_rate(args, model, &source, config)?),
        None => None,
    };
    let measured = Measured {
        img_s: median(&rates),
        img_s_of_runs: rates,
        images: source.len(),
        batch,
        size,
        steps,
        threads,
        first_batch_ms: median(&firsts),
        fetching: share(stages.fetching),
        decoding: share(stages.decoding),
        waiting: (1.0 - share(stages.fetching) - share(stages.decoding)).max(0.0),
        megabytes_s: stages.bytes as f64 / 1e6 / working.as_secs_f64(),
        peak_rss_mib: peak_rss_mib(),
        network_img_s,
        other_img_s: (!others.is_empty()).then(|| median(&others)),
        ratio: (!ratios.is_empty()).then(|| median(&ratios)),
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&measured)?)?;
    } else {
        writeln!(out, "{}", data.description)?;
        write_text(&mut out, &measured)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_text(out: &mut impl Write, m: &Measured) -> std::io::Result<()> {
    writeln!(out, "{}, batches of {}, {} threads\n", m.steps, m.batch, m.threads)?;
    let runs: Vec<String> = m.img_s_of_runs.iter().map(|rate| format!("{rate:.0}")).collect();
    writeln!(out, "loader        {:.0} images a second (runs {})", m.img_s, runs.join(", "))?;
    writeln!(out, "first batch   after {:.0} ms", m.first_batch_ms)?;
    writeln!(
        out,
        "threads       decoding {:.0} %, fetching {:.0} %, waiting {:.0} %; {:.0} MB a second from storage",
        100.0 * m.decoding,
        100.0 * m.fetching,
        100.0 * m.waiting,
        m.megabytes_s
    )?;
    if let Some(rss) = m.peak_rss_mib {
        writeln!(out, "memory        {rss} MiB at most")?;
    }
    if let Some(network) = m.network_img_s {
        writeln!(out, "network       {network:.0} images a second, if data cost nothing")?;
        let headspace = m.img_s / network;
        let verdict = if headspace < 1.0 { "loader-bound" } else { "not loader-bound" };
        writeln!(
            out,
            "training      {verdict}: the loader gives {headspace:.2} times what the network takes"
        )?;
    }
    if let (Some(other), Some(ratio)) = (m.other_img_s, m.ratio) {
        writeln!(out, "other         {other:.0} images a second; the loader is {ratio:.2} times as fast")?;
    }
    Ok(())
}

/// Images of one pass, and the time until its first batch.
fn pass(loader: &Loader, epoch: u64) -> Result<(usize, Duration)> {
    let asked = Instant::now();
    let mut first = Duration::ZERO;
    let mut images = 0;
    for batch in loader.epoch(epoch) {
        let batch = batch?;
        if images == 0 {
            first = asked.elapsed();
        }
        images += batch.labels.len();
        loader.recycle(batch);
    }
    Ok((images, first))
}

/// Images a second over passes of at least `seconds`, the time they took, and milliseconds to the first batch.
fn measure(loader: &Loader, seconds: f64, first_epoch: u64) -> Result<(f64, Duration, f64)> {
    let started = Instant::now();
    let mut images = 0;
    let mut firsts = Vec::new();
    for epoch in first_epoch.. {
        let (count, first) = pass(loader, epoch)?;
        images += count;
        firsts.push(1000.0 * first.as_secs_f64());
        if started.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    let elapsed = started.elapsed();
    Ok((images as f64 / elapsed.as_secs_f64(), elapsed, median(&firsts)))
}

/// How fast the network would train if data cost nothing: steps on one batch that stays on the device.
fn network_rate(
    args: &BenchDataArgs,
    name: &str,
    source: &Arc<dyn Source>,
    config: LoaderConfig,
) -> Result<f64> {
    let device: Device = args.compute.device()?.0.autodiff();
    let side = args.size as usize;
    let input = InputShape { channels: 3, height: side, width: side };
    let mut model = ModelConfig::from_name(name, input, source.class_names().len().max(2))?.init(0, &device);
    let mut optimizer = SgdConfig::new().init();
    let loader = TensorLoader::new(Loader::new(source.clone(), config)?, device);
    let batch = loader.epoch(0).next().context("there are no images")??;
    let count = batch.indices.len();
    let mut started = Instant::now();
    let mut steps = 0;
    loop {
        let logits = model.forward(batch.images.clone());
        let loss = cross_entropy(logits, batch.targets.clone(), 0.0);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-4, model, gradients);
        // Reading a number waits for the device.
        let _ = loss.into_scalar::<f32>();
        if steps == 0 {
            // The first step allocates, and compiles on some devices.
            started = Instant::now();
        } else if started.elapsed().as_secs_f64() >= args.seconds {
            return Ok((steps * count) as f64 / started.elapsed().as_secs_f64());
        }
        steps += 1;
    }
}

fn since(before: &LoaderStats, after: &LoaderStats) -> LoaderStats {
    LoaderStats {
        bytes: after.bytes - before.bytes,
        fetching: after.fetching - before.fetching,
        decoding: after.decoding - before.decoding,
        ..*after
    }
}
