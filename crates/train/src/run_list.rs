//! Runs side by side, as their folders tell of them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::run_folder::{failure, read_metrics, read_recipe};
use crate::sweep_folder::is_sweep;
use crate::{EpochRow, Recipe, Result, StopRecipe, StopRule};

/// One run.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// Its folder.
    pub path: PathBuf,
    name: String,
    /// With every choice made.
    pub recipe: Recipe,
    /// The epochs that are over.
    pub rows: Vec<EpochRow>,
    /// The epoch with the best validation accuracy, counted from 1, and that accuracy, 0 to 1.
    pub best: Option<(usize, f64)>,
    /// Seconds of training, validation left out.
    pub seconds: f64,
    /// What the best model was measured on in the end, and its accuracy, 0 to 1; none for a run that goes on or was stopped.
    pub measured: Option<(String, f64)>,
}

impl RunSummary {
    /// Reads what is in a run folder; none where there is no recipe in it. A last line that is cut off, as a killed run leaves it, does not count.
    ///
    /// # Errors
    ///
    /// When the recipe or a line is not what this version writes: the message names the file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let recipe = path.join("recipe.toml");
        if !recipe.is_file() {
            return Ok(None);
        }
        let recipe = read_recipe(&recipe)?;
        let metrics = read_metrics(&path.join("metrics.jsonl"))?;
        let measured = metrics.measured.map(|measured| (measured.measured_on, measured.accuracy));
        Ok(Some(Self::new(path.to_owned(), recipe, metrics.rows, measured)))
    }

    pub(crate) fn new(
        path: PathBuf,
        recipe: Recipe,
        rows: Vec<EpochRow>,
        measured: Option<(String, f64)>,
    ) -> Self {
        let mut rule = StopRule::new(StopRecipe::default());
        let mut best = None;
        for row in &rows {
            if rule.after(row).0 {
                best = Some((row.epoch, row.valid_accuracy));
            }
        }
        // `sum` would make -0 of no rows.
        let seconds = rows.iter().fold(0.0, |sum, row| sum + row.seconds);
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self { path, name, recipe, rows, best, seconds, measured }
    }

    /// The last part of its path, behind that of its sweep in a list of what is beside the sweep.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The runs in the folder `runs` and in the sweeps there, by name, each read by [`RunSummary::read`].
///
/// # Errors
///
/// When `runs` cannot be read.
pub fn list_runs(runs: &Path) -> Result<Vec<Result<RunSummary>>> {
    let mut list = Vec::new();
    for path in entries(runs)? {
        if !is_sweep(&path) {
            list.extend(RunSummary::read(&path).transpose());
            continue;
        }
        let sweep = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        match entries(&path) {
            Ok(paths) => list.extend(paths.iter().filter_map(|path| {
                let run = RunSummary::read(path).transpose()?;
                Some(run.map(|run| RunSummary { name: format!("{sweep}/{}", run.name), ..run }))
            })),
            Err(error) => list.push(Err(error)),
        }
    }
    Ok(list)
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e: std::io::Error| failure(folder, &e.to_string());
    let entries = std::fs::read_dir(folder).map_err(|e| match e.kind() {
        ErrorKind::NotFound => failure(folder, "no such folder; check the path: `train` makes runs in `runs` of the folder in which it is called"),
        _ => wrong(e),
    })?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry.map_err(wrong)?.path())).collect::<Result<_>>()?;
    paths.sort_by_key(|path| natural(path));
    Ok(paths)
}

/// `mlp-2` comes before `mlp-10`.
fn natural(path: &Path) -> (String, u64) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.rsplit_once('-').and_then(|(stem, number)| Some((stem.to_owned(), number.parse().ok()?))) {
        Some(parts) => parts,
        None => (name, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(runs: &Path, name: &str, metrics: &str) {
        let path = runs.join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("recipe.toml"), Recipe::default().to_toml().unwrap()).unwrap();
        std::fs::write(path.join("metrics.jsonl"), metrics).unwrap();
    }

    fn epoch(epoch: usize, valid_accuracy: f64) -> String {
        let row = EpochRow { epoch, valid_accuracy, seconds: 2.0, ..EpochRow::default() };
        serde_json::to_string(&row).unwrap() + "\n"
    }

    #[test]
    fn runs_are_told_whole_stopped_and_damaged() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (epoch(1, 0.5), epoch(2, 0.25));
        let end = "{\"measured_on\":\"test\",\"best_epoch\":1,\"accuracy\":0.75,\"top5\":1.0,\"loss\":1.0,\"train_seconds\":4.0}\n";
        run(place.path(), "mlp-10", &format!("{first}{second}{end}"));
        run(place.path(), "mlp-2", &format!("{first}{}", &second[..20]));
        run(place.path(), "odd", "nothing\n");
        std::fs::create_dir(place.path().join("other")).unwrap();
        let runs = list_runs(place.path()).unwrap();
        assert_eq!(runs.len(), 3);
        let stopped = runs[0].as_ref().unwrap();
        assert_eq!((stopped.rows.len(), stopped.best, &stopped.measured), (1, Some((1, 0.5)), &None));
        let whole = runs[1].as_ref().unwrap();
        assert_eq!((whole.rows.len(), whole.best, whole.seconds), (2, Some((1, 0.5)), 4.0));
        assert_eq!(whole.measured, Some(("test".into(), 0.75)));
        let error = runs[2].as_ref().unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn runs_of_a_sweep_are_listed_with_its_name() {
        let place = tempfile::tempdir().unwrap();
        run(place.path(), "mlp-1", "");
        run(&place.path().join("other"), "hidden", "");
        run(&place.path().join("sweep-1"), "optim.lr=0.1", &epoch(1, 0.5));
        std::fs::write(place.path().join("sweep-1/sweep.toml"), "").unwrap();
        let names = |runs: &Path| {
            list_runs(runs).unwrap().into_iter().map(|run| run.unwrap().name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(place.path()), ["mlp-1", "sweep-1/optim.lr=0.1"]);
        assert_eq!(names(&place.path().join("sweep-1")), ["optim.lr=0.1"]);
    }
}
