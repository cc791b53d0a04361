//! The `pyrograph` program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    pyrograph::tune_allocator();
    match cli::run() {
        Ok(code) => code,
        // A reader that has seen enough, as `head`, is no failure.
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        // What tells schedulers to try again (EX_TEMPFAIL).
        Err(error) if cli::is_interruption(&error) => {
            cli::complain(&cli::told(&error));
            ExitCode::from(75)
        }
        // Whatever else is read or written is named.
        Err(error) if error.is::<std::io::Error>() => {
            cli::complain(&format!("error: the output cannot be written: {}", cli::told(&error)));
            ExitCode::FAILURE
        }
        Err(error) => {
            cli::complain(&format!("error: {}", cli::told(&error)));
            ExitCode::FAILURE
        }
    }
}
