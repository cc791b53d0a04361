//! `pyrograph models`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::model::{InputShape, ModelConfig};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// Show only names that contain this
    filter: Option<String>,
}

pub(crate) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    if let Some(filter) = &args.filter
        && !ModelConfig::names().iter().any(|info| info.name.contains(filter.as_str()))
    {
        bail!("no network has `{filter}` in its name; `pyrograph models` lists all");
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<16} {:>12}  {:<12} description", "name", "parameters", "input")?;
    for info in ModelConfig::names() {
        if args.filter.as_ref().is_some_and(|filter| !info.name.contains(filter.as_str())) {
            continue;
        }
        let input =
            InputShape { channels: info.channels, height: info.default_size, width: info.default_size };
        let config = ModelConfig::from_name(info.name, input, info.classes)?;
        writeln!(
            out,
            "{:<16} {:>12}  {:<12} {}",
            info.name,
            config.parameters(),
            input.to_string(),
            info.description
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
