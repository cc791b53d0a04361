//! Networks by name, and data sets and weights, fetched when asked for.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use pyrograph::infer::find_weights;
use pyrograph::model::{InputShape, ModelConfig};

use super::complain;

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
            complain(&format!("{file}: {} %", 10 * tenth));
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

/// What a network is for, where it is not what its name says.
#[derive(Debug, Args)]
pub(super) struct Shape {
    /// Height and width in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,

    /// 1 (gray) or 3 (colour) [default: the network's own]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    channels: Option<u8>,

    /// Number of classes [default: the network's own]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
}

impl Shape {
    /// The network of this name.
    pub(super) fn network(&self, name: &str) -> Result<ModelConfig> {
        let info = ModelConfig::names().iter().find(|info| info.name == name);
        let own = info.map_or((224, 3, 1000), |info| (info.default_size, info.channels, info.classes));
        let size = self.size.unwrap_or(own.0);
        let channels = self.channels.map_or(own.1, usize::from);
        let input = InputShape { channels, height: size, width: size };
        Ok(ModelConfig::from_name(name, input, self.classes.unwrap_or(own.2))?)
    }
}
