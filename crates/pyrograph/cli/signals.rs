//! What becomes of Ctrl-C, of schedulers' wishes and of a terminal that is closed.

use anyhow::{Context, Result};
use pyrograph::train::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// SIGINT, SIGTERM and SIGHUP ask `stop` from now on; a second SIGINT or SIGTERM ends the program at once.
pub(super) fn listen(stop: &StopSignal) -> Result<()> {
    hear(stop).context("signals cannot be heard")?;
    #[cfg(unix)]
    if !is_ignored(signal_hook::consts::SIGHUP) {
        // A terminal that is closed says so twice, itself and by its shell: a second one must not end the program.
        flag::register(signal_hook::consts::SIGHUP, stop.flag()).context("signals cannot be heard")?;
    }
    Ok(())
}

fn hear(stop: &StopSignal) -> std::io::Result<()> {
    #[cfg(unix)]
    let first = tell_of_the_first()?;
    for signal in [SIGINT, SIGTERM] {
        // In this order: what ends the program looks whether an earlier signal has set the flag.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())?;
        #[cfg(unix)]
        signal_hook::low_level::pipe::register(signal, first.try_clone()?)?;
        flag::register(signal, stop.flag())?;
    }
    Ok(())
}

/// A line is said when something is written to what this gives: nothing can be printed while a signal is handled.
#[cfg(unix)]
fn tell_of_the_first() -> std::io::Result<std::os::unix::net::UnixStream> {
    use std::io::Read;

    let (mut heard, first) = std::os::unix::net::UnixStream::pair()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if heard.read_exact(&mut [0]).is_ok() {
            super::complain("stopping after this step and saving; once more ends at once");
        }
    })?;
    Ok(first)
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
