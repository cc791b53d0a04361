//! `pyrograph check`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::data::check::Severity;
use pyrograph::data::{CheckOptions, check};
use pyrograph::train::image_bar;

use super::Threads;
use super::data::open_without_classes;

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when something is found that training would fail on, or that makes a measurement worthless."
)]
pub(crate) struct CheckArgs {
    /// Images to check, as for `train`; a folder of images without classes will do, too
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Findings of a kind to print
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: usize,

    #[command(flatten)]
    threads: Threads,
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    args.threads.count()?;
    let data = open_without_classes(&args.data)?;
    let bar = image_bar("checking".into(), 0);
    let report = check(&data, &CheckOptions::default(), &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{}", report.text(args.lines))?;
    }
    let is_bad = report.count(Severity::Error) > 0;
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
