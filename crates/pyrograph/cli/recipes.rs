//! `pyrograph recipes`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::train::ShippedRecipe;

const EXAMPLES: &str = "\
Examples:
  pyrograph recipes
  pyrograph recipes cifar10_resnet20 > mine.toml
  pyrograph train cifar/ --recipe cifar10_resnet20";

/// Arguments of `recipes`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RecipesArgs {
    /// Print this one, whole
    name: Option<String>,
}

pub(crate) fn run(args: &RecipesArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match &args.name {
        Some(name) => write!(out, "{}", ShippedRecipe::from_name(name)?.text)?,
        None => {
            for recipe in ShippedRecipe::all() {
                writeln!(out, "{:<18} {}", recipe.name, recipe.title())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
