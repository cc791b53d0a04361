//! A tally over a whole image set, with the worst mistakes.

use burn::data::dataloader::DataLoader;
use pyrograph_data::tensor::TensorLoader;

use crate::{Error, ModelFile, Result, Tally, TestTime};

/// How a model does on an image set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Loss, top-1, top-5 and confusion matrix.
    pub tally: Tally,
    /// The wrongly classified samples with the highest loss, the worst first.
    pub mistakes: Vec<Mistake>,
}

/// One wrongly classified sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// The sample's index in its source.
    pub index: usize,
    /// Its true class.
    pub target: usize,
    /// The class the model holds most probable.
    pub predicted: usize,
    /// The probability the model gives that class, 0 to 1.
    pub confidence: f64,
    /// Cross entropy in nats.
    pub loss: f64,
}

/// Runs the model over everything `loader` has and keeps the `mistakes` worst mistakes.
///
/// `progress` is called after each batch with the number of samples done.
///
/// # Errors
///
/// When a sample cannot be read or the device fails.
pub fn evaluate(
    file: &ModelFile,
    loader: &TensorLoader,
    mistakes: usize,
    progress: impl FnMut(usize),
) -> Result<Evaluation> {
    evaluate_at(TestTime::AsIs, file, loader, mistakes, progress)
}

/// [`evaluate`] with the answers of `test_time`. With those for mirror images, loss is that of the mean probabilities.
///
/// # Errors
///
/// As [`evaluate`].
pub fn evaluate_at(
    test_time: TestTime,
    file: &ModelFile,
    loader: &TensorLoader,
    mistakes: usize,
    mut progress: impl FnMut(usize),
) -> Result<Evaluation> {
    let classes = file.class_names.len();
    let mut tally = Tally::new(classes);
    let mut worst: Vec<Mistake> = Vec::new();
    let network = file.model.clone().prepare_for_inference();
    for batch in loader.iter() {
        let batch = batch.map_err(|e| Error::Loader(e.to_string()))?;
        let device = |e: String| Error::Device(e);
        let targets = batch.targets.into_data().convert::<i64>();
        let targets = targets.try_to_vec::<i64>().map_err(|e| device(format!("{e:?}")))?;
        let logits = test_time.logits(&network, batch.images).into_data();
        let logits = logits.try_to_vec::<f32>().map_err(|e| device(format!("{e:?}")))?;
        let samples = targets.iter().zip(&batch.indices).zip(&batch.counts);
        for (row, ((&target, &index), &counts)) in logits.chunks_exact(classes).zip(samples) {
            if !counts {
                continue;
            }
            let target = target as usize;
            let verdict = tally.add(row, target);
            if verdict.predicted != target {
                worst.push(Mistake {
                    index,
                    target,
                    predicted: verdict.predicted,
                    confidence: verdict.confidence,
                    loss: verdict.loss,
                });
            }
        }
        // Sorted a batch at a time, so that memory does not grow with the set.
        worst.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
        worst.truncate(mistakes);
        progress(tally.samples() as usize);
    }
    Ok(Evaluation { tally, mistakes: worst })
}
