//! `pyrograph devices`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use pyrograph::model::available_devices;

pub(crate) fn run() -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for (name, description) in available_devices() {
        writeln!(out, "{name:<12} {description}")?;
    }
    Ok(ExitCode::SUCCESS)
}
