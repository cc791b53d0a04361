//! Data sets and weights by name, fetched when asked for.

use std::path::PathBuf;

use anyhow::Result;
use pyrograph::infer::find_weights;

/// The path of the weights `text`: what it is, or for the name of published weights, the file that they were fetched into.
pub(crate) fn weights_path(text: &str) -> Result<PathBuf> {
    Ok(find_weights(text, &mut tenths())?)
}

/// Says how much of a file is here, with a line every tenth part: readable in a terminal and in a log.
fn tenths() -> impl FnMut(&str, u64, u64) {
    let mut said = 0;
    move |file, done, total| {
        let tenth = 10 * done / total.max(1);
        if tenth != said {
            eprintln!("{file}: {} %", 10 * tenth);
            said = tenth;
        }
    }
}

/// The path of `data`: what it is, or for a known name (`mnist`, `fashion-mnist`, `cifar10`, `cifar100`) that is no path here, the
/// folder that it was fetched into.
#[cfg(feature = "download")]
pub(crate) fn fetched(data: &str) -> Result<String> {
    use std::path::Path;

    use pyrograph::data::cache_folder;
    use pyrograph::data::download::{NAMES, fetch};

    if Path::new(data).exists() || !NAMES.contains(&data) {
        return Ok(data.to_owned());
    }
    let cache = cache_folder().unwrap_or_else(|| PathBuf::from(".pyrograph-cache"));
    let folder = fetch(data, &cache, &mut tenths())?;
    Ok(folder.to_string_lossy().into_owned())
}

/// The path of `data`; this build fetches nothing.
#[cfg(not(feature = "download"))]
pub(crate) fn fetched(data: &str) -> Result<String> {
    Ok(data.to_owned())
}
