//! Places on disks, which can be written in several ways.

use std::fs::canonicalize;

use super::DataRecipe;

impl DataRecipe {
    /// `path` without a `./` before it and slashes behind it. An address stays as it is, and a folder called `digits` is not taken for the
    /// drawn ones.
    #[must_use]
    pub fn tidy(path: &str) -> String {
        let mut tidy = path.trim_end_matches('/');
        while let Some(rest) = tidy.strip_prefix("./") {
            tidy = rest.trim_start_matches('/');
        }
        match tidy {
            _ if path.contains("://") || tidy.is_empty() => path.into(),
            Self::DIGITS if path != Self::DIGITS => format!("./{tidy}"),
            tidy => tidy.into(),
        }
    }
}

/// Whether two paths lead to the same file or folder, or are the same text.
pub(super) fn is_same_place(a: &str, b: &str) -> bool {
    let drawn = [a, b].contains(&DataRecipe::DIGITS);
    a == b || !drawn && canonicalize(a).is_ok_and(|a| canonicalize(b).is_ok_and(|b| a == b))
}
