//! From what storage holds of a sample to its place in a batch.

use std::time::Instant;

use super::engine::Shared;
use crate::decode::decode_view;
use crate::order::Draw;
use crate::transform::{Draws, Scene};
use crate::{Error, Result, Source, Stored};

/// What a fetcher brought.
pub(super) struct Fetched {
    pub bytes: Vec<u8>,
    /// Width, height and channels of pixels; nothing for a file.
    shape: Option<(u32, u32, u8)>,
}

impl Fetched {
    /// Sample `index`, in `bytes`.
    pub(super) fn of(source: &dyn Source, index: usize, mut bytes: Vec<u8>) -> Result<Self> {
        let mut buffer = Vec::new();
        let stored = source.fetch(index, &mut buffer)?;
        let (held, shape) = match stored {
            Stored::File(held) => (held, None),
            Stored::Pixels { width, height, channels, bytes: held } => {
                (held, Some((width, height, channels)))
            }
        };
        bytes.clear();
        bytes.extend_from_slice(held);
        Ok(Self { bytes, shape })
    }

    pub(super) fn stored(&self) -> Stored<'_> {
        match self.shape {
            None => Stored::File(&self.bytes),
            Some((width, height, channels)) => Stored::Pixels { width, height, channels, bytes: &self.bytes },
        }
    }
}

/// What a worker keeps from one sample to the next.
#[derive(Default)]
pub(super) struct Worker {
    file: Vec<u8>,
}

impl Worker {
    pub(super) fn fetch_and_prepare(
        &mut self,
        shared: &Shared,
        draw: Draw,
        epoch: u64,
        room: &mut [u8],
    ) -> Result<()> {
        let mut file = std::mem::take(&mut self.file);
        let started = Instant::now();
        let stored = shared.source.fetch(draw.index as usize, &mut file);
        shared.stats.fetching.add_time(started.elapsed());
        let prepared = stored.and_then(|stored| self.prepare(shared, draw, epoch, stored, room));
        self.file = file;
        prepared
    }

    pub(super) fn prepare(
        &mut self,
        shared: &Shared,
        draw: Draw,
        epoch: u64,
        stored: Stored<'_>,
        room: &mut [u8],
    ) -> Result<()> {
        let started = Instant::now();
        let config = &shared.config;
        let steps = config.augment.as_ref().unwrap_or(&config.preprocess.steps);
        let draws = Draws { seed: config.seed, epoch, index: appearance(draw) };
        let choose = |width, height| steps.view(width, height, &draws);
        let decoded = decode_view(&stored, &config.limits, config.exact, choose);
        let (image, covered) =
            decoded.map_err(|kind| Error::in_place(shared.source.place(draw.index as usize), kind))?;
        let mut scene = Scene::from(image);
        steps.apply_from(covered.unwrap_or(0), &mut scene, &draws);
        room.copy_from_slice(config.preprocess.finish(scene.image).pixels());
        let (Stored::File(bytes) | Stored::Pixels { bytes, .. }) = stored;
        shared.stats.bytes.add(bytes.len() as u64);
        shared.stats.decoding.add_time(started.elapsed());
        Ok(())
    }
}

/// What the random changes of a draw are keyed by: the sample, and which of its appearances in the epoch it is.
fn appearance(draw: Draw) -> u64 {
    // The first appearance is the sample itself; others are far from every sample.
    draw.index ^ draw.copy.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
