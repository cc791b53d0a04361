//! The training loop on one page: for each epoch train, validate, record, decide.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress;
use burn::tensor::Device;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use pyrograph_infer::Tally;
use pyrograph_model::{Model, noise};

use crate::clip::clip_norm;
use crate::{Classifier, Ema, EpochRow, Error, Frozen, Recipe, Result, Scores, StopRecipe};

/// Called at the end of each epoch with its numbers, the network (off the autodiff device) and whether its
/// accuracy is the best so far. An error ends the run.
pub type Observer = Box<dyn FnMut(&EpochRow, &Model, bool) -> Result<()> + Send>;

/// The loop as a strategy of Burn's `SupervisedTraining`.
pub struct EpochLoop {
    device: Device,
    train_scores: Scores,
    valid_scores: Scores,
    stop: StopRule,
    seed: u64,
    clip_norm: Option<f64>,
    ema: Option<f64>,
    frozen: Frozen,
    observer: Mutex<Observer>,
    fitted: Mutex<Result<Fitted>>,
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
                .filter(|&epochs| row.epoch - self.best_epoch >= epochs)
                .map(Stopped::Patience)
        };
        (is_best, stopped)
    }
}

impl EpochLoop {
    /// A loop that trains on `device` (its autodiff form) and reads its numbers from the two scores, which must also
    /// be registered as the training and the validation metric. What the network drops at random, and to which norm gradients are
    /// scaled down, the recipe says; `frozen` is that of the classifier.
    #[must_use]
    pub fn new(
        device: Device,
        scores: (Scores, Scores),
        recipe: &Recipe,
        observer: Observer,
        frozen: Frozen,
    ) -> Self {
        let (train_scores, valid_scores) = scores;
        Self {
            device,
            train_scores,
            valid_scores,
            stop: StopRule::new(recipe.stop.clone()),
            seed: recipe.seed,
            clip_norm: recipe.optim.clip_norm,
            ema: recipe.ema,
            frozen,
            observer: Mutex::new(observer),
            fitted: Mutex::new(Ok(Fitted::default())),
        }
    }

    /// How it went, once `SupervisedTraining::launch` has returned.
    ///
    /// # Errors
    ///
    /// What ended the loop: an observer's error or a loss that is not finite.
    pub fn fitted(&self) -> Result<Fitted> {
        let mut fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *fitted, Ok(Fitted::default()))
    }
}

type Events = SupervisedTrainingEventProcessor<Classifier>;

impl EpochLoop {
    /// Forward, loss, backward, update, for every batch.
    fn train_epoch(
        &self,
        epoch: usize,
        (learner, ema): (&mut Learner<Classifier>, &mut Option<Ema>),
        loader: &TrainLoader<Classifier>,
        events: &mut Events,
        interrupter: &Interrupter,
    ) -> Spent {
        let started = Instant::now();
        let mut waiting = Duration::ZERO;
        let total_items = loader.num_items();
        interrupter.fail_on_error(
            events.process_train(LearnerEvent::StartSplit { epoch_number: epoch, total_items }),
        );
        let mut batches = loader.iter();
        for step in 1.. {
            let asked = Instant::now();
            let batch = batches.next();
            waiting += asked.elapsed();
            let Some(batch) = batch else { break };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    interrupter.fail(error);
                    break;
                }
            };
            noise::of_step(self.seed, (epoch as u64) << 32 | step as u64);
            let output = learner.train_step(batch);
            let gradients = match self.clip_norm {
                Some(most) => clip_norm(&learner.model(), output.grads, most),
                None => output.grads,
            };
            learner.lr_step();
            learner.optimizer_step(gradients);
            if let Some(ema) = ema {
                ema.update(&learner.model().model);
            }
            let item = item(output.item, batches.progress(), step, Some(learner.lr_current()));
            interrupter.fail_on_error(events.process_train(LearnerEvent::ProcessedItem(item)));
            if interrupter.should_stop() {
                break;
            }
        }
        interrupter.fail_on_error(events.process_train(LearnerEvent::EndSplit(epoch)));
        Spent { all: started.elapsed(), waiting }
    }
}

/// Seconds of one epoch: all of it, and the part spent waiting for data.
struct Spent {
    all: Duration,
    waiting: Duration,
}

impl SupervisedLearningStrategy<Classifier> for EpochLoop {
    fn fit(
        &self,
        components: TrainingComponents<Classifier>,
        mut learner: Learner<Classifier>,
        train: TrainLoader<Classifier>,
        valid: ValidLoader<Classifier>,
        first_epoch: usize,
    ) -> (Classifier, Events) {
        let mut events = components.event_processor;
        let interrupter = &components.interrupter;
        let train = train.to_device(&self.device);
        let valid = valid.to_device(&self.device.clone().inner());
        learner.fork(&self.device);

        let mut stop = self.stop.clone();
        let mut ema = self.ema.map(Ema::new);
        let mut fitted = Fitted::default();
        let mut failure = None;
        for epoch in first_epoch..=components.num_epochs {
            let spent = self.train_epoch(epoch, (&mut learner, &mut ema), &train, &mut events, interrupter);
            self.frozen.end_epoch();
            if interrupter.should_stop() {
                break;
            }
            // What inference sees: the same weights, off the autodiff device.
            let mut network = burn::module::Module::valid(&learner.model());
            if let Some(average) = ema.as_ref().and_then(Ema::average) {
                network.model = average.clone();
            }
            validate(epoch, &network, &valid, &mut events, interrupter);
            interrupter.fail_on_error(events.process_train(LearnerEvent::EndEpoch(epoch)));
            interrupter.fail_on_error(events.flush());
            if interrupter.should_stop() {
                break;
            }

            let lr = learner.lr_current().base();
            let row = row(epoch, lr, &spent, &self.train_scores.finished(), &self.valid_scores.finished());
            let (is_best, stopped) = stop.after(&row);
            let finite = row.train_loss.is_finite();
            let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
            // Weights that are not finite never replace good ones.
            let observed = if finite { observer(&row, &network.model, is_best) } else { Ok(()) };
            fitted.epochs.push(row);
            fitted.best_epoch = stop.best_epoch;
            fitted.stopped = stopped;
            match observed {
                Err(error) => failure = Some(error),
                Ok(()) if !finite => failure = Some(Error::Diverged { epoch, learning_rate: lr }),
                Ok(()) => {}
            }
            if failure.is_some() || fitted.stopped.is_some() {
                break;
            }
        }
        *self.fitted.lock().unwrap_or_else(PoisonError::into_inner) = failure.map_or(Ok(fitted), Err);
        (learner.model(), events)
    }
}

fn validate(
    epoch: usize,
    network: &Classifier,
    loader: &ValidLoader<Classifier>,
    events: &mut Events,
    interrupter: &Interrupter,
) {
    let total_items = loader.num_items();
    interrupter
        .fail_on_error(events.process_valid(LearnerEvent::StartSplit { epoch_number: epoch, total_items }));
    let mut batches = loader.iter();
    let mut step = 0;
    while let Some(batch) = batches.next() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                interrupter.fail(error);
                break;
            }
        };
        step += 1;
        let output = InferenceStep::step(network, batch);
        let item = item(output, batches.progress(), step, None);
        interrupter.fail_on_error(events.process_valid(LearnerEvent::ProcessedItem(item)));
        if interrupter.should_stop() {
            break;
        }
    }
    interrupter.fail_on_error(events.process_valid(LearnerEvent::EndSplit(epoch)));
}

fn item<T>(
    output: T,
    progress: Progress,
    step: usize,
    lr: Option<burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate>,
) -> TrainingItem<T> {
    TrainingItem::new(output, progress, Some(step), lr)
}

fn row(epoch: usize, learning_rate: f64, spent: &Spent, train: &Tally, valid: &Tally) -> EpochRow {
    let seconds = spent.all.as_secs_f64();
    EpochRow {
        epoch,
        learning_rate,
        train_loss: train.loss(),
        train_accuracy: train.top1(),
        valid_loss: valid.loss(),
        valid_accuracy: valid.top1(),
        valid_top5: valid.top5(),
        seconds,
        images_per_second: train.samples() as f64 / seconds,
        waiting_share: spent.waiting.as_secs_f64() / seconds,
        // The loader knows; the observer asks it.
        bad_images: 0,
    }
}

impl std::fmt::Debug for EpochLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochLoop")
            .field("device", &self.device)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
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
