//! Vision transformer (<https://arxiv.org/abs/2010.11929>): a picture is cut into patches, and blocks of attention mix these tokens with
//! one more, from which the classes are read. As timm and torchvision build it; DeiT (<https://arxiv.org/abs/2012.12877>) is the same
//! network, learned otherwise.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::InitRng;
use crate::backbone::{Backbone, Common, Level, Reference};
use crate::init::Draw;
use crate::layer::{
    Attention, Conv2d, Conv2dConfig, ConvInit, DropPath, Dropout, FeedForward, LayerNorm, Linear,
    LinearConfig, LinearInit,
};
use crate::ops::add;
use crate::zoo::{ConfigError, IMAGENET, NameInfo, name};

/// Features, blocks and heads.
type Size = (usize, usize, usize);

const TINY: Size = (192, 12, 3);
const SMALL: Size = (384, 12, 6);
const BASE: Size = (768, 12, 12);
const LARGE: Size = (1024, 24, 16);

/// Each name with whose it is, side of the patches, and size.
const VARIANTS: [(NameInfo, Reference, usize, Size); 11] = [
    (name("vit_tiny_patch16_224", IMAGENET, "vision transformer, timm's"), Reference::Timm, 16, TINY),
    (name("vit_small_patch16_224", IMAGENET, "vision transformer, timm's"), Reference::Timm, 16, SMALL),
    (name("vit_base_patch16_224", IMAGENET, "vision transformer, timm's"), Reference::Timm, 16, BASE),
    (name("vit_base_patch32_224", IMAGENET, "vision transformer, timm's"), Reference::Timm, 32, BASE),
    (name("vit_large_patch16_224", IMAGENET, "vision transformer, timm's"), Reference::Timm, 16, LARGE),
    (name("deit_tiny_patch16_224", IMAGENET, "DeiT, a vision transformer"), Reference::Timm, 16, TINY),
    (name("deit_small_patch16_224", IMAGENET, "DeiT, a vision transformer"), Reference::Timm, 16, SMALL),
    (name("deit_base_patch16_224", IMAGENET, "DeiT, a vision transformer"), Reference::Timm, 16, BASE),
    (name("vit_b_16", IMAGENET, "vision transformer, torchvision's"), Reference::Torchvision, 16, BASE),
    (name("vit_b_32", IMAGENET, "vision transformer, torchvision's"), Reference::Torchvision, 32, BASE),
    (name("vit_l_16", IMAGENET, "vision transformer, torchvision's"), Reference::Torchvision, 16, LARGE),
];

const EPSILON: f64 = 1e-6;
const STD: f64 = 0.02;

/// Configuration of a [`ViT`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViTConfig {
    /// Images and classes. The image size is part of the network: the positions of its patches are learned. Both sides are multiples
    /// of `patch`.
    pub common: Common,
    /// Whose names the parameters have; the arithmetic is the same.
    pub reference: Reference,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Features of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Parts of the features that attend on their own.
    pub heads: usize,
}

/// Patches and the class token, blocks of attention and linear layers, normalization, linear.
///
/// Stage 0 makes tokens of patches, and each block is a stage. Between stages a picture is `[batch, width, 1, tokens]`, the class token
/// first; [`Backbone::features`] gives maps of the patches alone.
#[derive(Module, Debug)]
pub struct ViT {
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    blocks: Vec<Block>,
    norm: LayerNorm,
    dropout: Dropout,
    head: Option<Linear>,
    patch: usize,
    #[module(skip)]
    reference: Reference,
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: FeedForward,
    drop_path: DropPath,
}

impl ViTConfig {
    pub(crate) fn names() -> impl Iterator<Item = NameInfo> {
        VARIANTS.iter().map(|variant| variant.0)
    }

    pub(crate) fn from_name(name: &str, common: Common) -> Option<Self> {
        let (_, reference, patch, (width, depth, heads)) =
            *VARIANTS.iter().find(|variant| variant.0.name == name)?;
        Some(Self { common, reference, patch, width, depth, heads })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self { patch, width, depth, heads, .. } = *self;
        let within = ConfigError::unless;
        within((1..=64).contains(&patch), "the side of a patch", patch, "1 to 64 pixels")?;
        for (what, side) in
            [("the image height", self.common.input.height), ("the image width", self.common.input.width)]
        {
            if !side.is_multiple_of(patch) {
                return Err(ConfigError::Patches { what, value: side, patch });
            }
        }
        let [rows, columns] = self.grid();
        within(rows * columns <= 16_384, "the number of patches", rows * columns, "16384 or fewer")?;
        within((1..=4096).contains(&width), "the width", width, "1 to 4096 features")?;
        within((1..=64).contains(&depth), "the number of blocks", depth, "1 to 64")?;
        let divides = heads > 0 && width.is_multiple_of(heads);
        within(divides, "the number of heads", heads, "a divisor of the width")?;
        let weights = 12 * depth * width * width;
        within(weights <= 310_000_000, "the number of weights of all blocks", weights, "310 million or fewer")
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        [self.common.input.height / self.patch, self.common.input.width / self.patch]
    }

    /// The network on `device`.
    #[must_use]
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> ViT {
        let Common { input, classes, dropout, drop_path } = self.common;
        let Self { patch, width, depth, heads, reference, .. } = *self;
        let tokens = 1 + self.grid().iter().product::<usize>();
        let fan_in = (input.channels * patch * patch) as f64;
        let proj = Conv2dConfig {
            stride: patch,
            padding: 0,
            bias: true,
            init: ConvInit::Normal(fan_in.sqrt().recip()),
            ..Conv2dConfig::new(input.channels, width, patch)
        };
        let normal = LinearInit::Normal(STD);
        ViT {
            cls_token: rng.param([1, 1, width], Draw::Normal { std: STD }, device),
            pos_embed: rng.param([1, tokens, width], Draw::Normal { std: STD }, device),
            patch_embed: PatchEmbed { proj: proj.init(rng, device) },
            blocks: (0..depth)
                .map(|block| Block {
                    norm1: LayerNorm::new(width, EPSILON, rng, device),
                    attn: Attention::new(width, heads, normal, rng, device),
                    norm2: LayerNorm::new(width, EPSILON, rng, device),
                    mlp: FeedForward::new(width, 4 * width, normal, rng, device),
                    drop_path: DropPath::of_block(drop_path, block, depth),
                })
                .collect(),
            norm: LayerNorm::new(width, EPSILON, rng, device),
            dropout: Dropout::new(dropout),
            head: (classes > 0).then(|| {
                LinearConfig { init: normal, ..LinearConfig::new(width, classes) }.init(rng, device)
            }),
            patch,
            reference,
        }
    }
}

impl ViT {
    /// The class token and the patches, each with its position: `[batch, tokens, width]`.
    fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embed.proj.forward(images).flatten::<3>(2, 3).swap_dims(1, 2);
        let [batch, _, width] = patches.dims();
        let class = self.cls_token.val().expand([batch, 1, width]);
        Tensor::cat(vec![class, patches], 1) + self.pos_embed.val()
    }
}

impl Backbone for ViT {
    fn levels(&self) -> Vec<Level> {
        let [_, _, channels] = self.pos_embed.dims();
        vec![Level { channels, stride: self.patch }; 1 + self.blocks.len()]
    }

    fn stage(&self, n: usize, x: Tensor<4>) -> Tensor<4> {
        let tokens = match n {
            0 => self.embed(x),
            _ => self.blocks[n - 1].forward(tokens_of(x)),
        };
        let [batch, count, width] = tokens.dims();
        tokens.reshape([batch, count, 1, width]).permute([0, 3, 2, 1])
    }

    fn head(&self, x: Tensor<4>) -> Tensor<2> {
        let class = tokens_of(x).narrow(1, 0, 1).flatten(1, 2);
        let x = self.dropout.forward(self.norm.forward::<2>(class));
        match &self.head {
            Some(head) => head.forward(x),
            None => x,
        }
    }

    fn stage_of(&self, parameter: &str) -> usize {
        let block = ["blocks.", "encoder.layers.encoder_layer_"]
            .iter()
            .find_map(|&prefix| parameter.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok());
        let first =
            ["cls_token", "pos_embed", "patch_embed.", "class_token", "encoder.pos_embedding", "conv_proj."];
        match block {
            Some(block) => block + 1,
            None if first.iter().any(|prefix| parameter.starts_with(prefix)) => 0,
            None => 1 + self.blocks.len(),
        }
    }

    fn reference_name(&self, name: String) -> String {
        if self.reference == Reference::Timm {
            return name;
        }
        let outside = [
            ("cls_token", "class_token"),
            ("pos_embed", "encoder.pos_embedding"),
            ("patch_embed.proj.", "conv_proj."),
            ("norm.", "encoder.ln."),
            ("head.", "heads.head."),
        ];
        for (ours, theirs) in outside {
            if let Some(rest) = name.strip_prefix(ours) {
                return format!("{theirs}{rest}");
            }
        }
        let inside = [
            ("blocks.", "encoder.layers.encoder_layer_"),
            (".norm1.", ".ln_1."),
            (".attn.qkv.", ".self_attention.in_proj_"),
            (".attn.proj.", ".self_attention.out_proj."),
            (".norm2.", ".ln_2."),
            (".mlp.fc1.", ".mlp.0."),
            (".mlp.fc2.", ".mlp.3."),
        ];
        inside.iter().fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
    }

    /// The patches after each stage, before the last normalization: maps of one size, that of stage 0 first.
    fn features(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let [_, _, height, width] = images.dims();
        let (rows, columns) = (height / self.patch, width / self.patch);
        let mut x = images;
        let stages = (0..=self.blocks.len()).map(|n| {
            x = self.stage(n, x.clone());
            let [batch, channels, _, tokens] = x.dims();
            x.clone().narrow(3, 1, tokens - 1).reshape([batch, channels, rows, columns])
        });
        stages.collect()
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = self.attn.forward(self.norm1.forward(x.clone()));
        let x = add(self.drop_path.forward(attended), x, None);
        add(self.drop_path.forward(self.mlp.forward(self.norm2.forward(x.clone()))), x, None)
    }
}

/// `[batch, width, 1, tokens]` as `[batch, tokens, width]`.
fn tokens_of(x: Tensor<4>) -> Tensor<3> {
    let [batch, width, _, tokens] = x.dims();
    x.permute([0, 3, 2, 1]).reshape([batch, tokens, width])
}
