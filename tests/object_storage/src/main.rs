//! Runs a command beside an S3 server whose buckets are the folders of a folder:
//!
//! ```text
//! object-storage-tests FOLDER COMMAND [ARGUMENT]…
//! ```

use std::path::Path;
use std::process::{Command, ExitCode};

use object_storage_tests::{ACCESS_KEY, SECRET_KEY, serve};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [folder, command, rest @ ..] = &arguments[..] else {
        eprintln!("usage: object-storage-tests FOLDER COMMAND [ARGUMENT]…");
        return ExitCode::from(2);
    };
    let run = serve(Path::new(folder)).and_then(|address| {
        Command::new(command)
            .args(rest)
            .env("AWS_ENDPOINT_URL", address)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1")
            .status()
    });
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(e) => {
            eprintln!("{}: {e}", command.display());
            ExitCode::FAILURE
        }
    }
}
