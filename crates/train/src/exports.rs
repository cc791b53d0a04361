//! The curves of a run in files for other programs: `metrics.csv`, and an event file for TensorBoard.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::callback::{Callback, EpochEnd};
use crate::checkpoint::{Machine, replace};
use crate::tensorboard::event_file;
use crate::{EpochRow, Error, Result, RunFolder, RunOptions};

/// Keeps the files that the options ask for, or asked for when the run began, as the epochs are. They follow from the rows: a run that was stopped and goes on leaves the files of
/// one that was not.
pub(crate) struct Exports {
    folder: RunFolder,
    csv: bool,
    tensorboard: bool,
    /// The epochs so far, if a file is asked for.
    rows: Vec<EpochRow>,
}

impl Exports {
    /// Those of a run of which the epochs in `rows` are over; they are written at once.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn begin(folder: &RunFolder, options: &RunOptions, rows: &[EpochRow]) -> Result<Self> {
        // A file that is there is kept up: nothing else would tell that it lacks the last epochs.
        let csv = options.csv || folder.csv().is_file();
        let tensorboard = options.tensorboard || folder.events().is_file();
        let mut exports = Self { folder: folder.clone(), csv, tensorboard, rows: Vec::new() };
        exports.add(rows)?;
        Ok(exports)
    }

    fn add(&mut self, rows: &[EpochRow]) -> Result<()> {
        if self.csv || self.tensorboard {
            self.rows.extend_from_slice(rows);
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        if self.csv {
            replace(&Machine, &self.folder.csv(), csv(&self.rows).as_bytes())?;
        }
        if self.tensorboard {
            grow(&self.folder.events(), &event_file(&self.rows, started(&self.folder)))?;
        }
        Ok(())
    }
}

impl Callback for Exports {
    fn epoch_end(&mut self, epoch: &EpochEnd<'_>) -> Result<()> {
        self.add(std::slice::from_ref(epoch.row))
    }
}

/// When the run began, in seconds since 1970: the recipe is written then, and never again. Zero where the system does not tell.
fn started(folder: &RunFolder) -> f64 {
    let written = fs::metadata(folder.recipe()).and_then(|recipe| recipe.modified()).ok();
    written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |time| time.as_secs_f64())
}

/// Makes `bytes` the content of `path`. What has the beginning of them already is added to, since TensorBoard keeps an event file open and would
/// not see another in its place; anything else is replaced at once. A process that is killed while it adds leaves a last record that is cut off,
/// which readers take for one that is still to come.
fn grow(path: &Path, bytes: &[u8]) -> Result<()> {
    let failure = |source| Error::Checkpoint { path: path.to_owned(), source };
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(failure(io::Error::other("this is no file; remove it")));
    }
    let there = match fs::read(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failure(error)),
    };
    match bytes.strip_prefix(&there[..]) {
        Some([]) => Ok(()),
        Some(rest) if !there.is_empty() => {
            let file = OpenOptions::new().append(true).open(path);
            file.and_then(|mut file| file.write_all(rest).and_then(|()| file.sync_all())).map_err(failure)
        }
        _ => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failure)?;
            replace(&Machine, path, bytes)
        }
    }
}

/// The epochs as CSV, under a line of names. Values that are not finite are left empty.
fn csv(rows: &[EpochRow]) -> String {
    let mut text =
        "epoch,learning_rate,train_loss,train_accuracy,valid_loss,valid_accuracy,valid_top5,seconds,\
                    images_per_second,waiting_share,bad_images,left_out\n"
            .to_owned();
    for row in rows {
        // All fields by name, so that a new one cannot be forgotten.
        let EpochRow {
            epoch,
            learning_rate,
            train_loss,
            train_accuracy,
            valid_loss,
            valid_accuracy,
            valid_top5,
            seconds,
            images_per_second,
            waiting_share,
            bad_images,
            left_out,
        } = row;
        let numbers = [
            learning_rate,
            train_loss,
            train_accuracy,
            valid_loss,
            valid_accuracy,
            valid_top5,
            seconds,
            images_per_second,
            waiting_share,
        ]
        .map(|value| if value.is_finite() { value.to_string() } else { String::new() })
        .join(",");
        text += &format!("{epoch},{numbers},{bad_images},{left_out}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_every_number_to_the_last_bit_and_the_names_of_the_json() {
        let row = EpochRow {
            epoch: 7,
            learning_rate: 1e-7,
            train_loss: 0.1 + 0.2,
            valid_loss: f64::NAN,
            bad_images: 3,
            ..EpochRow::default()
        };
        let text = csv(std::slice::from_ref(&row));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let value = |name: &str| lines[1][lines[0].iter().position(|column| *column == name).unwrap()];
        assert_eq!(lines.len(), 2);
        assert_eq!((value("epoch"), value("valid_loss"), value("bad_images")), ("7", "", "3"));
        assert_eq!(value("train_loss").parse::<f64>().unwrap(), 0.1 + 0.2);
        assert_eq!(value("learning_rate").parse::<f64>().unwrap(), 1e-7);
        let json = serde_json::to_value(&row).unwrap();
        assert!(lines[0].iter().all(|column| json.get(column).is_some()), "{:?}", lines[0]);
        assert_eq!(lines[0].len(), json.as_object().unwrap().len());
    }

    #[test]
    fn a_file_that_grows_stays_the_same_file_and_another_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("folder/file");
        let content = || fs::read(&path).unwrap();
        grow(&path, b"one").unwrap();
        let mut open = fs::File::open(&path).unwrap();
        grow(&path, b"one two").unwrap();
        grow(&path, b"one two").unwrap();
        assert_eq!(content(), b"one two");
        // A reader that has it open sees what was added.
        assert_eq!(io::read_to_string(&mut open).unwrap(), "one two");
        for other in ["one", "other", ""] {
            grow(&path, other.as_bytes()).unwrap();
            assert_eq!(content(), other.as_bytes());
        }
        assert_eq!(fs::read_dir(place.path().join("folder")).unwrap().count(), 1);
    }
}
