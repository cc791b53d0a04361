//! `pyrograph train`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use pyrograph::train::{
    DataRecipe, Plan, Recipe, RunFolder, RunOptions, SaveEvery, ShippedRecipe, largest_batch, run_plan,
};

use super::data::refuse_inside;
use super::eval::top5;
use super::named::{fetched, weights_path};
use super::on_disk::{refuse_input_address, refuse_output_address};
use super::{Compute, check_more_threads, program, say};
use super::{signals, sweep};

const EXAMPLES: &str = "\
Examples:
  pyrograph train                                     the drawn digits that come with the program
  pyrograph train photos/                             one folder a class, or train/ and validation/ of such
  pyrograph train mnist/ --model mlp --epochs 10      IDX files
  pyrograph train cifar/ --recipe cifar10_resnet20    a recipe that comes with the program
  pyrograph train photos/ --recipe run.toml --set optim.lr=0.01

DATA is a folder of class folders, a folder with train/ and validation/ or test/ of them, a list of images and labels (.csv, .tsv,
.jsonl), tar shards that `pack` or `index` made, Parquet files (a build with `--features parquet`), a folder with the IDX files of the
MNIST family or the binary files of CIFAR, or one such file.

In builds with `--features object-store` DATA may be an address: s3://BUCKET/…, gs://…, az://…, and of a list, shards or a single
Parquet file http://… or https://…. These variables are read:
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL
  AWS_SKIP_SIGNATURE=true          for buckets open to all
  GOOGLE_APPLICATION_CREDENTIALS   the path of a key file
  AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY
  PYROGRAPH_CACHE                  folder for what is kept of them [default: pyrograph in the user's cache folder]
  PYROGRAPH_CACHE_GB               how much of them is kept there [default: 16; 0 for nothing]";

/// Threads besides those that load images: Burn's learner starts two, and panics where there are none.
const LEARNER_THREADS: usize = 4;

/// What `--print-recipe` says of keys that have no value until something decides them.
const OPEN_KEYS: &str = "
# Decided by looking at the data where they are not given:
# batch (64, or less for a small set), data.size (pixels), data.channels (1 or 3)
# Off where they are not given:
# stop.accuracy, stop.top5, stop.loss, stop.patience
# amp (as \"bf16\"), optim.clip_norm, optim.clip_value, optim.clip_adaptive, ema (as 0.999), data.start_size (pixels, in the first epoch)
# Other optimizers: optim.kind = \"adam\", \"adamw\", \"rmsprop\", \"lamb\", \"lion\"; what is not set of lr, weight_decay and betas is then theirs
# Other schedules: --set 'schedule={kind=\"constant\"}', {kind=\"step\", every_epochs=30}, {kind=\"multi_step\", at_epochs=[100, 150]},
#   {kind=\"polynomial\", power=0.9, min_lr=1e-5}, {kind=\"one_cycle\", warmup_epochs=3}, {kind=\"plateau\", patience_epochs=10},
#   each with warmup_epochs, those with drops with gamma. Written so, or in a file, warmup_epochs is 0 where it is not given;
#   --set schedule.kind=step --set schedule.every_epochs=30 keeps the one above";

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArgs {
    /// Images to learn from; without it the drawn digits
    #[arg(value_parser = super::on_disk::data_path())]
    data: Option<String>,

    /// Network (see `pyrograph models`)
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Weights to start from: a model file, a run folder, safetensors, a PyTorch checkpoint, or published ones (see `pyrograph models`)
    #[arg(long, value_name = "FILE|NAME")]
    weights: Option<String>,

    /// The highest learning rate
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,

    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// Images a step; `auto` for as many as fit into memory, a power of two
    #[arg(long, value_name = "N|auto", value_parser = batch_size)]
    batch: Option<BatchSize>,

    /// Seed of weights, order, splits and augmentation
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Height and width in pixels that the network sees
    #[arg(long, value_name = "PIXELS")]
    size: Option<u32>,

    /// Steps of training images, as 'random_resized_crop(128)|flip|trivial_augment_wide'; '' for none
    #[arg(long, value_name = "STEPS")]
    augment: Option<String>,

    /// Stop early: accuracy=0.93, top5=0.99, loss=0.1 or patience=5 (epochs); may be given several times
    #[arg(long, value_name = "GOAL=VALUE")]
    until: Vec<String>,

    /// Start from a recipe: a file (TOML), a run folder, or one that comes with the program (see `pyrograph recipes`); the other arguments
    /// override it
    #[arg(long, value_name = "FILE|NAME")]
    recipe: Option<PathBuf>,

    /// Set any key of the recipe, as optim.lr=0.01; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Train once for each of several values, as optim.lr=0.01,0.03,0.1, into folders of one folder [default: that of the newest such sweep that
    /// was stopped, otherwise a new runs/sweep-N]; given again, for every combination
    #[arg(long, value_name = "KEY=VALUES")]
    sweep: Vec<String>,

    /// Run folder: a new one, or one with a run of the same recipe, which then goes on [default: that of the newest run of the recipe that was
    /// stopped, otherwise a new runs/MODEL-N]
    #[arg(long, value_name = "RUN_FOLDER")]
    out: Option<PathBuf>,

    /// Begin anew in a new folder, also where a run of the same recipe was stopped; a folder with a run in it is never written over
    #[arg(long)]
    fresh: bool,

    /// How often the run is saved within an epoch: so many steps, or a time as 90s or 10m; it is saved at the end of each epoch as well
    #[arg(long, value_name = "STEPS|TIME", default_value = "5m", value_parser = save_every)]
    save_every: SaveEvery,

    /// Keep the numbers of every epoch in metrics.csv of the run folder as well
    #[arg(long)]
    csv: bool,

    /// Keep the curves in an event file for TensorBoard as well, in the folder tensorboard of the run folder
    #[arg(long)]
    tensorboard: bool,

    /// Burn's full-screen display (needs a build with `--features tui`)
    #[arg(long)]
    tui: bool,

    /// Print the recipe that would run, and of a sweep what is trained, and stop
    #[arg(long)]
    print_recipe: bool,

    #[command(flatten)]
    compute: Compute,
}

/// What `--batch` says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum BatchSize {
    Images(usize),
    Auto,
}

fn batch_size(text: &str) -> Result<BatchSize, String> {
    match text {
        "auto" => Ok(BatchSize::Auto),
        text => text.parse().map(BatchSize::Images).map_err(|_| "a number of images, or auto".into()),
    }
}

impl TrainArgs {
    fn recipe(&self) -> Result<Recipe> {
        let mut recipe = match &self.recipe {
            Some(path) => {
                refuse_input_address(path)?;
                recipe_at(path)?
            }
            None => Recipe::default(),
        };
        if let Some(data) = &self.data {
            recipe.data.path.clone_from(data);
        }
        if let Some(model) = &self.model {
            recipe.model.clone_from(model);
        }
        if let Some(weights) = &self.weights {
            refuse_input_address(weights)?;
            recipe.start.weights.clone_from(weights);
        }
        if let Some(augment) = &self.augment {
            recipe.augment.clone_from(augment);
        }
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        match self.batch {
            Some(BatchSize::Images(images)) => recipe.batch = Some(images),
            Some(BatchSize::Auto) => recipe.batch = None,
            None => {}
        }
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.data.size = self.size.or(recipe.data.size);
        recipe.check()?;
        for goal in &self.until {
            let (name, value) = pair("--until", goal)?;
            if !GOALS.contains(&name) {
                let meant =
                    meant_goal(name).map_or_else(String::new, |goal| format!("; did you mean `{goal}`?"));
                bail!("--until {goal}: `{name}` is none of {}{meant}", GOALS.join(", "));
            }
            let set = recipe.set(&format!("stop.{name}"), value);
            recipe = set.with_context(|| format!("--until {goal}"))?;
        }
        let rate = self.lr.map(|rate| rate.to_string());
        let rate = rate.as_deref().map(|rate| Ok(("optim.lr", rate)));
        let settings = self.set.iter().map(|setting| pair("--set", setting));
        let settings = rate.into_iter().chain(settings).collect::<Result<Vec<_>>>()?;
        recipe = recipe.set_all(&settings)?;
        recipe.mix.check_use()?;
        Ok(recipe)
    }
}

/// The plan with the largest batch that fits, or that of the run which it goes on with.
fn with_largest_batch(plan: Plan, options: &RunOptions) -> Result<Plan> {
    let stopped = RunFolder::stopped_batch(options.out.as_deref(), &plan.recipe).filter(|_| !options.fresh);
    let batch = match stopped {
        Some(batch) => batch,
        None => largest_batch(&plan, &options.device)?,
    };
    let mut plan = plan.with_batch(batch)?;
    plan.said.push(format!("Batches of {batch} images, the most that fit"));
    Ok(plan)
}

/// The recipe in a file or a run folder, or the one of this name.
fn recipe_at(path: &Path) -> Result<Recipe> {
    let of_run = path.join("recipe.toml");
    match ShippedRecipe::from_name(&path.to_string_lossy()) {
        Ok(shipped) => Ok(shipped.recipe()?),
        Err(_) if of_run.is_file() => Ok(Recipe::load(of_run)?),
        Err(unknown) if !path.exists() => bail!("there is no such file, and {unknown}"),
        Err(_) => Ok(Recipe::load(path)?),
    }
}

/// What `--print-recipe` shows: a recipe, and in comments what else there is to say of it.
fn print_recipe(out: &mut impl Write, recipe: &Recipe, sweeps: &[String]) -> Result<()> {
    let trainings = sweep::variants(recipe, sweeps)?;
    writeln!(out, "{}\n{OPEN_KEYS}", recipe.to_toml()?.trim_end())?;
    if !sweeps.is_empty() {
        writeln!(out, "# Trained once for each of:")?;
        trainings.iter().try_for_each(|training| writeln!(out, "#   {}", training.name))?;
    }
    Ok(())
}

fn save_every(text: &str) -> Result<SaveEvery, String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|&number| number > 0);
    let seconds = |text: &str, unit: u64| {
        number(text)?.checked_mul(unit).map(|seconds| SaveEvery::Time(Duration::from_secs(seconds)))
    };
    let every = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(text), _) => seconds(text, 1),
        (_, Some(text)) => seconds(text, 60),
        _ => number(text).map(SaveEvery::Steps),
    };
    every.ok_or_else(|| "steps as 500, or a time as 90s or 10m".into())
}

/// What `--until` knows.
const GOALS: [&str; 4] = ["accuracy", "top5", "loss", "patience"];

/// The goal that others call so, or write so.
fn meant_goal(name: &str) -> Option<&'static str> {
    let plain: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.as_str() {
        "acc" | "top1" | "acc1" | "valacc" | "valaccuracy" => Some("accuracy"),
        "acc5" => Some("top5"),
        "valloss" => Some("loss"),
        plain => {
            GOALS.into_iter().find(|goal| plain.len() > 2 && (goal.starts_with(plain) || plain == *goal))
        }
    }
}

fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=').with_context(|| format!("{option} {text}: not of the form NAME=VALUE"))
}

pub(crate) fn run(args: &TrainArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        refuse_output_address(out)?;
    }
    let mut recipe = args.recipe()?;
    if args.print_recipe {
        print_recipe(&mut std::io::stdout().lock(), &recipe, &args.sweep)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.tui && !cfg!(feature = "tui") {
        bail!("this build has no full-screen display; rebuild with `--features tui`");
    }
    // Tidied last: with a slash behind it a name of a known set is a path.
    recipe.data.path = DataRecipe::tidy(&fetched(&recipe.data.path)?);
    if !recipe.start.weights.is_empty() {
        // Fetched now, where the progress can be seen; training finds it.
        weights_path(&recipe.start.weights)?;
    }
    if let Some(out) = &args.out {
        refuse_inside(out, &recipe.data.path)?;
    }
    let threads = args.compute.threads()?;
    // Images to learn from and to watch are loaded at the same time.
    check_more_threads(2 * threads + LEARNER_THREADS)?;
    let (mut devices, device_name) = args.compute.devices()?;
    let options = RunOptions {
        device: devices.remove(0),
        more_devices: devices,
        device_name,
        threads,
        out: args.out.clone(),
        verbose: true,
        tui: args.tui,
        fresh: args.fresh,
        save_every: args.save_every,
        csv: args.csv,
        tensorboard: args.tensorboard,
        ..RunOptions::default()
    };
    let is_auto = args.batch == Some(BatchSize::Auto);
    if !args.sweep.is_empty() {
        if is_auto {
            bail!(
                "--sweep trains with one batch size; find it with one run of --batch auto, or sweep it: --sweep batch=64,128"
            );
        }
        signals::listen(&options.stop)?;
        return sweep::run(&recipe, &args.sweep, &options);
    }
    let mut plan = Plan::new(&recipe)?;
    if is_auto {
        plan = with_largest_batch(plan, &options)?;
    }
    // Until now there was nothing to save.
    signals::listen(&options.stop)?;
    let outcome = run_plan(&plan, &options, Vec::new())?;

    let folder = &outcome.folder;
    let tally = &outcome.evaluation.tally;
    let (program, model) = (program(), folder.best_model());
    say(&format!(
        "{} accuracy {:.2} %  ({}loss {:.4}, {} images, best epoch {} of {}, trained in {:.0} s)",
        outcome.measured_on,
        100.0 * tally.top1(),
        top5(tally),
        tally.loss(),
        tally.samples(),
        outcome.fitted.best_epoch,
        outcome.fitted.epochs.len(),
        outcome.train_seconds,
    ));
    say("");
    say(&format!("Model   {}", model.display()));
    say(&format!("Report  {}", folder.report().display()));
    say(&format!("Folder  {}", folder.path().display()));
    say("");
    say("Next:");
    say(&format!("  {program} predict {} {}", model.display(), folder.example().display()));
    // Of images set apart by chance, a later evaluation knows nothing: it would measure on those learned from.
    if outcome.measured_apart {
        say(&format!("  {program} eval {} {}", model.display(), recipe.data.path));
    }
    say(&format!("  {program} summary {}", model.display()));
    if args.tensorboard {
        say(&format!("  tensorboard --logdir {}", folder.path().display()));
    }
    Ok(ExitCode::SUCCESS)
}
