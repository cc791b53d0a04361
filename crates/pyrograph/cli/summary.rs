//! `pyrograph summary`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::infer::ModelFile;
use pyrograph::model::{default_device, summarize};

use super::named::network;
use super::on_disk::refuse_input_address;

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub(crate) struct SummaryArgs {
    /// Model file, or a name from `pyrograph models`
    model: String,

    /// Height and width in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,

    /// 1 (gray) or 3 (colour) [default: the network's own]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    channels: Option<u8>,

    /// Number of classes [default: the network's own]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
}

pub(crate) fn run(args: &SummaryArgs) -> Result<ExitCode> {
    refuse_input_address(&args.model)?;
    let config = if Path::new(&args.model).is_file() {
        ModelFile::load(&args.model, &default_device()?.0)?.config
    } else if args.model.contains(['/', '.']) {
        bail!("{}: there is no such file", args.model);
    } else {
        network(&args.model, args.size, args.channels, args.classes)?
    };
    write!(std::io::stdout().lock(), "{}", summarize(&config)?)?;
    Ok(ExitCode::SUCCESS)
}
