//! Loss and accuracy of an epoch, as a Burn metric.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Int, Tensor, TensorReadError};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use pyrograph_infer::Tally;

use crate::classifier::StepOutput;

/// Counts loss, top-1, top-5 and the confusion matrix of an epoch on Burn's metric thread.
///
/// Burn shows its top-1 accuracy; [`Scores::finished`] has the whole tally of the last finished epoch.
#[derive(Debug, Clone)]
pub struct Scores {
    name: MetricName,
    running: Arc<Mutex<Tally>>,
    batch: Option<(f64, usize)>,
    finished: Arc<Mutex<Tally>>,
}

/// What [`Scores`] reads of a step.
#[derive(Debug)]
pub struct ScoresInput {
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
}

impl Adaptor<ScoresInput> for StepOutput {
    fn adapt(&self) -> ScoresInput {
        ScoresInput { logits: self.logits.clone(), targets: self.targets.clone() }
    }
}

impl Scores {
    /// Nothing counted yet, for `classes` classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            name: Arc::new("Accuracy".into()),
            running: Arc::new(Mutex::new(Tally::new(classes))),
            batch: None,
            finished: Arc::new(Mutex::new(Tally::new(classes))),
        }
    }

    /// The tally of the last epoch that Burn has closed.
    #[must_use]
    pub fn finished(&self) -> Tally {
        locked(&self.finished).clone()
    }

    /// The tally of the epoch that is under way, as far as Burn's metric thread has come.
    pub(crate) fn so_far(&self) -> Tally {
        locked(&self.running).clone()
    }

    /// Counts on from `tally`.
    pub(crate) fn go_on_from(&self, tally: Tally) {
        *locked(&self.running) = tally;
    }

    fn entry(&self, percent: f64) -> SerializedEntry {
        let running = locked(&self.running);
        let count = running.samples() as usize;
        let serialized = NumericEntry::Aggregated { aggregated_value: percent, count }.serialize();
        SerializedEntry::new(format!("{:.2} %", 100.0 * running.top1()), serialized)
    }
}

impl Metric for Scores {
    type Input = ScoresInput;

    fn update(
        &mut self,
        input: &ScoresInput,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let [count, classes] = input.logits.dims();
        let logits = input.logits.clone().try_into_data()?.convert::<f32>();
        let targets = input.targets.clone().try_into_data()?.convert::<i64>();
        let mut batch = Tally::new(classes);
        let mut running = locked(&self.running);
        for (row, target) in
            logits.iter::<f32>().collect::<Vec<_>>().chunks_exact(classes).zip(targets.iter::<i64>())
        {
            batch.add(row, target as usize);
            running.add(row, target as usize);
        }
        drop(running);
        self.batch = Some((100.0 * batch.top1(), count));
        Ok(self.entry(100.0 * batch.top1()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let percent = 100.0 * locked(&self.running).top1();
        Ok(self.entry(percent))
    }

    fn clear(&mut self) {
        let mut running = locked(&self.running);
        let empty = Tally::new(running.classes());
        *locked(&self.finished) = std::mem::replace(&mut running, empty);
        drop(running);
        self.batch = None;
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("%".into()), higher_is_better: true }.into()
    }
}

impl Numeric for Scores {
    fn value(&self) -> Option<NumericEntry> {
        self.batch.map(|(percent, count)| NumericEntry::Aggregated { aggregated_value: percent, count })
    }

    fn running_value(&self) -> Option<NumericEntry> {
        let running = locked(&self.running);
        let count = running.samples() as usize;
        Some(NumericEntry::Aggregated { aggregated_value: 100.0 * running.top1(), count })
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(100.0 * locked(&self.running).top1())
    }
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
