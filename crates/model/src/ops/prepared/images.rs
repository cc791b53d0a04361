//! Images with the channels of a pixel side by side.

use std::borrow::Cow;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;

use super::super::channels_last::turned;
use super::super::geometry::Geometry;
use super::super::output::by_parts;
use super::super::simd::wide;
use super::super::transpose::transpose;

type FlexTensor = FloatTensor<Flex>;

/// Inputs of which one pixel is enough for a run of sums; of fewer, all pixels that a row of a kernel sees are taken as one.
const RUN: usize = 16;

/// Whether the pixels that a row of a kernel sees are read as one: they lie side by side, zeros included.
pub(super) fn reads_runs(g: &Geometry) -> bool {
    g.groups == 1 && g.inputs < RUN && g.kernel[1] > 1 && g.dilation[1] == 1
}

/// `[batch, height, width, channels]` in a row, with zeros at both ends of each row of pixels where those are read as runs.
pub(super) fn pixels<'a>(x: &'a FlexTensor, g: &Geometry) -> Option<Cow<'a, [f32]>> {
    let channels = g.groups * g.inputs;
    let [_, width] = g.size;
    if reads_runs(g) {
        let x = x.to_contiguous();
        let planes = x.as_slice::<f32>()?;
        let row = (width + 2 * g.padding[1]) * channels;
        let rows = by_parts(
            g.batch * g.size[0] * row,
            row,
            || (),
            |(), n, room| {
                let (image, y) = (n / g.size[0], n % g.size[0]);
                let out = room.zeros();
                let inside = &mut out[g.padding[1] * channels..][..width * channels];
                let planes = &planes[image * g.image() + y * width..];
                match channels {
                    // A known number of them is put side by side in vectors.
                    3 => interleave::<3>(planes, g.area(), inside),
                    _ => {
                        for channel in 0..channels {
                            let values = planes[channel * g.area()..][..width].iter();
                            let to = inside[channel..].iter_mut().step_by(channels);
                            to.zip(values).for_each(|(to, x)| *to = *x);
                        }
                    }
                }
                out
            },
        );
        return Some(Cow::Owned(rows));
    }
    let lying = turned(x);
    if lying.is_contiguous() {
        let start = lying.layout().start_offset();
        return Some(Cow::Borrowed(&x.storage::<f32>()[start..][..g.batch * g.image()]));
    }
    let x = x.to_contiguous();
    let planes = x.as_slice::<f32>()?;
    let area = g.area();
    Some(Cow::Owned(by_parts(
        g.batch * g.image(),
        g.image(),
        || (),
        |(), n, room| {
            let out = room.zeros();
            transpose([channels, area], (&planes[n * g.image()..], area), (out, channels));
            out
        },
    )))
}

/// Puts the numbers of some planes, so far apart, side by side.
fn interleave<const CHANNELS: usize>(planes: &[f32], apart: usize, pixels: &mut [f32]) {
    let (pixels, _) = pixels.as_chunks_mut::<CHANNELS>();
    let width = pixels.len();
    let rows: [&[f32]; CHANNELS] = std::array::from_fn(|channel| &planes[channel * apart..][..width]);
    wide(
        #[inline(always)]
        || {
            for (n, pixel) in pixels.iter_mut().enumerate() {
                for (to, row) in pixel.iter_mut().zip(rows) {
                    *to = row[n];
                }
            }
        },
    );
}
