//! What a check found, for people and for programs.

use std::fmt;
use std::fmt::Write;

use serde::Serialize;

use crate::Source;
use crate::printable;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Training fails on it, or what it measures means nothing.
    Error,
    /// Worth a look.
    Warning,
}

/// What can be wrong with an image set, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    Unreadable,
    /// It is no picture in a known format.
    NotAnImage,
    /// It is damaged or cut short.
    Damaged,
    /// It is larger than the limits allow.
    TooLarge,
    /// The same bytes have several labels.
    Conflict,
    /// The same bytes are in several parts.
    Leak,
    /// The same bytes come several times in a part.
    Duplicate,
    /// Two pictures look alike, but have other bytes.
    LookAlike,
    /// The name says another format than the bytes.
    WrongExtension,
    /// A very small picture, or one of another size than nearly all.
    OddSize,
    /// A very long picture.
    OddShape,
    /// A class has few images or none.
    FewImages,
    /// Classes have very different numbers of images.
    Imbalance,
    /// Something at the path is in no part of the set.
    LeftOut,
}

impl Problem {
    const ALL: [Self; 14] = [
        Self::Unreadable,
        Self::NotAnImage,
        Self::Damaged,
        Self::TooLarge,
        Self::Conflict,
        Self::Leak,
        Self::Duplicate,
        Self::LookAlike,
        Self::WrongExtension,
        Self::OddSize,
        Self::OddShape,
        Self::FewImages,
        Self::Imbalance,
        Self::LeftOut,
    ];

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Unreadable
            | Self::NotAnImage
            | Self::Damaged
            | Self::TooLarge
            | Self::Conflict
            | Self::Leak => Severity::Error,
            _ => Severity::Warning,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Unreadable => "Cannot be read",
            Self::NotAnImage => "Not an image",
            Self::Damaged => "Damaged or cut short",
            Self::TooLarge => "Too large",
            Self::Conflict => "The same picture with several labels",
            Self::Leak => "The same picture in several parts",
            Self::Duplicate => "The same picture several times",
            Self::LookAlike => "Pictures that look alike",
            Self::WrongExtension => "Named after another format",
            Self::OddSize => "Unusual size",
            Self::OddShape => "Unusual shape",
            Self::FewImages => "Classes with few images",
            Self::Imbalance => "Classes of very different size",
            Self::LeftOut => "Left out",
        }
    }
}

/// A picture of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    /// `train`, `validation` or `test`.
    pub part: &'static str,
    /// Its index in the part.
    pub index: usize,
    /// Where it lies.
    pub place: String,
    /// The name of its class.
    pub class: String,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub message: String,
    /// The number of pictures that it is about.
    pub pictures: usize,
    /// The first of them.
    pub first: Vec<Located>,
}

/// All that was found of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Which problem.
    pub problem: Problem,
    /// How bad it is.
    pub severity: Severity,
    /// How often it was found.
    pub count: usize,
    /// The first findings, in the order of the set.
    pub findings: Vec<Finding>,
}

/// A part and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartSummary {
    /// `train`, `validation` or `test`.
    pub name: &'static str,
    /// The number of pictures.
    pub pictures: usize,
}

/// What [`check`](super::check) found.
///
/// As text it is a summary with ten lines a problem; [`CheckReport::text`] takes another number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The parts that were checked.
    pub parts: Vec<PartSummary>,
    /// The number of classes.
    pub classes: usize,
    /// The pictures that cannot be used.
    pub unusable: usize,
    /// What was found, the worst first; problems that were not found are not there.
    pub groups: Vec<Group>,
}

impl CheckReport {
    /// The number of findings as bad as `severity`.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.groups.iter().filter(|group| group.severity == severity).map(|group| group.count).sum()
    }

    /// How often `problem` was found.
    #[must_use]
    pub fn count_of(&self, problem: Problem) -> usize {
        self.groups.iter().find(|group| group.problem == problem).map_or(0, |group| group.count)
    }

    /// A summary for people, with at most `lines` findings of each problem.
    #[must_use]
    pub fn text(&self, lines: usize) -> String {
        let total: usize = self.parts.iter().map(|part| part.pictures).sum();
        let parts: Vec<_> =
            self.parts.iter().map(|part| format!("{} {}", part.name, part.pictures)).collect();
        let mut text = format!(
            "Checked {} in {} classes ({})\n",
            counted(total, "image"),
            self.classes,
            parts.join(", ")
        );
        for group in &self.groups {
            let severity = if group.severity == Severity::Error { "error" } else { "warning" };
            text += &format!("\n{severity}: {} ({})\n", group.problem.title(), group.count);
            for finding in group.findings.iter().take(lines) {
                finding.write_to(&mut text);
            }
            let more = group.count.saturating_sub(group.findings.len().min(lines));
            if more > 0 {
                text += &format!("  … and {more} more\n");
            }
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let verdict = match (errors, warnings) {
            (0, 0) => "Nothing is wrong".to_owned(),
            _ => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
        };
        text += &format!("\n{verdict}; {} can be used\n", counted(total - self.unusable, "image"));
        text
    }
}

/// "1 image", "2 images".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(10))
    }
}

/// Pictures of a finding that are named in a text.
const NAMED: usize = 3;

impl Finding {
    fn write_to(&self, text: &mut String) {
        let message = printable(&self.message);
        // Writing into a text cannot fail.
        let _ = match &self.first[..] {
            [] => writeln!(text, "  {message}"),
            [only] => writeln!(text, "  {}: {message}", printable(&only.place)),
            several => {
                let named: Vec<_> = several
                    .iter()
                    .take(NAMED)
                    .map(|picture| {
                        format!("{} ({}, {})", printable(&picture.place), picture.part, picture.class)
                    })
                    .collect();
                let more = self.pictures - named.len();
                let more = if more > 0 { format!(", … and {more} more") } else { String::new() };
                writeln!(text, "  {}{more}: {message}", named.join(", "))
            }
        };
    }
}

/// Pictures of a finding that are kept.
const KEPT_PICTURES: usize = 20;

/// Findings while they are made.
pub(super) struct Collector<'a> {
    parts: &'a [(&'static str, &'a dyn Source)],
    kept: usize,
    groups: Vec<Group>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(parts: &'a [(&'static str, &'a dyn Source)], kept: usize) -> Self {
        let group = |problem: Problem| Group {
            problem,
            severity: problem.severity(),
            count: 0,
            findings: Vec::new(),
        };
        Self { parts, kept, groups: Problem::ALL.map(group).into() }
    }

    /// A finding about `pictures` pictures, the first of them at `indices`, counted over all parts.
    pub(super) fn add(&mut self, problem: Problem, indices: &[usize], pictures: usize, message: String) {
        let first = || indices.iter().take(KEPT_PICTURES).filter_map(|&index| self.located(index)).collect();
        let Some(at) = self.groups.iter().position(|group| group.problem == problem) else { return };
        let room = self.groups[at].findings.len() < self.kept;
        let finding = room.then(|| Finding { message, pictures, first: first() });
        self.groups[at].count += 1;
        self.groups[at].findings.extend(finding);
    }

    /// The number of the part of picture `index`.
    pub(super) fn part(&self, index: usize) -> Option<usize> {
        Some(self.find(index)?.0)
    }

    /// The label of picture `index`.
    pub(super) fn label(&self, index: usize) -> Option<u32> {
        let (source, index) = self.sample(index)?;
        Some(source.label(index))
    }

    /// The source of picture `index` and its index there.
    pub(super) fn sample(&self, index: usize) -> Option<(&'a dyn Source, usize)> {
        let (part, index) = self.find(index)?;
        Some((self.parts.get(part)?.1, index))
    }

    /// The part of picture `index` and its index there.
    fn find(&self, index: usize) -> Option<(usize, usize)> {
        let mut rest = index;
        for (part, (_, source)) in self.parts.iter().enumerate() {
            match rest.checked_sub(source.len()) {
                None => return Some((part, rest)),
                Some(less) => rest = less,
            }
        }
        None
    }

    fn located(&self, index: usize) -> Option<Located> {
        let (part, index) = self.find(index)?;
        let (name, source) = *self.parts.get(part)?;
        let class = source.class_names().get(source.label(index) as usize).cloned().unwrap_or_default();
        Some(Located { part: name, index, place: source.place(index).to_string(), class })
    }

    pub(super) fn finish(self, unusable: usize) -> CheckReport {
        let summary =
            |(name, source): &(&'static str, &dyn Source)| PartSummary { name, pictures: source.len() };
        let classes = self.parts.first().map_or(0, |(_, source)| source.class_names().len());
        let mut groups = self.groups;
        groups.retain(|group| group.count > 0);
        CheckReport { parts: self.parts.iter().map(summary).collect(), classes, unusable, groups }
    }
}
