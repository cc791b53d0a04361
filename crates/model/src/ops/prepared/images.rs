//! Images with the channels of a pixel side by side.

use std::borrow::Cow;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;

use super::super::channels_last::turned;
use super::super::geometry::Geometry;
use super::super::output::by_parts;
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
                for channel in 0..channels {
                    let plane = &planes[image * g.image() + channel * g.area()..];
                    let values = plane[y * width..][..width].iter();
                    inside[channel..].iter_mut().step_by(channels).zip(values).for_each(|(to, x)| *to = *x);
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
