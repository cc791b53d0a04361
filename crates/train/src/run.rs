//! From a recipe to a run folder.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::{Learner, SupervisedTraining, TrainingStrategy};
use pyrograph_data::order::Order;
use pyrograph_data::source::Source;
use pyrograph_data::{Loader, LoaderConfig, Pipeline};
use pyrograph_infer::{Evaluation, ModelFile, evaluate, tensor_loader};
use pyrograph_model::Model;

use crate::classifier::Frozen;
use crate::optimizer::{learning_rates, optimizer};
use crate::picture::png;
use crate::plan::thousands;
use crate::progress::{Progress, image_bar};
use crate::report::{MistakePicture, Report};
use crate::{
    Classifier, EpochLoop, EpochRow, Error, Fitted, Observer, Plan, Recipe, Result, RunFolder, Schedule,
    Scores, Stopped,
};

/// Mistakes shown in a report.
const MISTAKES: usize = 24;

/// What changes how long a run takes, not what comes out.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where tensors live.
    pub device: Device,
    /// The device by the name the user gave it, for the report.
    pub device_name: String,
    /// Threads that read and decode images.
    pub threads: usize,
    /// The run folder; without it the first free one below `runs/`.
    pub out: Option<PathBuf>,
    /// Print what is found and one line an epoch on standard output, and draw bars on standard error.
    pub verbose: bool,
    /// Burn's full-screen interface instead of bars (needs the feature `tui`).
    pub tui: bool,
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
    /// Seconds of training, validation included.
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
            device_name: "default".into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            out: None,
            verbose: false,
            tui: false,
        }
    }
}

impl std::fmt::Debug for MeasuredSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} images", self.0.len())
    }
}

/// Trains as `recipe` says and leaves a run folder.
///
/// The same recipe gives the same weights, bit for bit, on the CPU devices, whatever the number of threads.
///
/// # Errors
///
/// When the data or the recipe is at fault, the folder cannot be written, or training fails. What the folder holds by
/// then stays.
pub fn run(recipe: &Recipe, options: &RunOptions) -> Result<Outcome> {
    let plan = Plan::new(recipe)?;
    run_plan(&plan, options)
}

/// Trains as `plan` says: [`run`] for data that is already open.
///
/// # Errors
///
/// As [`run`].
pub fn run_plan(plan: &Plan, options: &RunOptions) -> Result<Outcome> {
    let recipe = &plan.recipe;
    let say = |line: &str| {
        if options.verbose {
            print_line(line);
        }
    };
    plan.said.iter().for_each(|line| say(line));

    let train = loader(plan, &plan.train, Order::Shuffled, plan.augment.clone(), options)?;
    let valid = loader(plan, &plan.valid, Order::Sequential, None, options)?;
    let folder = RunFolder::create(options.out.as_deref(), &recipe.model)?;
    folder.write(&folder.path().join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
    say(&format!("Run folder {}", folder.path().display()));

    let started = Instant::now();
    let fitted = fit(plan, options, (train, valid), &folder)?;
    let train_seconds = started.elapsed().as_secs_f64();
    match &fitted.stopped {
        Some(Stopped::Goal(name, value)) => say(&format!("Stopped: {name} reached {value:.4}")),
        Some(Stopped::Patience(epochs)) => say(&format!("Stopped: no better accuracy for {epochs} epochs")),
        None => {}
    }

    let best = ModelFile::load(folder.best_model(), &options.device)?;
    let (measured_on, measured) = match &plan.test {
        Some(test) => ("test", test),
        None => (plan.watched, &plan.valid),
    };
    let bar = image_bar(measured_on.into(), measured.len());
    let measured_loader = loader(plan, measured, Order::Sequential, None, options)?;
    let loader = tensor_loader(measured_loader, options.device.clone());
    let evaluation = evaluate(&best, &loader, MISTAKES, |done| {
        if options.verbose {
            bar.set_position(done as u64);
        }
    })?;
    bar.finish_and_clear();
    folder.record(&serde_json::json!({
        "measured_on": measured_on,
        "best_epoch": fitted.best_epoch,
        "accuracy": evaluation.tally.top1(),
        "top5": evaluation.tally.top5(),
        "loss": evaluation.tally.loss(),
        "train_seconds": train_seconds,
    }))?;
    let outcome = Outcome {
        folder,
        fitted,
        measured_on,
        measured_apart: plan.test.is_some() || !plan.set_apart,
        evaluation,
        train_seconds,
        measured: MeasuredSource(measured.clone()),
    };
    outcome.folder.write(&outcome.folder.example(), &png(&measured.read(0)?.image))?;
    let page = report(plan, options, &outcome)?.to_html();
    outcome.folder.write(&outcome.folder.report(), page.as_bytes())?;
    Ok(outcome)
}

fn loader(
    plan: &Plan,
    source: &Arc<dyn Source>,
    order: Order,
    augment: Option<Pipeline>,
    options: &RunOptions,
) -> Result<Loader> {
    let config = LoaderConfig {
        batch_size: plan.batch,
        order,
        seed: plan.recipe.seed,
        preprocess: plan.preprocess.clone(),
        // Training sees every image changed anyway; what is measured is exact.
        exact: augment.is_none(),
        augment,
        on_error: plan.recipe.data.on_error(),
        threads: options.threads,
        ..LoaderConfig::default()
    };
    Ok(Loader::new(source.clone(), config)?)
}

fn fit(plan: &Plan, options: &RunOptions, loaders: (Loader, Loader), folder: &RunFolder) -> Result<Fitted> {
    let recipe = &plan.recipe;
    let classes = plan.model.classes();
    let mut device = options.device.clone().autodiff();
    if recipe.gradient_checkpointing {
        device = device.gradient_checkpointing();
    }
    let (train, valid) = loaders;
    let steps = plan.train.len().div_ceil(plan.batch);

    let model = plan.network(&device)?;
    let schedule = Schedule::new(recipe.optim.lr, &recipe.schedule, recipe.epochs, steps);
    let (optimizer, rates) =
        (optimizer(&recipe.optim, &model), learning_rates(&recipe.optim, &model, &schedule));
    let frozen = Frozen::new(&model, recipe.start.freeze_epochs);
    let network = Classifier::new(model, recipe.label_smoothing).with_frozen(frozen.clone());
    let learner = Learner::new(network, optimizer, rates);
    let scores = (Scores::new(classes), Scores::new(classes));
    let train = tensor_loader(train, device.clone()).with_mixing(recipe.mix)?;
    let observer = keep(plan, train.loader().clone(), folder.clone(), options.verbose && !options.tui)?;
    let epochs = Arc::new(EpochLoop::new(device.clone(), scores.clone(), recipe, observer, frozen));
    let training = SupervisedTraining::new(
        folder.path(),
        Arc::new(train),
        Arc::new(tensor_loader(valid, device.inner())),
    )
    .metric_train_numeric(scores.0)
    .metric_valid_numeric(scores.1)
    .with_metric_logger(InMemoryMetricLogger::new())
    .with_application_logger(None)
    .num_epochs(recipe.epochs)
    .with_training_strategy(TrainingStrategy::Custom(epochs.clone()));
    let training =
        if options.tui { training } else { training.renderer(Box::new(Progress::new(options.verbose))) };

    if let Some(error) = training.launch(learner).error {
        return Err(Error::Training(error.to_string()));
    }
    epochs.fitted().map_err(|error| match error {
        // The rate of the recipe is the one that a person can change.
        Error::Diverged { epoch, .. } => Error::Diverged { epoch, learning_rate: recipe.optim.lr },
        other => other,
    })
}

/// Writes each epoch's line, the last and best models and the images that could not be read, and says how it went.
fn keep(plan: &Plan, train: Arc<Loader>, folder: RunFolder, verbose: bool) -> Result<Observer> {
    let recipe = plan.recipe.fingerprint()?;
    let (config, preprocess) = (plan.model.clone(), plan.preprocess.clone());
    let class_names = plan.train.class_names().to_vec();
    let epochs = plan.recipe.epochs;
    Ok(Box::new(move |row: &EpochRow, model: &Model, is_best: bool| {
        let file = ModelFile {
            config: config.clone(),
            preprocess: preprocess.clone(),
            class_names: class_names.clone(),
            recipe: recipe.clone(),
            model: model.clone(),
        };
        file.save(folder.last_model())?;
        if is_best {
            file.save(folder.best_model())?;
        }
        let bad = train.bad_samples();
        let row = EpochRow { bad_images: bad.len(), ..row.clone() };
        folder.record(&row)?;
        if !bad.is_empty() {
            let lines: String = bad.iter().map(|bad| format!("{}: {}\n", bad.place, bad.reason)).collect();
            folder.write(&folder.bad_images(), lines.as_bytes())?;
        }
        if verbose {
            print_line(&line(&row, epochs, is_best));
            if let Some(first) = bad.first() {
                let (count, list) = (bad.len(), folder.bad_images());
                print_line(&format!(
                    "  {count} images could not be read, others stood in for them; the first: {}: {}; all: {}",
                    first.place,
                    first.reason,
                    list.display()
                ));
            }
        }
        Ok(())
    }))
}

/// A reader that has gone (as `head`) must not end a run.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn line(row: &EpochRow, epochs: usize, is_best: bool) -> String {
    let width = epochs.to_string().len();
    format!(
        "epoch {:>width$}/{epochs}  train loss {:.4} accuracy {:6.2} %  valid loss {:.4} accuracy {:6.2} %  \
         {:.0} img/s  {:.1} s  waiting {:.0} %{}",
        row.epoch,
        row.train_loss,
        100.0 * row.train_accuracy,
        row.valid_loss,
        100.0 * row.valid_accuracy,
        row.images_per_second,
        row.seconds,
        100.0 * row.waiting_share,
        if is_best { "  best" } else { "" },
    )
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
