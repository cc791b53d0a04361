//! The closed set of networks, by name and as data.

use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::params::param_infos;
use crate::{
    Backbone, CifarResNet, CifarResNetConfig, Common, ConvNeXt, ConvNeXtConfig, DenseNet, DenseNetConfig,
    EfficientNet, EfficientNetConfig, FcosConfig, InitRng, InputShape, Mlp, MlpConfig, MobileNetV1,
    MobileNetV1Config, MobileNetV2, MobileNetV2Config, MobileNetV3, MobileNetV3Config, MobileNetV4,
    MobileNetV4Config, RegNet, RegNetConfig, ResNet, ResNetConfig, SegmentationConfig, ShuffleNetV2,
    ShuffleNetV2Config, SmallCnn, SmallCnnConfig, SqueezeNet, SqueezeNetConfig, Swin, SwinConfig, Vgg,
    VggConfig, ViT, ViTConfig,
};

/// A network as data: serde reads and writes it, [`ModelConfig::init`] builds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "arch", rename_all = "snake_case")]
pub enum ModelConfig {
    /// Linear layers.
    Mlp(MlpConfig),
    /// Two convolutions.
    SmallCnn(SmallCnnConfig),
    /// ResNet, ResNeXt, Wide ResNet, ResNet-D.
    #[serde(rename = "resnet")]
    ResNet(ResNetConfig),
    /// ResNet for CIFAR.
    #[serde(rename = "cifar_resnet")]
    CifarResNet(CifarResNetConfig),
    /// ConvNeXt.
    #[serde(rename = "convnext")]
    ConvNeXt(ConvNeXtConfig),
    /// Vision transformer, DeiT.
    #[serde(rename = "vit")]
    ViT(ViTConfig),
    /// Swin transformer.
    #[serde(rename = "swin")]
    Swin(SwinConfig),
    /// MobileNet.
    #[serde(rename = "mobilenet_v1")]
    MobileNetV1(MobileNetV1Config),
    /// MobileNetV2.
    #[serde(rename = "mobilenet_v2")]
    MobileNetV2(MobileNetV2Config),
    /// MobileNetV3.
    #[serde(rename = "mobilenet_v3")]
    MobileNetV3(MobileNetV3Config),
    /// EfficientNet.
    #[serde(rename = "efficientnet")]
    EfficientNet(EfficientNetConfig),
    /// MobileNetV4.
    #[serde(rename = "mobilenet_v4")]
    MobileNetV4(MobileNetV4Config),
    /// SqueezeNet.
    #[serde(rename = "squeezenet")]
    SqueezeNet(SqueezeNetConfig),
    /// VGG with batch normalization.
    #[serde(rename = "vgg")]
    Vgg(VggConfig),
    /// RegNetY.
    #[serde(rename = "regnet")]
    RegNet(RegNetConfig),
    /// DenseNet.
    #[serde(rename = "densenet")]
    DenseNet(DenseNetConfig),
    /// ShuffleNetV2.
    #[serde(rename = "shufflenet_v2")]
    ShuffleNetV2(ShuffleNetV2Config),
}

/// A network with weights.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Model {
    /// Linear layers.
    Mlp(Mlp),
    /// Two convolutions.
    SmallCnn(SmallCnn),
    /// ResNet, ResNeXt, Wide ResNet, ResNet-D.
    ResNet(ResNet),
    /// ResNet for CIFAR.
    CifarResNet(CifarResNet),
    /// ConvNeXt.
    ConvNeXt(ConvNeXt),
    /// Vision transformer, DeiT.
    ViT(ViT),
    /// Swin transformer.
    Swin(Swin),
    /// MobileNet.
    MobileNetV1(MobileNetV1),
    /// MobileNetV2.
    MobileNetV2(MobileNetV2),
    /// MobileNetV3.
    MobileNetV3(MobileNetV3),
    /// EfficientNet.
    EfficientNet(EfficientNet),
    /// MobileNetV4.
    MobileNetV4(MobileNetV4),
    /// SqueezeNet.
    SqueezeNet(SqueezeNet),
    /// VGG with batch normalization.
    Vgg(Vgg),
    /// RegNetY.
    RegNet(RegNet),
    /// DenseNet.
    DenseNet(DenseNet),
    /// ShuffleNetV2.
    ShuffleNetV2(ShuffleNetV2),
}

/// A name that [`ModelConfig::from_name`] knows.
#[derive(Debug, Clone, Copy)]
pub struct NameInfo {
    /// The name, torchvision's or timm's where they have one.
    pub name: &'static str,
    /// Channels of the images it was made for.
    pub channels: usize,
    /// Height and width of the images it was made for, in pixels.
    pub default_size: usize,
    /// Classes of the set it was made for.
    pub classes: usize,
    /// One line.
    pub description: &'static str,
}

/// Networks whose logits, training loss and gradients are compared with those of a reference, and which. Of the others, tests compare the number
/// of parameters.
const COMPARED: [(&str, &str); 26] = [
    ("linear", "PyTorch"),
    ("mlp", "PyTorch"),
    ("small_cnn", "PyTorch"),
    ("resnet20", "PyTorch"),
    ("resnet18_cifar", "PyTorch"),
    ("mobilenet_v1_025_leaky", "PyTorch"),
    ("resnet18", "torchvision"),
    ("resnet34", "torchvision"),
    ("resnet50", "torchvision"),
    ("resnet18d", "timm"),
    ("convnext_tiny", "torchvision"),
    ("convnext_atto", "timm"),
    ("vit_b_16", "torchvision"),
    ("vit_tiny_patch16_224", "timm"),
    ("deit_tiny_patch16_224", "timm"),
    ("swin_t", "torchvision"),
    ("mobilenet_v2", "torchvision"),
    ("mobilenet_v3_small", "torchvision"),
    ("mobilenet_v3_large", "torchvision"),
    ("mobilenetv4_conv_small", "timm"),
    ("efficientnet_b0", "torchvision"),
    ("squeezenet1_1", "torchvision"),
    ("vgg11_bn", "torchvision"),
    ("regnet_y_400mf", "torchvision"),
    ("densenet121", "torchvision"),
    ("shufflenet_v2_x1_0", "torchvision"),
];

pub(crate) const fn name(
    name: &'static str,
    (channels, default_size, classes): (usize, usize, usize),
    description: &'static str,
) -> NameInfo {
    NameInfo { name, channels, default_size, classes, description }
}

impl NameInfo {
    /// The reference that the network's logits, training loss and gradients are compared with in this crate's tests.
    #[must_use]
    pub fn compared_with(&self) -> Option<&'static str> {
        COMPARED.iter().find(|compared| compared.0 == self.name).map(|compared| compared.1)
    }
}

pub(crate) const DIGITS: (usize, usize, usize) = (1, 28, 10);
pub(crate) const CIFAR: (usize, usize, usize) = (3, 32, 10);
/// PASCAL VOC with the background as a class, at the size of torchvision's segmentation networks.
pub(crate) const VOC: (usize, usize, usize) = (3, 520, 21);
/// COCO as torchvision's detectors have it: class 0 is the background, and some numbers are not used.
pub(crate) const COCO: (usize, usize, usize) = (3, 800, 91);
pub(crate) const IMAGENET: (usize, usize, usize) = (3, 224, 1000);

static NAMES: LazyLock<Vec<NameInfo>> = LazyLock::new(|| {
    let mut names = Vec::new();
    names.extend(MlpConfig::names());
    names.extend(SmallCnnConfig::names());
    names.extend(CifarResNetConfig::names());
    names.extend(ResNetConfig::names());
    names.extend(ConvNeXtConfig::names());
    names.extend(ViTConfig::names());
    names.extend(SwinConfig::names());
    names.extend(MobileNetV1Config::names());
    names.extend(MobileNetV2Config::names());
    names.extend(MobileNetV3Config::names());
    names.extend(EfficientNetConfig::names());
    names.extend(MobileNetV4Config::names());
    names.extend(SqueezeNetConfig::names());
    names.extend(VggConfig::names());
    names.extend(RegNetConfig::names());
    names.extend(DenseNetConfig::names());
    names.extend(ShuffleNetV2Config::names());
    names
});

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No network has this name.
    #[error("no network is called `{name}`; did you mean `{nearest}`? (`pyrograph models` lists all)")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// The network segments or detects.
    #[error(
        "`{name}` segments or detects; it is in the library, and what is asked for here is one that classifies"
    )]
    NotAClassifier {
        /// The name asked for.
        name: &'static str,
    },
    /// A number is out of range.
    #[error("{what} is {value}; it must be {range}")]
    Range {
        /// What it counts.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The values allowed.
        range: &'static str,
    },
    /// A side of the images does not divide into patches.
    #[error(
        "{what} is {value}; it must be a multiple of {patch}, the side of a patch in pixels, as {} or {}",
        (value / patch).max(1) * patch,
        (value / patch + 1) * patch
    )]
    Patches {
        /// Which side.
        what: &'static str,
        /// Its length in pixels.
        value: usize,
        /// The side of a patch in pixels.
        patch: usize,
    },
    /// A share is out of range.
    #[error("{what} is {value}; it must be 0 or more and below 1")]
    Share {
        /// What it is a share of.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

impl ConfigError {
    /// An error unless `holds`.
    pub(crate) fn unless(
        holds: bool,
        what: &'static str,
        value: usize,
        range: &'static str,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::Range { what, value, range }) }
    }

    /// No network among `known` is called `name`.
    pub(crate) fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a NameInfo>) -> Self {
        let nearest = known.into_iter().min_by_key(|info| strsim::damerau_levenshtein(info.name, name));
        Self::UnknownName { name: name.to_owned(), nearest: nearest.map_or("", |info| info.name) }
    }
}

impl ModelConfig {
    /// Every name [`ModelConfig::from_name`] knows.
    #[must_use]
    pub fn names() -> &'static [NameInfo] {
        &NAMES
    }

    /// The network called `name` for images of shape `input` and `classes` classes.
    ///
    /// # Errors
    ///
    /// When there is no such network (the message names the nearest) or it cannot take such images.
    pub fn from_name(name: &str, input: InputShape, classes: usize) -> Result<Self, ConfigError> {
        let common = Common::new(input, classes);
        let config = (MlpConfig::from_name(name, common).map(Self::Mlp))
            .or_else(|| SmallCnnConfig::from_name(name, common).map(Self::SmallCnn))
            .or_else(|| CifarResNetConfig::from_name(name, common).map(Self::CifarResNet))
            .or_else(|| ResNetConfig::from_name(name, common).map(Self::ResNet))
            .or_else(|| ConvNeXtConfig::from_name(name, common).map(Self::ConvNeXt))
            .or_else(|| ViTConfig::from_name(name, common).map(Self::ViT))
            .or_else(|| SwinConfig::from_name(name, common).map(Self::Swin))
            .or_else(|| MobileNetV1Config::from_name(name, common).map(Self::MobileNetV1))
            .or_else(|| MobileNetV2Config::from_name(name, common).map(Self::MobileNetV2))
            .or_else(|| MobileNetV3Config::from_name(name, common).map(Self::MobileNetV3))
            .or_else(|| EfficientNetConfig::from_name(name, common).map(Self::EfficientNet))
            .or_else(|| MobileNetV4Config::from_name(name, common).map(Self::MobileNetV4))
            .or_else(|| SqueezeNetConfig::from_name(name, common).map(Self::SqueezeNet))
            .or_else(|| VggConfig::from_name(name, common).map(Self::Vgg))
            .or_else(|| RegNetConfig::from_name(name, common).map(Self::RegNet))
            .or_else(|| DenseNetConfig::from_name(name, common).map(Self::DenseNet))
            .or_else(|| ShuffleNetV2Config::from_name(name, common).map(Self::ShuffleNetV2))
            .ok_or_else(|| {
                let others = SegmentationConfig::names().chain(FcosConfig::names());
                match others.into_iter().find(|info| info.name == name) {
                    Some(info) => ConfigError::NotAClassifier { name: info.name },
                    None => ConfigError::unknown(name, ModelConfig::names()),
                }
            })?;
        config.check()?;
        Ok(config)
    }

    /// The name that gives this network, whatever its images and classes; none for one that was put together by hand.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        let plain = |mut config: Self| {
            let Common { input, classes, .. } = *config.common();
            *config.common_mut() = Common::new(input, classes);
            config
        };
        let (wanted, common) = (plain(self.clone()), self.common());
        let same = |info: &&NameInfo| {
            Self::from_name(info.name, common.input, common.classes).is_ok_and(|config| config == wanted)
        };
        NAMES.iter().find(same).map(|info| info.name)
    }

    /// Whether the network computes what Keras's does, and not what others with the same parameters do.
    #[must_use]
    pub fn is_keras(&self) -> bool {
        match self {
            Self::MobileNetV1(config) => config.keras,
            Self::EfficientNet(config) => config.keras,
            Self::ResNet(config) => config.keras,
            _ => false,
        }
    }

    /// Whether every number is in its range, so that building allocates no more than about 1 GB. What comes from a file
    /// is checked before it is built.
    ///
    /// # Errors
    ///
    /// Names the number, its value and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Common { input, classes, dropout, drop_path } = *self.common();
        input.check()?;
        let counts = classes == 0 || (2..=100_000).contains(&classes);
        ConfigError::unless(
            counts,
            "the number of classes",
            classes,
            "2 to 100000, or 0 for features alone",
        )?;
        for (what, value) in [("the dropout", dropout), ("the drop-path rate", drop_path)] {
            if !(0.0..1.0).contains(&value) {
                return Err(ConfigError::Share { what, value });
            }
        }
        match self {
            Self::Mlp(config) => config.check(),
            Self::SmallCnn(config) => config.check(),
            Self::ResNet(config) => config.check(),
            Self::CifarResNet(config) => config.check(),
            Self::ConvNeXt(config) => config.check(),
            Self::ViT(config) => config.check(),
            Self::Swin(config) => config.check(),
            Self::MobileNetV1(config) => config.check(),
            Self::MobileNetV2(config) => config.check(),
            Self::MobileNetV3(config) => config.check(),
            Self::EfficientNet(config) => config.check(),
            Self::MobileNetV4(config) => config.check(),
            Self::SqueezeNet(config) => config.check(),
            Self::Vgg(config) => config.check(),
            Self::RegNet(config) => config.check(),
            Self::DenseNet(config) => config.check(),
            Self::ShuffleNetV2(config) => config.check(),
        }
    }

    /// Images, classes, dropout and drop-path.
    #[must_use]
    pub fn common(&self) -> &Common {
        match self {
            Self::Mlp(config) => &config.common,
            Self::SmallCnn(config) => &config.common,
            Self::ResNet(config) => &config.common,
            Self::CifarResNet(config) => &config.common,
            Self::ConvNeXt(config) => &config.common,
            Self::ViT(config) => &config.common,
            Self::Swin(config) => &config.common,
            Self::MobileNetV1(config) => &config.common,
            Self::MobileNetV2(config) => &config.common,
            Self::MobileNetV3(config) => &config.common,
            Self::EfficientNet(config) => &config.common,
            Self::MobileNetV4(config) => &config.common,
            Self::SqueezeNet(config) => &config.common,
            Self::Vgg(config) => &config.common,
            Self::RegNet(config) => &config.common,
            Self::DenseNet(config) => &config.common,
            Self::ShuffleNetV2(config) => &config.common,
        }
    }

    /// Images, classes, dropout and drop-path, to be changed.
    pub fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Mlp(config) => &mut config.common,
            Self::SmallCnn(config) => &mut config.common,
            Self::ResNet(config) => &mut config.common,
            Self::CifarResNet(config) => &mut config.common,
            Self::ConvNeXt(config) => &mut config.common,
            Self::ViT(config) => &mut config.common,
            Self::Swin(config) => &mut config.common,
            Self::MobileNetV1(config) => &mut config.common,
            Self::MobileNetV2(config) => &mut config.common,
            Self::MobileNetV3(config) => &mut config.common,
            Self::EfficientNet(config) => &mut config.common,
            Self::MobileNetV4(config) => &mut config.common,
            Self::SqueezeNet(config) => &mut config.common,
            Self::Vgg(config) => &mut config.common,
            Self::RegNet(config) => &mut config.common,
            Self::DenseNet(config) => &mut config.common,
            Self::ShuffleNetV2(config) => &mut config.common,
        }
    }

    /// The images the network takes.
    #[must_use]
    pub fn input(&self) -> InputShape {
        self.common().input
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.common().classes
    }

    /// The network on `device` with the starting weights of `seed`: the same on every backend.
    #[must_use]
    pub fn init(&self, seed: u64, device: &Device) -> Model {
        let mut rng = InitRng::new(seed);
        match self {
            Self::Mlp(config) => Model::Mlp(config.init(&mut rng, device)),
            Self::SmallCnn(config) => Model::SmallCnn(config.init(&mut rng, device)),
            Self::ResNet(config) => Model::ResNet(config.init(&mut rng, device)),
            Self::CifarResNet(config) => Model::CifarResNet(config.init(&mut rng, device)),
            Self::ConvNeXt(config) => Model::ConvNeXt(config.init(&mut rng, device)),
            Self::ViT(config) => Model::ViT(config.init(&mut rng, device)),
            Self::Swin(config) => Model::Swin(config.init(&mut rng, device)),
            Self::MobileNetV1(config) => Model::MobileNetV1(config.init(&mut rng, device)),
            Self::MobileNetV2(config) => Model::MobileNetV2(config.init(&mut rng, device)),
            Self::MobileNetV3(config) => Model::MobileNetV3(config.init(&mut rng, device)),
            Self::EfficientNet(config) => Model::EfficientNet(config.init(&mut rng, device)),
            Self::MobileNetV4(config) => Model::MobileNetV4(config.init(&mut rng, device)),
            Self::SqueezeNet(config) => Model::SqueezeNet(config.init(&mut rng, device)),
            Self::Vgg(config) => Model::Vgg(config.init(&mut rng, device)),
            Self::RegNet(config) => Model::RegNet(config.init(&mut rng, device)),
            Self::DenseNet(config) => Model::DenseNet(config.init(&mut rng, device)),
            Self::ShuffleNetV2(config) => Model::ShuffleNetV2(config.init(&mut rng, device)),
        }
    }

    /// The number of learned values.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let model = self.init(0, &Device::default());
        let learned = param_infos(&model).into_iter().filter(|param| param.learned);
        learned.map(|param| param.shape.iter().product::<usize>()).sum()
    }
}

impl Model {
    /// The network, whichever it is.
    #[must_use]
    pub fn backbone(&self) -> &dyn Backbone {
        match self {
            Self::Mlp(network) => network,
            Self::SmallCnn(network) => network,
            Self::ResNet(network) => network,
            Self::CifarResNet(network) => network,
            Self::ConvNeXt(network) => network,
            Self::ViT(network) => network,
            Self::Swin(network) => network,
            Self::MobileNetV1(network) => network,
            Self::MobileNetV2(network) => network,
            Self::MobileNetV3(network) => network,
            Self::EfficientNet(network) => network,
            Self::MobileNetV4(network) => network,
            Self::SqueezeNet(network) => network,
            Self::Vgg(network) => network,
            Self::RegNet(network) => network,
            Self::DenseNet(network) => network,
            Self::ShuffleNetV2(network) => network,
        }
    }

    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.backbone().forward(images)
    }

    /// The feature pyramid, the finest level first: see [`Backbone::levels`].
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - each level: `[batch, level.channels, height / level.stride, width / level.stride]`, rounded up, or down where the network says so
    pub fn features(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        self.backbone().features(images)
    }
}

#[cfg(test)]
mod tests;
