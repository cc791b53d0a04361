//! What is wrong with an image set, found before it is trained on.

mod repeats;
mod report;
mod sample;

use std::collections::HashMap;

pub use self::report::{CheckReport, Finding, Group, Located, PartSummary, Problem, Severity};

use self::repeats::find_repeats;
use self::report::Collector;
use self::sample::{Record, examine};
use crate::in_order::{in_order, readers};
use crate::{DataSet, Error, ErrorKind, Result, Source, class_counts};

/// Where a warning begins.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOptions {
    /// A class with fewer images for training is reported.
    pub least_images: usize,
    /// A largest class with more times the images of the smallest is reported.
    pub most_imbalance: f64,
    /// A picture with a shorter side of fewer pixels is reported.
    pub least_side: u32,
    /// A picture with a longer side of more times the shorter one is reported.
    pub most_aspect: f64,
    /// Pictures that look alike are reported.
    pub look_alikes: bool,
    /// Findings of a problem that are kept; the others are only counted.
    pub kept: usize,
}

impl Default for CheckOptions {
    /// 10 images a class, 20 times the smallest class, 8 pixels, 5 times the shorter side, look-alikes, 1,000 findings
    /// of a problem.
    fn default() -> Self {
        Self {
            least_images: 10,
            most_imbalance: 20.0,
            least_side: 8,
            most_aspect: 5.0,
            look_alikes: true,
            kept: 1_000,
        }
    }
}

/// A part of at least this many pictures can have a usual size.
const SIZE_MATTERS_FROM: usize = 20;
/// The share of pictures that make a size the usual one.
const USUAL: f64 = 0.9;

/// Reads and decodes every picture of `set`, on all cores, and tells what is wrong. What is found and its order depend on
/// the set and the options alone.
///
/// It takes about 40 bytes a picture, beside the pictures that are being decoded and the findings that are kept. `progress` is
/// told the pictures that are done and their number, on the calling thread.
///
/// A picture that cannot be read or decoded is a finding, not an error.
///
/// # Errors
///
/// When the set has more than 4,294,967,295 pictures.
pub fn check(
    set: &DataSet,
    options: &CheckOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<CheckReport> {
    let parts = parts(set);
    let total: usize = parts.iter().map(|(_, source)| source.len()).sum();
    if u32::try_from(total).is_err() {
        let message = format!("{total} pictures are more than can be checked at once");
        return Err(Error::new(ErrorKind::Setting(message)));
    }
    let mut found = Collector::new(&parts, options.kept);
    let mut records: Vec<Record> = Vec::with_capacity(total);
    for (_, source) in &parts {
        let start = records.len();
        in_order(
            0..source.len(),
            readers(*source),
            |index| Ok(examine(*source, index, options, &mut Vec::new())),
            |index, examined| {
                for (problem, message) in examined.problems {
                    found.add(problem, &[start + index], 1, message);
                }
                records.push(examined.record);
                let done = records.len();
                if done.is_multiple_of(64) || done == total {
                    progress(done, total);
                }
                Ok(())
            },
        )?;
    }
    find_repeats(&records, options, &mut found);
    find_odd_sizes(&records, &mut found);
    find_thin_classes(&parts, options, &mut found);
    for sentence in &set.left_out {
        found.add(Problem::LeftOut, &[], 0, sentence.clone());
    }
    let damaged = |record: &&Record| !record.is_decoded();
    Ok(found.finish(records.iter().filter(damaged).count()))
}

/// The parts that are there, with their names.
fn parts(set: &DataSet) -> Vec<(&'static str, &dyn Source)> {
    let mut parts: Vec<(&'static str, &dyn Source)> = vec![("train", set.train.as_ref())];
    parts.extend(set.valid.as_deref().map(|source| ("validation", source)));
    parts.extend(set.test.as_deref().map(|source| ("test", source)));
    parts
}

/// Pictures of another size than nearly all.
fn find_odd_sizes(records: &[Record], found: &mut Collector<'_>) {
    let mut counts: HashMap<(u16, u16), usize> = HashMap::new();
    for record in records.iter().filter(|record| record.is_decoded()) {
        *counts.entry((record.width, record.height)).or_default() += 1;
    }
    let decoded: usize = counts.values().sum();
    let Some((usual, count)) = counts.into_iter().max_by_key(|&(size, count)| (count, size)) else { return };
    if decoded < SIZE_MATTERS_FROM || (count as f64) < USUAL * decoded as f64 || count == decoded {
        return;
    }
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.is_decoded()) {
        if (record.width, record.height) != usual {
            let (width, height) = (record.width, record.height);
            let message =
                format!("{width} x {height} pixels; {count} of {decoded} have {} x {}", usual.0, usual.1);
            found.add(Problem::OddSize, &[index], 1, message);
        }
    }
}

fn find_thin_classes(parts: &[(&str, &dyn Source)], options: &CheckOptions, found: &mut Collector<'_>) {
    for (number, (part, source)) in parts.iter().enumerate() {
        let counts = class_counts(*source);
        let named = || source.class_names().iter().zip(counts.iter().copied());
        for (name, count) in named() {
            let few = if number == 0 { count < options.least_images } else { count == 0 };
            if few {
                found.add(
                    Problem::FewImages,
                    &[],
                    0,
                    format!("{part}: the class {name:?} has {count} images"),
                );
            }
        }
        if number > 0 {
            continue;
        }
        let most = named().max_by_key(|&(_, count)| count);
        let least = named().filter(|&(_, count)| count > 0).min_by_key(|&(_, count)| count);
        if let (Some((large, most)), Some((small, least))) = (most, least)
            && most as f64 > options.most_imbalance * least as f64
        {
            let times = most / least;
            let message =
                format!("{part}: {large:?} has {most} images, {times} times the {least} of {small:?}");
            found.add(Problem::Imbalance, &[], 0, message);
        }
    }
}

#[cfg(test)]
mod tests;
