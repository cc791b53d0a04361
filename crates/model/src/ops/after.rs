//! What becomes of a convolution's sums while they are in the cache.

use super::Pointwise;
use super::pointwise_loops::{in_place, in_row};

/// What is added to each output channel, and the function of the sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct After<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) function: Option<Pointwise>,
}

impl After<'_> {
    /// Nothing.
    pub(super) const NOTHING: Self = Self { bias: None, function: None };

    /// Does it to outputs of the channel with this number.
    pub(super) fn channel(&self, channel: usize, outputs: &mut [f32]) {
        if self.bias.is_some() || self.function.is_some() {
            in_place(outputs, self.bias.map_or(0.0, |bias| bias[channel]), self.function);
        }
    }

    /// Does it to an output of each channel from the one with this number on.
    pub(super) fn row(&self, first: usize, outputs: &mut [f32]) {
        match (self.bias, self.function) {
            (Some(bias), function) => in_row(outputs, &bias[first..], function),
            (None, Some(function)) => in_place(outputs, 0.0, Some(function)),
            (None, None) => {}
        }
    }
}
