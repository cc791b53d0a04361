//! `pyrograph models`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::model::{InputShape, ModelConfig, macs};

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
    let head = ["name", "parameters", "MACs", "input", "equals"];
    writeln!(
        out,
        "{:<22} {:>11} {:>9}  {:<9} {:<11} description",
        head[0], head[1], head[2], head[3], head[4]
    )?;
    for info in ModelConfig::names() {
        if args.filter.as_ref().is_some_and(|filter| !info.name.contains(filter.as_str())) {
            continue;
        }
        let input =
            InputShape { channels: info.channels, height: info.default_size, width: info.default_size };
        let config = ModelConfig::from_name(info.name, input, info.classes)?;
        let macs = macs(info.name).map_or_else(String::new, |macs| format!("{:.2} G", macs as f64 / 1e9));
        writeln!(
            out,
            "{:<22} {:>11} {macs:>9}  {:<9} {:<11} {}",
            info.name,
            config.parameters(),
            input.to_string(),
            info.compared_with().unwrap_or("-"),
            info.description
        )?;
    }
    if args.filter.is_none() {
        writeln!(
            out,
            "\nMACs: multiply-accumulate operations for one image. equals: the library whose logits, loss and gradients the network gives;\n\
             with a dash, only the number of its parameters was compared."
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
