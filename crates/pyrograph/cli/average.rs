//! `pyrograph average`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pyrograph::infer::average;
use pyrograph::model::default_device;

use super::on_disk::{refuse_existing, refuse_input_address, refuse_output_address};
use super::{program, say};

/// Arguments of `average`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph average runs/resnet50-1 runs/resnet50-2 runs/resnet50-3 -o soup.safetensors
  pyrograph average runs/resnet50-1/best.safetensors runs/resnet50-1/last.safetensors -o mean.safetensors

The mean of models of one training (https://arxiv.org/abs/1803.05407), or of several that began with the same weights and learned with \
different settings (https://arxiv.org/abs/2203.05482), is often better than each of them; `pyrograph eval` tells. Of models that began with \
different weights it is of no use. Networks, class names and preprocessing must be the same; mean and deviation are those of the weights \
with `train --weights`, and otherwise of the training images, which another seed chooses differently where the data has no validation part.")]
pub(crate) struct AverageArgs {
    /// Model files, or run folders, for the best model in each
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,

    /// The model file to write; one that is there is not written over
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &AverageArgs) -> Result<ExitCode> {
    refuse_output_address(&args.out)?;
    refuse_existing(&args.out)?;
    for model in &args.models {
        refuse_input_address(model)?;
    }
    let file = average(&args.models, &default_device()?.0)?;
    file.save(&args.out)?;
    let (models, parameters, classes) = (args.models.len(), file.config.parameters(), file.class_names.len());
    let name = file.config.name().unwrap_or("network");
    say(&format!("Average of {models} models: {name} with {parameters} parameters and {classes} classes"));
    let out = args.out.display();
    say(&format!("Model   {out}\n\nNext:\n  {} eval {out} PHOTOS", program()));
    Ok(ExitCode::SUCCESS)
}
