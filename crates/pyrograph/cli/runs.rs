//! `pyrograph runs`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use pyrograph::train::report::compare;
use pyrograph::train::{RunSummary, list_runs};

use super::on_disk::refuse_output_address;
use super::say;

/// Arguments of `runs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph runs
  pyrograph runs --best            the best validation accuracy first
  pyrograph runs --html runs.html  curves in a page as well")]
pub(crate) struct RunsArgs {
    /// The folder with run folders in it
    #[arg(default_value = "runs")]
    folder: PathBuf,

    /// Order by validation accuracy
    #[arg(long)]
    best: bool,

    /// Write a page with the table and the curves as well (.html); one that is there is replaced
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &RunsArgs) -> Result<ExitCode> {
    args.html.as_deref().map_or(Ok(()), refuse_page)?;
    let mut runs = Vec::new();
    for run in list_runs(&args.folder)? {
        match run {
            Ok(run) => runs.push(run),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    if runs.is_empty() {
        bail!("{}: there are no runs in it", args.folder.display());
    }
    if args.best {
        let accuracy = |run: &RunSummary| run.best.map_or(-1.0, |(_, accuracy)| accuracy);
        runs.sort_by(|a, b| accuracy(b).total_cmp(&accuracy(a)));
    }
    write(&mut std::io::stdout().lock(), &runs)?;
    if let Some(file) = &args.html {
        let page = compare(&format!("Runs in {}", args.folder.display()), &runs)?;
        fs::write(file, page).with_context(|| format!("{}: the page cannot be written", file.display()))?;
        say(&format!("\nPage  {}", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a place where no page may be written.
fn refuse_page(file: &Path) -> Result<()> {
    refuse_output_address(file)?;
    if file.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("html")) {
        bail!("{}: a page is an HTML file; let its name end in .html", file.display());
    }
    if file.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        bail!("{}: there is something that is not a file; choose another name", file.display());
    }
    Ok(())
}

/// The runs as a table.
pub(super) fn write(out: &mut impl Write, runs: &[RunSummary]) -> Result<()> {
    let width = runs.iter().map(|run| run.name().chars().count()).max().unwrap_or(0).max(3);
    let model = runs.iter().map(|run| run.recipe.model.len()).max().unwrap_or(0).max(5);
    let head = ["run", "model", "optimizer", "rate", "batch", "epochs", "best", "valid", "measured", "time"];
    writeln!(
        out,
        "{:<width$}  {:<model$}  {:<9} {:>8} {:>6} {:>9} {:>5} {:>8}  {:<16} {:>9}  data",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9]
    )?;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    for run in runs {
        let recipe = &run.recipe;
        let (best, valid) = match run.best {
            Some((epoch, accuracy)) => (epoch.to_string(), percent(accuracy)),
            None => ("-".into(), "-".into()),
        };
        let measured = match &run.measured {
            Some((part, accuracy)) => format!("{part} {}", percent(*accuracy)),
            None => "not finished".into(),
        };
        writeln!(
            out,
            "{:<width$}  {:<model$}  {:<9} {:>8} {:>6} {:>9} {best:>5} {valid:>8}  {measured:<16} {:>7.0} s  {}",
            run.name(),
            recipe.model,
            recipe.optim.kind.name(),
            recipe.optim.lr,
            recipe.batch.map_or_else(|| "-".into(), |batch| batch.to_string()),
            format!("{}/{}", run.rows.len(), recipe.epochs),
            run.seconds,
            recipe.data.path,
        )?;
    }
    Ok(())
}
