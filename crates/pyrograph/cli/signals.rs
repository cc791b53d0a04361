//! What becomes of Ctrl-C and of schedulers' wishes.

use anyhow::{Context, Result};
use pyrograph::train::StopSignal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// SIGINT and SIGTERM ask `stop` from now on; a second one ends the program at once.
pub(super) fn listen(stop: &StopSignal) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: what ends the program looks whether an earlier signal has set the flag.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())
            .and_then(|_| flag::register(signal, stop.flag()))
            .context("signals cannot be heard")?;
    }
    Ok(())
}
