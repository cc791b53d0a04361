//! Leaf layers with PyTorch's parameter names, starting values and arithmetic.
//!
//! They differ from `burn::nn`'s in three ways that matter here: parameters are called `weight` and `bias` as in
//! PyTorch's state dicts, starting values are the same on every backend, and each layer reports itself to
//! [`summarize`](crate::summarize).

mod conv;
mod linear;
mod norm;
mod pool;

pub use conv::{Conv2d, Conv2dConfig, ConvInit};
pub use linear::{Linear, LinearConfig};
pub use norm::BatchNorm2d;
pub use pool::{adaptive_avg_pool2d, max_pool2d};
