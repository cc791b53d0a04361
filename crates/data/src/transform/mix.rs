//! MixUp and CutMix: pictures of a batch mixed in pairs, and their targets with them.
//!
//! What is mixed with what ([`Mix`]) is a pure function of seed, epoch and the batch's number, apart from the work on pixels: a device
//! can do that as well as [`Mix::blend_bytes`] and [`Mix::blend`] do it here.

use serde::{Deserialize, Serialize};

use super::draw::{beta, up_to};
use crate::order::SampleRng;
use crate::{Error, ErrorKind, Result};

/// Which batches are mixed, and how strongly.
///
/// MixUp lays two pictures over each other (Zhang et al., "mixup: beyond empirical risk minimization", 2018); CutMix puts a rectangle of one
/// into the other (Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixing {
    /// The concentration of MixUp's shares, 0.2 to 1 as a rule; 0 for no MixUp.
    pub mixup: f32,
    /// The concentration of CutMix's shares, 1 as a rule; 0 for no CutMix.
    pub cutmix: f32,
    /// The probability that a batch is mixed at all.
    pub p: f32,
    /// The probability of CutMix where both are wanted.
    pub switch: f32,
}

impl Default for Mixing {
    /// No mixing.
    fn default() -> Self {
        Self { mixup: 0.0, cutmix: 0.0, p: 1.0, switch: 0.5 }
    }
}

/// How one batch is mixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// The share of each picture itself, 0 to 1; its partner has the rest. 1 leaves the batch as it is.
    pub lambda: f32,
    /// The picture in the batch that each is mixed with: a permutation.
    pub partner: Vec<usize>,
    /// The rectangle that is the partner's (CutMix); `None` when the two are laid over each other (MixUp).
    pub cut: Option<Rect>,
}

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// From the left side.
    pub left: u32,
    /// From the top.
    pub top: u32,
    /// May be 0.
    pub width: u32,
    /// May be 0.
    pub height: u32,
}

/// How the values of a batch of pictures lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[batch, height, width, channels]`.
    Nhwc,
    /// `[batch, channels, height, width]`.
    Nchw,
}

/// The size of each picture of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Values a pixel.
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// Their order.
    pub layout: Layout,
}

/// Keeps the choices for batches apart from those for samples.
const BATCHES: u64 = 0x6D69_7869_6E67_0001;

impl Mixing {
    /// Whether any batch is mixed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.p > 0.0 && (self.mixup > 0.0 || self.cutmix > 0.0)
    }

    /// Whether every number is in its range.
    ///
    /// # Errors
    ///
    /// Names the number and what it may be.
    pub fn check(&self) -> Result<()> {
        let numbers = [
            ("mixup", self.mixup, 1000.0),
            ("cutmix", self.cutmix, 1000.0),
            ("p", self.p, 1.0),
            ("switch", self.switch, 1.0),
        ];
        match numbers.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value)) {
            None => Ok(()),
            Some((name, value, most)) => {
                let problem = format!("`mix.{name}` is {value}; it must be 0 to {most}");
                Err(Error::new(ErrorKind::Setting(problem)))
            }
        }
    }

    /// Whether what is set has a use: a share of batches to mix needs a way to mix them. Not a part of [`Mixing::check`], for numbers are
    /// set one after the other.
    ///
    /// # Errors
    ///
    /// Names what is missing.
    pub fn check_use(&self) -> Result<()> {
        if self.p == Self::default().p || self.p == 0.0 || self.mixup > 0.0 || self.cutmix > 0.0 {
            return Ok(());
        }
        let problem =
            format!("`mix.p` is {}, but nothing is mixed; set `mix.mixup` or `mix.cutmix`, too", self.p);
        Err(Error::new(ErrorKind::Setting(problem)))
    }

    /// How batch number `batch` of `epoch`, of `count` pictures of `width` x `height` pixels, is mixed.
    #[must_use]
    pub fn draw(&self, seed: u64, epoch: u64, batch: u64, count: usize, width: u32, height: u32) -> Mix {
        let mut rng = SampleRng::new(seed, epoch, batch, BATCHES);
        let mut partner: Vec<usize> = (0..count).collect();
        let wanted = rng.chance(self.p) && self.is_on();
        let cutmix = self.cutmix > 0.0 && (self.mixup <= 0.0 || rng.chance(self.switch));
        if !wanted {
            return Mix { lambda: 1.0, partner, cut: None };
        }
        // Fisher and Yates.
        for last in (1..count).rev() {
            partner.swap(last, rng.below(last as u64 + 1) as usize);
        }
        let lambda = beta(&mut rng, f64::from(if cutmix { self.cutmix } else { self.mixup }));
        if !cutmix {
            return Mix { lambda: lambda as f32, partner, cut: None };
        }
        // About a place anywhere in the picture, cut off at its sides: the share that counts is what is left.
        let side = (1.0 - lambda).sqrt();
        let mut range = |length: u32| {
            let half = (0.5 * side * f64::from(length)) as u32;
            let middle = up_to(&mut rng, length.saturating_sub(1));
            let from = middle.saturating_sub(half);
            (from, (middle + half).min(length).saturating_sub(from))
        };
        let (left, cut_width) = range(width);
        let (top, cut_height) = range(height);
        let area = f64::from(cut_width) * f64::from(cut_height);
        let share = area / (f64::from(width) * f64::from(height)).max(1.0);
        let cut = Rect { left, top, width: cut_width, height: cut_height };
        Mix { lambda: (1.0 - share) as f32, partner, cut: Some(cut) }
    }
}

impl Mix {
    /// Mixes a batch of bytes in place, rounding to the nearest.
    ///
    /// # Panics
    ///
    /// If `images` has not one picture of `shape` a partner, or the rectangle does not lie within it.
    pub fn blend_bytes(&self, images: &mut [u8], shape: &Shape) {
        let table: [f32; 256] = std::array::from_fn(|value| value as f32 * self.lambda + 0.5);
        let rest = 1.0 - self.lambda;
        self.each(images, shape, |own, partner| {
            // Conversion cuts off and stays within 0 to 255.
            (table[usize::from(own)] + rest * f32::from(partner)) as u8
        });
    }

    /// Mixes a batch of numbers in place.
    ///
    /// # Panics
    ///
    /// If `images` has not one picture of `shape` a partner, or the rectangle does not lie within it.
    pub fn blend(&self, images: &mut [f32], shape: &Shape) {
        let rest = 1.0 - self.lambda;
        self.each(images, shape, |own, partner| own * self.lambda + partner * rest);
    }

    fn each<T: Copy>(&self, images: &mut [T], shape: &Shape, mixed: impl Fn(T, T) -> T) {
        let length = shape.channels * shape.height * shape.width;
        assert_eq!(images.len(), length * self.partner.len(), "a batch of {shape:?}");
        if self.lambda >= 1.0 || length == 0 {
            return;
        }
        let (pixel, planes) = match shape.layout {
            Layout::Nhwc => (shape.channels, 1),
            Layout::Nchw => (1, shape.channels),
        };
        let row = shape.width * pixel;
        let source = images.to_vec();
        for (image, &partner) in images.chunks_exact_mut(length).zip(&self.partner) {
            let other = &source[partner * length..][..length];
            match self.cut {
                None => {
                    for (own, partner) in image.iter_mut().zip(other) {
                        *own = mixed(*own, *partner);
                    }
                }
                Some(Rect { left, top, width, height }) => {
                    let (from, to) = (left as usize * pixel, (left + width) as usize * pixel);
                    for y in (0..planes).flat_map(|plane| (0..height as usize).map(move |y| (plane, y))) {
                        let start = (y.0 * shape.height + top as usize + y.1) * row;
                        image[start + from..start + to].copy_from_slice(&other[start + from..start + to]);
                    }
                }
            }
        }
    }

    /// The targets of a mixed batch, `[batch, classes]`, each row summing to 1: each picture's own class has `lambda`, its
    /// partner's the rest. `smoothing` is the part that all classes share alike (Szegedy et al., "Rethinking the Inception architecture for
    /// computer vision", 2016).
    ///
    /// # Errors
    ///
    /// When a label is not below `classes`, or there is not one label a partner.
    pub fn soft_targets(&self, labels: &[u32], classes: usize, smoothing: f32) -> Result<Vec<f32>> {
        if labels.len() != self.partner.len() {
            let problem = format!("{} labels for {} mixed images", labels.len(), self.partner.len());
            return Err(Error::new(ErrorKind::Setting(problem)));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::new(ErrorKind::Classes(format!("label {label} among {classes} classes"))));
        }
        let mut targets = vec![smoothing / classes as f32; labels.len() * classes];
        for ((row, own), &partner) in targets.chunks_exact_mut(classes.max(1)).zip(labels).zip(&self.partner)
        {
            row[*own as usize] += self.lambda * (1.0 - smoothing);
            row[labels[partner] as usize] += (1.0 - self.lambda) * (1.0 - smoothing);
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXUP: Mixing = Mixing { mixup: 0.4, cutmix: 0.0, p: 1.0, switch: 0.5 };
    const CUTMIX: Mixing = Mixing { mixup: 0.0, cutmix: 1.0, p: 1.0, switch: 0.5 };

    #[test]
    fn partners_are_a_permutation_and_a_function_of_seed_epoch_and_batch() {
        let draw = |seed, epoch, batch| MIXUP.draw(seed, epoch, batch, 20, 8, 8);
        let mut partners = draw(1, 2, 3).partner;
        partners.sort_unstable();
        assert!(partners.into_iter().eq(0..20));
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(other, draw(1, 2, 3));
        }
    }

    #[test]
    fn mixup_lays_one_over_the_other() {
        let mix = Mix { lambda: 0.75, partner: vec![1, 0], cut: None };
        let shape = Shape { channels: 1, height: 1, width: 2, layout: Layout::Nhwc };
        let mut bytes = [0, 100, 200, 255];
        mix.blend_bytes(&mut bytes, &shape);
        assert_eq!(bytes, [50, 139, 150, 216]);
        let mut numbers = [0.0, 1.0, 4.0, -1.0];
        mix.blend(&mut numbers, &shape);
        assert_eq!(numbers, [1.0, 0.5, 3.0, -0.5]);
        let mut even = [255; 4];
        mix.blend_bytes(&mut even, &shape);
        assert_eq!(even, [255; 4]);
    }

    #[test]
    fn cutmix_puts_a_rectangle_of_the_partner_in_either_layout() {
        let rect = Rect { left: 1, top: 1, width: 2, height: 1 };
        let mix = Mix { lambda: 0.75, partner: vec![1, 0], cut: Some(rect) };
        let (height, width) = (2, 4);
        let mut batch: Vec<u8> = (0..48).map(|v| if v < 24 { 0 } else { 9 }).collect();
        mix.blend_bytes(&mut batch, &Shape { channels: 3, height, width, layout: Layout::Nhwc });
        let first = [[0; 12], [0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 0]].concat();
        assert_eq!(batch[..24], first);
        let mut batch: Vec<f32> = (0..48).map(|v| if v < 24 { 0.0 } else { 9.0 }).collect();
        mix.blend(&mut batch, &Shape { channels: 3, height, width, layout: Layout::Nchw });
        assert_eq!(batch[..24], [0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 0.0].repeat(3));
        assert_eq!(batch[24..32], [9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 9.0]);
    }

    #[test]
    fn the_share_is_the_area_that_is_left() {
        let mut mean = 0.0;
        for batch in 0..500 {
            let mix = CUTMIX.draw(0, 0, batch, 2, 32, 24);
            let cut = mix.cut.unwrap();
            assert!(cut.left + cut.width <= 32 && cut.top + cut.height <= 24);
            let area = (cut.width * cut.height) as f32 / 768.0;
            assert!((mix.lambda - (1.0 - area)).abs() < 1e-6);
            mean += mix.lambda / 500.0;
        }
        // Half of the picture on average, and more since rectangles are cut off.
        assert!((0.55..0.75).contains(&mean), "{mean}");
    }

    #[test]
    fn targets_are_shared_as_the_pictures_are() {
        let mix = Mix { lambda: 0.75, partner: vec![1, 2, 0], cut: None };
        let plain = mix.soft_targets(&[0, 1, 1], 2, 0.0).unwrap();
        assert_eq!(plain, [0.75, 0.25, 0.0, 1.0, 0.25, 0.75]);
        let smooth = mix.soft_targets(&[0, 1, 1], 2, 0.2).unwrap();
        assert!(smooth.iter().zip([0.7, 0.3, 0.1, 0.9, 0.3, 0.7]).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(mix.soft_targets(&[0, 1, 2], 2, 0.0).is_err());
        assert!(mix.soft_targets(&[0, 1], 2, 0.0).is_err());
    }

    #[test]
    fn a_share_of_batches_needs_a_way_to_mix_them() {
        let usual = Mixing::default();
        let error = Mixing { p: 0.5, ..usual }.check_use().unwrap_err().to_string();
        assert!(error.contains("`mix.p` is 0.5") && error.contains("`mix.cutmix`"), "{error}");
        for used in [usual, Mixing { p: 0.5, cutmix: 1.0, ..usual }, Mixing { p: 0.5, mixup: 0.2, ..usual }] {
            assert!(used.check_use().is_ok());
        }
    }

    #[test]
    fn probabilities_are_met_and_no_mixing_changes_nothing() {
        let both = Mixing { mixup: 0.2, cutmix: 1.0, p: 0.5, switch: 0.25 };
        let mixes: Vec<Mix> = (0..4000).map(|batch| both.draw(0, 0, batch, 2, 16, 16)).collect();
        let cuts = mixes.iter().filter(|mix| mix.cut.is_some()).count();
        let none = mixes.iter().filter(|mix| mix.lambda == 1.0 && mix.cut.is_none()).count();
        assert!((430..570).contains(&cuts) && (1900..2120).contains(&none), "{cuts} {none}");
        let none = Mixing::default().draw(0, 0, 0, 2, 16, 16);
        assert_eq!(none, Mix { lambda: 1.0, partner: vec![0, 1], cut: None });
        let mut batch = [1, 2];
        none.blend_bytes(&mut batch, &Shape { channels: 1, height: 1, width: 1, layout: Layout::Nhwc });
        assert_eq!(batch, [1, 2]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(MIXUP.check().is_ok());
        for bad in [
            Mixing { mixup: -1.0, ..MIXUP },
            Mixing { cutmix: f32::NAN, ..MIXUP },
            Mixing { p: 1.5, ..MIXUP },
            Mixing { switch: f32::INFINITY, ..MIXUP },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
