//! The largest batch that fits into memory.

use std::fs;
use std::thread;

use burn::tensor::{Device, Int, Tensor};
use pyrograph_data::tensor::ImageBatch;
use pyrograph_model::{is_host, noise};

use crate::run::learning_device;
use crate::train_state::numbered;
use crate::{Classifier, Error, Objective, Plan, Result};

/// Images of the two batches that are tried on a CPU; from them follows what more would take.
const TRIED: [usize; 2] = [8, 32];

/// The share of the free memory that a run may fill, in percent: the rest is for the optimizer, the loader and others.
const SHARE: u64 = 70;

/// The largest batch at all, for sets of millions.
const MOST: usize = 8192;

/// The largest power of two of images of which a training step fits into memory, and of which an epoch still has eight.
///
/// On a CPU two small steps are measured, and the memory that is free says how much larger they may be. On other devices steps are made with ever
/// more images until one fails.
///
/// # Errors
///
/// When the network cannot be made, or on a CPU whose system does not say how much memory there is: only Linux does.
pub fn largest_batch(plan: &Plan, device: &Device) -> Result<usize> {
    let most = power_of_two((plan.train.len() / 8).clamp(1, MOST));
    let device = learning_device(&plan.recipe, device);
    let network = Classifier::new(numbered(plan.network(&device)?), Objective::new(&plan.recipe))
        .with_products(plan.recipe.products_in());
    let step = |images: usize| step(plan, &network, &device, images);
    if !is_host(&device) {
        let sizes = (0..).map(|n| 1 << n).take_while(|&images| images <= most);
        // A device without room panics, in the driver or in Burn.
        let fits = |images: &usize| thread::scope(|scope| scope.spawn(|| step(*images)).join().is_ok());
        return Ok(sizes.take_while(fits).last().unwrap_or(1));
    }
    let unknown =
        || Error::Recipe("how much memory is free is not known on this system; give --batch a number".into());
    let before = kibibytes("/proc/self/status", "VmRSS:").ok_or_else(unknown)?;
    let room = before + free().ok_or_else(unknown)? / 100 * SHARE;
    let mut peaks = [0; 2];
    for (images, peak) in TRIED.into_iter().zip(&mut peaks) {
        step(images.min(most));
        *peak = kibibytes("/proc/self/status", "VmHWM:").ok_or_else(unknown)?;
    }
    Ok(fitting(peaks, room, most))
}

/// The largest power of two, `most` at most, of images that fit into `room` KiB, where those of [`TRIED`] took `peaks`.
fn fitting([few, many]: [u64; 2], room: u64, most: usize) -> usize {
    let more_images = (TRIED[1] - TRIED[0]) as u64;
    let an_image = many.saturating_sub(few).div_ceil(more_images).max(1);
    let most_that_fit = TRIED[1] as u64 + room.saturating_sub(many) / an_image;
    // Where even the larger of those tried is too much, it is taken in a run's own risk: less is what a user asks for by a number.
    power_of_two(usize::try_from(most_that_fit).unwrap_or(most).min(most))
}

/// The largest power of two that is not above `number`, which is not 0.
fn power_of_two(number: usize) -> usize {
    1 << number.ilog2()
}

/// One step with images of nothing, up to its gradients.
fn step(plan: &Plan, network: &Classifier, device: &Device, images: usize) {
    noise::of_step(plan.recipe.seed, 0);
    let input = plan.model.input();
    let off = device.clone().inner();
    let batch = ImageBatch {
        images: Tensor::zeros([images, input.channels, input.height, input.width], device),
        targets: Tensor::<1, Int>::zeros([images], &off),
        soft_targets: None,
        indices: (0..images).collect(),
        counts: vec![true; images],
    };
    // The gradients are held until the loss was read, and with it all is computed.
    let lesson = network.learn(batch, 1.0);
    let _ = lesson.loss.into_data();
    drop(lesson.gradients);
}

/// Memory that nothing uses, in KiB, by what the machine has and what the process may have of it.
fn free() -> Option<u64> {
    let machine = kibibytes("/proc/meminfo", "MemAvailable:")?;
    let bytes = |file: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?.trim().parse().ok()
    };
    let allowed = bytes("memory.max").zip(bytes("memory.current"));
    let allowed = allowed.map(|(most, used)| most.saturating_sub(used) / 1024);
    Some(allowed.map_or(machine, |allowed| allowed.min(machine)))
}

/// The number after `name` in a table of Linux.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let table = fs::read_to_string(table).ok()?;
    table.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_images_take_follows_from_two_steps() {
        // 100 MiB and 1 MiB an image.
        let peaks = TRIED.map(|images| 1024 * (100 + images as u64));
        assert_eq!(fitting(peaks, 1024 * 400, 4096), 256);
        assert_eq!(fitting(peaks, 1024 * 360, 4096), 256);
        assert_eq!(fitting(peaks, 1024 * 355, 4096), 128);
        assert_eq!(fitting(peaks, 1024 * 400, 64), 64);
    }

    #[test]
    fn where_nothing_is_free_the_larger_of_those_tried_is_taken() {
        assert_eq!(fitting([500, 900], 600, 4096), 32);
        assert_eq!(fitting([500, 900], 600, 4), 4);
    }

    #[test]
    fn images_that_take_nothing_are_bounded_by_the_set() {
        assert_eq!(fitting([500, 500], u64::MAX, 128), 128);
    }
}
