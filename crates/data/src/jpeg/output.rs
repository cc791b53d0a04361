//! Rows of the decoded planes to rows of pixels.

use std::ops::Range;

use super::header::Header;
use super::scan::Plane;
use super::{Window, color, upsample};

/// Room for rows on their way to pixels.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    /// Chroma at the size of the luma.
    full: [Vec<u8>; 2],
    sums: Vec<u16>,
    colors: [Vec<u8>; 3],
}

/// Where the pixels of a window come from.
pub(super) struct Output<'a> {
    header: &'a Header,
    /// Columns of the reduced picture, of those that the window shows and of those that the planes hold.
    shown: Range<usize>,
    held: usize,
    /// Whether chroma has half the columns, half the rows.
    halved: (bool, bool),
    lines: &'a mut Lines,
}

impl<'a> Output<'a> {
    /// `held` is the first column that the planes hold.
    pub(super) fn new(
        header: &'a Header,
        window: &Window,
        held: usize,
        halved: (bool, bool),
        lines: &'a mut Lines,
    ) -> Self {
        let shown = window.left as usize..(window.left + window.width) as usize;
        Self { header, shown, held, halved, lines }
    }

    /// Writes row `y` of the reduced picture, as far as the window shows it.
    #[inline(always)]
    pub(super) fn row(&mut self, [first, second, third]: &[Plane; 3], y: usize, out: &mut [u8]) {
        let first = &first.row(y)[self.shown.start - self.held..][..self.shown.len()];
        if self.header.channels == 1 {
            return out.copy_from_slice(first);
        }
        let Lines { full: [second_line, third_line], sums, colors } = &mut *self.lines;
        let chroma = Chroma { header: self.header, shown: &self.shown, held: self.held, halved: self.halved };
        let second = chroma.row(second, y, second_line, sums);
        let third = chroma.row(third, y, third_line, sums);
        if self.header.is_rgb {
            color::interleave(first, second, third, out);
        } else {
            for line in &mut *colors {
                line.resize(first.len(), 0);
            }
            let [red, green, blue] = colors;
            color::to_rgb(first, second, third, [red, green, blue]);
            color::interleave(red, green, blue, out);
        }
    }
}

/// How rows of a chroma plane become rows of pixels.
struct Chroma<'a> {
    header: &'a Header,
    shown: &'a Range<usize>,
    held: usize,
    halved: (bool, bool),
}

impl Chroma<'_> {
    /// The samples of row `y` for the pixels that are shown, straight from the plane or in `line`.
    #[inline(always)]
    fn row<'a>(&self, plane: &'a Plane, y: usize, line: &'a mut Vec<u8>, sums: &mut Vec<u16>) -> &'a [u8] {
        let shown = self.shown;
        // Above the middle of a sample the row before it is the next nearest, below it the one behind.
        let (near, far) = if self.halved.1 {
            let last = self.header.height.div_ceil(2) as usize - 1;
            let far = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(last) };
            (plane.row(y / 2), plane.row(far))
        } else {
            (plane.row(y), plane.row(y))
        };
        if !self.halved.0 {
            let place = shown.start - self.held;
            let (near, far) = (&near[place..][..shown.len()], &far[place..][..shown.len()]);
            if !self.halved.1 {
                return near;
            }
            line.resize(shown.len(), 0);
            upsample::between((near, far), y % 2 == 1, line);
            return line;
        }
        let all = self.header.width.div_ceil(2) as usize;
        let columns = shown.start / 2..(shown.end - 1) / 2 + 1;
        line.resize(2 * columns.len(), 0);
        let beside = (columns.start > 0, columns.end < all);
        let place = columns.start - usize::from(beside.0) - self.held / 2;
        let (near, far) = (&near[place..], &far[place..]);
        if all <= 2 {
            upsample::repeat(&near[usize::from(beside.0)..], line);
        } else if self.halved.1 {
            upsample::double_between((near, far), beside, sums, line);
        } else {
            upsample::double_across(near, beside, sums, line);
        }
        &line[shown.start - 2 * columns.start..][..shown.len()]
    }
}
