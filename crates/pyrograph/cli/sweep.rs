//! Trainings that differ in a few settings, one after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use pyrograph::train::{DataRecipe, Error, Recipe, RunOptions, list_runs, open_sweep, run as train};

use super::named::{fetched, weights_path};
use super::{complain, runs, say};

/// More than anybody waits for.
const MOST: usize = 1000;

/// A recipe with a name that says in what it differs from the others.
pub(super) struct Variant {
    pub(super) name: String,
    recipe: Recipe,
}

/// A name and what is set by it.
type Combination<'a> = (String, Vec<(&'a str, &'a str)>);

/// Every combination of the values in `sweeps`, each of the form `optim.lr=0.01,0.1`, no two of them the same.
pub(super) fn variants(recipe: &Recipe, sweeps: &[String]) -> Result<Vec<Variant>> {
    let mut combinations: Vec<Combination<'_>> = vec![Default::default()];
    let mut keys = Vec::new();
    for sweep in sweeps {
        let (key, values) = sweep
            .split_once('=')
            .with_context(|| format!("--sweep {sweep}: not of the form KEY=VALUE,VALUE,…"))?;
        if keys.contains(&key) {
            bail!(
                "--sweep {sweep}: `{key}` is swept twice; give all its values at once: --sweep {key}=A,B,…"
            );
        }
        keys.push(key);
        let mut next = Vec::new();
        for (name, settings) in &combinations {
            for value in values.split(',').map(str::trim) {
                // A path as a value must not become folders.
                let part = format!("{key}={}", value.replace(['/', '\\'], "_"));
                let name = if name.is_empty() { part } else { format!("{name},{part}") };
                next.push((name, [&settings[..], &[(key, value)]].concat()));
            }
        }
        if next.len() > MOST {
            bail!("--sweep: these are {} trainings; at most {MOST} run after each other", next.len());
        }
        combinations = next;
    }
    let made = combinations.into_iter().map(|(name, settings)| {
        let recipe = recipe.set_all(&settings).with_context(|| format!("--sweep {name}"))?;
        Ok(Variant { name, recipe })
    });
    let variants = made.collect::<Result<Vec<_>>>()?;
    let (mut recipes, mut names) = (BTreeMap::new(), BTreeMap::new());
    for variant in &variants {
        let Variant { name, recipe } = variant;
        recipe.mix.check_use().with_context(|| name.clone())?;
        let same = recipes.insert(recipe.to_toml()?, name).or(names.insert(name, name));
        if let Some(same) = same {
            bail!(
                "--sweep: `{same}` and `{name}` would be the same training, or have the same folder; leave one of them out"
            );
        }
    }
    Ok(variants)
}

/// Fetches what a training needs, or says what is not there: now, and not when its turn comes.
fn prepare(Variant { name, recipe }: &mut Variant) -> Result<()> {
    recipe.data.path = DataRecipe::tidy(&fetched(&recipe.data.path)?);
    let weights = weights_path(&recipe.start.weights).with_context(|| name.clone())?;
    let (data, teacher) = (&recipe.data.path, Path::new(&recipe.distill.teacher));
    let is_elsewhere = data == DataRecipe::DIGITS || data.contains("://");
    let needed = [if is_elsewhere { Path::new("") } else { Path::new(data) }, &weights, teacher];
    match needed.into_iter().find(|path| !path.as_os_str().is_empty() && !path.exists()) {
        Some(path) => bail!("{name}: {}: there is no such file or folder", path.display()),
        None => Ok(()),
    }
}

/// Trains every variant into a folder of its own and shows them side by side. One that fails does not keep the others from running, but the
/// sweep fails in the end. The same sweep goes on where it was stopped, and one with more values in its folder, if that is given.
pub(super) fn run(recipe: &Recipe, sweeps: &[String], options: &RunOptions) -> Result<ExitCode> {
    let mut variants = variants(recipe, sweeps)?;
    variants.iter_mut().try_for_each(prepare)?;
    let names: Vec<String> = variants.iter().map(|variant| variant.name.clone()).collect();
    // Locked until all are trained.
    let folder = open_sweep(options.out.as_deref(), recipe, &names, options.fresh)?;
    let folder = folder.path();
    say(&format!("Sweep folder {}", folder.display()));
    let mut failed = 0;
    for (n, Variant { name, recipe }) in variants.iter().enumerate() {
        say(&format!("\n{} of {}: {name}", n + 1, variants.len()));
        let options = RunOptions { out: Some(folder.join(name)), ..options.clone() };
        match train(recipe, &options) {
            Ok(_) => {}
            Err(error @ Error::Interrupted { .. }) => return Err(error.into()),
            Err(error) => {
                failed += 1;
                complain(&format!("{name}: {error}"));
            }
        }
    }
    say("");
    let told = table(folder);
    if failed > 0 {
        bail!("{failed} of {} trainings failed", variants.len());
    }
    told?;
    Ok(ExitCode::SUCCESS)
}

fn table(folder: &Path) -> Result<()> {
    let runs: Vec<_> = list_runs(folder)?.into_iter().flatten().collect();
    runs::write(&mut std::io::stdout().lock(), &runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_trained() {
        let sweeps = ["optim.lr=0.1, 0.2".to_owned(), "optim.kind=sgd,adamw".to_owned()];
        let variants = variants(&Recipe::default(), &sweeps).unwrap();
        let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
        let expected = [
            "optim.lr=0.1,optim.kind=sgd",
            "optim.lr=0.1,optim.kind=adamw",
            "optim.lr=0.2,optim.kind=sgd",
            "optim.lr=0.2,optim.kind=adamw",
        ];
        assert_eq!(names, expected);
        assert_eq!(variants[3].recipe.optim.lr, 0.2);
    }

    #[test]
    fn settings_that_need_each_other_are_swept_together() {
        let step = || "schedule.kind=step".to_owned();
        let sweeps = [step(), "schedule.every_epochs=3,5".to_owned()];
        assert_eq!(variants(&Recipe::default(), &sweeps).unwrap().len(), 2);
        let error = format!("{:#}", variants(&Recipe::default(), &[step()]).err().unwrap());
        assert!(
            error.contains("--sweep schedule.kind=step")
                && error.contains("`schedule.every_epochs` is missing"),
            "{error}"
        );
    }

    #[test]
    fn a_setting_is_swept_once() {
        let sweeps = ["optim.lr=0.1".to_owned(), "optim.lr=0.2".to_owned()];
        let error = variants(&Recipe::default(), &sweeps).err().unwrap().to_string();
        assert!(error.contains("`optim.lr` is swept twice"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_runs() {
        let refused = |sweep: &str| match variants(&Recipe::default(), &[sweep.to_owned()]) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        assert!(refused("optim.lr").contains("KEY=VALUE"));
        assert!(refused("optim.lr=0.1,0").contains("`optim.lr` is 0"));
        assert!(refused("optim.rate=1").contains("unknown"));
        assert!(refused("model=linear,resnt18").contains("resnt18"));
        assert!(refused("augment=none,flipp").contains("flipp"));
        assert!(refused("optim.lr=0.1,0.10").contains("`optim.lr=0.1` and `optim.lr=0.10`"));
        assert!(refused("start.weights=a/b,a_b").contains("the same folder"));
    }
}
