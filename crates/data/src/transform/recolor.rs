//! Steps that change colours and leave places alone.

use super::draw::{Span, up_to};
use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::{Scene, Transform, blur, color, tone};
use crate::Image;
use crate::order::SampleRng;

/// A change of the colours of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColorChange {
    /// 0 is black, 1 is the picture, 2 twice as light.
    Brightness(f32),
    /// 0 is even gray, 1 is the picture.
    Contrast(f32),
    /// 0 is gray, 1 is the picture.
    Saturation(f32),
    /// Turns the hues by this part of the colour circle, -0.5 to 0.5.
    Hue(f32),
    /// 0 is a little blurred, 1 is the picture, 2 is sharper.
    Sharpness(f32),
    /// Every pixel becomes its luma; the channels stay.
    Grayscale,
    /// Light becomes dark.
    Invert,
    /// Inverts the values from this one on.
    Solarize(f32),
    /// Keeps so many upper bits of each value, 0 to 8.
    Posterize(u32),
    /// Spreads the values of each channel evenly.
    Equalize,
    /// Stretches the values of each channel to all of 0 to 255.
    AutoContrast,
}

impl ColorChange {
    /// Changes the picture. Results equal Pillow's; those of [`ColorChange::Hue`] are within one level.
    pub fn apply(self, image: &mut Image) {
        match self {
            Self::Brightness(factor) => color::brightness(image, factor),
            Self::Contrast(factor) => color::contrast(image, factor),
            Self::Saturation(factor) => color::saturation(image, factor),
            Self::Hue(turns) => color::hue(image, turns),
            Self::Sharpness(factor) => blur::sharpness(image, factor),
            Self::Grayscale => color::grayscale(image),
            Self::Invert => tone::invert(image),
            Self::Solarize(threshold) => tone::solarize(image, threshold),
            Self::Posterize(bits) => tone::posterize(image, bits),
            Self::Equalize => tone::equalize(image),
            Self::AutoContrast => tone::autocontrast(image),
        }
    }
}

/// One change of colours, by chance. torchvision's `RandomInvert`, `RandomSolarize`, `RandomGrayscale` and so on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recolor {
    /// What is done.
    pub change: ColorChange,
    /// The probability.
    pub p: f32,
}

impl Recolor {
    /// The name of the step in text.
    pub(super) fn name(&self) -> &'static str {
        match self.change {
            ColorChange::Grayscale => "grayscale",
            ColorChange::Invert => "invert",
            ColorChange::Solarize(_) => "solarize",
            ColorChange::Posterize(_) => "posterize",
            ColorChange::Equalize => "equalize",
            ColorChange::AutoContrast => "autocontrast",
            ColorChange::Sharpness(_) => "sharpness",
            ColorChange::Brightness(_) => "brightness",
            ColorChange::Contrast(_) => "contrast",
            ColorChange::Saturation(_) => "saturation",
            ColorChange::Hue(_) => "hue",
        }
    }

    /// The change with torchvision's probability.
    pub(super) fn usual(change: ColorChange) -> Self {
        Self { change, p: if change == ColorChange::Grayscale { 0.1 } else { 0.5 } }
    }
}

impl Described for Recolor {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        match &mut self.change {
            ColorChange::Solarize(threshold) => a.needed().number("threshold", threshold, 0.0..=256.0),
            ColorChange::Posterize(bits) => a.needed().count("bits", bits, 0..=8),
            ColorChange::Sharpness(factor)
            | ColorChange::Brightness(factor)
            | ColorChange::Contrast(factor)
            | ColorChange::Saturation(factor) => a.needed().number("factor", factor, 0.0..=100.0),
            ColorChange::Hue(turns) => a.needed().number("turns", turns, -0.5..=0.5),
            ColorChange::Grayscale
            | ColorChange::Invert
            | ColorChange::Equalize
            | ColorChange::AutoContrast => {}
        }
        a.number("p", &mut self.p, CHANCES);
    }
}

impl Transform for Recolor {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if rng.chance(self.p) {
            self.change.apply(&mut scene.image);
        }
    }
}

/// Changes brightness, contrast, saturation and hue, each by a random factor, in random order. torchvision's `ColorJitter`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorJitter {
    /// Factors are from `1 - brightness` (but not below 0) to `1 + brightness`.
    pub brightness: f32,
    /// As `brightness`.
    pub contrast: f32,
    /// As `brightness`.
    pub saturation: f32,
    /// Turns are from `-hue` to `hue` of the colour circle, at most half of it.
    pub hue: f32,
    /// The probability.
    pub p: f32,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, p: 1.0 }
    }
}

impl Described for ColorJitter {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("brightness", &mut self.brightness, 0.0..=10.0);
        a.number("contrast", &mut self.contrast, 0.0..=10.0);
        a.number("saturation", &mut self.saturation, 0.0..=10.0);
        a.number("hue", &mut self.hue, 0.0..=0.5);
        a.number("p", &mut self.p, CHANCES);
    }
}

impl Transform for ColorJitter {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let mut factor = |reach: f32| Span::new((1.0 - reach).max(0.0), 1.0 + reach).draw(rng) as f32;
        let mut changes = [
            ColorChange::Brightness(factor(self.brightness)),
            ColorChange::Contrast(factor(self.contrast)),
            ColorChange::Saturation(factor(self.saturation)),
            ColorChange::Hue(Span::around_zero(self.hue).draw(rng) as f32),
        ];
        // Fisher and Yates.
        for last in (1..changes.len()).rev() {
            changes.swap(last, up_to(rng, last as u32) as usize);
        }
        for change in changes {
            let wanted = match change {
                ColorChange::Hue(_) => self.hue > 0.0,
                ColorChange::Brightness(factor)
                | ColorChange::Contrast(factor)
                | ColorChange::Saturation(factor) => factor != 1.0,
                _ => true,
            };
            if wanted {
                change.apply(&mut scene.image);
            }
        }
    }
}

/// Blurs by a Gaussian of random width. torchvision's `GaussianBlur`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blur {
    /// Pixels across, odd.
    pub kernel: u32,
    /// Standard deviations in pixels.
    pub sigma: Span,
    /// The probability.
    pub p: f32,
}

impl Default for Blur {
    fn default() -> Self {
        Self { kernel: 23, sigma: Span::new(0.1, 2.0), p: 1.0 }
    }
}

/// The widest kernel.
const WIDEST: u32 = 255;

impl Described for Blur {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        let says = format!("an odd number of pixels from 1 to {WIDEST}");
        let read = |text: &str| text.parse().ok().filter(|k| (1..=WIDEST).contains(k) && k % 2 == 1);
        a.needed().argument("kernel", &mut self.kernel, &says, read, ToString::to_string);
        a.span("sigma", &mut self.sigma, 0.01..=100.0);
        a.number("p", &mut self.p, CHANCES);
    }
}

impl Transform for Blur {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if rng.chance(self.p) {
            blur::gaussian(&mut scene.image, self.kernel, self.sigma.draw(rng));
        }
    }
}
