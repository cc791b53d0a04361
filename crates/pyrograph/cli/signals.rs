//! What becomes of Ctrl-C, of schedulers' wishes and of a terminal that is closed.

use anyhow::{Context, Result};
use pyrograph::train::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// SIGINT, SIGTERM and SIGHUP ask `stop` from now on; a second SIGINT or SIGTERM ends the program at once.
pub(super) fn listen(stop: &StopSignal) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        hear(signal, stop).context("signals cannot be heard")?;
    }
    #[cfg(unix)]
    if !is_ignored(signal_hook::consts::SIGHUP) {
        // A terminal that is closed says so twice, itself and by its shell: a second one must not end the program.
        flag::register(signal_hook::consts::SIGHUP, stop.flag()).context("signals cannot be heard")?;
    }
    Ok(())
}

/// Asks `stop` when the signal comes, and ends the program when it comes after such a wish; each is told.
#[cfg(unix)]
#[allow(unsafe_code)]
fn hear(signal: i32, stop: &StopSignal) -> std::io::Result<()> {
    use std::sync::atomic::Ordering;

    const STOPPING: &[u8] = b"stopping after this step and saving; once more ends at once\n";
    const ENDING: &[u8] = b"ended at once; the same command goes on from what was saved last\n";
    let asked = stop.flag();
    // Nobody may be there to read it.
    // SAFETY: `write` may be called while a signal is handled, and gets the bytes of a constant with their number.
    let tell = |text: &[u8]| unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    let heard = move || {
        if asked.swap(true, Ordering::Relaxed) {
            tell(ENDING);
            signal_hook::low_level::exit(128 + signal);
        }
        tell(STOPPING);
    };
    // SAFETY: what is called sets a flag, writes and exits, all of which may be done while a signal is handled; it takes no lock or memory.
    unsafe { signal_hook::low_level::register(signal, heard) }.map(|_| ())
}

/// Asks `stop` when the signal comes, and ends the program when it comes after such a wish.
#[cfg(not(unix))]
fn hear(signal: i32, stop: &StopSignal) -> std::io::Result<()> {
    // In this order: what ends the program looks whether an earlier signal has set the flag.
    flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())?;
    flag::register(signal, stop.flag()).map(|_| ())
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
