//! Channels with the zeros around them, so that what a kernel element sees of a row lies side by side.

use super::geometry::Geometry;

/// How the channels of an image lie, all that its outputs see of them and no more.
///
/// Of a row, first come the columns that the first kernel element may see, `apart` columns apart; then those one column further; and so on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes {
    /// Rows of a plane, and its columns that are so many apart.
    rows: usize,
    columns: usize,
    apart: usize,
    padding: [usize; 2],
    size: [usize; 2],
}

impl Planes {
    /// Those of what goes in, with the columns that neighbouring outputs see side by side.
    pub(super) fn by_outputs(g: &Geometry) -> Self {
        Self::new(g, g.stride[1])
    }

    /// Those of what goes in, each row as it is.
    pub(super) fn as_they_are(g: &Geometry) -> Self {
        Self::new(g, 1)
    }

    fn new(g: &Geometry, apart: usize) -> Self {
        let seen = |n: usize| (g.out[n] - 1) * g.stride[n] + (g.kernel[n] - 1) * g.dilation[n] + 1;
        Self { rows: seen(0), columns: seen(1).div_ceil(apart), apart, padding: g.padding, size: g.size }
    }

    /// Elements of a row.
    pub(super) fn row(&self) -> usize {
        self.apart * self.columns
    }

    /// Elements of a channel.
    pub(super) fn plane(&self) -> usize {
        self.rows * self.row()
    }

    /// Where pixel (`y`, `x`) of the padded channel lies.
    pub(super) fn place(&self, y: usize, x: usize) -> usize {
        y * self.row() + x % self.apart * self.columns + x / self.apart
    }

    /// Where each kernel element sees the first output's pixel: input channels, rows, columns.
    pub(super) fn elements(&self, g: &Geometry) -> Vec<usize> {
        let mut places = Vec::with_capacity(g.patch());
        for input in 0..g.inputs {
            for i in 0..g.kernel[0] {
                for j in 0..g.kernel[1] {
                    places.push(input * self.plane() + self.place(i * g.dilation[0], j * g.dilation[1]));
                }
            }
        }
        places
    }

    /// Writes `channel` inside of the zeros that are around it already.
    #[inline(always)]
    pub(super) fn fill(&self, channel: &[f32], plane: &mut [f32]) {
        let [height, width] = self.size;
        let inside = self.padding[0]..(self.padding[0] + height).min(self.rows);
        for y in inside {
            let pixels = &channel[(y - self.padding[0]) * width..][..width];
            let row = &mut plane[y * self.row()..][..self.row()];
            for (offset, part) in row.chunks_exact_mut(self.columns).enumerate() {
                let (skipped, first) = self.first_inside(offset);
                let part = part.get_mut(skipped..).unwrap_or_default();
                let pixels = pixels.get(first..).unwrap_or_default();
                match self.apart {
                    1 => part.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from),
                    2 => part.iter_mut().zip(pixels.chunks(2)).for_each(|(to, from)| *to = from[0]),
                    apart => part.iter_mut().zip(pixels.chunks(apart)).for_each(|(to, from)| *to = from[0]),
                }
            }
        }
    }

    /// The columns that begin at `offset` which are left of the image, and the pixel that the next of them lies on.
    fn first_inside(&self, offset: usize) -> (usize, usize) {
        let skipped = self.padding[1].saturating_sub(offset).div_ceil(self.apart);
        (skipped, (offset + skipped * self.apart).saturating_sub(self.padding[1]))
    }
}
