//! `pyrograph pack`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::data::pack::{Encoding, PackOptions, pack};
use pyrograph::data::printable;
use pyrograph::train::image_bar;

use super::data::{open, refuse_inside};
use super::on_disk::refuse_output_address;
use super::{Threads, complain, say};

const EXAMPLES: &str = "\
Examples:
  pyrograph pack photos/ shards/                               the files as they are
  pyrograph pack photos/ shards/ --short-side 256 --quality 90  smaller, as JPEG
  pyrograph pack photos/ shards/ --raw --short-side 256         as pixels: nothing left to decode, ten times the size
  pyrograph train shards/

The shards are tar files that WebDataset reads, with an index beside each. A call that was stopped goes on when it is repeated.";

/// Arguments of `pack`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PackArgs {
    /// Images to pack, as for `train`
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Folder to make; parts get folders of their own in it
    out: PathBuf,

    /// Make pictures smaller whose shorter side has more pixels
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=16384))]
    short_side: Option<u32>,

    /// Encode as JPEG of this quality, 1 to 100 [default with --short-side: 90]
    #[arg(long, value_name = "Q", conflicts_with_all = ["raw", "keep"], value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,

    /// Store pixels
    #[arg(long, conflicts_with = "keep")]
    raw: bool,

    /// With --raw: store squares with this side, the shorter side made so long and the middle cut out
    #[arg(long, value_name = "PIXELS", requires = "raw", conflicts_with_all = ["short_side", "keep"], value_parser = clap::value_parser!(u32).range(1..=4096))]
    square: Option<u32>,

    /// Keep every file as it is [default without --short-side]
    #[arg(long, conflicts_with = "short_side")]
    keep: bool,

    /// About how large a shard becomes, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=65536))]
    shard_mb: u64,

    /// Seed of the order that samples are packed in
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Leave out at most this many damaged pictures; they are listed
    #[arg(long, value_name = "N", default_value_t = 0)]
    leave_out: usize,

    #[command(flatten)]
    threads: Threads,
}

impl PackArgs {
    fn encoding(&self) -> Encoding {
        match (self.raw, self.quality, self.short_side) {
            (true, ..) => Encoding::Raw { square: self.square },
            (_, None, None) => Encoding::Keep,
            (_, quality, _) => Encoding::Jpeg { quality: quality.unwrap_or(90), restart: true },
        }
    }
}

pub(crate) fn run(args: &PackArgs) -> Result<ExitCode> {
    refuse_output_address(&args.out)?;
    let options = PackOptions {
        encoding: args.encoding(),
        short_side: args.short_side,
        shard_bytes: args.shard_mb << 20,
        shuffle: Some(args.seed),
        leave_out: args.leave_out,
        threads: args.threads.count()?,
        ..PackOptions::default()
    };
    let data = open(&args.data)?;
    refuse_inside(&args.out, &args.data)?;
    say(&data.description);
    let parts =
        [("train", Some(&data.train)), ("validation", data.valid.as_ref()), ("test", data.test.as_ref())];
    let alone = data.valid.is_none() && data.test.is_none();
    for (name, source) in parts.into_iter().filter_map(|(name, source)| Some((name, source?))) {
        let out = if alone { args.out.clone() } else { args.out.join(name) };
        let bar = image_bar(name.into(), source.len());
        let report = pack(source.as_ref(), &out, &options, &mut |progress| {
            bar.set_position(progress.samples_done as u64);
            bar.set_message(format!("shard {} of {}", progress.shards_done + 1, progress.shards));
        })?;
        bar.finish_and_clear();
        for left_out in &report.left_out {
            complain(&format!("left out: {}: {}", printable(&left_out.place), left_out.reason));
        }
        let before = match report.made_before {
            0 => String::new(),
            count => format!(", {count} of them made before"),
        };
        say(&format!(
            "{name}: {} images in {} shards{before}, {:.1} MB, {} files kept as they were, {} left out: {}",
            report.samples,
            report.shards,
            report.bytes as f64 / 1e6,
            report.kept,
            report.left_out.len(),
            out.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PackArgs,
    }

    fn parse(options: &str) -> Result<PackArgs, clap::Error> {
        let line = ["pack", "photos", "shards"].into_iter().chain(options.split_whitespace());
        let matches = Line::command().try_get_matches_from(line)?;
        Line::from_arg_matches(&matches).map(|line| line.args)
    }

    #[test]
    fn squares_are_pixels_and_at_most_4096_wide() {
        assert_eq!(parse("--raw --square 4096").unwrap().encoding(), Encoding::Raw { square: Some(4096) });
        for options in ["--square 64", "--square 64 --keep", "--raw --square 4097", "--raw --square 0"] {
            assert!(parse(options).is_err(), "{options}");
        }
    }
}
