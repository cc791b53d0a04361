//! What training makes small.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use pyrograph_data::Preprocess;
use pyrograph_data::tensor::ImageBatch;
use pyrograph_infer::ModelFile;
use pyrograph_model::{Model, binary_cross_entropy, cross_entropy, distillation, soft_cross_entropy};

use crate::{DistillRecipe, LossKind, Recipe};

/// The loss of a batch: that of its labels, and the distance to a teacher if there is one.
#[derive(Debug, Clone, Default)]
pub struct Objective {
    loss: LossKind,
    label_smoothing: f64,
    teacher: Option<Teacher>,
}

impl Objective {
    /// The loss of a recipe, without its teacher.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Self {
        Self { loss: recipe.loss, label_smoothing: recipe.label_smoothing, teacher: None }
    }

    /// The same with a teacher.
    #[must_use]
    pub fn with_teacher(self, teacher: Option<Teacher>) -> Self {
        Self { teacher, ..self }
    }

    /// The same on another device, which is no autodiff device.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        Self { teacher: self.teacher.as_ref().map(|teacher| teacher.to_device(device)), ..self.clone() }
    }

    /// The mean over the batch, `[1]`, for `logits`, `[batch, classes]`.
    pub(crate) fn of(&self, logits: Tensor<2>, batch: &ImageBatch) -> Tensor<1> {
        let labels = self.of_labels(logits.clone(), batch);
        let Some(teacher) = &self.teacher else { return labels };
        let taught = distillation(logits, teacher.logits(batch.images.clone()), teacher.temperature);
        labels * (1.0 - teacher.weight) + taught * teacher.weight
    }

    fn of_labels(&self, logits: Tensor<2>, batch: &ImageBatch) -> Tensor<1> {
        let smoothing = self.label_smoothing;
        match (self.loss, &batch.soft_targets) {
            (LossKind::CrossEntropy, None) => cross_entropy(logits, batch.targets.clone(), smoothing),
            (LossKind::CrossEntropy, Some(shares)) => soft_cross_entropy(logits, shares.clone(), smoothing),
            (LossKind::Bce, Some(shares)) => binary_cross_entropy(logits, shares.clone(), smoothing),
            (LossKind::Bce, None) => {
                let shares = batch.targets.clone().one_hot::<2>(logits.dims()[1]).float();
                binary_cross_entropy(logits, shares, smoothing)
            }
        }
    }
}

/// A network whose probabilities another learns.
#[derive(Debug, Clone)]
pub struct Teacher {
    network: Arc<Model>,
    /// Takes values normalized for the student to those normalized for the teacher: `[1, channels, 1, 1]`.
    scale: Tensor<4>,
    shift: Tensor<4>,
    weight: f64,
    temperature: f64,
}

impl Teacher {
    /// `file`'s network on `device`, which is no autodiff device, for images that `student` has prepared.
    #[must_use]
    pub fn new(file: &ModelFile, recipe: &DistillRecipe, student: &Preprocess, device: &Device) -> Self {
        let theirs = &file.preprocess;
        let values = |of: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..student.mean.len()).map(of).collect();
            Tensor::<1>::from_floats(&values[..], device).reshape([1, values.len() as i64, 1, 1])
        };
        Self {
            network: Arc::new(file.model.clone().to_device(device)),
            scale: values(&|c| student.std[c] / theirs.std[c]),
            shift: values(&|c| (student.mean[c] - theirs.mean[c]) / theirs.std[c]),
            weight: recipe.weight,
            temperature: recipe.temperature,
        }
    }

    fn to_device(&self, device: &Device) -> Self {
        Self {
            network: Arc::new(Model::clone(&self.network).to_device(device)),
            scale: self.scale.clone().to_device(device),
            shift: self.shift.clone().to_device(device),
            ..self.clone()
        }
    }

    /// Images `[batch, channels, height, width]` to logits `[batch, classes]` that no gradient flows to.
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let images = images.inner() * self.scale.clone() + self.shift.clone();
        Tensor::from_inner(self.network.forward(images))
    }
}
