//! The layer table of a network.

use std::fmt;

use burn::tensor::{Device, Tensor};

use crate::params::param_infos;
use crate::{ConfigError, InputShape, ModelConfig, trace};

/// A network layer by layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The images.
    pub input: InputShape,
    /// Leaf layers in the order they run.
    pub layers: Vec<LayerRow>,
}

/// One leaf layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRow {
    /// The name its parameters begin with; empty for layers without parameters.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// The shape of its output for one image, without the batch.
    pub output: Vec<usize>,
    /// Learned values.
    pub parameters: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
}

impl Summary {
    /// Learned values of the whole network.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }

    /// Multiply-accumulate operations of the whole network for one image.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| layer.macs).sum()
    }
}

/// Runs the network once on an empty image and writes down its layers.
///
/// # Errors
///
/// When the configuration is out of range.
pub fn summarize(config: &ModelConfig) -> Result<Summary, ConfigError> {
    config.check()?;
    let device = Device::default();
    let model = config.init(0, &device);
    let input = config.input();
    let image = Tensor::zeros([1, input.channels, input.height, input.width], &device);
    let events = trace::listen(|| {
        let _ = model.forward(image);
    });
    let params = param_infos(&model);
    let layers = events.into_iter().map(|event| {
        let name = event
            .param
            .and_then(|id| params.iter().find(|param| param.id == id))
            .and_then(|param| param.name.rsplit_once('.'))
            .map_or("", |(layer, _)| layer);
        let belongs =
            |param: &str| !name.is_empty() && param.rsplit_once('.').is_some_and(|(layer, _)| layer == name);
        let learned = params.iter().filter(|param| param.learned && belongs(&param.name));
        LayerRow {
            name: name.to_owned(),
            kind: event.kind,
            output: event.output[1..].to_vec(),
            parameters: learned.map(|param| param.shape.iter().product::<usize>()).sum(),
            macs: event.macs,
        }
    });
    Ok(Summary { input, layers: layers.collect() })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |dims: &[usize]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let rows: Vec<[String; 4]> = self
            .layers
            .iter()
            .map(|layer| {
                let label = if layer.name.is_empty() {
                    layer.kind.to_owned()
                } else {
                    format!("{} ({})", layer.name, layer.kind)
                };
                [label, shape(&layer.output), thousands(layer.parameters as u64), thousands(layer.macs)]
            })
            .collect();
        let head = ["layer", "output", "parameters", "MACs"];
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].len());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2).max(10), width(3).max(10)];
        let line = "─".repeat(widths.iter().sum::<usize>() + 6);
        let write = |f: &mut fmt::Formatter<'_>, cells: [&str; 4]| {
            let [a, b, c, d] = widths;
            writeln!(f, "{:<a$}  {:<b$}  {:>c$}  {:>d$}", cells[0], cells[1], cells[2], cells[3])
        };
        write(f, head)?;
        writeln!(f, "{line}")?;
        write(f, ["input", &self.input.to_string(), "", ""])?;
        for [label, output, parameters, macs] in &rows {
            write(f, [label, output, parameters, macs])?;
        }
        writeln!(f, "{line}")?;
        writeln!(
            f,
            "{} parameters ({:.1} MB in f32), {} MACs an image",
            thousands(self.parameters() as u64),
            self.parameters() as f64 * 4.0 / 1e6,
            thousands(self.macs())
        )
    }
}

/// 1234567 as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, size: usize) -> Summary {
        let input = InputShape { channels: 3, height: size, width: size };
        summarize(&ModelConfig::from_name(name, input, 1000).unwrap()).unwrap()
    }

    #[test]
    fn multiply_accumulates_are_those_torchvision_publishes() {
        let resnet18 = summary("resnet18", 224);
        assert_eq!(resnet18.parameters(), 11_689_512);
        assert_eq!((resnet18.macs() as f64 / 1e7).round(), 181.0);
        for (name, published) in
            [("resnet50", 409.0), ("convnext_tiny", 446.0), ("vit_b_16", 1756.0), ("swin_t", 449.0)]
        {
            assert_eq!((summary(name, 224).macs() as f64 / 1e7).round(), published, "{name}");
        }
    }

    #[test]
    fn layers_have_names_and_shapes() {
        let summary = summary("resnet18", 64);
        assert_eq!(summary.layers[0].name, "conv1");
        assert_eq!(summary.layers[0].output, [64, 32, 32]);
        let last = summary.layers.last().unwrap();
        assert_eq!((last.name.as_str(), last.parameters), ("fc", 513_000));
        assert!(summary.layers.iter().any(|layer| layer.name == "layer2.0.downsample.0"));
        assert!(summary.to_string().contains("layer4.1.bn2 (BatchNorm2d)"));
    }
}
