//! Image sets in S3 are the ones on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_storage_tests::{ACCESS_KEY, SECRET_KEY, serve};
use pyrograph_data::order::Order;
use pyrograph_data::pack::{PackOptions, pack};
use pyrograph_data::source::{Digits, Scan, Source};
use pyrograph_data::{DataSet, Loader, LoaderConfig, ObjectOptions, Pipeline, Preprocess, Result};

fn options(server: &str, cache: Option<&Path>) -> ObjectOptions {
    let settings = [
        ("aws_endpoint_url", server),
        ("aws_access_key_id", ACCESS_KEY),
        ("aws_secret_access_key", SECRET_KEY),
        ("aws_region", "us-east-1"),
    ];
    ObjectOptions {
        cache: cache.map(Path::to_owned),
        cache_bytes: 64 << 20,
        patience: Duration::from_secs(2),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
    }
}

fn open(address: &str, options: &ObjectOptions) -> Result<DataSet> {
    DataSet::open_with(address, &mut Scan::new().with_objects(options.clone()))
}

/// The batches of two shuffled and augmented passes.
fn batches(source: Arc<dyn Source>, threads: usize) -> Vec<(Vec<usize>, Vec<u8>)> {
    let augment = Some("random_resized_crop(24)|flip".parse::<Pipeline>().unwrap());
    let preprocess = Preprocess::new(1, 24, 24);
    let config = LoaderConfig {
        batch_size: 16,
        order: Order::Shuffled,
        preprocess,
        augment,
        threads,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(source, config).unwrap();
    let epoch = |epoch| loader.epoch(epoch).map(|batch| batch.unwrap()).collect::<Vec<_>>();
    let two = [epoch(0), epoch(1)].concat();
    two.into_iter().map(|batch| (batch.indices.clone(), batch.pixels().to_vec())).collect()
}

#[test]
fn shards_in_a_bucket_give_the_batches_of_shards_on_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let packed = PackOptions { shard_bytes: 200_000, ..PackOptions::default() };
    for (part, count) in [("train", 600), ("val", 60)] {
        let folder = root.path().join("bucket/sets/digits").join(part);
        pack(&Digits::new(count, count as u64), &folder, &packed, &mut |_| ()).unwrap();
    }
    let local = DataSet::open(root.path().join("bucket/sets/digits")).unwrap();
    let server = serve(root.path()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    for cache in [None, Some(cache.path()), Some(cache.path())] {
        let far = open("s3://bucket/sets/digits", &options(&server, cache)).unwrap();
        assert_eq!(far.description, local.description);
        for (far, local) in
            [(&far.train, &local.train), (far.valid.as_ref().unwrap(), local.valid.as_ref().unwrap())]
        {
            let expected = batches(local.clone(), 2);
            assert!([0, 1, 3].into_iter().all(|threads| batches(far.clone(), threads) == expected));
        }
    }
    let one = open("s3://bucket/sets/digits/val/shard-000000.tar", &options(&server, None)).unwrap();
    assert_eq!(one.train.len(), 60);
}

#[test]
fn class_folders_in_a_bucket_are_those_on_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let mut value = 0;
    let mut write = |path: &str| {
        let path = root.path().join("photos").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        value += 7;
        image::GrayImage::from_pixel(9, 9, image::Luma([value])).save(path).unwrap();
    };
    for path in [
        "train/dog/2.png",
        "train/dog/1.png",
        "train/cat/a b.png",
        "train/cat/deep/3.png",
        "train/cat/.hidden.png",
        "train/été/1.png",
        "test/dog/9.png",
    ] {
        write(path);
    }
    fs::write(root.path().join("photos/train/dog/notes.txt"), "no picture").unwrap();
    let local = DataSet::open(root.path().join("photos")).unwrap();
    let server = serve(root.path()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let far = open("s3://photos", &options(&server, Some(cache.path()))).unwrap();
    assert_eq!(far.description, "Found 6 images in 3 classes (train 5, test 1)");
    assert_eq!((&far.description, far.left_out.len()), (&local.description, local.left_out.len()));
    assert_eq!(far.train.class_names(), local.train.class_names());
    for index in 0..local.train.len() {
        assert_eq!(far.train.read(index).unwrap(), local.train.read(index).unwrap());
        let [far, local] = [&far, &local].map(|set| set.train.place(index).to_string());
        assert_eq!(
            far.replace("s3://photos", ""),
            local.replace(root.path().join("photos").to_str().unwrap(), "")
        );
    }
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("bucket/empty")).unwrap();
    let server = serve(root.path()).unwrap();
    let error = |address: &str, options: &ObjectOptions| open(address, options).unwrap_err().to_string();
    let good = options(&server, None);
    let nothing = error("s3://bucket/nothing", &good);
    assert!(nothing.contains("s3://bucket/nothing: there is nothing at this address"), "{nothing}");
    let no_bucket = error("s3://no-bucket/x", &good);
    assert!(no_bucket.contains("s3://no-bucket/x: "), "{no_bucket}");
    let mut wrong = good.clone();
    wrong.settings.insert("aws_secret_access_key".into(), "another".into());
    let refused = error("s3://bucket", &wrong);
    assert!(
        refused.contains("s3://bucket: the object storage refuses this; check the credentials"),
        "{refused}"
    );
    let settings = BTreeMap::from([("aws_acess_key".to_owned(), String::new())]);
    let unknown = error("s3://bucket", &ObjectOptions { settings, ..good });
    assert!(unknown.contains("aws_acess_key"), "{unknown}");
    assert!(!format!("{wrong:?}").contains("another"));
}
