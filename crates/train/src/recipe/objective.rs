//! What a recipe's network learns to make small.

use serde::{Deserialize, Serialize};

use super::Rule;

/// A loss by name. What is shown of a run is cross entropy, whatever is learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Cross entropy of the softmax: one class of all.
    #[default]
    CrossEntropy,
    /// Binary cross entropy: each class is a yes or no of its own (<https://arxiv.org/abs/2110.00476>).
    Bce,
}

/// A network that teaches another (<https://arxiv.org/abs/1503.02531>).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillRecipe {
    /// A model file or a run folder, for the same classes and images of the same size. Empty: nobody teaches.
    pub teacher: String,
    /// The share of the loss that is the distance to the teacher's probabilities, above 0 to 1; the rest is that of the labels.
    pub weight: f64,
    /// What logits are divided by before they are compared, above 0: the higher, the more the less probable classes count.
    pub temperature: f64,
}

impl Default for DistillRecipe {
    fn default() -> Self {
        Self { teacher: String::new(), weight: 0.5, temperature: 2.0 }
    }
}

impl DistillRecipe {
    /// The ranges of its values.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        vec![
            (
                above_0(self.weight) && self.weight <= 1.0,
                "distill.weight",
                self.weight.to_string(),
                "above 0 to 1",
            ),
            (above_0(self.temperature), "distill.temperature", self.temperature.to_string(), "above 0"),
        ]
    }
}
