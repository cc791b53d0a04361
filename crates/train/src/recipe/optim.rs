//! The optimizer of a recipe.

use serde::{Deserialize, Serialize};

use super::Rule;

/// What changes the weights, with the meaning that PyTorch's optimizers of the same name give each number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "OptimKeys")]
pub struct OptimRecipe {
    /// Which.
    pub kind: OptimKind,
    /// The highest learning rate, above 0. Without it [`OptimKind::lr`].
    pub lr: f64,
    /// 0 (none) to below 1; for `sgd` and `rmsprop`.
    pub momentum: f64,
    /// Nesterov's form of momentum, for `sgd`.
    pub nesterov: bool,
    /// How long the averages of gradients and of their squares last, each 0 to below 1; for `adam`, `adamw`, `lamb` and `lion`. Without
    /// them [`OptimKind::betas`].
    pub betas: [f64; 2],
    /// Added where a gradient is divided by its size, above 0; for `adam`, `adamw`, `lamb` and `rmsprop`.
    pub eps: f64,
    /// 0 or more. Without it [`OptimKind::weight_decay`]. For `adamw` and `lion` a share of the weights, times the learning rate, that is taken off;
    /// for `lamb` a part of its step; for the others an L2 penalty.
    pub weight_decay: f64,
    /// Whether biases and the weights of normalizations are penalized, too.
    pub decay_vectors: bool,
    /// The learning rate of each stage as a share of that of the next, above 0 to 1: below 1, what lies deeper in the network changes less.
    pub layer_decay: f64,
    /// The norm over all gradients above which they are scaled down, above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// The size of a gradient's values above which they are cut off, above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// The norm of a unit's gradient, as a share of the norm of its weights, above which it is scaled down, above 0, as 0.01
    /// (<https://arxiv.org/abs/2102.06171>).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_adaptive: Option<f64>,
}

/// An optimizer by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimKind {
    /// Stochastic gradient descent.
    #[default]
    Sgd,
    /// Adam (<https://arxiv.org/abs/1412.6980>).
    Adam,
    /// Adam with decoupled weight decay (<https://arxiv.org/abs/1711.05101>).
    AdamW,
    /// RMSprop; its average of squares lasts 0.99.
    RmsProp,
    /// Adam whose step in each tensor is as long as the tensor's norm allows, for large batches (<https://arxiv.org/abs/1904.00962>).
    Lamb,
    /// Lion, which follows the signs of gradients (<https://arxiv.org/abs/2302.06675>).
    Lion,
}

impl OptimKind {
    /// As a recipe writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::RmsProp => "rmsprop",
            Self::Lamb => "lamb",
            Self::Lion => "lion",
        }
    }

    /// The learning rate where a recipe names none.
    #[must_use]
    pub fn lr(self) -> f64 {
        match self {
            Self::Sgd => 0.05,
            Self::Adam | Self::AdamW => 1e-3,
            Self::RmsProp => 1e-3,
            Self::Lamb => 5e-3,
            Self::Lion => 1e-4,
        }
    }

    /// The weight decay where a recipe names none.
    #[must_use]
    pub fn weight_decay(self) -> f64 {
        match self {
            Self::Sgd => 5e-4,
            Self::AdamW => 0.05,
            Self::Lamb => 0.02,
            Self::Lion => 0.5,
            Self::Adam | Self::RmsProp => 0.0,
        }
    }

    /// The averages' lengths where a recipe names none.
    #[must_use]
    pub fn betas(self) -> [f64; 2] {
        [0.9, if self == Self::Lion { 0.99 } else { 0.999 }]
    }
}

/// [`OptimRecipe`] as it is written: what depends on the kind may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OptimKeys {
    kind: OptimKind,
    lr: Option<f64>,
    momentum: f64,
    nesterov: bool,
    betas: Option<[f64; 2]>,
    eps: f64,
    weight_decay: Option<f64>,
    decay_vectors: bool,
    layer_decay: f64,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    clip_adaptive: Option<f64>,
}

impl Default for OptimKeys {
    fn default() -> Self {
        Self {
            kind: OptimKind::default(),
            lr: None,
            momentum: 0.9,
            nesterov: false,
            betas: None,
            eps: 1e-8,
            weight_decay: None,
            decay_vectors: true,
            layer_decay: 1.0,
            clip_norm: None,
            clip_value: None,
            clip_adaptive: None,
        }
    }
}

impl From<OptimKeys> for OptimRecipe {
    fn from(keys: OptimKeys) -> Self {
        let OptimKeys { kind, momentum, nesterov, eps, decay_vectors, layer_decay, .. } = keys;
        Self {
            kind,
            lr: keys.lr.unwrap_or(kind.lr()),
            momentum,
            nesterov,
            betas: keys.betas.unwrap_or(kind.betas()),
            eps,
            weight_decay: keys.weight_decay.unwrap_or(kind.weight_decay()),
            decay_vectors,
            layer_decay,
            clip_norm: keys.clip_norm,
            clip_value: keys.clip_value,
            clip_adaptive: keys.clip_adaptive,
        }
    }
}

impl Default for OptimRecipe {
    fn default() -> Self {
        OptimKeys::default().into()
    }
}

impl OptimRecipe {
    /// The ranges of its values.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let below_1 = |value: f64| (0.0..1.0).contains(&value);
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        let number = |value: Option<f64>| value.unwrap_or_default().to_string();
        let [first, second] = self.betas;
        vec![
            (above_0(self.lr), "optim.lr", self.lr.to_string(), "above 0"),
            (below_1(self.momentum), "optim.momentum", self.momentum.to_string(), "0 to below 1"),
            (
                !self.nesterov || self.momentum > 0.0,
                "optim.nesterov",
                "true".into(),
                "false without momentum",
            ),
            (
                below_1(first) && below_1(second),
                "optim.betas",
                format!("[{first}, {second}]"),
                "two numbers from 0 to below 1",
            ),
            (above_0(self.eps), "optim.eps", self.eps.to_string(), "above 0"),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "optim.weight_decay",
                self.weight_decay.to_string(),
                "0 or more",
            ),
            (
                above_0(self.layer_decay) && self.layer_decay <= 1.0,
                "optim.layer_decay",
                self.layer_decay.to_string(),
                "above 0 to 1",
            ),
            (self.clip_norm.is_none_or(above_0), "optim.clip_norm", number(self.clip_norm), "above 0"),
            (self.clip_value.is_none_or(above_0), "optim.clip_value", number(self.clip_value), "above 0"),
            (
                self.clip_adaptive.is_none_or(above_0),
                "optim.clip_adaptive",
                number(self.clip_adaptive),
                "above 0",
            ),
        ]
    }
}
