//! Image networks: config to module, weights, losses.
//!
//! Read in this order:
//!
//! 1. [`layer`]: convolution, linear and batch normalization with PyTorch's names, layouts and starting values.
//! 2. [`Mlp`], [`SmallCnn`], [`ResNet`], [`MobileNetV2`] and the others: one family a file, `Config → init → forward`.
//! 3. [`ModelConfig`] and [`Model`]: the closed set of them, by name, and as serde data.
//! 4. [`Segmenter`]: a class for every pixel. [`Fcos`]: boxes. Both stand on feature maps of the networks above.
//! 5. [`named_tensors`] and [`load_tensors`]: weights out and in, strictly.
//! 6. [`Prepared`]: a network that only answers. [`summarize`]: the layer table. [`cross_entropy`]: the loss. [`SgdStep`]: a step of an optimizer. [`parse_device`]: where tensors live.
//!
//! Networks are plain `Tensor<D>` code. In Burn 0.22 the backend is no type parameter: features compile backends in, and
//! the [`Device`](burn::tensor::Device) given to `init` picks one at run time. A network made on `device.autodiff()`
//! learns; the same network made on `device`, or taken off it with `Module::valid`, only infers.

#[cfg(feature = "flex")]
mod awake;
mod backbone;
mod cifar_resnet;
mod compute_thread;
mod convnext;
mod cost;
mod densenet;
mod device;
mod efficientnet;
mod fcos;
mod folded;
mod fpn;
mod init;
pub mod layer;
mod loss;
mod mlp;
mod mobilenet_v1;
mod mobilenet_v2;
mod mobilenet_v3;
mod mobilenet_v4;
pub mod noise;
mod ops;
mod optimizer_step;
mod params;
mod position;
mod precision;
mod prepared;
mod regnet;
mod resnet;
mod segmentation;
mod shufflenet_v2;
mod small_cnn;
mod squeezenet;
mod summary;
mod swin;
mod trace;
mod vgg;
mod vit;
mod zoo;

pub use backbone::{Backbone, Common, InputShape, Level, Reference};
pub use cifar_resnet::{CifarResNet, CifarResNetConfig};
pub use compute_thread::on_compute_thread;
pub use convnext::{ConvNeXt, ConvNeXtConfig};
pub use cost::macs;
pub use densenet::{DenseNet, DenseNetConfig};
pub use device::{DeviceError, available_devices, default_device, is_host, parse_device};
pub use efficientnet::{EfficientNet, EfficientNetConfig};
pub use fcos::{Fcos, FcosConfig, FcosOutput};
pub use init::InitRng;
pub use loss::{binary_cross_entropy, cross_entropy, distillation, soft_cross_entropy};
pub use mlp::{Mlp, MlpConfig};
pub use mobilenet_v1::{MobileNetV1, MobileNetV1Config};
pub use mobilenet_v2::{MobileNetV2, MobileNetV2Config};
pub use mobilenet_v3::{MobileNetV3, MobileNetV3Config, MobileNetV3Size};
pub use mobilenet_v4::{MobileNetV4, MobileNetV4Config, MobileNetV4Size};
pub use optimizer_step::{AdamWStep, SgdStep};
pub use params::{
    ParamError, ParamInfo, ReferenceNames, classes_of, freeze, is_counter, load_backbone, load_tensors,
    named_tensors, param_infos,
};
pub use position::{fit_image_size, resize_position_embedding};
pub use precision::with_products_in;
pub use prepared::Prepared;
pub use regnet::{RegNet, RegNetConfig};
pub use resnet::{ResNet, ResNetConfig, Stem};
pub use segmentation::{SegmentationConfig, SegmentationNetwork, Segmenter};
pub use shufflenet_v2::{ShuffleNetV2, ShuffleNetV2Config};
pub use small_cnn::{SmallCnn, SmallCnnConfig};
pub use squeezenet::{SqueezeNet, SqueezeNetConfig, SqueezeNetVersion};
pub use summary::{LayerRow, Summary, summarize};
pub use swin::{Swin, SwinConfig};
pub use vgg::{Vgg, VggConfig};
pub use vit::{ViT, ViTConfig};
pub use zoo::{ConfigError, Model, ModelConfig, NameInfo};
