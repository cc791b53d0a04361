//! Checks of small made sets, of hostile ones and of real ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};

use super::*;
use crate::source::{Memory, Sample};
use crate::testing::shared_data;
use crate::{Image, Place, source::Stored};

/// A picture that looks like no other number's.
fn picture(number: u32, width: u32, height: u32) -> RgbImage {
    let value = |x: u32, y: u32| {
        let cell = u64::from(8 * x / width + 8 * (8 * y / height)) + 64 * u64::from(number);
        let mixed = (cell + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 56) as u8
    };
    RgbImage::from_fn(width, height, |x, y| Rgb([value(x, y); 3]))
}

fn put(path: &Path, number: u32, format: ImageFormat) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture(number, 32, 32).save_with_format(path, format).unwrap();
}

/// Two classes of 15 good pictures each for training, and 3 each for validation.
fn good_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let class = ["cat", "dog"][number as usize % 2];
        put(&root.path().join(format!("train/{class}/{number:02}.png")), number, ImageFormat::Png);
    }
    for number in 30..36 {
        let class = ["cat", "dog"][number as usize % 2];
        put(&root.path().join(format!("val/{class}/{number}.png")), number, ImageFormat::Png);
    }
    root
}

fn checked(root: &Path) -> CheckReport {
    check(&DataSet::open(root).unwrap(), &CheckOptions::default(), &mut |_, _| ()).unwrap()
}

fn only(report: &CheckReport, problem: Problem) -> &Finding {
    let group = report.groups.iter().find(|group| group.problem == problem).unwrap();
    assert_eq!((group.count, group.findings.len()), (1, 1), "{problem:?}");
    &group.findings[0]
}

#[test]
fn nothing_is_wrong_with_a_good_set() {
    let root = good_tree();
    let mut told = Vec::new();
    let set = DataSet::open(root.path()).unwrap();
    let report = check(&set, &CheckOptions::default(), &mut |done, all| told.push((done, all))).unwrap();
    assert!(report.groups.is_empty(), "{report}");
    assert_eq!(told.last(), Some(&(36, 36)));
    let text = "Checked 36 images in 2 classes (train 30, validation 6)\n\nNothing is wrong; 36 images can be used\n";
    assert_eq!(report.to_string(), text);
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let root = good_tree();
    let folder = root.path().join("train/cat");
    let whole = fs::read(folder.join("00.png")).unwrap();
    fs::write(folder.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("empty.jpg"), "").unwrap();
    fs::write(folder.join("text.jpg"), "I am a text").unwrap();
    let mut huge = b"P5\n60000 60000\n255\n".to_vec();
    huge.push(0);
    fs::write(folder.join("huge.pgm"), huge).unwrap();
    let set = DataSet::open(root.path()).unwrap();
    fs::remove_file(folder.join("00.png")).unwrap();
    let report = check(&set, &CheckOptions::default(), &mut |_, _| ()).unwrap();
    assert_eq!((report.unusable, report.count(Severity::Error), report.count(Severity::Warning)), (5, 5, 0));
    let cut = only(&report, Problem::Damaged);
    assert!(cut.first[0].place.ends_with("cut.png") && cut.message.contains("cannot be decoded"), "{cut:?}");
    assert!(only(&report, Problem::Unreadable).first[0].place.ends_with("00.png"));
    assert!(only(&report, Problem::TooLarge).first[0].place.ends_with("huge.pgm"));
    let text = report.to_string();
    assert!(text.contains("empty.jpg: the file is empty\n"), "{text}");
    assert!(text.contains("text.jpg: not an image"), "{text}");
    assert!(text.ends_with("\n5 errors, 0 warnings; 35 images can be used\n"), "{text}");
}

#[test]
fn copies_are_told_apart_by_where_they_are_and_what_they_are_called() {
    let root = good_tree();
    let copy = |from: &str, to: &str| fs::copy(root.path().join(from), root.path().join(to)).unwrap();
    copy("train/cat/00.png", "train/cat/again.png");
    copy("train/dog/01.png", "val/dog/leak.png");
    copy("train/cat/02.png", "train/dog/conflict.png");
    let report = checked(root.path());
    let leak = only(&report, Problem::Leak);
    assert_eq!((leak.first[0].part, leak.first[1].part), ("train", "validation"));
    let conflict = only(&report, Problem::Conflict);
    assert_eq!((&*conflict.first[0].class, &*conflict.first[1].class), ("cat", "dog"));
    // The two with two labels are in one part.
    assert_eq!(report.count_of(Problem::Duplicate), 2);
    assert_eq!((report.count_of(Problem::LookAlike), report.unusable), (0, 0));
    assert_eq!(report.count(Severity::Error), 2);
}

#[test]
fn a_picture_encoded_again_looks_alike() {
    let root = good_tree();
    // The shadings of a photo, not the even fields of the others: no two places are equally bright.
    let shaded =
        RgbImage::from_fn(90, 80, |x, y| Rgb([(40 + x * 7 / 4 + (x / 10 % 2) * (40 + y / 2)) as u8; 3]));
    shaded.save(root.path().join("train/dog/a.png")).unwrap();
    shaded.save(root.path().join("val/cat/0.bmp")).unwrap();
    let jpeg = fs::File::create(root.path().join("val/cat/0.jpg")).unwrap();
    image::codecs::jpeg::JpegEncoder::new_with_quality(jpeg, 90).encode_image(&shaded).unwrap();
    let report = checked(root.path());
    let alike = only(&report, Problem::LookAlike);
    assert_eq!((alike.pictures, alike.first[0].part), (3, "train"));
    assert_eq!(alike.message, "look alike in several parts with several labels, with other bytes");
    // As light and dark in the same places, but another picture.
    let brighter =
        RgbImage::from_fn(90, 80, |x, y| Rgb(shaded.get_pixel(x, y).0.map(|v| v.saturating_add(20))));
    brighter.save(root.path().join("val/cat/1.bmp")).unwrap();
    assert_eq!(only(&checked(root.path()), Problem::LookAlike).pictures, 3);
    let options = CheckOptions { look_alikes: false, ..CheckOptions::default() };
    let report = check(&DataSet::open(root.path()).unwrap(), &options, &mut |_, _| ()).unwrap();
    assert_eq!(report.count_of(Problem::LookAlike), 0);
}

#[test]
fn names_sizes_and_shapes_are_warnings() {
    let root = good_tree();
    let folder = root.path().join("train/dog");
    put(&folder.join("really.JPG"), 90, ImageFormat::Png);
    picture(91, 6, 30).save(folder.join("narrow.png")).unwrap();
    picture(92, 300, 40).save(folder.join("long.png")).unwrap();
    fs::write(folder.join("notes.txt"), "x").unwrap();
    let report = checked(root.path());
    let named = only(&report, Problem::WrongExtension);
    assert_eq!(named.message, "named .JPG, but it is a png file");
    assert!(only(&report, Problem::OddShape).message.starts_with("300 x 40 pixels, 7.5 times"));
    let sizes = report.groups.iter().find(|group| group.problem == Problem::OddSize).unwrap();
    let messages: Vec<_> = sizes.findings.iter().map(|finding| finding.message.as_str()).collect();
    let usual = "37 of 39 have 32 x 32";
    assert_eq!(
        messages,
        [
            "only 6 x 30 pixels".to_owned(),
            format!("300 x 40 pixels; {usual}"),
            format!("6 x 30 pixels; {usual}")
        ]
    );
    assert!(only(&report, Problem::LeftOut).message.contains("notes.txt"));
    assert_eq!((report.count(Severity::Error), report.unusable), (0, 0));
}

#[test]
fn thin_and_missing_classes_are_named() {
    let root = good_tree();
    for number in 40..45 {
        put(&root.path().join(format!("train/fox/{number}.png")), number, ImageFormat::Png);
    }
    let options = CheckOptions { most_imbalance: 2.5, ..CheckOptions::default() };
    let report = check(&DataSet::open(root.path()).unwrap(), &options, &mut |_, _| ()).unwrap();
    let text = report.to_string();
    assert!(text.contains("  train: the class \"fox\" has 5 images\n"), "{text}");
    assert!(text.contains("  validation: the class \"fox\" has 0 images\n"), "{text}");
    assert!(text.contains("\"dog\" has 15 images, 3 times the 5 of \"fox\""), "{text}");
}

#[test]
fn long_lists_are_cut_and_counted() {
    let root = good_tree();
    for number in 0..12 {
        fs::write(root.path().join(format!("train/cat/bad{number:02}.jpg")), "x").unwrap();
    }
    let options = CheckOptions { kept: 11, ..CheckOptions::default() };
    let report = check(&DataSet::open(root.path()).unwrap(), &options, &mut |_, _| ()).unwrap();
    let text = report.text(3);
    assert!(text.contains("error: Not an image (12)\n"), "{text}");
    assert!(
        text.contains("bad02.jpg") && !text.contains("bad03.jpg") && text.contains("… and 9 more\n"),
        "{text}"
    );
    assert!(report.text(1000).contains("… and 1 more\n"));
    let json = serde_json::to_value(&report).unwrap();
    let group = &json["groups"][0];
    assert_eq!((&group["problem"], &group["severity"]), (&"not_an_image".into(), &"error".into()));
    assert_eq!((group["count"].as_u64(), group["findings"].as_array().unwrap().len()), (Some(12), 11));
    assert_eq!(group["findings"][0]["first"][0]["class"], "cat");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let root = good_tree();
    for number in 0..40 {
        fs::write(root.path().join(format!("train/cat/x{number}.jpg")), format!("{}", number % 7)).unwrap();
    }
    let set = DataSet::open(root.path()).unwrap();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| check(&set, &CheckOptions::default(), &mut |_, _| ()).unwrap())
    };
    let one = with(1);
    assert!(one == with(3) && one == with(8));
    assert_eq!(one.count_of(Problem::NotAnImage), 40);
    assert_eq!(one.count_of(Problem::Duplicate), 7);
}

/// A source whose third picture makes the decoder panic.
struct Panics(Memory);

impl Source for Panics {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> crate::Result<Stored<'a>> {
        assert!(index != 2, "no third picture");
        self.0.fetch(index, buffer)
    }

    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }

    fn place(&self, index: usize) -> Place {
        Place::path(format!("evil\u{1b}[2J{index}.png"))
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }
}

#[test]
fn a_panic_is_a_finding_and_names_do_not_reach_the_terminal_raw() {
    let sample = |value: u8| Sample { image: Image::new(9, 9, 1, vec![value; 81]), label: 0 };
    let memory = Memory::new((0..5).map(sample).collect(), vec!["a".into(), "b".into()]).unwrap();
    let mut set = DataSet::digits(1);
    (set.train, set.test) = (Arc::new(Panics(memory)), None);
    let report = check(&set, &CheckOptions::default(), &mut |_, _| ()).unwrap();
    let text = report.to_string();
    assert!(text.contains("evil\\u{1b}[2J2.png: the decoder panicked") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn real_sets_can_be_checked() {
    // The same trousers are among the shorts and among the skirts of the photos of clothing.
    for (name, alike) in [("clothing_small", 1), ("tiny_imagenet_200", 0), ("mnist_idx", 0)] {
        let Some(path) = shared_data(name) else { continue };
        let report = checked(&path);
        println!("{name}: {report}");
        assert_eq!((report.unusable, report.count_of(Problem::LookAlike)), (0, alike), "{name}");
    }
}

#[test]
fn hostile_files_are_findings() {
    let Some(path) = shared_data("robust") else { return };
    let report = checked(&path);
    println!("{report}");
    assert!(report.unusable > 10 && report.count_of(Problem::Damaged) > 5);
}
