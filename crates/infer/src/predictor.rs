//! Images in, classes with probabilities out.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use pyrograph_data::Image;
use pyrograph_model::Prepared;

use crate::{Error, ModelFile, Result, TestTime};

/// A model ready to answer.
#[derive(Debug, Clone)]
pub struct Predictor {
    file: ModelFile,
    network: Prepared,
    device: Device,
    test_time: TestTime,
}

/// One class and how probable the model holds it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// The index of the class.
    pub label: usize,
    /// The name of the class.
    pub class: String,
    /// Softmax probability, 0 to 1.
    pub probability: f32,
}

impl Predictor {
    /// Loads a model file onto `device`.
    ///
    /// # Errors
    ///
    /// As [`ModelFile::load`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Ok(Self::new(ModelFile::load(path, device)?, device))
    }

    /// A predictor of a model whose network is on `device`.
    #[must_use]
    pub fn new(file: ModelFile, device: &Device) -> Self {
        let network = file.model.clone().prepare_for_inference();
        Self { file, network, device: device.clone(), test_time: TestTime::default() }
    }

    /// The same predictor with the answers of `test_time`.
    #[must_use]
    pub fn with_test_time(self, test_time: TestTime) -> Self {
        Self { test_time, ..self }
    }

    /// The model file this predictor was made from.
    #[must_use]
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// The `top` most probable classes of each image, the most probable first.
    ///
    /// Images may have any size and 1 or 3 channels; they are prepared as the model's file says, and
    /// go through the network in one batch.
    ///
    /// # Errors
    ///
    /// When the device fails, or the weights are so large that the answer is not finite.
    pub fn predict(&self, images: Vec<Image>, top: usize) -> Result<Vec<Vec<Prediction>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let count = images.len();
        let preprocess = &self.file.preprocess;
        let shape =
            [count, preprocess.channels as usize, preprocess.height as usize, preprocess.width as usize];
        let size = shape[1] * shape[2] * shape[3];
        let mut values = vec![0f32; count * size];
        for (image, out) in images.into_iter().zip(values.chunks_exact_mut(size)) {
            preprocess.normalize_into(preprocess.apply(image).pixels(), out);
        }
        let input = Tensor::<4>::from_data(TensorData::new(values, shape), &self.device);
        let probabilities = softmax(self.test_time.logits(&self.network, input), 1);
        let probabilities =
            probabilities.into_data().try_to_vec::<f32>().map_err(|e| Error::Device(format!("{e:?}")))?;
        if probabilities.iter().any(|p| !p.is_finite()) {
            return Err(Error::NotFinite);
        }
        Ok(probabilities.chunks_exact(self.file.class_names.len()).map(|row| self.best(row, top)).collect())
    }

    fn best(&self, probabilities: &[f32], top: usize) -> Vec<Prediction> {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        order
            .into_iter()
            .take(top)
            .map(|label| Prediction {
                label,
                class: self.file.class_names[label].clone(),
                probability: probabilities[label],
            })
            .collect()
    }
}
