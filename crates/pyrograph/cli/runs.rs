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
use super::{complain, say};

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
            Err(error) => complain(&format!("left out: {error}")),
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

/// A column: what is above it, how much it is missed where there is no room for all, and what is in it.
type Column = (&'static str, u8, fn(&RunSummary) -> String);

const COLUMNS: [Column; 11] = [
    ("run", 10, |run| run.name().into()),
    ("model", 8, |run| run.recipe.model.clone()),
    ("optimizer", 2, |run| run.recipe.optim.kind.name().into()),
    ("rate", 5, |run| run.recipe.optim.lr.to_string()),
    ("batch", 3, |run| run.recipe.batch.map_or_else(|| "-".into(), |batch| batch.to_string())),
    ("epochs", 7, |run| format!("{}/{}", run.rows.len(), run.recipe.epochs)),
    ("best", 4, |run| run.best.map_or_else(|| "-".into(), |(epoch, _)| epoch.to_string())),
    ("valid", 9, |run| run.best.map_or_else(|| "-".into(), |(_, accuracy)| percent(accuracy))),
    ("measured", 8, |run| match &run.measured {
        Some((part, accuracy)) => format!("{part} {}", percent(*accuracy)),
        None => "not finished".into(),
    }),
    ("time", 6, |run| format!("{:.0} s", run.seconds)),
    ("data", 1, |run| run.recipe.data.path.clone()),
];

/// Columns whose beginnings stand below each other; of the others it is the ends.
const TEXTS: [&str; 5] = ["run", "model", "optimizer", "measured", "data"];

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The runs as a table, on a terminal as many columns of it as have room there.
pub(super) fn write(out: &mut impl Write, runs: &[RunSummary]) -> Result<()> {
    let room = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    Ok(write_into(out, runs, room.unwrap_or(usize::MAX))?)
}

fn write_into(out: &mut impl Write, runs: &[RunSummary], room: usize) -> std::io::Result<()> {
    let mut columns: Vec<(&str, u8, usize, Vec<String>)> = COLUMNS
        .iter()
        .map(|(head, missed, cell)| {
            let cells: Vec<String> = runs.iter().map(cell).collect();
            let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.len());
            (*head, *missed, width, cells)
        })
        .collect();
    while columns.iter().map(|(_, _, width, _)| width + 2).sum::<usize>() > room.saturating_add(2) {
        let Some(least) = (0..columns.len()).min_by_key(|&n| columns[n].1).filter(|_| columns.len() > 1)
        else {
            break;
        };
        columns.remove(least);
    }
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let cells = columns.iter().enumerate().map(|(n, (head, _, width, _))| {
            let cell = cell(n);
            if TEXTS.contains(head) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    line(&|n| columns[n].0.into())?;
    (0..runs.len()).try_for_each(|row| line(&|n| columns[n].3[row].clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_columns_that_have_room() {
        let place = tempfile::tempdir().unwrap();
        for name in ["mlp-1", "a_network_with_a_long_name-12"] {
            let folder = place.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("recipe.toml"), "model = \"mlp\"").unwrap();
        }
        let runs: Vec<RunSummary> = list_runs(place.path()).unwrap().into_iter().flatten().collect();
        let table = |room| {
            let mut out = Vec::new();
            write_into(&mut out, &runs, room).unwrap();
            String::from_utf8(out).unwrap()
        };
        let whole = table(usize::MAX);
        assert!(whole.starts_with("run ") && whole.lines().next().unwrap().ends_with("data"), "{whole}");
        assert!(whole.lines().count() == 3 && whole.contains("not finished"), "{whole}");
        for room in [80, 100, 120] {
            let table = table(room);
            assert!(table.lines().all(|line| line.chars().count() <= room), "{table}");
            assert!(table.contains("valid") && table.contains("mlp-1"), "{table}");
        }
        assert_eq!(table(1), "run\na_network_with_a_long_name-12\nmlp-1\n");
    }
}
