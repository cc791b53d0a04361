//! What others do along the way.

use pyrograph_model::Model;

use crate::{EpochRow, Result};

/// Called at the end of steps and epochs. Each method does nothing unless it is given; an error ends the run.
///
/// A run that goes on from a checkpoint calls it for what is still to come only.
pub trait Callback: Send {
    /// After each step. It may change the network, as pruning does.
    ///
    /// # Errors
    ///
    /// Whatever shall end the run.
    fn step_end(&mut self, step: &StepEnd, network: &mut Model) -> Result<()> {
        let _ = (step, network);
        Ok(())
    }

    /// After a batch whose loss or gradients were not finite, and of which nothing was learned, or whose step left weights that are not.
    ///
    /// # Errors
    ///
    /// Whatever shall end the run.
    fn left_out(&mut self, batch: &LeftOut) -> Result<()> {
        let _ = batch;
        Ok(())
    }

    /// After each epoch and its validation.
    ///
    /// # Errors
    ///
    /// Whatever shall end the run.
    fn epoch_end(&mut self, epoch: &EpochEnd<'_>) -> Result<()> {
        let _ = epoch;
        Ok(())
    }
}

/// A step that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepEnd {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Steps made since the run began.
    pub step: u64,
    /// The learning rate of the step.
    pub learning_rate: f64,
}

/// A batch that was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The batch of the epoch, counted from 1.
    pub batch: u64,
    /// What was not finite: `the loss`, `a gradient` or, after the step, `a weight`.
    pub what: &'static str,
    /// Where its images are.
    pub images: Vec<String>,
    /// Whether the weights of the last checkpoint were taken up, after several such batches in a row.
    pub rolled_back: bool,
}

/// An epoch that is over.
#[derive(Debug, Clone, Copy)]
pub struct EpochEnd<'a> {
    /// Its numbers.
    pub row: &'a EpochRow,
    /// The network that was measured, off the autodiff device.
    pub network: &'a Model,
    /// Whether its accuracy is the best so far.
    pub is_best: bool,
    /// Training images that could not be read, each with the reason; others stood in for them.
    pub bad_images: &'a [String],
}
