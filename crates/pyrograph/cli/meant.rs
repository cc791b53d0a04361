//! What is meant by options that others have and `train` has not.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use pyrograph::train::meant_key;

/// Settings that have an option of their own.
const OPTIONS: [(&str, &str); 7] = [
    ("augment", "--augment"),
    ("batch", "--batch"),
    ("data.path", "DATA"),
    ("data.size", "--size"),
    ("epochs", "--epochs"),
    ("optim.lr", "--lr"),
    ("start.weights", "--weights"),
];

/// The error of a command line, with what is meant by an unknown option of `train`, if that is known, in place of an option that is spelt alike.
pub(super) fn with_meant_option(mut error: Error) -> Error {
    let is_train = std::env::args_os().nth(1).is_some_and(|command| command == "train");
    let tip = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if is_train && error.kind() == ErrorKind::UnknownArgument => {
            meant_option(option)
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        // It shows the option that was not meant.
        error.remove(ContextKind::Usage);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn meant_option(option: &str) -> Option<String> {
    let name = option.trim_start_matches('-').split('=').next()?;
    if ["resume", "continue", "checkpoint"].contains(&name) {
        return Some("the same command goes on by itself where it was stopped; '--fresh' begins anew".into());
    }
    let key = meant_key(name)?;
    let own = OPTIONS.iter().find(|(known, _)| *known == key).map(|(_, own)| *own);
    Some(match (key, own) {
        ("amp", _) => "to set it, give '--set amp=bf16'".into(),
        (_, Some(own)) => format!("to set it, give '{own}'"),
        (key, None) if key.starts_with("--") => format!("give '{key}'"),
        (key, None) => format!("to set it, give '--set {key}=VALUE'"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_others_lead_to_what_there_is() {
        for (option, there) in [
            ("--resume", "'--fresh' begins anew"),
            ("--pretrained", "'--weights'"),
            ("--amp", "'--set amp=bf16'"),
            ("--workers", "'--threads'"),
            ("--num-workers=4", "'--threads'"),
            ("--wandb", "'--tensorboard'"),
            ("--lr-scheduler", "'--set schedule.kind=VALUE'"),
            ("--weight-decay", "'--set optim.weight_decay=VALUE'"),
            ("--batch-size", "'--batch'"),
            ("--learning-rate", "'--lr'"),
            ("--ema", "'--set ema=VALUE'"),
            ("--label-smoothing", "'--set label_smoothing=VALUE'"),
        ] {
            let tip = meant_option(option).unwrap_or_default();
            assert!(tip.contains(there), "{option}: {tip}");
        }
        assert_eq!(meant_option("--epoch"), None);
    }
}
