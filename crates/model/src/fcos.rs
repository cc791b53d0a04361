//! FCOS (<https://arxiv.org/abs/1904.01355>), a detector without anchor boxes, as torchvision builds it: a ResNet-50, a feature pyramid, and
//! at each place of each level a class, how far the four sides of the box are, and how near its centre is.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::fpn::FeaturePyramid;
use crate::init::Draw;
use crate::layer::{
    Activate, Activation, Conv2d, Conv2dConfig, ConvInit, GroupNorm, Layer, forward_all, relu,
};
use crate::params::ReferenceNames;
use crate::zoo::{COCO, ConfigError, NameInfo, name};
use crate::{Backbone, Common, InitRng, InputShape, ResNet, ResNetConfig, Stem};

const NAME: NameInfo = name("fcos_resnet50_fpn", COCO, "FCOS on ResNet-50 with a feature pyramid");

/// Channels of the pyramid and the heads.
const WIDTH: usize = 256;

/// Convolutions of a head before its last.
const DEPTH: usize = 4;

/// Groups of channels that are normalized together.
const GROUPS: usize = 32;

/// The probability that a new network gives each class at each place: most places show none, and would else drown the others.
const PRIOR: f32 = 0.01;

/// Configuration of an [`Fcos`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcosConfig {
    /// The images. Any size works; this one is for files.
    pub input: InputShape,
    /// Classes; as in torchvision, class 0 is the background, which no place is ever taught.
    pub classes: usize,
}

/// Backbone, pyramid and heads. Parameters are named as in torchvision.
#[derive(Module, Debug)]
pub struct Fcos {
    backbone: BackboneWithFpn,
    head: FcosHead,
}

/// What an [`Fcos`] sees in images.
///
/// A place is a pixel of a level: they are numbered level by level, the finest first, each row by row. There are `places` in all.
#[derive(Debug, Clone)]
pub struct FcosOutput {
    /// The five levels with strides 8 to 128: `[batch, 256, height / stride, width / stride]`, rounded up.
    pub levels: Vec<Tensor<4>>,
    /// Logits of the classes, each by itself: `[batch, places, classes]`.
    pub cls_logits: Tensor<3>,
    /// How far left, up, right and down of the place the box reaches, in strides of its level, 0 or more: `[batch, places, 4]`.
    pub bbox_regression: Tensor<3>,
    /// The logit of how near the place is to the centre of its box: `[batch, places, 1]`.
    pub bbox_ctrness: Tensor<3>,
}

#[derive(Module, Debug)]
struct BackboneWithFpn {
    body: ResNet,
    fpn: FeaturePyramid,
}

#[derive(Module, Debug)]
struct FcosHead {
    classification_head: ClassificationHead,
    regression_head: RegressionHead,
}

#[derive(Module, Debug)]
struct ClassificationHead {
    conv: Vec<Layer>,
    cls_logits: Conv2d,
}

#[derive(Module, Debug)]
struct RegressionHead {
    conv: Vec<Layer>,
    bbox_reg: Conv2d,
    bbox_ctrness: Conv2d,
}

impl FcosConfig {
    /// Every name [`FcosConfig::from_name`] knows.
    pub fn names() -> impl Iterator<Item = NameInfo> {
        [NAME].into_iter()
    }

    /// The network called `name` for images of shape `input` and `classes` classes, the background among them.
    ///
    /// # Errors
    ///
    /// When there is no such network (the message names the nearest) or a number is out of range.
    pub fn from_name(name: &str, input: InputShape, classes: usize) -> Result<Self, ConfigError> {
        if name != NAME.name {
            return Err(ConfigError::unknown(name, &[NAME]));
        }
        let config = Self { input, classes };
        config.check()?;
        Ok(config)
    }

    /// Whether every number is in its range.
    ///
    /// # Errors
    ///
    /// Names the number, its value and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.input.check()?;
        let counts = (2..=10_000).contains(&self.classes);
        ConfigError::unless(counts, "the number of classes", self.classes, "2 to 10000")
    }

    /// The network on `device` with the starting weights of `seed`: the same on every backend.
    #[must_use]
    pub fn init(&self, seed: u64, device: &Device) -> Fcos {
        let rng = &mut InitRng::new(seed);
        let common = Common::new(self.input, 0);
        let (depth, stem, groups, width) = (50, Stem::Photo, 1, 64);
        let body = ResNetConfig { common, depth, stem, groups, width, dilated: false, keras: false };
        let backbone = BackboneWithFpn {
            body: body.init(rng, device),
            fpn: FeaturePyramid::new(&[512, 1024, 2048], WIDTH, rng, device),
        };
        let classification_head = ClassificationHead {
            conv: tower(rng, device),
            cls_logits: {
                let mut conv = conv(self.classes).init(rng, device);
                let logit = -((1.0 - PRIOR) / PRIOR).ln();
                conv.bias = Some(rng.param([self.classes], Draw::Constant(logit), device));
                conv
            },
        };
        let regression_head = RegressionHead {
            conv: tower(rng, device),
            bbox_reg: conv(4).init(rng, device),
            bbox_ctrness: conv(1).init(rng, device),
        };
        Fcos { backbone, head: FcosHead { classification_head, regression_head } }
    }
}

/// 3x3 convolutions with normalization and ReLU, in one row.
fn tower(rng: &mut InitRng, device: &Device) -> Vec<Layer> {
    let mut layers = Vec::new();
    for _ in 0..DEPTH {
        layers.push(Layer::Conv(conv(WIDTH).init(rng, device)));
        layers.push(Layer::GroupNorm(GroupNorm::new(GROUPS, WIDTH, rng, device)));
        layers.push(Layer::Activate(Activate::new(Activation::Relu)));
    }
    layers
}

fn conv(outputs: usize) -> Conv2dConfig {
    Conv2dConfig { bias: true, init: ConvInit::Normal(0.01), ..Conv2dConfig::new(WIDTH, outputs, 3) }
}

impl Fcos {
    /// What the network sees; boxes are not made of it yet.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - output: see [`FcosOutput`]
    pub fn forward(&self, images: Tensor<4>) -> FcosOutput {
        let maps = self.backbone.body.features(images).split_off(2);
        let levels = self.backbone.fpn.forward(maps);
        let FcosHead { classification_head, regression_head } = &self.head;
        let (mut cls_logits, mut bbox_regression, mut bbox_ctrness) = (Vec::new(), Vec::new(), Vec::new());
        for level in &levels {
            let x = forward_all(&classification_head.conv, level.clone());
            cls_logits.push(by_place(classification_head.cls_logits.forward(x)));
            let x = forward_all(&regression_head.conv, level.clone());
            bbox_regression.push(by_place(relu(regression_head.bbox_reg.forward(x.clone()))));
            bbox_ctrness.push(by_place(regression_head.bbox_ctrness.forward(x)));
        }
        FcosOutput {
            levels,
            cls_logits: Tensor::cat(cls_logits, 1),
            bbox_regression: Tensor::cat(bbox_regression, 1),
            bbox_ctrness: Tensor::cat(bbox_ctrness, 1),
        }
    }
}

impl ReferenceNames for Fcos {}

/// `[batch, channels, height, width]` as `[batch, height · width, channels]`.
fn by_place(map: Tensor<4>) -> Tensor<3> {
    map.flatten::<3>(2, 3).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named_tensors;

    const INPUT: InputShape = InputShape { channels: 3, height: 40, width: 72 };

    #[test]
    fn levels_of_odd_sizes_fit_and_a_new_network_sees_nothing() {
        let device = Device::flex();
        let network = FcosConfig::from_name("fcos_resnet50_fpn", INPUT, 3).unwrap().init(0, &device);
        let output = network.forward(Tensor::ones([1, 3, 40, 72], &device));
        let sizes: Vec<[usize; 4]> = output.levels.iter().map(Tensor::dims).collect();
        assert_eq!(sizes, [[5, 9], [3, 5], [2, 3], [1, 2], [1, 1]].map(|[h, w]| [1, 256, h, w]));
        assert_eq!(output.cls_logits.dims(), [1, 45 + 15 + 6 + 2 + 1, 3]);
        assert_eq!(output.bbox_regression.dims(), [1, 69, 4]);
        assert_eq!(output.bbox_ctrness.dims(), [1, 69, 1]);
        let (_, bias) =
            named_tensors(&network).into_iter().find(|(name, _)| name.ends_with("cls_logits.bias")).unwrap();
        assert!(bias.iter::<f32>().all(|logit| (1.0 / (1.0 + (-logit).exp()) - PRIOR).abs() < 1e-6));
    }

    #[test]
    fn names_are_known_and_numbers_checked() {
        let config = FcosConfig::from_name(NAME.name, INPUT, 91).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<FcosConfig>(&text).unwrap(), config);
        let error = FcosConfig::from_name("fcos", INPUT, 91).unwrap_err();
        assert_eq!(error, ConfigError::UnknownName { name: "fcos".into(), nearest: NAME.name });
        assert!(FcosConfig::from_name(NAME.name, INPUT, 1).is_err());
    }
}
