//! The folder that a run leaves behind.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, Result};

/// A folder that this run has made and that nothing else writes to:
///
/// ```text
/// recipe.toml         the recipe with every default written out
/// metrics.jsonl       one line an epoch, one at the end
/// best.safetensors    the model with the best validation accuracy
/// last.safetensors    the model after the last epoch
/// example.png         a picture to try the model on
/// bad_images.txt      training images that could not be read, if others were allowed to stand in for them
/// report.html         curves, confusion matrix and worst mistakes
/// ```
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder: `out`, or without it the first free `runs/NAME-1`, `runs/NAME-2` and so on.
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
        Ok(Self { path })
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

    /// The page with curves, confusion matrix and mistakes.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Writes a file into the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let written = File::create(path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|e| failure(path, &format!("cannot be written: {e}")))
    }

    /// Adds one line to `metrics.jsonl`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn record(&self, line: &impl Serialize) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let mut text = serde_json::to_string(line).map_err(|e| failure(&path, &e.to_string()))?;
        text.push('\n');
        let written = OpenOptions::new().append(true).create(true).open(&path);
        written
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| failure(&path, &format!("cannot be written: {e}")))
    }
}

fn failure(path: &Path, reason: &str) -> Error {
    Error::RunFolder { path: path.to_owned(), reason: reason.to_owned() }
}

fn claim(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).map_err(|e| failure(path, &format!("the run folder cannot be made: {e}")))?;
    let mut entries = fs::read_dir(path).map_err(|e| failure(path, &e.to_string()))?;
    if entries.next().is_some() {
        let reason = "the run folder exists and is not empty; nothing was changed, choose another with --out";
        return Err(failure(path, reason));
    }
    Ok(path.to_owned())
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

    #[test]
    fn each_record_is_a_line_of_json() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(&place.path().join("run")), "x").unwrap();
        folder.record(&serde_json::json!({"epoch": 1})).unwrap();
        folder.record(&serde_json::json!({"epoch": 2})).unwrap();
        let text = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!(text, "{\"epoch\":1}\n{\"epoch\":2}\n");
    }
}
