//! The shape of the house: which crate may see which, and what the default build is made of.

// Clippy takes only the `#[test]` functions for tests, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate with those of the house below it that it may name.
const FLOORS: [(&str, &[&str]); 5] = [
    ("pyrograph-data", &[]),
    ("pyrograph-model", &[]),
    ("pyrograph-infer", &["pyrograph-data", "pyrograph-model"]),
    ("pyrograph-train", &["pyrograph-data", "pyrograph-infer", "pyrograph-model"]),
    ("pyrograph", &["pyrograph-data", "pyrograph-infer", "pyrograph-model", "pyrograph-train"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file. A checkout on Windows may have its own line ends.
fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).arg("--offline").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "examples", "tests"] {
        sources(&root().join(folder), &mut found);
    }
    found
}

#[test]
fn arrows_only_go_down() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let (_, allowed) = FLOORS.iter().find(|(floor, _)| *floor == name).expect("a crate without a floor");
        let named: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dependency| dependency["name"].as_str().unwrap())
            .filter(|dependency| dependency.starts_with("pyrograph"))
            .collect();
        assert!(
            named.iter().all(|name| allowed.contains(name)),
            "{name} names {named:?}, it may {allowed:?}"
        );
    }
}

#[test]
fn data_needs_no_burn() {
    let tree =
        cargo(&["tree", "-p", "pyrograph-data", "--no-default-features", "-e", "normal", "--prefix", "none"]);
    assert!(!tree.lines().any(|line| line.starts_with("burn")), "{tree}");
}

#[test]
fn the_default_build_needs_no_gpu_stack_no_openssl_and_no_c_compiler() {
    let tree = cargo(&["tree", "-e", "normal,build", "--prefix", "none"]);
    for unwanted in ["wgpu", "cubecl-wgpu", "openssl-sys", "ring", "aws-lc-sys", "cc", "cmake", "bindgen"] {
        let found = tree.lines().any(|line| line.split(' ').next() == Some(unwanted));
        assert!(!found, "`{unwanted}` is in the default build");
    }
}

#[test]
fn every_crate_keeps_the_shared_lints() {
    for package in packages() {
        let manifest = text(package["manifest_path"].as_str().unwrap());
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package["name"]);
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = text(root().join("Cargo.toml"));
    let (_, rest) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let (dependencies, _) = rest.split_once("\n\n[").unwrap();
    let mut reason = false;
    for line in dependencies.lines() {
        if line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        } else if !line.starts_with("pyrograph") && !line.starts_with("clap_complete") {
            assert!(reason, "no reason above `{line}`");
            reason = false;
        }
    }
}

#[test]
fn files_stay_small_and_name_what_they_export() {
    for path in rust_files() {
        let text = text(&path);
        assert!(text.lines().count() <= 600, "{} has over 600 lines", path.display());
        let globs =
            text.lines().filter(|line| line.trim_start().starts_with("pub use") && line.contains("::*"));
        assert_eq!(globs.count(), 0, "{} exports by glob", path.display());
        assert!(
            text.starts_with("//!") || path.ends_with("loader/tests.rs"),
            "{} does not say what it is",
            path.display()
        );
    }
}
