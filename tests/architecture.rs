//! Rules about the shape of the project that the compiler does not check.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate and the crates of this project that it may name.
const FLOORS: [(&str, &[&str]); 5] = [
    ("pyrograph-data", &[]),
    ("pyrograph-model", &[]),
    ("pyrograph-infer", &["pyrograph-data", "pyrograph-model"]),
    ("pyrograph-train", &["pyrograph-data", "pyrograph-model", "pyrograph-infer"]),
    ("pyrograph", &["pyrograph-data", "pyrograph-model", "pyrograph-infer", "pyrograph-train"]),
];

/// A longer file holds more than one idea.
const MAX_LINES: usize = 600;

/// Crates called `-sys` that are declarations in plain Rust: nothing is compiled from C or linked but the system itself.
const PURE_SYS: [&str; 4] = ["dirs-sys", "linux-raw-sys", "windows-sys", "core-foundation-sys"];

/// Crates that bring a C compiler, a network stack or a GPU into the build.
const HEAVY: [&str; 11] =
    ["cc", "cmake", "nasm-rs", "bindgen", "pkg-config", "vcpkg", "ring", "openssl", "native-tls", "wgpu", "cudarc"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `cargo` prints.
fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(args).current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "cargo {} failed:\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The packages of the workspace, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("cargo metadata has no list of packages: {other}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text under `{key}` in {value}"))
}

/// Dependencies of all kinds: normal, of tests, of build scripts.
fn dependencies(package: &Value) -> &[Value] {
    package["dependencies"].as_array().unwrap()
}

/// Every Rust file of the project.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "examples", "tests", "benches", "fuzz"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 20, "only {} Rust files found: the search is wrong", files.len());
    files.sort();
    files
}

/// The lines of one table of a manifest, without its heading.
fn table<'a>(manifest: &'a str, heading: &str) -> Vec<&'a str> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect()
}

/// `pub use` statements that end in a glob, found in a file's text.
fn glob_reexports(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut statements = Vec::new();
    let mut from_line_start = true;
    for statement in code.split_inclusive(['\n', ';', '{']) {
        // Visibility may be restricted: `pub(crate) use`.
        let public = statement.starts_with("pub") && statement.contains(" use ");
        statements.push((from_line_start && public, statement));
        from_line_start = statement.ends_with(['\n', ';', '{']);
    }
    let mut found = Vec::new();
    let mut position = 0;
    for (opens, statement) in statements {
        if opens {
            let whole = &code[position..];
            let whole = &whole[..whole.find(';').unwrap_or(whole.len())];
            if whole.contains("::*") || whole.contains('*') {
                found.push(whole.replace('\n', " "));
            }
        }
        position += statement.len();
    }
    found
}

fn none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}
