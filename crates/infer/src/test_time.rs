//! Answers that are the mean over several views of a picture.

use std::f64::consts::LN_2;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use pyrograph_model::Prepared;

/// What a network is shown of a picture before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestTime {
    /// The picture, prepared as the model file says.
    #[default]
    AsIs,
    /// The picture and its mirror image, left and right exchanged. The probability of a class is the mean of its probabilities for the two
    /// (Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012, did so). It takes twice the time, and is
    /// of use where a mirror image shows the same, as with photos; not with digits.
    Flip,
}

impl TestTime {
    /// What `network` says of `images`, `[batch, channels, height, width]`: values `[batch, classes]`, whose softmax is the probability of each
    /// class. As they are these are the network's own; with mirror images they are the logarithms of the mean probabilities.
    #[must_use]
    pub fn logits(self, network: &Prepared, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::AsIs => network.forward(images),
            Self::Flip => {
                let itself = log_softmax(network.forward(images.clone()), 1);
                let mirrored = log_softmax(network.forward(images.flip([3])), 1);
                ln_mean(itself, mirrored)
            }
        }
    }
}

/// The logarithms of the means of two probabilities that are given as logarithms. Bit for bit the same with the two exchanged.
fn ln_mean<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let apart = (a.clone() - b.clone()).abs();
    // The larger, and what the smaller adds to it; small probabilities do not become 0 on the way.
    (a + b + apart.clone()).mul_scalar(0.5) + apart.neg().exp().log1p().sub_scalar(LN_2)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use pyrograph_data::source::{Memory, Sample};
    use pyrograph_data::{Image, Loader, LoaderConfig, Preprocess};
    use pyrograph_model::{InputShape, ModelConfig};

    use super::*;
    use crate::{ModelFile, Prediction, Predictor, evaluate, evaluate_at, tensor_loader};

    const SIDE: u32 = 8;
    const CLASSES: usize = 3;

    /// A network that nobody trained answers differently for a mirror image.
    fn file() -> ModelFile {
        let side = SIDE as usize;
        let input = InputShape { channels: 1, height: side, width: side };
        let config = ModelConfig::from_name("small_cnn", input, CLASSES).unwrap();
        ModelFile {
            model: config.init(3, &Device::flex()),
            config,
            preprocess: Preprocess::new(1, SIDE, SIDE),
            class_names: ["a", "b", "c"].map(String::from).to_vec(),
            recipe: String::new(),
        }
    }

    fn pictures() -> Vec<Image> {
        let pixel = |n: u32, at: u32| (n * 71 + at * at * 13 + at * 29) as u8;
        (0..5).map(|n| Image::new(SIDE, SIDE, 1, (0..SIDE * SIDE).map(|at| pixel(n, at)).collect())).collect()
    }

    fn mirror(image: &Image) -> Image {
        let rows = image.pixels().chunks(SIDE as usize);
        Image::new(SIDE, SIDE, 1, rows.flat_map(|row| row.iter().rev().copied()).collect())
    }

    /// The probability of each class, by its number.
    fn probabilities(predictor: &Predictor, images: Vec<Image>) -> Vec<Vec<f32>> {
        let by_number = |mut answer: Vec<Prediction>| {
            answer.sort_by_key(|prediction| prediction.label);
            answer.into_iter().map(|prediction| prediction.probability).collect()
        };
        predictor.predict(images, CLASSES).unwrap().into_iter().map(by_number).collect()
    }

    #[test]
    fn an_image_and_its_mirror_image_get_one_answer_the_mean_of_the_two() {
        let plain = Predictor::new(file(), &Device::flex());
        let both = plain.clone().with_test_time(TestTime::Flip);
        let mirrored: Vec<Image> = pictures().iter().map(mirror).collect();
        let (one, other) = (probabilities(&plain, pictures()), probabilities(&plain, mirrored.clone()));
        assert_ne!(one, other);
        let mean = probabilities(&both, pictures());
        assert_eq!(mean, probabilities(&both, mirrored));
        for ((one, other), mean) in one.iter().zip(&other).zip(&mean) {
            assert!((mean.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            for ((one, other), mean) in one.iter().zip(other).zip(mean) {
                assert!(((one + other) / 2.0 - mean).abs() < 1e-6, "{one}, {other}: {mean}");
            }
        }
    }

    #[test]
    fn without_asking_for_it_nothing_is_mirrored() {
        assert_eq!(TestTime::default(), TestTime::AsIs);
        let plain = Predictor::new(file(), &Device::flex());
        let as_is = plain.clone().with_test_time(TestTime::AsIs);
        assert_eq!(probabilities(&plain, pictures()), probabilities(&as_is, pictures()));
    }

    #[test]
    fn an_evaluation_counts_the_answers_of_the_predictor() {
        let label = |n: usize| (n % CLASSES) as u32;
        let samples = pictures().into_iter().enumerate();
        let samples = samples.map(|(n, image)| Sample { image, label: label(n) }).collect();
        let source = Arc::new(Memory::new(samples, file().class_names).unwrap());
        // The last batch is smaller.
        let config = LoaderConfig {
            batch_size: 2,
            preprocess: file().preprocess,
            threads: 0,
            ..LoaderConfig::default()
        };
        let loader = tensor_loader(Loader::new(source, config).unwrap(), Device::flex());
        let plain = evaluate(&file(), &loader, 5, |_| {}).unwrap();
        assert_eq!(plain, evaluate_at(TestTime::AsIs, &file(), &loader, 5, |_| {}).unwrap());
        for test_time in [TestTime::AsIs, TestTime::Flip] {
            let evaluation = evaluate_at(test_time, &file(), &loader, 5, |_| {}).unwrap();
            let predictor = Predictor::new(file(), &Device::flex()).with_test_time(test_time);
            let answers = probabilities(&predictor, pictures());
            let losses = answers.iter().enumerate().map(|(n, p)| -f64::from(p[label(n) as usize]).ln());
            let loss = losses.sum::<f64>() / answers.len() as f64;
            assert!((evaluation.tally.loss() - loss).abs() < 1e-5, "{test_time:?}");
            let flip = test_time == TestTime::Flip;
            assert_eq!(evaluation != plain, flip);
        }
    }

    #[test]
    fn the_mean_of_very_small_probabilities_is_no_0() {
        let row = |values: [f32; 4]| Tensor::<1>::from_floats(values, &Device::flex());
        let mean = ln_mean(row([0.0, -200.0, -300.0, -1.0]), row([-200.0, 0.0, -300.0, -2.0]));
        let mean = mean.into_data().try_to_vec::<f32>().unwrap();
        let last = ((-1f32).exp() / 2.0 + (-2f32).exp() / 2.0).ln();
        let expected = [-std::f32::consts::LN_2, -std::f32::consts::LN_2, -300.0, last];
        assert!(mean.iter().zip(expected).all(|(mean, expected)| (mean - expected).abs() < 1e-6), "{mean:?}");
    }
}
