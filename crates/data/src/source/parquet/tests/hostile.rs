//! Files that are damaged, cut short, or made to harm.

use std::time::{Duration, Instant};

use ::parquet::basic::Encoding;
use ::parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData,
};

use super::*;

/// Reads all that can be read. What matters is that it ends.
fn read_all(bytes: &[u8], path: &Path) -> std::result::Result<usize, String> {
    std::fs::write(path, bytes).unwrap();
    let begin = Instant::now();
    let read = Parquet::open(&[path]).map_err(|e| e.to_string()).map(|source| {
        let mut buffer = Vec::new();
        (0..source.len()).filter(|&index| source.fetch(index, &mut buffer).is_ok()).count()
    });
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    if let Err(error) = &read {
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    read
}

/// Small files of several kinds.
fn files() -> Vec<Vec<u8>> {
    let plain = Writing::new(pictures(6), labels(6, 2));
    let mut indexed = Writing::new(pictures(6), labels(6, 2));
    indexed.names = Some(r#"["a", "b"]"#);
    indexed.properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_data_page_row_count_limit(2)
        .set_write_batch_size(2)
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_encoding(Encoding::PLAIN);
    vec![plain.bytes(), indexed.bytes(), with_texts(&["a", "b", "a", "c", "c"]).bytes()]
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in files() {
        let path = folder.path().join("a.parquet");
        assert!(read_all(&bytes, &path).unwrap() >= 5);
        for len in 0..bytes.len() {
            assert!(read_all(&bytes[..len], &path).is_err(), "{len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn damage_is_an_error_or_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for bytes in files() {
        let mut refused = 0;
        for round in 0..1500 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + round % 3 {
                let at = random(bytes.len());
                damaged[at] = match round % 2 {
                    0 => damaged[at] ^ 1 << random(8),
                    _ => random(256) as u8,
                };
            }
            refused += usize::from(read_all(&damaged, &path).is_err());
        }
        assert!(refused > 100, "{refused}");
    }
}

/// The file with another footer.
fn edited(bytes: &[u8], edit: impl Fn(RowGroupMetaData) -> RowGroupMetaData) -> Vec<u8> {
    let footer_len = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let start = bytes.len() - 8 - footer_len;
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[start..bytes.len() - 8]).unwrap();
    let groups = metadata.row_groups().iter().cloned().map(edit).collect();
    let metadata = ParquetMetaData::new(metadata.file_metadata().clone(), groups);
    let mut out = bytes[..start].to_vec();
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    out.extend(footer);
    out
}

/// With another description of column `number`.
fn with_column(
    group: RowGroupMetaData,
    number: usize,
    edit: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> RowGroupMetaData {
    let mut columns = group.columns().to_vec();
    columns[number] = edit(columns[number].clone().into_builder()).build().unwrap();
    group.into_builder().set_column_metadata(columns).build().unwrap()
}

#[test]
fn what_claims_too_much_is_refused_with_its_size() {
    let bytes = Writing::new(pictures(6), labels(6, 2)).bytes();
    let folder = tempfile::tempdir().unwrap();
    let refuse = |edit: &dyn Fn(RowGroupMetaData) -> RowGroupMetaData, expected: &str| {
        let error = read_all(&edited(&bytes, edit), &folder.path().join("a.parquet")).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refuse(
        &|group| with_column(group, 0, |column| column.set_total_uncompressed_size(1 << 30)),
        "row group 0, column image: it has 1025 MiB that have to be read at once, and at most 256 MiB are",
    );
    refuse(
        &|group| group.into_builder().set_num_rows(1 << 40).build().unwrap(),
        "row group 0 claims 1099511627776 rows",
    );
    refuse(&|group| group.into_builder().set_num_rows(-1).build().unwrap(), "claims -1 rows");
    refuse(
        &|group| group.into_builder().set_num_rows(5).build().unwrap(),
        "row group 0, column label: there are 4 values where there should be 5",
    );
    refuse(
        &|group| with_column(group, 0, |column| column.set_total_compressed_size(1 << 40)),
        "row group 0, column image: it points beyond the end",
    );
    refuse(
        &|group| with_column(group, 2, |column| column.set_data_page_offset(-5)),
        "row group 0, column label: its place in the file makes no sense",
    );
    for compression in [Compression::BROTLI(Default::default()), Compression::LZ4] {
        refuse(
            &|group| with_column(group, 0, |column| column.set_compression(compression)),
            "which is not read; write it with",
        );
    }
}

/// A page with its header; lengths as the header claims them.
fn page(kind: u8, plain: u32, body: &[u8], inner: &[u8]) -> Bytes {
    let mut bytes = vec![0x15, kind << 1];
    for size in [plain, body.len() as u32] {
        bytes.push(0x15);
        let mut zigzag = size << 1;
        while zigzag > 0x7F {
            bytes.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        bytes.push(zigzag as u8);
    }
    bytes.extend(inner);
    bytes.push(0);
    bytes.extend(body);
    bytes.into()
}

#[test]
fn pages_are_not_believed() {
    // One value, plain, levels in runs.
    let data = [0x2C, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0];
    let find =
        |page: &Bytes, rows: usize| match Pages::find(page, codec::Codec::None, Type::BYTE_ARRAY, rows, 1000)
        {
            Ok(_) => String::new(),
            Err(kind) => kind.to_string(),
        };
    assert_eq!(find(&page(0, 5, b"hello", &data), 1), "");
    assert!(find(&page(0, 5, b"hello", &data), 2).contains("1 values where there should be 2"));
    assert!(find(&page(0, 1001, b"hello", &data), 1).contains("more than"));
    assert!(find(&page(0, 5, b"hello", &data).slice(..20), 1).contains("a page is longer than the column"));
    assert!(find(&page(9, 5, b"hello", &data), 1).contains("unknown kind"));
    // Encoding 6: lengths as differences.
    assert!(
        find(&page(0, 5, b"hello", &[0x2C, 0x15, 2, 0x15, 12, 0x15, 6, 0x15, 6, 0]), 1)
            .contains("encoding 6")
    );
    // A dictionary of 1,000 entries in five bytes.
    assert!(
        find(&page(2, 5, b"hello", &[0x4C, 0x15, 0xD0, 0x0F, 0x15, 0, 0]), 0).contains("more entries than")
    );
    // A checksum.
    assert!(
        find(&page(0, 5, b"hello", &[&[0x15, 2, 0x1C][..], &data[1..]].concat()), 1).contains("checksum")
    );
}

#[test]
fn compressed_pages_do_not_grow_beyond_what_they_say() {
    use std::io::Write;

    use codec::Codec;
    let plain = vec![7u8; 100_000];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    let snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    // A literal, then the same byte again: 15 + 390 * 255 + 252 + 4 times; then the literals that end a block.
    let lz4 = {
        let mut block = vec![0x1F, 7, 1, 0];
        block.extend([255; 392]);
        let repeated = 15 + 392 * 255 + 4;
        let rest = plain.len() - 1 - repeated - 5;
        block.push(rest as u8);
        block.extend([0x50, 7, 7, 7, 7, 7]);
        block
    };
    for (codec, stored) in
        [(Codec::Gzip, gzip), (Codec::Zstd, zstd), (Codec::Snappy, snappy), (Codec::Lz4, lz4)]
    {
        assert_eq!(codec.decompress(&stored, plain.len()).as_ref(), Ok(&plain), "{codec:?}");
        for len in [10, plain.len() - 1, plain.len() + 1] {
            assert!(codec.decompress(&stored, len).is_err(), "{codec:?} {len}");
        }
        assert!(codec.decompress(&stored[..stored.len() / 2], plain.len()).is_err(), "{codec:?}");
    }
}
