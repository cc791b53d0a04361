//! Paths that must lie on the disks of this machine.

use std::path::Path;

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};

/// Refuses an address where something is written: it would become a folder of that name here.
pub(crate) fn refuse_output_address(out: &Path) -> Result<()> {
    if is_address(out) {
        bail!(
            "{}: nothing is written to addresses; write to a folder on a disk, and upload that",
            out.display()
        );
    }
    Ok(())
}

/// Refuses to write over a file: it may be all that is left of a long training.
pub(crate) fn refuse_existing(out: &Path) -> Result<()> {
    if out.exists() {
        bail!("{}: there is such a file already; nothing was changed, choose another file", out.display());
    }
    Ok(())
}

/// Refuses an address where only files and folders on a disk are read.
pub(crate) fn refuse_input_address(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    if is_address(path) {
        bail!(
            "{}: addresses are not read here, only image sets are; download it, and give its path on a disk",
            path.display()
        );
    }
    Ok(())
}

/// Takes the path of images from the command line. A recipe is a text that keeps it, so that it must be one.
pub(super) fn data_path() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|path| {
        path.into_string().map_err(|path| {
            format!(
                "{} is no UTF-8, which paths of images must be; rename it, or make a link with another name",
                path.display()
            )
        })
    })
}

/// Whether this is written as an address and not as a path.
fn is_address(path: &Path) -> bool {
    path.to_string_lossy().contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_place_to_write_to() {
        for address in ["s3://bucket/out", "https://host/out", "file:///out"] {
            let error = refuse_output_address(Path::new(address)).unwrap_err().to_string();
            assert!(error.contains(address) && error.contains("upload"), "{error}");
            let error = refuse_input_address(address).unwrap_err().to_string();
            assert!(error.contains(address) && error.contains("download"), "{error}");
        }
        for path in ["out", "/data/out", "C:\\out", "a:b/out", "a//b"] {
            assert!(
                refuse_output_address(Path::new(path)).is_ok() && refuse_input_address(path).is_ok(),
                "{path}"
            );
        }
    }
}
