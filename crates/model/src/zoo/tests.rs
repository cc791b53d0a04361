//! The networks by name: sizes, shapes, pyramids, refusals.

use super::*;
use crate::named_tensors;
use burn::module::{ModuleMapper, Param};

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

/// The network with 0 for every weight, which takes no drawing: where only shapes matter.
fn zeros(config: &ModelConfig) -> Model {
    struct Zeros;
    impl ModuleMapper for Zeros {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (zeros, id) = (Tensor::zeros(param.lazy_shape(), &param.lazy_device()), param.id);
            param.transform_for_load(zeros, id)
        }
    }
    config.init(0, &Device::flex()).map(&mut Zeros)
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
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("wide_resnet50_2", 68_883_240),
        ("wide_resnet101_2", 126_886_696),
        ("resnet18d", 11_708_744),
        ("resnet50d", 25_576_264),
        ("convnext_atto", 3_695_520),
        ("convnext_femto", 5_217_784),
        ("convnext_pico", 9_045_672),
        ("convnext_nano", 15_593_560),
        ("convnext_tiny", 28_589_128),
        ("convnext_small", 50_223_688),
        ("convnext_base", 88_591_464),
        ("convnext_large", 197_767_336),
        ("vit_tiny_patch16_224", 5_717_416),
        ("vit_small_patch16_224", 22_050_664),
        ("vit_base_patch16_224", 86_567_656),
        ("vit_base_patch32_224", 88_224_232),
        ("vit_large_patch16_224", 304_326_632),
        ("deit_tiny_patch16_224", 5_717_416),
        ("deit_small_patch16_224", 22_050_664),
        ("deit_base_patch16_224", 86_567_656),
        ("vit_b_16", 86_567_656),
        ("vit_b_32", 88_224_232),
        ("vit_l_16", 304_326_632),
        ("swin_t", 28_288_354),
        ("swin_s", 49_606_258),
        ("swin_b", 87_768_224),
        ("mobilenet_v1_100", 4_231_976),
        ("mobilenet_v1_025_leaky", 470_072),
        ("mobilenet_keras", 4_231_976),
        ("mobilenet_v2", 3_504_872),
        ("mobilenet_v3_small", 2_542_856),
        ("mobilenet_v3_large", 5_483_032),
        ("efficientnet_b0", 5_288_548),
        ("efficientnet_b1", 7_794_184),
        ("efficientnet_b2", 9_109_994),
        ("efficientnet_b3", 12_233_232),
        ("efficientnet_b4", 19_341_616),
        ("efficientnet_b4_keras", 19_341_616),
        ("mobilenetv4_conv_small", 3_774_024),
        ("mobilenetv4_conv_medium", 9_715_512),
        ("squeezenet1_0", 1_248_424),
        ("squeezenet1_1", 1_235_496),
        ("vgg11_bn", 132_868_840),
        ("vgg13_bn", 133_053_736),
        ("vgg16_bn", 138_365_992),
        ("vgg19_bn", 143_678_248),
        ("regnet_y_400mf", 4_344_144),
        ("regnet_y_800mf", 6_432_512),
        ("regnet_y_1_6gf", 11_202_430),
        ("regnet_y_3_2gf", 19_436_338),
        ("regnet_y_8gf", 39_381_472),
        ("regnet_y_16gf", 83_590_140),
        ("densenet121", 7_978_856),
        ("densenet169", 14_149_480),
        ("densenet201", 20_013_928),
        ("shufflenet_v2_x0_5", 1_366_792),
        ("shufflenet_v2_x1_0", 2_278_604),
        ("shufflenet_v2_x1_5", 3_503_624),
        ("shufflenet_v2_x2_0", 7_393_996),
    ] {
        assert_eq!(config(name).parameters(), count, "{name}");
    }
}

/// Every network for images of `photo` pixels where it was made for photos, with 7 classes. The largest are left out: they are
/// smaller ones of their family with other numbers.
fn networks(photo: usize) -> impl Iterator<Item = (&'static NameInfo, usize, Model)> {
    ModelConfig::names().iter().filter_map(move |info| {
        let size = if info.default_size > 64 { photo } else { info.default_size };
        let input = InputShape { channels: info.channels, height: size, width: size };
        let config = ModelConfig::from_name(info.name, input, 7).unwrap();
        (config.parameters() < 50_000_000).then(|| (info, size, zeros(&config)))
    })
}

#[test]
fn every_network_maps_images_to_one_logit_a_class() {
    let device = Device::flex();
    for (info, size, model) in networks(64) {
        let images = Tensor::ones([2, info.channels, size, size], &device);
        assert_eq!(model.forward(images).dims(), [2, 7], "{}", info.name);
    }
}

#[test]
fn every_pyramid_has_the_channels_and_strides_it_claims() {
    let device = Device::flex();
    for (info, size, model) in networks(96) {
        let levels = model.backbone().levels();
        let features = model.features(Tensor::ones([1, info.channels, size, size], &device));
        assert_eq!(features.len(), levels.len());
        for (feature, level) in features.iter().zip(&levels) {
            let mut side = size.div_ceil(level.stride);
            if info.name.starts_with("squeezenet") {
                // Its first convolution has no padding.
                assert!((side - 3..side).contains(&feature.dims()[2]), "{}: {level:?}", info.name);
                side = feature.dims()[2];
            }
            assert_eq!(feature.dims(), [1, level.channels, side, side], "{}: {level:?}", info.name);
        }
    }
}

#[test]
fn files_of_other_networks_do_not_say_that_they_are_not_keras() {
    for (name, keras) in [("mobilenet_v1_100", "mobilenet_keras"), ("resnet50", "resnet50_keras")] {
        let text = serde_json::to_string(&config(name)).unwrap();
        assert!(!text.contains("keras"), "{text}");
        assert!(!serde_json::from_str::<ModelConfig>(&text).unwrap().is_keras());
        let text = serde_json::to_string(&config(keras)).unwrap();
        assert!(serde_json::from_str::<ModelConfig>(&text).unwrap().is_keras(), "{text}");
        assert_eq!(config(keras).name(), Some(keras));
    }
}

#[test]
fn parameters_belong_to_the_stage_that_uses_them() {
    for info in ModelConfig::names() {
        let input =
            InputShape { channels: info.channels, height: info.default_size, width: info.default_size };
        let model = ModelConfig::from_name(info.name, input, 7).unwrap().init(0, &Device::flex());
        let backbone = model.backbone();
        let stages = param_infos(&model).into_iter().map(|param| backbone.stage_of(&param.name));
        let used: std::collections::BTreeSet<usize> = stages.collect();
        assert_eq!(used, (0..=backbone.levels().len()).collect(), "{}", info.name);
    }
}

#[test]
fn without_classes_there_are_features() {
    let device = Device::flex();
    let widths = [
        ("resnet18", 512),
        ("resnet20", 64),
        ("convnext_atto", 320),
        ("vit_tiny_patch16_224", 192),
        ("swin_t", 768),
        ("mobilenet_v3_small", 1024),
        ("squeezenet1_1", 512),
        ("mobilenetv4_conv_small", 1280),
    ];
    for (name, width) in widths {
        let mut config = config(name);
        config.common_mut().classes = 0;
        config.common_mut().input = InputShape { channels: 3, height: 32, width: 48 };
        config.check().unwrap();
        let features = config.init(0, &device).forward(Tensor::ones([2, 3, 32, 48], &device));
        assert_eq!(features.dims(), [2, width], "{name}");
    }
}

#[test]
fn paths_are_left_out_only_while_learning() {
    let device = Device::flex();
    for name in ["resnet18", "vit_tiny_patch16_224", "swin_t"] {
        let mut config = config(name);
        config.common_mut().input = InputShape { channels: 3, height: 32, width: 32 };
        let logits = |config: &ModelConfig, device: &Device| {
            crate::noise::of_step(7, 1);
            let images = Tensor::ones([2, 3, 32, 32], device);
            config.init(0, device).forward(images).into_data().try_to_vec::<f32>().unwrap()
        };
        let whole = logits(&config, &device);
        config.common_mut().drop_path = 0.9;
        assert_eq!(logits(&config, &device), whole, "{name}");
        let learning = logits(&config, &device.clone().autodiff());
        assert!(learning != whole && learning.iter().all(|value| value.is_finite()), "{name}");
    }
}

#[test]
fn logits_of_an_image_do_not_depend_on_its_batch() {
    let device = Device::flex();
    let logits = |model: &Model, images| model.forward(images).into_data().try_to_vec::<f32>().unwrap();
    for name in ["mlp", "small_cnn", "resnet20", "swin_t"] {
        let mut config = config(name);
        if name == "swin_t" {
            *config.common_mut() = Common::new(InputShape { channels: 3, height: 72, width: 64 }, 10);
        }
        let model = config.init(3, &device);
        let InputShape { channels, height, width } = config.input();
        let pixels = Tensor::arange(0..(4 * config.input().values()) as i64, &device).float();
        let images = (pixels * 0.37).sin().reshape([4, channels, height, width]);
        let together = logits(&model, images.clone());
        for (n, image) in images.chunk(4, 0).into_iter().enumerate() {
            let alone = logits(&model, image);
            let off = alone.iter().zip(&together[10 * n..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
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
fn a_configuration_knows_its_name() {
    for info in ModelConfig::names() {
        let mut config = config(info.name);
        config.common_mut().dropout = 0.5;
        // DeiT is ViT by another name.
        let name = config.name().unwrap().replace("vit_", "deit_");
        assert_eq!(name, info.name.replace("deit_", "vit_").replace("vit_", "deit_"));
    }
}

#[test]
fn an_unknown_name_gets_the_nearest() {
    for (name, nearest) in
        [("resnet21", "resnet20"), ("swin_tiny", "swin_t"), ("efficientnet-b0", "efficientnet_b0")]
    {
        let error = ModelConfig::from_name(name, config("mlp").input(), 10).unwrap_err().to_string();
        assert!(error.contains(&format!("did you mean `{nearest}`")), "{error}");
    }
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
    let error = ModelConfig::from_name("fcn_resnet50", config("resnet18").input(), 10).unwrap_err();
    assert!(error.to_string().contains("`fcn_resnet50` segments"), "{error}");
    let uneven = InputShape { channels: 3, height: 64, width: 72 };
    let error = ModelConfig::from_name("vit_tiny_patch16_224", uneven, 10).unwrap_err().to_string();
    assert!(error.contains("the image width is 72; it must be a multiple of 16"), "{error}");
    assert!(error.ends_with("as 64 or 80"), "{error}");
    assert!(ModelConfig::from_name("convnext_atto", InputShape { height: 31, ..uneven }, 10).is_err());
    assert!(ModelConfig::from_name("mobilenet_keras", InputShape { height: 30, ..uneven }, 10).is_err());
    let tiny = InputShape { channels: 1, height: 3, width: 28 };
    assert!(ModelConfig::from_name("small_cnn", tiny, 10).is_err());
    let ModelConfig::ResNet(resnet18) = config("resnet18") else { unreachable!("that is one") };
    let wrong = [
        ResNetConfig { depth: 19, ..resnet18.clone() },
        ResNetConfig { groups: 0, ..resnet18.clone() },
        ResNetConfig { dilated: true, ..resnet18 },
    ];
    assert!(wrong.into_iter().all(|config| ModelConfig::ResNet(config).check().is_err()));
    let common = Common::new(config("resnet18").input(), 10);
    let wrong = [
        ModelConfig::MobileNetV1(MobileNetV1Config { common, width: 60, leaky: false, keras: false }),
        ModelConfig::EfficientNet(EfficientNetConfig { common, scale: 5, keras: false }),
        ModelConfig::Vgg(VggConfig { common, depth: 12 }),
        ModelConfig::Vgg(VggConfig { common: Common { classes: 100_000, ..common }, depth: 11 }),
        ModelConfig::RegNet(RegNetConfig { common, megaflops: 0 }),
        ModelConfig::DenseNet(DenseNetConfig { common, depth: 161 }),
        ModelConfig::ShuffleNetV2(ShuffleNetV2Config { common, width: 75 }),
    ];
    assert!(wrong.iter().all(|config| config.check().is_err()));
    let mut dropping = config("resnet18");
    dropping.common_mut().drop_path = 1.0;
    assert!(dropping.check().is_err());
}
