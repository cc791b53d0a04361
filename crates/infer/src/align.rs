//! Data whose classes are the model's, whatever their order.

use std::sync::Arc;

use pyrograph_data::Place;
use pyrograph_data::source::{Source, Stored};

use crate::{Error, Result};

/// `source` with labels that count in `class_names`, the classes of a model.
///
/// Data may lack some of the model's classes.
///
/// # Errors
///
/// When the data has a class that the model does not know.
pub fn align(source: Arc<dyn Source>, class_names: &[String]) -> Result<Arc<dyn Source>> {
    if source.class_names() == class_names {
        return Ok(source);
    }
    let labels = source.class_names().iter().map(|class| {
        let label = class_names.iter().position(|name| name == class);
        label
            .map(|label| label as u32)
            .ok_or_else(|| Error::UnknownClass { class: class.clone(), known: some_of(class_names) })
    });
    let labels = labels.collect::<Result<_>>()?;
    Ok(Arc::new(Aligned { source, labels, class_names: class_names.to_vec() }))
}

/// The first names of a list that may have thousands.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names.len().checked_sub(SHOWN) {
        Some(rest @ 1..) => format!("{} and {rest} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

struct Aligned {
    source: Arc<dyn Source>,
    /// The model's label of each of the data's.
    labels: Vec<u32>,
    class_names: Vec<String>,
}

impl Source for Aligned {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> pyrograph_data::Result<Stored<'a>> {
        self.source.fetch(index, buffer)
    }

    fn fetches_at_once(&self) -> usize {
        self.source.fetches_at_once()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[self.source.label(index) as usize]
    }

    fn place(&self, index: usize) -> Place {
        self.source.place(index)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyrograph_data::Image;
    use pyrograph_data::source::{Memory, Sample};

    fn source(names: [&str; 2]) -> Arc<dyn Source> {
        let sample = |label| Sample { image: Image::new(1, 1, 1, vec![0]), label };
        Arc::new(Memory::new(vec![sample(0), sample(1)], names.map(String::from).to_vec()).unwrap())
    }

    #[test]
    fn labels_follow_the_names() {
        let model = ["cat", "dog", "owl"].map(String::from);
        let aligned = align(source(["owl", "cat"]), &model).unwrap();
        assert_eq!((aligned.label(0), aligned.label(1)), (2, 0));
        assert_eq!(aligned.read(0).unwrap().label, 2);
        assert_eq!(aligned.class_names(), model);
    }

    #[test]
    fn an_unknown_class_is_named() {
        let Err(error) = align(source(["cat", "cow"]), &["cat", "dog"].map(String::from)) else {
            panic!("aligned")
        };
        assert!(error.to_string().contains("`cow`") && error.to_string().contains("cat, dog"), "{error}");
    }
}
