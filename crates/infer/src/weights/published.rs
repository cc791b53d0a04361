//! Weights that others published, by name: where they are, and how their networks were measured.

use std::path::{Path, PathBuf};

use pyrograph_data::Filter;

use crate::{Error, Result};

/// Weights that others published.
///
/// Files, sizes and accuracies of torchvision are those of `torchvision.models.get_model_weights`, version 0.29. Those of timm are the
/// releases and the results at 224 pixels that its model cards name; of ResNet-50, Wightman, Touvron, Jégou, "ResNet strikes back", 2021; of
/// DeiT, its authors' repository.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedWeights {
    /// Whose: `torchvision` or `timm`.
    pub source: &'static str,
    /// The network they belong to, a name of [`ModelConfig::names`](pyrograph_model::ModelConfig::names).
    pub network: &'static str,
    /// What tells them from other weights of the same network and source.
    pub tag: &'static str,
    /// The folder on the server, with `/` at its end.
    pub folder: &'static str,
    /// The file in it, with the first eight digits or more of its SHA-256 after its last hyphen.
    pub file: &'static str,
    /// Under which they may be used, as SPDX names it. The images they were trained on have terms of their own.
    pub licence: &'static str,
    /// Top-1 accuracy on ImageNet's validation images that the publisher measured, in percent.
    pub top1: f32,
    /// Size of the file, in millions of bytes.
    pub megabytes: u64,
    /// How images get to the network.
    pub view: View,
}

/// The middle of a photo, in which values are normalized by ImageNet's statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Length that the shorter side is brought to, in pixels.
    pub resize: u32,
    /// Side of the square in its middle, in pixels.
    pub crop: u32,
    /// How it is resized.
    pub filter: Filter,
}

impl View {
    /// The steps that lead to it, as a [`Pipeline`](pyrograph_data::Pipeline) is written.
    #[must_use]
    pub fn steps(&self) -> String {
        let filter = if self.filter == Filter::Bicubic { ", filter=bicubic" } else { "" };
        format!("resize({}{filter})|center_crop({})", self.resize, self.crop)
    }
}

const fn bilinear(resize: u32, crop: u32) -> View {
    View { resize, crop, filter: Filter::Bilinear }
}

const fn bicubic(resize: u32, crop: u32) -> View {
    View { resize, crop, filter: Filter::Bicubic }
}

const fn torchvision(
    network: &'static str,
    tag: &'static str,
    file: &'static str,
    top1: f32,
    megabytes: u64,
    view: View,
) -> PublishedWeights {
    let (source, folder) = ("torchvision", "https://download.pytorch.org/models/");
    PublishedWeights { source, network, tag, folder, file, licence: "BSD-3-Clause", top1, megabytes, view }
}

const fn timm(
    network: &'static str,
    tag: &'static str,
    folder: &'static str,
    file: &'static str,
    top1: f32,
    megabytes: u64,
    view: View,
) -> PublishedWeights {
    let source = "timm";
    PublishedWeights { source, network, tag, folder, file, licence: "Apache-2.0", top1, megabytes, view }
}

const RSB: &str = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-rsb-weights/";
const TIMM: &str = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/";
const DEIT: &str = "https://dl.fbaipublicfiles.com/deit/";

/// Of a network's weights from one source, those that its publisher advises come first.
const ALL: [PublishedWeights; 75] = [
    torchvision("resnet18", "v1", "resnet18-f37072fd.pth", 69.76, 47, bilinear(256, 224)),
    torchvision("resnet34", "v1", "resnet34-b627a593.pth", 73.31, 87, bilinear(256, 224)),
    torchvision("resnet50", "v2", "resnet50-11ad3fa6.pth", 80.86, 103, bilinear(232, 224)),
    torchvision("resnet50", "v1", "resnet50-0676ba61.pth", 76.13, 103, bilinear(256, 224)),
    torchvision("resnet101", "v2", "resnet101-cd907fc2.pth", 81.89, 179, bilinear(232, 224)),
    torchvision("resnet101", "v1", "resnet101-63fe2227.pth", 77.37, 179, bilinear(256, 224)),
    torchvision("resnet152", "v2", "resnet152-f82ba261.pth", 82.28, 242, bilinear(232, 224)),
    torchvision("resnet152", "v1", "resnet152-394f9c45.pth", 78.31, 242, bilinear(256, 224)),
    torchvision("resnext50_32x4d", "v2", "resnext50_32x4d-1a0047aa.pth", 81.20, 100, bilinear(232, 224)),
    torchvision("resnext50_32x4d", "v1", "resnext50_32x4d-7cdf4587.pth", 77.62, 100, bilinear(256, 224)),
    torchvision("resnext101_32x8d", "v2", "resnext101_32x8d-110c445d.pth", 82.83, 356, bilinear(232, 224)),
    torchvision("resnext101_32x8d", "v1", "resnext101_32x8d-8ba56ff5.pth", 79.31, 356, bilinear(256, 224)),
    torchvision("resnext101_64x4d", "v1", "resnext101_64x4d-173b62eb.pth", 83.25, 335, bilinear(232, 224)),
    torchvision("wide_resnet50_2", "v2", "wide_resnet50_2-9ba9bcbe.pth", 81.60, 276, bilinear(232, 224)),
    torchvision("wide_resnet50_2", "v1", "wide_resnet50_2-95faca4d.pth", 78.47, 138, bilinear(256, 224)),
    torchvision("wide_resnet101_2", "v2", "wide_resnet101_2-d733dc28.pth", 82.51, 508, bilinear(232, 224)),
    torchvision("wide_resnet101_2", "v1", "wide_resnet101_2-32ee1156.pth", 78.85, 255, bilinear(256, 224)),
    torchvision("convnext_tiny", "v1", "convnext_tiny-983f1562.pth", 82.52, 114, bilinear(236, 224)),
    torchvision("convnext_small", "v1", "convnext_small-0c510722.pth", 83.62, 201, bilinear(230, 224)),
    torchvision("convnext_base", "v1", "convnext_base-6075fbad.pth", 84.06, 354, bilinear(232, 224)),
    torchvision("convnext_large", "v1", "convnext_large-ea097f82.pth", 84.41, 791, bilinear(232, 224)),
    torchvision("vit_b_16", "v1", "vit_b_16-c867db91.pth", 81.07, 346, bilinear(256, 224)),
    torchvision("vit_b_32", "v1", "vit_b_32-d86f8d99.pth", 75.91, 353, bilinear(256, 224)),
    torchvision("vit_l_16", "v1", "vit_l_16-852ce7e3.pth", 79.66, 1217, bilinear(242, 224)),
    torchvision("swin_t", "v1", "swin_t-704ceda3.pth", 81.47, 113, bicubic(232, 224)),
    torchvision("swin_s", "v1", "swin_s-5e29d889.pth", 83.20, 199, bicubic(246, 224)),
    torchvision("swin_b", "v1", "swin_b-68c6b09e.pth", 83.58, 352, bicubic(238, 224)),
    torchvision("mobilenet_v2", "v2", "mobilenet_v2-7ebf99e0.pth", 72.15, 14, bilinear(232, 224)),
    torchvision("mobilenet_v2", "v1", "mobilenet_v2-b0353104.pth", 71.88, 14, bilinear(256, 224)),
    torchvision("mobilenet_v3_small", "v1", "mobilenet_v3_small-047dcff4.pth", 67.67, 10, bilinear(256, 224)),
    torchvision("mobilenet_v3_large", "v2", "mobilenet_v3_large-5c1a4163.pth", 75.27, 22, bilinear(232, 224)),
    torchvision("mobilenet_v3_large", "v1", "mobilenet_v3_large-8738ca79.pth", 74.04, 22, bilinear(256, 224)),
    torchvision(
        "efficientnet_b0",
        "v1",
        "efficientnet_b0_rwightman-7f5810bc.pth",
        77.69,
        21,
        bicubic(256, 224),
    ),
    torchvision("efficientnet_b1", "v2", "efficientnet_b1-c27df63c.pth", 79.84, 32, bilinear(255, 240)),
    torchvision(
        "efficientnet_b1",
        "v1",
        "efficientnet_b1_rwightman-bac287d4.pth",
        78.64,
        32,
        bicubic(256, 240),
    ),
    torchvision(
        "efficientnet_b2",
        "v1",
        "efficientnet_b2_rwightman-c35c1473.pth",
        80.61,
        37,
        bicubic(288, 288),
    ),
    torchvision(
        "efficientnet_b3",
        "v1",
        "efficientnet_b3_rwightman-b3899882.pth",
        82.01,
        49,
        bicubic(320, 300),
    ),
    torchvision(
        "efficientnet_b4",
        "v1",
        "efficientnet_b4_rwightman-23ab8bcd.pth",
        83.38,
        78,
        bicubic(384, 380),
    ),
    torchvision("squeezenet1_0", "v1", "squeezenet1_0-b66bff10.pth", 58.09, 5, bilinear(256, 224)),
    torchvision("squeezenet1_1", "v1", "squeezenet1_1-b8a52dc0.pth", 58.18, 5, bilinear(256, 224)),
    torchvision("vgg11_bn", "v1", "vgg11_bn-6002323d.pth", 70.37, 532, bilinear(256, 224)),
    torchvision("vgg13_bn", "v1", "vgg13_bn-abd245e5.pth", 71.59, 532, bilinear(256, 224)),
    torchvision("vgg16_bn", "v1", "vgg16_bn-6c64b313.pth", 73.36, 554, bilinear(256, 224)),
    torchvision("vgg19_bn", "v1", "vgg19_bn-c79401a0.pth", 74.22, 575, bilinear(256, 224)),
    torchvision("regnet_y_400mf", "v2", "regnet_y_400mf-e6988f5f.pth", 75.80, 18, bilinear(232, 224)),
    torchvision("regnet_y_400mf", "v1", "regnet_y_400mf-c65dace8.pth", 74.05, 18, bilinear(256, 224)),
    torchvision("regnet_y_800mf", "v2", "regnet_y_800mf-58fc7688.pth", 78.83, 26, bilinear(232, 224)),
    torchvision("regnet_y_800mf", "v1", "regnet_y_800mf-1b27b58c.pth", 76.42, 26, bilinear(256, 224)),
    torchvision("regnet_y_1_6gf", "v2", "regnet_y_1_6gf-0d7bc02a.pth", 80.88, 45, bilinear(232, 224)),
    torchvision("regnet_y_1_6gf", "v1", "regnet_y_1_6gf-b11a554e.pth", 77.95, 45, bilinear(256, 224)),
    torchvision("regnet_y_3_2gf", "v2", "regnet_y_3_2gf-9180c971.pth", 81.98, 78, bilinear(232, 224)),
    torchvision("regnet_y_3_2gf", "v1", "regnet_y_3_2gf-b5a9779c.pth", 78.95, 78, bilinear(256, 224)),
    torchvision("regnet_y_8gf", "v2", "regnet_y_8gf-dc2b1b54.pth", 82.83, 158, bilinear(232, 224)),
    torchvision("regnet_y_8gf", "v1", "regnet_y_8gf-d0d0e4a8.pth", 80.03, 158, bilinear(256, 224)),
    torchvision("regnet_y_16gf", "v2", "regnet_y_16gf-3e4a00f9.pth", 82.89, 335, bilinear(232, 224)),
    torchvision("regnet_y_16gf", "v1", "regnet_y_16gf-9e6ed7dd.pth", 80.42, 335, bilinear(256, 224)),
    torchvision("densenet121", "v1", "densenet121-a639ec97.pth", 74.43, 32, bilinear(256, 224)),
    torchvision("densenet169", "v1", "densenet169-b2777c0a.pth", 75.60, 57, bilinear(256, 224)),
    torchvision("densenet201", "v1", "densenet201-c1103571.pth", 76.90, 81, bilinear(256, 224)),
    torchvision("shufflenet_v2_x0_5", "v1", "shufflenetv2_x0.5-f707e7126e.pth", 60.55, 6, bilinear(256, 224)),
    torchvision("shufflenet_v2_x1_0", "v1", "shufflenetv2_x1-5666bf0f80.pth", 69.36, 9, bilinear(256, 224)),
    torchvision("shufflenet_v2_x1_5", "v1", "shufflenetv2_x1_5-3c479a10.pth", 73.00, 14, bilinear(232, 224)),
    torchvision("shufflenet_v2_x2_0", "v1", "shufflenetv2_x2_0-8be3c8ee.pth", 76.23, 30, bilinear(232, 224)),
    timm("resnet18", "a1_in1k", RSB, "resnet18_a1_0-d63eafa0.pth", 71.49, 47, bicubic(235, 224)),
    timm("resnet34", "a1_in1k", RSB, "resnet34_a1_0-46f8f793.pth", 76.42, 87, bicubic(235, 224)),
    timm("resnet50", "a1_in1k", RSB, "resnet50_a1_0-14fe96d1.pth", 80.40, 103, bicubic(235, 224)),
    timm("resnet18d", "ra2_in1k", TIMM, "resnet18d_ra2-48a79e06.pth", 72.26, 47, bicubic(256, 224)),
    timm("resnet34d", "ra2_in1k", TIMM, "resnet34d_ra2-f8dcfcaf.pth", 77.10, 88, bicubic(256, 224)),
    timm("convnext_atto", "d2_in1k", RSB, "convnext_atto_d2-01bb0f51.pth", 75.66, 15, bicubic(256, 224)),
    timm("convnext_femto", "d1_in1k", RSB, "convnext_femto_d1-d71d5b4c.pth", 77.45, 21, bicubic(256, 224)),
    timm("convnext_pico", "d1_in1k", RSB, "convnext_pico_d1-10ad7f0d.pth", 79.53, 37, bicubic(256, 224)),
    timm("convnext_nano", "d1h_in1k", RSB, "convnext_nano_d1h-7eb4bdea.pth", 80.77, 63, bicubic(235, 224)),
    timm(
        "deit_tiny_patch16_224",
        "fb_in1k",
        DEIT,
        "deit_tiny_patch16_224-a1311bcf.pth",
        72.2,
        23,
        bicubic(248, 224),
    ),
    timm(
        "deit_small_patch16_224",
        "fb_in1k",
        DEIT,
        "deit_small_patch16_224-cd65a155.pth",
        79.9,
        89,
        bicubic(248, 224),
    ),
    timm(
        "deit_base_patch16_224",
        "fb_in1k",
        DEIT,
        "deit_base_patch16_224-b5f2ef4d.pth",
        81.8,
        347,
        bicubic(248, 224),
    ),
];

impl PublishedWeights {
    /// All there are.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// Those called `name`, as `torchvision/resnet50.v1`; without a tag, as `torchvision/resnet50`, those that the publisher advises.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|weights| weights.name() == name || weights.short_name() == name)
    }

    /// As `torchvision/resnet50.v2`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.short_name(), self.tag)
    }

    fn short_name(&self) -> String {
        format!("{}/{}", self.source, self.network)
    }

    /// Where the file is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.folder, self.file)
    }

    /// Fetches the file into `folder`, where it is not fetched again, and returns its path. `progress` is told the file's name, the bytes of it
    /// that are here, and the bytes it will have.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or sends something else, or `folder` cannot be written.
    #[cfg(feature = "download")]
    pub fn fetch(&self, folder: &Path, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf> {
        use pyrograph_data::download::{Length, RemoteFile, transfer};

        std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
        let to = folder.join(self.file);
        // Published sizes are rounded.
        let length = Length::AtMost((self.megabytes + 2) * 1_000_000);
        let url = self.url();
        let sha256 = self.sha256();
        transfer(&RemoteFile { url: &url, sha256, length }, &to, progress)?;
        Ok(to)
    }

    /// The first digits of the file's SHA-256, in lower-case hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &'static str {
        let end = self.file.rsplit('-').next().unwrap_or_default();
        end.split('.').next().unwrap_or_default()
    }
}

/// Where the weights called `text` lie on this machine. A path is returned as it is. For published weights it is the file in the user's cache; in
/// builds with the feature `download` they are fetched into it where they are missing.
///
/// # Errors
///
/// When there are no published weights of that name (the message names the nearest), this build does not fetch, or fetching fails.
pub fn find_weights(text: &str, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    if path.exists() {
        return Ok(path);
    }
    let Some(weights) = PublishedWeights::from_name(text) else {
        // A network's own name, or one with another source, is meant to be one of these; all else is a path.
        let network = text.rsplit('/').next().unwrap_or(text).to_lowercase();
        let ours = ALL
            .iter()
            .any(|weights| text.starts_with(&format!("{}/", weights.source)) || network == weights.network);
        return if ours { Err(unknown(text)) } else { Ok(path) };
    };
    let cache = pyrograph_data::cache_folder().unwrap_or_else(|| PathBuf::from(".pyrograph-cache"));
    fetched(weights, &cache.join("weights"), progress)
}

fn unknown(name: &str) -> Error {
    let names = ALL.iter().flat_map(|weights| [weights.short_name(), weights.name()]);
    let written = name.to_lowercase();
    let distance = |known: &String| {
        // Who leaves out the source means any.
        let known = if written.contains('/') { known } else { known.rsplit('/').next().unwrap_or(known) };
        strsim::damerau_levenshtein(known, &written)
    };
    let nearest = names.min_by_key(distance).unwrap_or_default();
    Error::UnknownWeights { name: name.to_owned(), nearest }
}

#[cfg(feature = "download")]
fn fetched(
    weights: &PublishedWeights,
    folder: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<PathBuf> {
    weights.fetch(folder, progress)
}

#[cfg(not(feature = "download"))]
fn fetched(weights: &PublishedWeights, _: &Path, _: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf> {
    Err(Error::NotFetched { name: weights.name(), url: weights.url() })
}

#[cfg(test)]
mod tests {
    use pyrograph_data::Pipeline;
    use pyrograph_model::{InputShape, ModelConfig};

    use super::*;

    #[test]
    fn every_row_names_a_network_of_ours_and_is_found() {
        let mut names = std::collections::BTreeSet::new();
        for weights in PublishedWeights::all() {
            let name = weights.name();
            let View { crop, .. } = weights.view;
            let side = crop as usize;
            let input = InputShape { channels: 3, height: side, width: side };
            let config = ModelConfig::from_name(weights.network, input, 1000).unwrap();
            assert_eq!(PublishedWeights::from_name(&name), Some(weights));
            weights.view.steps().parse::<Pipeline>().unwrap();
            // Weights are f32, and little else is in the files.
            let bytes = 4.0 * config.parameters() as f64;
            let claimed = weights.megabytes as f64 * 1e6;
            let half = weights.file.starts_with("wide_resnet") && weights.tag == "v1";
            let share = claimed / if half { bytes / 2.0 } else { bytes };
            assert!((0.95..1.1).contains(&share), "{name}: {claimed} bytes for {bytes}");
            assert!(weights.sha256().len() >= 8, "{name}");
            assert!(weights.sha256().bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
            assert!(names.insert(name));
        }
    }

    #[test]
    fn names_without_a_tag_are_those_that_the_publisher_advises() {
        let tag = |name| PublishedWeights::from_name(name).unwrap().tag;
        assert_eq!(tag("torchvision/resnet50"), "v2");
        assert_eq!(tag("torchvision/resnet50.v1"), "v1");
        assert_eq!(tag("timm/convnext_atto"), "d2_in1k");
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_and_paths_are_left_alone() {
        let find = |text| find_weights(text, &mut |_, _, _| ());
        let error = find("torchvision/resnet5O").unwrap_err().to_string();
        assert!(error.contains("did you mean `torchvision/resnet50`"), "{error}");
        let error = find("Torchvision/ResNet50").unwrap_err().to_string();
        assert!(error.contains("did you mean `torchvision/resnet50`"), "{error}");
        assert!(find("resnet18").is_err());
        assert_eq!(find("some/file.pth").unwrap(), Path::new("some/file.pth"));
    }

    #[cfg(not(feature = "download"))]
    #[test]
    fn a_build_that_does_not_fetch_says_where_the_file_is() {
        let error = find_weights("timm/resnet18d", &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(
            error.contains("resnet18d_ra2-48a79e06.pth") && error.contains("--features download"),
            "{error}"
        );
    }

    #[cfg(feature = "download")]
    #[test]
    fn a_file_is_fetched_once_and_only_with_its_hash() {
        use std::io::{BufRead, BufReader, Write};

        let content = include_bytes!("fixtures/zip.pt");
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = format!("http://{}/", server.local_addr().unwrap()).leak();
        let answers = std::thread::spawn(move || {
            for damage in [1, 0] {
                let (mut stream, _) = server.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                assert!(lines.map(Result::unwrap).take_while(|line| !line.is_empty()).count() > 1);
                let mut body = content.to_vec();
                body[100] ^= damage;
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            }
        });
        let digits = "2d604a5c";
        let file = format!("zip-{digits}.pt").leak();
        let weights = PublishedWeights { folder, file, ..ALL[0] };
        let cache = tempfile::tempdir().unwrap();
        let error = weights.fetch(cache.path(), &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(error.contains("SHA-256") && error.contains(digits), "{error}");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
        for _ in 0..2 {
            let path = weights.fetch(cache.path(), &mut |_, _, _| ()).unwrap();
            assert_eq!(crate::read_weights(path).unwrap().len(), 2);
        }
        answers.join().unwrap();
    }
}
