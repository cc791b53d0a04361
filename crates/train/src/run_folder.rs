//! The folder of a run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Machine, replace};
use crate::recipe::read_text;
use crate::{EpochRow, Error, Recipe, Result};

/// More than the line of an epoch has.
const LINE_BYTES: u64 = 1 << 16;

/// Bytes that a line usually has.
const LINE_USUAL: usize = 320;

/// Held by the process that trains into the folder.
const LOCK: &str = ".lock";
/// How long it is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A folder that this run has made and that nothing else writes to:
///
/// ```text
/// recipe.toml         the recipe with every default written out
/// metrics.jsonl       one line an epoch, one at the end
/// best.safetensors    the model with the best validation accuracy
/// last.safetensors    the model after the last epoch
/// checkpoints/        what a stopped run goes on from; removed when it is over
/// example.png         a picture to try the model on
/// bad_images.txt      training images that could not be read, if others were allowed to stand in for them
/// left_out.txt        batches of which nothing was learned, since their numbers were not finite
/// report.html         curves, confusion matrix and worst mistakes
/// metrics.csv         the numbers of every epoch as a table, where it was asked for
/// tensorboard/        an event file with the curves, where it was asked for
/// ```
///
/// A process that trains into it holds a lock on it, until it ends.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Option<Arc<File>>,
}

/// What is in a run folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    Nothing,
    /// A run that was stopped.
    Unfinished,
    /// A run that is over.
    Finished,
}

/// What `metrics.jsonl` has.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// The epochs that are over.
    pub(crate) rows: Vec<EpochRow>,
    /// The measurement at the end.
    pub(crate) measured: Option<Measured>,
}

/// The last line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) measured_on: String,
    pub(crate) best_epoch: usize,
    pub(crate) accuracy: f64,
    pub(crate) top5: f64,
    pub(crate) loss: Option<f64>,
    pub(crate) train_seconds: f64,
}

impl RunFolder {
    /// Makes a folder: `out`, or without it the first free `runs/NAME-1`, `runs/NAME-2` and so on.
    ///
    /// An empty folder is taken; one with anything in it is left as it is.
    ///
    /// # Errors
    ///
    /// When it exists with something in it, or cannot be made or written.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self> {
        let path = match out {
            Some(path) => claim(path)?,
            None => next_free(Path::new("runs"), name)?,
        };
        Ok(Self { path, _lock: None })
    }

    /// The folder for a run of `recipe`, locked: `out`, which is new or has a run of this recipe. Without `out` a folder below `runs`: that of
    /// the newest run of this recipe that was stopped, otherwise a new one. With `fresh` always a new one: then an `out` with a run in it is refused.
    ///
    /// # Errors
    ///
    /// When the folder has a run of another recipe or something else in it, another process trains into it, or it cannot be made or written.
    pub fn open(out: Option<&Path>, recipe: &Recipe, fresh: bool) -> Result<(Self, Found)> {
        if let Some(path) = out {
            if path.join("recipe.toml").is_file() {
                return if fresh { Err(overwrites(path)) } else { Self::reopen(path, recipe) };
            }
        } else if !fresh {
            for path in stopped(Path::new("runs"), &recipe.model, recipe) {
                // One that another process trains into is not stopped.
                if let Ok((folder, Found::Unfinished)) = Self::reopen(&path, recipe) {
                    return Ok((folder, Found::Unfinished));
                }
            }
        }
        let has_run = |path: &Path| path.join("recipe.toml").is_file();
        let Some(folder) = Self::begin(out, &recipe.model, has_run)? else {
            return Self::open(out, recipe, fresh);
        };
        folder.write(&folder.recipe(), recipe.to_toml()?.as_bytes())?;
        Ok((folder, Found::Nothing))
    }

    /// The batch size of the run that [`RunFolder::open`] would go on with if `recipe` had it: that of a stopped run which differs in nothing
    /// else.
    #[must_use]
    pub fn stopped_batch(out: Option<&Path>, recipe: &Recipe) -> Option<usize> {
        let folders = out.map_or_else(|| called(Path::new("runs"), &recipe.model), |out| vec![out.into()]);
        folders.into_iter().find_map(|path| {
            let there = read_recipe(&path.join("recipe.toml")).ok()?;
            let here = Recipe { batch: there.batch, ..recipe.clone() };
            let is_same = here.difference(&there).ok()?.is_empty();
            let is_over =
                read_metrics(&path.join("metrics.jsonl")).is_ok_and(|metrics| metrics.measured.is_some());
            there.batch.filter(|_| is_same && !is_over)
        })
    }

    fn reopen(path: &Path, recipe: &Recipe) -> Result<(Self, Found)> {
        let folder = Self::lock(path)?;
        let difference = recipe.difference(&read_recipe(&folder.recipe())?)?;
        if !difference.is_empty() {
            return Err(Error::OtherRecipe { path: path.to_owned(), difference });
        }
        let over = match read_metrics(&folder.metrics()) {
            Ok(metrics) => metrics.measured.is_some(),
            // A checkpoint has the rows as well, and the file is written again.
            Err(_) if folder.checkpoints().exists() => false,
            Err(error) => return Err(error),
        };
        Ok((folder, if over { Found::Finished } else { Found::Unfinished }))
    }

    /// A folder as [`RunFolder::create`] makes it, locked; none if it `is_taken` by then: while the lock was waited for, another process may have
    /// begun there, and even ended.
    pub(crate) fn begin(
        out: Option<&Path>,
        name: &str,
        is_taken: impl Fn(&Path) -> bool,
    ) -> Result<Option<Self>> {
        let folder = Self::create(out, name)?.locked()?;
        if is_taken(&folder.path) {
            return Ok(None);
        }
        claim(&folder.path)?;
        Ok(Some(folder))
    }

    /// A folder that is there, locked.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        Self { path: path.to_owned(), _lock: None }.locked()
    }

    fn locked(self) -> Result<Self> {
        let path = self.path.join(LOCK);
        // A link could lead to anything, and a pipe would be waited for.
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(failure(
                &path,
                "this is no file, and a process that trains would hold it; remove it",
            ));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| failure(&path, &format!("cannot be written: {e}")))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _lock: Some(Arc::new(file)), ..self }),
                // A process that is being started holds what its parent has open, until it is its own.
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    thread::sleep(LOCK_PATIENCE / 20);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(failure(
                        &self.path,
                        "another process trains into this run folder; choose another with --out",
                    ));
                }
                // Some network file systems have no locks; training does without one there.
                Err(TryLockError::Error(_)) => return Ok(self),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The recipe with every default written out.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// One line an epoch, one at the end.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// What a stopped run goes on from.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The model with the best validation accuracy.
    #[must_use]
    pub fn best_model(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The model after the last epoch.
    #[must_use]
    pub fn last_model(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// A picture of the kind that the model was measured on.
    #[must_use]
    pub fn example(&self) -> PathBuf {
        self.path.join("example.png")
    }

    /// The training images that could not be read, where there are any.
    #[must_use]
    pub fn bad_images(&self) -> PathBuf {
        self.path.join("bad_images.txt")
    }

    /// The batches of which nothing was learned, where there are any.
    #[must_use]
    pub fn left_out(&self) -> PathBuf {
        self.path.join("left_out.txt")
    }

    /// The page with curves, confusion matrix and mistakes.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The numbers of every epoch as a table, where it was asked for.
    #[must_use]
    pub fn csv(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// The event file for TensorBoard, where it was asked for.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("tensorboard").join("events.out.tfevents.0.pyrograph")
    }

    /// Writes a file of the folder, whole or not at all.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        replace(&Machine, path, bytes)
    }
}

/// A recipe that a run has stored.
pub(crate) fn read_recipe(path: &Path) -> Result<Recipe> {
    let text = read_text(path).map_err(|e| failure(path, &e.to_string()))?;
    Recipe::parse(&text).map_err(|e| failure(path, &e.to_string()))
}

/// The text of `metrics.jsonl` up to the line at the end.
pub(crate) fn metrics_text(rows: &[EpochRow]) -> Result<String> {
    let mut text = String::with_capacity(rows.len() * LINE_USUAL);
    for row in rows {
        text += &line(row)?;
    }
    Ok(text)
}

/// A line of `metrics.jsonl`.
pub(crate) fn line(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|e| Error::Training(e.to_string()))?;
    Ok(text + "\n")
}

/// What `metrics.jsonl` has; nothing where there is no such file. A last line that is cut off in its middle does not count.
pub(crate) fn read_metrics(path: &Path) -> Result<Metrics> {
    let mut metrics = Metrics::default();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(metrics),
        Ok(found) if !found.is_file() => return Err(failure(path, "this is no file; remove it")),
        _ => {}
    }
    let mut lines = BufReader::new(File::open(path).map_err(|e| failure(path, &e.to_string()))?);
    for number in 1.. {
        let mut line = Vec::new();
        let read = lines.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(|e| failure(path, &e.to_string()))?;
        if line.is_empty() {
            break;
        }
        if let Ok(row) = serde_json::from_slice::<EpochRow>(&line) {
            metrics.rows.push(row);
        } else if let Ok(measured) = serde_json::from_slice::<Measured>(&line) {
            metrics.measured = Some(measured);
        } else if line.last() != Some(&b'\n') && line.len() < LINE_BYTES as usize {
            break;
        } else {
            return Err(failure(path, &format!("line {number} is not that of an epoch")));
        }
    }
    Ok(metrics)
}

pub(crate) fn failure(path: &Path, reason: &str) -> Error {
    Error::RunFolder { path: path.to_owned(), reason: reason.to_owned() }
}

/// What is said of `--fresh` with a folder that is taken.
pub(crate) fn overwrites(path: &Path) -> Error {
    failure(
        path,
        "the run folder is not empty, and --fresh writes over nothing; nothing was changed, choose another with --out, or leave --out \
         away for a new one below runs/",
    )
}

/// Makes a folder that is empty, or takes one.
fn claim(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).map_err(|e| {
        failure(path, &format!("the run folder cannot be made: {e}; choose another with --out"))
    })?;
    for entry in fs::read_dir(path).map_err(|e| failure(path, &e.to_string()))? {
        let entry = entry.map_err(|e| failure(path, &e.to_string()))?;
        // What a run leaves that was killed before it could begin.
        if ![LOCK, ".recipe.toml", ".sweep.toml"].iter().any(|left| entry.file_name() == *left) {
            let reason =
                "the run folder exists and is not empty; nothing was changed, choose another with --out";
            return Err(failure(path, reason));
        }
    }
    Ok(path.to_owned())
}

/// Folders below `runs` with a run of `recipe` that may have been stopped, the newest first.
fn stopped(runs: &Path, name: &str, recipe: &Recipe) -> Vec<PathBuf> {
    let is_same = |path: &PathBuf| {
        let there = read_recipe(&path.join("recipe.toml"));
        there.and_then(|there| recipe.difference(&there)).is_ok_and(|difference| difference.is_empty())
    };
    called(runs, name).into_iter().filter(is_same).collect()
}

/// Folders below `runs` whose names are `name` and a number, the highest first.
pub(crate) fn called(runs: &Path, name: &str) -> Vec<PathBuf> {
    let prefix = format!("{name}-");
    let number =
        |path: &Path| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok() };
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn next_free(runs: &Path, name: &str) -> Result<PathBuf> {
    let refused = |path: &Path, e: std::io::Error| {
        failure(path, &format!("the run folder cannot be made: {e}; choose another place with --out"))
    };
    fs::create_dir_all(runs).map_err(|e| refused(runs, e))?;
    for number in 1..=1_000_000 {
        let path = runs.join(format!("{name}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(refused(&path, e)),
        }
    }
    Err(failure(runs, "a million runs of this name; choose another place with --out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("precious");
        fs::write(&file, "x").unwrap();
        let error = RunFolder::create(Some(place.path()), "x").unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), "x");
    }

    #[test]
    fn a_path_below_a_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(RunFolder::create(Some(&file.join("run")), "x").is_err());
    }

    #[test]
    fn numbers_go_up() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(next_free(place.path(), "mlp").unwrap(), place.path().join("mlp-1"));
        assert_eq!(next_free(place.path(), "mlp").unwrap(), place.path().join("mlp-2"));
    }

    fn row(epoch: usize) -> EpochRow {
        EpochRow { epoch, train_loss: 0.1 + 0.2, valid_loss: f64::INFINITY, ..EpochRow::default() }
    }

    #[test]
    fn metrics_come_back_as_they_were_and_a_line_that_is_cut_off_does_not_count() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("metrics.jsonl");
        let text = metrics_text(&[row(1), row(2)]).unwrap();
        assert_eq!(text.lines().count(), 2);
        fs::write(&path, &text).unwrap();
        let rows = read_metrics(&path).unwrap().rows;
        assert_eq!((rows.len(), rows[1].epoch, rows[0].train_loss), (2, 2, 0.1 + 0.2));
        // JSON has no infinite numbers.
        assert!(rows[0].valid_loss.is_nan());
        // A line is whole without its end.
        for (cut, rows) in [(1, 2), (2, 1), (3, 1)] {
            fs::write(&path, &text[..text.len() - cut]).unwrap();
            assert_eq!(read_metrics(&path).unwrap().rows.len(), rows);
        }
        assert!(read_metrics(&place.path().join("none")).unwrap().rows.is_empty());
    }

    #[test]
    fn the_same_recipe_goes_on_and_another_is_refused_with_the_difference() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("run");
        let recipe = Recipe::default();
        let (first, found) = RunFolder::open(Some(&out), &recipe, false).unwrap();
        assert_eq!(found, Found::Nothing);
        // Two processes never share a folder.
        let error = RunFolder::open(Some(&out), &recipe, false).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(first);
        let (again, found) = RunFolder::open(Some(&out), &recipe, false).unwrap();
        assert_eq!(found, Found::Unfinished);
        let measured = Measured {
            measured_on: "test".into(),
            best_epoch: 1,
            accuracy: 0.5,
            top5: 1.0,
            loss: None,
            train_seconds: 1.0,
        };
        again.write(&again.metrics(), line(&measured).unwrap().as_bytes()).unwrap();
        drop(again);
        assert_eq!(RunFolder::open(Some(&out), &recipe, false).unwrap().1, Found::Finished);
        let other = recipe.set("optim.lr", "0.5").unwrap();
        let error = RunFolder::open(Some(&out), &other, false).unwrap_err().to_string();
        assert!(error.contains("optim.lr: 0.05 there, 0.5 here"), "{error}");
        let error = RunFolder::open(Some(&out), &recipe, true).unwrap_err().to_string();
        assert!(error.contains("not empty"), "{error}");
    }

    #[test]
    fn a_run_that_begins_while_the_lock_is_waited_for_is_not_written_over() {
        let place = tempfile::tempdir().unwrap();
        let (out, recipe) = (place.path().join("run"), Recipe::default());
        let first = RunFolder::create(Some(&out), "x").unwrap().locked().unwrap();
        let other = recipe.set("seed", "7").unwrap();
        let waits = {
            let out = out.clone();
            thread::spawn(move || RunFolder::open(Some(&out), &other, false).map(|_| ()))
        };
        thread::sleep(LOCK_PATIENCE / 4);
        first.write(&first.recipe(), recipe.to_toml().unwrap().as_bytes()).unwrap();
        drop(first);
        let error = waits.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("seed"), "{error}");
        assert!(recipe.difference(&read_recipe(&out.join("recipe.toml")).unwrap()).unwrap().is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_that_is_a_link_leads_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let (out, precious) = (place.path().join("run"), place.path().join("precious"));
        fs::create_dir(&out).unwrap();
        fs::write(&precious, "x").unwrap();
        std::os::unix::fs::symlink(&precious, out.join(LOCK)).unwrap();
        let error = RunFolder::open(Some(&out), &Recipe::default(), false).unwrap_err().to_string();
        assert!(error.contains("this is no file"), "{error}");
        assert_eq!(fs::read_to_string(precious).unwrap(), "x");
    }

    #[test]
    fn a_run_that_was_killed_before_it_began_is_taken_for_an_empty_folder() {
        let place = tempfile::tempdir().unwrap();
        for name in [LOCK, ".recipe.toml"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        let (_, found) = RunFolder::open(Some(place.path()), &Recipe::default(), false).unwrap();
        assert_eq!(found, Found::Nothing);
    }

    #[test]
    fn a_spoilt_line_of_metrics_stops_only_a_run_that_cannot_write_it_again() {
        let place = tempfile::tempdir().unwrap();
        let recipe = Recipe::default();
        let open = || RunFolder::open(Some(place.path()), &recipe, false);
        let (folder, _) = open().unwrap();
        fs::write(folder.metrics(), "spoilt\n").unwrap();
        let checkpoints = folder.checkpoints();
        drop(folder);
        let error = open().unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && error.contains("line 1"), "{error}");
        fs::create_dir(checkpoints).unwrap();
        assert_eq!(open().unwrap().1, Found::Unfinished);
    }

    #[test]
    fn a_lock_that_is_no_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join(LOCK)).unwrap();
        let error = RunFolder::open(Some(place.path()), &Recipe::default(), false).unwrap_err().to_string();
        assert!(error.contains(LOCK) && error.contains("no file"), "{error}");
    }

    #[test]
    fn the_newest_stopped_run_of_the_recipe_is_found() {
        let place = tempfile::tempdir().unwrap();
        let (recipe, other) = (Recipe::default(), Recipe { seed: 1, ..Recipe::default() });
        for (name, recipe) in
            [("auto-2", &recipe), ("auto-10", &recipe), ("auto-11", &other), ("x-1", &recipe)]
        {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("recipe.toml"), recipe.to_toml().unwrap()).unwrap();
        }
        let found = stopped(place.path(), "auto", &recipe);
        assert_eq!(found, [place.path().join("auto-10"), place.path().join("auto-2")]);
        assert!(stopped(&place.path().join("none"), "auto", &recipe).is_empty());
    }
}
