//! The keys of a recipe, and what is said of those that no recipe has.

use crate::Error;

/// Keys by their whole names; of those with the same last part the first is the likeliest.
pub(super) const KEYS: [&str; 56] = [
    "model",
    "epochs",
    "batch",
    "accumulate",
    "seed",
    "loss",
    "label_smoothing",
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
    "schedule.min_lr",
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

/// What others call a setting, in small letters, and its key here; an option where it is no part of a recipe.
pub(super) const OTHERS: [(&str, &str); 59] = [
    ("learning_rate", "optim.lr"),
    ("base_lr", "optim.lr"),
    ("initial_lr", "optim.lr"),
    ("max_lr", "optim.lr"),
    ("optimizer", "optim.kind"),
    ("opt", "optim.kind"),
    ("sched", "schedule.kind"),
    ("scheduler", "schedule.kind"),
    ("lr_scheduler", "schedule.kind"),
    ("lr_schedule", "schedule.kind"),
    ("warmup", "schedule.warmup_epochs"),
    ("lr_warmup_epochs", "schedule.warmup_epochs"),
    ("min_lr", "schedule.min_lr"),
    ("lr_min", "schedule.min_lr"),
    ("eta_min", "schedule.min_lr"),
    ("step_size", "schedule.every_epochs"),
    ("decay_epochs", "schedule.every_epochs"),
    ("schedule.patience", "schedule.patience_epochs"),
    ("milestones", "schedule.at_epochs"),
    ("decay_milestones", "schedule.at_epochs"),
    ("decay_rate", "schedule.gamma"),
    ("smoothing", "label_smoothing"),
    ("grad_accum", "accumulate"),
    ("grad_accum_steps", "accumulate"),
    ("accum_iter", "accumulate"),
    ("accumulate_grad_batches", "accumulate"),
    ("gradient_accumulation_steps", "accumulate"),
    ("model_ema", "ema"),
    ("ema_decay", "ema"),
    ("model_ema_decay", "ema"),
    ("clip_grad", "optim.clip_norm"),
    ("clip_grad_norm", "optim.clip_norm"),
    ("max_grad_norm", "optim.clip_norm"),
    ("gradient_clip_val", "optim.clip_norm"),
    ("agc", "optim.clip_adaptive"),
    ("aa", "augment"),
    ("auto_augment", "augment"),
    ("drop", "dropout"),
    ("drop_rate", "dropout"),
    ("drop_path_rate", "drop_path"),
    ("grad_checkpointing", "gradient_checkpointing"),
    ("precision", "amp"),
    ("mixed_precision", "amp"),
    ("wd", "optim.weight_decay"),
    ("max_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("batch_size", "batch"),
    ("img_size", "data.size"),
    ("image_size", "data.size"),
    ("input_size", "data.size"),
    ("validation_split", "data.valid_fraction"),
    ("val_split", "data.valid_fraction"),
    ("pretrained", "start.weights"),
    ("early_stopping", "stop.patience"),
    ("num_workers", "--threads"),
    ("workers", "--threads"),
    ("device", "--device"),
    ("output", "--out"),
    ("wandb", "--tensorboard"),
];

/// What others call a value, in small letters, and its name here.
const OTHER_VALUES: [(&str, &str); 12] = [
    ("ce", "cross_entropy"),
    ("crossentropyloss", "cross_entropy"),
    ("bcewithlogitsloss", "bce"),
    ("momentum", "sgd"),
    ("cosineannealinglr", "cosine"),
    ("cosine_annealing", "cosine"),
    ("steplr", "step"),
    ("multisteplr", "multi_step"),
    ("poly", "polynomial"),
    ("reducelronplateau", "plateau"),
    ("true", "bf16"),
    ("bfloat16", "bf16"),
];

/// Keys whose values are names, also where they look like something else.
pub(super) fn is_name(key: &str) -> bool {
    ["amp", "loss", "schedule_by", "optim.kind", "schedule.kind"].contains(&key)
}

/// In small letters and with `_`, if no name is so long: distances to long texts take long.
fn plain(name: &str) -> Option<String> {
    Some(name).filter(|name| name.len() < 64).map(|name| name.to_lowercase().replace('-', "_"))
}

/// The last part of a dotted key.
fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// What others call so.
fn called(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(theirs, _)| *theirs == name).map(|(_, known)| *known)
}

/// The key, or the option, that is meant by a name: what others call so, or a key with the same last part, as `optim.lr` for `lr`.
#[must_use]
pub fn meant_key(key: &str) -> Option<&'static str> {
    let plain = plain(key)?;
    let same_last = || {
        let same = KEYS.into_iter().filter(|known| last(known) == last(&plain));
        same.min_by_key(|known| strsim::damerau_levenshtein(known, &plain))
    };
    called(&OTHERS, &plain).or_else(|| called(&OTHERS, last(&plain))).or_else(same_last)
}

/// A question about a key that no recipe has, if one can be asked.
pub(super) fn elsewhere(key: &str) -> Option<String> {
    meant_key(key).filter(|meant| *meant != key).map(question)
}

fn question(meant: &str) -> String {
    if meant.starts_with("--") {
        return format!("it is no part of a recipe; did you mean the option `{meant}`?");
    }
    format!("did you mean `{meant}`?")
}

/// What TOML says of `text`, at which line, and of a line that is not too long with the line itself.
pub(super) fn parse_error(error: &toml::de::Error, text: &str) -> Error {
    let whole = error.to_string();
    let echo = whole.trim_end().strip_suffix(error.message().trim_end()).unwrap_or_default();
    let reason = reason(error);
    if echo.len() <= LONGEST_ECHO {
        return Error::Recipe(format!("{echo}{reason}"));
    }
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    Error::Recipe(format!("line {}: {reason}", before.matches('\n').count() + 1))
}

/// What an error says, in words of recipes and not of Rust, with the known name that is near to an unknown one.
pub(super) fn reason(error: &toml::de::Error) -> String {
    let message = error.message();
    let mismatch = ["invalid type: ", "invalid value: ", "invalid "];
    let mismatch = mismatch.iter().find_map(|start| message.strip_prefix(start)?.split_once(", expected "));
    if let Some((given, wanted)) = mismatch {
        return format!("{} is given where {} is wanted", given_words(given), wanted_words(wanted));
    }
    if message == "wanted string or table" {
        return "a name in quotes is wanted".into();
    }
    // Only schedules have keys without a default.
    if let Some(name) = message.strip_prefix("missing field `") {
        return format!("`schedule.{}` is missing; give it as well", name.trim_end_matches('`'));
    }
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let hint = names.split_first().and_then(|(unknown, known)| {
        if message.starts_with("unknown variant") {
            let theirs = plain(unknown).and_then(|plain| called(&OTHER_VALUES, &plain));
            return theirs.filter(|name| known.contains(name)).or_else(|| near(unknown, known)).map(question);
        }
        if !message.starts_with("unknown field") {
            return None;
        }
        // The keys of a schedule depend on its kind: that there is such a key does not help.
        let meant =
            meant_key(unknown).filter(|meant| !meant.starts_with("schedule.") || last(meant) != *unknown);
        let meant = meant.map(|meant| if known.contains(&last(meant)) { last(meant) } else { meant });
        meant.or_else(|| near(unknown, known)).map(question)
    });
    match hint {
        Some(hint) => format!("{message} — {hint}"),
        None => short(message),
    }
}

/// The one of `known` that `unknown` is likely to be meant for: no more than one letter in three is another, small or not.
fn near<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown = plain(unknown)?;
    let distance = |known: &str| strsim::damerau_levenshtein(known, &unknown);
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    Some(nearest).filter(|nearest| distance(nearest) <= (nearest.len() / 3).max(1))
}

/// Serde's name of what was given, as `string "x"`.
fn given_words(given: &str) -> String {
    match given.split_once(' ') {
        _ if given == "map" => "a table".into(),
        _ if given == "sequence" => "a list".into(),
        // Serde does not say what.
        _ if given == "unit variant" => "something else".into(),
        Some(("string", text)) => format!("the text {}", short(text)),
        Some(("length", length)) => format!("a list of {length}"),
        Some(("integer" | "boolean", value)) => value.trim_matches('`').into(),
        _ => given.strip_prefix("floating point ").unwrap_or(given).trim_matches('`').into(),
    }
}

/// Serde's name of what was expected, as `u64`.
fn wanted_words(wanted: &str) -> String {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more,".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" => "a text".into(),
        "string only" => "a name in quotes".into(),
        "a sequence" => "a list".into(),
        _ if wanted.contains("tagged enum") => "a table with `kind`, as {kind = \"…\"},".into(),
        _ if wanted.starts_with("struct ") => "a table of settings".into(),
        _ => wanted.replace("an array of length", "a list of"),
    }
}

/// Characters of a text that are shown; more help nobody.
const LONGEST: usize = 400;
/// Bytes of a recipe that are shown around an error.
const LONGEST_ECHO: usize = 400;

/// The beginning of a text.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.into(),
    }
}
