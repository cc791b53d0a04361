//! The training loop on one page: for each epoch train, validate, decide, save.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use pyrograph_data::Loader;
use pyrograph_data::tensor::ImageBatch;
use pyrograph_infer::ModelFile;
use pyrograph_model::{Model, on_compute_thread};

use crate::callback::{EpochEnd, LeftOut, StepEnd};
use crate::classifier::{Classifier, Frozen, Lesson};
use crate::clip::{clip_adaptive, clip_norm};
use crate::growth::{shrunk, size_in};
use crate::guard::{Guard, Next, WEIGHT, is_finite, not_finite, with_statistics_of};
use crate::optimizer::learning_rates;
use crate::replicas::{Replicas, Work};
use crate::saver::{Results, Save, Saver};
use crate::train_state::TrainState;
use crate::{Callback, EpochRow, Error, Recipe, Result, Schedule, Scores, StopRecipe, StopSignal};

/// Images that an error names.
const NAMED: usize = 4;

/// Everything that training needs. What a step changes is in `state`.
pub(crate) struct Training {
    pub(crate) recipe: Recipe,
    /// Where the network is, in its autodiff form.
    pub(crate) device: Device,
    /// On further devices.
    pub(crate) replicas: Replicas,
    /// Of training and of validation; they must be registered as Burn's metrics.
    pub(crate) scores: (Scores, Scores),
    pub(crate) schedule: Schedule,
    pub(crate) frozen: Frozen,
    /// The training images.
    pub(crate) loader: Arc<Loader>,
    pub(crate) state: TrainState,
    pub(crate) saver: Saver,
    /// A model file of a network.
    pub(crate) describe: Box<dyn Fn(Model) -> ModelFile + Send>,
    pub(crate) callbacks: Vec<Box<dyn Callback>>,
    pub(crate) stop: StopSignal,
}

/// The loop as a strategy of Burn's `SupervisedTraining`, which gives it metrics and what shows them.
pub(crate) struct EpochLoop {
    training: Mutex<Option<Training>>,
    fitted: Mutex<Option<Result<Fitted>>>,
}

/// How a loop went.
#[derive(Debug, Clone, Default)]
pub struct Fitted {
    /// The numbers of every epoch.
    pub epochs: Vec<EpochRow>,
    /// The epoch with the best validation accuracy, counted from 1.
    pub best_epoch: usize,
    /// Why it ended before the last epoch.
    pub stopped: Option<Stopped>,
}

/// Why a loop ended before its last epoch.
#[derive(Debug, Clone, PartialEq)]
pub enum Stopped {
    /// The goal was reached: its name and value.
    Goal(&'static str, f64),
    /// No better accuracy for this many epochs.
    Patience(usize),
}

/// Decides after each epoch whether to go on.
#[derive(Debug, Clone)]
pub struct StopRule {
    recipe: StopRecipe,
    best: f64,
    best_epoch: usize,
}

impl StopRule {
    /// The rule of a recipe, before the first epoch.
    #[must_use]
    pub fn new(recipe: StopRecipe) -> Self {
        Self { recipe, best: f64::NEG_INFINITY, best_epoch: 0 }
    }

    /// The epoch with the best accuracy so far, counted from 1; 0 before the first.
    #[must_use]
    pub fn best_epoch(&self) -> usize {
        self.best_epoch
    }

    /// Takes in an epoch: whether its accuracy is the best so far (the first of equals), and whether to stop.
    pub fn after(&mut self, row: &EpochRow) -> (bool, Option<Stopped>) {
        let is_best = row.valid_accuracy > self.best;
        if is_best {
            self.best = row.valid_accuracy;
            self.best_epoch = row.epoch;
        }
        let reached = |goal: Option<f64>, value: f64| goal.is_some_and(|goal| value >= goal);
        let stopped = if reached(self.recipe.accuracy, row.valid_accuracy) {
            Some(Stopped::Goal("accuracy", row.valid_accuracy))
        } else if reached(self.recipe.top5, row.valid_top5) {
            Some(Stopped::Goal("top-5 accuracy", row.valid_top5))
        } else if self.recipe.loss.is_some_and(|goal| row.valid_loss <= goal) {
            Some(Stopped::Goal("loss", row.valid_loss))
        } else {
            self.recipe
                .patience
                .filter(|&epochs| row.epoch.saturating_sub(self.best_epoch) >= epochs)
                .map(Stopped::Patience)
        };
        (is_best, stopped)
    }
}

impl EpochLoop {
    pub(crate) fn new(training: Training) -> Self {
        Self { training: Mutex::new(Some(training)), fitted: Mutex::new(None) }
    }

    /// How it went, once `SupervisedTraining::launch` has returned.
    ///
    /// # Errors
    ///
    /// What ended the loop.
    pub(crate) fn fitted(&self) -> Result<Fitted> {
        let fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner).take();
        fitted.unwrap_or_else(|| Err(Error::Training("it has not begun".into())))
    }
}

impl SupervisedLearningStrategy<Classifier> for EpochLoop {
    fn fit(
        &self,
        components: TrainingComponents<Classifier>,
        learner: Learner<Classifier>,
        train: TrainLoader<Classifier>,
        valid: ValidLoader<Classifier>,
        _first_epoch: usize,
    ) -> (Classifier, Events) {
        let network = learner.model();
        // The learner keeps its optimizer's state to itself, and a checkpoint needs it: `Training` has an optimizer of its own.
        drop(learner);
        let mut burn = Burn { events: components.event_processor, interrupter: components.interrupter };
        let training = self.training.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut training) = training else { return (network, burn.events) };
        drop(network);
        let train = train.to_device(&training.device);
        let valid = valid.to_device(&training.device.clone().inner());
        let fitted = training.run(&train, &valid, &mut burn);
        *self.fitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(fitted);
        (training.state.network, burn.events)
    }
}

type Events = SupervisedTrainingEventProcessor<Classifier>;

/// Burn's side of the loop.
struct Burn {
    events: Events,
    interrupter: Interrupter,
}

fn told<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| Error::Training(error.to_string()))
}

impl Training {
    fn run(
        &mut self,
        train: &TrainLoader<Classifier>,
        valid: &ValidLoader<Classifier>,
        burn: &mut Burn,
    ) -> Result<Fitted> {
        let mut rule = StopRule::new(self.recipe.stop.clone());
        let mut stopped = self.state.progress.rows.iter().fold(None, |_, row| rule.after(row).1);
        if self.state.progress.step == 0 {
            // Something to go back to, and a first look at whether there is room.
            self.save(None)?;
        }
        while stopped.is_none() && self.state.progress.epoch() <= self.recipe.epochs {
            self.train_epoch(train, burn)?;
            let row = self.validate(valid, burn)?;
            let (is_best, why) = rule.after(&row);
            stopped = why;
            self.end_epoch(row, is_best)?;
            told(burn.events.process_train(LearnerEvent::EndEpoch(self.state.progress.rows.len())))?;
        }
        self.saver.wait()?;
        Ok(Fitted { epochs: self.state.progress.rows.clone(), best_epoch: rule.best_epoch, stopped })
    }

    /// What is left of the epoch's batches: forward, loss, backward, on each device at once, and after every `accumulate` of them an update.
    fn train_epoch(&mut self, train: &TrainLoader<Classifier>, burn: &mut Burn) -> Result<()> {
        let epoch = self.state.progress.epoch();
        let start = LearnerEvent::StartSplit { epoch_number: epoch, total_items: train.num_items() };
        told(burn.events.process_train(start))?;
        self.scores.0.go_on_from(self.state.progress.tally.clone());
        let mut clock = Clock::from(self.state.progress.seconds);
        let mut guard = Guard::new(self.state.progress.rollbacks);
        let schedule = self.schedule();
        let mut rates = learning_rates(&self.recipe.optim, &self.state.network.model, &schedule);
        let earlier = self.state.progress.bad_images.clone();
        let mut gathered = Gathered::default();
        let (total, together) = (self.loader.batches_per_epoch() as u64, self.recipe.accumulate as u64);
        let mut batches = train.iter();
        loop {
            let first = self.state.progress.position.batch;
            let first_of_step = first - first % together;
            let last_of_step = total.min(first_of_step + together);
            let at_once = self.replicas.at_once().min(last_of_step - first) as usize;
            let taken = clock.waiting_for(|| batches.by_ref().take(at_once).collect::<Result<Vec<_>, _>>());
            if taken.is_err() && self.stop.is_set() {
                self.stop_before(first == first_of_step, &clock, &earlier, burn)?;
            }
            let taken = told(taken)?;
            if taken.is_empty() {
                break;
            }
            let places: Vec<Vec<usize>> = taken.iter().map(|batch| batch.indices.clone()).collect();
            let share = 1.0 / (last_of_step - first_of_step) as f64;
            let works = (first..).zip(taken).map(|(number, batch)| {
                let draws = (self.recipe.seed, (epoch as u64) << 32 | (number + 1));
                Work { batch: self.grown(batch, epoch), share, draws }
            });

            let before = self.state.network.model.valid();
            let lessons = self.replicas.learn(&self.state.network, works.collect());
            let mut outputs = Vec::with_capacity(lessons.len());
            for (lesson, places) in lessons.into_iter().zip(&places) {
                let Lesson { loss, gradients, output } = lesson;
                let number = self.state.progress.position.batch;
                self.state.progress.position.batch += 1;
                if let Some(what) = told(not_finite(&self.state.network, &loss, &gradients))? {
                    self.state.network.model = with_statistics_of(self.state.network.model.clone(), &before);
                    self.leave_out(what, number, places, &mut guard)?;
                } else {
                    guard.passed();
                    gathered.add(&self.state.network, gradients, together);
                    outputs.push((number + 1, output));
                }
            }
            drop(before);

            let position = self.state.progress.position.batch;
            let step_is_over = position == last_of_step;
            let mut rate = None;
            if step_is_over {
                let rate = rate.insert(rates.step()).clone();
                if let Some(gradients) = gathered.take() {
                    self.update(gradients, rate);
                }
                self.state.progress.step += 1;
                self.step_end(epoch)?;
            }
            for (number, output) in outputs {
                let item = TrainingItem::new(output, batches.progress(), Some(number as usize), rate.clone());
                told(burn.events.process_train(LearnerEvent::ProcessedItem(item)))?;
            }
            if step_is_over {
                let asked = self.stop.is_set() || burn.interrupter.should_stop();
                let saves = asked || (guard.is_calm() && self.saver.is_due(self.state.progress.step)?);
                if (saves || position == total) && !told(is_finite(&self.state.network.model.valid()))? {
                    self.leave_out(WEIGHT, position - 1, &places.concat(), &mut guard)?;
                }
                if saves {
                    self.save_within(&clock, &earlier, burn)?;
                }
                self.end_if_asked(asked)?;
            }
        }
        self.state.progress.seconds = clock.seconds();
        self.state.progress.bad_images = bad_images(&earlier, &self.loader);
        told(burn.events.process_train(LearnerEvent::EndSplit(epoch)))?;
        told(burn.events.flush())?;
        self.state.progress.tally = self.scores.0.finished();
        self.frozen.end_epoch();
        Ok(())
    }

    /// A save between two steps of an epoch.
    fn save_within(&mut self, clock: &Clock, earlier: &[String], burn: &mut Burn) -> Result<()> {
        self.state.progress.seconds = clock.seconds();
        self.state.progress.bad_images = bad_images(earlier, &self.loader);
        told(burn.events.flush())?;
        self.state.progress.tally = self.scores.0.so_far();
        self.save(None)
    }

    /// Ends the loop while images do not come. Within a step, and of weights that are not finite, there is nothing that could be saved: what is
    /// left is the newest checkpoint.
    fn stop_before(
        &mut self,
        a_step: bool,
        clock: &Clock,
        earlier: &[String],
        burn: &mut Burn,
    ) -> Result<()> {
        if a_step && told(is_finite(&self.state.network.model.valid()))? {
            self.save_within(clock, earlier, burn)?;
        } else if let Some(checkpoint) = self.saver.newest()?.checkpoint {
            self.state = self.state.clone().restored(&checkpoint)?;
        }
        self.end_if_asked(true)
    }

    /// The batch with its images at the size of the epoch.
    fn grown(&self, mut batch: ImageBatch, epoch: usize) -> ImageBatch {
        if let Some(start) = self.recipe.data.start_size {
            let [.., height, width] = batch.images.dims();
            let size = size_in(epoch, self.recipe.epochs, start, [height, width]);
            batch.images = shrunk(batch.images, size);
        }
        batch
    }

    fn update(&mut self, gradients: GradientsParams, rate: ModuleLearningRate) {
        let network = self.state.network.clone();
        let gradients = match self.recipe.optim.clip_adaptive {
            Some(most) => clip_adaptive(&network, gradients, most),
            None => gradients,
        };
        let gradients = match self.recipe.optim.clip_norm {
            Some(most) => clip_norm(&network, gradients, most),
            None => gradients,
        };
        let optimizer = &mut self.state.optimizer;
        self.state.network =
            on_compute_thread(self.replicas.home(), || optimizer.step(rate, network, gradients));
        if let Some(ema) = &mut self.state.ema {
            ema.update(&self.state.network.model);
            self.state.progress.averaged_steps = ema.steps();
        }
    }

    /// The schedule from here on, in the epoch that is under way.
    fn schedule(&self) -> Schedule {
        self.schedule.after(&self.state.progress.rows).from_step(self.state.progress.step)
    }

    fn step_end(&mut self, epoch: usize) -> Result<()> {
        let step = self.state.progress.step;
        let end = StepEnd { epoch, step, learning_rate: self.schedule().at(step - 1) };
        let network = &mut self.state.network.model;
        self.callbacks.iter_mut().try_for_each(|callback| callback.step_end(&end, network))
    }

    /// Nothing is learned of a batch whose numbers are not finite; after several of them the weights themselves are suspected.
    fn leave_out(
        &mut self,
        what: &'static str,
        number: u64,
        places: &[usize],
        guard: &mut Guard,
    ) -> Result<()> {
        let source = self.loader.source();
        let images: Vec<String> = places.iter().map(|&index| source.place(index).to_string()).collect();
        let (epoch, batch) = (self.state.progress.epoch(), number + 1);
        let next = guard.left_out(what);
        self.state.progress.left_out += 1;
        self.state.progress.rollbacks = guard.rollbacks();
        let left_out = LeftOut { epoch, batch, what, images, rolled_back: next == Next::RollBack };
        self.callbacks.iter_mut().try_for_each(|callback| callback.left_out(&left_out))?;
        let older = match next {
            Next::GoOn => return Ok(()),
            Next::RollBack => self.saver.newest()?.checkpoint,
            Next::Stop => None,
        };
        match older {
            Some(checkpoint) => {
                self.state = self.state.clone().rolled_back(&checkpoint)?;
                Ok(())
            }
            None => Err(Error::NotFinite {
                what,
                epoch,
                batch,
                images: left_out.images[..left_out.images.len().min(NAMED)].join(", "),
                learning_rate: self.recipe.optim.lr,
            }),
        }
    }

    /// The epoch's numbers, from the network that is kept.
    fn validate(&mut self, loader: &ValidLoader<Classifier>, burn: &mut Burn) -> Result<EpochRow> {
        let epoch = self.state.progress.epoch();
        let (network, _) = self.state.measured();
        let start = LearnerEvent::StartSplit { epoch_number: epoch, total_items: loader.num_items() };
        told(burn.events.process_valid(start))?;
        let mut batches = loader.iter();
        let mut number = 0;
        while let Some(batch) = batches.next() {
            number += 1;
            let asked = self.stop.is_set() || burn.interrupter.should_stop();
            if asked {
                self.save(None)?;
            }
            self.end_if_asked(asked)?;
            let output = InferenceStep::step(&network, told(batch)?);
            let item = TrainingItem::new(output, batches.progress(), Some(number), None);
            told(burn.events.process_valid(LearnerEvent::ProcessedItem(item)))?;
        }
        told(burn.events.process_valid(LearnerEvent::EndSplit(epoch)))?;
        told(burn.events.flush())?;

        let progress = &self.state.progress;
        let (train, valid, [seconds, waiting]) =
            (&progress.tally, self.scores.1.finished(), progress.seconds);
        Ok(EpochRow {
            epoch,
            learning_rate: self.schedule().at(progress.step.saturating_sub(1)),
            train_loss: train.loss(),
            train_accuracy: train.top1(),
            valid_loss: valid.loss(),
            valid_accuracy: valid.top1(),
            valid_top5: valid.top5(),
            seconds,
            images_per_second: train.samples() as f64 / seconds,
            waiting_share: waiting / seconds,
            bad_images: progress.bad_images.len(),
            left_out: progress.left_out,
        })
    }

    /// The epoch becomes part of what was done, and is saved.
    fn end_epoch(&mut self, row: EpochRow, is_best: bool) -> Result<()> {
        let (network, model) = self.state.measured();
        let progress = &mut self.state.progress;
        let bad_images = std::mem::take(&mut progress.bad_images);
        let end = EpochEnd { row: &row, network: &network.model, is_best, bad_images: &bad_images };
        self.callbacks.iter_mut().try_for_each(|callback| callback.epoch_end(&end))?;
        progress.rows.push(row);
        progress.position = self.loader.position(progress.rows.len() as u64, 0);
        progress.tally = pyrograph_infer::Tally::new(progress.tally.classes());
        (progress.seconds, progress.left_out) = ([0.0; 2], 0);
        self.save(Some(Results { model, is_best, bad_images }))
    }

    fn save(&mut self, results: Option<Results>) -> Result<()> {
        // One checkpoint at a time is held in memory.
        self.saver.wait()?;
        let snapshot = self.state.snapshot(&self.describe)?;
        self.saver.save(Save { step: self.state.progress.step, snapshot, results })
    }

    /// Ends the loop with everything saved, if somebody has asked for it.
    fn end_if_asked(&mut self, asked: bool) -> Result<()> {
        if !asked {
            return Ok(());
        }
        self.saver.wait()?;
        let path = self.saver.folder().path().to_owned();
        Err(Error::Interrupted { path, step: self.state.progress.step })
    }
}

/// Those of the epoch before the run was stopped, and those since.
fn bad_images(earlier: &[String], loader: &Loader) -> Vec<String> {
    let since = loader.bad_samples().into_iter().map(|bad| format!("{}: {}", bad.place, bad.reason));
    let mut all: Vec<String> = earlier.iter().cloned().chain(since).collect();
    // Where images are repeated, the copies of one stand together.
    all.dedup();
    all
}

/// The gradients of the batches of a step.
#[derive(Default)]
struct Gathered {
    one: Option<GradientsParams>,
    several: GradientsAccumulator<Classifier>,
}

impl Gathered {
    fn add(&mut self, network: &Classifier, gradients: GradientsParams, together: u64) {
        if together == 1 {
            self.one = Some(gradients);
        } else {
            self.several.accumulate(network, gradients);
        }
    }

    /// Their sum, if there are any.
    fn take(&mut self) -> Option<GradientsParams> {
        self.one.take().or_else(|| Some(self.several.grads()).filter(|gradients| !gradients.is_empty()))
    }
}

/// Time spent on an epoch, and the part of it waiting for data.
struct Clock {
    before: [f64; 2],
    started: Instant,
    waiting: Duration,
}

impl Clock {
    /// Goes on from what was spent before the run was stopped.
    fn from(before: [f64; 2]) -> Self {
        Self { before, started: Instant::now(), waiting: Duration::ZERO }
    }

    fn waiting_for<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let asked = Instant::now();
        let done = work();
        self.waiting += asked.elapsed();
        done
    }

    fn seconds(&self) -> [f64; 2] {
        [self.before[0] + self.started.elapsed().as_secs_f64(), self.before[1] + self.waiting.as_secs_f64()]
    }
}

impl std::fmt::Debug for EpochLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochLoop").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize, accuracy: f64) -> EpochRow {
        EpochRow { epoch, valid_accuracy: accuracy, valid_loss: 1.0, ..EpochRow::default() }
    }

    #[test]
    fn the_first_of_equal_accuracies_stays_the_best() {
        let mut rule = StopRule::new(StopRecipe::default());
        assert_eq!(rule.after(&row(1, 0.5)), (true, None));
        assert_eq!(rule.after(&row(2, 0.5)), (false, None));
        assert_eq!(rule.after(&row(3, 0.6)), (true, None));
    }

    #[test]
    fn a_reached_goal_stops() {
        let mut rule = StopRule::new(StopRecipe { accuracy: Some(0.93), ..StopRecipe::default() });
        assert_eq!(rule.after(&row(1, 0.92)).1, None);
        assert_eq!(rule.after(&row(2, 0.93)).1, Some(Stopped::Goal("accuracy", 0.93)));
    }

    #[test]
    fn patience_counts_epochs_since_the_best() {
        let mut rule = StopRule::new(StopRecipe { patience: Some(2), ..StopRecipe::default() });
        assert_eq!(rule.after(&row(1, 0.5)).1, None);
        assert_eq!(rule.after(&row(2, 0.4)).1, None);
        assert_eq!(rule.after(&row(3, 0.4)).1, Some(Stopped::Patience(2)));
    }
}
