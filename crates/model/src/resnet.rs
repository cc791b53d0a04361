//! ResNet (<https://arxiv.org/abs/1512.03385>) as torchvision builds it, with the stride of a bottleneck in its 3x3, and its relatives: Keras's with the
//! stride in the first 1x1, as the paper has it,
//! ResNeXt with groups (<https://arxiv.org/abs/1611.05431>), Wide ResNet (<https://arxiv.org/abs/1605.07146>), and ResNet-D as timm builds
//! it (<https://arxiv.org/abs/1812.01187>): three 3x3 convolutions first, and shortcuts that take means where they shrink.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, stage_by_prefix};
use crate::layer::{
    Activate, Activation, BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, DropPath, Dropout, Linear,
    LinearConfig, adaptive_avg_pool2d, avg_pool2d, max_pool2d,
};
use crate::ops::{Pointwise, add};
use crate::zoo::{CIFAR, ConfigError, IMAGENET, NameInfo, name};

/// Depth, blocks of the four stages, and whether blocks are bottlenecks (1x1, 3x3, 1x1 with four times the channels).
const DEPTHS: [(usize, [usize; 4], bool); 5] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
];

/// Each name with depth, stem, groups of the 3x3 and channels a group in the first stage.
const VARIANTS: [(NameInfo, usize, Stem, usize, usize); 20] = [
    (name("resnet18", IMAGENET, "ResNet, basic blocks"), 18, Stem::Photo, 1, 64),
    (name("resnet34", IMAGENET, "ResNet, basic blocks"), 34, Stem::Photo, 1, 64),
    (name("resnet50", IMAGENET, "ResNet, bottlenecks"), 50, Stem::Photo, 1, 64),
    (name("resnet101", IMAGENET, "ResNet, bottlenecks"), 101, Stem::Photo, 1, 64),
    (name("resnet152", IMAGENET, "ResNet, bottlenecks"), 152, Stem::Photo, 1, 64),
    (name("resnext50_32x4d", IMAGENET, "ResNeXt, 32 groups of 4 channels"), 50, Stem::Photo, 32, 4),
    (name("resnext101_32x8d", IMAGENET, "ResNeXt, 32 groups of 8 channels"), 101, Stem::Photo, 32, 8),
    (name("resnext101_64x4d", IMAGENET, "ResNeXt, 64 groups of 4 channels"), 101, Stem::Photo, 64, 4),
    (
        name("wide_resnet50_2", IMAGENET, "ResNet with 3x3 convolutions twice as wide"),
        50,
        Stem::Photo,
        1,
        128,
    ),
    (
        name("wide_resnet101_2", IMAGENET, "ResNet with 3x3 convolutions twice as wide"),
        101,
        Stem::Photo,
        1,
        128,
    ),
    (name("resnet18d", IMAGENET, "ResNet-D, basic blocks"), 18, Stem::Deep, 1, 64),
    (name("resnet34d", IMAGENET, "ResNet-D, basic blocks"), 34, Stem::Deep, 1, 64),
    (name("resnet50d", IMAGENET, "ResNet-D, bottlenecks"), 50, Stem::Deep, 1, 64),
    (name("resnet101d", IMAGENET, "ResNet-D, bottlenecks"), 101, Stem::Deep, 1, 64),
    (name("resnet152d", IMAGENET, "ResNet-D, bottlenecks"), 152, Stem::Deep, 1, 64),
    (
        name("resnet18_cifar", CIFAR, "ResNet-18 with a 3x3 stem, for images of about 32 pixels"),
        18,
        Stem::Small,
        1,
        64,
    ),
    (
        name("resnet50_cifar", CIFAR, "ResNet-50 with a 3x3 stem, for images of about 32 pixels"),
        50,
        Stem::Small,
        1,
        64,
    ),
    (name("resnet50_keras", IMAGENET, "ResNet as Keras builds it, bottlenecks"), 50, Stem::Photo, 1, 64),
    (name("resnet101_keras", IMAGENET, "ResNet as Keras builds it, bottlenecks"), 101, Stem::Photo, 1, 64),
    (name("resnet152_keras", IMAGENET, "ResNet as Keras builds it, bottlenecks"), 152, Stem::Photo, 1, 64),
];

/// Configuration of a [`ResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Images and classes. Any image size works; this one is for files and summaries.
    pub common: Common,
    /// 18, 34, 50, 101 or 152.
    pub depth: usize,
    /// The first layers, and the shortcuts that go with them.
    pub stem: Stem,
    /// Groups of the 3x3 convolutions of bottlenecks.
    pub groups: usize,
    /// Channels of each of these groups in the first stage.
    pub width: usize,
    /// Whether the last two stages keep their size and see further instead: stride 8 in place of 32, for segmentation.
    pub dilated: bool,
    /// Whether it is Keras's network: a bottleneck that shrinks does so in its first 1x1, and batch normalizations add 1.001e-5 to the
    /// variance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keras: bool,
}

/// The first layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 with stride 2, then a max pool with stride 2: for photos.
    Photo,
    /// Three 3x3, the first with stride 2, then the max pool; shortcuts take means of 2x2 where they shrink: ResNet-D.
    Deep,
    /// 3x3 with stride 1: for images of about 32 pixels.
    Small,
}

/// Stem, four stages of residual blocks, mean, linear.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: FirstConv,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    dropout: Dropout,
    fc: Option<Linear>,
    pool: bool,
    channels: [usize; 4],
    dilated: bool,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum FirstConv {
    One(Conv2d),
    Three((Conv2d, BatchNorm2d, Activate, Conv2d, BatchNorm2d, Activate, Conv2d)),
}

/// Two 3x3 convolutions, or with `conv3` a bottleneck, around a shortcut.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<Shortcut>,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
enum Shortcut {
    Strided((Conv2d, BatchNorm2d)),
    Mean((MeanPool, Conv2d, BatchNorm2d)),
}

/// The mean of 2x2 windows, where `halves`.
#[derive(Module, Debug)]
struct MeanPool {
    halves: bool,
}

impl ResNetConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, depth, stem, groups, width) = *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        let keras = name.ends_with("_keras");
        Some(Self { common, depth, stem, groups, width, dilated: false, keras })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let known = DEPTHS.iter().any(|variant| variant.0 == self.depth);
        ConfigError::unless(known, "the depth", self.depth, "18, 34, 50, 101 or 152")?;
        ConfigError::unless((1..=64).contains(&self.groups), "the number of groups", self.groups, "1 to 64")?;
        ConfigError::unless((1..=256).contains(&self.width), "the width", self.width, "1 to 256 channels")?;
        let basic = DEPTHS.iter().any(|variant| variant.0 == self.depth && !variant.2);
        let plain = (self.groups, self.width, self.dilated) == (1, 64, false);
        ConfigError::unless(
            plain || !basic,
            "the depth",
            self.depth,
            "50 or more for other groups, widths and dilation",
        )
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this depth.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> ResNet {
        let variant = DEPTHS.iter().find(|variant| variant.0 == self.depth);
        assert!(variant.is_some(), "no ResNet has depth {}", self.depth);
        let (_, blocks, bottleneck) = *variant.unwrap_or(&DEPTHS[0]);
        let conv1 = self.first_conv(rng, device);
        let bn1 = norm(64, self.keras, rng, device);
        let total: usize = blocks.iter().sum();
        let expansion = if bottleneck { 4 } else { 1 };
        let (mut inputs, mut done, mut dilation) = (64, 0, 1);
        let mut stage = |n: usize| {
            let mut stride = if n == 0 { 1 } else { 2 };
            let outputs = expansion * (64 << n);
            // The first block of a dilated stage still sees as far as the stage before.
            let mut first_dilation = dilation;
            if self.dilated && n >= 2 {
                dilation *= stride;
                stride = 1;
            }
            (0..blocks[n])
                .map(|block| {
                    let shape = BlockShape {
                        inputs,
                        width: (64 << n) * self.width / 64 * self.groups,
                        outputs,
                        stride: if block == 0 { stride } else { 1 },
                        dilation: std::mem::replace(&mut first_dilation, dilation),
                        groups: self.groups,
                        bottleneck,
                        mean_shortcut: self.stem == Stem::Deep,
                        keras: self.keras,
                    };
                    inputs = outputs;
                    done += 1;
                    let drop_path = DropPath::of_block(self.common.drop_path, done - 1, total);
                    Block::new(&shape, drop_path, rng, device)
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (stage(0), stage(1), stage(2), stage(3));
        let classes = self.common.classes;
        let fc = (classes > 0).then(|| LinearConfig::new(inputs, classes).init(rng, device));
        ResNet {
            conv1,
            bn1,
            layer1,
            layer2,
            layer3,
            layer4,
            dropout: Dropout::new(self.common.dropout),
            fc,
            pool: self.stem != Stem::Small,
            channels: [0, 1, 2, 3].map(|n| expansion * (64 << n)),
            dilated: self.dilated,
        }
    }

    fn first_conv(&self, rng: &mut InitRng, device: &Device) -> FirstConv {
        let channels = self.common.input.channels;
        match self.stem {
            Stem::Photo => {
                FirstConv::One(Conv2dConfig { stride: 2, ..conv(channels, 64, 7) }.init(rng, device))
            }
            Stem::Small => FirstConv::One(conv(channels, 64, 3).init(rng, device)),
            Stem::Deep => FirstConv::Three((
                Conv2dConfig { stride: 2, ..conv(channels, 32, 3) }.init(rng, device),
                BatchNorm2d::new(32, rng, device),
                Activate::new(Activation::Relu),
                conv(32, 32, 3).init(rng, device),
                BatchNorm2d::new(32, rng, device),
                Activate::new(Activation::Relu),
                conv(32, 64, 3).init(rng, device),
            )),
        }
    }
}

impl Backbone for ResNet {
    fn levels(&self) -> Vec<Level> {
        let first = if self.pool { 2 } else { 1 };
        let level = |channels, stride| Level { channels, stride };
        let [one, two, three, four] = self.channels;
        let deep = if self.dilated { (4, 4) } else { (8, 16) };
        vec![
            level(64, first),
            level(one, first * first),
            level(two, 2 * first * first),
            level(three, deep.0 / 2 * first * first),
            level(four, deep.1 / 2 * first * first),
        ]
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let (x, blocks) = match n {
            0 => return self.conv1.forward_normalized(x, &self.bn1),
            1 if self.pool => (max_pool2d(x, 3, 2, 1), &self.layer1),
            1 => (x, &self.layer1),
            2 => (x, &self.layer2),
            3 => (x, &self.layer3),
            _ => (x, &self.layer4),
        };
        blocks.iter().fold(x, |x, block| block.forward(x))
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3));
        match &self.fc {
            Some(fc) => fc.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        stage_by_prefix(
            parameter,
            &[&["conv1.", "bn1."], &["layer1."], &["layer2."], &["layer3."], &["layer4."]],
        )
    }
}

impl FirstConv {
    /// Normalized by `norm`, above 0.
    fn forward_normalized(&self, x: Tensor<4>, norm: &BatchNorm2d) -> Tensor<4> {
        match self {
            Self::One(conv) => conv.forward_normalized(x, norm, Activation::Relu),
            Self::Three((conv1, norm1, relu1, conv2, norm2, relu2, conv3)) => {
                let x = conv1.forward_normalized(x, norm1, relu1.function());
                let x = conv2.forward_normalized(x, norm2, relu2.function());
                conv3.forward_normalized(x, norm, Activation::Relu)
            }
        }
    }
}

/// Channels in, between and out, and how a block looks at them.
struct BlockShape {
    inputs: usize,
    width: usize,
    outputs: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
    bottleneck: bool,
    mean_shortcut: bool,
    /// With the stride in the first convolution, and Keras's normalizations.
    keras: bool,
}

impl Block {
    fn new(shape: &BlockShape, drop_path: DropPath, rng: &mut InitRng, device: &Device) -> Self {
        let &BlockShape { inputs, width, outputs, stride, dilation, groups, bottleneck, keras, .. } = shape;
        let (first, second) = if bottleneck {
            let (early, late) = if keras { (stride, 1) } else { (1, stride) };
            let second =
                Conv2dConfig { stride: late, groups, dilation, padding: dilation, ..conv(width, width, 3) };
            (Conv2dConfig { stride: early, ..conv(inputs, width, 1) }, second)
        } else {
            (Conv2dConfig { stride, ..conv(inputs, width, 3) }, conv(width, width, 3))
        };
        Self {
            conv1: first.init(rng, device),
            bn1: norm(width, keras, rng, device),
            conv2: second.init(rng, device),
            bn2: norm(width, keras, rng, device),
            conv3: bottleneck.then(|| conv(width, outputs, 1).init(rng, device)),
            bn3: bottleneck.then(|| norm(outputs, keras, rng, device)),
            downsample: (stride != 1 || inputs != outputs).then(|| Shortcut::new(shape, rng, device)),
            drop_path,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward_normalized(input.clone(), &self.bn1, Activation::Relu);
        let x = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let x = self.conv2.forward_normalized(x, &self.bn2, Activation::Relu);
                conv3.forward_normalized(x, bn3, Activation::Identity)
            }
            _ => self.conv2.forward_normalized(x, &self.bn2, Activation::Identity),
        };
        let shortcut = match &self.downsample {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
        add(self.drop_path.forward(x), shortcut, Some(Pointwise::Relu))
    }
}

impl Shortcut {
    fn new(shape: &BlockShape, rng: &mut InitRng, device: &Device) -> Self {
        let &BlockShape { inputs, outputs, stride, mean_shortcut, keras, .. } = shape;
        let conv = conv(inputs, outputs, 1);
        if mean_shortcut {
            let pool = MeanPool { halves: stride == 2 };
            Self::Mean((pool, conv.init(rng, device), norm(outputs, keras, rng, device)))
        } else {
            let conv = Conv2dConfig { stride, ..conv };
            Self::Strided((conv.init(rng, device), norm(outputs, keras, rng, device)))
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Strided((conv, norm)) => conv.forward_normalized(x, norm, Activation::Identity),
            Self::Mean((pool, conv, norm)) => {
                let x = if pool.halves { avg_pool2d(x, 2) } else { x };
                conv.forward_normalized(x, norm, Activation::Identity)
            }
        }
    }
}

fn norm(channels: usize, keras: bool, rng: &mut InitRng, device: &Device) -> BatchNorm2d {
    let norm = BatchNorm2d::new(channels, rng, device);
    if keras { norm.with(1.001e-5, 0.01) } else { norm }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
