//! Layers of Keras's networks, by the names that they have in this house.

/// Networks that are built alike.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::enum_variant_names, reason = "they are the names of the networks")]
pub(super) enum Family {
    MobileNet,
    EfficientNet,
    ResNet,
}

/// What a layer of Keras is here.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    /// A convolution.
    Conv(String),
    /// A convolution whose bias goes into the mean of the batch normalization behind it, named second.
    ConvBefore(String, String),
    /// The first convolution of the same kind, of images whose colours are blue, green and red.
    FirstConvBefore(String, String),
    /// A convolution of each channel by itself.
    Depthwise(String),
    /// A batch normalization.
    Norm(String),
    /// A linear layer, or a 1x1 convolution of a picture of 1 pixel.
    Linear(String),
}

/// Layers that hold no weights of the network: statistics of the images, and states of random numbers.
pub(super) fn ignored(layer: &str) -> bool {
    layer == "seed_generator" || layer == "normalization" || layer.starts_with("normalization_")
}

impl Family {
    /// The family that has `layers`.
    pub(super) fn of<'a>(mut layers: impl Iterator<Item = &'a str>) -> Option<Self> {
        layers.find_map(|layer| match layer {
            "conv_dw_1" => Some(Self::MobileNet),
            "stem_conv" => Some(Self::EfficientNet),
            "conv1_conv" => Some(Self::ResNet),
            _ => None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MobileNet => "MobileNet",
            Self::EfficientNet => "EfficientNet",
            Self::ResNet => "ResNet",
        }
    }

    /// What `layer` is here; nothing for one that the family does not have.
    pub(super) fn part(self, layer: &str) -> Option<Part> {
        match self {
            Self::MobileNet => mobilenet(layer),
            Self::EfficientNet => efficientnet(layer),
            Self::ResNet => resnet(layer),
        }
    }
}

/// `conv1`, `conv_dw_N`, `conv_pw_N`, each with `_bn`, and `conv_preds`.
fn mobilenet(layer: &str) -> Option<Part> {
    match layer {
        "conv1" => return Some(Part::Conv("stage1.0.0".into())),
        "conv1_bn" => return Some(Part::Norm("stage1.0.1".into())),
        "conv_preds" => return Some(Part::Linear("fc".into())),
        _ => {}
    }
    let (depthwise, rest) = match layer.strip_prefix("conv_dw_") {
        Some(rest) => (true, rest),
        None => (false, layer.strip_prefix("conv_pw_")?),
    };
    let (number, norm) = match rest.strip_suffix("_bn") {
        Some(number) => (number, true),
        None => (rest, false),
    };
    let pair = match number.parse().ok()? {
        n @ 1..=5 => format!("stage1.{n}"),
        n @ 6..=11 => format!("stage2.{}", n - 6),
        n @ 12..=13 => format!("stage3.{}", n - 12),
        _ => return None,
    };
    Some(match (depthwise, norm) {
        (true, false) => Part::Depthwise(format!("{pair}.0")),
        (true, true) => Part::Norm(format!("{pair}.1")),
        (false, false) => Part::Conv(format!("{pair}.3")),
        (false, true) => Part::Norm(format!("{pair}.4")),
    })
}

/// `stem_…`, `blockGL_…` for block L (a, b, …) of group G, `top_…` and `predictions`.
fn efficientnet(layer: &str) -> Option<Part> {
    match layer {
        "stem_conv" => return Some(Part::Conv("features.0.0".into())),
        "stem_bn" => return Some(Part::Norm("features.0.1".into())),
        "top_conv" => return Some(Part::Conv("features.8.0".into())),
        "top_bn" => return Some(Part::Norm("features.8.1".into())),
        "predictions" => return Some(Part::Linear("classifier.1".into())),
        _ => {}
    }
    let (block, layer) = layer.strip_prefix("block")?.split_once('_')?;
    let &[group @ b'1'..=b'7', letter @ b'a'..=b'z'] = block.as_bytes() else { return None };
    // The first group has nothing to expand.
    let expands = usize::from(group != b'1');
    let place = |n: usize| format!("features.{}.{}.block.{n}", group - b'0', letter - b'a');
    Some(match layer {
        "expand_conv" if expands == 1 => Part::Conv(format!("{}.0", place(0))),
        "expand_bn" if expands == 1 => Part::Norm(format!("{}.1", place(0))),
        "dwconv" => Part::Depthwise(format!("{}.0", place(expands))),
        "bn" => Part::Norm(format!("{}.1", place(expands))),
        "se_reduce" => Part::Conv(format!("{}.fc1", place(expands + 1))),
        "se_expand" => Part::Conv(format!("{}.fc2", place(expands + 1))),
        "project_conv" => Part::Conv(format!("{}.0", place(expands + 2))),
        "project_bn" => Part::Norm(format!("{}.1", place(expands + 2))),
        _ => return None,
    })
}

/// `conv1_conv`, `convS_blockB_N_conv`, each with `bn` for `conv`, where layer 0 of a block is its shortcut, and `predictions`.
fn resnet(layer: &str) -> Option<Part> {
    match layer {
        "conv1_conv" => return Some(Part::FirstConvBefore("conv1".into(), "bn1".into())),
        "conv1_bn" => return Some(Part::Norm("bn1".into())),
        "predictions" => return Some(Part::Linear("fc".into())),
        _ => {}
    }
    let (stage, rest) = layer.strip_prefix("conv")?.split_once("_block")?;
    let stage @ 2..=5 = stage.parse::<usize>().ok()? else { return None };
    let (block, rest) = rest.split_once('_')?;
    let block = block.parse::<usize>().ok()?.checked_sub(1)?;
    let (number, kind) = rest.split_once('_')?;
    let at = format!("layer{}.{block}", stage - 1);
    let (conv, norm) = match number {
        "0" => (format!("{at}.downsample.0"), format!("{at}.downsample.1")),
        "1" | "2" | "3" => (format!("{at}.conv{number}"), format!("{at}.bn{number}")),
        _ => return None,
    };
    match kind {
        "conv" => Some(Part::ConvBefore(conv, norm)),
        "bn" => Some(Part::Norm(norm)),
        _ => None,
    }
}
