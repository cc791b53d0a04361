//! `pyrograph convert`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use pyrograph::data::{Pipeline, Preprocess};
use pyrograph::infer::{ModelFile, PublishedWeights, check_keras, keras_statistics, read_weights};
use pyrograph::model::{
    InputShape, ModelConfig, classes_of, default_device, fit_image_size, load_backbone, load_tensors,
};

use super::named::weights_path;
use super::on_disk::{refuse_existing, refuse_input_address, refuse_output_address};
use super::{program, say};

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pyrograph convert resnet50-11ad3fa6.pth --model resnet50 -o resnet50.safetensors --classes imagenet_classes.txt
  pyrograph convert torchvision/resnet50 -o resnet50.safetensors --classes imagenet_classes.txt
  pyrograph convert mobilenet_1_0_224_tf.h5 --model mobilenet_keras -o mobilenet.safetensors
  pyrograph convert resnet20.th --model resnet20 -o resnet20.safetensors --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

Nothing in a PyTorch file is ever executed. Tensors must be those of the network, by name and by shape.")]
pub(crate) struct ConvertArgs {
    /// Weights: safetensors, what torch.save wrote (.pth, .pt, .th, …), Keras's (.h5) for networks called …_keras, or published ones,
    /// as torchvision/resnet50
    weights: String,

    /// The network they belong to, a name from `pyrograph models`; for published weights it is known
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// The model file to write; one that is there is not written over
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,

    /// Names of the classes, one a line, in the order of the network's outputs [default: their numbers]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,

    /// Height and width of the images in pixels [default: the network's own, or the published]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    size: Option<u16>,

    /// How images get to that size [default for photos of 224: resize(256)|center_crop(224), or the published]
    #[arg(long, value_name = "STEPS")]
    steps: Option<String>,

    /// Mean of each channel, for values 0 to 1 [default: ImageNet's, or Keras's for its networks]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    mean: Option<Vec<f32>>,

    /// Deviation of each channel, for values 0 to 1 [default: ImageNet's, or Keras's for its networks]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    std: Option<Vec<f32>>,

    /// What the weights may lack; it starts as in a new network
    #[arg(long, value_name = "PART")]
    allow_missing: Option<Missing>,
}

/// More than the names of a hundred thousand classes take.
const NAMES_BYTES: u64 = 64 << 20;

/// What weights may lack.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Missing {
    /// The last layers, or they may be for other classes
    Head,
}

pub(crate) fn run(args: &ConvertArgs) -> Result<ExitCode> {
    refuse_output_address(&args.out)?;
    refuse_existing(&args.out)?;
    for path in args.classes.iter().chain([&PathBuf::from(&args.weights)]) {
        refuse_input_address(path)?;
    }
    let path = weights_path(&args.weights)?;
    let mut tensors = read_weights(&path)?;
    let published = PublishedWeights::from_name(&args.weights).filter(|_| path != Path::new(&args.weights));
    let Some(name) = args.model.as_deref().or(published.map(|weights| weights.network)) else {
        bail!("say with --model which network the weights are for; `pyrograph models` lists all");
    };
    let (device, _) = default_device()?;
    let published_size = published.map(|weights| weights.view.crop as usize);
    let mut config = own(name, args.size.map(usize::from).or(published_size))?;
    check_keras(&path, &config)?;
    let class_names = match &args.classes {
        Some(path) => Some(read_names(path)?),
        None => None,
    };
    let trained_for = classes_of(&config, &tensors);
    let classes = match (&class_names, args.allow_missing) {
        // The names decide what a new head is for.
        (Some(names), Some(Missing::Head)) => names.len(),
        (Some(names), None) => {
            let found = trained_for.unwrap_or(names.len());
            if found != names.len() {
                bail!(
                    "{}: the weights are for {found} classes; {} names were given",
                    args.weights,
                    names.len()
                );
            }
            found
        }
        (None, _) => trained_for.unwrap_or_else(|| config.classes()),
    };
    config.common_mut().classes = classes;
    config.check()?;
    let model = config.init(0, &device);
    let weights = || path.display().to_string();
    fit_image_size(&config, &mut tensors).with_context(weights)?;
    let (model, kept) = match args.allow_missing {
        Some(Missing::Head) => load_backbone(model, tensors).with_context(weights)?,
        None => (load_tensors(model, tensors).with_context(weights)?, Vec::new()),
    };
    let file = ModelFile {
        preprocess: preprocess(args, published, &config)?,
        class_names: class_names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect()),
        recipe: String::new(),
        config,
        model,
    };
    file.save(&args.out)?;
    let parameters = file.config.parameters();
    say(&format!("{name} with {parameters} parameters and {classes} classes"));
    if let Some(PublishedWeights { licence, top1, .. }) = published {
        say(&format!("Weights {}: {top1} % top-1 on ImageNet by its publisher, {licence}", args.weights));
    }
    if !kept.is_empty() {
        say(&format!("New, to be trained: {}", kept.join(", ")));
    }
    say(&format!("Model   {}", args.out.display()));
    let (program, out) = (program(), args.out.display());
    say(&match kept.is_empty() {
        true => format!("\nNext:\n  {program} predict {out} IMAGE"),
        false => format!("\nNext:\n  {program} train PHOTOS --weights {out}"),
    });
    Ok(ExitCode::SUCCESS)
}

/// The network for the images and classes that it was made for.
fn own(name: &str, size: Option<usize>) -> Result<ModelConfig> {
    let info = ModelConfig::names().iter().find(|info| info.name == name);
    let (channels, own_size, classes) =
        info.map_or((3, 224, 1000), |i| (i.channels, i.default_size, i.classes));
    let size = size.unwrap_or(own_size);
    Ok(ModelConfig::from_name(name, InputShape { channels, height: size, width: size }, classes)?)
}

fn read_names(path: &PathBuf) -> Result<Vec<String>> {
    let of_path = || path.display().to_string();
    if !path.metadata().with_context(of_path)?.is_file() {
        bail!("{}: this is not a file", path.display());
    }
    let mut text = String::new();
    let file = File::open(path).with_context(of_path)?;
    file.take(NAMES_BYTES).read_to_string(&mut text).with_context(of_path)?;
    let names: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.len() < 2 {
        bail!("{}: there are fewer than two names in it", path.display());
    }
    Ok(names)
}

fn preprocess(
    args: &ConvertArgs,
    published: Option<&PublishedWeights>,
    config: &ModelConfig,
) -> Result<Preprocess> {
    let input = config.input();
    let (channels, size) = (input.channels, input.height);
    let view = published.map(|weights| weights.view).filter(|view| view.crop as usize == size);
    let steps = match (&args.steps, view) {
        (Some(steps), _) => steps.clone(),
        (None, Some(view)) => view.steps(),
        // The share of the picture that most published numbers were measured on.
        (None, None) if size >= 64 => format!("resize({})|center_crop({size})", (size * 256).div_ceil(224)),
        (None, None) => String::new(),
    };
    let usual = Preprocess::new(channels as u8, size as u32, size as u32).with_imagenet_statistics();
    let usual = match keras_statistics(config) {
        Some((mean, std)) => Preprocess { mean: mean.into(), std: std.into(), ..usual },
        None => usual,
    };
    let preprocess = Preprocess {
        steps: steps.parse::<Pipeline>()?,
        mean: args.mean.clone().unwrap_or_else(|| usual.mean.clone()),
        std: args.std.clone().unwrap_or_else(|| usual.std.clone()),
        ..usual
    };
    if let Some(mean) = preprocess.mean.iter().find(|mean| mean.abs() > 1.0) {
        bail!("--mean: {mean} is not of values from 0 to 1; divide means and deviations of bytes by 255");
    }
    preprocess.check()?;
    Ok(preprocess)
}
