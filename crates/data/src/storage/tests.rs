//! Shards behind a web server that is slow, wrong and gone.

mod server;

use std::sync::Arc;
use std::time::Duration;

use self::server::{Fault, Server};
use super::*;
use crate::pack::{Encoding, PackOptions, pack};
use crate::source::{Memory, Scan, Shards};
use crate::testing::conforms;
use crate::{DataSet, Image, Loader, LoaderConfig, OnError, Preprocess, Sample, Source};

/// Pictures of 100 x 100 pixels, each of them other than all others.
fn pictures(count: usize) -> Memory {
    let picture = |n: usize| {
        let pixels = (0..30_000).map(|at: usize| (at.wrapping_mul(n + 3) >> 4) as u8 ^ n as u8).collect();
        Sample { image: Image::new(100, 100, 3, pixels), label: (n % 3) as u32 }
    };
    let names = ["ant", "bee", "cat"].map(String::from).to_vec();
    Memory::new((0..count).map(picture).collect(), names).unwrap()
}

/// Shards of `count` pictures as pixels, 400 KB each.
fn shards(folder: &Path, count: usize) {
    let options = PackOptions {
        encoding: Encoding::Raw { square: None },
        shard_bytes: 400_000,
        ..PackOptions::default()
    };
    pack(&pictures(count), folder, &options, &mut |_| ()).unwrap();
}

fn options(cache: Option<&Path>) -> ObjectOptions {
    let patience = Duration::from_millis(1500);
    ObjectOptions {
        cache: cache.map(Path::to_owned),
        cache_bytes: 1 << 30,
        patience,
        ..ObjectOptions::default()
    }
}

fn open(address: &str, options: &ObjectOptions) -> Result<Shards> {
    let (storage, path) = Storage::of(address, options)?;
    Shards::open_in(&storage, path, None)
}

/// What a loader makes of a source in a shuffled pass.
fn pass(source: impl Source + 'static, on_error: OnError) -> Result<Vec<u8>> {
    let order = crate::order::Order::Shuffled;
    let preprocess = Preprocess::new(3, 100, 100);
    let patience = Duration::from_secs(20);
    let config =
        LoaderConfig { batch_size: 7, order, preprocess, on_error, patience, ..LoaderConfig::default() };
    let loader = Loader::new(Arc::new(source), config)?;
    let mut pixels = Vec::new();
    for batch in loader.epoch(0) {
        pixels.extend(batch?.pixels());
    }
    Ok(pixels)
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_set_behind_a_web_server_is_the_one_on_the_disk() {
    let root = tempfile::tempdir().unwrap();
    for (part, count) in [("my set/train", 40), ("my set/validation", 10)] {
        shards(&root.path().join(part), count);
    }
    let server = Server::start(root.path(), true, |_| Fault::None);
    let mut scan = Scan::new().with_objects(options(None));
    let set = DataSet::open_with(format!("{}/my set", server.address), &mut scan).unwrap();
    assert_eq!(set.description, "Found 50 images in 3 classes (train 40, validation 10)");
    conforms(set.train.as_ref());
    let local = Shards::open(root.path().join("my set/train")).unwrap();
    assert_eq!((set.train.place(3).record, set.train.place(3).offset), (Some(3), local.place(3).offset));
    let far = open(&format!("{}/my set/train", server.address), &options(None)).unwrap();
    assert_eq!(pass(far, OnError::Fail).unwrap(), pass(local, OnError::Fail).unwrap());
    let one = open(&format!("{}/my set/train/shard-000001.tar", server.address), &options(None)).unwrap();
    assert_eq!(one.len(), Shards::open(root.path().join("my set/train/shard-000001.tar")).unwrap().len());
}

#[test]
fn a_list_behind_a_web_server_names_pictures_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let lists = root.path().join("sets");
    fs::create_dir(&lists).unwrap();
    for number in 1..=5u8 {
        image::GrayImage::from_pixel(3, 3, image::Luma([number]))
            .save(lists.join(format!("{number}.png")))
            .unwrap();
    }
    image::GrayImage::new(1, 1).save(root.path().join("above.png")).unwrap();
    let lines =
        ["1.png,cat", "2.png,dog", "3.png,cat", "../above.png,dog", "/etc/passwd,dog", "gone.png,dog"];
    fs::write(lists.join("named.csv"), format!("image,label\n{}\n", lines.join("\n"))).unwrap();
    fs::write(lists.join("bare.csv"), "1.png,cat\n2.png,dog\n").unwrap();
    let server = Server::start(root.path(), true, |_| Fault::None);
    let open = |list: &str| {
        let mut scan = Scan::new().with_objects(options(None));
        DataSet::open_with(format!("{}/sets/{list}", server.address), &mut scan)
    };
    let set = open("named.csv").unwrap().train;
    assert_eq!((set.len(), set.class_names()), (6, &["cat", "dog"].map(String::from)[..]));
    assert!(set.fetches_at_once() > 0);
    let values = [0, 1, 2].map(|index| set.read(index).unwrap().image.pixels()[0]);
    assert_eq!(values, [1, 2, 3]);
    for (index, message) in [(3, "no name of an object"), (4, "not below"), (5, "no such file")] {
        let error = set.read(index).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(&format!("line {}", index + 2)), "{error}");
    }
    assert_eq!(open("bare.csv").unwrap().train.len(), 2);
    assert!(matches!(open("gone.csv").unwrap_err().kind(), ErrorKind::Missing));
}

#[test]
fn a_second_run_reads_the_cache_alone() {
    let root = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    shards(root.path(), 60);
    let expected = pass(Shards::open(root.path()).unwrap(), OnError::Fail).unwrap();
    let server = Server::start(root.path(), true, |_| Fault::None);
    for run in 0..2 {
        let before = server.answered("GET");
        let far = open(&server.address, &options(Some(cache.path()))).unwrap();
        assert_eq!(pass(far, OnError::Fail).unwrap(), expected);
        let asked = server.answered("GET") - before;
        // Manifest, five indexes, five shards of one piece.
        assert_eq!(asked, if run == 0 { 11 } else { 0 });
    }
    // Damage is told from the checksum, and mended.
    for entry in fs::read_dir(cache.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
    let far = open(&server.address, &options(Some(cache.path()))).unwrap();
    assert_eq!(pass(far, OnError::Fail).unwrap(), expected);
    assert_eq!(server.answered("GET"), 22);
}

#[test]
fn what_has_no_mark_of_its_version_is_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let server = Server::start(root.path(), false, |_| Fault::None);
    let kept = || {
        open(&server.address, &options(Some(cache.path()))).unwrap();
        fs::read_dir(cache.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() != "lock")
            .count()
    };
    server.forget_dates();
    assert_eq!(kept(), 0);
    let dated = Server::start(root.path(), false, |_| Fault::None);
    open(&dated.address, &options(Some(cache.path()))).unwrap();
    assert!(kept() > 0);
}

#[test]
fn a_cache_keeps_its_bound_and_drops_what_earlier_runs_left() {
    let root = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    shards(&root.path().join("one"), 60);
    shards(&root.path().join("two"), 50);
    let server = Server::start(root.path(), true, |_| Fault::None);
    let most = 900_000;
    for name in ["one", "two", "one"] {
        let expected = pass(Shards::open(root.path().join(name)).unwrap(), OnError::Fail).unwrap();
        let bounded = ObjectOptions { cache_bytes: most, ..options(Some(cache.path())) };
        let address = format!("{}/{name}", server.address);
        assert_eq!(pass(open(&address, &bounded).unwrap(), OnError::Fail).unwrap(), expected);
        let held = bytes_in(cache.path());
        assert!(held <= most && held > most / 3, "{held} bytes are kept");
    }
    let smaller = ObjectOptions { cache_bytes: 100_000, ..options(Some(cache.path())) };
    open(&format!("{}/one", server.address), &smaller).unwrap();
    assert!(bytes_in(cache.path()) <= 100_000);
}

#[test]
fn a_server_that_fails_now_and_then_is_asked_again() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 60);
    let expected = pass(Shards::open(root.path()).unwrap(), OnError::Fail).unwrap();
    for (tags, cached) in [(true, false), (false, false), (true, true)] {
        let server = Server::start(root.path(), tags, |number| match number % 11 {
            2 => Fault::Status(503),
            4 => Fault::Short,
            6 => Fault::Reset,
            8 => Fault::Late(30),
            9 => Fault::Status(500),
            _ => Fault::None,
        });
        let cache = tempfile::tempdir().unwrap();
        let patient =
            ObjectOptions { patience: Duration::from_secs(15), ..options(cached.then(|| cache.path())) };
        let far = open(&server.address, &patient).unwrap();
        assert_eq!(pass(far, OnError::Fail).unwrap(), expected);
    }
}

#[test]
fn what_cannot_be_had_is_named_within_the_patience() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 60);
    let server = Server::start(root.path(), true, |_| Fault::None);
    let message = |error: Error| error.to_string();
    let nothing = open(&format!("{}/nowhere.tar", server.address), &options(None)).unwrap_err();
    assert!(
        matches!(nothing.kind(), ErrorKind::Missing) && message(nothing).contains("/nowhere.tar: no such")
    );
    let folder = open(&format!("{}/nowhere", server.address), &options(None)).unwrap_err();
    assert!(message(folder).contains("/nowhere: a web server cannot be asked"));
    let closed = Server::start(root.path(), true, |_| Fault::Status(403));
    let refused = message(open(&closed.address, &options(None)).unwrap_err());
    assert!(
        refused.contains("manifest.json: the web server refuses this") && !refused.contains("AWS"),
        "{refused}"
    );

    let far = open(&server.address, &options(None)).unwrap();
    server.close();
    let start = std::time::Instant::now();
    let gone = message(pass(far, OnError::Fail).unwrap_err());
    assert!(gone.contains(&server.address) && gone.contains("the object storage cannot be read"), "{gone}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let broken = Server::start(root.path(), true, |_| Fault::Status(500));
    let broken = message(open(&broken.address, &options(None)).unwrap_err());
    assert!(broken.contains("manifest.json") && broken.contains("500"), "{broken}");
}

#[test]
fn a_server_that_forbids_what_it_does_not_have_is_read() {
    let root = tempfile::tempdir().unwrap();
    for part in ["train", "val"] {
        shards(&root.path().join(part), 20);
    }
    let server = Server::start(root.path(), true, |_| Fault::Secret);
    let set = |path: &str| {
        let mut scan = Scan::new().with_objects(options(None));
        DataSet::open_with(format!("{}{path}", server.address), &mut scan)
    };
    assert_eq!(set("").unwrap().description, "Found 40 images in 3 classes (train 20, validation 20)");
    fs::remove_file(root.path().join("val/manifest.json")).unwrap();
    assert_eq!(set("/val/shard-000000.tar").unwrap().train.class_names().len(), 3);
    for path in ["/val", "/nowhere"] {
        let error = set(path).unwrap_err().to_string();
        assert!(error.contains(&format!("{path}/manifest.json: the web server refuses this")), "{error}");
    }
}

#[test]
fn an_answer_that_never_ends_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let server = Server::start(root.path(), true, |_| Fault::Endless);
    let error = open(&server.address, &options(None)).unwrap_err().to_string();
    assert!(error.contains("manifest.json") && error.contains("more bytes than it was asked for"), "{error}");
}

#[test]
fn an_address_where_nobody_answers_is_told_soon() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in [format!("127.0.0.1:{port}"), "no-such-host.invalid".into()] {
        let patient = ObjectOptions { patience: Duration::from_secs(60), ..options(None) };
        let start = std::time::Instant::now();
        let error = open(&format!("http://{host}/photos"), &patient).unwrap_err().to_string();
        assert!(error.contains("nobody answers at this address") && !error.contains("retr"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}

#[test]
fn a_sample_is_named_without_asking_for_its_name() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let server = Server::start(root.path(), true, |_| Fault::None);
    let far = open(&server.address, &options(None)).unwrap();
    let before = (server.answered("HEAD"), server.answered("GET"));
    server.close();
    let start = std::time::Instant::now();
    let place = far.place(7).to_string();
    assert!(place.contains("shard-000000.tar: record 7: byte "), "{place}");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!((server.answered("HEAD"), server.answered("GET")), before);
}

#[test]
fn a_server_that_cannot_be_read_in_parts_is_told_so_at_once() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let patient = ObjectOptions { patience: Duration::from_secs(60), ..options(None) };
    for (fault, what) in [
        (Fault::Status(405), "does not answer HEAD requests"),
        (Fault::Whole, "requests with a Range, as `python -m http.server`"),
        (Fault::Compressed, "compresses what it sends (Content-Encoding: gzip)"),
    ] {
        let server = Server::start(root.path(), true, move |_| fault);
        let start = std::time::Instant::now();
        let error = open(&server.address, &patient).unwrap_err().to_string();
        assert!(error.contains("manifest.json: ") && error.contains(what), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

#[test]
fn a_list_without_a_header_tells_why_its_first_picture_is_not_known() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("bare.csv"), "1.png,cat\n2.png,dog\n").unwrap();
    fs::write(root.path().join("addresses.csv"), "https://host/1.png,cat\n").unwrap();
    let message = |list: &str, status| {
        // The list itself is asked for twice.
        let server =
            Server::start(
                root.path(),
                true,
                move |n| if n < 2 { Fault::None } else { Fault::Status(status) },
            );
        let mut scan = Scan::new().with_objects(options(None));
        DataSet::open_with(format!("{}/{list}", server.address), &mut scan).unwrap_err().to_string()
    };
    let refused = message("bare.csv", 403);
    assert!(refused.contains("1.png: the web server refuses this"), "{refused}");
    let broken = message("bare.csv", 503);
    assert!(broken.contains("1.png") && broken.contains("503"), "{broken}");
    assert!(message("bare.csv", 404).contains("line 1: it should be a header"));
    let addresses = message("addresses.csv", 404);
    assert!(addresses.contains("line 1") && addresses.contains("must lie below the folder"), "{addresses}");
}

#[test]
fn an_object_that_changes_while_it_is_used_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let server = Server::start(root.path(), true, |_| Fault::None);
    let far = open(&server.address, &options(None)).unwrap();
    server.change();
    let error = far.read(0).unwrap_err().to_string();
    assert!(error.contains("it has changed since it was first looked at"), "{error}");
}

#[test]
fn an_endpoint_that_is_no_address_is_an_error_and_no_panic() {
    for endpoint in ["localhost:9000", "", "http://"] {
        let mut wrong = options(None);
        wrong.settings.insert("aws_endpoint_url".into(), endpoint.into());
        let error = Storage::of("s3://bucket/photos", &wrong).unwrap_err().to_string();
        assert!(error.contains("s3://bucket/photos: aws_endpoint_url is"), "{error}");
    }
}

#[test]
fn an_address_that_leads_nowhere_says_what_it_may_be() {
    for (address, what) in [
        ("ftp://host/photos", "s3://BUCKET"),
        ("s3:// /", "no address"),
        ("://x", "no address"),
        ("https://host/photos?signature=1", "a query"),
        ("https://host/my//photos", "cannot be the name of an object"),
        ("s3://bucket/my%00photos", "cannot be the name of an object"),
    ] {
        let error = Storage::of(address, &options(None)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    for address in
        ["http://anna:secret@host/photos", "https://anna@host/photos", "s3://anna:secret@bucket/photos"]
    {
        let error = Storage::of(address, &options(None)).unwrap_err().to_string();
        assert!(error.contains("a user or a password") && !error.contains("secret"), "{error}");
    }
    let root = tempfile::tempdir().unwrap();
    shards(root.path(), 20);
    let local = DataSet::open(format!("file://{}", root.path().display())).unwrap();
    assert_eq!(local.train.len(), 20);
}
