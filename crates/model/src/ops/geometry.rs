//! The shapes of a convolution.

use super::patches::Rows;

/// Elements of the matrix of patches that are made at a time: 1 MiB.
const PATCHES: usize = 1 << 18;

/// A convolution whose every output sees the image with at least its padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of a group, in and out.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Height and width of what goes in.
    pub(super) size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Height and width of what comes out.
    pub(super) out: [usize; 2],
}

impl Geometry {
    /// Elements of an image that goes in.
    pub(super) fn image(&self) -> usize {
        self.groups * self.inputs * self.area()
    }

    /// Elements of an image that comes out.
    pub(super) fn result(&self) -> usize {
        self.groups * self.outputs * self.pixels()
    }

    /// Pixels of a channel that goes in.
    pub(super) fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Pixels of a channel that comes out.
    pub(super) fn pixels(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// Elements of a kernel in a channel.
    pub(super) fn elements(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// What an output pixel sees of a group.
    pub(super) fn patch(&self) -> usize {
        self.inputs * self.elements()
    }

    /// Whether patches are the image's own pixels.
    pub(super) fn is_pointwise(&self) -> bool {
        self.elements() == 1 && self.stride == [1; 2] && self.padding == [0; 2]
    }

    /// Output rows of which the patches, of so many elements, are made at a time, and images of which they are all made at once where those are
    /// small.
    pub(super) fn tiles(&self, patch: usize) -> (usize, usize) {
        let pixels = (PATCHES / patch).clamp(64, 1024);
        let rows = (pixels / self.out[1]).clamp(1, self.out[0]);
        let images = (pixels / self.pixels()).clamp(1, self.batch.div_ceil(4));
        (rows, images)
    }

    /// Its output rows, so many at a time.
    pub(super) fn bands(&self, rows: usize) -> impl Iterator<Item = Rows> + use<> {
        let height = self.out[0];
        (0..height).step_by(rows).map(move |first| Rows { first, count: rows.min(height - first) })
    }

    pub(super) fn all_rows(&self) -> Rows {
        Rows { first: 0, count: self.out[0] }
    }

    /// The geometry that takes gradients of what comes out of this one, at every pixel, to those of what goes in.
    pub(super) fn reversed(&self) -> Option<Self> {
        let mut padding = [0; 2];
        for (n, padding) in padding.iter_mut().enumerate() {
            *padding = (self.dilation[n] * (self.kernel[n] - 1)).checked_sub(self.padding[n])?;
        }
        (self.stride == [1; 2]).then_some(Self {
            inputs: self.outputs,
            outputs: self.inputs,
            size: self.out,
            out: self.size,
            padding,
            ..*self
        })
    }
}
