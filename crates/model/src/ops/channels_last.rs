//! Tensors whose channels lie side by side: `[batch, channels, height, width]` in the order of `[batch, height, width, channels]`.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;

type FlexTensor = FloatTensor<Flex>;

/// `[batch, height, width, channels]`, in a row, of a tensor that lies so and not as tensors do.
pub(super) fn pixels(x: &FlexTensor) -> Option<FlexTensor> {
    if x.layout().num_dims() != 4 || x.is_contiguous() {
        return None;
    }
    Some(turned(x)).filter(FlexTensor::is_contiguous)
}

/// `[batch, height, width, channels]` of any tensor.
pub(super) fn turned(x: &FlexTensor) -> FlexTensor {
    x.permute(&[0, 2, 3, 1])
}

/// The tensor of which these are the pixels.
pub(super) fn of_pixels(pixels: &FlexTensor) -> FlexTensor {
    pixels.permute(&[0, 3, 1, 2])
}
