//! What the benchmarks share.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command of the shell; the last line of its output is a JSON object.
pub(super) fn told_by(command: &str) -> Result<serde_json::Value> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let output = Command::new(shell).args([flag, command]).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{command}: cannot be run"))?;
    if !output.status.success() {
        bail!("{command}: failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let value = serde_json::from_str(last).ok().filter(serde_json::Value::is_object);
    value.with_context(|| format!("{command}: its last line is no JSON object: {last}"))
}

/// A rate that a command told, if it did.
pub(super) fn rate(told: &serde_json::Value, name: &str) -> Option<f64> {
    told[name].as_f64().filter(|rate| *rate > 0.0)
}

/// The middle of some numbers, of which there is at least one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[half - 1] + sorted[half]) / 2.0 } else { sorted[half] }
}

/// The most memory that this process had. Linux tells; others may not.
pub(super) fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}
