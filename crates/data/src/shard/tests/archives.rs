//! Archives that are cut short, lie, or lead elsewhere, and odd ones that are right.

use std::fs;

use super::{Tar, failure, make_index, pax_bytes, picture, scan_bytes, write};
use crate::ErrorKind;
use crate::order::SampleRng;

#[test]
fn a_shard_cut_at_any_byte_gives_its_whole_samples_and_one_located_error() {
    let whole = Tar::default().sample("1", 1, "0").sample("a/b", 2, "1").sample("3", 3, "0").end();
    let records = scan_bytes(&whole).index.records;
    assert_eq!(records.len(), 3);
    // Each sample takes two entries of two blocks; the first entry of the next one tells that it is over.
    for cut in 0..whole.len() {
        let found = scan_bytes(&whole[..cut]);
        if cut >= whole.len() - 512 {
            assert!(found.failures.is_empty() && found.index.records == records, "cut at {cut}");
            continue;
        }
        let begun = cut / 2048;
        let over = cut >= begun * 2048 + 512 + picture(0).len();
        let expected = (begun + usize::from(over)).saturating_sub(1);
        assert_eq!(found.index.records[..], records[..expected.min(2)], "cut at {cut}");
        assert_eq!((found.failures.len(), found.broken), (1, true), "cut at {cut}");
        let place = found.failures[0].place();
        assert!(
            place.path.is_some() && place.offset.is_some_and(|offset| offset <= cut as u64),
            "cut at {cut}: {place}"
        );
        assert!(found.failures[0].to_string().contains("cut short"), "cut at {cut}");
    }
}

#[test]
fn entries_that_could_do_harm_are_passed_over_and_counted() {
    let link = |tar: Tar, kind| tar.header(b"b.jpg", kind, b"00000000000\0");
    let mut tar = Tar::default().sample("1", 1, "0");
    for kind in b'1'..=b'6' {
        // A folder is harmless.
        tar = link(tar, kind);
    }
    tar = tar
        .file("../../etc/passwd.jpg", &picture(9))
        .file("/etc/2.jpg", &picture(9))
        .file("a/../3.jpg", &picture(9))
        .entry(b"\xFF\xFE.jpg", b'0', &picture(9))
        .entry(b"4\x1b[31m.jpg", b'0', &picture(9))
        .pax(&[("path", "n\0l.jpg")])
        .file("5.jpg", &picture(9))
        .pax(&[("path", &"x".repeat(1025))])
        .file("6.jpg", &picture(9))
        .entry(b"././@LongLink", b'L', &[b'y'; 100_000])
        .file("7.jpg", &picture(9))
        .pax(&[("GNU.sparse.major", "1")])
        .file("8.jpg", &picture(9))
        .entry(b"9.jpg", b'S', &picture(9))
        .entry(b"10.jpg", b'V', b"")
        .entry(b"11.jpg", b'M', &picture(9))
        .sample("2", 2, "0");
    let found = scan_bytes(&tar.end());
    assert!(found.failures.is_empty(), "{:?}", found.failures);
    assert_eq!((found.index.records.len(), found.refused), (2, 5 + 5 + 3 + 4));
}

#[test]
fn archives_that_contradict_themselves_are_refused_at_the_place() {
    let good = Tar::default().sample("1", 1, "0");
    let after = good.0.len();
    let sizes: [(&[u8], &str); 6] = [
        (b"77777777777\0", "cut short"),
        (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", "cut short"),
        (b"\x80\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "no number"),
        (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", "no number"),
        (b"-0000000001\0", "no number"),
        (b"0000000009\0\0", "no number"),
    ];
    for (size, expected) in sizes {
        let error = failure(&good.clone().header(b"2.jpg", b'0', size).end());
        assert!(error.contains(expected) && error.contains(&after.to_string()), "{error}");
    }
    let pax = |records| good.clone().pax(records).file("2.l8", &picture(2)).end();
    let cases = [
        (pax(&[("size", "1")]), "contradict"),
        (pax(&[("size", "-1")]), "no number"),
        (pax(&[("size", "99999999999999999999999")]), "no number"),
        (pax(&[("size", "18446744073709551615")]), "cut short"),
        (pax(&[("size", "9000000000")]), "cut short"),
        (good.clone().pax(&[]).pax(&[]).file("2.l8", &picture(2)).end(), "two extended headers"),
        (good.clone().entry(b"x", b'x', b"999 path=a\n").end(), "cannot be read"),
        (good.clone().entry(b"x", b'x', b"path=a\n").end(), "cannot be read"),
        (good.clone().entry(b"x", b'x', &vec![b' '; 70_000]).end(), "64 KiB"),
        (good.clone().header(b"x", b'x', b"77777777777\0").end(), "cut short in an extended header"),
        (good.clone().pax(&[("path", "a")]).end(), "without an entry"),
        (good.clone().entry(b"g", b'g', &pax_bytes(&[("size", "1")])).end(), "global header"),
        (good.clone().entry(b"2.jpg", b'2', b"data").end(), "claims contents"),
        ([good.clone().end(), good.clone().end()].concat(), "put together with cat"),
        ([&good.0[..], &[b'?'; 1024]].concat(), "no tar header"),
    ];
    for (bytes, expected) in cases {
        let error = failure(&bytes);
        assert!(
            error.contains(expected) && error.starts_with("a.tar: "),
            "{error} is not about {expected:?}"
        );
        assert!(scan_bytes(&bytes).broken);
    }
    let mut wrong_sum = good.end();
    wrong_sum[3] ^= 1;
    assert!(failure(&wrong_sum).contains("checksum"));
}

#[test]
fn a_picture_that_claims_too_much_is_never_allocated() {
    // The archive is really that long, but nothing of it is on the disk.
    let folder = tempfile::tempdir().unwrap();
    let size = (256u64 << 20) + 1;
    let head = Tar::default().header(b"1.jpg", b'0', format!("{size:011o}\0").as_bytes());
    let path = write(folder.path(), "a.tar", &head.0);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(512 + size.next_multiple_of(512) + 1024).unwrap();
    let report = make_index(&path);
    assert!(matches!(report.failures[0].kind(), ErrorKind::TooLarge(_)), "{}", report.failures[0]);
    assert!(report.failures[0].to_string().contains("1.jpg at byte 0"), "{}", report.failures[0]);
}

#[test]
fn long_names_of_every_kind_are_read() {
    let folder = "d".repeat(90);
    let file = "f".repeat(60);
    let long = format!("{folder}/{file}.l8");
    let mut ustar = Tar::default().file(&format!("{file}.l8"), &picture(1));
    ustar.0[345..435].copy_from_slice(folder.as_bytes());
    ustar.0[148..156].copy_from_slice(b"        ");
    let sum: u32 = ustar.0[..512].iter().map(|&byte| u32::from(byte)).sum();
    ustar.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let gnu = Tar::default()
        .entry(b"././@LongLink", b'L', format!("{long}\0").as_bytes())
        .file("short.l8", &picture(1));
    let pax = Tar::default()
        .entry(b"g", b'g', &pax_bytes(&[("comment", "hello")]))
        .pax(&[("mtime", "1.5"), ("path", &long)])
        .file("short.l8", &picture(1));
    for tar in [ustar, gnu, pax] {
        let found = scan_bytes(&tar.end());
        assert!(found.failures.is_empty(), "{:?}", found.failures);
        assert_eq!(found.index.names, long.as_bytes());
        assert_eq!(found.index.class_names, [folder.as_str()]);
    }
}

#[test]
fn no_change_to_an_archive_leads_out_of_it() {
    let tar = Tar::default()
        .sample("1", 1, "0")
        .pax(&[("path", "long/2.l8"), ("size", "22")])
        .entry(b"2.l8", b'0', &picture(2))
        .entry(b"././@LongLink", b'L', b"long/3.l8\0")
        .file("3.l8", &picture(3))
        .file("4.json", br#"{"label": 3}"#)
        .file("4.l8", &picture(4))
        .end();
    let whole = scan_bytes(&tar);
    assert_eq!((whole.index.records.len(), whole.failures.len()), (4, 0));
    let mut random = SampleRng::new(1, 2, 3, 4);
    for _ in 0..20_000 {
        let mut wrong = tar.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(wrong.len() as u64) as usize;
            wrong[at] = random.next_u64() as u8;
        }
        // Most changes of a header would only be told by its checksum: those here get the right one.
        let block = random.below(wrong.len() as u64 / 512) as usize * 512;
        let header = &mut wrong[block..block + 512];
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let found = scan_bytes(&wrong);
        for record in &found.index.records {
            assert!(record.offset + u64::from(record.len) <= wrong.len() as u64);
            assert!(record.offset.is_multiple_of(512));
        }
    }
}
