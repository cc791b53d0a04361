//! What becomes of a convolution's sums while they are in the cache.

use super::Pointwise;
use super::pointwise_loops::in_place;

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
}
