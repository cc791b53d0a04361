//! Channels dealt out by the steps of a kernel, so that all that one of its elements sees lies as the outputs do.
//!
//! With steps of two, the pixels of even rows and even columns are one phase, and there are four; with steps of one the channel itself is the only
//! one. An element sees a phase at one distance from the outputs: of row after row at once, but for what it sees at the end of a row before or
//! after, which is masked.

use std::collections::BTreeMap;

use super::geometry::Geometry;
use super::simd::MOST_LANES;

/// Vectors of outputs that are summed side by side, at most.
pub(super) const MOST_VECTORS: usize = 7;

/// Outputs beyond the last that are computed, at most.
const BEYOND: usize = MOST_VECTORS * MOST_LANES;

/// How the phases of a channel lie.
#[derive(Debug)]
pub(super) struct Phases {
    stride: [usize; 2],
    size: [usize; 2],
    out: [usize; 2],
    /// From a row to the next, of what comes out as well.
    pub(super) row: usize,
    /// Zeros before the first row of a phase, and after its last.
    margin: usize,
    seen: Vec<Seen>,
}

/// What a kernel element sees.
#[derive(Debug)]
struct Seen {
    phase: usize,
    /// Rows and columns from the output to what it sees.
    down: isize,
    along: isize,
}

/// Kernel elements that see the same columns.
#[derive(Debug)]
pub(super) struct Columns {
    /// All bits of those that are not seen at the end of another row, for a row and what is computed at once; without, all of them.
    pub(super) inside: Option<Vec<u32>>,
    /// The elements, and how far from the output's lies what they see.
    pub(super) places: Vec<(usize, usize)>,
}

impl Phases {
    pub(super) fn new(g: &Geometry) -> Self {
        // Where an element sees, before the padding, as steps and what is left over.
        let steps = |n: usize, element: usize| {
            let at = (element * g.dilation[n]) as isize - g.padding[n] as isize;
            let stride = g.stride[n] as isize;
            (at.div_euclid(stride), at.rem_euclid(stride) as usize)
        };
        let elements = (0..g.kernel[0]).flat_map(|i| (0..g.kernel[1]).map(move |j| (i, j)));
        let seen = elements.map(|(i, j)| {
            let ((down, y), (along, x)) = (steps(0, i), steps(1, j));
            Seen { phase: y * g.stride[1] + x, down, along }
        });
        let seen: Vec<Seen> = seen.collect();
        let row = g.out[1].max(g.size[1].div_ceil(g.stride[1]));
        let margin = seen.iter().map(|seen| seen.far(row).unsigned_abs()).max().unwrap_or_default();
        Self { stride: g.stride, size: g.size, out: g.out, row, margin, seen }
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.stride[0] * self.stride[1]
    }

    /// Rows of a phase.
    fn rows(&self) -> usize {
        self.size[0].div_ceil(self.stride[0])
    }

    /// Elements of a phase, with the zeros around it, and of outputs that lie in it.
    pub(super) fn plane(&self) -> usize {
        2 * self.margin + self.rows().max(self.out[0]) * self.row + BEYOND
    }

    /// Pixels of a phase.
    pub(super) fn pixels(&self) -> usize {
        self.rows() * self.row
    }

    /// What each output sees, from its own place in all phases on.
    pub(super) fn forward(&self) -> Vec<Columns> {
        let place = |seen: &Seen| seen.phase * self.plane() + self.place(seen.far(self.row));
        self.columns(self.seen.iter().enumerate().map(|(n, seen)| (n, seen.along, place(seen))))
    }

    /// For each phase, by which outputs a pixel is seen, from its own place among them on.
    pub(super) fn backward(&self) -> Vec<Vec<Columns>> {
        let of_phase = |phase| {
            let seen = self.seen.iter().enumerate().filter(move |(_, seen)| seen.phase == phase);
            self.columns(seen.map(|(n, seen)| (n, -seen.along, self.place(-seen.far(self.row)))))
        };
        (0..self.count()).map(of_phase).collect()
    }

    /// What is so far from the first output's place.
    fn place(&self, far: isize) -> usize {
        self.margin.saturating_add_signed(far)
    }

    /// Groups elements: their numbers, the columns from the output's to what they see, and the places of that.
    fn columns(&self, elements: impl Iterator<Item = (usize, isize, usize)>) -> Vec<Columns> {
        let mut groups = BTreeMap::<isize, Vec<(usize, usize)>>::new();
        for (element, along, place) in elements {
            groups.entry(along).or_default().push((element, place));
        }
        let columns = groups.into_iter().map(|(along, places)| {
            let is_inside = |x: usize| (x % self.row).checked_add_signed(along).is_some_and(|x| x < self.row);
            let bits = |x| if is_inside(x) { u32::MAX } else { 0 };
            Columns { inside: (along != 0).then(|| (0..self.row + BEYOND).map(bits).collect()), places }
        });
        columns.collect()
    }

    /// Writes a channel into phases that are zeros, or hold another.
    #[inline(always)]
    pub(super) fn fill(&self, channel: &[f32], phases: &mut [f32]) {
        let [height, width] = self.size;
        if self.count() == 1 && self.row == width {
            return phases[self.margin..][..height * width].copy_from_slice(channel);
        }
        for (y, pixels) in channel.chunks_exact(width).enumerate() {
            let first = y % self.stride[0] * self.stride[1] * self.plane();
            let place = self.margin + y / self.stride[0] * self.row;
            if self.stride[1] == 2 {
                let (even, odd) = phases[first..].split_at_mut(self.plane());
                let (even, odd) = (&mut even[place..][..self.row], &mut odd[place..][..self.row]);
                let (pairs, last) = pixels.as_chunks::<2>();
                for ((pair, even), odd) in pairs.iter().zip(&mut *even).zip(&mut *odd) {
                    [*even, *odd] = *pair;
                }
                even[pairs.len()..].iter_mut().zip(last).for_each(|(to, from)| *to = *from);
            } else {
                for x in 0..self.stride[1].min(width) {
                    let row = &mut phases[first + x * self.plane() + place..][..self.row];
                    row.iter_mut()
                        .zip(pixels[x..].iter().step_by(self.stride[1]))
                        .for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// Writes the pixels of a phase into the channel.
    #[inline(always)]
    pub(super) fn take(&self, phase: usize, pixels: &[f32], channel: &mut [f32]) {
        let [height, width] = self.size;
        if self.count() == 1 && self.row == width {
            return channel.copy_from_slice(&pixels[..height * width]);
        }
        let (y, x) = (phase / self.stride[1], phase % self.stride[1]);
        let rows = channel.chunks_exact_mut(width).skip(y).step_by(self.stride[0]);
        for (to, from) in rows.zip(pixels.chunks_exact(self.row)) {
            let to = to.get_mut(x..).unwrap_or_default();
            to.iter_mut().step_by(self.stride[1]).zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// Where outputs lie that are as pixels of a phase.
    pub(super) fn outputs<'a>(&self, plane: &'a mut [f32]) -> &'a mut [f32] {
        &mut plane[self.margin..]
    }
}

impl Seen {
    /// How far from the output, in rows of so many pixels.
    fn far(&self, row: usize) -> isize {
        self.down * row as isize + self.along
    }
}
