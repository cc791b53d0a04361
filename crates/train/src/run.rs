//! From a recipe to a run folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::{Learner, SupervisedTraining, TrainLoader, TrainingStrategy};
use pyrograph_data::order::Order;
use pyrograph_data::source::Source;
use pyrograph_data::{Loader, LoaderConfig, Pipeline};
use pyrograph_infer::{Evaluation, ModelFile, evaluate, tensor_loader};
use pyrograph_model::Model;

use crate::checkpoint::{Checkpoints, Machine};
use crate::classifier::{Classifier, Frozen};
use crate::epoch_loop::{EpochLoop, StopRule, Training};
use crate::exports::Exports;
use crate::optimizer::{learning_rates, optimizer};
use crate::picture::png;
use crate::plan::thousands;
use crate::progress::{Progress, image_bar};
use crate::replicas::Replicas;
use crate::report::{MistakePicture, Report};
use crate::run_folder::{Found, Measured, failure, line, metrics_text, read_metrics};
use crate::saver::{Results, Saver, publish};
use crate::teller::{Teller, print_line};
use crate::train_state::{self, HISTORY, MODEL, TrainState, numbered};
use crate::{
    Callback, Ema, Error, Fitted, Objective, Plan, Recipe, Result, RunFolder, SaveEvery, Schedule, Scores,
    StopRecipe, StopSignal, Stopped, Teacher,
};

#[cfg(test)]
mod tests;

/// Mistakes shown in a report.
const MISTAKES: usize = 24;
/// Classes that a message names.
const NAMES: usize = 5;

/// What changes how long a run takes, not what comes out.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where tensors live.
    pub device: Device,
    /// Further devices, for batches of the same step: `accumulate` of the recipe must be a multiple of how many there are in all. The results of one
    /// device, but that running statistics are those of the batches on the first device.
    pub more_devices: Vec<Device>,
    /// The devices by the name the user gave them, for the report.
    pub device_name: String,
    /// Threads that read and decode images.
    pub threads: usize,
    /// The run folder; without it the first free one below `runs/`.
    pub out: Option<PathBuf>,
    /// Print what is found and one line an epoch on standard output, and draw bars on standard error.
    pub verbose: bool,
    /// Burn's full-screen interface instead of bars (needs the feature `tui`).
    pub tui: bool,
    /// Never go on with a run that was stopped.
    pub fresh: bool,
    /// How often it is saved within an epoch.
    pub save_every: SaveEvery,
    /// Keep the curves in `metrics.csv` as well. A run that goes on keeps it where it is there.
    pub csv: bool,
    /// Keep the curves in an event file for TensorBoard as well: [`RunFolder::events`]. A run that goes on keeps it where it is there.
    pub tensorboard: bool,
    /// Asks it to save and stop.
    pub stop: StopSignal,
}

/// What a run has made.
#[derive(Debug)]
pub struct Outcome {
    /// The folder.
    pub folder: RunFolder,
    /// The numbers of every epoch.
    pub fitted: Fitted,
    /// `test` where the data has a test part, otherwise `validation`.
    pub measured_on: &'static str,
    /// The best model on that part.
    pub evaluation: Evaluation,
    /// Whether that part is one of its own in the data, and not images set apart from the training part.
    pub measured_apart: bool,
    /// Seconds of training, validation left out, and the time in which it was stopped.
    pub train_seconds: f64,
    /// The source of that part, for showing examples.
    pub measured: MeasuredSource,
}

/// The images that a run was measured on.
#[derive(Clone)]
pub struct MeasuredSource(pub Arc<dyn Source>);

impl Default for RunOptions {
    /// The default device, all cores, a folder below `runs/`, and silence.
    fn default() -> Self {
        Self {
            device: Device::default(),
            more_devices: Vec::new(),
            device_name: "default".into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            out: None,
            verbose: false,
            tui: false,
            fresh: false,
            save_every: SaveEvery::default(),
            csv: false,
            tensorboard: false,
            stop: StopSignal::default(),
        }
    }
}

impl std::fmt::Debug for MeasuredSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} images", self.0.len())
    }
}

/// Trains as `recipe` says and leaves a run folder. Goes on with a run of this recipe that was stopped ([`RunFolder::open`]).
///
/// The same recipe gives the same weights, bit for bit, on the CPU devices, whatever the number of threads, and however often the run was stopped,
/// as long as no batch had to be left out.
///
/// # Errors
///
/// When the data or the recipe is at fault, the folder cannot be written, or training fails or is asked to stop. What the folder holds by
/// then stays.
pub fn run(recipe: &Recipe, options: &RunOptions) -> Result<Outcome> {
    run_plan(&Plan::new(recipe)?, options, Vec::new())
}

/// Trains as `plan` says, with what others do along the way: [`run`] for data that is already open.
///
/// # Errors
///
/// As [`run`], and what a callback returns.
pub fn run_plan(plan: &Plan, options: &RunOptions, callbacks: Vec<Box<dyn Callback>>) -> Result<Outcome> {
    let say = |line: &str| {
        if options.verbose {
            print_line(line);
        }
    };
    plan.said.iter().for_each(|line| say(line));

    let train = loader(plan, &plan.train, Order::Shuffled, plan.augment.clone(), options)?;
    let valid = loader(plan, &plan.valid, Order::Sequential, None, options)?;
    let (folder, found) = RunFolder::open(options.out.as_deref(), &plan.recipe, options.fresh)?;
    say(&format!("Run folder {}", folder.path().display()));
    let fitted = if found == Found::Finished {
        say("The run is over; what it has learned is measured again");
        let rows = read_metrics(&folder.metrics())?.rows;
        Exports::begin(&folder, options, &rows)?;
        let mut rule = StopRule::new(plan.recipe.stop.clone());
        let stopped = rows.iter().fold(None, |_, row| rule.after(row).1);
        Fitted { epochs: rows, best_epoch: rule.best_epoch(), stopped }
    } else {
        fit(plan, options, (train, valid), (&folder, found), callbacks)?
    };
    match &fitted.stopped {
        Some(Stopped::Goal(name, value)) => say(&format!("Stopped: {name} reached {value:.4}")),
        Some(Stopped::Patience(epochs)) => say(&format!("Stopped: no better accuracy for {epochs} epochs")),
        None => {}
    }
    conclude(plan, options, folder, fitted)
}

/// Measures the best model and writes what a run leaves in the end.
fn conclude(plan: &Plan, options: &RunOptions, folder: RunFolder, fitted: Fitted) -> Result<Outcome> {
    let best = best_model(plan, &folder, &options.device)?;
    let (measured_on, measured) = match &plan.test {
        Some(test) => ("test", test),
        None => (plan.watched, &plan.valid),
    };
    let bar = image_bar(measured_on.into(), measured.len());
    // All is learned and saved: a run that ends here has no step to go back to.
    let not_stopped = RunOptions { stop: StopSignal::default(), ..options.clone() };
    let measured_loader = loader(plan, measured, Order::Sequential, None, &not_stopped)?;
    let loader = tensor_loader(measured_loader, options.device.clone());
    let evaluation = evaluate(&best, &loader, MISTAKES, |done| {
        if options.verbose {
            bar.set_position(done as u64);
        }
    })?;
    bar.finish_and_clear();
    let train_seconds = fitted.epochs.iter().map(|row| row.seconds).sum();
    let outcome = Outcome {
        folder,
        fitted,
        measured_on,
        measured_apart: plan.test.is_some() || !plan.set_apart,
        evaluation,
        train_seconds,
        measured: MeasuredSource(measured.clone()),
    };
    let Outcome { folder, fitted, evaluation, .. } = &outcome;
    folder.write(&folder.example(), &png(&measured.read(0)?.image))?;
    folder.write(&folder.report(), report(plan, options, &outcome)?.to_html().as_bytes())?;
    // With this line the run is over.
    let line = line(&Measured {
        measured_on: measured_on.into(),
        best_epoch: fitted.best_epoch,
        accuracy: evaluation.tally.top1(),
        top5: evaluation.tally.top5(),
        loss: Some(evaluation.tally.loss()).filter(|loss| loss.is_finite()),
        train_seconds,
    })?;
    folder.write(&folder.metrics(), (metrics_text(&fitted.epochs)? + &line).as_bytes())?;
    if folder.checkpoints().exists() {
        Checkpoints::new(folder.checkpoints(), Box::new(Machine)).remove()?;
    }
    Ok(outcome)
}

fn loader(
    plan: &Plan,
    source: &Arc<dyn Source>,
    order: Order,
    augment: Option<Pipeline>,
    options: &RunOptions,
) -> Result<Loader> {
    let learned_from = order == Order::Shuffled;
    let config = LoaderConfig {
        batch_size: plan.batch,
        order,
        seed: plan.recipe.seed,
        // What is measured comes once.
        repeats: if learned_from { plan.recipe.data.repeats } else { 1 },
        preprocess: plan.preprocess.clone(),
        // Training sees every image changed anyway; what is measured is exact.
        exact: augment.is_none(),
        augment,
        on_error: plan.recipe.data.on_error(),
        threads: options.threads,
        stop: Some(options.stop.flag()),
        ..LoaderConfig::default()
    };
    Ok(Loader::new(source.clone(), config)?)
}

fn fit(
    plan: &Plan,
    options: &RunOptions,
    loaders: (Loader, Loader),
    folder: (&RunFolder, Found),
    callbacks: Vec<Box<dyn Callback>>,
) -> Result<Fitted> {
    fit_from(plan, options, loaders, folder, callbacks, |batches| batches)
}

/// Learns from what `delivered` makes of the training batches.
fn fit_from(
    plan: &Plan,
    options: &RunOptions,
    (train, valid): (Loader, Loader),
    (folder, found): (&RunFolder, Found),
    mut callbacks: Vec<Box<dyn Callback>>,
    delivered: impl FnOnce(TrainLoader<Classifier>) -> TrainLoader<Classifier>,
) -> Result<Fitted> {
    let recipe = &plan.recipe;
    check_devices(recipe, options)?;
    let learning = |device: &Device| learning_device(recipe, device);
    let device = learning(&options.device);
    let steps = train.batches_per_epoch().div_ceil(recipe.accumulate);
    let schedule =
        Schedule::new(recipe.optim.lr, &recipe.schedule, recipe.epochs, steps).by(recipe.schedule_by);
    let mut state = begin(plan, &device, &train)?;
    if found == Found::Unfinished {
        state = go_on(state, plan, folder, options)?;
    }
    let epochs_done = state.progress.rows.len();
    let frozen = Frozen::new(&state.network.model, recipe.start.freeze_epochs.saturating_sub(epochs_done));
    state.network = state.network.with_frozen(frozen.clone());
    let scores = (Scores::new(plan.model.classes()), Scores::new(plan.model.classes()));
    let train = tensor_loader(train, device.clone())
        .with_mixing(recipe.mix)?
        .starting_at(&state.progress.position)
        .map_err(|error| changed(&folder.checkpoints(), &error.to_string()))?;
    callbacks.insert(0, Box::new(Exports::begin(folder, options, &state.progress.rows)?));
    callbacks.insert(0, Box::new(Teller::new(folder, recipe.epochs, options.verbose && !options.tui)));
    // Burn's learner wants an optimizer; the loop has its own.
    let learner = Learner::new(
        state.network.clone(),
        state.optimizer.clone(),
        learning_rates(&recipe.optim, &state.network.model, &schedule),
    );
    let others = options.more_devices.iter().map(learning).collect();
    let strategy = Arc::new(EpochLoop::new(Training {
        replicas: Replicas::new(&state.network, device.clone(), others),
        recipe: recipe.clone(),
        device: device.clone(),
        scores: scores.clone(),
        schedule,
        frozen,
        loader: train.loader().clone(),
        saver: Saver::new(folder.clone(), options.save_every, state.progress.step)?,
        state,
        describe: describe(plan)?,
        callbacks,
        stop: options.stop.clone(),
    }));
    let training = SupervisedTraining::new(
        folder.path(),
        delivered(Arc::new(train)),
        Arc::new(tensor_loader(valid, device.inner())),
    )
    .metric_train_numeric(scores.0)
    .metric_valid_numeric(scores.1)
    .with_metric_logger(InMemoryMetricLogger::new())
    .with_application_logger(None)
    .num_epochs(recipe.epochs)
    .with_training_strategy(TrainingStrategy::Custom(strategy.clone()));
    let training = if options.tui {
        training
    } else {
        training.renderer(Box::new(Progress::new(options.verbose, epochs_done + 1)))
    };
    let ended = training.launch(learner);
    let fitted = strategy.fitted()?;
    match ended.error {
        Some(error) => Err(Error::Training(error.to_string())),
        None => Ok(fitted),
    }
}

/// The device with gradients, as the recipe wants them.
pub(crate) fn learning_device(recipe: &Recipe, device: &Device) -> Device {
    match device.clone().autodiff() {
        device if recipe.gradient_checkpointing => device.gradient_checkpointing(),
        device => device,
    }
}

/// Whether the devices can do what the recipe asks for.
fn check_devices(recipe: &Recipe, options: &RunOptions) -> Result<()> {
    let devices = 1 + options.more_devices.len();
    if !recipe.accumulate.is_multiple_of(devices) {
        return Err(Error::Devices { devices, accumulate: recipe.accumulate });
    }
    let dtype = recipe.products_in();
    let lacking = |device: &&Device| dtype.is_some_and(|dtype| !device.supports_dtype(dtype));
    match std::iter::once(&options.device).chain(&options.more_devices).find(lacking) {
        Some(_) => Err(Error::Precision { device: options.device_name.clone() }),
        None => Ok(()),
    }
}

/// The state before the first step.
fn begin(plan: &Plan, device: &Device, train: &Loader) -> Result<TrainState> {
    let recipe = &plan.recipe;
    let model = numbered(plan.network(device)?);
    let off = device.clone().inner();
    let teacher =
        plan.teacher.as_ref().map(|file| Teacher::new(file, &recipe.distill, &plan.preprocess, &off));
    Ok(TrainState {
        optimizer: optimizer(&recipe.optim, &model),
        ema: recipe.ema.map(Ema::new),
        network: Classifier::new(model, Objective::new(recipe).with_teacher(teacher))
            .with_products(recipe.products_in()),
        progress: train_state::Progress::new(train.position(0, 0), plan.model.classes()),
    })
}

/// The state of the newest checkpoint, if there is one.
fn go_on(state: TrainState, plan: &Plan, folder: &RunFolder, options: &RunOptions) -> Result<TrainState> {
    let say = |line: String| {
        if options.verbose {
            print_line(&line);
        }
    };
    let newest = Checkpoints::new(folder.checkpoints(), Box::new(Machine)).newest()?;
    newest.damaged.iter().for_each(|error| say(format!("Passed over: {error}")));
    let Some(checkpoint) = newest.checkpoint else {
        if let Some(error) = newest.damaged.into_iter().next() {
            return Err(error);
        }
        if let Some(model) = [folder.best_model(), folder.last_model()].iter().find(|path| path.exists()) {
            return Err(failure(
                model,
                "there is no checkpoint to go on from, and a run from the beginning would write over this model; \
                 nothing was changed, begin in a new run folder with --fresh, or choose one with --out",
            ));
        }
        say("The run in it has saved nothing yet: it begins again".into());
        return Ok(state);
    };
    let kept = checkpoint.file(MODEL)?;
    let model = ModelFile::load(&kept, &options.device).map_err(|e| checkpoint.damaged(e.to_string()))?;
    check_model(&model, plan).map_err(|reason| changed(&kept, &reason))?;
    let state = state.restored(&checkpoint)?;
    let progress = &state.progress;
    // With an --out there is no other folder to begin in.
    let anew = if options.out.is_some() { "another --out" } else { "--fresh" };
    say(format!(
        "Going on from step {}, batch {} of epoch {} (another run from the beginning: {anew})",
        progress.step,
        progress.position.batch + 1,
        progress.epoch(),
    ));
    if progress.position.batch == 0 && !progress.rows.is_empty() {
        // What the epoch leaves in the folder follows from the checkpoint, and may not have been written any more.
        let mut rule = StopRule::new(StopRecipe::default());
        let is_best = progress.rows.iter().fold(false, |_, row| rule.after(row).0);
        let (_, model) = state.measured();
        let results = Results { model, is_best, bad_images: Vec::new() };
        publish(&Machine, folder, &results, &checkpoint.read(model)?, &checkpoint.read(HISTORY)?)?;
    }
    if !progress.rows.is_empty() {
        // Better now than after all epochs that are left.
        best_model(plan, folder, &options.device)?;
    }
    Ok(state)
}

/// The best model so far.
fn best_model(plan: &Plan, folder: &RunFolder, device: &Device) -> Result<ModelFile> {
    let path = folder.best_model();
    let model =
        ModelFile::load(&path, device).map_err(|error| Error::BestModel { reason: error.to_string() })?;
    check_model(&model, plan).map_err(|reason| changed(&path, &reason))?;
    Ok(model)
}

/// Whether a model of the run is one for the data and the network of `plan`; otherwise what has changed.
fn check_model(model: &ModelFile, plan: &Plan) -> std::result::Result<(), String> {
    let (there, here) = (&model.class_names, plan.train.class_names());
    if there != here {
        let list = |names: &[String]| match names {
            [names @ .., _] if names.len() > NAMES => format!("{}, …", names[..NAMES].join(", ")),
            names => names.join(", "),
        };
        let which = there.iter().zip(here).position(|(there, here)| there != here);
        return Err(match which {
            Some(n) if there.len() == here.len() => {
                format!("its class {n} is `{}`, that of the data is `{}`", there[n], here[n])
            }
            _ => format!(
                "it has {} classes ({}), the data has {} ({})",
                there.len(),
                list(there),
                here.len(),
                list(here)
            ),
        });
    }
    if model.config != plan.model || model.preprocess != plan.preprocess {
        return Err("it is of another network, or of images of another size".into());
    }
    Ok(())
}

/// What is said of a file of the run that no longer fits.
fn changed(path: &Path, reason: &str) -> Error {
    failure(
        path,
        &format!(
            "{reason}; the data or this file has changed since the run was begun: bring back what there was, \
             or begin in a new run folder with --fresh or --out"
        ),
    )
}

/// How a network becomes a model file of this run.
fn describe(plan: &Plan) -> Result<Box<dyn Fn(Model) -> ModelFile + Send>> {
    let recipe = plan.recipe.fingerprint()?;
    let (config, preprocess) = (plan.model.clone(), plan.preprocess.clone());
    let class_names = plan.train.class_names().to_vec();
    Ok(Box::new(move |model| ModelFile {
        config: config.clone(),
        preprocess: preprocess.clone(),
        class_names: class_names.clone(),
        recipe: recipe.clone(),
        model,
    }))
}

fn report(plan: &Plan, options: &RunOptions, outcome: &Outcome) -> Result<Report> {
    let source = &outcome.measured.0;
    let names = source.class_names();
    let tally = &outcome.evaluation.tally;
    let mistakes = outcome.evaluation.mistakes.iter().map(|mistake| {
        Ok(MistakePicture {
            png: png(&source.read(mistake.index)?.image),
            key: source.place(mistake.index).to_string(),
            truth: names[mistake.target].clone(),
            predicted: names[mistake.predicted].clone(),
            confidence: mistake.confidence,
        })
    });
    let facts = [
        ("Model", format!("{}, {} parameters", plan.recipe.model, thousands(plan.model.parameters()))),
        ("Input", plan.model.input().to_string()),
        ("Training images", thousands(plan.train.len())),
        ("Measured on", format!("{} {} images", thousands(source.len()), outcome.measured_on)),
        ("Best epoch", format!("{} of {}", outcome.fitted.best_epoch, outcome.fitted.epochs.len())),
        ("Training time", format!("{:.0} s", outcome.train_seconds)),
        ("Device", options.device_name.clone()),
        ("Seed", plan.recipe.seed.to_string()),
    ];
    Ok(Report {
        title: outcome.folder.name(),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        epochs: outcome.fitted.epochs.clone(),
        watched: plan.watched.to_owned(),
        final_name: outcome.measured_on.to_owned(),
        class_names: names.to_vec(),
        confusion: tally.confusion().to_vec(),
        accuracy: tally.top1(),
        top5: tally.top5(),
        loss: tally.loss(),
        mistakes: mistakes.collect::<Result<_>>()?,
        recipe: plan.recipe.to_toml()?,
    })
}
