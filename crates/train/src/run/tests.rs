//! Whole runs whose batches are spoilt on their way to the network, and whose loader dies or stalls.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress as BurnProgress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Tensor, TensorData};

use pyrograph_data::source::Subset;
use pyrograph_data::tensor::ImageBatch;
use pyrograph_data::{Place, Stored};

use super::*;

const BATCH: usize = 8;
const CLASSES: usize = 10;

/// 144 drawn digits of 28 x 28 pixels, 18 batches an epoch.
fn plan(settings: &[(&str, &str)]) -> Plan {
    let usual = [("model", "small_cnn"), ("batch", "8"), ("epochs", "3"), ("seed", "3"), ("augment", "none")];
    let recipe = usual.iter().chain(settings);
    let recipe = recipe.fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
    let mut plan = Plan::new(&recipe).unwrap();
    plan.train = Arc::new(Subset::new(plan.train.clone(), (0..18 * BATCH).collect()).unwrap());
    plan.valid = Arc::new(Subset::new(plan.valid.clone(), (0..32).collect()).unwrap());
    plan.test = None;
    plan
}

/// Changes the values of a tensor on the host.
fn changed<const D: usize>(tensor: &Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut values = tensor.to_data().try_to_vec::<f32>().unwrap();
    change(&mut values);
    Tensor::from_data(TensorData::new(values, tensor.dims()), &tensor.device())
}

/// What becomes of a batch, by its number in the run.
type Spoil = dyn Fn(usize, &mut ImageBatch) + Send + Sync;

/// A loader of spoilt batches.
#[derive(Clone)]
struct Spoilt {
    sound: Arc<dyn DataLoader<ImageBatch>>,
    spoil: Arc<Spoil>,
    number: Arc<AtomicUsize>,
}

impl DataLoader<ImageBatch> for Spoilt {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch> + 'a> {
        Box::new(SpoiltBatches { sound: self.sound.iter(), loader: self })
    }

    fn num_items(&self) -> usize {
        self.sound.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self { sound: self.sound.to_device(device), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self { sound: self.sound.slice(start, end), ..self.clone() })
    }
}

struct SpoiltBatches<'a> {
    sound: Box<dyn DataLoaderIterator<ImageBatch> + 'a>,
    loader: &'a Spoilt,
}

impl Iterator for SpoiltBatches<'_> {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = self.sound.next()?;
        if let Ok(batch) = &mut batch {
            (self.loader.spoil)(self.loader.number.fetch_add(1, Ordering::Relaxed), batch);
        }
        Some(batch)
    }
}

impl DataLoaderIterator<ImageBatch> for SpoiltBatches<'_> {
    fn progress(&self) -> BurnProgress {
        self.sound.progress()
    }
}

fn options(out: &Path) -> RunOptions {
    RunOptions { device: Device::flex(), out: Some(out.to_owned()), threads: 2, ..RunOptions::default() }
}

/// A run in which every other batch is spoilt until 20 are, the n-th of them by `spoil` at place n: what was left out, of what kind, must be those, and
/// nothing that is kept of the run may be other than finite.
fn leaves_out(settings: &[(&str, &str)], what: &str, spoil: fn(usize, &mut ImageBatch)) {
    let place = tempfile::tempdir().unwrap();
    let (plan, out) = (plan(settings), place.path().join("run"));
    let source = plan.train.clone();
    let spoilt = Arc::new(Mutex::new(Vec::new()));
    let noted = spoilt.clone();
    let spoil: Arc<Spoil> = Arc::new(move |number, batch| {
        if number % 2 == 1 && number < 40 {
            spoil(number / 2, batch);
            let images: Vec<String> = batch.indices.iter().map(|&n| source.place(n).to_string()).collect();
            noted.lock().unwrap().push(images.join(", "));
        }
    });
    let options = options(&out);
    let (folder, found) = RunFolder::open(Some(&out), &plan.recipe, false).unwrap();
    let train = loader(&plan, &plan.train, Order::Shuffled, None, &options).unwrap();
    let valid = loader(&plan, &plan.valid, Order::Sequential, None, &options).unwrap();
    let number = Arc::default();
    let spoilt_loader =
        |sound| -> Arc<dyn DataLoader<ImageBatch>> { Arc::new(Spoilt { sound, spoil, number }) };
    let fitted =
        fit_from(&plan, &options, (train, valid), (&folder, found), Vec::new(), spoilt_loader).unwrap();
    let list = std::fs::read_to_string(folder.left_out()).unwrap();
    let spoilt = spoilt.lock().unwrap();
    assert_eq!((spoilt.len(), list.lines().count()), (20, 20), "{list}");
    for (line, images) in list.lines().zip(spoilt.iter()) {
        assert!(line.ends_with(&format!(": {what} is not finite: {images}")), "{line}\n{images}");
    }
    assert!(fitted.epochs.iter().all(|row| row.train_loss.is_finite() && row.valid_loss.is_finite()));
    for file in [folder.best_model(), folder.last_model()] {
        let tensors = pyrograph_infer::read_weights(&file).unwrap();
        assert!(
            tensors.values().all(|values| values.iter::<f32>().all(f32::is_finite)),
            "{}",
            file.display()
        );
    }
}

fn bad_value(n: usize) -> f32 {
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]
}

#[test]
fn twenty_pixels_that_are_not_finite_teach_nothing() {
    leaves_out(&[], "the loss", |n, batch| {
        batch.images = changed(&batch.images, |values| values[(3 + 311 * n) % values.len()] = bad_value(n));
    });
}

#[test]
fn twenty_losses_that_are_not_finite_teach_nothing() {
    leaves_out(&[], "the loss", |n, batch| {
        let even = Tensor::full([BATCH, CLASSES], 1.0 / CLASSES as f32, &batch.images.device());
        batch.soft_targets =
            Some(changed(&even, |shares| shares[(3 + 7 * n) % (BATCH * CLASSES)] = bad_value(n)));
    });
}

#[test]
fn twenty_gradients_that_are_not_finite_teach_nothing() {
    // Of a pixel so bright and targets so large that their product is beyond f32, and the loss, in which small weights stand between, is not.
    leaves_out(&[("model", "linear"), ("optim.lr", "0.001")], "a gradient", |n, batch| {
        let picture = n % BATCH;
        batch.images = changed(&batch.images, |values| values[picture * 28 * 28 + 37 * n] = 1e20);
        let none = Tensor::zeros([BATCH, CLASSES], &batch.images.device());
        batch.soft_targets = Some(changed(&none, |shares| {
            shares[picture * CLASSES + n % CLASSES] = 3.5e19;
            shares[picture * CLASSES + (n + 3) % CLASSES] = -3.5e19;
        }));
    });
}

/// Digits of which one picture is read as `fault` says, from the second time on.
struct Faulty {
    sound: Arc<dyn Source>,
    reads: AtomicUsize,
    fault: fn(),
}

const FAULTY: usize = 77;

impl Source for Faulty {
    fn len(&self) -> usize {
        self.sound.len()
    }
    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> pyrograph_data::Result<Stored<'a>> {
        if index == FAULTY && self.reads.fetch_add(1, Ordering::Relaxed) > 0 {
            (self.fault)();
        }
        self.sound.fetch(index, buffer)
    }
    fn label(&self, index: usize) -> u32 {
        self.sound.label(index)
    }
    fn place(&self, index: usize) -> Place {
        self.sound.place(index)
    }
    fn class_names(&self) -> &[String] {
        self.sound.class_names()
    }
}

#[test]
fn a_loader_that_dies_or_stalls_is_a_named_error_and_the_run_goes_on_without_it() {
    let place = tempfile::tempdir().unwrap();
    let plan = plan(&[]);
    let last = |out: &Path| std::fs::read(out.join("last.safetensors")).unwrap();
    let whole = place.path().join("whole");
    run_plan(&plan, &options(&whole), Vec::new()).unwrap();
    let dies: fn() = || panic!("as asked");
    let stalls: fn() = || std::thread::sleep(Duration::from_secs(2));
    for (name, fault, says) in [("dies", dies, "panicked"), ("stalls", stalls, "hangs")] {
        let out = place.path().join(name);
        let options = options(&out);
        {
            let (folder, found) = RunFolder::open(Some(&out), &plan.recipe, false).unwrap();
            let train = loader(&plan, &plan.train, Order::Shuffled, None, &options).unwrap();
            let config = LoaderConfig { patience: Duration::from_millis(300), ..train.config().clone() };
            let faulty = Faulty { sound: plan.train.clone(), reads: AtomicUsize::new(0), fault };
            let train = Loader::new(Arc::new(faulty), config).unwrap();
            let valid = loader(&plan, &plan.valid, Order::Sequential, None, &options).unwrap();
            let error = fit(&plan, &options, (train, valid), (&folder, found), Vec::new()).unwrap_err();
            let (error, picture) = (error.to_string(), plan.train.place(FAULTY).to_string());
            assert!(error.contains(says) && error.contains(&picture), "{error}");
            let newest = Checkpoints::new(folder.checkpoints(), Box::new(Machine)).newest().unwrap();
            assert!(newest.damaged.is_empty());
            // That of the end of the first epoch.
            let checkpoint = newest.checkpoint.unwrap();
            assert_eq!(checkpoint.step, 18);
        }
        run_plan(&plan, &options, Vec::new()).unwrap();
        assert!(last(&out) == last(&whole), "{name}");
    }
}

/// The source with other names of its classes.
struct Renamed(Arc<dyn Source>, Vec<String>);

impl Source for Renamed {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn fetch<'a>(&'a self, index: usize, buffer: &'a mut Vec<u8>) -> pyrograph_data::Result<Stored<'a>> {
        self.0.fetch(index, buffer)
    }
    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }
    fn place(&self, index: usize) -> Place {
        self.0.place(index)
    }
    fn class_names(&self) -> &[String] {
        &self.1
    }
}

#[test]
fn classes_that_have_changed_are_an_error_before_anything_is_learned_or_measured() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let known = plan(&[]);
    let mut others = plan(&[]);
    let mut names = others.train.class_names().to_vec();
    names[3] = "drei".into();
    others.train = Arc::new(Renamed(others.train.clone(), names));
    let refused = || {
        let error = run_plan(&others, &options(&out), Vec::new()).unwrap_err().to_string();
        assert!(error.contains("its class 3 is `3`, that of the data is `drei`"), "{error}");
    };
    // A run that was stopped, and one that is over.
    let stopping = options(&out);
    stopping.stop.stop();
    let ended = run_plan(&known, &stopping, Vec::new()).unwrap_err();
    assert!(matches!(ended, Error::Interrupted { .. }), "{ended}");
    refused();
    run_plan(&known, &options(&out), Vec::new()).unwrap();
    let best = std::fs::read(out.join("best.safetensors")).unwrap();
    refused();
    assert!(best == std::fs::read(out.join("best.safetensors")).unwrap());
}

#[test]
fn a_run_without_checkpoints_is_not_begun_over_its_models() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let plan = plan(&[("epochs", "1")]);
    run_plan(&plan, &options(&out), Vec::new()).unwrap();
    std::fs::remove_file(out.join("metrics.jsonl")).unwrap();
    let best = std::fs::read(out.join("best.safetensors")).unwrap();
    let error = run_plan(&plan, &options(&out), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("best.safetensors") && error.contains("--fresh"), "{error}");
    assert!(best == std::fs::read(out.join("best.safetensors")).unwrap());
}

/// Set while a picture of [`a_run_whose_images_do_not_come_stops_when_it_is_asked`] is waited for.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);

#[test]
fn a_run_whose_images_do_not_come_stops_when_it_is_asked_and_goes_on_from_there() {
    let place = tempfile::tempdir().unwrap();
    for (name, settings) in [("a step", &[][..]), ("within a step", &[("accumulate", "18")][..])] {
        let plan = plan(settings);
        let last = |out: &Path| std::fs::read(out.join("last.safetensors")).unwrap();
        let whole = place.path().join("whole").join(name);
        run_plan(&plan, &options(&whole), Vec::new()).unwrap();
        let out = place.path().join(name);
        WAITED_FOR.store(false, Ordering::Relaxed);
        let stalls: fn() = || {
            WAITED_FOR.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(2));
        };
        {
            let options = options(&out);
            let (folder, found) = RunFolder::open(Some(&out), &plan.recipe, false).unwrap();
            let train = loader(&plan, &plan.train, Order::Shuffled, None, &options).unwrap();
            let faulty = Faulty { sound: plan.train.clone(), reads: AtomicUsize::new(0), fault: stalls };
            let train = Loader::new(Arc::new(faulty), train.config().clone()).unwrap();
            let valid = loader(&plan, &plan.valid, Order::Sequential, None, &options).unwrap();
            let stop = options.stop.clone();
            let asks = std::thread::spawn(move || {
                while !WAITED_FOR.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.stop();
            });
            let error = fit(&plan, &options, (train, valid), (&folder, found), Vec::new()).unwrap_err();
            asks.join().unwrap();
            let Error::Interrupted { step, .. } = error else { panic!("{error}") };
            let newest = Checkpoints::new(folder.checkpoints(), Box::new(Machine)).newest().unwrap();
            assert_eq!(newest.checkpoint.unwrap().step, step, "{name}");
            // The picture was waited for in the second epoch.
            assert!(
                step >= plan.train.len().div_ceil(BATCH * plan.recipe.accumulate) as u64,
                "{name}: {step}"
            );
        }
        run_plan(&plan, &options(&out), Vec::new()).unwrap();
        assert!(last(&out) == last(&whole), "{name}");
    }
}
