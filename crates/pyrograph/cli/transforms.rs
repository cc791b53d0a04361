//! `pyrograph transforms`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::data::Pipeline;
use pyrograph::data::transform::{Argument, Step};

const EXAMPLES: &str = "\
Examples:
  pyrograph transforms                  every step, with the values it has where none are given
  pyrograph transforms crop             those with `crop` in their names, with what their arguments may be
  pyrograph show photos/ --augment 'random_resized_crop(128, scale=0.35..1)|flip|trivial_augment_wide'";

/// Arguments of `transforms`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TransformsArgs {
    /// Show only names that contain this, and what their arguments may be
    filter: Option<String>,
}

pub(crate) fn run(args: &TransformsArgs) -> Result<ExitCode> {
    let filter = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let mut names = Step::names().filter(|name| name.contains(&filter)).peekable();
    if names.peek().is_none() {
        bail!(unknown(&filter));
    }
    let mut out = std::io::stdout().lock();
    for name in names {
        let arguments = Step::arguments_of(name).unwrap_or_default();
        let call: Vec<String> = arguments.iter().map(written).collect();
        let call = if call.is_empty() { name.to_owned() } else { format!("{name}({})", call.join(", ")) };
        writeln!(out, "{call}")?;
        if args.filter.is_some() {
            for argument in &arguments {
                writeln!(out, "    {:<14} {}", argument.name, argument.may_be)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is said of a name that no step has.
fn unknown(filter: &str) -> String {
    if matches!(filter, "mixup" | "cutmix" | "mix") {
        let key = if filter == "mix" { "mixup" } else { filter };
        return format!(
            "`{filter}` is no step: whole batches are mixed, as with `train --set mix.{key}=1.0`"
        );
    }
    let parsed = filter.parse::<Pipeline>().err().map(|error| error.to_string());
    // The nearest name, where there is one.
    parsed
        .filter(|message| message.contains("did you mean"))
        .unwrap_or_else(|| format!("no step has `{filter}` in its name; `pyrograph transforms` lists all"))
}

/// `size`, `[width]` or `p=0.5`.
fn written(argument: &Argument) -> String {
    match argument.default.as_deref() {
        None => argument.name.to_owned(),
        Some("") => format!("[{}]", argument.name),
        Some(value) => format!("{}={value}", argument.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_told_with_what_may_be_meant() {
        for (name, what) in [
            ("flop", "did you mean `flip`?"),
            ("cutmix", "--set mix.cutmix=1.0"),
            ("mixup", "--set mix.mixup=1.0"),
            ("nothing_like_it", "lists all"),
        ] {
            assert!(unknown(name).contains(what), "{}", unknown(name));
        }
    }
}
