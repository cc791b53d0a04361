//! Lists of images, good and bad.

use super::*;
use crate::testing::conforms;

/// A folder with pictures `1.png` to `9.png` in `in/`, and a list.
fn list(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    for number in 1..10 {
        let picture = image::GrayImage::from_pixel(2, 2, image::Luma([number]));
        picture.save(folder.path().join(format!("in/{number}.png"))).unwrap();
    }
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn message(name: &str, text: &str) -> String {
    let (_folder, path) = list(name, text);
    Manifest::open_parts(path).unwrap_err().to_string()
}

#[test]
fn lists_of_every_kind_conform() {
    for (name, text) in [
        ("list.csv", "label,image\ncat,in/1.png\nape,in/2.png\ncat,in/3.png\n"),
        ("LIST.TSV", "in/1.png\tcat\nin/2.png\tape\nin/3.png\tcat"),
        (
            "list.jsonl",
            "{\"image\":\"in/1.png\",\"label\":\"cat\"}\n{\"image\":\"in/2.png\",\"class\":\"ape\"}\n\n\
             {\"image\":\"in/3.png\",\"label\":\"cat\"}\n",
        ),
    ] {
        let (_folder, path) = list(name, text);
        let manifest = Manifest::open(&path).unwrap();
        conforms(&manifest);
        assert_eq!(manifest.class_names(), ["ape", "cat"], "{name}");
        assert_eq!([0, 1, 2].map(|index| manifest.label(index)), [1, 0, 1]);
        assert_eq!(manifest.read(2).unwrap().image.pixels(), [3; 4]);
    }
}

#[test]
fn numbers_are_classes_in_their_order() {
    let (_folder, path) = list("list.csv", "path,target\nin/1.png,10\nin/2.png,9\nin/3.png,-1\n");
    let manifest = Manifest::open(path).unwrap();
    assert_eq!(manifest.class_names(), ["-1", "9", "10"]);
    assert_eq!([0, 1, 2].map(|index| manifest.label(index)), [2, 1, 0]);
}

#[test]
fn splits_become_parts_with_the_same_classes() {
    let text = "image,label,split\nin/1.png,cat,Train\nin/2.png,ape,\nin/3.png,cat,dev\nin/4.png,ape,TESTING\nin/5.png,cat,test\n";
    let (_folder, path) = list("list.csv", text);
    let parts = Manifest::open_parts(&path).unwrap();
    let (valid, test) = (parts.valid.unwrap(), parts.test.unwrap());
    assert_eq!((parts.train.len(), valid.len(), test.len()), (2, 1, 2));
    assert_eq!((valid.label(0), test.label(0)), (1, 0));
    conforms(&test);
    assert_eq!(Manifest::open(&path).unwrap().len(), 5);
}

#[test]
fn problems_name_the_line() {
    for (text, expected) in [
        ("image,label,split\nin/1.png,cat,\nin/2.png,ape,hidden\n", "list.csv: line 3: the split \"hidden\""),
        (
            "image,label,split\nin/1.png,cat,\nin/2.png,ape,test\n",
            "line 3: the class \"ape\" has no line for training",
        ),
        ("image,label,split\nin/1.png,cat,test\nin/2.png,ape,test\n", "no line in it is for training"),
        ("image,label\nin/1.png,cat\n", "only one class, \"cat\""),
        ("image,label\n\n", "there are no images in it"),
        ("", "there are no images in it"),
        ("image,label\nin/1.png\n", "line 2: it has 1 columns"),
        ("in/77.png,cat\n", "line 1: it should be a header"),
    ] {
        let error = message("list.csv", text);
        assert!(error.contains(expected), "{error}");
    }
    let (folder, path) = list("list.txt", "in/1.png,cat\n");
    assert!(Manifest::open(&path).unwrap_err().to_string().contains("a .csv, .tsv or .jsonl file"));
    assert!(matches!(Manifest::open(folder.path().join("x.csv")).unwrap_err().kind(), ErrorKind::Missing));
    let label = "x".repeat(MAX_LABEL + 1);
    assert!(message("list.csv", &format!("image,label\na,{label}\n")).contains("line 2: the label has more"));
    let labels: String =
        (0..=MAX_CLASSES).map(|label| format!("{{\"path\":\"a\",\"label\":{label}}}\n")).collect();
    assert!(message("list.jsonl", &labels).contains("line 100001: there are more than 100000"));
}

#[test]
fn a_path_may_come_twice_but_never_with_two_meanings() {
    let twice = "image,label,split\nin/1.png,cat,\nin/2.png,ape,\nin/1.png,cat,";
    let (_folder, path) = list("list.csv", &format!("{twice}\n"));
    let manifest = Manifest::open(path).unwrap();
    assert_eq!(manifest.len(), 3);
    conforms(&manifest);
    let leak = message("list.csv", &format!("{twice}test\n"));
    assert!(leak.contains("line 4: in/1.png: the image is in another split in line 2"), "{leak}");
    let conflict = message("list.csv", &format!("{twice}\nin/3.png,ape,\nin/3.png,cat,val\nin/2.png,cat,\n"));
    assert!(
        conflict.contains("line 6: in/3.png: the image is labelled \"cat\" here and \"ape\" in line 5"),
        "{conflict}"
    );
}

#[test]
fn what_is_not_there_is_told_when_it_is_read() {
    let (folder, path) = list("list.csv", "image,label\nin/1.png,cat\nnowhere/2.png,ape\nin,ape\n");
    let manifest = Manifest::open(path).unwrap();
    let missing = manifest.read(1).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::Missing));
    assert!(missing.to_string().contains("list.csv: line 3: nowhere/2.png: no such file"), "{missing}");
    assert!(manifest.read(2).unwrap_err().to_string().contains("line 4: in: this is no file"));
    if cfg!(unix) {
        let (_folder, path) = list("list.csv", "image,label\n/dev/zero,cat\nin/2.png,ape\n");
        let error = Manifest::open(path).unwrap().read(0).unwrap_err().to_string();
        assert!(error.contains("line 2: /dev/zero: this is no file"), "{error}");
    }
    fs::write(folder.path().join("in/1.png"), "text").unwrap();
    assert!(manifest.read(0).unwrap_err().to_string().contains("line 2: in/1.png: not an image"));
}

#[test]
fn absolute_paths_and_those_that_lead_out_are_followed() {
    let (folder, path) = list("in/list.csv", "");
    let absolute = folder.path().join("in/1.png");
    fs::write(&path, format!("image,label\n{},cat\n../in/2.png,ape\n./3.png,ape\n", absolute.display()))
        .unwrap();
    let manifest = Manifest::open(&path).unwrap();
    conforms(&manifest);
    assert_eq!(manifest.path(0), absolute);
    assert_eq!(manifest.read(1).unwrap().image.pixels(), [2; 4]);
}

#[test]
fn each_folder_of_a_long_list_is_held_once() {
    let mut text = String::from("image,label\n");
    for number in 0..200_000 {
        text += &format!("images/{}/{number}.jpg,{}\n", number % 1000, number % 7);
    }
    let (_folder, path) = list("list.csv", &text);
    let manifest = Manifest::open(path).unwrap();
    assert_eq!((manifest.len(), manifest.class_names().len()), (200_000, 7));
    assert!(manifest.path(199_999).ends_with("images/999/199999.jpg"));
    assert!(manifest.place(199_999).to_string().ends_with("list.csv: line 200001: images/999/199999.jpg"));
    assert_eq!(manifest.paths.folders(), 1000);
}
