//! Where what can be made again is kept.

use std::path::{Path, PathBuf};

/// The user's cache folder of this program: `PYROGRAPH_CACHE`, or else `pyrograph` in `XDG_CACHE_HOME`, in
/// `LOCALAPPDATA` or in `.cache` of the home folder. `None` when no such variable is set.
///
/// The folder need not be there yet. All that is in it can be deleted at any time: listings of folders are made
/// again, downloads are fetched again.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The freedesktop rules have relative paths ignored.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    variable("PYROGRAPH_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|folder| folder.join("pyrograph")))
        .or_else(|| absolute("LOCALAPPDATA").map(|folder| folder.join("pyrograph")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache").join("pyrograph")))
}

/// Whether `path`, which need not exist, is `folder` or lies below it.
pub(crate) fn lies_below(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let Ok(path) = std::path::absolute(path) else { return false };
    // What does not exist yet has no links to follow: the part that exists decides.
    path.ancestors().find_map(|part| part.canonicalize().ok()).is_some_and(|real| real.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let folder = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(known, _)| *known == name);
            folder_from(|name| found(name).map(|(_, value)| PathBuf::from(value)))
        };
        let all = [("PYROGRAPH_CACHE", "here"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/me")];
        assert_eq!(folder(&all), Some("here".into()));
        assert_eq!(folder(&all[1..]), Some("/xdg/pyrograph".into()));
        assert_eq!(folder(&all[2..]), Some("/home/me/.cache/pyrograph".into()));
        assert_eq!(folder(&[("XDG_CACHE_HOME", "xdg"), all[2]]), Some("/home/me/.cache/pyrograph".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_lies_where_it_would_be() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir(&data).unwrap();
        assert!(lies_below(&data.join("new/cache"), &data));
        assert!(lies_below(&data, &data));
        assert!(!lies_below(&root.path().join("cache"), &data));
        assert!(!lies_below(&root.path().join("data-cache"), &data));
    }
}
