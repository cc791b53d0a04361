//! Products in numbers of half the bits, while all else stays as it is.

use std::cell::Cell;

use burn::tensor::{DType, FloatDType, Tensor};

/// The type that products are computed in, if it is not that of the tensors.
pub(crate) type Products = Option<FloatDType>;

thread_local! {
    static PRODUCTS: Cell<Products> = const { Cell::new(None) };
}

/// Runs `work` on this thread with convolutions, linear layers and attention multiplied in `dtype`; `None` for that of the tensors. What goes into
/// them is rounded, and what comes out has its own type again, so that weights, gradients, normalizations and losses stay as precise as they are
/// (<https://arxiv.org/abs/1710.03740>).
pub fn with_products_in<R>(dtype: Option<FloatDType>, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Restore(Option<FloatDType>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PRODUCTS.set(self.0);
        }
    }
    let _restore = Restore(PRODUCTS.replace(dtype));
    work()
}

/// What is set for this thread.
#[cfg(feature = "flex")]
pub(crate) fn products() -> Products {
    PRODUCTS.get()
}

/// Sets it.
#[cfg(feature = "flex")]
pub(crate) fn set_products(products: Products) {
    PRODUCTS.set(products);
}

/// Whether what layers multiply is rounded.
pub(crate) fn rounds() -> bool {
    PRODUCTS.get().is_some()
}

/// What a layer multiplies, rounded where that was asked for.
pub(crate) fn rounded<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match PRODUCTS.get() {
        Some(dtype) => x.cast(dtype),
        None => x,
    }
}

/// A product of rounded tensors in the layer's own type.
pub(crate) fn widened<const D: usize>(product: Tensor<D>, dtype: DType) -> Tensor<D> {
    if product.dtype() == dtype { product } else { product.cast(FloatDType::from(dtype)) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::{InputShape, ModelConfig};

    #[test]
    fn networks_with_products_in_bfloat16_give_nearly_the_same_and_learn_in_32_bits() {
        let device = Device::flex().autodiff();
        let input = InputShape { channels: 1, height: 32, width: 32 };
        let values: Vec<f32> = (0..2 * 32 * 32).map(|n| ((n * 7919) % 2003) as f32 / 1001.5 - 1.0).collect();
        for name in ["resnet20", "vit_tiny_patch16_224"] {
            let config = ModelConfig::from_name(name, input, 4).unwrap();
            let network = config.init(1, &device);
            let images = Tensor::<4>::from_data(TensorData::new(values.clone(), [2, 1, 32, 32]), &device);
            let images = images.require_grad();
            let exact = network.forward(images.clone());
            let close = with_products_in(Some(FloatDType::BF16), || network.forward(images.clone()));
            assert_eq!(close.dtype(), DType::F32);
            let off = (exact - close.clone()).abs().max().into_scalar::<f32>();
            assert!(off > 0.0 && off < 0.05, "{name}: {off}");
            let gradient = images.grad(&close.sum().backward()).unwrap();
            assert_eq!(gradient.dtype(), DType::F32, "{name}");
            assert!(gradient.abs().sum().into_scalar::<f32>().is_finite(), "{name}");
        }
        assert_eq!(PRODUCTS.get(), None);
    }
}
