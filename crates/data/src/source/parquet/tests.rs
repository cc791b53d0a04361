//! Files written as others write them, read again.

mod hostile;

use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;
use crate::DataSet;
use crate::testing::{conforms, shared_data};

const HUGGING_FACE: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";

/// The values of a column of numbers or texts, of which the schema says what they are.
#[derive(Clone)]
enum Column {
    Long(Vec<Option<i64>>),
    Int(Vec<Option<i32>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// A file to be written.
struct Writing {
    schema: &'static str,
    /// In the order of the leaves.
    columns: Vec<Column>,
    group: usize,
    names: Option<&'static str>,
    properties: WriterPropertiesBuilder,
}

impl Writing {
    /// As Hugging Face writes: bytes and paths, and labels.
    fn new(pictures: Vec<Option<Vec<u8>>>, labels: Vec<Option<i64>>) -> Self {
        let paths = (0..pictures.len()).map(|n| (n % 3 > 0).then(|| format!("{n}.png").into())).collect();
        Self {
            schema: HUGGING_FACE,
            columns: vec![Column::Bytes(pictures), Column::Bytes(paths), Column::Long(labels)],
            group: 4,
            names: None,
            properties: WriterProperties::builder()
                .set_offset_index_disabled(true)
                .set_dictionary_enabled(false),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut properties = self.properties.clone();
        if let Some(names) = self.names {
            let json = format!(
                r#"{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}, "image": {{"_type": "Image"}}}}}}}}"#
            );
            properties = properties
                .set_key_value_metadata(Some(vec![KeyValue::new("huggingface".into(), Some(json))]));
        }
        let schema = Arc::new(parse_message_type(self.schema).unwrap());
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build())).unwrap();
        let rows = match &self.columns[0] {
            Column::Long(values) => values.len(),
            Column::Int(values) => values.len(),
            Column::Bytes(values) => values.len(),
        };
        for start in (0..rows).step_by(self.group) {
            let range = start..rows.min(start + self.group);
            let mut group = file.next_row_group().unwrap();
            for column in &self.columns {
                let mut writer = group.next_column().unwrap().unwrap();
                fn split<T: Clone, U>(
                    some: &[Option<T>],
                    make: impl Fn(T) -> U,
                    whole: i16,
                ) -> (Vec<U>, Vec<i16>) {
                    let levels = some.iter().map(|value| if value.is_some() { whole } else { 0 }).collect();
                    (some.iter().flatten().cloned().map(make).collect(), levels)
                }
                match column {
                    Column::Long(values) => {
                        let (values, levels) = split(&values[range.clone()], |value| value, 1);
                        writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
                    }
                    Column::Int(values) => {
                        let (values, levels) = split(&values[range.clone()], |value| value, 1);
                        writer.typed::<Int32Type>().write_batch(&values, Some(&levels), None).unwrap();
                    }
                    Column::Bytes(values) => {
                        let deep = if self.schema.contains("group") && values.len() == rows { 2 } else { 1 };
                        let (values, levels) = split(&values[range.clone()], ByteArray::from, deep);
                        writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
                    }
                }
                writer.close().unwrap();
            }
            group.close().unwrap();
        }
        file.close().unwrap();
        bytes
    }

    fn write(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.bytes()).unwrap();
    }
}

/// Picture `number`, different from all others.
fn picture(number: usize) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pixel = image::Luma([number as u8]);
    let image = image::GrayImage::from_pixel(2 + number as u32 / 256, 2, pixel);
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn pictures(count: usize) -> Vec<Option<Vec<u8>>> {
    (0..count).map(|number| Some(picture(number))).collect()
}

fn labels(count: usize, classes: i64) -> Vec<Option<i64>> {
    (0..count as i64).map(|number| Some(number % classes)).collect()
}

fn fetched(source: &Parquet, index: usize) -> Vec<u8> {
    let mut buffer = Vec::new();
    match source.fetch(index, &mut buffer).unwrap() {
        Stored::File(bytes) => bytes.to_vec(),
        Stored::Pixels { .. } => panic!("pixels"),
    }
}

fn open_bytes(bytes: &[u8]) -> Result<Parquet> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    std::fs::write(&path, bytes).unwrap();
    // The file stays open as long as the source, on systems that let it.
    let source = Parquet::open(&[path])?;
    source.files.get(0)?;
    Ok(source)
}

fn failure(writing: &Writing) -> String {
    match open_bytes(&writing.bytes()) {
        Err(error) => error.to_string(),
        Ok(source) => {
            let error = (0..source.len())
                .find_map(|index| source.fetch(index, &mut Vec::new()).err().map(|e| e.to_string()));
            error.unwrap()
        }
    }
}

#[test]
fn parquet_conforms_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        for dictionary in [false, true] {
            for index in [false, true] {
                for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                    let properties = WriterProperties::builder()
                        .set_compression(compression)
                        .set_dictionary_enabled(dictionary)
                        // Of 20 rows some fit in the dictionary; the rest is plain.
                        .set_dictionary_page_size_limit(8 * picture(0).len())
                        .set_offset_index_disabled(!index)
                        .set_data_page_row_count_limit(3)
                        .set_write_batch_size(3)
                        .set_encoding(::parquet::basic::Encoding::PLAIN)
                        .set_writer_version(version);
                    let files = [0, 1].map(|file| folder.path().join(format!("{file}.parquet")));
                    for (file, path) in files.iter().enumerate() {
                        let pictures = (0..45).map(|number| Some(picture(number + file * 45))).collect();
                        let mut writing = Writing::new(pictures, labels(45, 7));
                        writing.group = 20;
                        writing.properties = properties.clone();
                        // What the second version falls back to is not read.
                        if version == WriterVersion::PARQUET_2_0 {
                            writing.properties = writing.properties.set_dictionary_page_size_limit(1 << 20);
                        }
                        writing.write(path);
                    }
                    let source = Parquet::open(&files).unwrap();
                    conforms(&source);
                    assert_eq!((source.len(), source.file_count()), (90, 2));
                    assert_eq!(source.class_names(), ["0", "1", "2", "3", "4", "5", "6"]);
                    let pieces = source.pieces.len();
                    assert!(if index { pieces > 6 } else { pieces == 6 }, "{pieces} pieces");
                    for index in (0..90).rev() {
                        assert_eq!(fetched(&source, index), picture(index), "sample {index}");
                        assert_eq!(source.label(index) as usize, index % 45 % 7);
                    }
                    assert_eq!(source.place(89).to_string(), format!("{}: record 44", files[1].display()));
                }
            }
        }
    }
}

#[test]
fn threads_see_the_same_as_one() {
    let mut writing = Writing::new(pictures(300), labels(300, 3));
    writing.group = 50;
    let folder = tempfile::tempdir().unwrap();
    writing.write(&folder.path().join("a.parquet"));
    let mut source = Parquet::open(&[folder.path().join("a.parquet")]).unwrap();
    // Room for one group and a half.
    source.cache = Cache::new(source.pieces[0].cost * 3 / 2);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let source = &source;
            scope.spawn(move || {
                for step in 0..600 {
                    let index = (step * 37 + thread * 11) % 300;
                    assert_eq!(fetched(source, index), picture(index));
                }
            });
        }
    });
    assert!(source.cache.kept_bytes() <= source.pieces[0].cost * 3 / 2);
}

#[test]
fn columns_are_found_by_their_names() {
    for (schema, columns) in [
        ("message s { required binary img; required int32 fine_label; required int32 coarse_label; }", 3),
        ("message s { required int32 target; required binary jpg; }", 2),
        ("message s { required binary JPEG; optional binary text (UTF8); required binary class (UTF8); }", 3),
        (
            "message s { required group photo { required binary bytes; required binary path (UTF8); } required int64 LABELS; }",
            3,
        ),
    ] {
        let parsed = parse_message_type(schema).unwrap();
        let leaves = ::parquet::schema::types::SchemaDescriptor::new(Arc::new(parsed));
        assert_eq!(leaves.num_columns(), columns, "{schema}");
        let file = ::parquet::file::metadata::FileMetaData::new(1, 0, None, None, Arc::new(leaves), None);
        let found = Columns::of(&file).unwrap();
        let image = file.schema_descr().column(found.image).path().string();
        assert!(["img", "jpg", "JPEG", "photo.bytes"].contains(&image.as_str()), "{image}");
        let label = file.schema_descr().column(found.label).path().string();
        assert!(["fine_label", "target", "class", "LABELS"].contains(&label.as_str()), "{label}");
    }
}

#[test]
fn names_of_classes_come_from_the_file() {
    let mut writing = Writing::new(pictures(5), labels(5, 2));
    writing.names = Some(r#"["dog", "cat", "owl"]"#);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    writing.write(&path);
    let source = Parquet::open(&[&path]).unwrap();
    assert_eq!(source.class_names(), ["dog", "cat", "owl"]);
    let other = ["cat", "dog"].map(String::from);
    let part = Parquet::with_classes(&[&path], &other).unwrap();
    assert_eq!((part.class_names(), part.label(0), part.label(1)), (&other[..], 1, 0));
    let error = Parquet::with_classes(&[&path], &other[..1]).unwrap_err().to_string();
    assert!(error.contains("a.parquet: record 0: the class \"dog\" is not among the 1 known"), "{error}");
    for (names, expected) in [
        (r#"["dog", "dog"]"#, "have \"dog\" twice"),
        (r#"["dog", 3]"#, "are no texts"),
        (r#"["dog"]"#, "record 1: label 1 is out of range, there are 1 classes"),
    ] {
        writing.names = Some(names);
        assert!(failure(&writing).contains(expected), "{}", failure(&writing));
    }
}

fn with_texts(texts: &[&str]) -> Writing {
    let mut writing = Writing::new(pictures(texts.len()), Vec::new());
    writing.schema = "message s { required binary image; required binary label (UTF8); }";
    let texts = texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect();
    writing.columns = vec![writing.columns[0].clone(), Column::Bytes(texts)];
    writing
}

#[test]
fn labels_may_be_text() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| folder.path().join(name));
    with_texts(&["dog", "cat", "dog", "dog", "fox"]).write(&files[0]);
    with_texts(&["owl", "cat"]).write(&files[1]);
    let source = Parquet::open(&files).unwrap();
    conforms(&source);
    assert_eq!(source.class_names(), ["cat", "dog", "fox", "owl"]);
    let labels: Vec<u32> = (0..7).map(|index| source.label(index)).collect();
    assert_eq!(labels, [1, 0, 1, 1, 2, 3, 0]);
    let part = Parquet::with_classes(&files[1..], source.class_names()).unwrap();
    assert_eq!((part.label(0), part.label(1)), (3, 0));
    assert!(failure(&with_texts(&["a", ""])).contains("record 1: an empty class"));
}

#[test]
fn what_is_missing_is_named() {
    let mut writing = Writing::new(pictures(6), labels(6, 2));
    if let Column::Long(values) = &mut writing.columns[2] {
        values[5] = None;
    }
    let error = failure(&writing);
    assert!(error.contains("a.parquet: record 5: the column label is null"), "{error}");

    for (value, expected) in [
        (None, "record 4: the picture is null; the column image"),
        (Some(Vec::new()), "record 4: the picture has no bytes"),
    ] {
        let mut pictures = pictures(6);
        pictures[4] = value;
        let error = failure(&Writing::new(pictures, labels(6, 2)));
        assert!(error.contains(expected), "{error}");
    }
    for (label, expected) in [
        (-1, "the picture has no label (-1)"),
        (-2, "label -2 is out of range"),
        (1 << 40, "label 1099511627776 is out of range"),
    ] {
        let error = failure(&Writing::new(pictures(1), vec![Some(label)]));
        assert!(error.contains("record 0") && error.contains(expected), "{error}");
    }

    let mut writing = Writing::new(Vec::new(), Vec::new());
    writing.schema = "message s { required int32 id; required int32 width; }";
    writing.columns = vec![Column::Int(vec![Some(1)]), Column::Int(vec![Some(1)])];
    let error = failure(&writing);
    assert!(
        error.contains("no column of pictures") && error.contains("id (INT32), width (INT32)"),
        "{error}"
    );
    writing.schema = "message s { required binary image; required int32 width; }";
    writing.columns[0] = Column::Bytes(vec![Some(picture(0))]);
    let error = failure(&writing);
    assert!(error.contains("no column of labels") && error.contains("width (INT32)"), "{error}");
    writing.schema = "message s { required binary image (UTF8); required int32 label; }";
    assert!(failure(&writing).contains("the column image holds text"));
    writing.columns = vec![Column::Bytes(Vec::new()), Column::Int(Vec::new())];
    writing.schema = "message s { required binary image; required int32 label; }";
    assert!(failure(&writing).contains("there are no rows"));

    let folder = tempfile::tempdir().unwrap();
    assert!(Parquet::open(&[folder.path().join("a")]).unwrap_err().to_string().contains("no such file"));
    assert!(Parquet::open(&[] as &[&Path]).is_err());
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let refuse = |first: &Writing, second: &Writing, expected: &str| {
        first.write(&a);
        second.write(&b);
        let error = Parquet::open(&[&a, &b]).unwrap_err().to_string();
        assert!(error.starts_with(&b.display().to_string()) && error.contains(expected), "{error}");
    };
    let numbers = Writing::new(pictures(3), labels(3, 2));
    let mut named = Writing::new(pictures(3), labels(3, 2));
    named.names = Some(r#"["a", "b"]"#);
    let mut others = Writing::new(pictures(3), labels(3, 2));
    others.names = Some(r#"["b", "a"]"#);
    refuse(&named, &others, "it names other classes, or in another order, than");
    refuse(&named, &numbers, "its labels are numbers without names");
    refuse(&numbers, &with_texts(&["a"]), "its labels are text");
    let mut moved = Writing::new(pictures(3), labels(3, 2));
    moved.schema = "message s { optional group img { optional binary bytes; optional binary path (UTF8); } optional int64 label; }";
    refuse(&numbers, &moved, "its pictures are in the column img, those of");
}

#[test]
fn parts_are_found() {
    let part = |count: usize| {
        let mut writing = Writing::new(pictures(count), labels(count, 2));
        writing.names = Some(r#"["cat", "dog"]"#);
        writing
    };
    let all = "Found 9 images in 2 classes (train 6, validation 2, test 1)";
    for (train, valid, test) in [
        ("train-0000%-of-00002.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("data/train-0000%-of-00002-0f1e.parquet", "data/validation-00000.parquet", "data/test.parquet"),
        ("train/000%.parquet", "val/0000.parquet", "test/0000.parquet"),
        ("default/train/000%.parquet", "default/validation/0000.parquet", "default/test/0000.parquet"),
    ] {
        let root = tempfile::tempdir().unwrap();
        part(4).write(&root.path().join(train.replace('%', "0")));
        part(2).write(&root.path().join(train.replace('%', "1")));
        part(2).write(&root.path().join(valid));
        part(1).write(&root.path().join(test));
        std::fs::write(root.path().join("README.md"), "x").unwrap();
        let set = DataSet::open(root.path()).unwrap();
        assert_eq!(set.description, all);
        assert_eq!(set.train.class_names(), ["cat", "dog"]);
        conforms(set.train.as_ref());
        let one = DataSet::open(root.path().join(valid)).unwrap();
        assert_eq!(one.description, "Found 2 images in 2 classes");
    }
    let root = tempfile::tempdir().unwrap();
    part(2).write(&root.path().join("data/train-00000-of-00002.parquet"));
    let error = DataSet::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("data/train-00001-of-00002") && error.contains("is not there"), "{error}");
    part(2).write(&root.path().join("data/train-00001-of-00002.parquet"));
    part(2).write(&root.path().join("data/unsupervised-00000-of-00001.parquet"));
    let set = DataSet::open(root.path()).unwrap();
    assert_eq!((set.train.len(), set.left_out.len()), (4, 1));
    assert!(set.left_out[0].contains("unsupervised") && set.description.contains("left out: unsupervised-0"));
    let root = tempfile::tempdir().unwrap();
    part(2).write(&root.path().join("train/0000.parquet"));
    part(2).write(&root.path().join("unsupervised/0000.parquet"));
    let set = DataSet::open(root.path()).unwrap();
    assert_eq!((set.train.len(), set.left_out.len()), (2, 1));
    assert!(set.left_out[0].contains("unsupervised") && set.description.ends_with("left out: unsupervised"));
    let root = tempfile::tempdir().unwrap();
    part(2).write(&root.path().join("0000.parquet"));
    part(2).write(&root.path().join("0001.parquet"));
    assert_eq!(DataSet::open(root.path()).unwrap().description, "Found 4 images in 2 classes");
    part(2).write(&root.path().join("train.parquet"));
    let set = DataSet::open(root.path()).unwrap();
    assert_eq!((set.train.len(), set.left_out.len()), (2, 2));
    let mut secret = Writing::new(pictures(2), vec![Some(-1); 2]);
    secret.names = Some(r#"["cat", "dog"]"#);
    secret.write(&root.path().join("test.parquet"));
    let set = DataSet::open(root.path()).unwrap();
    assert!(set.test.is_none() && set.left_out[0].ends_with("test.parquet: the pictures have no labels"));
    std::fs::rename(root.path().join("train.parquet"), root.path().join("test.parquet")).unwrap();
    let error = DataSet::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("none for training"), "{error}");
}

#[test]
fn real_photos_come_back_as_they_were() {
    let Some(folder) = shared_data("imagenet_sample_1000") else { return };
    let mut photos: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpeg")))
        .collect();
    photos.sort();
    photos.truncate(12);
    let photos: Vec<Vec<u8>> = photos.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut writing = Writing::new(photos.iter().cloned().map(Some).collect(), labels(photos.len(), 3));
    writing.properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let folder = tempfile::tempdir().unwrap();
    writing.write(&folder.path().join("a.parquet"));
    let source = Parquet::open(&[folder.path().join("a.parquet")]).unwrap();
    conforms(&source);
    assert!(photos.iter().enumerate().all(|(index, photo)| fetched(&source, index) == *photo));
}
