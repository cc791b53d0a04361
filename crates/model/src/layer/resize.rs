//! Maps of another size.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};

/// The map at `height`x`width` places, each a mean of the four pixels around it by nearness: PyTorch's `bilinear` with
/// `align_corners=False`.
///
/// Two products with small matrices, since Burn's own bilinear interpolation has no gradient on some backends.
///
/// # Shapes
///
/// - input: `[batch, channels, any height, any width]`
/// - output: `[batch, channels, height, width]`
#[must_use]
pub fn resize_bilinear(input: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, rows, columns] = input.dims();
    if [rows, columns] == [height, width] {
        return input;
    }
    let (device, dtype) = (input.device(), input.dtype());
    let across = shares(columns, width, &device).cast(dtype);
    let down = shares(rows, height, &device).cast(dtype);
    down.transpose().matmul(input.matmul(across))
}

/// The map at `height`x`width` places, each the pixel it lies in: PyTorch's `nearest`.
///
/// # Shapes
///
/// - input: `[batch, channels, any height, any width]`
/// - output: `[batch, channels, height, width]`
#[must_use]
pub fn resize_nearest(input: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    interpolate(input, InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size))
}

/// How much of each of `from` pixels in a row is in each of `to`: `[1, 1, from, to]`.
fn shares(from: usize, to: usize, device: &Device) -> Tensor<4> {
    let mut shares = vec![0f32; from * to];
    for n in 0..to {
        // Pixels are as wide as they are far apart: the middle of the first lies half a pixel from the edge.
        let place = ((n as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let low = (place as usize).min(from - 1);
        let high = (low + 1).min(from - 1);
        let share = (place - low as f64) as f32;
        shares[low * to + n] += 1.0 - share;
        shares[high * to + n] += share;
    }
    Tensor::from_data(TensorData::new(shares, [1, 1, from, to]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `f` makes of a map with these rows, all of one length.
    fn resized(rows: &[&[f32]], f: impl Fn(Tensor<4>) -> Tensor<4>) -> Vec<f32> {
        let data = TensorData::new(rows.concat(), [1, 1, rows.len(), rows[0].len()]);
        f(Tensor::from_data(data, &Device::flex())).into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn bilinear_is_pytorchs() {
        // torch.nn.functional.interpolate(torch.tensor([[[[0., 4.], [8., 16.]]]]), (4, 3), mode="bilinear")
        let larger = resized(&[&[0.0, 4.0], &[8.0, 16.0]], |x| resize_bilinear(x, [4, 3]));
        assert_eq!(larger, [0.0, 2.0, 4.0, 2.0, 4.5, 7.0, 6.0, 9.5, 13.0, 8.0, 12.0, 16.0]);
        // torch.nn.functional.interpolate(torch.tensor([[[[0., 1., 2., 3., 10.]]]]), (1, 2), mode="bilinear")
        assert_eq!(resized(&[&[0.0, 1.0, 2.0, 3.0, 10.0]], |x| resize_bilinear(x, [1, 2])), [0.75, 4.75]);
        assert_eq!(resized(&[&[3.0]], |x| resize_bilinear(x, [2, 2])), [3.0; 4]);
    }

    #[test]
    fn nearest_is_pytorchs() {
        // torch.nn.functional.interpolate(torch.tensor([[[[1., 2., 3.]]]]), (1, 5), mode="nearest")
        assert_eq!(resized(&[&[1.0, 2.0, 3.0]], |x| resize_nearest(x, [1, 5])), [1.0, 1.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn bilinear_has_a_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::ones([2, 3, 2, 2], &device).require_grad();
        let gradients = resize_bilinear(x.clone(), [7, 5]).sum().backward();
        // A constant map stays constant: each of the four pixels is in a quarter of the 35 places.
        let gradient = x.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert!(gradient.iter().all(|value| (value - 35.0 / 4.0).abs() < 1e-5), "{gradient:?}");
    }
}
