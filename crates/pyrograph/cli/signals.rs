//! What becomes of Ctrl-C, of schedulers' wishes and of a terminal that is closed.

use anyhow::{Context, Result};
use pyrograph::train::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// SIGINT, SIGTERM and SIGHUP ask `stop` from now on; a second SIGINT or SIGTERM ends the program at once.
pub(super) fn listen(stop: &StopSignal) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: what ends the program looks whether an earlier signal has set the flag.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())
            .and_then(|_| flag::register(signal, stop.flag()))
            .context("signals cannot be heard")?;
    }
    #[cfg(unix)]
    if !is_ignored(signal_hook::consts::SIGHUP) {
        // A terminal that is closed says so twice, itself and by its shell: a second one must not end the program.
        flag::register(signal_hook::consts::SIGHUP, stop.flag()).context("signals cannot be heard")?;
    }
    Ok(())
}

/// Whether whoever started the program, as `nohup` does, wants it to ignore a signal. Where the system does not tell, it is left as it is.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}
