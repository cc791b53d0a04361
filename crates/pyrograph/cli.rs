//! The command line.

mod average;
mod bench;
mod bench_data;
mod bench_model;
mod check;
mod completions;
mod convert;
mod data;
mod devices;
mod eval;
mod index;
mod meant;
mod models;
mod named;
mod on_disk;
mod pack;
mod predict;
mod recipes;
mod runs;
mod show;
mod signals;
mod stats;
mod summary;
mod sweep;
mod train;
mod transforms;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use pyrograph::burn::tensor::Device;
use pyrograph::data::printable;
use pyrograph::infer::TestTime;
use pyrograph::model::{default_device, parse_device};

/// Deep learning on large image sets: from a folder of images to a trained, measured model.
#[derive(Debug, Parser)]
#[command(name = "pyrograph", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 it failed (the last line says why), 2 the command line is wrong, 75 stopped by a signal and can go on.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network on images
    Train(train::TrainArgs),
    /// List the runs in a folder side by side
    Runs(runs::RunsArgs),
    /// Measure a model on images whose classes are known
    Eval(eval::EvalArgs),
    /// Say what is on images
    Predict(predict::PredictArgs),
    /// Look for what is wrong with an image set
    Check(check::CheckArgs),
    /// Tell sizes, formats, classes, mean and deviation of images
    Stats(stats::StatsArgs),
    /// Write a contact sheet of what a network will see
    Show(show::ShowArgs),
    /// Pack images into tar shards that are read fast in any order
    Pack(pack::PackArgs),
    /// Make tar shards of any origin readable in any order
    Index(index::IndexArgs),
    /// Measure how fast images are loaded
    BenchData(bench_data::BenchDataArgs),
    /// Measure how fast a network learns and answers
    BenchModel(bench_model::BenchModelArgs),
    /// Make one model of several: the mean of their weights
    Average(average::AverageArgs),
    /// Make a model file of weights that others trained
    Convert(convert::ConvertArgs),
    /// List the networks that `train --model` knows
    Models(models::ModelsArgs),
    /// List the recipes that `train --recipe` knows, or print one
    Recipes(recipes::RecipesArgs),
    /// List the steps that `--augment` knows, with their arguments
    Transforms(transforms::TransformsArgs),
    /// Show a network layer by layer
    Summary(summary::SummaryArgs),
    /// List the devices that `--device` knows on this machine
    Devices,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> Result<ExitCode> {
    let line = match Cli::try_parse() {
        Ok(line) => line,
        // Help and version are printed here, so that it is noticed if they cannot be.
        Err(told) if !told.use_stderr() => {
            told.print()?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(wrong) => meant::with_meant_option(wrong).exit(),
    };
    match line.command {
        Command::Train(args) => train::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Index(args) => index::run(&args),
        Command::BenchData(args) => bench_data::run(&args),
        Command::BenchModel(args) => bench_model::run(&args),
        Command::Average(args) => average::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Recipes(args) => recipes::run(&args),
        Command::Transforms(args) => transforms::run(&args),
        Command::Summary(args) => summary::run(&args),
        Command::Devices => devices::run(),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Where and how fast to compute; the same for every command that runs a network.
#[derive(Debug, Args)]
struct Compute {
    /// Device: flex, ndarray, wgpu, vulkan, metal, webgpu, cuda:0, rocm:0 (see `pyrograph devices`); to train on several, cuda:0,cuda:1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    #[command(flatten)]
    threads: Threads,
}

/// How many threads work; the same for every command.
#[derive(Debug, Args)]
struct Threads {
    /// Threads for decoding and for CPU tensors [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Threads {
    /// Their number, also set for scans and for the CPU backends.
    fn count(&self) -> Result<usize> {
        let threads = match self.threads {
            Some(threads) => usize::from(threads),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context(NO_THREADS)?;
        Ok(threads)
    }
}

/// What is said where the system starts no more threads.
const NO_THREADS: &str = "the threads cannot be started; use fewer with --threads, or raise the limits on processes and memory (ulimit -u, -v)";

/// Whether the system starts so many more threads.
fn check_more_threads(count: usize) -> Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // All are there at the same time: none ends before this is dropped.
        let _closed = gate.lock();
        (0..count)
            .try_for_each(|_| thread::Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop))
    })
    .map_err(|e| anyhow!("{NO_THREADS}: {e}"))
}

impl Compute {
    fn threads(&self) -> Result<usize> {
        self.threads.count()
    }

    /// The device and its name.
    fn device(&self) -> Result<(Device, String)> {
        match &self.device {
            Some(name) => Ok((parse_device(name)?, name.clone())),
            None => Ok(default_device()?),
        }
    }

    /// Several devices, as `cuda:0,cuda:1`, and their names.
    fn devices(&self) -> Result<(Vec<Device>, String)> {
        let Some(names) = &self.device else {
            let (device, name) = default_device()?;
            return Ok((vec![device], name));
        };
        let devices = names.split(',').map(|name| Ok(parse_device(name.trim())?));
        Ok((devices.collect::<Result<_>>()?, names.clone()))
    }
}

/// Characters of a message; more help nobody.
const LONGEST_MESSAGE: usize = 2000;

/// An error and its causes in one line, nothing said twice, and no control character of a file name let through to the terminal.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    // Some causes have several lines; each is made printable by itself.
    let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// Whether a run was asked to stop, which is no failure: it can go on.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(pyrograph::train::Error::Interrupted { .. }))
}

/// Whether the reader of our output has gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints an error. Nobody may be there to read it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line. A reader that has gone, as `head`, must not end the work.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What `--flip` asks for.
fn test_time(flip: bool) -> TestTime {
    if flip { TestTime::Flip } else { TestTime::AsIs }
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
    fn threads_that_are_tried_are_all_there_at_once_and_gone_after() {
        super::check_more_threads(8).unwrap();
        super::check_more_threads(0).unwrap();
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
