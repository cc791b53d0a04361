//! Where a loader is: small enough to store with every checkpoint.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::engine::Shared;
use crate::order::Order;
use crate::{Error, ErrorKind, Result};

/// The whole state of a loader, between two batches. It counts batches that were delivered, not those that wait.
///
/// A run that goes on from it sees exactly the batches that it would have seen, for any number of threads, and for any
/// world size that divides the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The pass, counted from 0.
    pub epoch: u64,
    /// Batches of the pass that were delivered.
    pub batch: u64,
    /// A fingerprint of what decides the batches: number of samples and classes, order, seed, repeats, batch size, tail.
    pub sequence: String,
}

impl Position {
    pub(super) fn of(shared: &Shared, epoch: u64, batch: usize) -> Self {
        Self { epoch, batch: batch as u64, sequence: fingerprint(shared) }
    }

    /// The next batch's number, if this is a position of `shared`.
    pub(super) fn check(&self, shared: &Shared) -> Result<usize> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Setting(what)));
        if self.sequence != fingerprint(shared) {
            return refuse(
                "the position was taken with another image set, order, seed or batch size; it cannot be resumed with these"
                    .into(),
            );
        }
        match usize::try_from(self.batch) {
            Ok(batch) if batch <= shared.plan.batches() => Ok(batch),
            _ => refuse(format!("batch {} of a pass of {} batches", self.batch, shared.plan.batches())),
        }
    }
}

fn fingerprint(shared: &Shared) -> String {
    let config = &shared.config;
    let order = match &config.order {
        Order::Weighted(weights) => {
            let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
            format!("weighted {}", hex(&bytes))
        }
        other => format!("{other:?}"),
    };
    let (samples, classes) = (shared.source.len(), shared.source.class_names().len());
    let text = format!(
        "{samples} {classes} {order} {} {} {} {:?}",
        config.seed, config.repeats, config.batch_size, config.tail
    );
    hex(text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
