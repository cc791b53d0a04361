//! A network with its objective, as Burn's learner wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use pyrograph_data::tensor::ImageBatch;
use pyrograph_model::{Model, on_compute_thread, with_products_in};

use crate::Objective;

/// A classification network with what it learns to make small.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The network: images `[batch, channels, height, width]` to logits `[batch, classes]`.
    pub model: Model,
    #[module(skip)]
    objective: Objective,
    #[module(skip)]
    frozen: Frozen,
    #[module(skip)]
    products: Option<FloatDType>,
}

/// Stages that do not learn in the first epochs. They run as in inference: without gradients, and normalized by the statistics they came
/// with.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// The network as it was, off the autodiff device; its tensors are shared.
    network: Option<Arc<Model>>,
    /// Epochs that are left.
    epochs: Arc<AtomicUsize>,
}

impl Frozen {
    /// All stages but the head of `model`, for so many epochs.
    #[must_use]
    pub(crate) fn new(model: &Model, epochs: usize) -> Self {
        let network = (epochs > 0).then(|| Arc::new(model.clone().valid()));
        Self { network, epochs: Arc::new(AtomicUsize::new(epochs)) }
    }

    /// An epoch is over.
    pub(crate) fn end_epoch(&self) {
        let left = self.epochs.load(Ordering::Relaxed).saturating_sub(1);
        self.epochs.store(left, Ordering::Relaxed);
    }

    /// The same on another device.
    fn to_device(&self, device: &Device) -> Self {
        let moved = |network: &Arc<Model>| Arc::new(Model::clone(network).to_device(device));
        Self { network: self.network.as_ref().map(moved), epochs: self.epochs.clone() }
    }

    /// The network whose stages are used, while they are frozen.
    fn network(&self) -> Option<&Model> {
        self.network.as_deref().filter(|_| self.epochs.load(Ordering::Relaxed) > 0)
    }
}

impl Classifier {
    /// A classifier of which all learns.
    #[must_use]
    pub fn new(model: Model, objective: Objective) -> Self {
        Self { model, objective, frozen: Frozen::default(), products: None }
    }

    /// The same with stages that do not learn at first.
    #[must_use]
    pub fn with_frozen(self, frozen: Frozen) -> Self {
        Self { frozen, ..self }
    }

    /// The same, which multiplies in numbers of this type while it learns ([`with_products_in`]).
    #[must_use]
    pub fn with_products(self, products: Option<FloatDType>) -> Self {
        Self { products, ..self }
    }

    /// All but the weights on another autodiff device.
    pub(crate) fn replica(&self, device: &Device) -> Self {
        let off = device.clone().inner();
        let (objective, frozen) = (self.objective.to_device(&off), self.frozen.to_device(&off));
        Self { objective, frozen, ..self.clone() }
    }

    /// `[batch, channels, height, width]` to `[batch, classes]`, for learning.
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let Some(frozen) = self.frozen.network() else { return self.model.forward(images) };
        let stages = frozen.backbone().levels().len();
        let strategy = images.gradient_checkpointing_strategy();
        let features = (0..stages).fold(images.inner(), |x, n| frozen.backbone().stage(n, x));
        let mut features = Tensor::from_inner(features);
        if let Some(strategy) = strategy {
            features = features.with_gradient_checkpointing_strategy(strategy);
        }
        self.model.backbone().head(features)
    }
}

/// What one step leaves behind for the metrics.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// `[batch, classes]`.
    pub logits: Tensor<2>,
    /// `[batch]`.
    pub targets: Tensor<1, Int>,
}

impl StepOutput {
    /// Without the samples that do not count.
    fn of(self, counts: &[bool]) -> Self {
        if counts.iter().all(|&counts| counts) {
            return self;
        }
        let kept: Vec<i64> = (0i64..).zip(counts).filter(|(_, counts)| **counts).map(|(n, _)| n).collect();
        let count = kept.len();
        let kept = Tensor::from_data(TensorData::new(kept, [count]), &self.targets.device());
        Self { logits: self.logits.select(0, kept.clone()), targets: self.targets.select(0, kept) }
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        self.logits.device().flush()?;
        Ok(Self { logits: self.logits.without_autodiff(), targets: self.targets.without_autodiff() })
    }
}

/// What one batch teaches.
pub(crate) struct Lesson {
    /// Mean over the batch, `[1]`.
    pub(crate) loss: Tensor<1>,
    /// Of the loss times the batch's share of a step.
    pub(crate) gradients: GradientsParams,
    pub(crate) output: StepOutput,
}

impl Classifier {
    /// Forward, loss and backward of a batch that is `share` of a step, 1 for all of it.
    pub(crate) fn learn(&self, batch: ImageBatch, share: f64) -> Lesson {
        on_compute_thread(&batch.images.device(), || self.learn_here(batch, share))
    }

    fn learn_here(&self, batch: ImageBatch, share: f64) -> Lesson {
        let (logits, loss) = with_products_in(self.products, || {
            let logits = self.logits(batch.images.clone());
            (logits.clone(), self.objective.of(logits, &batch))
        });
        let part = if share == 1.0 { loss.clone() } else { loss.clone() * share };
        let gradients = GradientsParams::from_grads(part.backward(), self);
        Lesson { loss, gradients, output: StepOutput { logits: logits.detach(), targets: batch.targets } }
    }
}

impl Lesson {
    /// The same for `network` on its device, without what autodiff knows of it.
    pub(crate) fn moved_to(self, device: &Device, network: &Classifier) -> Self {
        let StepOutput { logits, targets } = self.output;
        Self {
            loss: self.loss.detach().to_device(device),
            gradients: self.gradients.to_device(device, network),
            output: StepOutput { logits: logits.to_device(device), targets: targets.to_device(device) },
        }
    }
}

impl TrainStep for Classifier {
    type Input = ImageBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<StepOutput> {
        let Lesson { gradients, output, .. } = self.learn(batch, 1.0);
        TrainOutput { grads: gradients, item: output }
    }
}

impl InferenceStep for Classifier {
    type Input = ImageBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageBatch) -> StepOutput {
        let device = batch.images.device();
        let logits = on_compute_thread(&device, || self.model.forward(batch.images));
        let output = StepOutput { logits, targets: batch.targets };
        output.of(&batch.counts)
    }
}
