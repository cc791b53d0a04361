//! Batches of prepared pictures, and how many threads fill one.

use bytes::BytesMut;

use crate::{Error, Place};

/// Prepared pictures on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub(super) pixels: BytesMut,
    /// `[batch]`, indices of classes.
    pub labels: Vec<u32>,
    /// `[batch]`, indices of samples in the source.
    pub indices: Vec<usize>,
    /// `[batch]`: false for a sample that only fills the batch ([`Tail::Pad`](super::Tail::Pad)), or that stands in for a bad one where samples come
    /// as the source numbers them.
    pub counts: Vec<bool>,
}

impl Batch {
    /// `[batch, height, width, channels]`, values 0 to 255.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// A sample that could not be read, for which another stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSample {
    /// Its index in the source.
    pub index: usize,
    /// Where it lies.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
}

/// What a worker made of one sample.
pub(super) struct Prepared {
    pub label: u32,
    pub index: usize,
    pub counts: bool,
    /// The sample that stands here by right, where this one stands in for it.
    pub bad: Option<BadSample>,
}

/// A batch that is still filled, or that waits for the consumer.
///
/// Its memory is one piece, cut into one handle a sample, so that threads write at the same time without copying, and joined
/// again at the end.
pub(super) struct OpenBatch {
    /// The room of each sample that no worker has taken.
    free: Vec<Option<BytesMut>>,
    filled: Vec<BytesMut>,
    prepared: Vec<Option<Prepared>>,
    missing: usize,
    /// The failure at the lowest place.
    failure: Option<(usize, Error)>,
}

impl OpenBatch {
    /// Room for `count` samples of `size` bytes, in `memory` where it is large enough.
    pub(super) fn new(count: usize, size: usize, mut memory: BytesMut) -> Self {
        memory.resize(count * size, 0);
        let free = (0..count).map(|_| Some(memory.split_to(size))).collect();
        Self {
            free,
            filled: vec![BytesMut::new(); count],
            prepared: (0..count).map(|_| None).collect(),
            missing: count,
            failure: None,
        }
    }

    /// The room of the sample at `place`.
    pub(super) fn take(&mut self, place: usize) -> BytesMut {
        self.free[place].take().unwrap_or_default()
    }

    /// The sample at `place` is there, or never will be.
    pub(super) fn put(&mut self, place: usize, room: BytesMut, prepared: Result<Prepared, Error>) {
        self.filled[place] = room;
        match prepared {
            Ok(prepared) => self.prepared[place] = Some(prepared),
            Err(error) if self.failure.as_ref().is_none_or(|(earlier, _)| place < *earlier) => {
                self.failure = Some((place, error));
            }
            Err(_) => {}
        }
        self.missing -= 1;
    }

    pub(super) fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// The whole batch, and the bad samples in it.
    pub(super) fn finish(self) -> Result<(Batch, Vec<BadSample>), Error> {
        if let Some((_, error)) = self.failure {
            return Err(error);
        }
        let mut pieces = self.filled.into_iter();
        let mut pixels = pieces.next().unwrap_or_default();
        // Neighbours of one piece of memory: joining them moves nothing.
        pieces.for_each(|piece| pixels.unsplit(piece));
        let count = self.prepared.len();
        let mut batch = Batch {
            pixels,
            labels: Vec::with_capacity(count),
            indices: Vec::with_capacity(count),
            counts: Vec::with_capacity(count),
        };
        let mut bad = Vec::new();
        for prepared in self.prepared.into_iter().flatten() {
            batch.labels.push(prepared.label);
            batch.indices.push(prepared.index);
            batch.counts.push(prepared.counts);
            bad.extend(prepared.bad);
        }
        Ok((batch, bad))
    }
}
