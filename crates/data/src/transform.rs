//! Random changes to training pictures, and what is marked on them.
//!
//! - [`Scene`]: a picture with boxes, masks and key points, which one change changes together.
//! - [`Step`]: the closed set of changes, each a [`Transform`]; [`Pipeline`]: steps in order, written as text.
//! - [`View`]: the part of the original picture that a pipeline's leading steps need, known before it is decoded.
//! - [`mix`]: MixUp and CutMix, which change batches.
//!
//! All randomness is a function of seed, epoch and sample ([`Draws`]). Defaults are torchvision's.

mod augmix;
mod auto_augment;
mod blur;
mod color;
mod crop;
mod draw;
mod erase;
mod flip;
pub mod mix;
mod pipeline;
mod policy;
mod projection;
mod rand_augment;
mod recolor;
mod scene;
mod step;
#[cfg(test)]
mod tests;
mod text;
mod tone;
mod turn;
mod view;
mod warp;

pub use augmix::AugMix;
pub use auto_augment::{AutoAugment, Policy};
pub use crop::{CenterCrop, Pad, RandomCrop, RandomResizedCrop, Resize};
pub use draw::{Draws, Span};
pub use erase::RandomErasing;
pub use flip::{Flip, VerticalFlip};
pub use pipeline::Pipeline;
pub use rand_augment::{RandAugment, TrivialAugmentWide};
pub use recolor::{Blur, ColorChange, ColorJitter, Recolor};
pub use scene::{BoundingBox, Point, Scene};
pub use step::{Argument, Step};
pub use turn::{Affine, Perspective, Rotate};
pub use view::View;
pub use warp::Border;

use crate::order::SampleRng;

/// A change to a picture and all that is marked on it. All randomness comes from `rng`, which depends on seed, epoch and sample alone.
pub trait Transform: Send + Sync {
    /// Changes the scene, whose picture has at least one pixel.
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng);
}
