//! The operations on Burn's CPU backend: our loops where they are for the numbers and shapes at hand, Burn's operations elsewhere.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Flex, IntDType};
use burn::tensor::ops::ConvOptions;

use super::{
    NetworkOps, Pair, Pointwise, Window, affine, attention, attention_loops, channels_last, convolution,
    entropy, entropy_loops, in_turn, layer_norm, layer_norm_loops, normalization, per_plane, per_plane_loops,
    pointwise, pointwise_loops, pooling, prepared, step_loops, steps,
};
use crate::{AdamWStep, SgdStep};

impl NetworkOps for Flex {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::forward(&x, &weight, None, None, &options)
            .unwrap_or_else(|| Self::conv2d(x, weight, None, options))
    }

    fn convolve_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::forward(&x, &weight, Some(&bias), None, &options)
            .unwrap_or_else(|| Self::conv2d(x, weight, Some(bias), options))
    }

    fn convolve_with_function(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Pointwise,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::forward(&x, &weight, Some(&bias), Some(function), &options)
            .unwrap_or_else(|| Self::pointwise(Self::conv2d(x, weight, Some(bias), options), function))
    }

    fn arrange(weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        prepared::arranged(&weight, &options).unwrap_or(weight)
    }

    fn convolve_arranged(
        x: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        shape: [usize; 4],
        bias: FloatTensor<Self>,
        function: Option<Pointwise>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let weight = if kernels.layout().shape().dims::<4>() == shape {
            kernels
        } else {
            let with = (&kernels, shape);
            if let Some(out) = prepared::convolve(&x, with, &bias, function, &options) {
                return out;
            }
            // There are no sums, or Burn says what is wrong.
            Self::float_zeros(shape.into(), &Default::default(), burn::tensor::FloatDType::F32)
        };
        match function {
            Some(function) => Self::convolve_with_function(x, weight, bias, function, options),
            None => Self::convolve_with_bias(x, weight, bias, options),
        }
    }

    fn convolve_pair(
        x: FloatTensor<Self>,
        first: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        second: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        pair: Pair,
    ) -> FloatTensor<Self> {
        if let Some(out) = prepared::convolve_pair(&x, [&first, &second], [&first_bias, &second_bias], &pair)
        {
            return out;
        }
        in_turn::<Self>(x, [first, second], [first_bias, second_bias], pair)
    }

    fn convolve_x_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::x_backward(&x, &weight, &gradient, &options)
            .unwrap_or_else(|| Self::conv2d_x_backward(x, weight, gradient, options))
    }

    fn convolve_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        convolution::weight_backward(&x, &weight, &gradient, &options)
            .unwrap_or_else(|| Self::conv2d_weight_backward(x, weight, gradient, options))
    }

    fn convolve_bias_backward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        convolution::bias_backward(&gradient).unwrap_or_else(|| Self::conv2d_bias_backward(x, bias, gradient))
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match normalization::forward(&x, &gamma, &beta, epsilon) {
            Some([out, mean, variance]) => (out, mean, variance),
            None => {
                let normalized = Self::batch_norm_train(x, gamma, beta, epsilon);
                (normalized.output, normalized.mean, normalized.variance)
            }
        }
    }

    fn normalize_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match normalization::backward(&x, &gamma, [&mean, &variance], epsilon, &gradient) {
            Some([of_x, of_gamma, of_beta]) => (of_x, of_gamma, of_beta),
            None => {
                let of = Self::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
                (of.x_grad, of.gamma_grad, of.beta_grad)
            }
        }
    }

    fn pointwise(x: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self> {
        pointwise_loops::forward(&x, function).unwrap_or_else(|| pointwise::forward::<Self>(x, function))
    }

    fn pointwise_backward(
        x: FloatTensor<Self>,
        function: Pointwise,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        pointwise_loops::backward(&x, function, &gradient)
            .unwrap_or_else(|| pointwise::backward::<Self>(x, function, gradient))
    }

    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        affine::forward(&x, &weight, &bias, None).unwrap_or_else(|| Self::linear(x, weight, Some(bias)))
    }

    fn affine_with_function(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Pointwise,
    ) -> FloatTensor<Self> {
        affine::forward(&x, &weight, &bias, Some(function))
            .unwrap_or_else(|| Self::pointwise(Self::linear(x, weight, Some(bias)), function))
    }

    fn affine_x_backward(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        affine::x_backward(&weight, &gradient).unwrap_or_else(|| Self::linear_x_backward(weight, gradient))
    }

    fn affine_weight_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        affine::weight_backward(&x, &gradient).unwrap_or_else(|| Self::linear_weight_backward(x, gradient))
    }

    fn affine_bias_backward(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        affine::bias_backward(&gradient).unwrap_or_else(|| Self::linear_bias_backward(gradient))
    }

    fn normalize_places(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm_loops::forward(&x, &gamma, &beta, epsilon)
            .unwrap_or_else(|| layer_norm::forward::<Self>(x, gamma, beta, epsilon))
    }

    fn normalize_places_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [of_x, of_gamma, of_beta] = layer_norm_loops::backward(&x, &gamma, epsilon, &gradient)
            .unwrap_or_else(|| layer_norm::backward::<Self>(x, gamma, epsilon, gradient));
        (of_x, of_gamma, of_beta)
    }

    fn normalize_pixels(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        if let Some(pixels) = channels_last::pixels(&x) {
            let [batch, height, width, channels] = pixels.layout().shape().dims::<4>();
            let rows = pixels.reshape([batch * height * width, channels, 1].into());
            let rows = Self::normalize_places(rows, gamma, beta, epsilon);
            return channels_last::of_pixels(&rows.reshape([batch, height, width, channels].into()));
        }
        layer_norm::of_planes::<Self>(x, gamma, beta, epsilon)
    }

    fn attend(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        attention_loops::forward(&qkv, heads).unwrap_or_else(|| attention::forward::<Self>(&qkv, heads))
    }

    fn attend_backward(
        qkv: FloatTensor<Self>,
        heads: usize,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        attention_loops::backward(&qkv, heads, &gradient)
            .unwrap_or_else(|| attention::backward::<Self>(&qkv, heads, gradient))
    }

    fn scale(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self> {
        per_plane_loops::scale(x, &factors).unwrap_or_else(|x| per_plane::scale::<Self>(x, factors))
    }

    fn scale_factors_backward(
        x: FloatTensor<Self>,
        outer: usize,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        per_plane_loops::factors_backward(&x, outer, &gradient)
            .unwrap_or_else(|| per_plane::factors_backward::<Self>(x, outer, gradient))
    }

    fn mean_pixel(x: FloatTensor<Self>) -> FloatTensor<Self> {
        per_plane_loops::mean(&x).unwrap_or_else(|| per_plane::mean::<Self>(x))
    }

    fn mean_pixel_backward(gradient: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        per_plane_loops::mean_backward(&gradient, size)
            .unwrap_or_else(|| per_plane::mean_backward::<Self>(gradient, size))
    }

    fn add(x: FloatTensor<Self>, y: FloatTensor<Self>, function: Option<Pointwise>) -> FloatTensor<Self> {
        pointwise_loops::sum(x, &y, function)
            .unwrap_or_else(|x| function.into_iter().fold(Self::float_add(x, y), Self::pointwise))
    }

    fn pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        pooling::of_pixels(&x, window).unwrap_or_else(|| Self::pool_with_places(x, window).0)
    }

    fn pool_with_places(x: FloatTensor<Self>, window: Window) -> (FloatTensor<Self>, IntTensor<Self>) {
        pooling::forward(&x, window).unwrap_or_else(|| {
            let Window { kernel, stride, padding, ceil } = window;
            let pooled =
                Self::max_pool2d_with_indices(x, kernel, stride, padding, [1, 1], ceil, IntDType::I32);
            (pooled.output, pooled.indices)
        })
    }

    fn pool_backward(
        x: FloatTensor<Self>,
        window: Window,
        gradient: FloatTensor<Self>,
        places: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        pooling::backward(&x, &gradient, &places).unwrap_or_else(|| {
            let Window { kernel, stride, padding, ceil } = window;
            Self::max_pool2d_with_indices_backward(x, kernel, stride, padding, [1, 1], ceil, gradient, places)
                .x_grad
        })
    }

    fn cross_entropies(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        entropy_loops::forward(&logits, &targets, smoothing)
            .unwrap_or_else(|| entropy::forward::<Self>(logits, targets, smoothing))
    }

    fn cross_entropies_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f64,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        entropy_loops::backward(&logits, &targets, smoothing, &gradient)
            .unwrap_or_else(|| entropy::backward::<Self>(logits, targets, smoothing, gradient))
    }

    fn step_of_sgd(
        weight: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: SgdStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if step_loops::take([&weight, &velocity, &gradient]) {
            return step_loops::sgd(weight, velocity, gradient, step).into();
        }
        steps::sgd::<Self>(weight, velocity, gradient, step).into()
    }

    fn step_of_adam_w(
        weight: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if step_loops::take([&weight, &first, &second, &gradient]) {
            return step_loops::adam_w(weight, [first, second], gradient, step).into();
        }
        steps::adam_w::<Self>(weight, [first, second], gradient, step).into()
    }
}
