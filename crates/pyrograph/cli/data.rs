//! Opening image sets, for every command that takes one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pyrograph::data::source::{Scan, Source};
use pyrograph::data::{DataSet, ErrorKind, cache_folder};
use pyrograph::train::{DataRecipe, counting_bar};

use super::named::fetched;

/// A part of an image set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Train,
    #[value(alias = "val", alias = "valid")]
    Validation,
    Test,
}

/// The image set at `data`: a path, `digits`, or in builds that download the name of a known set.
pub(crate) fn open(data: &str) -> Result<DataSet> {
    if data == DataRecipe::DIGITS {
        return Ok(DataSet::digits(0));
    }
    let path = fetched(data)?;
    let bar = counting_bar("listing");
    let mut told = |found| bar.set_position(found as u64);
    let mut scan = Scan::new().with_cache(cache_folder()).with_progress(&mut told);
    let opened = DataSet::open_with(path, &mut scan);
    bar.finish_and_clear();
    Ok(opened?)
}

/// [`open`], and where there are no classes all images at or below `data`: for commands that look at images only.
pub(crate) fn open_without_classes(data: &str) -> Result<DataSet> {
    open(data).or_else(|error| {
        let no_classes = error
            .downcast_ref::<pyrograph::data::Error>()
            .is_some_and(|error| matches!(error.kind(), ErrorKind::NotADataSet(_)));
        // Where that does not help either, what is said first is more to the point.
        let any = if no_classes { DataSet::unlabelled(data).ok() } else { None };
        any.ok_or(error)
    })
}

/// Refuses to write into the set that is read: what is written would become a part of it.
pub(crate) fn refuse_inside(out: &Path, data: &str) -> Result<()> {
    let Ok(data) = fs::canonicalize(data) else { return Ok(()) };
    let full = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    let real = full.ancestors().find_map(|there| fs::canonicalize(there).ok());
    if data.is_dir() && real.is_some_and(|real| real.starts_with(&data)) {
        bail!(
            "{}: this lies inside the images, and would become one of them; choose a folder outside",
            out.display()
        );
    }
    Ok(())
}

/// The names of the parts there are.
fn parts(data: &DataSet) -> Vec<&'static str> {
    let all = [("train", true), ("validation", data.valid.is_some()), ("test", data.test.is_some())];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// The part that is asked for, or the first there is of `order`.
pub(crate) fn part(
    data: &DataSet,
    wanted: Option<Part>,
    order: [Part; 3],
) -> Result<(&'static str, Arc<dyn Source>)> {
    let find = |part| match part {
        Part::Train => Some(("train", data.train.clone())),
        Part::Validation => Some(("validation", data.valid.clone()?)),
        Part::Test => Some(("test", data.test.clone()?)),
    };
    match wanted {
        Some(part) => find(part),
        None => order.into_iter().find_map(find),
    }
    .with_context(|| format!("there is no such part; there is {}", parts(data).join(", ")))
}
