//! ResNet (<https://arxiv.org/abs/1512.03385>), as torchvision builds it: the stride of a bottleneck is in its 3x3.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::layer::{
    BatchNorm2d, Conv2d, Conv2dConfig, ConvInit, Linear, LinearConfig, adaptive_avg_pool2d, max_pool2d,
};
use crate::{InitRng, InputShape};

/// Depth, blocks of the four stages, and whether blocks are bottlenecks (1x1, 3x3, 1x1 with four times the channels).
const VARIANTS: [(usize, [usize; 4], bool); 5] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
];

/// Configuration of a [`ResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// The images. Any size works; this one is for files and summaries.
    pub input: InputShape,
    /// 18, 34, 50, 101 or 152.
    pub depth: usize,
    /// The first layers.
    pub stem: Stem,
    /// Classes.
    pub classes: usize,
}

/// The first layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 with stride 2, then a max pool with stride 2: for photos.
    Photo,
    /// 3x3 with stride 1: for images of about 32 pixels.
    Small,
}

/// Stem, four stages of residual blocks, mean, linear.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    fc: Linear,
    pool: bool,
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
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl ResNetConfig {
    /// Whether there is a variant of this depth.
    #[must_use]
    pub fn is_known_depth(depth: usize) -> bool {
        VARIANTS.iter().any(|variant| variant.0 == depth)
    }

    /// The network on `device`.
    ///
    /// # Panics
    ///
    /// If there is no variant of this depth.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> ResNet {
        let variant = VARIANTS.iter().find(|variant| variant.0 == self.depth);
        assert!(variant.is_some(), "no ResNet has depth {}", self.depth);
        let (_, blocks, bottleneck) = *variant.unwrap_or(&VARIANTS[0]);
        let conv1 = match self.stem {
            Stem::Photo => Conv2dConfig { stride: 2, ..conv(self.input.channels, 64, 7) },
            Stem::Small => conv(self.input.channels, 64, 3),
        };
        let conv1 = conv1.init(rng, device);
        let bn1 = BatchNorm2d::new(64, rng, device);
        let mut inputs = 64;
        let mut stage = |n: usize| {
            let width = 64 << n;
            let outputs = if bottleneck { 4 * width } else { width };
            (0..blocks[n])
                .map(|block| {
                    let stride = if n > 0 && block == 0 { 2 } else { 1 };
                    let block = Block::new(inputs, width, outputs, stride, rng, device);
                    inputs = outputs;
                    block
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (stage(0), stage(1), stage(2), stage(3));
        let fc = LinearConfig { inputs, outputs: self.classes }.init(rng, device);
        ResNet { conv1, bn1, layer1, layer2, layer3, layer4, fc, pool: self.stem == Stem::Photo }
    }
}

impl ResNet {
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.bn1.forward(self.conv1.forward(images)));
        if self.pool {
            x = max_pool2d(x, 3, 2, 1);
        }
        for stage in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            for block in stage {
                x = block.forward(x);
            }
        }
        self.fc.forward(adaptive_avg_pool2d(x, 1).flatten(1, 3))
    }
}

impl Block {
    /// `outputs` differs from `width` in a bottleneck.
    fn new(
        inputs: usize,
        width: usize,
        outputs: usize,
        stride: usize,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let bottleneck = outputs != width;
        let (first, second) = if bottleneck {
            (conv(inputs, width, 1), Conv2dConfig { stride, ..conv(width, width, 3) })
        } else {
            (Conv2dConfig { stride, ..conv(inputs, width, 3) }, conv(width, width, 3))
        };
        Self {
            conv1: first.init(rng, device),
            bn1: BatchNorm2d::new(width, rng, device),
            conv2: second.init(rng, device),
            bn2: BatchNorm2d::new(width, rng, device),
            conv3: bottleneck.then(|| conv(width, outputs, 1).init(rng, device)),
            bn3: bottleneck.then(|| BatchNorm2d::new(outputs, rng, device)),
            downsample: (stride != 1 || inputs != outputs).then(|| {
                let shortcut = Conv2dConfig { stride, ..conv(inputs, outputs, 1) };
                (shortcut.init(rng, device), BatchNorm2d::new(outputs, rng, device))
            }),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = relu(self.bn1.forward(self.conv1.forward(input.clone())));
        let mut x = self.bn2.forward(self.conv2.forward(x));
        if let (Some(conv3), Some(bn3)) = (&self.conv3, &self.bn3) {
            x = bn3.forward(conv3.forward(relu(x)));
        }
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(input)),
            None => input,
        };
        relu(x + shortcut)
    }
}

fn conv(inputs: usize, outputs: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig { init: ConvInit::HeFanOut, ..Conv2dConfig::new(inputs, outputs, kernel) }
}
