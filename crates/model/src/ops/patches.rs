//! What the kernels of a convolution see, as the columns of a matrix.

use std::ops::Range;

use super::geometry::Geometry;
use super::simd::wide;

/// Output rows of one image.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) count: usize,
}

/// Which of `count` outputs along a row see a pixel of it with an element of their windows: those that step to one which is not before the first of
/// `width` pixels and not after the last.
pub(super) fn outputs_that_see(
    count: usize,
    width: usize,
    stride: usize,
    padding: usize,
    element: usize,
) -> Range<usize> {
    let first = padding.saturating_sub(element).div_ceil(stride).min(count);
    let last = (width + padding).saturating_sub(element).div_ceil(stride).min(count);
    first..last.max(first)
}

/// Calls `each` for every run of pixels along a row that kernel element (`i`, `j`) sees: where its output row begins among those of `rows`, the
/// outputs of that row that see the image (the others see zeros), and the pixel that the first of them sees, if any does.
fn for_each_row(
    g: &Geometry,
    [i, j]: [usize; 2],
    rows: Rows,
    mut each: impl FnMut(usize, Range<usize>, usize),
) {
    let [out_width, width] = [g.out[1], g.size[1]];
    let along = j * g.dilation[1];
    let seen = outputs_that_see(out_width, width, g.stride[1], g.padding[1], along);
    for row in 0..rows.count {
        let down = (rows.first + row) * g.stride[0] + i * g.dilation[0];
        let begins = row * out_width;
        match down.checked_sub(g.padding[0]).filter(|&y| y < g.size[0]) {
            Some(y) if !seen.is_empty() => {
                let pixel = y * width + seen.start * g.stride[1] + along - g.padding[1];
                each(begins, seen.clone(), pixel);
            }
            _ => each(begins, 0..0, 0),
        }
    }
}

/// Writes what each output pixel of `rows` sees of the `channels` of `image` into `columns`, a matrix with a row for each channel and kernel
/// element, `stride` apart.
pub(super) fn gather(g: &Geometry, channels: &[f32], rows: Rows, columns: &mut [f32], stride: usize) {
    let area = g.size[0] * g.size[1];
    let mut lines = columns.chunks_mut(stride);
    for channel in channels.chunks_exact(area) {
        for i in 0..g.kernel[0] {
            for j in 0..g.kernel[1] {
                let Some(line) = lines.next() else { return };
                for_each_row(g, [i, j], rows, |begins, seen, pixel| {
                    let line = &mut line[begins..begins + g.out[1]];
                    line[..seen.start].fill(0.0);
                    line[seen.end..].fill(0.0);
                    let line = &mut line[seen];
                    if g.stride[1] == 1 {
                        line.copy_from_slice(&channel[pixel..pixel + line.len()]);
                    } else if g.stride[1] == 2 {
                        every_other(&channel[pixel..], line);
                    } else {
                        let pixels = channel[pixel..].iter().step_by(g.stride[1]);
                        line.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from);
                    }
                });
            }
        }
    }
}

/// Every other pixel from the first on.
fn every_other(pixels: &[f32], line: &mut [f32]) {
    wide(
        #[inline(always)]
        || {
            let (pairs, last) = pixels.as_chunks::<2>();
            let (pairs, last) = (pairs.iter().map(|pair| pair[0]), last.iter().copied());
            line.iter_mut().zip(pairs.chain(last)).for_each(|(to, from)| *to = from);
        },
    );
}

/// Adds each element of `columns` to the pixel that it was gathered from.
pub(super) fn scatter(g: &Geometry, channels: &mut [f32], rows: Rows, columns: &[f32], stride: usize) {
    let area = g.size[0] * g.size[1];
    let mut lines = columns.chunks(stride);
    for channel in channels.chunks_exact_mut(area) {
        for i in 0..g.kernel[0] {
            for j in 0..g.kernel[1] {
                let Some(line) = lines.next() else { return };
                for_each_row(g, [i, j], rows, |begins, seen, pixel| {
                    let line = &line[begins..begins + g.out[1]][seen];
                    if g.stride[1] == 1 {
                        let pixels = &mut channel[pixel..pixel + line.len()];
                        pixels.iter_mut().zip(line).for_each(|(to, from)| *to += *from);
                    } else {
                        let pixels = channel[pixel..].iter_mut().step_by(g.stride[1]);
                        pixels.zip(line).for_each(|(to, from)| *to += *from);
                    }
                });
            }
        }
    }
}
