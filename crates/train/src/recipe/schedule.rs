//! The schedule of a recipe.

use serde::{Deserialize, Serialize};

use super::Rule;

/// More epochs than a run may have are never reached.
const MOST_EPOCHS: f64 = 1e6;

/// The learning rate over time. Epochs may be fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleRecipe {
    /// Always the same.
    Constant {
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// Multiplied by `gamma` every `every_epochs`.
    Step {
        /// Epochs between two drops.
        every_epochs: f64,
        /// The factor of a drop.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// Multiplied by `gamma` at each of these epochs.
    MultiStep {
        /// Epochs after which it drops, in rising order.
        at_epochs: Vec<f64>,
        /// The factor of a drop.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// Half a cosine down to `min_lr`.
    Cosine {
        /// The rate at the end.
        #[serde(default)]
        min_lr: f64,
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// The share of the run that is left to the power of `power`, down to `min_lr`: with 1 a straight line.
    Polynomial {
        /// The rate at the end.
        #[serde(default)]
        min_lr: f64,
        /// Above 0.
        #[serde(default = "one")]
        power: f64,
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// Multiplied by `gamma` whenever the validation accuracy has not become better for `patience_epochs`.
    Plateau {
        /// Epochs to wait, at least 1.
        #[serde(default = "ten")]
        patience_epochs: usize,
        /// The factor of a drop.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Epochs of linear rise at the start.
        #[serde(default)]
        warmup_epochs: f64,
    },
    /// Half a cosine from a 25th up to the full rate, and half a cosine down to a 250,000th of it, as PyTorch's `OneCycleLR`
    /// (<https://arxiv.org/abs/1708.07120>).
    OneCycle {
        /// Epochs of the rise.
        warmup_epochs: f64,
    },
}

/// How often a schedule changes the learning rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Every step.
    #[default]
    Step,
    /// Every epoch: while it rises to the rate that a step at the epoch's end would have, afterwards to that of its first step.
    Epoch,
}

fn tenth() -> f64 {
    0.1
}

fn ten() -> usize {
    10
}

fn one() -> f64 {
    1.0
}

impl ScheduleRecipe {
    /// Epochs of linear rise at the start; of `one_cycle`, those of its rise.
    #[must_use]
    pub fn warmup_epochs(&self) -> f64 {
        match *self {
            Self::Constant { warmup_epochs }
            | Self::Step { warmup_epochs, .. }
            | Self::MultiStep { warmup_epochs, .. }
            | Self::Cosine { warmup_epochs, .. }
            | Self::Polynomial { warmup_epochs, .. }
            | Self::Plateau { warmup_epochs, .. }
            | Self::OneCycle { warmup_epochs } => warmup_epochs,
        }
    }

    /// The ranges of its values, with `lr` as the highest rate.
    pub(super) fn rules(&self, lr: f64) -> Vec<Rule> {
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        let epochs = |value: f64| above_0(value) && value <= MOST_EPOCHS;
        let warmup = self.warmup_epochs();
        let mut rules = vec![(
            warmup == 0.0 || epochs(warmup),
            "schedule.warmup_epochs",
            format!("{warmup:?}"),
            "0 to 1000000",
        )];
        if let Self::Cosine { min_lr, .. } | Self::Polynomial { min_lr, .. } = *self {
            let below = (0.0..=lr).contains(&min_lr);
            rules.push((below, "schedule.min_lr", format!("{min_lr:?}"), "0 to optim.lr"));
        }
        if let Self::Step { every_epochs, .. } = *self {
            rules.push((
                epochs(every_epochs),
                "schedule.every_epochs",
                format!("{every_epochs:?}"),
                "above 0 to 1000000",
            ));
        }
        if let Self::Plateau { patience_epochs, .. } = *self {
            let waits = patience_epochs >= 1;
            rules.push((waits, "schedule.patience_epochs", patience_epochs.to_string(), "at least 1"));
        }
        if let Self::Step { gamma, .. } | Self::MultiStep { gamma, .. } | Self::Plateau { gamma, .. } = *self
        {
            rules.push((above_0(gamma), "schedule.gamma", gamma.to_string(), "above 0"));
        }
        if let Self::MultiStep { at_epochs, .. } = self {
            let rising = at_epochs.iter().all(|&at| epochs(at)) && at_epochs.is_sorted();
            let range = "epochs above 0 to 1000000 in rising order";
            rules.push((rising, "schedule.at_epochs", format!("{at_epochs:?}"), range));
        }
        if let Self::Polynomial { power, .. } = *self {
            rules.push((above_0(power), "schedule.power", power.to_string(), "above 0"));
        }
        rules
    }
}
