//! Everything that a step of training changes, and its way into a checkpoint and back.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::{Bytes, Tensor};
use pyrograph_data::Position;
use pyrograph_infer::{ModelFile, Tally, read_weights};
use pyrograph_model::{Model, load_tensors};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Content};
use crate::run_folder::{metrics_text, read_metrics};
use crate::{Classifier, Ema, EpochRow, Error, Result};

pub(crate) const MODEL: &str = "model.safetensors";
const AVERAGE: &str = "average.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";
/// The epochs so far, as they stand in the run folder.
pub(crate) const HISTORY: &str = "metrics.jsonl";

/// Everything that a step of training changes. What else a step depends on follows from the recipe and the numbers in `progress`: the
/// learning rate, the order of images, every random draw.
#[derive(Clone)]
pub(crate) struct TrainState {
    pub(crate) network: Classifier,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) ema: Option<Ema>,
    pub(crate) progress: Progress,
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps of the optimizer since the run began, those of batches that were left out included.
    pub(crate) step: u64,
    /// The next batch. At the end of a pass its validation is still to come.
    pub(crate) position: Position,
    /// The epochs that are over; in a checkpoint they are a file of their own.
    #[serde(skip)]
    pub(crate) rows: Vec<EpochRow>,
    /// Training scores of the epoch that is under way.
    pub(crate) tally: Tally,
    /// Seconds spent on that epoch, and those of them waiting for data.
    pub(crate) seconds: [f64; 2],
    /// Its images that could not be read, each with the reason.
    pub(crate) bad_images: Vec<String>,
    /// Batches of that epoch that were left out, since their numbers were not finite.
    pub(crate) left_out: u64,
    /// How often older weights were taken up.
    pub(crate) rollbacks: u32,
    /// What the average of the weights has seen.
    pub(crate) averaged_steps: u64,
}

impl Progress {
    /// A run that has not begun: its first batch is at `position`.
    pub(crate) fn new(position: Position, classes: usize) -> Self {
        Self {
            step: 0,
            position,
            rows: Vec::new(),
            tally: Tally::new(classes),
            seconds: [0.0; 2],
            bad_images: Vec::new(),
            left_out: 0,
            rollbacks: 0,
            averaged_steps: 0,
        }
    }

    /// The epoch that is under way, counted from 1.
    pub(crate) fn epoch(&self) -> usize {
        self.rows.len() + 1
    }
}

/// A state to be saved.
pub(crate) struct Snapshot {
    files: Vec<Content>,
    /// Its tensors are shared with the run until the next step replaces them; their bytes are most of a checkpoint.
    optimizer: ModuleOptimizer,
}

impl Snapshot {
    /// The files of the checkpoint.
    pub(crate) fn into_files(self) -> Result<Vec<Content>> {
        let Self { mut files, optimizer } = self;
        files.push((OPTIMIZER, optimizer.into_bytes().map_err(|e| unmade(&e))?.to_vec()));
        Ok(files)
    }
}

fn unmade(e: &dyn std::fmt::Display) -> Error {
    Error::Training(format!("the checkpoint cannot be made: {e}"))
}

impl TrainState {
    /// The network that is measured and kept, off the autodiff device, and the file of the checkpoint that has it.
    pub(crate) fn measured(&self) -> (Classifier, &'static str) {
        let mut network = self.network.valid();
        match self.ema.as_ref().and_then(Ema::average) {
            Some(average) => {
                network.model = average.clone();
                (network, AVERAGE)
            }
            None => (network, MODEL),
        }
    }

    /// What a checkpoint is made of. Nothing in it changes any more: it can be written while training goes on.
    pub(crate) fn snapshot(&self, describe: impl Fn(Model) -> ModelFile) -> Result<Snapshot> {
        let mut files = vec![(MODEL, describe(self.network.model.valid()).to_bytes()?)];
        if let Some(average) = self.ema.as_ref().and_then(Ema::average) {
            files.push((AVERAGE, describe(average.clone()).to_bytes()?));
        }
        files.push((HISTORY, metrics_text(&self.progress.rows)?.into_bytes()));
        files.push((STATE, serde_json::to_vec(&self.progress).map_err(|e| unmade(&e))?));
        Ok(Snapshot { files, optimizer: self.optimizer.clone() })
    }

    /// The state in `checkpoint`: weights, average, optimizer and progress.
    pub(crate) fn restored(self, checkpoint: &Checkpoint) -> Result<Self> {
        let damaged = |reason: String| checkpoint.damaged(format!("{STATE}: {reason}"));
        let mut progress: Progress =
            serde_json::from_slice(&checkpoint.read(STATE)?).map_err(|e| damaged(e.to_string()))?;
        progress.rows = read_metrics(&checkpoint.file(HISTORY)?)?.rows;
        if progress.step != checkpoint.step {
            return Err(damaged(format!("it is of step {}", progress.step)));
        }
        let (there, here) = (progress.tally.classes(), self.progress.tally.classes());
        if there != here {
            return Err(damaged(format!("it has scores of {there} classes; the data has {here}")));
        }
        let (epoch, over) = (progress.position.epoch, progress.rows.len());
        if epoch != over as u64 {
            return Err(damaged(format!(
                "it is in pass {epoch}, counted from 0; {HISTORY} has {over} epochs"
            )));
        }
        let weights = self.with_weights(checkpoint, progress.averaged_steps)?;
        Ok(Self { progress, ..weights })
    }

    /// The same progress with the weights, the average and the optimizer of `checkpoint`.
    pub(crate) fn rolled_back(self, checkpoint: &Checkpoint) -> Result<Self> {
        let averaged_steps = self.progress.averaged_steps;
        self.with_weights(checkpoint, averaged_steps)
    }

    fn with_weights(mut self, checkpoint: &Checkpoint, averaged_steps: u64) -> Result<Self> {
        let load = |model: Model, name: &str| -> Result<Model> {
            let path = checkpoint.file(name)?;
            let tensors = read_weights(&path)?;
            load_tensors(model, tensors).map_err(|e| Error::DamagedCheckpoint { path, reason: e.to_string() })
        };
        // Running statistics that a pass has added to become visible only now; later they would replace the ones that are loaded.
        let _ = self.network.model.valid();
        self.network.model = load(self.network.model, MODEL)?;
        if let Some(ema) = self.ema {
            // Before the first step there is none.
            let average =
                checkpoint.find(AVERAGE).map(|_| load(self.network.model.valid(), AVERAGE)).transpose()?;
            self.ema = Some(ema.restored(average, averaged_steps));
        }
        let bytes = Bytes::from_bytes_vec(checkpoint.read(OPTIMIZER)?);
        let record = OptimizerRecord::from_bytes(bytes)
            .map_err(|e| checkpoint.damaged(format!("{OPTIMIZER}: {e}")))?;
        self.optimizer = self.optimizer.load_record(record);
        Ok(self)
    }
}

impl std::fmt::Debug for TrainState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainState").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// The network with its parameters known by their number in the order of construction. Burn draws an id for each at random, and keeps an
/// optimizer's state by it; so that the state can be found again in another process, the ids must be the same there.
pub(crate) fn numbered(model: Model) -> Model {
    struct Number(u64);
    impl ModuleMapper for Number {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let (_, value, mapper) = param.consume();
            Param::from_mapped_value(ParamId::from(self.0), value, mapper)
        }
    }
    model.map(&mut Number(0))
}
