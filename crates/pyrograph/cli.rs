//! The command line.

mod completions;
mod devices;
mod eval;
mod models;
mod named;
mod predict;
mod summary;
mod train;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use pyrograph::burn::tensor::Device;
use pyrograph::model::{default_device, parse_device};

/// Deep learning on large image sets: from a folder of images to a trained, measured model.
#[derive(Debug, Parser)]
#[command(name = "pyrograph", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 it failed (the last line says why), 2 the command line is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network on images
    Train(train::TrainArgs),
    /// Measure a model on images whose classes are known
    Eval(eval::EvalArgs),
    /// Say what is on images
    Predict(predict::PredictArgs),
    /// List the networks that `train --model` knows
    Models(models::ModelsArgs),
    /// Show a network layer by layer
    Summary(summary::SummaryArgs),
    /// List the devices that `--device` knows on this machine
    Devices,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Summary(args) => summary::run(&args),
        Command::Devices => devices::run(),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Where and how fast to compute; the same for every command that runs a network.
#[derive(Debug, Args)]
struct Compute {
    /// Device: flex, ndarray, wgpu, vulkan, metal, webgpu, cuda:0, rocm:0 (see `pyrograph devices`)
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// Threads for decoding and for CPU tensors [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Compute {
    /// The number of threads, also set for the CPU backends.
    fn threads(&self) -> Result<usize> {
        let threads = match self.threads {
            Some(threads) => usize::from(threads),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("the threads cannot be started")?;
        Ok(threads)
    }

    /// The device and its name.
    fn device(&self) -> Result<(Device, String)> {
        match &self.device {
            Some(name) => Ok((parse_device(name)?, name.clone())),
            None => Ok(default_device()?),
        }
    }
}

/// Whether the reader of our output has gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// How the user called this program, for commands to copy.
fn program() -> String {
    // Cargo sets this for what it runs.
    if std::env::var_os("CARGO").is_some() {
        return "cargo run --release --".into();
    }
    std::env::args().next().unwrap_or_else(|| "pyrograph".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
