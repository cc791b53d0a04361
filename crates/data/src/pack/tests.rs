//! What is packed is what is read again.

mod stopped;

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::*;
use crate::Stored;
use crate::shard::Codec;
use crate::source::{Digits, Folder, Memory, Shards, Subset};
use crate::testing::{conforms, shared_data};

const RAW: Encoding = Encoding::Raw { square: None };

fn quiet(source: &dyn Source, out: &Path, options: &PackOptions) -> Result<PackReport> {
    pack(source, out, options, &mut |_| ())
}

/// A picture with something different everywhere.
fn picture(width: u32, height: u32, seed: u32) -> DynamicImage {
    let color = |x: u32, y: u32| Rgb([(x * 3 + seed * 40) as u8, (y * 3 + 10) as u8, (x + y + seed) as u8]);
    RgbImage::from_fn(width, height, color).into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG whose EXIF data says how it is to be turned.
fn turned_jpeg(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
    let exif = [&tiff[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    let plain = encoded(image, ImageFormat::Jpeg);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&plain[..2], &[0xFF, 0xE1], &length, &exif, &plain[2..]].concat()
}

/// A folder of class folders with the given files.
fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    root
}

fn photos() -> tempfile::TempDir {
    folder(&[
        ("cat/1.jpg", encoded(&picture(60, 40, 1), ImageFormat::Jpeg)),
        ("cat/2.png", encoded(&picture(50, 70, 2), ImageFormat::Png)),
        ("cat/turned.jpg", turned_jpeg(&picture(80, 48, 3), 6)),
        ("dog/4.final.gif", encoded(&picture(20, 20, 4), ImageFormat::Gif)),
        ("dog/5.webp", encoded(&picture(33, 44, 5), ImageFormat::WebP)),
        ("dog/6.jpg", encoded(&picture(30, 30, 6).grayscale(), ImageFormat::Jpeg)),
    ])
}

/// The files of a folder of shards and their bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// The sample of the source at each place of the shards.
fn order(options: &PackOptions, len: usize) -> Vec<usize> {
    (0..len).map(|position| options.sample_at(position, len)).collect()
}

#[test]
fn kept_files_are_the_same_bytes_in_a_shuffled_order() {
    let root = photos();
    let source = Folder::open(root.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = PackOptions { shard_bytes: 10_000, ..PackOptions::default() };
    let mut last = None;
    let report = pack(&source, out.path(), &options, &mut |progress| last = Some(*progress)).unwrap();
    assert_eq!((report.samples, report.kept, report.left_out.len()), (6, 6, 0));
    assert!(report.shards > 1, "{report:?}");
    let last = last.unwrap();
    assert_eq!((last.samples_done, last.shards_done, last.samples), (6, report.shards, 6));
    let shards = Shards::open(out.path()).unwrap();
    conforms(&shards);
    assert_eq!((shards.class_names(), shards.shard_count()), (source.class_names(), report.shards));
    let order = order(&options, 6);
    assert_ne!(order, [0, 1, 2, 3, 4, 5]);
    for (at, index) in order.into_iter().enumerate() {
        let (mut packed, mut original) = (Vec::new(), Vec::new());
        assert_eq!(shards.fetch(at, &mut packed).unwrap(), source.fetch(index, &mut original).unwrap());
        assert_eq!(shards.read(at).unwrap(), source.read(index).unwrap());
        let name = shards.place(at).entry.unwrap();
        let stem = source.path(index).file_stem().unwrap().to_string_lossy().replace('.', "_");
        assert!(name.starts_with(&format!("{index:08}_{stem}.")), "{name}");
    }
    let turned = (0..6).map(|at| shards.record(at).unwrap()).find(|record| record.orientation == 6).unwrap();
    assert_eq!((turned.width, turned.height, turned.codec), (80, 48, Codec::Jpeg));
}

#[test]
fn raw_pixels_are_exact_and_need_no_decoding() {
    let root = photos();
    let source = Folder::open(root.path()).unwrap();
    let digits = Digits::new(30, 4);
    for (source, encoding) in [(&source as &dyn Source, RAW), (&digits, RAW), (&digits, Encoding::Keep)] {
        let out = tempfile::tempdir().unwrap();
        let options = PackOptions { encoding, shuffle: None, ..PackOptions::default() };
        quiet(source, out.path(), &options).unwrap();
        let shards = Shards::open(out.path()).unwrap();
        conforms(&shards);
        for index in 0..source.len() {
            assert!(matches!(shards.fetch(index, &mut Vec::new()).unwrap(), Stored::Pixels { .. }));
            assert_eq!(shards.read(index).unwrap(), source.read(index).unwrap());
        }
    }
}

#[test]
fn squares_are_cut_from_the_middle_and_short_sides_are_shortened() {
    let root = photos();
    let source = Folder::open(root.path()).unwrap();
    let sizes = |options: &PackOptions| {
        let out = tempfile::tempdir().unwrap();
        quiet(&source, out.path(), options).unwrap();
        let shards = Shards::open(out.path()).unwrap();
        let size = |index| {
            let image = shards.read(index).unwrap().image;
            (image.width(), image.height(), image.channels())
        };
        (0..6).map(size).collect::<Vec<_>>()
    };
    let plain = PackOptions { shuffle: None, ..PackOptions::default() };
    let square = PackOptions { encoding: Encoding::Raw { square: Some(24) }, ..plain.clone() };
    assert_eq!(sizes(&square), [[(24, 24, 3); 5].as_slice(), &[(24, 24, 1)]].concat());
    let short = PackOptions { encoding: RAW, short_side: Some(32), ..plain };
    assert_eq!(sizes(&short), [(48, 32, 3), (32, 44, 3), (32, 53, 3), (20, 20, 3), (32, 42, 3), (30, 30, 1)]);
}

#[test]
fn jpegs_are_close_and_upright_and_small_ones_stay_as_they_are() {
    let root = photos();
    let source = Folder::open(root.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let encoding = Encoding::Jpeg { quality: 95, restart: true };
    let options = PackOptions { encoding, short_side: Some(40), shuffle: None, ..PackOptions::default() };
    let report = quiet(&source, out.path(), &options).unwrap();
    assert_eq!(report.kept, 2);
    let shards = Shards::open(out.path()).unwrap();
    for index in 0..6 {
        let record = shards.record(index).unwrap();
        assert_eq!((record.codec, record.orientation), (Codec::Jpeg, 1), "{}", shards.place(index));
        let (packed, original) = (shards.read(index).unwrap().image, source.read(index).unwrap().image);
        let expected = crate::resize(&original, packed.width(), packed.height());
        let pairs = packed.pixels().iter().zip(expected.pixels());
        let error = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / packed.pixels().len() as f64;
        assert!(error < 6.0, "{}: {error}", shards.place(index));
    }
    // Turned by EXIF and shortened to 40.
    assert_eq!((shards.record(2).unwrap().width, shards.record(2).unwrap().height), (40, 66));
    for kept in [0, 5] {
        let (mut packed, mut original) = (Vec::new(), Vec::new());
        assert_eq!(shards.fetch(kept, &mut packed).unwrap(), source.fetch(kept, &mut original).unwrap());
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_and_other_programs_read_them() {
    let source = Digits::new(40, 7);
    let pack_with = |threads| {
        let out = tempfile::tempdir().unwrap();
        let options =
            PackOptions { threads, shard_bytes: 20_000, name: "digits".into(), ..PackOptions::default() };
        quiet(&source, out.path(), &options).unwrap();
        let listed = Command::new("tar").arg("-tf").arg(out.path().join("digits-000000.tar")).output();
        match listed {
            Ok(listed) => {
                assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
                let names = String::from_utf8(listed.stdout).unwrap();
                assert!(names.lines().next().unwrap().ends_with(".l8"), "{names}");
            }
            Err(_) => println!("skipped: there is no tar program"),
        }
        contents(out.path())
    };
    let one = pack_with(1);
    assert!(one.len() > 7);
    assert_eq!(one, pack_with(3));
}

#[test]
fn damaged_pictures_are_an_error_or_are_left_out_and_listed() {
    let good = encoded(&picture(30, 20, 1), ImageFormat::Png);
    let files = [
        ("a/1.png", good.clone()),
        ("a/2.png", good[..good.len() / 2].to_vec()),
        ("b/3.png", b"no picture".to_vec()),
        ("b/4.png", good),
    ];
    let root = folder(&files);
    let source = Folder::open(root.path()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let with =
        |leave_out| PackOptions { leave_out, shuffle: None, shard_bytes: 6_000, ..PackOptions::default() };
    let error = quiet(&source, out.path(), &with(0)).unwrap_err().to_string();
    assert!(error.contains("2.png: the image cannot be decoded"), "{error}");
    let error = quiet(&source, out.path(), &with(1)).unwrap_err().to_string();
    assert!(error.contains("3.png: not an image"), "{error}");
    for _ in 0..2 {
        let report = quiet(&source, out.path(), &with(2)).unwrap();
        assert_eq!((report.samples, report.left_out.len()), (2, 2));
        assert!(
            report.left_out[1].place.ends_with("3.png") && report.left_out[1].reason.contains("not an image")
        );
    }
    assert_eq!(Shards::open(out.path()).unwrap().len(), 2);

    let bad = folder(&[("a/1.png", b"x".to_vec()), ("b/2.png", b"y".to_vec())]);
    let out = tempfile::tempdir().unwrap();
    let error = quiet(&Folder::open(bad.path()).unwrap(), out.path(), &with(9)).unwrap_err().to_string();
    assert!(error.contains("every image was left out"), "{error}");
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_written() {
    let out = tempfile::tempdir().unwrap();
    let jpeg = |quality| Encoding::Jpeg { quality, restart: true };
    let square = |side| Encoding::Raw { square: Some(side) };
    let default = PackOptions::default;
    for (options, expected) in [
        (PackOptions { name: "../x".into(), ..default() }, "the name"),
        (PackOptions { name: String::new(), ..default() }, "the name"),
        (PackOptions { shard_bytes: 0, ..default() }, "0 bytes"),
        (PackOptions { short_side: Some(100), ..default() }, "kept as they are"),
        (PackOptions { short_side: Some(0), encoding: RAW, ..default() }, "short side of 0"),
        (PackOptions { encoding: jpeg(0), ..default() }, "quality of 0"),
        (PackOptions { encoding: jpeg(101), ..default() }, "quality of 101"),
        (PackOptions { encoding: square(0), ..default() }, "square of 0"),
        (PackOptions { encoding: square(9), short_side: Some(9), ..default() }, "one of them"),
    ] {
        let error = quiet(&Digits::new(3, 1), &out.path().join("new"), &options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let empty = Memory::new(Vec::new(), vec!["a".into()]).unwrap();
    assert!(quiet(&empty, &out.path().join("new"), &default()).is_err());
    assert_eq!(contents(out.path()).len(), 0);
}

#[test]
fn shards_are_not_packed_into_an_address() {
    let error = quiet(&Digits::new(2, 1), Path::new("s3://bucket/out"), &PackOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("s3://bucket/out") && error.contains("upload"), "{error}");
    assert!(!Path::new("s3:").exists());
}

#[test]
fn class_names_that_no_manifest_could_hold_are_refused_at_once() {
    let image = crate::Image::new(1, 1, 1, vec![0]);
    let source = |names: &[&str]| {
        let samples = vec![crate::Sample { image: image.clone(), label: 0 }];
        Memory::new(samples, names.iter().map(ToString::to_string).collect()).unwrap()
    };
    let out = tempfile::tempdir().unwrap();
    for names in [&["a", "a"][..], &["a", "b\n"], &[""]] {
        let error = quiet(&source(names), out.path(), &PackOptions::default()).unwrap_err().to_string();
        assert!(error.contains("the class"), "{error}");
    }
    assert_eq!(contents(out.path()).len(), 0);
}

#[test]
fn real_photos_survive_packing() {
    let Some(path) = shared_data("clothing_small/validation") else { return };
    let all: Arc<dyn Source> = Arc::new(Folder::open(path).unwrap());
    let some = Subset::new(all.clone(), (0..all.len()).step_by(all.len().div_ceil(20)).collect()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let encoding = Encoding::Jpeg { quality: 90, restart: true };
    let options = PackOptions { encoding, short_side: Some(128), shuffle: None, ..PackOptions::default() };
    quiet(&some, out.path(), &options).unwrap();
    let shards = Shards::open(out.path()).unwrap();
    for index in 0..some.len() {
        let (packed, original) = (shards.read(index).unwrap(), some.read(index).unwrap());
        assert_eq!((packed.image.width().min(packed.image.height()), packed.label), (128, original.label));
        let expected = crate::resize(&original.image, packed.image.width(), packed.image.height());
        let pairs = packed.image.pixels().iter().zip(expected.pixels());
        let error =
            pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / expected.pixels().len() as f64;
        assert!(error < 4.0, "{}: {error}", shards.place(index));
    }
}
