//! Data sets by name, fetched when asked for.

use anyhow::Result;

/// The path of `data`: what it is, or for a known name (`mnist`, `fashion-mnist`, `cifar10`, `cifar100`) that is no path here, the
/// folder that it was fetched into.
#[cfg(feature = "download")]
pub(crate) fn fetched(data: &str) -> Result<String> {
    use std::path::{Path, PathBuf};

    use pyrograph::data::cache_folder;
    use pyrograph::data::download::{NAMES, fetch};

    if Path::new(data).exists() || !NAMES.contains(&data) {
        return Ok(data.to_owned());
    }
    let cache = cache_folder().unwrap_or_else(|| PathBuf::from(".pyrograph-cache"));
    let mut said = 0;
    let folder = fetch(data, &cache, &mut |file, done, total| {
        // A line every tenth part: readable in a terminal and in a log.
        let tenth = 10 * done / total.max(1);
        if tenth != said {
            eprintln!("{file}: {} %", 10 * tenth);
            said = tenth;
        }
    })?;
    Ok(folder.to_string_lossy().into_owned())
}

/// The path of `data`; this build fetches nothing.
#[cfg(not(feature = "download"))]
pub(crate) fn fetched(data: &str) -> Result<String> {
    Ok(data.to_owned())
}
