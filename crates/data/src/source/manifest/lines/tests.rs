//! Lines of lists, good and hostile.

use super::*;

fn records(format: Format, lines: &[&str]) -> Result<Vec<Record>, String> {
    let mut parser = Parser::new(format);
    let mut records = Vec::new();
    for line in lines {
        records.extend(parser.parse(line, |path| path.ends_with(".jpg"))?);
    }
    Ok(records)
}

fn record(image: &str, label: &str, split: Option<&str>) -> Record {
    trimmed(image, label, split)
}

const COMMAS: Format = Format::Separated(b',');

#[test]
fn columns_are_found_by_their_names_in_any_order() {
    let lines = ["id, Label ,split,File_Name", "7,\"a \"\"big\"\" cat\",Train,\"x,y.jpg\"", "8,dog,,z.jpg"];
    let expected = [record("x,y.jpg", "a \"big\" cat", Some("Train")), record("z.jpg", "dog", None)];
    assert_eq!(records(COMMAS, &lines).unwrap(), expected);
    let tabs = Format::Separated(b'\t');
    assert_eq!(records(tabs, &["path\tclass", "a, b.jpg\t3"]).unwrap(), [record("a, b.jpg", "3", None)]);
}

#[test]
fn two_columns_need_no_header() {
    assert_eq!(records(COMMAS, &["a.jpg,cat", "b.png,dog"]).unwrap().len(), 2);
    for first in ["photo,kind", "a.jpg", "a.jpg,cat,3", "a.jpg;cat"] {
        let error = records(COMMAS, &[first]).unwrap_err();
        assert!(error.contains("header"), "{error}");
    }
}

#[test]
fn json_takes_names_and_whole_numbers() {
    let lines = [
        r#"{"image": "a.jpg", "label": "cat", "boxes": [[1, 2], {"x": null}]}"#,
        r#" {"file_name":"b.jpg","target":3,"split":"test"} "#,
        r#"{"path": "c.jpg", "image": "d.jpg", "category": "x", "label": -1}"#,
    ];
    let expected =
        [record("a.jpg", "cat", None), record("b.jpg", "3", Some("test")), record("d.jpg", "-1", None)];
    assert_eq!(records(Format::Json, &lines).unwrap(), expected);
}

#[test]
fn lines_that_say_too_little_say_what_is_missing() {
    for (line, expected) in [
        ("{}", "names no image"),
        (r#"{"image": "a.jpg"}"#, "has no label"),
        (r#"{"image": "a.jpg", "label": 1.5}"#, "neither a name nor a whole number"),
        (r#"{"image": "a.jpg", "label": true}"#, "neither a name nor a whole number"),
        (r#"{"image": "a.jpg", "label": " "}"#, "the label is empty"),
        (r#"{"image": "", "label": 1}"#, "the path of the image is empty"),
        (r#"{"image": 5, "label": 1}"#, "no line of JSON"),
        (r#"{"image": "a.jpg", "label": 1"#, "no line of JSON"),
        (r#"{"image": "a.jpg", "image": "b.jpg", "label": 1}"#, "duplicate field"),
        ("[1, 2]", "no line of JSON"),
        ("null", "no line of JSON"),
    ] {
        let error = records(Format::Json, &[line]).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
    for (line, expected) in [
        ("a.jpg", "1 columns, but the first line has 2"),
        ("a.jpg,b,c", "3 columns"),
        ("\"a.jpg,cat", "not closed"),
        ("a.jpg,cat\rb.jpg,dog", "carriage return"),
        (",cat", "the path of the image is empty"),
    ] {
        let error = records(COMMAS, &["image,label", line]).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(100_000) + "1" + &close.repeat(100_000);
        for line in [format!("{{\"x\":{deep}}}"), format!("{{\"label\":{deep}}}"), deep] {
            assert!(records(Format::Json, &[&line]).is_err());
        }
        let read =
            format!("{{\"x\":{},\"path\":\"a\",\"label\":1}}", open.repeat(50) + "1" + &close.repeat(50));
        assert_eq!(records(Format::Json, &[&read]).unwrap(), [record("a", "1", None)]);
    }
}

#[test]
fn long_lines_and_odd_bytes_name_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    let read = |text: &[u8]| -> Result<Vec<(u32, String)>, String> {
        std::fs::write(&path, text).unwrap();
        let mut lines = Lines::open(&Storage::DISK, &path).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        while let Some(line) = lines.next().map_err(|e| e.to_string())? {
            let line = line.to_owned();
            all.push((lines.number(), line));
        }
        Ok(all)
    };
    let numbered = [(1, "a,b\t".to_owned()), (4, "c".to_owned())];
    assert_eq!(read(b"\xEF\xBB\xBFa,b\t\r\n\r\n   \nc").unwrap(), numbered);
    assert_eq!(read(b"").unwrap(), []);
    let longest = "x".repeat(MAX_LINE as usize);
    assert_eq!(read(format!("{longest}\r\ny").as_bytes()).unwrap().len(), 2);
    let error = read(format!("a\n{longest}y\nb").as_bytes()).unwrap_err();
    assert!(error.contains("list.csv: line 2: the line is longer than 1 MiB"), "{error}");
    assert!(read(b"a\nb\xFF\n").unwrap_err().contains("list.csv: line 2: the line is not UTF-8"));
}
