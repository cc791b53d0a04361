//! Recipes, runs and reports, on Burn's learner.
//!
//! Read in this order:
//!
//! 1. [`Recipe`]: everything that decides the result of a run, as TOML.
//! 2. [`Schedule`]: the learning rate as a function of the step.
//! 3. [`Classifier`]: a network with its loss, as Burn's `TrainStep` and `InferenceStep`.
//! 4. [`Scores`]: loss and accuracy of an epoch, as a Burn `Metric`.
//! 5. `epoch_loop.rs`: the training loop on one page, as a Burn `SupervisedLearningStrategy`.
//! 6. `checkpoint.rs`: what a stopped run goes on from.
//! 7. [`run`]: a recipe and a data set become a run folder with models, metrics and [`report`].

mod batch_size;
mod callback;
mod checkpoint;
mod classifier;
mod clip;
mod ema;
mod epoch_loop;
mod error;
mod exports;
mod growth;
mod guard;
mod objective;
mod optimizer;
mod picture;
mod plan;
mod progress;
mod recipe;
mod replicas;
pub mod report;
mod run;
mod run_folder;
mod run_list;
mod saver;
mod schedule;
mod scores;
mod stop_signal;
mod sweep_folder;
mod teller;
mod tensorboard;
mod train_state;

pub use batch_size::largest_batch;
pub use callback::{Callback, EpochEnd, LeftOut, StepEnd};
pub use classifier::{Classifier, Frozen};
pub use ema::Ema;
pub use epoch_loop::{Fitted, StopRule, Stopped};
pub use error::{Error, Result};
pub use objective::{Objective, Teacher};
pub use optimizer::{AdamW, Sgd};
pub use plan::{Plan, augment_steps};
pub use progress::{counting_bar, image_bar};
pub use recipe::{
    Amp, DataRecipe, DistillRecipe, LossKind, OptimKind, OptimRecipe, Pace, Recipe, ScheduleRecipe,
    ShippedRecipe, StartRecipe, StopRecipe, meant_key,
};
pub use report::EpochRow;
pub use run::{MeasuredSource, Outcome, RunOptions, run, run_plan};
pub use run_folder::{Found, RunFolder};
pub use run_list::{RunSummary, list_runs};
pub use saver::SaveEvery;
pub use schedule::Schedule;
pub use scores::Scores;
pub use stop_signal::StopSignal;
pub use sweep_folder::open_sweep;
