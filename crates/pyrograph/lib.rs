//! Deep learning on large image sets: from a folder of images to a trained, measured model.
//!
//! ```no_run
//! use pyrograph::{Recipe, RunOptions, train};
//!
//! let recipe = Recipe::default().set("data.path", "photos")?.set("epochs", "5")?;
//! let outcome = train(&recipe, &RunOptions::default())?;
//! println!("{:.2} %", 100.0 * outcome.evaluation.tally.top1());
//! # Ok::<(), pyrograph::train::Error>(())
//! ```
//!
//! Four crates, each usable alone; an arrow only goes down:
//!
//! | crate | what it does |
//! |---|---|
//! | [`mod@train`] | recipes, runs and reports, on Burn's learner |
//! | [`infer`] | one-file models: save, load, predict, evaluate |
//! | [`data`] and [`model`] | bytes to samples to batches; config to module, losses, weights |
//!
//! The backend is a feature of this crate (`flex`, `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`, `rocm`) and a
//! [`burn::tensor::Device`] at run time: networks are plain `Tensor<D>` code and know nothing of it.

mod memory;

pub use burn;
pub use pyrograph_data as data;
pub use pyrograph_infer as infer;
pub use pyrograph_model as model;
pub use pyrograph_train as train;

pub use data::{DataSet, Image, Loader, Preprocess, decode};
pub use memory::tune_allocator;

pub use infer::{ModelFile, Prediction, Predictor, evaluate};
pub use model::{Model, ModelConfig, parse_device};
pub use train::{Outcome, Recipe, RunOptions, run as train};
