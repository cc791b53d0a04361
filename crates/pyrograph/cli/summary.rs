//! `pyrograph summary`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::infer::ModelFile;
use pyrograph::model::{InputShape, ModelConfig, default_device, summarize};

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
        named(args)?
    };
    write!(std::io::stdout().lock(), "{}", summarize(&config)?)?;
    Ok(ExitCode::SUCCESS)
}

fn named(args: &SummaryArgs) -> Result<ModelConfig> {
    let info = ModelConfig::names().iter().find(|info| info.name == args.model);
    let (size, channels, classes) = info.map_or((224, 3, 1000), |i| (i.default_size, i.channels, i.classes));
    let size = args.size.unwrap_or(size);
    let input =
        InputShape { channels: args.channels.map_or(channels, usize::from), height: size, width: size };
    Ok(ModelConfig::from_name(&args.model, input, args.classes.unwrap_or(classes))?)
}
