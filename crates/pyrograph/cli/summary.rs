//! `pyrograph summary`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::infer::ModelFile;
use pyrograph::model::{default_device, summarize};

use super::named::Shape;
use super::on_disk::refuse_input_address;

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub(crate) struct SummaryArgs {
    /// Model file, or a name from `pyrograph models`
    model: String,

    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn run(args: &SummaryArgs) -> Result<ExitCode> {
    refuse_input_address(&args.model)?;
    let config = if Path::new(&args.model).is_file() {
        ModelFile::load(&args.model, &default_device()?.0)?.config
    } else if args.model.contains(['/', '.']) {
        bail!("{}: there is no such file", args.model);
    } else {
        args.shape.network(&args.model)?
    };
    write!(std::io::stdout().lock(), "{}", summarize(&config)?)?;
    Ok(ExitCode::SUCCESS)
}
