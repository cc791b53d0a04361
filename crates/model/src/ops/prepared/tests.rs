//! Arranged kernels give what Burn's convolution gives, however images lie; and what follows takes channels side by side.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, s};

use super::super::{
    Pair, Pointwise, Window, add, arrange, convolve_arranged, convolve_pair, mean_pixel, normalize_pixels,
    pointwise, pool, scale,
};

/// Numbers from -1 to 1.
fn numbers<const D: usize>(shape: [usize; D], seed: i64) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as i64;
    let numbers = Tensor::arange(seed..seed + count, &Device::flex()).float();
    (numbers * 1.7).sin().reshape(shape)
}

/// The same images with the channels of a pixel side by side.
fn channels_last(images: &Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    let pixels = images.clone().permute([0, 2, 3, 1]).reshape([batch * height * width, channels]);
    // Added to, so that they lie as they are read.
    (pixels + 0.0).reshape([batch, height, width, channels]).permute([0, 3, 1, 2])
}

fn assert_near<const D: usize>(ours: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(ours.dims(), expected.dims(), "{what}");
    let most = |x: Tensor<D>| x.abs().max().into_scalar::<f32>();
    let (apart, scale) = (most(ours - expected.clone()), most(expected).max(1.0));
    assert!(apart <= 2e-5 * scale, "{what}: {apart} apart, of {scale}");
}

/// Batch, channels, height, width; outputs, kernel; stride, padding, dilation, groups.
type Case = ([usize; 4], [usize; 3], [usize; 2], [usize; 2], [usize; 2], usize);

const CASES: [Case; 39] = [
    // One pixel, and few outputs of it.
    ([1, 40, 1, 1], [16, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([1, 600, 1, 1], [500, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([1, 300, 1, 1], [1001, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([3, 50, 1, 1], [33, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    // Pixels one by one, in numbers that fill no tile.
    ([2, 24, 5, 7], [72, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([1, 7, 9, 11], [40, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([2, 20, 9, 8], [17, 1, 1], [2, 2], [0, 0], [1, 1], 1),
    ([1, 18, 4, 4], [48, 1, 1], [1, 1], [1, 1], [1, 1], 1),
    ([3, 16, 30, 31], [100, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    // Few channels, read in runs.
    ([2, 3, 19, 17], [16, 3, 3], [2, 2], [1, 1], [1, 1], 1),
    ([1, 3, 32, 30], [64, 7, 7], [2, 2], [3, 3], [1, 1], 1),
    ([1, 3, 16, 16], [40, 4, 4], [4, 4], [0, 0], [1, 1], 1),
    ([2, 1, 9, 9], [32, 5, 5], [1, 1], [2, 2], [1, 1], 1),
    ([2, 8, 9, 9], [32, 3, 3], [1, 1], [2, 2], [2, 2], 1),
    // Many channels and a kernel that Winograd's tiles are not for.
    ([2, 20, 10, 9], [48, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([1, 32, 11, 11], [32, 3, 3], [2, 2], [1, 1], [1, 1], 1),
    ([1, 32, 12, 9], [32, 3, 3], [1, 1], [2, 2], [2, 2], 1),
    ([1, 32, 9, 9], [32, 6, 6], [1, 1], [2, 2], [1, 1], 1),
    ([1, 17, 8, 8], [19, 5, 3], [1, 2], [2, 0], [1, 1], 1),
    // Winograd's tiles: whole, cut, wider than the image, of images side by side, in bands.
    ([1, 32, 8, 8], [32, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([3, 48, 7, 9], [64, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([2, 32, 2, 3], [32, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([1, 32, 6, 6], [32, 3, 3], [1, 1], [0, 0], [1, 1], 1),
    ([2, 64, 56, 60], [32, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([2, 32, 66, 70], [64, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([1, 32, 5, 40], [64, 3, 3], [1, 1], [2, 2], [1, 1], 1),
    // Each channel by itself.
    ([2, 40, 9, 7], [40, 3, 3], [1, 1], [1, 1], [1, 1], 40),
    ([1, 33, 10, 15], [33, 5, 5], [2, 2], [2, 2], [1, 1], 33),
    ([1, 16, 7, 7], [16, 7, 7], [1, 1], [3, 3], [1, 1], 16),
    ([1, 24, 12, 12], [24, 3, 3], [1, 1], [2, 2], [1, 1], 24),
    ([3, 20, 3, 5], [20, 3, 3], [1, 1], [1, 1], [1, 1], 20),
    ([2, 17, 5, 2], [17, 5, 5], [1, 1], [2, 2], [1, 1], 17),
    ([2, 48, 11, 13], [48, 3, 3], [2, 2], [0, 1], [1, 1], 48),
    ([1, 32, 15, 9], [32, 7, 7], [1, 2], [3, 0], [1, 1], 32),
    ([1, 16, 9, 30], [16, 5, 3], [3, 1], [4, 2], [1, 1], 16),
    // Groups: wide ones, and some that are narrower than a vector.
    ([2, 48, 6, 7], [96, 3, 3], [1, 1], [1, 1], [1, 1], 3),
    ([1, 64, 7, 7], [64, 3, 3], [2, 2], [1, 1], [1, 1], 16),
    ([1, 8, 9, 8], [16, 3, 3], [1, 1], [1, 1], [1, 1], 4),
    ([1, 16, 6, 6], [32, 1, 1], [1, 1], [0, 0], [1, 1], 8),
];

#[test]
fn arranged_kernels_give_what_kernels_give_however_images_lie() {
    for (n, (images, [outputs, down, along], stride, padding, dilation, groups)) in
        CASES.into_iter().enumerate()
    {
        let options = ConvOptions::new(stride, padding, dilation, groups);
        let shape = [outputs, images[1] / groups, down, along];
        let (x, weight, bias) = (numbers(images, 3), numbers(shape, 77), numbers([outputs], 5));
        let kernels = arrange(weight.clone(), options.clone());
        assert_ne!(kernels.dims(), shape, "arranged: case {n}");
        let expected = conv2d(x.clone(), weight, Some(bias.clone()), options.clone());
        let transposed = x.clone().permute([0, 1, 3, 2]) + 0.0;
        let ways = [x.clone(), channels_last(&x), transposed.permute([0, 1, 3, 2])];
        for (way, x) in ways.into_iter().enumerate() {
            let what = format!("case {n}, images in way {way}");
            let out = convolve_arranged(x, (kernels.clone(), shape), bias.clone(), None, options.clone());
            assert_near(out, expected.clone(), &what);
        }
        let function = FUNCTIONS[n % FUNCTIONS.len()];
        let out = convolve_arranged(x, (kernels, shape), bias, Some(function), options);
        assert_near(out, pointwise(expected, function), &format!("case {n}, {function:?}"));
    }
}

/// All of them.
const FUNCTIONS: [Pointwise; 8] = [
    Pointwise::Relu,
    Pointwise::Relu6,
    Pointwise::LeakyRelu(0.2),
    Pointwise::HardSigmoid,
    Pointwise::HardSwish,
    Pointwise::Sigmoid,
    Pointwise::Silu,
    Pointwise::Gelu,
];

#[test]
fn what_is_no_number_stays_none() {
    let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
    let weight = numbers([40, 5, 1, 1], 2);
    let x = Tensor::<4>::full([1, 5, 3, 3], f32::NAN, &Device::flex());
    for function in FUNCTIONS {
        let kernels = (arrange(weight.clone(), options.clone()), weight.dims());
        let out = convolve_arranged(x.clone(), kernels, numbers([40], 3), Some(function), options.clone());
        let values = out.into_data().try_to_vec::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_nan()), "{function:?}");
    }
}

#[test]
fn every_function_is_the_same_in_registers() {
    let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
    let (x, weight, bias) =
        (numbers([1, 5, 6, 6], 1) * 4.0, numbers([32, 5, 1, 1], 2) * 2.0, numbers([32], 3));
    let kernels = (arrange(weight.clone(), options.clone()), weight.dims());
    let sums = conv2d(x.clone(), weight, Some(bias.clone()), options.clone());
    for function in FUNCTIONS {
        let ours =
            convolve_arranged(x.clone(), kernels.clone(), bias.clone(), Some(function), options.clone());
        assert_near(ours, pointwise(sums.clone(), function), &format!("{function:?}"));
    }
}

#[test]
fn sums_do_not_depend_on_threads_or_on_what_is_beside_them() {
    for (images, [outputs, down, along], stride, padding, dilation, groups) in CASES {
        let options = ConvOptions::new(stride, padding, dilation, groups);
        let shape = [outputs, images[1] / groups, down, along];
        let (x, bias) = (numbers(images, 3), numbers([outputs], 5));
        let kernels = arrange(numbers(shape, 77), options.clone());
        let of = |x: Tensor<4>, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let kernels = (kernels.clone(), shape);
            pool.install(|| convolve_arranged(x, kernels, bias.clone(), None, options.clone()).into_data())
        };
        let alone = of(x.clone(), 1);
        assert_eq!(of(x.clone(), 3), alone);
        let twice = Tensor::cat(vec![x.clone(), x], 0);
        let both = Tensor::<4>::from_data(of(twice, 2), &Device::flex());
        assert_eq!(both.split(images[0], 0).remove(1).into_data(), alone);
    }
}

#[test]
fn two_convolutions_at_once_are_bit_for_bit_one_after_the_other() {
    // Height, width, channels in and between; kernel, stride, padding. The last is not done at once: its rows have no divisor.
    let cases = [
        ([72, 70], [5, 32], 3, 1, 1),
        ([64, 64], [16, 40], 3, 2, 1),
        ([60, 66], [9, 72], 5, 2, 2),
        ([96, 48], [8, 33], 5, 1, 2),
        ([100, 60], [8, 32], 7, 2, 3),
        ([73, 71], [8, 32], 3, 1, 1),
    ];
    for (n, ([height, width], [inputs, wide], kernel, stride, padding)) in cases.into_iter().enumerate() {
        for batch in [1, 3] {
            let x = channels_last(&numbers([batch, inputs, height, width], 1));
            let options = [
                ConvOptions::new([1; 2], [0; 2], [1; 2], 1),
                ConvOptions::new([stride; 2], [padding; 2], [1; 2], wide),
            ];
            let shapes = [[wide, inputs, 1, 1], [wide, 1, kernel, kernel]];
            let kernels = [0, 1].map(|n| arrange(numbers(shapes[n], 7), options[n].clone()));
            let biases = [numbers([wide], 4), numbers([wide], 9)];
            let functions = [Some(FUNCTIONS[n]), [None, Some(Pointwise::Silu)][n % 2]];
            let mut apart = x.clone();
            for n in [0, 1] {
                let kernels = (kernels[n].clone(), shapes[n]);
                apart =
                    convolve_arranged(apart, kernels, biases[n].clone(), functions[n], options[n].clone());
            }
            let both = convolve_pair(x, kernels, biases, Pair { shapes, functions, options });
            assert_eq!(both.into_data(), apart.into_data(), "case {n}, {batch} images");
        }
    }
}

#[test]
fn images_without_pixels_and_kernels_beyond_them_are_as_in_burn() {
    let shape = [32, 32, 3, 3];
    let (weight, bias) = (numbers(shape, 1), numbers([32], 1));
    for (images, padding) in [([0, 32, 8, 8], 1), ([1, 32, 2, 2], 0), ([1, 32, 0, 5], 0)] {
        let options = ConvOptions::new([1; 2], [padding; 2], [1; 2], 1);
        let x = Tensor::<4>::zeros(images, &Device::flex());
        let kernels = (arrange(weight.clone(), options.clone()), shape);
        let ours =
            || convolve_arranged(x.clone(), kernels.clone(), bias.clone(), None, options.clone()).dims();
        let burns = || conv2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone()).dims();
        let [ours, burns] = [&ours as &dyn Fn() -> [usize; 4], &burns]
            .map(|of| std::panic::catch_unwind(std::panic::AssertUnwindSafe(of)).ok());
        assert_eq!(ours, burns, "{images:?}");
    }
}

#[test]
fn kernels_that_no_loop_is_for_stay_as_they_are() {
    let options = |groups| ConvOptions::new([1; 2], [1; 2], [1; 2], groups);
    // Burn has loops for several kernels that see the same one channel.
    for (shape, groups) in [([1, 8, 3, 3], 1), ([2, 1, 3, 3], 2), ([64, 1, 3, 3], 32)] {
        assert_eq!(arrange(numbers(shape, 0), options(groups)).dims(), shape);
    }
    let wide = ConvOptions::new([3; 2], [1; 2], [1; 2], 32);
    assert_eq!(arrange(numbers([32, 1, 3, 3], 0), wide).dims(), [32, 1, 3, 3], "steps that no loop is for");
}

#[test]
fn what_follows_convolutions_takes_channels_side_by_side() {
    let window = |kernel, stride, padding, ceil| Window { kernel, stride, padding, ceil };
    for shape in [[2, 5, 6, 7], [1, 130, 3, 3], [3, 32, 15, 9]] {
        let (x, y, factors) = (numbers(shape, 1), numbers(shape, 9), numbers([shape[0], shape[1]], 4));
        let (gamma, beta) = (numbers([shape[1]], 2), numbers([shape[1]], 3));
        let [last, other] = [&x, &y].map(channels_last);
        let check = |what, of: &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
            assert_near(of(last.clone(), other.clone()), of(x.clone(), y.clone()), what);
            assert_near(of(last.clone(), y.clone()), of(x.clone(), y.clone()), what);
            assert_near(of(x.clone(), other.clone()), of(x.clone(), y.clone()), what);
        };
        check("add", &|x, y| add(x, y, None));
        check("add in place", &|x, y| add(pointwise(x, Pointwise::Relu), y, None));
        check("add and relu", &|x, y| add(x, y, Some(Pointwise::Relu)));
        check("add and silu", &|x, y| add(x, y, Some(Pointwise::Silu)));
        check("function", &|x, _| pointwise(x, Pointwise::HardSwish));
        check("scale", &|x, _| scale(x, factors.clone()));
        check("scale by channel", &|x, _| scale(x, factors.clone().slice(s![0..1])));
        check("mean", &|x, _| mean_pixel(x));
        check("pixels", &|x, _| normalize_pixels(x, gamma.clone(), beta.clone(), 1e-5));
        check("pool", &|x, _| pool(x, window([2, 2], [2, 2], [0, 0], false)));
        check("pool with padding", &|x, _| pool(x, window([3, 3], [2, 2], [1, 1], false)));
        check("pool beyond the edge", &|x, _| pool(x, window([3, 2], [2, 1], [0, 1], true)));
    }
}

#[test]
fn the_highest_of_channels_side_by_side_is_nan_where_one_is() {
    let x = Tensor::<4>::from_data(
        [[[[1.0, f32::NAN], [2.0, 0.0]], [[-1.0, -2.0], [-3.0, -4.0]]]],
        &Device::flex(),
    );
    let window = Window { kernel: [2; 2], stride: [2; 2], padding: [0; 2], ceil: false };
    let highest = pool(channels_last(&x), window).into_data().try_to_vec::<f32>().unwrap();
    assert!(highest[0].is_nan());
    assert_eq!(highest[1], -1.0);
}
