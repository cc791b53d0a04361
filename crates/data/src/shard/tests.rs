//! What becomes of archives and their indexes.

mod archives;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::index_file::index_path;
use super::sample::{Scan, scan};
use super::tar::Entries;
use super::{IndexOptions, IndexReport, index, raw};
use crate::source::Shards;
use crate::testing::conforms;
use crate::{ErrorKind, Image, Source};

/// An archive that is put together by hand, so that it can be put together wrongly.
#[derive(Default, Clone)]
struct Tar(Vec<u8>);

impl Tar {
    /// A header with whatever name, kind and size field, and the right checksum.
    fn header(mut self, name: &[u8], kind: u8, size: &[u8]) -> Self {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..124 + size.len()].copy_from_slice(size);
        header[148..156].copy_from_slice(b"        ");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self
    }

    fn contents(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, name: &[u8], kind: u8, bytes: &[u8]) -> Self {
        self.header(name, kind, format!("{:011o}\0", bytes.len()).as_bytes()).contents(bytes)
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.entry(name.as_bytes(), b'0', bytes)
    }

    /// A picture that is told from others by `value`, and its class.
    fn sample(self, key: &str, value: u8, class: &str) -> Self {
        self.file(&format!("{key}.l8"), &picture(value)).file(&format!("{key}.cls"), class.as_bytes())
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        self.entry(b"pax", b'x', &pax_bytes(records))
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn pax_bytes(records: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length += 1;
        }
        bytes.extend(format!("{length}{rest}").as_bytes());
    }
    bytes
}

fn picture(value: u8) -> Vec<u8> {
    raw::to_bytes(&Image::new(3, 2, 1, vec![value; 6]))
}

fn scan_bytes(bytes: &[u8]) -> Scan {
    scan(&mut Entries::new(Cursor::new(bytes), Path::new("a.tar"), bytes.len() as u64), &mut |_| ())
}

/// The lone failure of an archive.
fn failure(bytes: &[u8]) -> String {
    let found = scan_bytes(bytes);
    assert_eq!(found.failures.len(), 1, "{:?}", found.failures);
    found.failures[0].to_string()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn make_index(path: &Path) -> IndexReport {
    let mut last = None;
    let report =
        index(path, &IndexOptions::default(), &mut |progress| last = Some(progress.clone())).unwrap();
    let last = last.unwrap();
    assert_eq!((last.samples, last.bytes_done, last.shards_done), (report.samples, last.bytes, last.shards));
    report
}

fn values(source: &Shards) -> Vec<u8> {
    (0..source.len()).map(|index| source.read(index).unwrap().image.pixels()[0]).collect()
}

fn labels(source: &Shards) -> Vec<u32> {
    (0..source.len()).map(|index| source.label(index)).collect()
}

#[test]
fn an_indexed_folder_conforms_and_classes_come_from_wherever_they_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let tar = Tar::default()
        .file("README", b"hello")
        .sample("x/1", 1, "dog\n")
        .file("2.json", br#"{"label": 3, "class_name": "cat"}"#)
        .file("2.l8", &picture(2))
        .file("fox/3.mask.png", b"no picture, but not read either")
        .file("fox/3.L8", &picture(3))
        .file("4.txt", b"only text");
    write(folder.path(), "a.tar", &tar.end());
    write(folder.path(), "b.tar", &Tar::default().sample("5", 5, "cat").sample("6", 6, "ant").end());
    let report = make_index(folder.path());
    assert_eq!((report.shards, report.samples, report.without_picture), (2, 5, 1));
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let shards = Shards::open(folder.path()).unwrap();
    conforms(&shards);
    assert_eq!(shards.class_names(), ["ant", "cat", "dog", "fox"]);
    assert_eq!(values(&shards), [1, 2, 3, 5, 6]);
    assert_eq!(labels(&shards), [2, 1, 3, 1, 0]);
    assert!(shards.place(2).to_string().ends_with("a.tar: fox/3.L8 at byte 6656"), "{}", shards.place(2));
    assert_eq!((shards.record(4).unwrap().width, shards.record(4).unwrap().height), (3, 2));

    let one = Shards::open(folder.path().join("b.tar")).unwrap();
    assert_eq!((one.class_names(), values(&one)), (&["ant".to_owned(), "cat".to_owned()][..], vec![5, 6]));
    let part = Shards::with_classes(folder.path().join("b.tar"), shards.class_names()).unwrap();
    assert_eq!(labels(&part), [1, 0]);
    let error = Shards::with_classes(folder.path(), one.class_names()).unwrap_err().to_string();
    assert!(error.contains("the class \"dog\" is not among the 2 known ones"), "{error}");
}

#[test]
fn numbers_are_labels_and_a_manifest_names_them() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.tar", &Tar::default().sample("1", 1, "2").sample("2", 2, "0").end());
    write(folder.path(), "b.tar", &Tar::default().sample("3", 3, "3").end());
    make_index(folder.path());
    let shards = Shards::open(folder.path()).unwrap();
    assert_eq!((shards.class_names().len(), labels(&shards)), (4, vec![2, 0, 3]));
    assert_eq!(shards.class_names()[2], "2");

    let manifest = folder.path().join("manifest.json");
    fs::write(&manifest, r#"{"classes": ["a", "b", "c"]}"#).unwrap();
    let error = Shards::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("b.tar: the class \"3\" is not among the 3"), "{error}");
    fs::write(&manifest, r#"{"classes": ["z", "y", "x", "w", "v"]}"#).unwrap();
    let shards = Shards::open(folder.path()).unwrap();
    assert_eq!((shards.class_names()[2].as_str(), labels(&shards)), ("x", vec![2, 0, 3]));
    let other: Vec<String> = ["v", "w", "x", "y", "z"].map(String::from).to_vec();
    assert_eq!(labels(&Shards::with_classes(folder.path(), &other).unwrap()), [2, 4, 1]);

    // Beside shards with names, numbers are names.
    fs::remove_file(&manifest).unwrap();
    write(folder.path(), "c.tar", &Tar::default().sample("4", 4, "cat").end());
    make_index(folder.path());
    let mixed = Shards::open(folder.path()).unwrap();
    assert_eq!((mixed.class_names().join(" "), labels(&mixed)), ("0 2 3 cat".into(), vec![1, 0, 2, 3]));
}

#[test]
fn a_manifest_and_its_folder_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.tar", &Tar::default().sample("1", 1, "0").end());
    write(folder.path(), "b.tar", &Tar::default().sample("2", 2, "0").end());
    make_index(folder.path());
    let list = |names: &[&str]| {
        let shards: Vec<_> =
            names.iter().map(|name| format!(r#"{{"name": "{name}", "samples": 1, "bytes": 1}}"#)).collect();
        let text = format!(r#"{{"classes": ["c"], "shards": [{}]}}"#, shards.join(","));
        fs::write(folder.path().join("manifest.json"), text).unwrap();
        Shards::open(folder.path())
    };
    assert_eq!(values(&list(&["b.tar", "a.tar"]).unwrap()), [2, 1]);
    assert!(list(&["b.tar"]).unwrap_err().to_string().contains("a.tar: manifest.json does not list"));
    assert!(
        list(&["b.tar", "a.tar", "c.tar"]).unwrap_err().to_string().contains("c.tar: manifest.json lists")
    );
    let twice = list(&["b.tar", "a.tar", "a.tar"]).unwrap_err().to_string();
    assert!(twice.contains("\"a.tar\" comes twice"), "{twice}");
    let manifest = folder.path().join("manifest.json");
    list(&["b.tar", "a.tar"]).unwrap();
    let text = fs::read_to_string(&manifest).unwrap().replacen("\"samples\": 1", "\"samples\": 2", 1);
    fs::write(manifest, text).unwrap();
    let other = Shards::open(folder.path()).unwrap_err().to_string();
    assert!(
        other.contains("b.tar: manifest.json says that this shard has 2 samples, its index has 1"),
        "{other}"
    );
}

#[test]
fn a_damaged_shard_is_indexed_only_when_told_so_and_the_others_anyway() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Tar::default().sample("1", 1, "0").sample("2", 2, "1").sample("3", 3, "0").end();
    write(folder.path(), "a.tar", &whole);
    let cut = write(folder.path(), "b.tar", &whole[..whole.len() - 2000]);
    let no_class =
        Tar::default().sample("4", 4, "1").file("5.l8", &picture(5)).file("6.jpg", b"no picture").end();
    write(folder.path(), "c.tar", &no_class);
    let report = make_index(folder.path());
    assert_eq!((report.shards, report.samples, report.unusable, report.failures.len()), (1, 3, 2, 3));
    assert_eq!(report.damaged.len(), 2);
    let error = Shards::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("b.tar: this shard has no index") && error.contains("pyrograph index"), "{error}");

    let lenient = IndexOptions { leave_out_damaged: true, ..IndexOptions::default() };
    let report = index(folder.path(), &lenient, &mut |_| ()).unwrap();
    assert_eq!((report.shards, report.unchanged, report.samples, report.failures.len()), (3, 1, 6, 3));
    assert_eq!(values(&Shards::open(folder.path()).unwrap()), [1, 2, 3, 1, 2, 4]);
    // What was left out is told again.
    assert_eq!(index(&cut, &lenient, &mut |_| ()).unwrap().failures.len(), 1);
}

#[test]
fn archives_of_real_programs_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(120);
    for name in ["cat/1.l8", "cat/2.l8", &format!("dog/{long}.l8"), &format!("dog/{long}/3.l8")] {
        write(&folder.path().join("set"), name, &picture(7));
    }
    let gnu = |format: &str| {
        let name = format!("{format}.tar");
        let mut command = std::process::Command::new("tar");
        command.args(["--sort=name", &format!("--format={format}"), "-cf", &name, "-C", "set", "."]);
        (name, command)
    };
    let python = |format: &str| {
        let name = format!("py-{format}.tar");
        let mut command = std::process::Command::new("python3");
        let program = format!(
            "import tarfile; t = tarfile.open('{name}', 'w', format=tarfile.{format}_FORMAT); t.add('set', ''); t.close()"
        );
        command.args(["-c", &program]);
        (name, command)
    };
    for (name, mut command) in [gnu("gnu"), gnu("pax"), gnu("ustar"), python("GNU"), python("PAX")] {
        let made = command.current_dir(folder.path()).output();
        if !made.is_ok_and(|output| output.status.success()) {
            println!("skipped: {name} cannot be made here");
            continue;
        }
        let path = folder.path().join(&name);
        let report = make_index(&path);
        assert!(report.failures.is_empty(), "{name}: {:?}", report.failures);
        let shards = Shards::open(&path).unwrap();
        assert_eq!((shards.len(), shards.class_names().join(" ")), (4, "cat dog".into()), "{name}");
        assert_eq!(values(&shards), [7; 4]);
    }
}

#[test]
fn an_index_that_does_not_belong_to_its_shard_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.tar", &Tar::default().sample("1", 1, "0").end());
    let missing = Shards::open(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("a.tar: this shard has no index; make one with `pyrograph index`"), "{missing}");
    make_index(&path);
    write(folder.path(), "a.tar", &Tar::default().sample("1", 2, "0").end());
    assert!(
        Shards::open(&path).unwrap_err().to_string().contains("not the one that its index was made from")
    );
    write(folder.path(), "a.tar", &Tar::default().sample("1", 1, "0").sample("2", 2, "0").end());
    assert!(Shards::open(&path).unwrap_err().to_string().contains("a.tar: this shard has 5120 bytes"));
    // It is made again, and then left alone.
    assert_eq!(make_index(&path).unchanged, 0);
    assert_eq!(make_index(&path).unchanged, 1);
    assert_eq!(values(&Shards::open(&path).unwrap()), [1, 2]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_picture_that_changed_in_its_shard_is_a_located_error() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than the ends that the fingerprint covers.
    let large = raw::to_bytes(&Image::new(200, 200, 1, vec![9; 40_000]));
    let tar =
        Tar::default().file("0.txt", &[0; 20_000]).file("a/1.l8", &large).file("2.txt", &[0; 20_000]).end();
    let path = write(folder.path(), "a.tar", &tar);
    make_index(&path);
    let shards = Shards::open(&path).unwrap();
    let mut changed = tar;
    changed[22_000] ^= 1;
    fs::write(&path, changed).unwrap();
    for shards in [shards, Shards::open(&path).unwrap()] {
        let error = shards.read(0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt(_)));
        assert!(
            error.to_string().contains("a.tar: a/1.l8 at byte 21504: the picture is not the one"),
            "{error}"
        );
    }
}

#[test]
fn no_change_to_an_index_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        write(folder.path(), "a.tar", &Tar::default().sample("1", 1, "cat").sample("b/2", 2, "dog").end());
    make_index(&path);
    let good = fs::read(index_path(&path)).unwrap();
    let names = good.len() - "1.l8b/2.l8".len();
    for at in 0..good.len() {
        for bit in [0, 3, 7] {
            let mut wrong = good.clone();
            wrong[at] ^= 1 << bit;
            fs::write(index_path(&path), wrong).unwrap();
            match Shards::open(&path) {
                Err(error) => assert!(error.to_string().contains("a.tar"), "{error}"),
                Ok(shards) => {
                    // The names are checked when they are used.
                    assert!(at >= names, "byte {at} is not checked");
                    assert_eq!(values(&shards), [1, 2]);
                    let places = [shards.place(0).to_string(), shards.place(1).to_string()];
                    assert!(places.iter().any(|place| place.contains(": record ")), "byte {at}: {places:?}");
                }
            }
        }
    }
    for end in 0..good.len() {
        fs::write(index_path(&path), &good[..end]).unwrap();
        assert!(Shards::open(&path).is_err(), "cut at {end}");
    }
    fs::write(index_path(&path), [&good[..], b"x"].concat()).unwrap();
    assert!(Shards::open(&path).is_err());
}

#[test]
fn what_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let none = |path: &Path| index(path, &IndexOptions::default(), &mut |_| ()).unwrap_err().to_string();
    assert!(none(&folder.path().join("nowhere")).contains("no such file or folder"));
    assert!(none(folder.path()).contains("no .tar files"));
    assert!(Shards::open(folder.path()).unwrap_err().to_string().contains("no .tar files"));
    let empty = write(folder.path(), "a.tar", &Tar::default().end());
    make_index(folder.path());
    assert!(Shards::open(&empty).unwrap_err().to_string().contains("no pictures"));
    // Of parts in folders, all are indexed.
    write(folder.path(), "train/b.tar", &Tar::default().sample("1", 1, "0").end());
    assert_eq!(make_index(folder.path()).shards, 2);
}
