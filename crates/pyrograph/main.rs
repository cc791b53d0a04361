//! The `pyrograph` program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    pyrograph::keep_freed_memory();
    match cli::run() {
        Ok(code) => code,
        // A reader that has seen enough, as `head`, is no failure.
        Err(error) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&format!("error: {}", cli::told(&error)));
            ExitCode::FAILURE
        }
    }
}
