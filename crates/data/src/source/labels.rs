//! Labels in memory.

/// A label a sample, as narrow as the number of classes allows.
#[derive(Debug)]
pub(super) enum Labels {
    Bytes(Vec<u8>),
    Shorts(Vec<u16>),
    Words(Vec<u32>),
}

impl Labels {
    pub(super) fn narrow(labels: Vec<u32>, classes: usize) -> Self {
        if classes <= 1 << 8 {
            Self::Bytes(labels.into_iter().map(|label| label as u8).collect())
        } else if classes <= 1 << 16 {
            Self::Shorts(labels.into_iter().map(|label| label as u16).collect())
        } else {
            Self::Words(labels)
        }
    }

    pub(super) fn get(&self, index: usize) -> u32 {
        match self {
            Self::Bytes(labels) => labels[index].into(),
            Self::Shorts(labels) => labels[index].into(),
            Self::Words(labels) => labels[index],
        }
    }

    #[cfg(feature = "parquet")]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(labels) => labels.len(),
            Self::Shorts(labels) => labels.len(),
            Self::Words(labels) => labels.len(),
        }
    }
}
