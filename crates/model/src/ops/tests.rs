//! Our operations against Burn's own in 64 bits.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use burn::tensor::activation::{relu, silu};
use burn::tensor::module::{batch_norm_train, conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{
    Pointwise, Window, add, affine, affine_with_function, attend, convolve, convolve_with_function,
    mean_pixel, normalize, normalize_places, pointwise, pool, scale,
};
use crate::layer::attend_with;

/// A case: images, channels in, channels out, kernel, size, and options.
struct Case {
    x: [usize; 4],
    weight: [usize; 4],
    options: ConvOptions<2>,
}

fn case(x: [usize; 4], weight: [usize; 4], steps: [[usize; 2]; 3], groups: usize) -> Case {
    let [stride, padding, dilation] = steps;
    Case { x, weight, options: ConvOptions::new(stride, padding, dilation, groups) }
}

/// Numbers between -1 and 1 that nothing repeats.
fn values(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|n| ((n * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0).collect()
}

/// What comes out, and the gradients of input, weight and bias, by a convolution on tensors of `dtype`.
fn all(
    case: &Case,
    dtype: DType,
    convolve: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>,
) -> [Vec<f64>; 4] {
    let (x, weight) = (leaf(case.x, 1, dtype), leaf(case.weight, 2, dtype));
    let bias = leaf([case.weight[0]], 3, dtype);
    let out = convolve(x.clone(), weight.clone(), Some(bias.clone()), case.options.clone());
    let gradients = (out.clone() * leaf(out.dims(), 4, dtype)).sum().backward();
    [
        list(out.into_data()),
        list(x.grad(&gradients).unwrap().into_data()),
        list(weight.grad(&gradients).unwrap().into_data()),
        list(bias.grad(&gradients).unwrap().into_data()),
    ]
}

#[test]
fn convolutions_and_their_gradients_are_those_of_burn_in_64_bits() {
    let one = [1, 1];
    let cases = [
        ("3x3", case([2, 3, 9, 7], [5, 3, 3, 3], [one, one, one], 1)),
        ("one channel", case([3, 1, 28, 28], [32, 1, 3, 3], [one, one, one], 1)),
        ("many rows", case([1, 16, 70, 33], [8, 16, 3, 3], [one, one, one], 1)),
        ("small images together", case([9, 40, 4, 4], [24, 40, 3, 3], [one, one, one], 1)),
        ("few pixels", case([2, 342, 3, 4], [342, 342, 3, 3], [one, one, one], 1)),
        ("few pixels in steps", case([1, 342, 5, 4], [342, 342, 3, 3], [[2, 2], one, one], 1)),
        ("pointwise", case([2, 6, 5, 8], [7, 6, 1, 1], [one, [0, 0], one], 1)),
        ("pointwise with zeros", case([2, 6, 5, 8], [7, 6, 1, 1], [one, one, one], 1)),
        ("pointwise with steps", case([4, 6, 8, 8], [7, 6, 1, 1], [[2, 2], [0, 0], one], 1)),
        ("pointwise, large", case([3, 20, 30, 31], [150, 20, 1, 1], [one, [0, 0], one], 1)),
        ("pointwise, one image", case([1, 50, 8, 9], [97, 50, 1, 1], [one, [0, 0], one], 1)),
        ("pointwise on one pixel", case([5, 50, 1, 1], [97, 50, 1, 1], [one, [0, 0], one], 1)),
        ("pointwise in groups", case([5, 12, 8, 9], [20, 6, 1, 1], [one, [0, 0], one], 2)),
        ("steps", case([5, 4, 11, 10], [6, 4, 3, 3], [[2, 2], one, one], 1)),
        ("steps that leave pixels out", case([5, 4, 12, 13], [6, 4, 3, 2], [[3, 4], [0, 1], one], 1)),
        ("patches", case([2, 3, 16, 16], [8, 3, 4, 4], [[4, 4], [0, 0], one], 1)),
        ("dilation", case([2, 4, 12, 9], [3, 4, 3, 3], [one, [2, 2], [2, 2]], 1)),
        ("dilation and steps", case([2, 4, 12, 9], [3, 4, 3, 3], [[2, 1], [3, 1], [3, 1]], 1)),
        ("groups", case([3, 8, 6, 6], [12, 2, 3, 3], [one, one, one], 4)),
        ("groups and steps", case([3, 8, 6, 6], [12, 2, 3, 3], [[2, 2], one, one], 4)),
        ("wide zeros", case([2, 2, 4, 4], [3, 2, 3, 3], [one, [4, 5], one], 1)),
        ("kernel as large as the image", case([2, 3, 5, 5], [4, 3, 5, 5], [one, [0, 0], one], 1)),
        ("one row", case([2, 3, 1, 40], [4, 3, 1, 5], [one, [0, 2], one], 1)),
        ("one pixel", case([6, 5, 1, 1], [4, 5, 3, 3], [one, one, one], 1)),
        ("many channels", case([2, 70, 6, 5], [66, 70, 3, 3], [one, one, one], 1)),
        // Large enough to be summed in registers, with rows of every length and blocks of channels that are not full.
        ("rows of one", case([80, 24, 4, 1], [9, 24, 3, 1], [one, [1, 0], one], 1)),
        ("rows of two", case([40, 16, 5, 2], [16, 16, 3, 3], [one, one, one], 1)),
        ("rows of three", case([30, 13, 4, 3], [17, 13, 3, 2], [one, [1, 1], one], 1)),
        ("rows of five", case([17, 10, 5, 5], [33, 10, 3, 3], [one, one, one], 1)),
        ("rows of six", case([9, 10, 6, 6], [70, 10, 3, 3], [one, one, one], 1)),
        ("rows of seven", case([9, 40, 7, 7], [40, 40, 3, 3], [one, one, one], 1)),
        ("rows of ten", case([3, 16, 11, 10], [8, 16, 3, 3], [one, one, one], 1)),
        ("rows of thirteen", case([4, 7, 9, 13], [24, 7, 5, 5], [one, [2, 2], one], 1)),
        ("long rows", case([1, 5, 40, 67], [10, 5, 7, 7], [one, [3, 3], one], 1)),
        ("long rows with steps", case([1, 3, 61, 70], [16, 3, 7, 7], [[2, 2], [3, 3], one], 1)),
        ("many channels with steps", case([7, 40, 15, 14], [36, 40, 3, 3], [[2, 3], one, one], 1)),
        ("one image, many channels", case([1, 40, 30, 29], [90, 40, 3, 3], [one, one, one], 1)),
        ("two images, some channels", case([2, 20, 21, 20], [40, 20, 3, 3], [[2, 1], one, one], 1)),
        ("steps over most", case([9, 16, 25, 26], [8, 16, 2, 3], [[4, 5], [0, 2], one], 1)),
        ("a kernel of one row", case([2, 16, 12, 19], [32, 16, 1, 7], [one, [0, 3], one], 1)),
        ("a kernel of one column", case([2, 16, 12, 19], [32, 16, 7, 1], [one, [3, 0], one], 1)),
        // Large enough for tiles, which reach over the edge or not.
        ("tiles", case([9, 32, 8, 8], [48, 32, 3, 3], [one, one, one], 1)),
        ("tiles over the edge", case([5, 48, 13, 10], [32, 48, 3, 3], [one, [0, 2], one], 1)),
        ("tiles with wide zeros", case([4, 32, 9, 7], [32, 32, 3, 3], [one, [9, 12], one], 1)),
        ("one tile of many images", case([70, 64, 4, 4], [32, 64, 3, 3], [one, one, one], 1)),
        ("many tiles of one image", case([1, 32, 61, 70], [64, 32, 3, 3], [one, one, one], 1)),
        ("rows apart", case([2, 16, 12, 19], [12, 16, 3, 3], [one, [2, 1], [2, 1]], 1)),
        ("no zeros", case([3, 8, 19, 17], [20, 8, 3, 3], [one, [0, 0], one], 1)),
        ("large groups", case([5, 24, 9, 9], [30, 8, 3, 3], [one, one, one], 3)),
        ("large groups with steps", case([9, 24, 12, 11], [24, 8, 3, 3], [[2, 2], one, one], 3)),
        ("depthwise", case([2, 6, 9, 9], [6, 1, 3, 3], [one, one, one], 6)),
        ("depthwise, several outputs", case([2, 6, 9, 9], [12, 1, 3, 3], [one, one, one], 6)),
        ("depthwise, long rows", case([3, 5, 9, 70], [5, 1, 5, 5], [one, [2, 2], one], 5)),
        ("depthwise with steps", case([3, 20, 14, 15], [20, 1, 5, 5], [[2, 2], [2, 2], one], 20)),
        ("depthwise with wide steps", case([2, 9, 23, 31], [9, 1, 3, 3], [[3, 4], [1, 0], one], 9)),
        ("depthwise, apart", case([2, 9, 13, 18], [9, 1, 3, 3], [one, [2, 3], [2, 3]], 9)),
        ("depthwise, wide zeros", case([2, 4, 3, 3], [4, 1, 2, 2], [one, [4, 5], one], 4)),
        ("depthwise, no zeros", case([2, 5, 9, 20], [5, 1, 3, 3], [one, [0, 0], one], 5)),
        ("depthwise, many rows at once", case([2, 3, 28, 28], [3, 1, 5, 5], [one, [2, 2], one], 3)),
        ("depthwise with steps, odd sizes", case([2, 4, 15, 17], [4, 1, 3, 3], [[2, 2], one, one], 4)),
        ("depthwise, seven by seven", case([2, 5, 15, 33], [5, 1, 7, 7], [one, [3, 3], one], 5)),
        ("depthwise, wider zeros", case([2, 5, 6, 50], [5, 1, 3, 3], [one, [2, 2], one], 5)),
        ("depthwise, tall", case([1, 3, 150, 117], [3, 1, 3, 3], [one, one, one], 3)),
        ("depthwise, tall with steps", case([1, 3, 201, 166], [3, 1, 5, 5], [[2, 2], [2, 2], one], 3)),
        ("depthwise with steps, no zeros", case([2, 7, 9, 18], [7, 1, 3, 3], [[2, 2], [0, 0], one], 7)),
        ("depthwise with steps, wider zeros", case([2, 7, 8, 35], [7, 1, 5, 5], [[2, 2], [3, 4], one], 7)),
        ("depthwise on one pixel with steps", case([3, 4, 1, 1], [4, 1, 5, 5], [[2, 2], [2, 2], one], 4)),
        ("depthwise on one pixel", case([2, 40, 1, 1], [40, 1, 3, 3], [one, one, one], 40)),
    ];
    for (name, case) in &cases {
        let ours = all(case, DType::F32, convolve);
        let burn = all(case, DType::F64, conv2d);
        for (what, (ours, burn)) in ["output", "input", "weight", "bias"].iter().zip(ours.iter().zip(&burn)) {
            // Tiles are sums of numbers that are some times larger than what they come to.
            let tolerance = if name.contains("tile") { 3e-5 } else { 5e-6 };
            assert_close(&format!("{name}: {what}"), ours, burn, tolerance);
        }
    }
}

#[test]
fn views_are_convolved_like_copies() {
    let device = Device::flex();
    let x = Tensor::<1>::from_data(TensorData::new(values(2 * 6 * 5 * 4, 1), [240]), &device);
    let weight = Tensor::<1>::from_data(TensorData::new(values(3 * 3 * 6 * 2, 2), [108]), &device);
    let view = x.reshape([2, 5, 4, 6]).permute([0, 3, 1, 2]).slice([0..2, 1..3, 0..5, 0..4]);
    let kernels = weight.reshape([3, 3, 6, 2]).permute([2, 3, 0, 1]);
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let copy = |tensor: &Tensor<4>| Tensor::<4>::from_data(tensor.to_data(), &device);
    let of_copies = convolve(copy(&view), copy(&kernels), None, options.clone());
    let of_views = convolve(view, kernels, None, options);
    of_views.into_data().assert_eq(&of_copies.into_data(), true);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let one = [1, 1];
    let cases = [
        case([7, 20, 13, 12], [24, 20, 3, 3], [one, one, one], 1),
        case([1, 20, 23, 22], [100, 20, 3, 3], [one, one, one], 1),
        case([7, 20, 13, 12], [24, 20, 3, 3], [[2, 2], one, one], 1),
        case([9, 48, 13, 12], [32, 48, 3, 3], [one, one, one], 1),
        case([1, 32, 61, 30], [96, 32, 3, 3], [one, one, one], 1),
        case([7, 20, 13, 12], [24, 20, 1, 1], [one, [0, 0], one], 1),
        case([1, 20, 13, 12], [120, 20, 1, 1], [one, [0, 0], one], 1),
        case([7, 20, 13, 12], [20, 1, 3, 3], [one, one, one], 20),
    ];
    for case in &cases {
        let by = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all(case, DType::F32, convolve))
        };
        let alone = by(1);
        assert_eq!(alone, by(2));
        assert_eq!(alone, by(5));
    }
}

#[test]
#[should_panic(expected = "channels")]
fn channels_that_do_not_fit_are_refused_as_by_burn() {
    let device = Device::flex();
    let (x, weight) = (Tensor::zeros([1, 3, 4, 4], &device), Tensor::zeros([2, 4, 3, 3], &device));
    convolve(x, weight, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
}

/// A leaf of `dtype` on a device that keeps gradients, and its values as they are in 32 bits.
fn leaf<const D: usize>(shape: [usize; D], seed: usize, dtype: DType) -> Tensor<D> {
    let data = TensorData::new(values(shape.iter().product(), seed), shape).convert_dtype(DType::F32);
    Tensor::from_data(data.convert_dtype(dtype), (&Device::flex().autodiff(), dtype)).require_grad()
}

fn list(data: TensorData) -> Vec<f64> {
    data.convert::<f64>().try_to_vec::<f64>().unwrap()
}

fn assert_close(what: &str, ours: &[f64], exact: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    let scale = exact.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    for (ours, exact) in ours.iter().zip(exact) {
        assert!((ours - exact).abs() <= tolerance * scale, "{what}: {ours}, exactly {exact}");
    }
}

#[test]
fn normalization_and_its_gradients_are_those_of_burn_in_64_bits() {
    for shape in [[4, 3, 9, 7], [2, 5, 1, 1], [1, 2, 16, 16], [7, 1, 12, 11], [3, 70, 2, 5]] {
        // Far from 0, where rounding would show.
        let channels = shape[1];
        let by = |dtype, ours: bool| {
            let (x, gamma, beta) =
                (leaf(shape, 1, dtype), leaf([channels], 2, dtype), leaf([channels], 3, dtype));
            let far = x.clone() * 0.5 + 3.0;
            let (output, mean, variance) = if ours {
                let of = normalize(far, gamma.clone(), beta.clone(), 1e-5);
                (of.output, of.mean, of.variance)
            } else {
                let of = batch_norm_train(far, gamma.clone(), beta.clone(), 1e-5);
                (of.output, of.mean, of.variance)
            };
            let gradients = (output.clone() * leaf(shape, 4, dtype)).sum().backward();
            [
                list(output.into_data()),
                list(mean.into_data()),
                list(variance.into_data()),
                list(x.grad(&gradients).unwrap().into_data()),
                list(gamma.grad(&gradients).unwrap().into_data()),
                list(beta.grad(&gradients).unwrap().into_data()),
            ]
        };
        let (ours, exact) = (by(DType::F32, true), by(DType::F64, false));
        let names = ["output", "mean", "variance", "input", "gamma", "beta"];
        for (name, (ours, exact)) in names.iter().zip(ours.iter().zip(&exact)) {
            assert_close(&format!("{shape:?} {name}"), ours, exact, 5e-6);
        }
    }
}

#[test]
fn pooling_and_its_gradient_are_those_of_burn() {
    let windows = [
        ([2, 2], [2, 2], [0, 0], false),
        ([2, 2], [2, 2], [0, 0], true),
        ([3, 3], [2, 2], [1, 1], false),
        ([3, 3], [2, 2], [0, 0], true),
        ([3, 2], [1, 3], [1, 0], false),
        ([2, 3], [4, 5], [1, 1], true),
        ([5, 5], [5, 5], [2, 2], false),
    ];
    for (kernel, stride, padding, ceil) in windows {
        for shape in [[2, 3, 9, 7], [1, 2, 8, 8], [3, 1, 5, 12]] {
            let by = |pool: &dyn Fn(Tensor<4>) -> Tensor<4>| {
                let x = leaf(shape, 1, DType::F32);
                let output = pool(x.clone());
                let gradients = (output.clone() * leaf(output.dims(), 4, DType::F32)).sum().backward();
                [list(output.into_data()), list(x.grad(&gradients).unwrap().into_data())]
            };
            let options =
                MaxPoolOptions::new(kernel).with_stride(stride).with_padding(padding).with_ceil_mode(ceil);
            let ours = by(&|x| pool(x, Window { kernel, stride, padding, ceil }));
            assert_eq!(ours, by(&|x| max_pool2d(x, options.clone())), "{kernel:?} {stride:?} {shape:?}");
        }
    }
}

#[test]
fn pooling_lets_nan_win() {
    let device = Device::flex();
    let x = Tensor::<4>::from_data([[[[1.0, f32::NAN], [3.0, 2.0]]]], &device);
    let window = Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0], ceil: false };
    assert!(list(pool(x, window).into_data())[0].is_nan());
}

#[test]
fn functions_of_each_value_and_their_gradients_are_those_of_burn_in_64_bits() {
    let functions = [
        Pointwise::Relu,
        Pointwise::Relu6,
        Pointwise::LeakyRelu(0.01),
        Pointwise::HardSigmoid,
        Pointwise::HardSwish,
        Pointwise::Sigmoid,
        Pointwise::Silu,
        Pointwise::Gelu,
    ];
    // Of lengths that fill vectors and that do not.
    for function in functions {
        for shape in [[1, 1, 1, 1], [2, 3, 4, 4], [3, 5, 7, 11], [4, 33, 31, 17]] {
            let by = |dtype| {
                let x = leaf(shape, 1, dtype);
                let output = pointwise(x.clone() * 8.0, function);
                let gradients = (output.clone() * leaf(shape, 4, dtype)).sum().backward();
                [list(output.into_data()), list(x.grad(&gradients).unwrap().into_data())]
            };
            for (ours, exact) in by(DType::F32).iter().zip(&by(DType::F64)) {
                assert_close(&format!("{function:?} {shape:?}"), ours, exact, 1e-6);
            }
        }
    }
}

#[test]
fn sums_and_their_gradients_are_those_of_burn_in_64_bits() {
    for function in [None, Some(Pointwise::Relu), Some(Pointwise::Silu)] {
        let by = |dtype, ours: bool| {
            with_gradients([3, 5, 7, 11], &[3 * 5 * 7 * 11], dtype, |x, others| {
                let y = others[0].clone().reshape([3, 5, 7, 11]);
                if ours {
                    return add(x, y, function);
                }
                let sum = x + y;
                match function {
                    None => sum,
                    Some(Pointwise::Relu) => relu(sum),
                    Some(_) => silu(sum),
                }
            })
        };
        let exact = by(DType::F64, false);
        assert_all_close(&format!("{function:?}"), &by(DType::F32, true), &exact, 1e-6);
        assert_all_close(&format!("{function:?} in 64 bits"), &by(DType::F64, true), &exact, 1e-12);
    }
}

#[test]
fn batches_of_nothing_go_through_layers() {
    let device = Device::flex().autodiff();
    let few = |length: usize| Tensor::<1>::ones([length], &device);
    let rows = Tensor::<3>::zeros([0, 5, 12], &device).require_grad();
    let images = Tensor::<4>::zeros([0, 6, 3, 3], &device).require_grad();
    let of_rows = [
        affine(rows.clone(), Tensor::ones([12, 12], &device), few(12)),
        normalize_places(rows.clone(), 2, few(12), few(12), 1e-5),
        normalize_places(rows.clone(), 1, few(5), few(5), 1e-5),
        pointwise(rows.clone(), Pointwise::Gelu),
        add(rows.clone(), rows.clone(), Some(Pointwise::Relu)),
    ];
    for (n, out) in of_rows.into_iter().enumerate() {
        assert_eq!(out.dims(), [0, 5, 12], "{n}");
        assert_eq!(rows.grad(&out.sum().backward()).unwrap().dims(), [0, 5, 12], "{n}");
    }
    let scaled = scale(images.clone(), few(6).unsqueeze());
    assert_eq!(images.grad(&scaled.sum().backward()).unwrap().dims(), [0, 6, 3, 3]);
    let means = mean_pixel(images.clone());
    assert_eq!(means.dims(), [0, 6, 1, 1]);
    assert_eq!(images.grad(&means.sum().backward()).unwrap().dims(), [0, 6, 3, 3]);
}

#[test]
fn functions_of_each_value_are_pytorchs_at_their_corners() {
    let x = [-4.0, -3.0, 0.0, 3.0, 4.0, 6.0, 7.0];
    let expected = [
        (Pointwise::Relu, [0.0, 0.0, 0.0, 3.0, 4.0, 6.0, 7.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        (Pointwise::Relu6, [0.0, 0.0, 0.0, 3.0, 4.0, 6.0, 6.0], [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
        (
            Pointwise::LeakyRelu(0.5),
            [-2.0, -1.5, 0.0, 3.0, 4.0, 6.0, 7.0],
            [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0],
        ),
        (Pointwise::HardSwish, [0.0, 0.0, 0.0, 3.0, 4.0, 6.0, 7.0], [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
    ];
    for dtype in [DType::F32, DType::F64] {
        for (function, values, slopes) in expected {
            let x = Tensor::<1>::from_data(x, (&Device::flex().autodiff(), dtype)).require_grad();
            let output = pointwise(x.clone(), function);
            let gradients = output.clone().sum().backward();
            assert_eq!(list(output.into_data()), values, "{function:?} {dtype:?}");
            assert_eq!(list(x.grad(&gradients).unwrap().into_data()), slopes, "{function:?} {dtype:?}");
        }
    }
    let nan = Tensor::<1>::from_data([f32::NAN], &Device::flex());
    for (function, ..) in expected {
        assert!(list(pointwise(nan.clone(), function).into_data())[0].is_nan(), "{function:?}");
    }
}

#[test]
fn what_convolutions_do_on_the_way_is_what_comes_after_them() {
    let one = [1, 1];
    let cases = [
        case([9, 24, 7, 7], [40, 24, 3, 3], [one, one, one], 1),
        case([2, 6, 15, 8], [7, 6, 1, 1], [one, [0, 0], one], 1),
        case([3, 60, 1, 1], [70, 60, 1, 1], [one, [0, 0], one], 1),
        case([9, 12, 4, 4], [8, 3, 3, 3], [one, one, one], 4),
        case([1, 20, 70, 33], [8, 5, 3, 3], [[2, 2], one, one], 4),
        case([3, 20, 14, 15], [20, 1, 5, 5], [one, [2, 2], one], 20),
        case([2, 6, 9, 9], [12, 1, 3, 3], [one, one, one], 6),
    ];
    for (n, case) in cases.iter().enumerate() {
        for function in [Pointwise::Relu, Pointwise::LeakyRelu(0.1), Pointwise::HardSwish, Pointwise::Gelu] {
            let leaf = |shape, seed| leaf(shape, seed, DType::F32).inner() * 4.0;
            let (x, weight) = (leaf(case.x, 1), leaf(case.weight, 2));
            let bias = leaf([case.weight[0], 1, 1, 1], 3).reshape([-1]);
            let options = case.options.clone();
            let after =
                pointwise(convolve(x.clone(), weight.clone(), Some(bias.clone()), options.clone()), function);
            let on_the_way = convolve_with_function(x, weight, bias, function, options);
            let what = format!("case {n} {function:?}");
            assert_close(&what, &list(on_the_way.into_data()), &list(after.into_data()), 1e-6);
        }
    }
}

/// What comes out, and the gradients of leaves of these shapes.
fn with_gradients<const A: usize, const D: usize>(
    x: [usize; A],
    others: &[usize],
    dtype: DType,
    layer: impl Fn(Tensor<A>, &[Tensor<1>]) -> Tensor<D>,
) -> Vec<Vec<f64>> {
    let x = leaf(x, 1, dtype);
    let others: Vec<Tensor<1>> =
        others.iter().zip(2..).map(|(&length, n)| leaf([length], n, dtype)).collect();
    let output = layer(x.clone(), &others);
    let gradients = (output.clone() * leaf(output.dims(), 9, dtype)).sum().backward();
    let of_others = others.iter().map(|other| list(other.grad(&gradients).unwrap().into_data()));
    let of_x = list(x.grad(&gradients).unwrap().into_data());
    [list(output.into_data()), of_x].into_iter().chain(of_others).collect()
}

/// Every list of one close to that of the other.
fn assert_all_close(what: &str, ours: &[Vec<f64>], exact: &[Vec<f64>], tolerance: f64) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    for (n, (ours, exact)) in ours.iter().zip(exact).enumerate() {
        assert_close(&format!("{what}: {n}"), ours, exact, tolerance);
    }
}

/// Rows, inputs and outputs of fully connected layers that are cut along each side, and that are not.
const LAYERS: [[usize; 3]; 8] = [
    [1, 1, 1],
    [3, 7, 5],
    [64, 784, 500],
    [64, 500, 10],
    [1, 512, 1000],
    [200, 33, 70],
    [97, 300, 600],
    [500, 64, 192],
];

#[test]
fn fully_connected_layers_and_their_gradients_are_those_of_burn_in_64_bits() {
    for shape @ [rows, inputs, outputs] in LAYERS {
        let by = |dtype, ours: bool| {
            with_gradients([rows, inputs], &[inputs * outputs, outputs], dtype, |x, others| {
                let (weight, bias) = (others[0].clone().reshape([inputs, outputs]), others[1].clone());
                if ours { affine(x, weight, bias) } else { x.matmul(weight) + bias.unsqueeze() }
            })
        };
        let exact = by(DType::F64, false);
        assert_all_close(&format!("{shape:?}"), &by(DType::F32, true), &exact, 2e-6);
        assert_all_close(&format!("{shape:?} in 64 bits"), &by(DType::F64, true), &exact, 1e-12);
        for function in [Pointwise::Relu, Pointwise::Gelu, Pointwise::Silu] {
            let leaf = |shape, seed| leaf(shape, seed, DType::F32).inner();
            let (x, weight) = (leaf([rows, inputs], 1), leaf([inputs, outputs], 2));
            let bias = leaf([outputs, 1], 3).flatten::<1>(0, 1);
            let after = pointwise(affine(x.clone(), weight.clone(), bias.clone()), function);
            let on_the_way = affine_with_function(x, weight, bias, function);
            let what = format!("{shape:?} {function:?}");
            assert_close(&what, &list(on_the_way.into_data()), &list(after.into_data()), 1e-6);
        }
    }
}

#[test]
fn layer_normalization_and_its_gradients_are_exact_in_64_bits() {
    let by = |shape: [usize; 4], dim: usize, dtype, ours: bool| {
        with_gradients(shape, &[shape[dim]; 2], dtype, |x, others| {
            // Far from 0, where rounding would show.
            let x = x * 0.5 + 3.0;
            let (gamma, beta) = (others[0].clone(), others[1].clone());
            if ours {
                return normalize_places(x, dim, gamma, beta, 1e-6);
            }
            let mut wide = [1; 4];
            wide[dim] = shape[dim];
            let off = x.clone() - x.mean_dim(dim);
            let variance = (off.clone() * off.clone()).mean_dim(dim);
            off / (variance + 1e-6).sqrt() * gamma.reshape(wide) + beta.reshape(wide)
        })
    };
    for (shape, dim) in [
        ([2, 3, 5, 192], 3),
        ([3, 1, 40, 17], 3),
        ([2, 24, 7, 9], 1),
        ([3, 70, 1, 5], 1),
        ([1, 40, 30, 33], 1),
        ([2, 3, 4, 5], 3),
    ] {
        let exact = by(shape, dim, DType::F64, false);
        assert_all_close(&format!("{shape:?} {dim}"), &by(shape, dim, DType::F32, true), &exact, 1e-5);
        assert_all_close(
            &format!("{shape:?} {dim} in 64 bits"),
            &by(shape, dim, DType::F64, true),
            &exact,
            1e-10,
        );
    }
}

#[test]
fn attention_and_its_gradient_are_those_of_burn_in_64_bits() {
    for (batch, tokens, heads, width) in
        [(1, 1, 1, 2), (2, 5, 2, 8), (5, 17, 3, 8), (1, 197, 2, 64), (4, 300, 1, 7)]
    {
        let by = |dtype, ours: bool| {
            with_gradients([batch, tokens, 3 * heads * width], &[], dtype, |qkv, _| {
                // Likeness that differs much.
                let qkv = qkv * 3.0;
                if ours {
                    return attend(qkv, heads);
                }
                let parts = qkv.reshape([batch, tokens, 3, heads, width]).permute([2, 0, 3, 1, 4]);
                let output = attend_with(&parts.reshape([3 * batch, heads, tokens, width]), None);
                output.swap_dims(1, 2).reshape([batch, tokens, heads * width])
            })
        };
        let exact = by(DType::F64, false);
        let what = format!("{batch} images of {tokens} tokens, {heads} heads of {width}");
        assert_all_close(&what, &by(DType::F32, true), &exact, 3e-6);
        assert_all_close(&format!("{what} in 64 bits"), &by(DType::F64, true), &exact, 1e-10);
    }
}

#[test]
fn means_and_factors_of_channels_and_their_gradients_are_exact_in_64_bits() {
    for shape @ [batch, channels, height, width] in
        [[1, 1, 1, 1], [3, 5, 4, 7], [2, 40, 33, 31], [5, 2000, 1, 2]]
    {
        let mean =
            |dtype, ours: bool| {
                with_gradients(shape, &[], dtype, |x, _| {
                    if ours { mean_pixel(x) } else { x.mean_dim(2).mean_dim(3) }
                })
            };
        let exact = mean(DType::F64, false);
        assert_all_close(&format!("{shape:?}"), &mean(DType::F32, true), &exact, 1e-6);
        assert_all_close(&format!("{shape:?} in 64 bits"), &mean(DType::F64, true), &exact, 1e-12);
        for outer in [1, batch] {
            let scaled = |dtype, ours: bool| {
                with_gradients(shape, &[outer * channels], dtype, |x, others| {
                    let factors = others[0].clone().reshape([outer, channels]);
                    if ours { scale(x, factors) } else { x * factors.reshape([outer, channels, 1, 1]) }
                })
            };
            let exact = scaled(DType::F64, false);
            let what = format!("{shape:?}, {outer} x {channels} factors, {height} x {width}");
            assert_all_close(&what, &scaled(DType::F32, true), &exact, 2e-6);
            assert_all_close(&format!("{what} in 64 bits"), &scaled(DType::F64, true), &exact, 1e-12);
        }
    }
}

#[test]
fn views_go_through_layers_like_copies() {
    let device = Device::flex();
    let x =
        Tensor::<3>::from_data(TensorData::new(values(5 * 12 * 7, 1), [5, 12, 7]), &device).swap_dims(1, 2);
    let copy = Tensor::<3>::from_data(x.to_data(), &device);
    let weight = Tensor::<2>::from_data(TensorData::new(values(12 * 8, 2), [8, 12]), &device).transpose();
    let few = |length: usize, seed| {
        Tensor::<1>::from_data(TensorData::new(values(length, seed), [length]), &device)
    };
    let same = |view: Tensor<3>, copy: Tensor<3>| view.into_data().assert_eq(&copy.into_data(), true);
    same(affine(x.clone(), weight.clone(), few(8, 3)), affine(copy.clone(), weight, few(8, 3)));
    same(attend(x.clone(), 2), attend(copy.clone(), 2));
    let normalized = |x: Tensor<3>| normalize_places(x, 1, few(7, 3), few(7, 4), 1e-5);
    same(normalized(x), normalized(copy));
}

#[test]
fn the_number_of_threads_changes_no_bit_of_layers() {
    let all = || {
        let layers = LAYERS.iter().flat_map(|&[rows, inputs, outputs]| {
            with_gradients([rows, inputs], &[inputs * outputs, outputs], DType::F32, |x, others| {
                affine(x, others[0].clone().reshape([inputs, outputs]), others[1].clone())
            })
        });
        let attention = with_gradients([7, 60, 72], &[], DType::F32, |qkv, _| attend(qkv, 3));
        let alone = with_gradients([1, 60, 72], &[], DType::F32, |qkv, _| attend(qkv, 3));
        let [rows, planes] = [2, 1].map(|dim| {
            with_gradients([9, 500, 60], &[[500, 60][dim - 1]; 2], DType::F32, |x, others| {
                normalize_places(x, dim, others[0].clone(), others[1].clone(), 1e-5)
            })
        });
        layers.chain(attention).chain(alone).chain(rows).chain(planes).collect::<Vec<_>>()
    };
    let by = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all);
    let alone = by(1);
    assert!(alone == by(2));
    assert!(alone == by(5));
}
