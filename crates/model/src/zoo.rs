//! The closed set of networks, by name and as data.

use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::params::param_infos;
use crate::{
    CifarResNet, CifarResNetConfig, InitRng, Mlp, MlpConfig, ResNet, ResNetConfig, SmallCnn, SmallCnnConfig,
    Stem,
};

/// What a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputShape {
    /// 1 (gray) or 3 (colour).
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl InputShape {
    /// Values of one image.
    #[must_use]
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// A network as data: serde reads and writes it, [`ModelConfig::init`] builds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "arch", rename_all = "snake_case")]
pub enum ModelConfig {
    /// Linear layers.
    Mlp(MlpConfig),
    /// Two convolutions.
    SmallCnn(SmallCnnConfig),
    /// ResNet for photos, or with a small stem.
    #[serde(rename = "resnet")]
    ResNet(ResNetConfig),
    /// ResNet for CIFAR.
    #[serde(rename = "cifar_resnet")]
    CifarResNet(CifarResNetConfig),
}

/// A network with weights.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Model {
    /// Linear layers.
    Mlp(Mlp),
    /// Two convolutions.
    SmallCnn(SmallCnn),
    /// ResNet for photos, or with a small stem.
    ResNet(ResNet),
    /// ResNet for CIFAR.
    CifarResNet(CifarResNet),
}

/// A name that [`ModelConfig::from_name`] knows.
#[derive(Debug, Clone, Copy)]
pub struct NameInfo {
    /// The name, torchvision's where it has one.
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

const fn name(
    name: &'static str,
    (channels, default_size, classes): (usize, usize, usize),
    description: &'static str,
) -> NameInfo {
    NameInfo { name, channels, default_size, classes, description }
}

const DIGITS: (usize, usize, usize) = (1, 28, 10);
const CIFAR: (usize, usize, usize) = (3, 32, 10);
const IMAGENET: (usize, usize, usize) = (3, 224, 1000);

const NAMES: [NameInfo; 14] = [
    name("linear", DIGITS, "softmax regression: the baseline everything must beat"),
    name("mlp", DIGITS, "one hidden layer of 500 units"),
    name("small_cnn", DIGITS, "two convolutions and two linear layers, for small images"),
    name("resnet20", CIFAR, "CIFAR ResNet, 3 blocks a stage"),
    name("resnet32", CIFAR, "CIFAR ResNet, 5 blocks a stage"),
    name("resnet44", CIFAR, "CIFAR ResNet, 7 blocks a stage"),
    name("resnet56", CIFAR, "CIFAR ResNet, 9 blocks a stage"),
    name("resnet18_cifar", CIFAR, "ResNet-18 with a 3x3 stem, for images of about 32 pixels"),
    name("resnet18", IMAGENET, "ResNet, basic blocks"),
    name("resnet34", IMAGENET, "ResNet, basic blocks"),
    name("resnet50", IMAGENET, "ResNet, bottlenecks"),
    name("resnet101", IMAGENET, "ResNet, bottlenecks"),
    name("resnet152", IMAGENET, "ResNet, bottlenecks"),
    name("resnet50_cifar", CIFAR, "ResNet-50 with a 3x3 stem, for images of about 32 pixels"),
];

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
        let resnet = |depth, stem| Self::ResNet(ResNetConfig { input, depth, stem, classes });
        let cifar = |depth| Self::CifarResNet(CifarResNetConfig { input, depth, classes });
        let config = match name {
            "linear" => Self::Mlp(MlpConfig { input, hidden: vec![], classes }),
            "mlp" => Self::Mlp(MlpConfig { input, hidden: vec![500], classes }),
            "small_cnn" => Self::SmallCnn(SmallCnnConfig { input, classes }),
            "resnet20" => cifar(20),
            "resnet32" => cifar(32),
            "resnet44" => cifar(44),
            "resnet56" => cifar(56),
            "resnet18_cifar" => resnet(18, Stem::Small),
            "resnet50_cifar" => resnet(50, Stem::Small),
            "resnet18" => resnet(18, Stem::Photo),
            "resnet34" => resnet(34, Stem::Photo),
            "resnet50" => resnet(50, Stem::Photo),
            "resnet101" => resnet(101, Stem::Photo),
            "resnet152" => resnet(152, Stem::Photo),
            _ => {
                let likeness = |info: &NameInfo| strsim::jaro_winkler(info.name, name);
                let nearest = NAMES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
                return Err(ConfigError::UnknownName {
                    name: name.to_owned(),
                    nearest: nearest.map_or("", |info| info.name),
                });
            }
        };
        config.check()?;
        Ok(config)
    }

    /// Whether every number is in its range, so that building allocates no more than about 1 GB. What comes from a file
    /// is checked before it is built.
    ///
    /// # Errors
    ///
    /// Names the number, its value and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let InputShape { channels, height, width } = self.input();
        let mut rules = vec![
            ("the number of channels", channels, "1 to 64", (1..=64).contains(&channels)),
            ("the image height", height, "1 to 4096 pixels", (1..=4096).contains(&height)),
            ("the image width", width, "1 to 4096 pixels", (1..=4096).contains(&width)),
            ("the number of classes", self.classes(), "2 to 100000", (2..=100_000).contains(&self.classes())),
        ];
        match self {
            Self::Mlp(config) => {
                rules.push((
                    "the number of hidden layers",
                    config.hidden.len(),
                    "at most 64",
                    config.hidden.len() <= 64,
                ));
                let largest = config.hidden.iter().copied().max().unwrap_or(1);
                rules.push((
                    "a hidden layer",
                    largest,
                    "1 to 65536 units",
                    largest <= 65_536 && !config.hidden.contains(&0),
                ));
                // Only now is the product of two of them known to fit.
                if rules.iter().all(|rule| rule.3) {
                    let sizes: Vec<usize> = std::iter::once(self.input().values())
                        .chain(config.hidden.iter().copied())
                        .chain([config.classes])
                        .collect();
                    let weights = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
                    rules.push((
                        "the number of weights",
                        weights,
                        "at most 268435456; use smaller images",
                        weights <= 1 << 28,
                    ));
                }
            }
            Self::SmallCnn(_) => {
                rules.push((
                    "the shorter side",
                    height.min(width),
                    "at least 4 pixels",
                    height.min(width) >= 4,
                ));
            }
            Self::ResNet(config) => {
                let known = ResNetConfig::is_known_depth(config.depth);
                rules.push(("the depth", config.depth, "18, 34, 50, 101 or 152", known));
            }
            Self::CifarResNet(config) => {
                let known = CifarResNetConfig::is_known_depth(config.depth);
                rules.push(("the depth", config.depth, "20, 32, 44 or 56", known));
            }
        }
        match rules.into_iter().find(|rule| !rule.3) {
            Some((what, value, range, _)) => Err(ConfigError::Range { what, value, range }),
            None => Ok(()),
        }
    }

    /// The images the network takes.
    #[must_use]
    pub fn input(&self) -> InputShape {
        match self {
            Self::Mlp(config) => config.input,
            Self::SmallCnn(config) => config.input,
            Self::ResNet(config) => config.input,
            Self::CifarResNet(config) => config.input,
        }
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self {
            Self::Mlp(config) => config.classes,
            Self::SmallCnn(config) => config.classes,
            Self::ResNet(config) => config.classes,
            Self::CifarResNet(config) => config.classes,
        }
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
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Mlp(network) => network.forward(images),
            Self::SmallCnn(network) => network.forward(images),
            Self::ResNet(network) => network.forward(images),
            Self::CifarResNet(network) => network.forward(images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named_tensors;

    fn config(name: &str) -> ModelConfig {
        let info = NAMES.iter().find(|info| info.name == name).unwrap();
        let size = info.default_size;
        ModelConfig::from_name(
            name,
            InputShape { channels: info.channels, height: size, width: size },
            info.classes,
        )
        .unwrap()
    }

    #[test]
    fn parameter_counts_are_those_of_the_references() {
        for (name, count) in [
            ("linear", 7_850),
            ("mlp", 397_510),
            ("small_cnn", 421_834),
            ("resnet20", 269_722),
            ("resnet56", 853_018),
            ("resnet18_cifar", 11_173_962),
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
        ] {
            assert_eq!(config(name).parameters(), count, "{name}");
        }
    }

    #[test]
    fn every_network_maps_images_to_one_logit_a_class() {
        let device = Device::flex();
        for info in ModelConfig::names() {
            let size = if info.default_size == 224 { 64 } else { info.default_size };
            let input = InputShape { channels: info.channels, height: size, width: size };
            let model = ModelConfig::from_name(info.name, input, 7).unwrap().init(0, &device);
            let images = Tensor::ones([2, info.channels, size, size], &device);
            assert_eq!(model.forward(images).dims(), [2, 7], "{}", info.name);
        }
    }

    #[test]
    fn logits_of_an_image_do_not_depend_on_its_batch() {
        let device = Device::flex();
        let logits = |model: &Model, images| model.forward(images).into_data().try_to_vec::<f32>().unwrap();
        for name in ["mlp", "small_cnn", "resnet20"] {
            let config = config(name);
            let model = config.init(3, &device);
            let InputShape { channels, height, width } = config.input();
            let pixels = Tensor::arange(0..(4 * config.input().values()) as i64, &device).float();
            let images = (pixels * 0.37).sin().reshape([4, channels, height, width]);
            let together = logits(&model, images.clone());
            for (n, image) in images.chunk(4, 0).into_iter().enumerate() {
                let alone = logits(&model, image);
                let off =
                    alone.iter().zip(&together[10 * n..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-5, "{name}: off by {off}");
            }
        }
    }

    #[test]
    fn images_of_other_sizes_fit_small_cnn() {
        let device = Device::flex();
        for (height, width) in [(4, 4), (28, 20), (40, 40), (41, 64), (96, 128)] {
            let input = InputShape { channels: 3, height, width };
            let model = ModelConfig::from_name("small_cnn", input, 2).unwrap().init(0, &device);
            assert_eq!(model.forward(Tensor::ones([1, 3, height, width], &device)).dims(), [1, 2]);
        }
    }

    #[test]
    fn the_seed_decides_the_weights() {
        let tensors = |seed| named_tensors(&config("mlp").init(seed, &Device::flex()));
        assert_eq!(tensors(1), tensors(1));
        assert_ne!(tensors(1), tensors(2));
    }

    #[test]
    fn a_configuration_survives_json() {
        for info in ModelConfig::names() {
            let config = config(info.name);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let error = ModelConfig::from_name("resnet19", config("mlp").input(), 10).unwrap_err();
        assert!(error.to_string().contains("did you mean `resnet18`"), "{error}");
    }

    #[test]
    fn numbers_out_of_range_are_refused_before_anything_is_built() {
        let input = InputShape { channels: 3, height: 4096, width: 4096 };
        assert!(ModelConfig::from_name("mlp", input, 10).is_err());
        let huge = InputShape { channels: usize::MAX, height: usize::MAX, width: usize::MAX };
        assert!(ModelConfig::from_name("mlp", huge, 10).is_err());
        assert!(ModelConfig::from_name("resnet18", config("resnet18").input(), 1).is_err());
        let tiny = InputShape { channels: 1, height: 3, width: 28 };
        assert!(ModelConfig::from_name("small_cnn", tiny, 10).is_err());
        let depth =
            ResNetConfig { input: config("resnet18").input(), depth: 19, stem: Stem::Photo, classes: 10 };
        assert!(ModelConfig::ResNet(depth).check().is_err());
    }
}
