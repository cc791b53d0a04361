//! The folder of trainings that differ in a few settings.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::recipe::read_text;
use crate::run_folder::{called, failure, overwrites, read_metrics};
use crate::{Error, Recipe, Result, RunFolder};

/// Tells what is trained into the folders beside it.
const FILE: &str = "sweep.toml";

/// What [`FILE`] has.
#[derive(Serialize, Deserialize)]
struct Sweep {
    /// The folder of each training, whose name says in what it differs from the others.
    trainings: Vec<String>,
    /// What they have in common.
    recipe: Recipe,
}

/// The folder for `trainings` that differ from `recipe` as their names say, locked: `out`, which is new or has some of them. Without `out` a
/// folder below `runs`: that of the newest such sweep that was stopped, otherwise a new one. With `fresh` always a new one.
///
/// # Errors
///
/// As [`RunFolder::open`], and when `out` has other trainings.
pub fn open_sweep(
    out: Option<&Path>,
    recipe: &Recipe,
    trainings: &[String],
    fresh: bool,
) -> Result<RunFolder> {
    let sweep = Sweep { trainings: trainings.to_vec(), recipe: recipe.clone() };
    let stopped = match out {
        Some(path) if is_sweep(path) => {
            if fresh {
                return Err(overwrites(path));
            }
            let folder = RunFolder::lock(path)?;
            sweep.check_takes_up(path)?;
            Some(folder)
        }
        None if !fresh => sweep.stopped(Path::new("runs")),
        _ => None,
    };
    let folder = match stopped {
        Some(folder) => folder,
        None => match RunFolder::begin(out, "sweep", is_sweep)? {
            Some(folder) => folder,
            None => return open_sweep(out, recipe, trainings, fresh),
        },
    };
    let text = toml::to_string_pretty(&sweep).map_err(|e| Error::Recipe(e.to_string()))?;
    folder.write(&folder.path().join(FILE), text.as_bytes())?;
    Ok(folder)
}

/// Whether a folder has trainings in it that belong together.
pub(crate) fn is_sweep(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

impl Sweep {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = read_text(&path).map_err(|e| failure(&path, &e.to_string()))?;
        toml::from_str(&text).map_err(|e| failure(&path, e.message()))
    }

    /// Whether all trainings in a folder are among these.
    fn check_takes_up(&self, folder: &Path) -> Result<()> {
        let there = Self::read(folder)?;
        let difference = self.recipe.difference(&there.recipe)?;
        if !difference.is_empty() {
            return Err(Error::OtherRecipe { path: folder.to_owned(), difference });
        }
        match there.trainings.iter().find(|training| !self.trainings.contains(training)) {
            Some(other) => Err(failure(
                folder,
                &format!(
                    "the sweep in this folder has `{other}`, this one has not; nothing was changed, choose another folder with --out"
                ),
            )),
            None => Ok(()),
        }
    }

    /// The folder, locked, of the newest of these sweeps that is not over. One that another process trains into is not stopped.
    fn stopped(&self, runs: &Path) -> Option<RunFolder> {
        let is_same = |path: &Path| {
            Self::read(path).is_ok_and(|there| {
                self.trainings == there.trainings
                    && self.recipe.difference(&there.recipe).is_ok_and(|difference| difference.is_empty())
            })
        };
        let is_over = |path: &Path| {
            let metrics =
                self.trainings.iter().map(|name| read_metrics(&path.join(name).join("metrics.jsonl")));
            metrics.into_iter().all(|metrics| metrics.is_ok_and(|metrics| metrics.measured.is_some()))
        };
        let mut stopped = called(runs, "sweep").into_iter().filter(|path| is_same(path) && !is_over(path));
        stopped.find_map(|path| RunFolder::lock(&path).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_takes_the_same_trainings_or_more_of_them_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("sweep");
        let open = |recipe: &Recipe, trainings: &[&str], fresh| {
            let trainings: Vec<String> = trainings.iter().map(|&name| name.into()).collect();
            open_sweep(Some(&out), recipe, &trainings, fresh).map_err(|error| error.to_string())
        };
        let recipe = Recipe::default();
        drop(open(&recipe, &["a=1"], false).unwrap());
        drop(open(&recipe, &["a=1", "a=2"], false).unwrap());
        assert!(open(&recipe, &["a=1"], false).unwrap_err().contains("has `a=2`"));
        assert!(open(&recipe, &["a=1", "a=2"], true).unwrap_err().contains("--fresh writes over nothing"));
        let other = recipe.set("seed", "7").unwrap();
        assert!(open(&other, &["a=1", "a=2"], false).unwrap_err().contains("seed: 0 there, 7 here"));
        assert!(fs::read_to_string(out.join(FILE)).unwrap().contains("a=2"));
    }

    #[test]
    fn the_newest_stopped_sweep_of_the_same_trainings_is_found() {
        let runs = tempfile::tempdir().unwrap();
        let names = ["a=1".to_owned(), "a=2".to_owned()];
        let recipe = Recipe::default();
        let at = |number: u32| runs.path().join(format!("sweep-{number}"));
        for number in [1, 2, 10] {
            drop(open_sweep(Some(&at(number)), &recipe, &names, false).unwrap());
        }
        let sweep = Sweep { trainings: names.to_vec(), recipe };
        let found = || sweep.stopped(runs.path()).map(|folder| folder.path().to_owned());
        assert_eq!(found(), Some(at(10)));
        let end = "{\"measured_on\":\"test\",\"best_epoch\":1,\"accuracy\":0.75,\"top5\":1.0,\"loss\":1.0,\"train_seconds\":4.0}\n";
        for name in &names {
            fs::create_dir(at(10).join(name)).unwrap();
            fs::write(at(10).join(name).join("metrics.jsonl"), end).unwrap();
        }
        assert_eq!(found(), Some(at(2)));
        let other = Sweep { trainings: names[..1].to_vec(), recipe: Recipe::default() };
        assert!(other.stopped(runs.path()).is_none());
    }
}
