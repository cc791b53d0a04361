//! The keys of a recipe, and what is said of those that no recipe has.

use crate::Error;

/// Keys by their whole names; of those with the same last part the first is the likeliest.
const KEYS: [&str; 55] = [
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
    let unknown = ["unknown field", "unknown variant"].iter().any(|start| message.starts_with(start));
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let near = names.split_first().filter(|_| unknown).and_then(|(unknown, known)| near(unknown, known));
    match near {
        Some(near) => format!("{message} — did you mean `{near}`?"),
        None => short(message),
    }
}

/// The one of `known` that `unknown` is likely to be meant for: no more than one letter in three is another.
fn near<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    // No name is so long, and distances to long texts take long.
    let unknown = Some(unknown).filter(|unknown| unknown.len() < 64)?;
    let distance = |known: &str| strsim::damerau_levenshtein(known, unknown);
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    Some(nearest).filter(|nearest| distance(nearest) <= (nearest.len() / 3).max(1))
}

/// Serde's name of what was given, as `string "x"`.
fn given_words(given: &str) -> String {
    match given.split_once(' ') {
        _ if given == "map" => "a table".into(),
        _ if given == "sequence" => "a list".into(),
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
