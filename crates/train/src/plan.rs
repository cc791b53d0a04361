//! A recipe and a data set, decided down to the last shape.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{Device, TensorData};
use pyrograph_data::source::{Scan, Source, Subset, split};
use pyrograph_data::transform::{Draws, Scene};
use pyrograph_data::{DataSet, Image, OnError, Pipeline, PixelStats, Preprocess, cache_folder, pixel_stats};
use pyrograph_infer::{
    ModelFile, PublishedWeights, check_keras, find_weights, keras_statistics, read_weights,
};
use pyrograph_model::{
    InputShape, Model, ModelConfig, ParamInfo, fit_image_size, freeze, load_backbone, named_tensors,
    param_infos,
};

use crate::recipe::augment_pipeline;
use crate::{DataRecipe, Error, Recipe, Result, growth};

/// Images above this side are photos: they are brought to one size.
const LARGEST_NATIVE: u32 = 64;
/// The side of photos where the recipe names none.
const PHOTO_SIDE: u32 = 128;
/// The least share of a photo that a training image shows. torchvision's 0.08 suits a million images; small sets learn slowly from it.
const PHOTO_WINDOW: f64 = 0.35;
/// Images a step of sets that are large enough.
const USUAL_BATCH: usize = 64;
/// Images that mean and deviation are measured on.
const STATS_SAMPLES: usize = 2000;
/// Images that are looked at to learn size and colour.
const LOOKED_AT: usize = 32;

/// Everything a run needs, with nothing left open.
pub struct Plan {
    /// The recipe with its open choices filled in.
    pub recipe: Recipe,
    /// The network.
    pub model: ModelConfig,
    /// Images a step.
    pub batch: usize,
    /// What becomes of an image before the network sees it.
    pub preprocess: Preprocess,
    /// What is done to training images in place of the steps of `preprocess`.
    pub augment: Option<Pipeline>,
    /// The images that are learned from.
    pub train: Arc<dyn Source>,
    /// The images that are watched after each epoch.
    pub valid: Arc<dyn Source>,
    /// Whether they were set apart from the training part by chance.
    pub set_apart: bool,
    /// What those images are: `validation`, or `test` where a recipe sets none apart.
    pub watched: &'static str,
    /// The images of the final answer, where they are not the watched ones.
    pub test: Option<Arc<dyn Source>>,
    /// Weights to start from, by name.
    pub weights: Option<BTreeMap<String, TensorData>>,
    /// What the network learns from, besides the labels.
    pub teacher: Option<ModelFile>,
    /// What was found and decided, a sentence each.
    pub said: Vec<String>,
}

impl Plan {
    /// Opens the recipe's data and decides what the recipe leaves open.
    ///
    /// # Errors
    ///
    /// When the data cannot be read, or the network cannot take it.
    pub fn new(recipe: &Recipe) -> Result<Self> {
        recipe.check()?;
        let data = if recipe.data.path == DataRecipe::DIGITS {
            DataSet::digits(recipe.seed)
        } else {
            let mut scan = Scan::new().with_cache(cache_folder());
            DataSet::open_with(&recipe.data.path, &mut scan)?
        };
        Self::for_data(recipe, data)
    }

    /// The plan of a recipe for a data set that is already open.
    ///
    /// # Errors
    ///
    /// As [`Plan::new`].
    pub fn for_data(recipe: &Recipe, data: DataSet) -> Result<Self> {
        let mut recipe = recipe.clone();
        let mut said = vec![data.description.clone()];
        said.extend(data.left_out.iter().map(|what| format!("Left out: {what}")));
        let Parts { train, valid, set_apart, watched, test } = parts(&recipe, data, &mut said)?;
        // A few steps an epoch, for small sets too.
        let batch = *recipe.batch.get_or_insert(USUAL_BATCH.min(train.len().div_ceil(8)));
        check_batch(batch, &recipe, train.len())?;
        let repeats = recipe.data.repeats as usize;
        if repeats > 1 {
            said.push(format!(
                "Each image stands {repeats} times in its batch: an epoch shows {} of the {} training images",
                thousands(train.len().div_ceil(repeats)),
                thousands(train.len())
            ));
        }

        let start = match recipe.start.weights.as_str() {
            "" => None,
            path => Some(Pretrained::read(path).map_err(|error| match error {
                missing @ Error::Model(pyrograph_infer::Error::Missing { .. }) => Error::Recipe(format!(
                    "`start.weights`: {missing}; `pyrograph models` lists published weights"
                )),
                other => other,
            })?),
        };
        if let Some(start) = &start
            && recipe.model == Recipe::AUTO
        {
            let Some(network) = start.network else {
                let path = &recipe.start.weights;
                let message =
                    "say with --model which network the weights are for; `pyrograph models` lists all";
                return Err(Error::Recipe(format!("{path}: {message}")));
            };
            recipe.model = network.into();
        }

        let (warmup, epochs) = (recipe.schedule.warmup_epochs(), recipe.epochs);
        if warmup > epochs as f64 {
            said.push(format!(
                "The warm-up of {warmup} epochs is longer than the run, {epochs}: its learning rate is never reached (schedule.warmup_epochs)"
            ));
        }

        let frozen = recipe.start.freeze_epochs;
        if frozen >= epochs {
            said.push(format!(
                "The head alone learns for {frozen} epochs, and the run has {epochs}: the rest of the network never learns (start.freeze_epochs)"
            ));
        }

        let look = Look::at(train.as_ref(), recipe.data.on_error())?;
        let expected = start.as_ref().map(Pretrained::channels);
        let channels = *recipe.data.channels.get_or_insert(expected.unwrap_or(look.channels));
        let native = look.common_size.filter(|&(height, width)| height.max(width) <= LARGEST_NATIVE);
        let (height, width, steps, augment) = match (recipe.data.size, native) {
            (None, Some((height, width))) => (height, width, String::new(), Recipe::NO_AUGMENT.into()),
            (size, _) => {
                let side = size.unwrap_or(PHOTO_SIDE);
                recipe.data.size = Some(side);
                let middle = format!("resize({side})|center_crop({side})");
                // Small images of one size are digits as often as they are pictures of things: nothing random unasked.
                let window = format!("random_resized_crop({side}, scale={PHOTO_WINDOW}..1)|flip");
                (side, side, middle, if native.is_some() { Recipe::NO_AUGMENT.into() } else { window })
            }
        };
        if recipe.augment == Recipe::AUTO {
            recipe.augment = augment;
        }
        if recipe.model == Recipe::AUTO {
            recipe.model = if height.max(width) <= LARGEST_NATIVE { "small_cnn" } else { "resnet18" }.into();
        }
        let mut preprocess =
            Preprocess { steps: steps.parse::<Pipeline>()?, ..Preprocess::new(channels, height, width) };
        let augment = augment_steps(&recipe.augment, &preprocess, recipe.data.size.is_none())?;
        if let Some(start) = &start {
            preprocess = start.normalized(preprocess);
        } else if recipe.data.normalize {
            let PixelStats { mean, std } =
                pixel_stats(train.as_ref(), &preprocess, STATS_SAMPLES, recipe.data.on_error())?;
            // A channel that never changes carries nothing; dividing by its deviation would make it noise.
            let std = std.into_iter().map(|s| if s > 1e-3 { s } else { 1.0 }).collect();
            preprocess = Preprocess { mean, std, ..preprocess };
        }
        let input = InputShape { channels: channels.into(), height: height as usize, width: width as usize };
        let mut model = ModelConfig::from_name(&recipe.model, input, train.class_names().len())?;
        if let Some(start) = start.as_ref().filter(|start| start.file.is_none()) {
            check_keras(&start.path, &model)?;
            if let Some((mean, std)) = keras_statistics(&model) {
                preprocess = Preprocess { mean: mean.into(), std: std.into(), ..preprocess };
            }
        }
        let common = model.common_mut();
        (common.dropout, common.drop_path) = (recipe.dropout, recipe.drop_path);
        model.check()?;
        if let Some(start) = recipe.data.start_size {
            growth::check(&model, start)?;
        }
        let teacher = match recipe.distill.teacher.as_str() {
            "" => None,
            path => Some(teacher(path, input, train.class_names())?),
        };
        said.push(format!(
            "Model {} on {input} images, {} parameters",
            recipe.model,
            thousands(model.parameters())
        ));
        let weights = start.map(|start| start.for_classes(&model, train.class_names()));
        let plan = Self {
            recipe,
            model,
            batch,
            preprocess,
            augment,
            train,
            valid,
            set_apart,
            watched,
            test,
            weights,
            teacher,
            said,
        };
        plan.with_start_said()
    }

    /// The network on `device`, with the weights it starts from.
    ///
    /// # Errors
    ///
    /// When the weights are not those of the network.
    pub fn network(&self, device: &Device) -> Result<Model> {
        Ok(self.start(device)?.0)
    }

    /// The same with so many images a step.
    ///
    /// # Errors
    ///
    /// When these are more than there are to learn from, or too few.
    pub fn with_batch(mut self, batch: usize) -> Result<Self> {
        check_batch(batch, &self.recipe, self.train.len())?;
        (self.batch, self.recipe.batch) = (batch, Some(batch));
        Ok(self)
    }

    /// The network, and what of it is new although it starts from weights.
    fn start(&self, device: &Device) -> Result<(Model, Vec<String>)> {
        let model = self.model.init(self.recipe.seed, device);
        let (model, new) = match &self.weights {
            None => (model, Vec::new()),
            Some(weights) => {
                let mut weights = weights.clone();
                let fitted = fit_image_size(&self.model, &mut weights);
                fitted.and_then(|()| load_backbone(model, weights)).map_err(|source| Error::Start {
                    path: self.recipe.start.weights.clone(),
                    model: self.recipe.model.clone(),
                    source,
                })?
            }
        };
        let frozen = &self.recipe.start.freeze;
        let model =
            freeze(model, frozen).map_err(|source| Error::Recipe(format!("`start.freeze`: {source}")))?;
        let params = param_infos(&model);
        if self.weights.is_some() && new.len() == params.len() {
            let path = &self.recipe.start.weights;
            return Err(Error::Recipe(format!(
                "{path}: nothing in it is used by a {}, whose only layer depends on the classes",
                self.recipe.model
            )));
        }
        // In the first epochs the head may be all that learns.
        let head = model.backbone().levels().len();
        let first = if self.recipe.start.freeze_epochs > 0 { head } else { 0 };
        let learns = |param: &ParamInfo| {
            param.learned
                && model.backbone().stage_of(&param.name) >= first
                && !frozen.iter().any(|part| param.is_in(part))
        };
        if !params.iter().any(learns) {
            return Err(Error::Recipe("`start.freeze` leaves nothing to learn".into()));
        }
        Ok((model, new))
    }

    /// With a sentence on what it starts from: weights that do not fit, and parts that are not there, are told of before anything is written.
    fn with_start_said(mut self) -> Result<Self> {
        let (_, new) = self.start(&Device::default())?;
        if self.weights.is_some() {
            let head = match &new[..] {
                [] => {
                    "all of them: its last layer is for as many classes, and is taken to be for these".into()
                }
                new => format!("new: {}", new.join(", ")),
            };
            self.said.push(format!("Weights from {}; {head}", self.recipe.start.weights));
        }
        Ok(self)
    }
}

/// Whether a batch can be made of `len` images.
fn check_batch(batch: usize, recipe: &Recipe, len: usize) -> Result<()> {
    if batch > len {
        let most = len.div_ceil(8);
        return Err(Error::Recipe(format!(
            "a batch of {batch} images is larger than the {len} images to learn from; \
             use a smaller batch size, as --batch {most}"
        )));
    }
    let repeats = recipe.data.repeats as usize;
    if repeats > batch {
        return Err(Error::Recipe(format!(
            "`data.repeats` is {repeats}; it must be at most the batch size, {batch}, so that copies of an image are in one batch"
        )));
    }
    Ok(())
}

/// The model at `path`, which must be for these images and classes.
fn teacher(path: &str, input: InputShape, class_names: &[String]) -> Result<ModelFile> {
    let file = ModelFile::load(path, &Device::default())
        .map_err(|error| Error::Recipe(format!("`distill.teacher`: {error}")))?;
    if file.config.input() != input {
        let theirs = file.config.input();
        let message =
            format!("`distill.teacher` {path} is for {theirs} images, these are {input}; set data.size");
        return Err(Error::Recipe(message));
    }
    if file.class_names != class_names {
        let differs = file.class_names.iter().zip(class_names).find(|(theirs, ours)| theirs != ours);
        let message = match differs {
            Some((theirs, ours)) => format!("its class `{theirs}` stands where these images have `{ours}`"),
            None => format!("it knows {} classes, these are {}", file.class_names.len(), class_names.len()),
        };
        return Err(Error::Recipe(format!("`distill.teacher` {path}: {message}")));
    }
    Ok(file)
}

/// Weights to start from, with the model file they lie in if it is one.
struct Pretrained {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
    /// The network they belong to, where that is known.
    network: Option<&'static str>,
    file: Option<ModelFile>,
}

impl Pretrained {
    /// `text` is a path, or the name of published weights.
    fn read(text: &str) -> Result<Self> {
        let path = find_weights(text, &mut |_, _, _| ())?;
        match ModelFile::load(&path, &Device::default()) {
            Ok(file) => {
                let tensors = named_tensors(&file.model).into_iter().collect();
                Ok(Self { tensors, network: file.config.name(), file: Some(file), path })
            }
            // Others' safetensors have no description, PyTorch's checkpoints are no safetensors.
            Err(pyrograph_infer::Error::NotAModel { .. } | pyrograph_infer::Error::Damaged { .. }) => {
                let network = PublishedWeights::from_name(text).map(|weights| weights.network);
                Ok(Self { tensors: read_weights(&path)?, network, file: None, path })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The tensors, without those of a head that is known to be for other classes.
    fn for_classes(mut self, config: &ModelConfig, names: &[String]) -> BTreeMap<String, TensorData> {
        if self.file.is_some_and(|file| file.class_names != names) {
            // What would have another shape for one class more.
            let mut more = config.clone();
            more.common_mut().classes += 1;
            let params = |config: &ModelConfig| param_infos(&config.init(0, &Device::default()));
            for (now, then) in params(config).into_iter().zip(params(&more)) {
                if now.shape != then.shape {
                    self.tensors.remove(&now.name);
                }
            }
        }
        self.tensors
    }

    /// The channels that the weights expect: those of ImageNet's photos where nothing says otherwise.
    fn channels(&self) -> u8 {
        self.file.as_ref().map_or(3, |file| file.preprocess.channels)
    }

    /// What the weights expect: the normalization they were trained with, which is ImageNet's where nothing says otherwise.
    fn normalized(&self, preprocess: Preprocess) -> Preprocess {
        let theirs = self.file.as_ref().map(|file| &file.preprocess);
        match theirs.filter(|theirs| theirs.channels == preprocess.channels) {
            Some(theirs) => Preprocess { mean: theirs.mean.clone(), std: theirs.std.clone(), ..preprocess },
            None => preprocess.with_imagenet_statistics(),
        }
    }
}

/// The steps of training images, from the text of a recipe; none where they are those of other images.
///
/// # Errors
///
/// When the text is no pipeline, or leaves images at another size than the network takes.
pub fn augment_steps(text: &str, preprocess: &Preprocess, native: bool) -> Result<Option<Pipeline>> {
    if text == Recipe::NO_AUGMENT {
        return Ok(None);
    }
    let wrong = |reason: String| Error::Recipe(format!("`augment` is {text:?}: {reason}"));
    let steps = augment_pipeline(text)?;
    if steps.is_empty() {
        return Ok(None);
    }
    // Images that have the network's size keep it unless a step says otherwise; photos have many sizes.
    let (width, height) = if native { (preprocess.width, preprocess.height) } else { (211, 157) };
    let pixels = vec![0; width as usize * height as usize];
    let mut scene = Scene::from(Image::new(width, height, 1, pixels));
    steps.apply(&mut scene, &Draws { seed: 0, epoch: 0, index: 0 });
    let (found, wanted) = (scene.size(), (preprocess.width, preprocess.height));
    if found == wanted {
        return Ok(Some(steps));
    }
    let side = wanted.0;
    Err(wrong(format!(
        "it leaves a picture of, say, {width}x{height} pixels at {}x{}, the network takes {}x{}; let it begin with \
         random_resized_crop({side}) or resize({side})|random_crop({side})",
        found.0, found.1, wanted.0, wanted.1
    )))
}

struct Parts {
    train: Arc<dyn Source>,
    valid: Arc<dyn Source>,
    set_apart: bool,
    watched: &'static str,
    test: Option<Arc<dyn Source>>,
}

fn parts(recipe: &Recipe, data: DataSet, said: &mut Vec<String>) -> Result<Parts> {
    let DataSet { train, valid, test, .. } = data;
    if let Some(valid) = valid {
        return Ok(Parts { train, valid, set_apart: false, watched: "validation", test });
    }
    let fraction = recipe.data.valid_fraction;
    if fraction == 0.0 {
        let Some(test) = test else {
            return Err(Error::Recipe(
                "the data has no validation or test part and `data.valid_fraction` is 0; give it a part to measure on, or set images apart with \
                 --set data.valid_fraction=0.1"
                    .into(),
            ));
        };
        said.push("Watching the test images: the best epoch is chosen on them".into());
        return Ok(Parts { train, valid: test, set_apart: false, watched: "test", test: None });
    }
    let (kept, apart) = split(train.len(), fraction, recipe.seed);
    if kept.is_empty() || apart.is_empty() {
        return Err(Error::Recipe(format!(
            "{} images cannot be split by `data.valid_fraction` {fraction}; add images or a validation folder",
            train.len()
        )));
    }
    said.push(format!(
        "Set apart {} of {} training images for validation",
        thousands(apart.len()),
        thousands(train.len())
    ));
    let valid: Arc<dyn Source> = Arc::new(Subset::new(train.clone(), apart)?);
    let train = Arc::new(Subset::new(train, kept)?);
    Ok(Parts { train, valid, set_apart: true, watched: "validation", test })
}

/// What a few images, spread over the set, look like.
struct Look {
    channels: u8,
    /// Height and width, where all have the same.
    common_size: Option<(u32, u32)>,
}

impl Look {
    fn at(source: &dyn Source, on_error: OnError) -> Result<Self> {
        let count = source.len().min(LOOKED_AT);
        let mut channels = 1;
        let mut sizes = Vec::new();
        for n in 0..count {
            let image = match source.read(n * source.len() / count) {
                Ok(sample) => sample.image,
                Err(error) if on_error == OnError::Fail => return Err(error.into()),
                Err(_) => continue,
            };
            channels = channels.max(image.channels());
            sizes.push((image.height(), image.width()));
        }
        sizes.dedup();
        Ok(Self { channels, common_size: sizes.first().copied().filter(|_| sizes.len() == 1) })
    }
}

/// The whole number 1234567 as `1,234,567`.
pub(crate) fn thousands(number: impl std::fmt::Display) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("recipe", &self.recipe)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_learns_alone_to_the_end_is_told() {
        let mut recipe = Recipe { epochs: 2, model: "linear".into(), ..Recipe::default() };
        let told = |recipe: &Recipe| Plan::new(recipe).map(|plan| plan.said.join("\n"));
        assert!(!told(&recipe).unwrap().contains("start.freeze_epochs"));
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("start.safetensors");
        let plan = Plan::new(&Recipe { model: "small_cnn".into(), ..recipe.clone() }).unwrap();
        let model = ModelFile {
            model: plan.model.init(0, &Device::default()),
            config: plan.model,
            preprocess: plan.preprocess,
            class_names: plan.train.class_names().to_vec(),
            recipe: String::new(),
        };
        model.save(&file).unwrap();
        recipe.model = "small_cnn".into();
        recipe.start.weights = file.to_string_lossy().into_owned();
        recipe.start.freeze_epochs = 3;
        let said = told(&recipe).unwrap();
        assert!(said.contains("3 epochs, and the run has 2"), "{said}");
        recipe.start.freeze_epochs = 1;
        assert!(!told(&recipe).unwrap().contains("start.freeze_epochs"));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"].map(String::from),
            [0, 999, 1000, 1_234_567].map(thousands)
        );
    }
}
