//! Pooling.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::ops::AvgPoolOptions;

use crate::ops::{Window, mean_pixel, pool};
use crate::trace::{self, Event};

/// The highest value of each `kernel`x`kernel` window; what lies outside the image never wins.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, height', width']`, `height' = (height + 2 padding - kernel) / stride + 1`
#[must_use]
pub fn max_pool2d(input: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let window = Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], ceil: false };
    report("MaxPool2d", pool(input, window))
}

/// [`max_pool2d`] without padding, as a layer.
#[derive(Module, Debug)]
pub struct MaxPool2d {
    kernel: usize,
    stride: usize,
    ceil: bool,
}

impl MaxPool2d {
    /// The layer that sees only whole windows.
    #[must_use]
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, ceil: false }
    }

    /// The layer whose last windows may reach over the right and lower edge: sizes are rounded up.
    #[must_use]
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// # Shapes
    ///
    /// - input: `[batch, channels, height, width]`
    /// - output: `[batch, channels, height', width']`, `height' = (height - kernel) / stride + 1`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Self { kernel, stride, ceil } = *self;
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 2], ceil };
        report("MaxPool2d", pool(input, window))
    }
}

/// The mean of each `kernel`x`kernel` window, side by side; windows that reach over the edge have the mean of what is inside.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, height', width']`, `height' = height / kernel`, rounded up
#[must_use]
pub fn avg_pool2d(input: Tensor<4>, kernel: usize) -> Tensor<4> {
    let options = AvgPoolOptions::new([kernel; 2])
        .with_stride([kernel; 2])
        .with_count_include_pad(false)
        .with_ceil_mode(true);
    report("AvgPool2d", burn::tensor::module::avg_pool2d(input, options))
}

/// The mean of each whole `kernel`x`kernel` window, side by side; what is left over at the right and lower edge is not seen.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, height', width']`, `height' = height / kernel`, rounded down
#[must_use]
pub fn avg_pool2d_floor(input: Tensor<4>, kernel: usize) -> Tensor<4> {
    let options = AvgPoolOptions::new([kernel; 2]).with_stride([kernel; 2]);
    report("AvgPool2d", burn::tensor::module::avg_pool2d(input, options))
}

/// The mean of windows that cut the image into `size`x`size` parts.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, size, size]`
#[must_use]
pub fn adaptive_avg_pool2d(input: Tensor<4>, size: usize) -> Tensor<4> {
    let output = match size {
        1 => mean_pixel(input),
        _ => burn::tensor::module::adaptive_avg_pool2d(input, [size; 2]),
    };
    report("AdaptiveAvgPool2d", output)
}

/// [`adaptive_avg_pool2d`] as a layer.
#[derive(Module, Debug)]
pub struct AdaptiveAvgPool2d {
    size: usize,
}

impl AdaptiveAvgPool2d {
    /// The layer that gives `size`x`size` means.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size }
    }

    /// # Shapes
    ///
    /// - input: `[batch, channels, height, width]`
    /// - output: `[batch, channels, size, size]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        adaptive_avg_pool2d(input, self.size)
    }
}

fn report(kind: &'static str, output: Tensor<4>) -> Tensor<4> {
    trace::report(|| Event { kind, param: None, output: output.dims().to_vec(), macs: 0 });
    output
}
