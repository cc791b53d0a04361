//! Trained models in one file: save, load, predict, evaluate.
//!
//! Read in this order:
//!
//! 1. [`ModelFile`]: weights, architecture, preprocessing and class names in one `.safetensors` file.
//! 2. [`PublishedWeights`], [`find_weights`], [`read_weights`]: weights that others trained.
//! 3. [`Predictor`]: images in, classes with probabilities out.
//! 4. [`TestTime`]: answers that are the mean over an image and its mirror image.
//! 5. [`Tally`]: loss, top-1, top-5 and the confusion matrix, counted from logits.
//! 6. [`align`]: data whose classes are the model's.
//! 7. [`tensor_loader`]: batches on a device.
//! 8. [`evaluate`]: a tally over a whole image set, with the worst mistakes.
//! 9. [`average`]: one model of several.

mod align;
mod average;
mod error;
mod evaluate;
mod model_file;
mod predictor;
mod tally;
mod tensor_loader;
mod test_time;
mod weights;

pub use align::align;
pub use average::average;
pub use error::{Error, Result};
pub use evaluate::{Evaluation, Mistake, evaluate, evaluate_at};
pub use model_file::ModelFile;
pub use predictor::{Prediction, Predictor};
pub use tally::{Tally, Verdict};
pub use tensor_loader::tensor_loader;
pub use test_time::TestTime;
pub use weights::{
    PublishedWeights, View, check_keras, find_weights, is_keras, keras_statistics, read_weights,
};
