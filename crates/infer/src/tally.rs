//! Loss, top-1, top-5 and the confusion matrix, counted on the host from logits.

use serde::{Deserialize, Serialize};

/// Running counts over any number of batches. Batches may come in any size; every sample weighs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Tally {
    classes: usize,
    samples: u64,
    loss: f64,
    top1: u64,
    top5: u64,
    confusion: Vec<u64>,
}

/// What a file says of a tally.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    classes: usize,
    samples: u64,
    // JSON has no numbers that are not finite; `null` stands for them.
    loss: Option<f64>,
    top1: u64,
    top5: u64,
    confusion: Vec<u64>,
}

impl TryFrom<Unchecked> for Tally {
    type Error = String;

    fn try_from(there: Unchecked) -> Result<Self, String> {
        let Unchecked { classes, samples, loss, top1, top5, confusion } = there;
        if classes.checked_mul(classes) != Some(confusion.len()) {
            return Err(format!("{} counts of confusion for {classes} classes", confusion.len()));
        }
        let counted = confusion.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        if counted != Some(samples) || top1 > samples || top5 > samples {
            return Err(format!("the counts do not add up to {samples} samples"));
        }
        Ok(Self { classes, samples, loss: loss.unwrap_or(f64::NAN), top1, top5, confusion })
    }
}

/// What the logits say of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The class with the highest logit; the lowest index wins a tie.
    pub predicted: usize,
    /// The softmax probability of the predicted class, 0 to 1.
    pub confidence: f64,
    /// Cross entropy in nats.
    pub loss: f64,
}

impl Tally {
    /// Nothing counted yet, for `classes` classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, samples: 0, loss: 0.0, top1: 0, top5: 0, confusion: vec![0; classes * classes] }
    }

    /// Counts one sample: its `logits` `[classes]` and its true class.
    ///
    /// # Panics
    ///
    /// If `logits` has not one value a class, or `target` is no class.
    pub fn add(&mut self, logits: &[f32], target: usize) -> Verdict {
        assert_eq!(logits.len(), self.classes, "one logit a class");
        assert!(target < self.classes, "class {target} of {}", self.classes);
        let mut predicted = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[predicted] {
                predicted = class;
            }
        }
        let highest = f64::from(logits[predicted]);
        let total = logits.iter().map(|&l| (f64::from(l) - highest).exp()).sum::<f64>();
        let loss = total.ln() + highest - f64::from(logits[target]);
        let better = logits
            .iter()
            .enumerate()
            .filter(|&(class, &l)| l > logits[target] || (l == logits[target] && class < target))
            .count();
        // A logit that is no number compares false with everything: it must never count as right.
        let counts = logits[target].is_finite() && loss.is_finite();
        self.samples += 1;
        self.loss += loss;
        self.top1 += u64::from(counts && predicted == target);
        self.top5 += u64::from(counts && better < 5);
        self.confusion[target * self.classes + predicted] += 1;
        Verdict { predicted, confidence: 1.0 / total, loss }
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of samples counted.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Mean cross entropy in nats; not a number when nothing was counted.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// The share of samples whose highest logit is the true class, 0 to 1.
    #[must_use]
    pub fn top1(&self) -> f64 {
        self.top1 as f64 / self.samples as f64
    }

    /// The share of samples whose true class is among the five highest logits, 0 to 1.
    #[must_use]
    pub fn top5(&self) -> f64 {
        self.top5 as f64 / self.samples as f64
    }

    /// Counts `[true class, predicted class]`, row by row.
    #[must_use]
    pub fn confusion(&self) -> &[u64] {
        &self.confusion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_accuracy_and_confusion_of_known_logits() {
        let mut tally = Tally::new(3);
        let right = tally.add(&[2.0, 0.0, 0.0], 0);
        let wrong = tally.add(&[2.0, 0.0, 0.0], 1);
        let denominator = 2f64.exp() + 2.0;
        assert_eq!((right.predicted, wrong.predicted), (0, 0));
        assert!((right.loss - (denominator.ln() - 2.0)).abs() < 1e-9);
        assert!((right.confidence - 2f64.exp() / denominator).abs() < 1e-9);
        assert!((tally.loss() - (2.0 * denominator.ln() - 2.0) / 2.0).abs() < 1e-9);
        assert_eq!(tally.top1(), 0.5);
        assert_eq!(tally.top5(), 1.0);
        assert_eq!(tally.confusion(), [1, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_tally_comes_back_as_it_was_and_one_that_contradicts_itself_is_refused() {
        let mut tally = Tally::new(2);
        tally.add(&[2.0, 0.0], 0);
        tally.add(&[f32::NAN, 0.0], 1);
        let text = serde_json::to_string(&tally).unwrap();
        let back: Tally = serde_json::from_str(&text).unwrap();
        assert_eq!((back.confusion(), back.top1()), (tally.confusion(), tally.top1()));
        assert!(back.loss().is_nan());
        for (sound, spoilt) in [
            ("\"classes\":2", "\"classes\":1099511627776"),
            ("\"classes\":2", "\"classes\":18446744073709551615"),
            ("\"confusion\":[", "\"confusion\":[1,"),
            ("\"samples\":2", "\"samples\":3"),
            ("\"top5\":", "\"top5\":9"),
        ] {
            assert!(text.contains(sound), "{text}");
            let spoilt = text.replace(sound, spoilt);
            assert!(serde_json::from_str::<Tally>(&spoilt).is_err(), "{spoilt}");
        }
    }

    #[test]
    fn the_sixth_best_class_is_not_in_the_top_five() {
        let mut tally = Tally::new(7);
        let logits = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0];
        tally.add(&logits, 4);
        tally.add(&logits, 5);
        assert_eq!(tally.top5(), 0.5);
    }

    #[test]
    fn equal_logits_are_no_knowledge() {
        let mut tally = Tally::new(10);
        for class in 0..10 {
            tally.add(&[0.5; 10], class);
        }
        assert_eq!((tally.top1(), tally.top5()), (0.1, 0.5));
    }

    #[test]
    fn logits_that_are_no_numbers_are_never_right() {
        let mut tally = Tally::new(2);
        tally.add(&[f32::NAN, f32::NAN], 0);
        assert_eq!((tally.top1(), tally.top5()), (0.0, 0.0));
        assert!(tally.loss().is_nan());
    }
}
