//! The keys of a recipe, and what is said of those that no recipe has.

use crate::Error;

/// Keys that are tables within tables, by their whole names.
const KEYS: [&str; 48] = [
    "schedule_by",
    "amp",
    "distill.teacher",
    "distill.weight",
    "distill.temperature",
    "data.start_size",
    "optim.clip_adaptive",
    "schedule.patience_epochs",
    "dropout",
    "drop_path",
    "gradient_checkpointing",
    "ema",
    "start.weights",
    "start.freeze_epochs",
    "start.freeze",
    "optim.decay_vectors",
    "optim.layer_decay",
    "mix.mixup",
    "mix.cutmix",
    "mix.p",
    "mix.switch",
    "data.path",
    "data.size",
    "data.channels",
    "data.normalize",
    "data.valid_fraction",
    "data.replace_bad",
    "data.repeats",
    "optim.kind",
    "optim.lr",
    "optim.betas",
    "optim.eps",
    "optim.clip_norm",
    "optim.clip_value",
    "optim.momentum",
    "optim.nesterov",
    "optim.weight_decay",
    "schedule.kind",
    "schedule.warmup_epochs",
    "schedule.every_epochs",
    "schedule.gamma",
    "schedule.at_epochs",
    "schedule.power",
    "stop.accuracy",
    "stop.top5",
    "stop.loss",
    "stop.patience",
    "augment",
];

/// The key whose last part is the last part of this one: `lr` is `optim.lr`.
pub(super) fn elsewhere(key: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    KEYS.into_iter().find(|known| *known != key && last(known) == last(key))
}

pub(super) fn unknown_or(error: &toml::de::Error, otherwise: &str) -> Error {
    Error::Recipe(unknown_text(error, otherwise))
}

/// Serde's "unknown field `a`, expected one of `b`, `c`" with the nearest of the known names.
pub(super) fn unknown_text(error: &toml::de::Error, otherwise: &str) -> String {
    let message = error.message();
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return otherwise.to_owned();
    }
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let nearest = names.split_first().and_then(|(unknown, known)| {
        known
            .iter()
            .copied()
            .max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)))
    });
    match nearest {
        Some(nearest) => format!("{} — did you mean `{nearest}`?", otherwise.trim_end()),
        None => otherwise.to_owned(),
    }
}
