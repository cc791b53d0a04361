//! `pyrograph eval`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::data::{Loader, LoaderConfig, printable};
use pyrograph::infer::{ModelFile, Tally, align, evaluate_at, tensor_loader};

use super::data::{Part, open, part};
use super::on_disk::refuse_input_address;
use super::{Compute, test_time};

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Model file, as best.safetensors of a run folder
    model: PathBuf,

    /// Images to measure on, as for `train`; `digits` for the drawn digits
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Part of the data [default: the first it has of test, validation, train]
    #[arg(long)]
    part: Option<Part>,

    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Answer with the mean of the probabilities for each image and its mirror image; takes twice the time, and is of use for photos
    #[arg(long)]
    flip: bool,

    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &EvalArgs) -> Result<ExitCode> {
    refuse_input_address(&args.model)?;
    let threads = args.compute.threads()?;
    let (device, _) = args.compute.device()?;
    let file = ModelFile::load(&args.model, &device)?;
    let data = open(&args.data)?;
    let (name, source) = part(&data, args.part, [Part::Test, Part::Validation, Part::Train])?;
    let source = align(source, &file.class_names)?;
    let config = LoaderConfig {
        batch_size: args.batch,
        preprocess: file.preprocess.clone(),
        threads,
        ..LoaderConfig::default()
    };
    let loader = tensor_loader(Loader::new(source, config)?, device);
    let evaluation = evaluate_at(test_time(args.flip), &file, &loader, 0, |_| {})?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let tally = &evaluation.tally;
        let report = serde_json::json!({
            "part": name,
            "images": tally.samples(),
            "accuracy": tally.top1(),
            "top5": tally.top5(),
            "loss": tally.loss(),
            "classes": file.class_names,
            "confusion": tally.confusion().chunks(tally.classes()).collect::<Vec<_>>(),
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(out, "{}", data.description)?;
        write_table(&mut out, name, &evaluation.tally, &file.class_names)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Top-5 accuracy, where there are more than five classes for it to say something.
pub(super) fn top5(tally: &Tally) -> String {
    if tally.classes() > 5 { format!("top-5 {:.2} %, ", 100.0 * tally.top5()) } else { String::new() }
}

fn write_table(out: &mut impl Write, part: &str, tally: &Tally, names: &[String]) -> std::io::Result<()> {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("class".len());
    writeln!(out, "{:<width$}  images  recall  precision", "class")?;
    let percent = |part: u64, whole: u64| {
        if whole == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
    };
    let classes = tally.classes();
    for (class, name) in names.iter().enumerate() {
        let row: u64 = tally.confusion()[class * classes..][..classes].iter().sum();
        let column: u64 = tally.confusion().iter().skip(class).step_by(classes).sum();
        let right = tally.confusion()[class * classes + class];
        let name = printable(name);
        writeln!(out, "{name:<width$}  {row:>6}  {:>6}  {:>9}", percent(right, row), percent(right, column))?;
    }
    writeln!(
        out,
        "{part} accuracy {:.2} %  ({}loss {:.4}, {} images)",
        100.0 * tally.top1(),
        top5(tally),
        tally.loss(),
        tally.samples()
    )
}
