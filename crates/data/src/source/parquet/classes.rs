//! The classes of several files become those of a set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// What the labels of a file stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classes {
    /// The file lists the names.
    Declared(Vec<String>),
    /// The labels are names, here in the order in which they come.
    Texts(Vec<String>),
    /// There are only numbers; this is the largest.
    Numbers(u32),
}

impl Classes {
    fn kind(&self) -> &'static str {
        match self {
            Self::Declared(_) => "numbers with names",
            Self::Texts(_) => "text",
            Self::Numbers(_) => "numbers without names",
        }
    }
}

/// The classes of the files so far, and the first of these.
#[derive(Default)]
pub(super) struct Joined {
    first: Option<PathBuf>,
    classes: Option<Classes>,
    /// The numbers of names that are labels.
    numbers: HashMap<String, u32>,
}

impl Joined {
    /// Adds a file, and changes its labels to the numbers that its classes have here.
    pub(super) fn add(&mut self, path: &Path, classes: Classes, labels: &mut [u32]) -> Result<()> {
        let first = self.first.get_or_insert_with(|| path.to_owned());
        let (known, classes) = match (self.classes.take(), classes) {
            (None, Classes::Texts(names)) => (Classes::Texts(Vec::new()), Classes::Texts(names)),
            (None, classes) => (classes.clone(), classes),
            (Some(known), classes) => (known, classes),
        };
        let message = match (&known, &classes) {
            (Classes::Declared(known), Classes::Declared(own)) if known != own => {
                format!("it names other classes, or in another order, than {}", first.display())
            }
            (known, own) if known.kind() != own.kind() => {
                format!("its labels are {}, those of {} are {}", own.kind(), first.display(), known.kind())
            }
            _ => String::new(),
        };
        if !message.is_empty() {
            return Err(Error::at(path, ErrorKind::Classes(message)));
        }
        self.classes = Some(match (known, classes) {
            (Classes::Numbers(a), Classes::Numbers(b)) => Classes::Numbers(a.max(b)),
            (Classes::Texts(mut all), Classes::Texts(own)) => {
                let mut number = |name: String| {
                    *self.numbers.entry(name).or_insert_with_key(|name| {
                        all.push(name.clone());
                        all.len() as u32 - 1
                    })
                };
                let numbers: Vec<u32> = own.into_iter().map(&mut number).collect();
                labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
                Classes::Texts(all)
            }
            (known, _) => known,
        });
        Ok(())
    }

    /// The names of the classes, or those of another set; and for each number, which of them it is.
    pub(super) fn finish(self, class_names: Option<&[String]>) -> (Vec<String>, Names) {
        let own = match self.classes.unwrap_or(Classes::Numbers(0)) {
            Classes::Numbers(largest) => {
                let numbers = (0..=largest).map(|number| number.to_string()).collect();
                let Some(names) = class_names else { return (numbers, Names::Same(largest as usize + 1)) };
                return (names.to_vec(), Names::Same(names.len()));
            }
            Classes::Declared(own) | Classes::Texts(own)
                if class_names.is_none() && self.numbers.is_empty() =>
            {
                let count = own.len();
                return (own, Names::Same(count));
            }
            Classes::Declared(own) | Classes::Texts(own) => own,
        };
        let names = class_names.map_or_else(
            || {
                let mut sorted = own.clone();
                sorted.sort_unstable();
                sorted
            },
            <[String]>::to_vec,
        );
        let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let numbers = own.iter().map(|name| places.get(name.as_str()).copied()).collect();
        let known = names.len();
        (names, Names::Other { own, numbers, known })
    }
}

/// Which class of a set the number of a label is.
pub(super) enum Names {
    /// The same number, of so many.
    Same(usize),
    /// By the name of the class; none where the set has no such class.
    Other { own: Vec<String>, numbers: Vec<Option<u32>>, known: usize },
}

impl Names {
    pub(super) fn class(&self, label: u32) -> Result<u32, ErrorKind> {
        let (class, known) = match self {
            Self::Same(count) if (label as usize) < *count => return Ok(label),
            Self::Same(count) => (label.to_string(), *count),
            Self::Other { own, numbers, known } => match numbers[label as usize] {
                Some(number) => return Ok(number),
                None => (own[label as usize].clone(), *known),
            },
        };
        let message = format!("the class {class:?} is not among the {known} known ones");
        Err(ErrorKind::Classes(message))
    }
}
