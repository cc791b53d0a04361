//! Copies of the network on further devices, for batches of the same step.

use std::panic::resume_unwind;
use std::thread;

use burn::module::Module;
use burn::tensor::Device;
use pyrograph_data::tensor::ImageBatch;
use pyrograph_model::noise;

use crate::classifier::{Classifier, Lesson};

/// The network on each further device but for its weights, which every step brings anew.
#[derive(Debug)]
pub(crate) struct Replicas {
    home: Device,
    others: Vec<(Device, Classifier)>,
}

/// A batch to learn from.
pub(crate) struct Work {
    pub(crate) batch: ImageBatch,
    /// Its share of a step, 1 for all of it.
    pub(crate) share: f64,
    /// What its random draws follow from: seed, and number within the run.
    pub(crate) draws: (u64, u64),
}

impl Work {
    fn learned(self, network: &Classifier) -> Lesson {
        noise::of_step(self.draws.0, self.draws.1);
        network.learn(self.batch, self.share)
    }
}

impl Replicas {
    /// Copies of `network`, which is at `home`, on `others`: all of them autodiff devices.
    pub(crate) fn new(network: &Classifier, home: Device, others: Vec<Device>) -> Self {
        let replica = |device: Device| (device.clone(), network.replica(&device));
        Self { home, others: others.into_iter().map(replica).collect() }
    }

    /// Where the network is that learns.
    pub(crate) fn home(&self) -> &Device {
        &self.home
    }

    /// How many batches can be learned from at once: one at home, and one on each further device.
    pub(crate) fn at_once(&self) -> u64 {
        1 + self.others.len() as u64
    }

    /// What each batch teaches. The first is computed at home, and only its running statistics reach `network`; the others elsewhere at the same
    /// time.
    ///
    /// # Panics
    ///
    /// When there are more batches than can be learned from at once.
    pub(crate) fn learn(&self, network: &Classifier, works: Vec<Work>) -> Vec<Lesson> {
        assert!(works.len() as u64 <= self.at_once(), "a device for each batch");
        let mut works = works.into_iter();
        let Some(first) = works.next() else { return Vec::new() };
        thread::scope(|scope| {
            let elsewhere: Vec<_> = works
                .zip(&self.others)
                .map(|(work, (device, replica))| {
                    let mut replica = replica.clone();
                    replica.model = network.model.clone().fork(device);
                    let batch = to_device(work.batch, device);
                    let work = Work { batch, ..work };
                    scope.spawn(move || work.learned(&replica))
                })
                .collect();
            let mut lessons = vec![first.learned(network)];
            for lesson in elsewhere {
                let lesson = lesson.join().unwrap_or_else(|panic| resume_unwind(panic));
                lessons.push(lesson.moved_to(&self.home, network));
            }
            lessons
        })
    }
}

fn to_device(batch: ImageBatch, device: &Device) -> ImageBatch {
    ImageBatch {
        images: batch.images.to_device(device),
        targets: batch.targets.to_device(device),
        soft_targets: batch.soft_targets.map(|targets| targets.to_device(device)),
        ..batch
    }
}
