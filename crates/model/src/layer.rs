//! Leaf layers with PyTorch's parameter names, starting values and arithmetic.
//!
//! They differ from `burn::nn`'s in three ways that matter here: parameters are called `weight` and `bias` as in
//! PyTorch's state dicts, starting values are the same on every backend, and each layer reports itself to
//! [`summarize`](crate::summarize).

mod activation;
mod attention;
mod conv;
mod drop;
mod feed_forward;
mod inverted_residual;
mod linear;
mod norm;
mod pool;
mod resize;
mod sequential;
mod squeeze_excitation;
mod window_attention;

pub(crate) use activation::relu;
pub use activation::{Activate, Activation};
pub use attention::{Attention, attend_with};
pub use conv::{Conv2d, Conv2dConfig, ConvInit, Zeros};
pub use drop::{DropPath, Dropout};
pub use feed_forward::FeedForward;
pub use inverted_residual::InvertedResidual;
pub use linear::{Linear, LinearConfig, LinearInit};
pub use norm::{BatchNorm2d, GroupNorm, LayerNorm};
pub use pool::{AdaptiveAvgPool2d, MaxPool2d, adaptive_avg_pool2d, avg_pool2d, avg_pool2d_floor, max_pool2d};
pub use resize::{resize_bilinear, resize_nearest};
pub use sequential::{Layer, Residual, channels_of, conv_norm, forward_all};
pub use squeeze_excitation::{Gate, SqueezeExcitation};
pub use window_attention::{WindowAttention, Windows, fill_up};
