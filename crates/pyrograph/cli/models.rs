//! `pyrograph models`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pyrograph::burn::tensor::Device;
use pyrograph::infer::PublishedWeights;
use pyrograph::model::{
    FcosConfig, InputShape, ModelConfig, NameInfo, ParamInfo, SegmentationConfig, macs, param_infos,
};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// Show only names that contain this
    filter: Option<String>,
}

pub(crate) fn run(args: &ModelsArgs) -> Result<ExitCode> {
    let filter = args.filter.as_ref().map(|filter| filter.to_lowercase());
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let mut rows = Vec::new();
    for info in ModelConfig::names().iter().filter(|info| wanted(info.name)) {
        let config = ModelConfig::from_name(info.name, own(info), info.classes)?;
        rows.push((*info, config.parameters(), macs(info.name), info.compared_with()));
    }
    // Logits alone are compared: training them is still to come.
    for info in SegmentationConfig::names().filter(|info| wanted(info.name)) {
        let network = SegmentationConfig::from_name(info.name, own(&info), info.classes)?;
        let parameters = count(&param_infos(&network.init(0, &Device::default())));
        rows.push((info, parameters, None, Some("torchvision")));
    }
    for info in FcosConfig::names().filter(|info| wanted(info.name)) {
        let network = FcosConfig::from_name(info.name, own(&info), info.classes)?;
        let parameters = count(&param_infos(&network.init(0, &Device::default())));
        rows.push((info, parameters, None, Some("torchvision")));
    }
    if let (Some(filter), true) = (&args.filter, rows.is_empty()) {
        bail!("no network has `{filter}` in its name; `pyrograph models` lists all");
    }
    let mut out = std::io::stdout().lock();
    let head = ["name", "parameters", "MACs", "input", "equals", "weights"];
    writeln!(
        out,
        "{:<28} {:>11} {:>9}  {:<9} {:<11} {:<17} description",
        head[0], head[1], head[2], head[3], head[4], head[5]
    )?;
    let mut published: Vec<&PublishedWeights> = Vec::new();
    for (info, parameters, macs, compared_with) in rows {
        let macs = macs.map_or_else(|| "-".into(), |macs| format!("{:.2} G", macs as f64 / 1e9));
        let weights = PublishedWeights::all().iter().filter(|weights| weights.network == info.name);
        let mut sources: Vec<&str> = weights.clone().map(|weights| weights.source).collect();
        sources.dedup();
        let sources = if sources.is_empty() { "-".into() } else { sources.join(", ") };
        published.extend(weights);
        writeln!(
            out,
            "{:<28} {parameters:>11} {macs:>9}  {:<9} {:<11} {sources:<17} {}",
            info.name,
            own(&info).to_string(),
            compared_with.unwrap_or("-"),
            info.description
        )?;
    }
    if args.filter.is_some() && !published.is_empty() {
        let head = ["--weights", "top-1", "size", "images"];
        writeln!(out, "\n{:<36} {:>7} {:>7}  {:<52} licence", head[0], head[1], head[2], head[3])?;
        for weights in published {
            writeln!(
                out,
                "{:<36} {:>5.2} % {:>4} MB  {:<52} {}",
                weights.name(),
                weights.top1,
                weights.megabytes,
                weights.view.steps(),
                weights.licence
            )?;
        }
        writeln!(
            out,
            "\ntop-1: on ImageNet's validation images, as the publisher measured it. Without what follows the dot, a name is the first in this list."
        )?;
    }
    if args.filter.is_none() {
        writeln!(
            out,
            "\nMACs: multiply-accumulate operations for one image. equals: the library whose logits the network gives, and of those that classify\n\
             loss and gradients, too; with a dash, only the number of its parameters was compared. weights: who published some; `models NAME` lists\n\
             them, and `train --weights torchvision/resnet50` starts from them. Networks that segment and detect are for the library; the program\n\
             trains those that classify."
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The images that a network was made for.
fn own(info: &NameInfo) -> InputShape {
    InputShape { channels: info.channels, height: info.default_size, width: info.default_size }
}

/// Learned values.
fn count(params: &[ParamInfo]) -> usize {
    let learned = params.iter().filter(|param| param.learned);
    learned.map(|param| param.shape.iter().product::<usize>()).sum()
}
