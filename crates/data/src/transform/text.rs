//! Steps as text: `name(value, key=value)`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::draw::Span;
use crate::{Error, ErrorKind, Result};

/// The longest side a step may make, in pixels.
pub(super) const SIDES: RangeInclusive<u32> = 1..=4096;
/// Probabilities.
pub(super) const CHANCES: RangeInclusive<f32> = 0.0..=1.0;
/// Values of pixels.
pub(super) const LEVELS: RangeInclusive<u32> = 0..=255;

/// The arguments of a step, read from text or written to it: a step lists them once, for both.
///
/// Arguments without a name come in the order of the list. An argument that is not given keeps the value it has.
pub(super) struct Arguments<'a> {
    direction: Direction<'a>,
    /// Whether the next argument has to be given.
    needed: bool,
}

enum Direction<'a> {
    Read(Reader<'a>),
    Write(Vec<Written>),
}

struct Reader<'a> {
    step: &'a str,
    by_place: std::vec::IntoIter<&'a str>,
    by_name: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
    problem: Option<String>,
}

/// An argument as text.
#[derive(PartialEq)]
pub(super) struct Written {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) needed: bool,
    /// What it may be.
    pub(super) says: String,
}

/// The name of a step, and its arguments to be read.
///
/// # Errors
///
/// When brackets do not close, or an argument without a name follows one with a name.
pub(super) fn call(text: &str) -> Result<(&str, Arguments<'_>)> {
    let text = text.trim();
    let (step, inside) = match text.split_once('(') {
        None => (text, ""),
        Some((name, rest)) => {
            let inside = rest.strip_suffix(')').filter(|i| !i.contains(['(', ')']));
            let inside = inside.ok_or_else(|| refuse(format!("`{text}`: a bracket does not close")))?;
            (name.trim_end(), inside)
        }
    };
    let mut by_place = Vec::new();
    let mut by_name: Vec<(&str, &str)> = Vec::new();
    for argument in inside.split(',').map(str::trim) {
        match argument.split_once('=') {
            Some((name, value)) => {
                let name = name.trim_end();
                if by_name.iter().any(|(known, _)| *known == name) {
                    return Err(refuse(format!("`{step}` has two values for `{name}`; remove one")));
                }
                by_name.push((name, value.trim_start()));
            }
            None if argument.is_empty() && inside.trim().is_empty() => {}
            None if argument.is_empty() => {
                return Err(refuse(format!("`{text}`: there is nothing between two commas; remove one")));
            }
            None if !by_name.is_empty() => {
                let problem =
                    format!("`{text}`: `{argument}` follows an argument with a name; give its name too");
                return Err(refuse(problem));
            }
            None => by_place.push(argument),
        }
    }
    let by_place = by_place.into_iter();
    let reader = Reader { step, by_place, by_name, known: Vec::new(), problem: None };
    Ok((step, Arguments { direction: Direction::Read(reader), needed: false }))
}

/// A failure to read a step.
pub(super) fn refuse(problem: String) -> Error {
    Error::new(ErrorKind::Setting(problem))
}

/// What other libraries call a step, in small letters, without `_` and without `Random` before it.
const OTHERS: [(&str, &str); 8] = [
    ("horizontalflip", "flip"),
    ("hflip", "flip"),
    ("verticalflip", "vflip"),
    ("rotation", "rotate"),
    ("gaussianblur", "blur"),
    ("adjustsharpness", "sharpness"),
    ("cutout", "random_erasing"),
    ("trivialaugment", "trivial_augment_wide"),
];

/// `; did you mean ...?` with the known name nearest to `name`, or that of what others call so, or all of them if there is none.
pub(super) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let plain = |name: &str| name.to_lowercase().replace('_', "");
    let theirs = plain(name);
    let bare = theirs.strip_prefix("random").unwrap_or(&theirs);
    let same = known.clone().find(|known| plain(known) == theirs || plain(known) == bare);
    let other = || {
        let (_, step) = OTHERS.iter().find(|(other, _)| *other == bare)?;
        known.clone().find(|known| known == step)
    };
    let near = || {
        let (distance, nearest) =
            known.clone().map(|known| (strsim::damerau_levenshtein(name, known), known)).min()?;
        Some(nearest).filter(|nearest| distance <= 1 + nearest.len() / 3)
    };
    match same.or_else(other).or_else(near) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => format!("; it may be: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

impl Arguments<'_> {
    /// To be written.
    pub(super) fn writer() -> Self {
        Self { direction: Direction::Write(Vec::new()), needed: false }
    }

    /// What was written.
    pub(super) fn written(self) -> Vec<Written> {
        match self.direction {
            Direction::Write(written) => written,
            Direction::Read(_) => Vec::new(),
        }
    }

    /// After all arguments are read.
    ///
    /// # Errors
    ///
    /// The first problem: an argument that is missing, unknown, too much, or not what it may be.
    pub(super) fn finish(self) -> Result<()> {
        let Direction::Read(mut reader) = self.direction else { return Ok(()) };
        let step = reader.step;
        if let Some(problem) = reader.problem {
            return Err(refuse(problem));
        }
        if let Some(value) = reader.by_place.next() {
            let takes = match reader.known.as_slice() {
                [] => "it takes none".to_owned(),
                known => format!("it takes {}", known.join(", ")),
            };
            return Err(refuse(format!("`{step}` has an argument too many, `{value}`; {takes}")));
        }
        match reader.by_name.first() {
            None => Ok(()),
            Some((name, _)) if reader.known.contains(name) => {
                Err(refuse(format!("`{step}` has two values for `{name}`; remove one")))
            }
            Some((name, _)) if reader.known.is_empty() => {
                Err(refuse(format!("`{step}` takes no arguments, but has `{name}`")))
            }
            Some((name, _)) => {
                let suggestion = suggest(name, reader.known.iter().copied());
                Err(refuse(format!("`{step}` has no argument `{name}`{suggestion}")))
            }
        }
    }

    /// The next argument has to be given.
    pub(super) fn needed(&mut self) -> &mut Self {
        self.needed = true;
        self
    }

    /// A whole number.
    pub(super) fn count(&mut self, name: &'static str, value: &mut u32, range: RangeInclusive<u32>) {
        let says = format!("a whole number from {} to {}", range.start(), range.end());
        self.argument(name, value, &says, |text| parse(text, &range), ToString::to_string);
    }

    /// A whole number that may be left out.
    pub(super) fn maybe_count(
        &mut self,
        name: &'static str,
        value: &mut Option<u32>,
        range: RangeInclusive<u32>,
    ) {
        let says = format!("a whole number from {} to {}", range.start(), range.end());
        let write = |value: &Option<u32>| value.map(|v| v.to_string()).unwrap_or_default();
        self.argument(name, value, &says, |text| parse(text, &range).map(Some), write);
    }

    /// A number.
    pub(super) fn number(&mut self, name: &'static str, value: &mut f32, range: RangeInclusive<f32>) {
        let says = format!("a number from {} to {}", range.start(), range.end());
        self.argument(name, value, &says, |text| parse(text, &range), ToString::to_string);
    }

    /// Two numbers, `low..high`.
    pub(super) fn span(&mut self, name: &'static str, value: &mut Span, range: RangeInclusive<f32>) {
        let says = format!("`low..high` within {} to {}", range.start(), range.end());
        self.argument(name, value, &says, |text| parse_span(text, &range), write_span);
    }

    /// Two numbers, `low..high`, or one for as much below 0 as above.
    pub(super) fn spread(&mut self, name: &'static str, value: &mut Span, reach: f32) {
        let says = format!("a number from 0 to {reach}, or `low..high` within -{reach} to {reach}");
        let read = |text: &str| match parse(text, &(0.0..=reach)) {
            Some(reach) => Some(Span::around_zero(reach)),
            None => parse_span(text, &(-reach..=reach)),
        };
        let write = |span: &Span| {
            if span.low == -span.high { span.high.to_string() } else { write_span(span) }
        };
        self.argument(name, value, &says, read, write);
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        value: &mut T,
        words: &[(&'static str, T)],
    ) {
        let says = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let find = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let write = |value: &T| {
            let word = words.iter().find(|(_, known)| known == value);
            word.map_or(String::new(), |(word, _)| (*word).to_owned())
        };
        self.argument(name, value, &format!("one of {says}"), find, write);
    }

    /// Any argument: `says` is what it may be, `read` gives `None` for what it may not be.
    pub(super) fn argument<T>(
        &mut self,
        name: &'static str,
        value: &mut T,
        says: &str,
        read: impl Fn(&str) -> Option<T>,
        write: impl Fn(&T) -> String,
    ) {
        let needed = std::mem::take(&mut self.needed);
        let reader = match &mut self.direction {
            Direction::Write(written) => {
                return written.push(Written { name, text: write(value), needed, says: says.to_owned() });
            }
            Direction::Read(reader) => reader,
        };
        let step = reader.step;
        reader.known.push(name);
        let named = reader.by_name.iter().position(|(given, _)| *given == name);
        let text = reader.by_place.next().or_else(|| named.map(|n| reader.by_name.remove(n).1));
        let problem = match text.map(|text| (text, read(text))) {
            None if needed => format!("`{step}` needs `{name}`: {says}"),
            None => return,
            Some((_, Some(read))) => return *value = read,
            Some((text, None)) => format!("`{step}` has `{name}={text}`; it must be {says}"),
        };
        reader.problem.get_or_insert(problem);
    }
}

fn parse<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<T> {
    // What is not a number is in no range.
    text.parse().ok().filter(|value| range.contains(value))
}

fn parse_span(text: &str, range: &RangeInclusive<f32>) -> Option<Span> {
    let (low, high) = text.split_once("..")?;
    let (low, high) = (parse(low.trim_end(), range)?, parse(high.trim_start(), range)?);
    (low <= high).then_some(Span { low, high })
}

fn write_span(span: &Span) -> String {
    format!("{}..{}", span.low, span.high)
}

/// `name(argument, key=value)` with the arguments that are needed, and those that are not what `default` says.
pub(super) fn write(
    f: &mut impl std::fmt::Write,
    name: impl Display,
    own: &[Written],
    default: &[Written],
) -> std::fmt::Result {
    let mut by_place = true;
    let mut open = false;
    write!(f, "{name}")?;
    for (argument, usual) in own.iter().zip(default) {
        if !argument.needed && argument == usual {
            by_place = false;
            continue;
        }
        f.write_str(if open { ", " } else { "(" })?;
        open = true;
        if by_place && argument.needed {
            f.write_str(&argument.text)?;
        } else {
            by_place = false;
            write!(f, "{}={}", argument.name, argument.text)?;
        }
    }
    if open { f.write_char(')') } else { Ok(()) }
}
