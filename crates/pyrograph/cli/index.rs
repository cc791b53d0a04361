//! `pyrograph index`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::data::shard::{IndexOptions, index};
use pyrograph::train::image_bar;

use super::on_disk::refuse_input_address;
use super::{Threads, complain, say};

/// Arguments of `index`.
#[derive(Debug, Args)]
#[command(
    after_help = "Any WebDataset becomes an image set that `train` reads in any order, without a copy."
)]
pub(crate) struct IndexArgs {
    /// A .tar file, a folder of them, or a folder with train/, validation/ … of such
    shards: PathBuf,

    /// Index what can be read of damaged shards, too
    #[arg(long)]
    leave_out_damaged: bool,

    /// Read shards again whose index is good
    #[arg(long)]
    again: bool,

    #[command(flatten)]
    threads: Threads,
}

pub(crate) fn run(args: &IndexArgs) -> Result<ExitCode> {
    refuse_input_address(&args.shards)?;
    let options = IndexOptions {
        threads: args.threads.count()?,
        leave_out_damaged: args.leave_out_damaged,
        again: args.again,
    };
    let bar = image_bar("MiB of shards".into(), 0);
    let report = index(&args.shards, &options, &mut |progress| {
        bar.set_length(progress.bytes >> 20);
        bar.set_position(progress.bytes_done >> 20);
    })?;
    bar.finish_and_clear();
    for failure in &report.failures {
        complain(&format!("error: {failure}"));
    }
    say(&format!(
        "{} shards indexed ({} were already), {} samples; {} damaged, {} samples without a picture, {} unusable, \
         {} entries refused",
        report.shards,
        report.unchanged,
        report.samples,
        report.damaged.len(),
        report.without_picture,
        report.unusable,
        report.refused
    ));
    Ok(if report.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
