//! What the networks cost, so that a list of them needs no forward pass of each.

/// Multiply-accumulate operations, in millions, for one image of the network's own size.
const MEGA_MACS: [(&str, u32); 92] = [
    ("linear", 0),
    ("mlp", 0),
    ("small_cnn", 4),
    ("resnet20", 41),
    ("resnet32", 69),
    ("resnet44", 97),
    ("resnet56", 125),
    ("resnet18", 1814),
    ("resnet34", 3664),
    ("resnet50", 4089),
    ("resnet101", 7801),
    ("resnet152", 11514),
    ("resnext50_32x4d", 4230),
    ("resnext101_32x8d", 16414),
    ("resnext101_64x4d", 15460),
    ("wide_resnet50_2", 11398),
    ("wide_resnet101_2", 22753),
    ("resnet18d", 2054),
    ("resnet34d", 3903),
    ("resnet50d", 4329),
    ("resnet101d", 8041),
    ("resnet152d", 11753),
    ("resnet18_cifar", 555),
    ("resnet50_cifar", 1298),
    ("resnet50_keras", 3858),
    ("resnet101_keras", 7570),
    ("resnet152_keras", 11282),
    ("convnext_atto", 547),
    ("convnext_femto", 780),
    ("convnext_pico", 1367),
    ("convnext_nano", 2446),
    ("convnext_tiny", 4456),
    ("convnext_small", 8684),
    ("convnext_base", 15355),
    ("convnext_large", 34361),
    ("vit_tiny_patch16_224", 1254),
    ("vit_small_patch16_224", 4599),
    ("vit_base_patch16_224", 17564),
    ("vit_base_patch32_224", 4409),
    ("vit_large_patch16_224", 61555),
    ("deit_tiny_patch16_224", 1254),
    ("deit_small_patch16_224", 4599),
    ("deit_base_patch16_224", 17564),
    ("vit_b_16", 17564),
    ("vit_b_32", 4409),
    ("vit_l_16", 61555),
    ("swin_t", 4491),
    ("swin_s", 8741),
    ("swin_b", 15431),
    ("mobilenet_v1_100", 569),
    ("mobilenet_v1_075", 325),
    ("mobilenet_v1_050", 149),
    ("mobilenet_v1_025", 41),
    ("mobilenet_v1_025_leaky", 41),
    ("mobilenet_keras", 569),
    ("mobilenet_keras_075", 325),
    ("mobilenet_keras_050", 149),
    ("mobilenet_keras_025", 41),
    ("mobilenet_v2", 301),
    ("mobilenet_v3_small", 57),
    ("mobilenet_v3_large", 217),
    ("efficientnet_b0", 386),
    ("efficientnet_b1", 687),
    ("efficientnet_b2", 1088),
    ("efficientnet_b3", 1827),
    ("efficientnet_b4", 4394),
    ("efficientnet_b0_keras", 386),
    ("efficientnet_b1_keras", 687),
    ("efficientnet_b2_keras", 994),
    ("efficientnet_b3_keras", 1827),
    ("efficientnet_b4_keras", 4394),
    ("mobilenetv4_conv_small", 186),
    ("mobilenetv4_conv_medium", 1080),
    ("squeezenet1_0", 819),
    ("squeezenet1_1", 349),
    ("vgg11_bn", 7609),
    ("vgg13_bn", 11308),
    ("vgg16_bn", 15470),
    ("vgg19_bn", 19632),
    ("regnet_y_400mf", 402),
    ("regnet_y_800mf", 834),
    ("regnet_y_1_6gf", 1612),
    ("regnet_y_3_2gf", 3176),
    ("regnet_y_8gf", 8473),
    ("regnet_y_16gf", 15912),
    ("densenet121", 2834),
    ("densenet169", 3360),
    ("densenet201", 4291),
    ("shufflenet_v2_x0_5", 40),
    ("shufflenet_v2_x1_0", 145),
    ("shufflenet_v2_x1_5", 296),
    ("shufflenet_v2_x2_0", 583),
];

/// Multiply-accumulate operations of the network called `name` for one image of its own size, to a million.
#[must_use]
pub fn macs(name: &str) -> Option<u64> {
    MEGA_MACS.iter().find(|cost| cost.0 == name).map(|cost| u64::from(cost.1) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputShape, ModelConfig, NameInfo, summarize};

    fn counted(info: &NameInfo) -> u64 {
        let size = info.default_size;
        let input = InputShape { channels: info.channels, height: size, width: size };
        summarize(&ModelConfig::from_name(info.name, input, info.classes).unwrap()).unwrap().macs()
    }

    fn check(infos: impl Iterator<Item = &'static NameInfo>) {
        let mut wrong = Vec::new();
        for info in infos {
            let found = counted(info);
            if macs(info.name).is_none_or(|macs| macs.abs_diff(found) > 500_000) {
                wrong.push(format!("(\"{}\", {}),", info.name, (found as f64 / 1e6).round()));
            }
        }
        assert!(wrong.is_empty(), "the table should say:\n{}", wrong.join("\n"));
    }

    #[test]
    fn the_table_says_what_small_networks_do() {
        check(
            ModelConfig::names().iter().filter(|info| macs(info.name).is_none_or(|macs| macs < 200_000_000)),
        );
    }

    #[test]
    #[ignore = "runs every network once: cargo test --release -p pyrograph-model cost -- --ignored"]
    fn the_table_says_what_all_networks_do() {
        check(ModelConfig::names().iter());
    }
}
