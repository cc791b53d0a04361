//! Samples that are already in memory.

use super::{Sample, Source, Stored};
use crate::{Error, ErrorKind, Place, Result};

/// Samples held in memory: the simplest source, for small sets and tests.
#[derive(Debug, Clone)]
pub struct Memory {
    samples: Vec<Sample>,
    class_names: Vec<String>,
}

impl Memory {
    /// Wraps `samples`, whose labels index `class_names`.
    ///
    /// # Errors
    ///
    /// When a label has no class name.
    pub fn new(samples: Vec<Sample>, class_names: Vec<String>) -> Result<Self> {
        let classes = class_names.len();
        match samples.iter().position(|s| s.label as usize >= classes) {
            None => Ok(Self { samples, class_names }),
            Some(index) => Err(Error::new(ErrorKind::Corrupt(format!(
                "sample {index} has label {}, but there are {classes} classes; labels count from 0",
                samples[index].label
            )))),
        }
    }
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn fetch<'a>(&'a self, index: usize, _: &'a mut Vec<u8>) -> Result<Stored<'a>> {
        Ok(self.samples[index].image.stored())
    }

    fn label(&self, index: usize) -> u32 {
        self.samples[index].label
    }

    fn place(&self, index: usize) -> Place {
        Place::record("memory", index as u64)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::testing::conforms;

    fn sample(value: u8, label: u32) -> Sample {
        Sample { image: Image::new(1, 1, 1, vec![value]), label }
    }

    #[test]
    fn memory_conforms() {
        let samples = (0..7).map(|i| sample(i, u32::from(i) % 2)).collect();
        let memory = Memory::new(samples, vec!["a".into(), "b".into()]).unwrap();
        conforms(&memory);
        assert_eq!(crate::class_counts(&memory), [4, 3]);
    }

    #[test]
    fn a_label_without_a_class_is_refused() {
        let error = Memory::new(vec![sample(0, 0), sample(0, 2)], vec!["a".into(), "b".into()]).unwrap_err();
        assert!(error.to_string().contains("sample 1 has label 2"), "{error}");
    }
}
