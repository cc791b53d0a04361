//! What holds for every step, and what holds between steps.

use std::collections::BTreeSet;

use super::*;
use crate::Image;
use crate::testing::shared_data;

/// A pipeline of one step of each kind, with arguments that make it do something.
const EVERY_STEP: [&str; 32] = [
    "resize(24)",
    "resize(40, width=12, filter=lanczos)",
    "center_crop(20)",
    "center_crop(9, width=40)",
    "random_resized_crop(24, scale=0.35..1, ratio=0.75..1.3333, filter=bicubic)",
    "random_crop(20, padding=4)",
    "random_crop(28, width=40, padding=3, mode=reflect)",
    "pad(3, fill=128)",
    "pad(70, mode=edge)",
    "flip(p=1)",
    "vflip(p=1)",
    "rotate(30)",
    "rotate(-10..40, filter=bilinear, fill=9)",
    "affine(20, translate=0.1, scale=0.8..1.2, shear=10, filter=bicubic)",
    "perspective(0.4, p=1)",
    "color_jitter(0.4, 0.4, 0.4, 0.1)",
    "brightness(1.4, p=1)",
    "contrast(0.6, p=1)",
    "saturation(1.8, p=1)",
    "hue(0.1, p=1)",
    "grayscale(p=1)",
    "blur(5, sigma=0.5..1.5)",
    "invert(p=1)",
    "solarize(100, p=1)",
    "posterize(3, p=1)",
    "equalize(p=1)|autocontrast(p=1)",
    "sharpness(2, p=1)",
    "random_erasing(p=1, value=random)",
    "rand_augment(3, 20, fill=128)",
    "trivial_augment_wide(filter=bilinear)",
    "auto_augment(svhn)|auto_augment(cifar10)|auto_augment",
    "augmix(severity=5)",
];

fn pipeline(text: &str) -> Pipeline {
    text.parse().unwrap()
}

fn draws(index: u64) -> Draws {
    Draws { seed: 1, epoch: 2, index }
}

/// A picture whose values change in every direction.
fn picture(width: u32, height: u32, channels: u8) -> Image {
    let value = |n: u32| {
        let (pixel, channel) = (n / u32::from(channels), n % u32::from(channels));
        let (x, y) = (pixel % width, pixel / width);
        (x * 7 + y * 5 + channel * 60 + (x * y) % 13) as u8
    };
    Image::new(width, height, channels, (0..width * height * u32::from(channels)).map(value).collect())
}

/// A scene with a box, the same box drawn on a mask, and the box's middle as a key point.
fn marked(width: u32, height: u32, [left, top, right, bottom]: [u32; 4]) -> Scene {
    let inside = |n: u32| {
        let (x, y) = (n % width, n / width);
        ((left..right).contains(&x) && (top..bottom).contains(&y)) as u8 * 200
    };
    let mask = Image::new(width, height, 1, (0..width * height).map(inside).collect());
    let [l, t, r, b] = [left, top, right, bottom].map(|v| v as f32);
    Scene {
        image: mask.clone().with_channels(3),
        boxes: vec![BoundingBox { left: l, top: t, right: r, bottom: b, object: 3 }],
        masks: vec![mask],
        keypoints: vec![Point { x: (l + r) / 2.0, y: (t + b) / 2.0, visible: true }],
    }
}

/// The bounding box (left, top, right, bottom) of what is not 0.
fn bounds(mask: &Image) -> Option<[f32; 4]> {
    let lit = mask.pixels().iter().enumerate().filter(|(_, v)| **v > 0);
    let places = lit.map(|(n, _)| (n as u32 % mask.width(), n as u32 / mask.width()));
    places.fold(None, |found: Option<[f32; 4]>, (x, y)| {
        let (x, y) = (x as f32, y as f32);
        let [l, t, r, b] = found.unwrap_or([x, y, x, y]);
        Some([l.min(x), t.min(y), r.max(x + 1.0), b.max(y + 1.0)])
    })
}

fn worst(a: &Image, b: &Image) -> u8 {
    assert_eq!((a.width(), a.height(), a.channels()), (b.width(), b.height(), b.channels()));
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn every_step_conforms() {
    let extremes = [
        "perspective(1, p=1)",
        "affine(360, translate=1, scale=0.1..10, shear=80, filter=bilinear)",
        "blur(255, sigma=100..100)",
        "random_resized_crop(5, scale=0..0.001, ratio=0.01..100)",
        "rand_augment(16, 30)",
    ];
    for text in EVERY_STEP.into_iter().chain(extremes) {
        let steps = pipeline(text);
        for channels in [1, 3] {
            for (width, height) in [(1, 1), (1, 17), (17, 1), (2, 2), (31, 8), (40, 40)] {
                for index in 0..20 {
                    let mut scene = Scene::from(picture(width, height, channels));
                    scene.masks = vec![picture(width, height, 1)];
                    let mut again = scene.clone();
                    steps.apply(&mut scene, &draws(index));
                    steps.apply(&mut again, &draws(index));
                    assert_eq!(scene, again, "{text} changes its mind");
                    assert_eq!(scene.image.channels(), channels, "{text}");
                    assert!(scene.size().0 > 0 && scene.size().1 > 0, "{text}");
                    let mask = &scene.masks[0];
                    assert_eq!(((mask.width(), mask.height()), mask.channels()), (scene.size(), 1), "{text}");
                    assert!(scene.boxes.is_empty() && scene.keypoints.is_empty());
                }
            }
        }
    }
}

#[test]
fn every_kind_is_among_the_steps_that_are_tested() {
    let tested: BTreeSet<&str> =
        EVERY_STEP.iter().flat_map(|text| text.split('|')).map(|s| s.split('(').next().unwrap()).collect();
    assert!(Step::names().collect::<BTreeSet<_>>() == tested);
}

#[test]
fn colours_change_and_markings_stay_or_both_move() {
    for text in EVERY_STEP {
        let steps = pipeline(text);
        let moved = (0..20).any(|index| {
            let mut scene = marked(40, 32, [10, 11, 25, 20]);
            let before = scene.clone();
            steps.apply(&mut scene, &draws(index));
            let same_place = scene.boxes == before.boxes && scene.keypoints == before.keypoints;
            assert_eq!(same_place, scene.masks == before.masks, "{text}: {:?}", scene.boxes);
            !same_place
        });
        let name = pipeline(text).steps()[0].name();
        let colour = [
            "color_jitter",
            "brightness",
            "contrast",
            "saturation",
            "hue",
            "grayscale",
            "blur",
            "invert",
            "solarize",
            "posterize",
            "equalize",
            "sharpness",
            "random_erasing",
            "augmix",
        ];
        assert_eq!(moved, !colour.contains(&name), "{text}");
    }
}

#[test]
fn a_box_stays_the_bounding_box_of_its_mask() {
    let mut seen = 0;
    // Padding that repeats the picture repeats the mask; and a box turned twice is wider than its mask turned twice.
    let left_out = |text: &str| ["reflect", "edge", "|", "rand_augment"].iter().any(|t| text.contains(t));
    for text in EVERY_STEP.into_iter().filter(|text| !left_out(text)).chain(["rand_augment(1, 20)"]) {
        for index in 0..100 {
            let n = index as u32;
            let (left, top) = (n * 7 % 60, n * 11 % 44);
            let mut scene = marked(100, 80, [left, top, left + 12 + n % 27, top + 10 + n % 23]);
            pipeline(text).apply(&mut scene, &draws(index));
            let Some(found) = scene.boxes.first() else { continue };
            let drawn = bounds(&scene.masks[0]).unwrap();
            let pairs = [found.left, found.top, found.right, found.bottom].into_iter().zip(drawn);
            // A corner that is turned or cut may be too sharp to meet the middle of a pixel.
            let upright = ["resize", "crop", "pad", "flip"].iter().any(|kind| text.contains(kind));
            let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= if upright { 1.0 } else { 2.0 }, "{text} {index}: {found:?} is drawn {drawn:?}");
            seen += 1;
            let point = scene.keypoints[0];
            if point.visible {
                let at = point.y as usize * scene.size().0 as usize + point.x as usize;
                assert!(scene.masks[0].pixels()[at] > 0, "{text} {index}: {point:?}");
            }
        }
    }
    assert!(seen > 2000, "{seen}");
}

#[test]
fn every_text_comes_back_as_it_was() {
    let texts = EVERY_STEP.iter().copied().chain([
        "",
        "random_resized_crop(224)|flip|rand_augment",
        "resize(256)|center_crop(224)",
        "random_erasing(value=7)|pad(2, mode=reflect)",
        "affine(-5..15, shear=-3..3.5)",
    ]);
    for text in texts {
        let parsed = pipeline(text);
        assert_eq!(pipeline(&parsed.to_string()), parsed, "{text}");
        let json = serde_json::to_string(&parsed).unwrap();
        assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), parsed, "{text}");
        assert_eq!(Pipeline::new(parsed.steps()).unwrap(), parsed);
    }
    for (written, shown) in [
        (" flip ( p = 0.5 ) | resize( size=256 ) ", "flip|resize(256)"),
        ("rotate(-30..30)", "rotate(30)"),
        ("rand_augment(2, 9)", "rand_augment"),
        ("rand_augment(3, fill=128)", "rand_augment(n=3, fill=128)"),
        (
            "color_jitter(0.4,0.4,0.4,0.1)",
            "color_jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)",
        ),
        ("random_resized_crop(224, 320)", "random_resized_crop(224, width=320)"),
        ("center_crop(224, 224)", "center_crop(224)"),
        ("solarize(128)", "solarize(128)"),
    ] {
        assert_eq!(pipeline(written).to_string(), shown);
    }
}

#[test]
fn what_is_wrong_in_a_text_is_named() {
    for (text, message) in [
        ("flop", "there is no step `flop`; did you mean `flip`?"),
        ("randaugment(2, 9)", "there is no step `randaugment`; did you mean `rand_augment`?"),
        ("RandomHorizontalFlip", "there is no step `RandomHorizontalFlip`; did you mean `flip`?"),
        ("RandomResizedCrop(8)", "there is no step `RandomResizedCrop`; did you mean `random_resized_crop`?"),
        ("RandomRotation(9)", "there is no step `RandomRotation`; did you mean `rotate`?"),
        ("Grayscale", "there is no step `Grayscale`; did you mean `grayscale`?"),
        ("resize", "`resize` needs `size`: a whole number from 1 to 4096"),
        ("resize(0)", "`resize` has `size=0`; it must be a whole number from 1 to 4096"),
        ("resize(1e3)", "`resize` has `size=1e3`; it must be a whole number from 1 to 4096"),
        ("resize(8, filtre=nearest)", "`resize` has no argument `filtre`; did you mean `filter`?"),
        (
            "resize(8, filter=box)",
            "`resize` has `filter=box`; it must be one of nearest, bilinear, bicubic, lanczos",
        ),
        ("flip(2)", "`flip` has `p=2`; it must be a number from 0 to 1"),
        ("flip(nan)", "`flip` has `p=nan`; it must be a number from 0 to 1"),
        ("flip(0.1, 0.2)", "`flip` has an argument too many, `0.2`; it takes p"),
        ("flip(0.1, p=0.2)", "`flip` has two values for `p`; remove one"),
        ("flip(p=0.1, p=0.2)", "`flip` has two values for `p`; remove one"),
        ("resize(size=8, 9)", "`resize(size=8, 9)`: `9` follows an argument with a name; give its name too"),
        ("random_resized_crop(8, scale=1..0.5)", "`low..high` within 0 to 1"),
        ("random_resized_crop(8, scale=0.5)", "`low..high` within 0 to 1"),
        ("blur(4)", "`blur` has `kernel=4`; it must be an odd number of pixels from 1 to 255"),
        ("rotate(400)", "it must be a number from 0 to 360, or `low..high` within -360 to 360"),
        ("posterize(9)", "`posterize` has `bits=9`; it must be a whole number from 0 to 8"),
        ("flip(", "`flip(`: a bracket does not close"),
        ("flip(p=(1))", "a bracket does not close"),
        ("flip||vflip", "a step is missing beside a `|`"),
        ("flip(,)", "nothing between two commas"),
        ("flip(p)", "`flip` has `p=p`"),
    ] {
        let problem = text.parse::<Pipeline>().unwrap_err().to_string();
        assert!(problem.contains(message), "{text}: {problem}");
    }
    assert!("zzzzzz".parse::<Pipeline>().unwrap_err().to_string().contains("it may be: resize, "));
    assert!(["flip"; 65].join("|").parse::<Pipeline>().is_err());
    let bad = Step::Resize(Resize { size: 0, ..Resize::default() });
    assert!(Pipeline::new(&[bad]).is_err());
    let bad = Step::Rotate(Rotate { p: f32::NAN, ..Rotate::default() });
    assert!(Pipeline::new(&[bad]).is_err());
}

#[test]
fn a_view_shows_what_the_steps_give() {
    let (mut alike, mut dropped) = (0, 0);
    for text in [
        "resize(48)|center_crop(40)",
        "resize(48, filter=bicubic)|flip|center_crop(40, width=30)|flip|vflip",
        "random_resized_crop(32)|flip",
        "flip|random_resized_crop(32, filter=lanczos)|center_crop(20)|invert(p=1)",
        "random_crop(24)|flip(p=1)",
        "resize(20, width=90)|random_crop(20)|rotate(10)",
        "flip(p=1)|center_crop(31)|resize(40)",
        "resize(70)|resize(40)",
        "center_crop(30)|random_resized_crop(16)",
        "random_resized_crop(32)|random_crop(32, padding=4)",
    ] {
        let steps = pipeline(text);
        for (width, height) in [(97, 61), (40, 33), (33, 200)] {
            for index in 0..10 {
                let draws = draws(index);
                let whole =
                    Scene { image: picture(width, height, 3), ..marked(width, height, [8, 9, 30, 31]) };
                let (mut by_steps, mut by_view) = (whole.clone(), whole);
                steps.apply(&mut by_steps, &draws);
                let (view, covered) = steps.view(width, height, &draws).unwrap();
                view.apply(&mut by_view);
                assert_eq!(by_view.size(), (view.out_width, view.out_height), "{text}");
                steps.apply_from(covered, &mut by_view, &draws);
                let off = worst(&by_steps.image, &by_view.image);
                assert!(off <= 1, "{text} {width}x{height} {index}: {off} levels");
                // The steps ask one by one how much of a box is left, the view asks once.
                if by_steps.boxes.len() == by_view.boxes.len() {
                    alike += 1
                } else {
                    dropped += 1
                }
                for (a, b) in by_steps.boxes.iter().zip(&by_view.boxes) {
                    assert!((a.left - b.left).abs() < 1e-2 && (a.bottom - b.bottom).abs() < 1e-2, "{text}");
                }
                for (a, b) in by_steps.keypoints.iter().zip(&by_view.keypoints) {
                    assert!((a.x - b.x).abs() < 1e-2 && (a.y - b.y).abs() < 1e-2, "{text}");
                }
            }
        }
    }
    assert!(dropped * 20 < alike, "{dropped} boxes of {alike} are seen by one and not by the other");
}

#[test]
fn a_view_covers_as_many_steps_as_are_one_resampling() {
    let covered = |text, width, height| pipeline(text).view(width, height, &draws(0)).map(|(_, n)| n);
    assert_eq!(covered("resize(256)|center_crop(224)|flip|color_jitter(0.4)", 500, 375), Some(3));
    assert_eq!(covered("random_resized_crop(224)|flip|rand_augment", 500, 375), Some(2));
    assert_eq!(covered("resize(100)|center_crop(224)", 500, 375), Some(1), "the crop needs padding");
    assert_eq!(covered("center_crop(224)", 100, 375), None);
    assert_eq!(covered("random_crop(32)", 32, 32), Some(1));
    assert_eq!(covered("pad(4)", 32, 32), None);
    assert_eq!(covered("color_jitter|resize(8)", 32, 32), None);
    assert_eq!(covered("", 32, 32), None);
    assert_eq!(covered("resize(8)", 0, 32), None);
    // A sliver of a picture is not blown up before it is cut.
    let (view, _) = pipeline("resize(256)|center_crop(224)").view(1, 30_000, &draws(0)).unwrap();
    assert_eq!((view.out_width, view.out_height), (224, 224));
}

#[test]
fn photos_equal_those_of_pillow_and_torchvision() {
    let Some(folder) = shared_data("../golden/resize") else { return };
    for photo in
        ["n01440764_tench", "n02102480_Sussex_spaniel", "n02894605_breakwater", "n04204238_shopping_basket"]
    {
        let original = Image::open(folder.join(format!("{photo}.decoded.png"))).unwrap();
        for filter in ["bilinear", "bicubic"] {
            let theirs = Image::open(folder.join(format!("{photo}.{filter}.256.224.png"))).unwrap();
            let steps = pipeline(&format!("resize(256, filter={filter})|center_crop(224)"));
            let mut by_steps = Scene::from(original.clone());
            steps.apply(&mut by_steps, &draws(0));
            let mut by_view = Scene::from(original.clone());
            let (view, covered) = steps.view(original.width(), original.height(), &draws(0)).unwrap();
            assert_eq!(covered, 2);
            view.apply(&mut by_view);
            let (steps, view) = (worst(&by_steps.image, &theirs), worst(&by_view.image, &theirs));
            assert!(steps <= 1 && view <= 1, "{photo} {filter}: {steps} by steps, {view} by view");
        }
    }
}

#[test]
fn adding_a_step_does_not_move_the_draws_of_another() {
    let image = picture(40, 30, 3);
    let result = |text: &str, index| {
        let mut scene = Scene::from(image.clone());
        pipeline(text).apply(&mut scene, &draws(index));
        scene.image
    };
    let mut different = 0;
    for index in 0..50 {
        // Steps that are sure to do nothing, before and between.
        let alone = result("flip|random_erasing", index);
        assert_eq!(result("vflip(p=0)|flip|rotate(90, p=0)|random_erasing", index), alone);
        assert_eq!(result("flip|random_erasing|flip(p=0)", index), alone);
        // The second flip draws for itself: two flips are not always the identity.
        different += usize::from(result("flip|flip", index) != image);
    }
    assert!((12..38).contains(&different), "{different}");
}

#[test]
fn probabilities_are_met() {
    let image = picture(24, 20, 3);
    for (step, p) in [
        ("flip", 0.5),
        ("vflip(p=0.2)", 0.2),
        ("invert(p=0.9)", 0.9),
        ("grayscale", 0.1),
        ("blur(3, sigma=2..2, p=0.3)", 0.3),
        ("random_erasing(p=0.6, value=random)", 0.6),
        ("rotate(90..90, p=0.25)", 0.25),
        ("solarize(0)", 0.5),
        ("color_jitter(0.9, p=0.4)", 0.4),
    ] {
        let steps = pipeline(step);
        let changed = (0..1000).filter(|&index| {
            let mut scene = Scene::from(image.clone());
            steps.apply(&mut scene, &draws(index));
            scene.image != image
        });
        let share = changed.count() as f64 / 1000.0;
        // Four standard deviations.
        assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / 1000.0).sqrt() + 0.005, "{step}: {share}");
    }
}

/// `n` fractions as the reference results' recipe makes them from a name.
fn unit(name: &str, n: u64) -> Vec<f64> {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    let fraction = |i: u64| {
        let mut z = hash.wrapping_add(i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..n).map(fraction).collect()
}

#[test]
fn colours_and_places_equal_those_of_pillow_and_torchvision() {
    let Some(path) = shared_data("../golden/ops.json") else { return };
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let golden = &golden["colour_and_geometry"];
    let pixels = unit("image", 24 * 32 * 3).into_iter().map(|u| (u * 256.0) as u8).collect();
    let image = Image::new(32, 24, 3, pixels);
    let step = |text: &str| -> Image {
        let mut scene = Scene::from(image.clone());
        pipeline(text).apply(&mut scene, &draws(0));
        scene.image
    };
    let by = |op: policy::Op, magnitude: f64| {
        let mut scene = Scene::from(image.clone());
        let moving = policy::Moving { filter: crate::Filter::Nearest, fill: 128 };
        op.apply(magnitude, &mut scene, moving);
        scene.image
    };
    let translated = {
        let mut scene = Scene::from(image.clone());
        let map = turn::affine([16.0, 12.0], 0.0, [5.0, -3.0], 1.0, [0.0; 2]);
        scene.warp(&map, crate::Filter::Nearest, 128);
        scene.image
    };
    let results = [
        ("hflip", step("flip(p=1)"), 0),
        ("autocontrast", step("autocontrast(p=1)"), 0),
        ("equalize", step("equalize(p=1)"), 0),
        ("invert", step("invert(p=1)"), 0),
        ("posterize 4 bits", step("posterize(4, p=1)"), 0),
        ("solarize 128", step("solarize(128, p=1)"), 0),
        ("brightness 1.4", step("brightness(1.4, p=1)"), 0),
        ("contrast .6", step("contrast(0.6, p=1)"), 0),
        ("saturation 1.8", step("saturation(1.8, p=1)"), 0),
        ("hue .1", step("hue(0.1, p=1)"), 1),
        ("sharpness 2", step("sharpness(2, p=1)"), 0),
        ("grayscale 3", step("grayscale(p=1)"), 0),
        ("rotate 30 nearest fill 128", step("rotate(30..30, fill=128)"), 0),
        ("shear_x atan(.3) nearest fill 128", by(policy::Op::ShearX, 0.3), 0),
        ("translate 5,-3 fill 128", translated, 0),
    ];
    for (name, ours, allowed) in results {
        let theirs = &golden[name];
        let row = |key: &str| -> Vec<i64> {
            theirs[key].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
        };
        for (y, key) in [(0, "first_row"), (12, "middle_row")] {
            let ours = ours.pixels()[y * 96..][..96].iter().map(|v| i64::from(*v));
            let off = ours.zip(row(key)).map(|(a, b)| (a - b).abs()).max();
            assert!(off <= Some(allowed), "{name}: {key} is {off:?} levels off");
        }
        let sum: i64 = ours.pixels().iter().map(|v| i64::from(*v)).sum();
        let off = (sum - theirs["sum"].as_i64().unwrap()).abs();
        println!("{name}: sums differ by {off}");
        assert!(off <= allowed * 24 * 32 * 3 / 100, "{name}: the sum is {off} off");
    }
}

#[test]
fn every_step_tells_its_arguments_and_their_defaults() {
    for name in Step::names() {
        let arguments = Step::arguments_of(name).unwrap();
        // What has to be given is a length or a share.
        let call = |needed: &str| {
            let given = arguments.iter().filter_map(|argument| match argument.default.as_deref() {
                None => Some(format!("{}={needed}", argument.name)),
                Some("") => None,
                Some(value) => Some(format!("{}={value}", argument.name)),
            });
            format!("{name}({})", given.collect::<Vec<_>>().join(", ")).parse::<Step>()
        };
        let step = call("7").or_else(|_| call("0.4")).unwrap();
        assert_eq!(step.name(), name);
        assert!(arguments.iter().all(|argument| !argument.may_be.is_empty()));
    }
    assert_eq!(Step::arguments_of("no_such_step"), None);
}
