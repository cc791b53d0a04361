//! Layouts of class folders, made small.

use super::*;
use std::fs;

use crate::testing::{conforms, shared_data};

fn write(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::new(2, 2).save_with_format(path, image::ImageFormat::Png).unwrap();
    }
}

fn error(root: &Path) -> String {
    DataSet::open(root).unwrap_err().to_string()
}

#[test]
fn parts_are_found_by_every_usual_name() {
    for train in ["train", "Training", "TRAIN"] {
        for valid in ["val", "VALID", "Validation", "dev"] {
            for test in ["test", "Testing"] {
                let root = tempfile::tempdir().unwrap();
                write(root.path(), &[&format!("{train}/a/1.JPEG"), &format!("{train}/b/1.JPEG")]);
                write(root.path(), &[&format!("{valid}/b/1.JPEG"), &format!("{test}/a/deep/1.JPEG")]);
                let set = DataSet::open(root.path()).unwrap();
                assert_eq!(set.description, "Found 4 images in 2 classes (train 2, validation 1, test 1)");
                assert!(set.left_out.is_empty());
            }
        }
    }
}

#[test]
fn two_folders_for_a_part_are_refused() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["train/a/1.png", "train/b/1.png", "val/a/1.png", "dev/a/1.png"]);
    assert!(error(root.path()).contains("dev and val could both be the same part"), "{}", error(root.path()));
    write(root.path(), &["Training/a/1.png"]);
    assert!(error(root.path()).contains("Training and train"), "{}", error(root.path()));
}

#[test]
fn what_is_in_no_part_is_said() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["train/a/1.png", "train/b/1.png", "train/c.png", "val/1.png", "extra/a/1.png"]);
    fs::write(root.path().join("train/a/notes.txt"), "x").unwrap();
    let set = DataSet::open(root.path()).unwrap();
    assert_eq!(set.description, "Found 2 images in 2 classes; left out: extra, val");
    let said = set.left_out.join("\n");
    for part in
        ["extra: the folder is not called", "val: the folder has no class", "train: 2 files are no images of"]
    {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("c.png") && said.contains("notes.txt"), "{said}");
}

/// The layout of the original archive: 2 classes of 2 pictures, 3 for validation, 2 without labels.
fn tiny_imagenet(root: &Path) {
    write(
        root,
        &["train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG", "train/n02/images/n02_0.JPEG"],
    );
    write(root, &["val/images/val_0.JPEG", "val/images/val_1.JPEG", "val/images/val_2.JPEG"]);
    write(root, &["test/images/test_0.JPEG", "test/images/test_1.JPEG"]);
    fs::write(root.join("train/n01/n01_boxes.txt"), "n01_0.JPEG\t0\t0\t1\t1\n").unwrap();
    fs::write(root.join("wnids.txt"), "n02\nn01\n").unwrap();
    fs::write(root.join("words.txt"), "n01\tfish\nn02\tbird\n").unwrap();
    let boxes = "val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\nval_2.JPEG\tn02\t0\t0\t1\t1\n";
    fs::write(root.join("val/val_annotations.txt"), boxes).unwrap();
}

#[test]
fn tiny_imagenet_has_its_validation_labels() {
    let root = tempfile::tempdir().unwrap();
    tiny_imagenet(root.path());
    let set = DataSet::open(root.path()).unwrap();
    assert_eq!(set.description, "Found 6 images in 2 classes (train 3, validation 3); left out: test");
    let valid = set.valid.unwrap();
    conforms(valid.as_ref());
    assert_eq!(valid.class_names(), ["n01", "n02"]);
    assert_eq!([0, 1, 2].map(|index| valid.label(index)), [1, 0, 1]);
    assert!(valid.place(2).to_string().ends_with("val_annotations.txt: line 3: images/val_2.JPEG"));
}

#[test]
fn annotations_that_do_not_fit_name_their_line() {
    let root = tempfile::tempdir().unwrap();
    tiny_imagenet(root.path());
    for (text, expected) in [
        ("val_0.JPEG\tn03\t0\n", "val_annotations.txt: line 1: the class \"n03\" is not among the 2"),
        ("\nval_0.JPEG\n", "val_annotations.txt: line 2: it has no second column"),
        ("", "val_annotations.txt: there are no lines in it"),
    ] {
        fs::write(root.path().join("val/val_annotations.txt"), text).unwrap();
        assert!(error(root.path()).contains(expected), "{}", error(root.path()));
    }
}

#[test]
fn validation_folders_sorted_by_class_are_used_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    tiny_imagenet(root.path());
    fs::remove_dir_all(root.path().join("val/images")).unwrap();
    write(root.path(), &["val/n01/1.JPEG"]);
    assert_eq!(DataSet::open(root.path()).unwrap().valid.unwrap().len(), 1);
}

#[test]
fn a_class_may_be_called_images() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["train/images/1.png", "train/words/1.png", "test/images/1.png"]);
    assert_eq!(DataSet::open(root.path()).unwrap().test.unwrap().len(), 1);
}

#[test]
fn flat_folders_say_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["cat1.png", "cat2.png", "dog1.png"]);
    assert!(error(root.path()).contains("3 images, but no class folders that say what they show"));
    if let Some(path) = shared_data("cifar10_png100_maxim") {
        assert!(error(&path).contains("102 images, but no class folders"), "{}", error(&path));
    }
}
