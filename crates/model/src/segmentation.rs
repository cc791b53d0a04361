//! A class for every pixel, by networks as torchvision builds them: FCN (<https://arxiv.org/abs/1411.4038>), DeepLabV3
//! (<https://arxiv.org/abs/1706.05587>) and LR-ASPP (<https://arxiv.org/abs/1905.02244>).
//!
//! A classifier's backbone, whose last stages see further in place of shrinking the map, then a small head, then the head's map at the
//! size of the image.

mod head;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layer::{Layer, forward_all, resize_bilinear};
use crate::params::ReferenceNames;
use crate::zoo::{ConfigError, NameInfo, VOC, name};
use crate::{
    Backbone, Common, InitRng, InputShape, MobileNetV3Config, MobileNetV3Size, ResNet, ResNetConfig, Stem,
};
use head::{DeepLabHead, LrAsppHead, deeplab_head, fcn_head, forward_deeplab};

const VARIANTS: [(NameInfo, SegmentationNetwork); 4] = [
    (name("fcn_resnet50", VOC, "FCN on a dilated ResNet-50"), SegmentationNetwork::FcnResNet50),
    (
        name("deeplabv3_resnet50", VOC, "DeepLabV3 on a dilated ResNet-50"),
        SegmentationNetwork::DeepLabV3ResNet50,
    ),
    (
        name("deeplabv3_mobilenet_v3_large", VOC, "DeepLabV3 on a dilated MobileNetV3"),
        SegmentationNetwork::DeepLabV3MobileNetV3Large,
    ),
    (
        name("lraspp_mobilenet_v3_large", VOC, "LR-ASPP on a dilated MobileNetV3, for slow devices"),
        SegmentationNetwork::LrAsppMobileNetV3Large,
    ),
];

/// Configuration of a [`Segmenter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentationConfig {
    /// Which network.
    pub network: SegmentationNetwork,
    /// The images. Any size works; this one is for files.
    pub input: InputShape,
    /// Classes, the background among them.
    pub classes: usize,
}

/// Head and backbone of a [`Segmenter`], called as in torchvision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentationNetwork {
    /// FCN on ResNet-50.
    #[serde(rename = "fcn_resnet50")]
    FcnResNet50,
    /// DeepLabV3 on ResNet-50.
    #[serde(rename = "deeplabv3_resnet50")]
    DeepLabV3ResNet50,
    /// DeepLabV3 on MobileNetV3-Large.
    #[serde(rename = "deeplabv3_mobilenet_v3_large")]
    DeepLabV3MobileNetV3Large,
    /// LR-ASPP on MobileNetV3-Large.
    #[serde(rename = "lraspp_mobilenet_v3_large")]
    LrAsppMobileNetV3Large,
}

/// A network that gives every pixel logits of the classes. Parameters are named as in torchvision.
#[derive(Module, Debug)]
pub struct Segmenter {
    backbone: Trunk,
    classifier: Head,
}

/// A classifier without its head.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Trunk {
    ResNet(ResNet),
    MobileNetV3(Vec<Layer>),
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Head {
    Fcn(Vec<Layer>),
    DeepLabV3(DeepLabHead),
    LrAspp(LrAsppHead),
}

impl SegmentationConfig {
    /// Every name [`SegmentationConfig::from_name`] knows.
    pub fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    /// The network called `name` for images of shape `input` and `classes` classes, the background among them.
    ///
    /// # Errors
    ///
    /// When there is no such network (the message names the nearest) or a number is out of range.
    pub fn from_name(name: &str, input: InputShape, classes: usize) -> Result<Self, ConfigError> {
        let variant = VARIANTS.iter().find(|variant| variant.0.name == name);
        let unknown = || ConfigError::unknown(name, VARIANTS.iter().map(|variant| &variant.0));
        let config = Self { network: variant.ok_or_else(unknown)?.1, input, classes };
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
    pub fn init(&self, seed: u64, device: &Device) -> Segmenter {
        use SegmentationNetwork::{
            DeepLabV3MobileNetV3Large, DeepLabV3ResNet50, FcnResNet50, LrAsppMobileNetV3Large,
        };
        let rng = &mut InitRng::new(seed);
        let common = Common::new(self.input, 0);
        let (backbone, inputs) = match self.network {
            FcnResNet50 | DeepLabV3ResNet50 => {
                let (depth, stem, groups, width) = (50, Stem::Photo, 1, 64);
                let config = ResNetConfig { common, depth, stem, groups, width, dilated: true, keras: false };
                (Trunk::ResNet(config.init(rng, device)), 2048)
            }
            DeepLabV3MobileNetV3Large | LrAsppMobileNetV3Large => {
                let config = MobileNetV3Config { common, size: MobileNetV3Size::Large, dilated: true };
                (Trunk::MobileNetV3(config.features(rng, device)), 960)
            }
        };
        let classes = self.classes;
        let classifier = match self.network {
            FcnResNet50 => Head::Fcn(fcn_head(inputs, classes, rng, device)),
            DeepLabV3ResNet50 | DeepLabV3MobileNetV3Large => {
                Head::DeepLabV3(deeplab_head(inputs, classes, rng, device))
            }
            LrAsppMobileNetV3Large => Head::LrAspp(LrAsppHead::new((40, inputs), classes, rng, device)),
        };
        Segmenter { backbone, classifier }
    }
}

impl Segmenter {
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes, height, width]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        let (fine, deep) = self.backbone.forward(images);
        let logits = match &self.classifier {
            Head::Fcn(layers) => forward_all(layers, deep),
            Head::DeepLabV3(head) => forward_deeplab(head, &deep),
            Head::LrAspp(head) => head.forward(fine, deep),
        };
        resize_bilinear(logits, [height, width])
    }
}

impl ReferenceNames for Segmenter {}

impl Trunk {
    /// The first map with stride 8, and the last map: with stride 8 in a dilated ResNet, 16 in a dilated MobileNetV3.
    fn forward(&self, images: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match self {
            Self::ResNet(network) => {
                let fine = (0..3).fold(images, |x, n| network.stage(n, x));
                let deep = (3..5).fold(fine.clone(), |x, n| network.stage(n, x));
                (fine, deep)
            }
            Self::MobileNetV3(layers) => {
                // Not the end of the stage: what its first block gives.
                let (first, rest) = layers.split_at(5);
                let fine = forward_all(first, images);
                (fine.clone(), forward_all(rest, fine))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: InputShape = InputShape { channels: 3, height: 33, width: 50 };

    #[test]
    fn every_pixel_has_logits_and_gradients_reach_the_first_layer() {
        let config = SegmentationConfig::from_name("lraspp_mobilenet_v3_large", INPUT, 5).unwrap();
        let device = Device::flex().autodiff();
        let images = Tensor::ones([2, 3, 33, 50], &device).require_grad();
        let logits = config.init(0, &device).forward(images.clone());
        assert_eq!(logits.dims(), [2, 5, 33, 50]);
        assert!(images.grad(&logits.mean().backward()).is_some());
    }

    #[test]
    fn names_are_known_and_numbers_checked() {
        for info in SegmentationConfig::names() {
            let config = SegmentationConfig::from_name(info.name, INPUT, info.classes).unwrap();
            let text = serde_json::to_string(&config).unwrap();
            assert!(text.contains(info.name), "{text}");
            assert_eq!(serde_json::from_str::<SegmentationConfig>(&text).unwrap(), config);
        }
        let error = SegmentationConfig::from_name("deeplabv3_resnet", INPUT, 5).unwrap_err();
        let nearest = "deeplabv3_resnet50";
        assert_eq!(error, ConfigError::UnknownName { name: "deeplabv3_resnet".into(), nearest });
        assert!(SegmentationConfig::from_name(nearest, INPUT, 1).is_err());
        assert!(SegmentationConfig::from_name(nearest, InputShape { height: 0, ..INPUT }, 5).is_err());
    }
}
