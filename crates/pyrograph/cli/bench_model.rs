//! `pyrograph bench-model`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pyrograph::burn::optim::{GradientsParams, ModuleOptimizer};
use pyrograph::burn::tensor::{Device, Distribution, Int, Tensor};
use pyrograph::model::{InputShape, Model, ModelConfig, cross_entropy, on_compute_thread, summarize};
use pyrograph::train::Sgd;
use serde::Serialize;

use super::Compute;
use super::bench::{median, peak_rss_mib, rate, told_by};
use super::named::Shape;

/// Arguments of `bench-model`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph bench-model resnet50 --batch 8
  pyrograph bench-model resnet18 --batch 8 --vs 'python benches/torch_step.py resnet18 --batch 8'

A command after --vs is run in turn with the network; its last line of output is a JSON object with `train_img_s`, `infer_img_s` or both.")]
pub(crate) struct BenchModelArgs {
    /// Network (see `pyrograph models`)
    model: String,

    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch: u32,

    #[command(flatten)]
    shape: Shape,

    /// Seconds of each measurement, at least three steps
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,

    /// Measurements; the median is told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,

    /// Measure one of the two
    #[arg(long, value_name = "WHAT")]
    only: Option<Work>,

    /// Run this command in turn and compare
    #[arg(long, value_name = "COMMAND")]
    vs: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: Compute,
}

/// What a network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    Train,
    Infer,
}

/// What was measured: medians of the runs.
#[derive(Debug, Serialize)]
struct Measured {
    model: String,
    batch: usize,
    input: String,
    device: String,
    threads: usize,
    /// Steps of SGD with momentum, with loss and gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    train_img_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_img_s: Option<f64>,
    /// A batch of inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_ms: Option<f64>,
    /// Of inference, by the network's multiply-accumulates.
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_gflop_s: Option<f64>,
    /// Of this process, where the system tells.
    peak_rss_mib: Option<u64>,
    /// What the other command told, and how many times faster this is.
    #[serde(skip_serializing_if = "Other::is_empty")]
    other: Other,
}

/// Rates of another program, and the medians of ours over theirs.
#[derive(Debug, Default, Serialize)]
struct Other {
    #[serde(skip_serializing_if = "Option::is_none")]
    train_img_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_img_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_ratio: Option<f64>,
}

impl Other {
    fn is_empty(&self) -> bool {
        self.train_img_s.is_none() && self.infer_img_s.is_none()
    }
}

/// One of two rates in every run, and that of another program beside it.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    others: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rates {
    fn add(&mut self, ours: Option<f64>, other: Option<f64>) {
        self.ours.extend(ours);
        if let (Some(ours), Some(other)) = (ours, other) {
            self.others.push(other);
            self.ratios.push(ours / other);
        }
    }

    /// The medians: ours, the other's, and of the ratios.
    fn medians(&self) -> [Option<f64>; 3] {
        [&self.ours, &self.others, &self.ratios].map(|rates| (!rates.is_empty()).then(|| median(rates)))
    }
}

pub(crate) fn run(args: &BenchModelArgs) -> Result<ExitCode> {
    let threads = args.compute.threads()?;
    let (device, device_name) = args.compute.device()?;
    let config = args.shape.network(&args.model)?;
    let batch = args.batch as usize;
    let bench = Bench::new(&config, batch, &device.autodiff());
    let (mut train, mut infer) = (Rates::default(), Rates::default());
    for _ in 0..args.runs {
        let wanted = |work| args.only.is_none_or(|only| only == work);
        let trained = wanted(Work::Train).then(|| bench.train(args.seconds)).transpose()?;
        let answered = wanted(Work::Infer).then(|| bench.infer(args.seconds)).transpose()?;
        let told = args.vs.as_deref().map(told_by).transpose()?.unwrap_or_default();
        let theirs = [rate(&told, "train_img_s"), rate(&told, "infer_img_s")];
        if let (Some(command), [None, None]) = (&args.vs, theirs) {
            bail!("{command}: its last line tells neither `train_img_s` nor `infer_img_s`");
        }
        train.add(trained, theirs[0]);
        infer.add(answered, theirs[1]);
    }
    let [train_img_s, other_train, train_ratio] = train.medians();
    let [infer_img_s, other_infer, infer_ratio] = infer.medians();
    let macs = summarize(&config)?.macs();
    let measured = Measured {
        model: args.model.clone(),
        batch,
        input: config.input().to_string(),
        device: device_name,
        threads,
        train_img_s,
        infer_img_s,
        infer_ms: infer_img_s.map(|rate| 1000.0 * batch as f64 / rate),
        infer_gflop_s: infer_img_s.map(|rate| 2e-9 * macs as f64 * rate),
        peak_rss_mib: peak_rss_mib(),
        other: Other { train_img_s: other_train, train_ratio, infer_img_s: other_infer, infer_ratio },
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&measured)?)?;
    } else {
        write_text(&mut out, &measured)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_text(out: &mut impl Write, m: &Measured) -> std::io::Result<()> {
    writeln!(
        out,
        "{} on {} images, batches of {}, {}, {} threads\n",
        m.model, m.input, m.batch, m.device, m.threads
    )?;
    let against = |other: Option<f64>, ratio: Option<f64>| match (other, ratio) {
        (Some(other), Some(ratio)) => format!("; the other {other:.1}, ratio {ratio:.2}"),
        _ => String::new(),
    };
    let Other { train_img_s, train_ratio, infer_img_s, infer_ratio } = m.other;
    if let Some(rate) = m.train_img_s {
        writeln!(out, "training    {rate:.1} images a second{}", against(train_img_s, train_ratio))?;
    }
    if let (Some(rate), Some(ms), Some(gflop_s)) = (m.infer_img_s, m.infer_ms, m.infer_gflop_s) {
        writeln!(out, "inference   {rate:.1} images a second{}", against(infer_img_s, infer_ratio))?;
        writeln!(out, "            {ms:.1} ms a batch, {gflop_s:.0} GFLOP/s")?;
    }
    if let Some(rss) = m.peak_rss_mib {
        writeln!(out, "memory      {rss} MiB at most")?;
    }
    Ok(())
}

/// Steps that allocate, and compile on some devices, and are not measured.
const WARM_UP: usize = 2;

/// A network and one batch, which stays on the device.
struct Bench<'a> {
    config: &'a ModelConfig,
    images: Tensor<4>,
    targets: Tensor<1, Int>,
}

impl<'a> Bench<'a> {
    fn new(config: &'a ModelConfig, batch: usize, device: &Device) -> Self {
        let InputShape { channels, height, width } = config.input();
        let targets: Vec<i64> = (0..batch).map(|n| (n % config.classes()) as i64).collect();
        let normal = Distribution::Normal(0.0, 1.0);
        Self {
            config,
            images: Tensor::random([batch, channels, height, width], normal, device),
            targets: Tensor::from_data(targets.as_slice(), &device.clone().inner()),
        }
    }

    /// A network of its own for each measurement, so that its weights are all that there are.
    fn network(&self) -> Model {
        self.config.init(0, &self.images.device())
    }

    /// Images a second of steps of SGD with momentum.
    fn train(&self, seconds: f64) -> Result<f64> {
        let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        let mut optimizer = ModuleOptimizer::from(sgd);
        let (images, targets) = (self.images.clone(), self.targets.clone());
        self.rate(seconds, self.network(), |model| {
            let loss = cross_entropy(model.forward(images.clone()), targets.clone(), 0.0);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let model = optimizer.step(0.01, model, gradients);
            // Reading a number waits for the device.
            loss.try_into_data().map(|_| model)
        })
    }

    /// Images a second of answers.
    fn infer(&self, seconds: f64) -> Result<f64> {
        let images = self.images.clone().inner();
        self.rate(seconds, self.network().prepare_for_inference(), |network| {
            network.forward(images.clone()).try_into_data().map(|_| network)
        })
    }

    /// Images a second of a step that is made again and again: by the median of its times, for others may use the machine, too.
    fn rate<S: Send, E: Into<anyhow::Error> + Send>(
        &self,
        seconds: f64,
        mut state: S,
        mut step: impl FnMut(S) -> Result<S, E> + Send,
    ) -> Result<f64> {
        let mut times = Vec::new();
        let device = self.images.device();
        while times.len() < WARM_UP + 3 || times[WARM_UP..].iter().sum::<f64>() < seconds {
            let started = Instant::now();
            state = on_compute_thread(&device, || step(state)).map_err(Into::into)?;
            times.push(started.elapsed().as_secs_f64());
        }
        Ok(self.images.dims()[0] as f64 / median(&times[WARM_UP..]))
    }
}
