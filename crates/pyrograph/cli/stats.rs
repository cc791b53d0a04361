//! `pyrograph stats`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::data::{Spread, Stats, dataset_stats, printable};
use pyrograph::train::image_bar;

use super::Threads;
use super::data::{Part, open_without_classes, part};

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Images to look at, as for `train`; a folder of images without classes will do, too
    #[arg(value_parser = super::on_disk::data_path())]
    data: String,

    /// Part of the data
    #[arg(long, default_value = "train")]
    part: Part,

    /// Look at this many images, evenly spaced [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    threads: Threads,
}

pub(crate) fn run(args: &StatsArgs) -> Result<ExitCode> {
    args.threads.count()?;
    let data = open_without_classes(&args.data)?;
    let (name, source) = part(&data, Some(args.part), [Part::Train; 3])?;
    let bar = image_bar("looking".into(), 0);
    let stats = dataset_stats(source.as_ref(), args.limit.unwrap_or(usize::MAX), &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&stats)?)?;
    } else {
        writeln!(out, "{}\n", data.description)?;
        write_text(&mut out, name, &stats)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_text(out: &mut impl Write, part: &str, stats: &Stats) -> std::io::Result<()> {
    writeln!(out, "part       {part}, {} images, {} looked at", stats.samples, stats.looked_at)?;
    if stats.failed > 0 {
        writeln!(out, "unreadable {} (`pyrograph check` names them)", stats.failed)?;
    }
    let formats: Vec<String> = stats.formats.iter().map(|(name, count)| format!("{count} {name}")).collect();
    writeln!(out, "formats    {}; {} gray", formats.join(", "), stats.gray)?;
    let spread = |s: &Spread| format!("{} to {}, median {}", s.min, s.max, s.median);
    writeln!(out, "width      {} pixels", spread(&stats.width))?;
    writeln!(out, "height     {} pixels", spread(&stats.height))?;
    writeln!(
        out,
        "stored     {} bytes; {:.1} MB in all",
        spread(&stats.bytes),
        stats.total_bytes as f64 / 1e6
    )?;
    let channels = |values: &[f32]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
    writeln!(out, "mean       {}", channels(&stats.pixels.mean))?;
    writeln!(out, "deviation  {}", channels(&stats.pixels.std))?;
    writeln!(out, "\nimages  class")?;
    for (class, count) in &stats.classes {
        writeln!(out, "{count:>6}  {}", printable(class))?;
    }
    Ok(())
}
