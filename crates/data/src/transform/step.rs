//! The closed set of steps, and their names.

use super::augmix::AugMix;
use super::auto_augment::AutoAugment;
use super::crop::{CenterCrop, Pad, RandomCrop, RandomResizedCrop, Resize};
use super::erase::RandomErasing;
use super::flip::{Flip, VerticalFlip};
use super::rand_augment::{RandAugment, TrivialAugmentWide};
use super::recolor::{Blur, ColorChange, ColorJitter, Recolor};
use super::text::{self, Arguments, LEVELS, SIDES, Written};
use super::turn::{Affine, Perspective, Rotate};
use super::view::{Place, Placement};
use super::warp::Border;
use super::{Scene, Transform};
use crate::Result;
use crate::order::SampleRng;
use crate::resize::Filter;

/// A step that can be written as text.
pub(super) trait Described: Transform {
    /// Lists its arguments, to be read or written.
    fn arguments(&mut self, a: &mut Arguments<'_>);
}

/// One step of a [`Pipeline`](super::Pipeline). Its text is the name of the kind with arguments: `resize(256)`, `flip`, `rotate(15, p=0.3)`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each variant holds what its own page describes")]
pub enum Step {
    Resize(Resize),
    CenterCrop(CenterCrop),
    RandomResizedCrop(RandomResizedCrop),
    RandomCrop(RandomCrop),
    Pad(Pad),
    Flip(Flip),
    VerticalFlip(VerticalFlip),
    Rotate(Rotate),
    Affine(Affine),
    Perspective(Perspective),
    ColorJitter(ColorJitter),
    Recolor(Recolor),
    Blur(Blur),
    RandomErasing(RandomErasing),
    RandAugment(RandAugment),
    TrivialAugmentWide(TrivialAugmentWide),
    AutoAugment(AutoAugment),
    AugMix(AugMix),
}

/// One argument of a step, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// As it is written: `scale` in `scale=0.35..1`.
    pub name: &'static str,
    /// Its value where it is not given, empty for one that is absent then; `None` when it has to be given.
    pub default: Option<String>,
    /// What it may be, in words.
    pub may_be: String,
}

/// Makes a step of one kind.
type Usual = fn() -> Step;

/// Every step by its name, with the arguments it has when none are given. Arguments that have to be given are whatever.
const KINDS: [(&str, Usual); 28] = [
    ("resize", || Step::Resize(Resize::default())),
    ("center_crop", || Step::CenterCrop(CenterCrop::default())),
    ("random_resized_crop", || Step::RandomResizedCrop(RandomResizedCrop::default())),
    ("random_crop", || Step::RandomCrop(RandomCrop::default())),
    ("pad", || Step::Pad(Pad::default())),
    ("flip", || Step::Flip(Flip::default())),
    ("vflip", || Step::VerticalFlip(VerticalFlip::default())),
    ("rotate", || Step::Rotate(Rotate::default())),
    ("affine", || Step::Affine(Affine::default())),
    ("perspective", || Step::Perspective(Perspective::default())),
    ("color_jitter", || Step::ColorJitter(ColorJitter::default())),
    ("brightness", || Step::Recolor(Recolor::usual(ColorChange::Brightness(1.0)))),
    ("contrast", || Step::Recolor(Recolor::usual(ColorChange::Contrast(1.0)))),
    ("saturation", || Step::Recolor(Recolor::usual(ColorChange::Saturation(1.0)))),
    ("hue", || Step::Recolor(Recolor::usual(ColorChange::Hue(0.0)))),
    ("grayscale", || Step::Recolor(Recolor::usual(ColorChange::Grayscale))),
    ("blur", || Step::Blur(Blur::default())),
    ("invert", || Step::Recolor(Recolor::usual(ColorChange::Invert))),
    ("solarize", || Step::Recolor(Recolor::usual(ColorChange::Solarize(128.0)))),
    ("posterize", || Step::Recolor(Recolor::usual(ColorChange::Posterize(8)))),
    ("equalize", || Step::Recolor(Recolor::usual(ColorChange::Equalize))),
    ("autocontrast", || Step::Recolor(Recolor::usual(ColorChange::AutoContrast))),
    ("sharpness", || Step::Recolor(Recolor::usual(ColorChange::Sharpness(1.0)))),
    ("random_erasing", || Step::RandomErasing(RandomErasing::default())),
    ("rand_augment", || Step::RandAugment(RandAugment::default())),
    ("trivial_augment_wide", || Step::TrivialAugmentWide(TrivialAugmentWide::default())),
    ("auto_augment", || Step::AutoAugment(AutoAugment::default())),
    ("augmix", || Step::AugMix(AugMix::default())),
];

impl Step {
    /// The names of all steps.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        KINDS.iter().map(|(name, _)| *name)
    }

    /// What the step called `name` takes, in order; `None` when there is no such step.
    #[must_use]
    pub fn arguments_of(name: &str) -> Option<Vec<Argument>> {
        let (_, usual) = KINDS.iter().find(|(known, _)| *known == name)?;
        let mut arguments = Arguments::writer();
        usual().described().arguments(&mut arguments);
        let argument = |written: Written| Argument {
            name: written.name,
            default: (!written.needed).then_some(written.text),
            may_be: written.says,
        };
        Some(arguments.written().into_iter().map(argument).collect())
    }

    /// The name of its kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resize(_) => "resize",
            Self::CenterCrop(_) => "center_crop",
            Self::RandomResizedCrop(_) => "random_resized_crop",
            Self::RandomCrop(_) => "random_crop",
            Self::Pad(_) => "pad",
            Self::Flip(_) => "flip",
            Self::VerticalFlip(_) => "vflip",
            Self::Rotate(_) => "rotate",
            Self::Affine(_) => "affine",
            Self::Perspective(_) => "perspective",
            Self::ColorJitter(_) => "color_jitter",
            Self::Recolor(recolor) => recolor.name(),
            Self::Blur(_) => "blur",
            Self::RandomErasing(_) => "random_erasing",
            Self::RandAugment(_) => "rand_augment",
            Self::TrivialAugmentWide(_) => "trivial_augment_wide",
            Self::AutoAugment(_) => "auto_augment",
            Self::AugMix(_) => "augmix",
        }
    }

    fn described(&mut self) -> &mut dyn Described {
        match self {
            Self::Resize(step) => step,
            Self::CenterCrop(step) => step,
            Self::RandomResizedCrop(step) => step,
            Self::RandomCrop(step) => step,
            Self::Pad(step) => step,
            Self::Flip(step) => step,
            Self::VerticalFlip(step) => step,
            Self::Rotate(step) => step,
            Self::Affine(step) => step,
            Self::Perspective(step) => step,
            Self::ColorJitter(step) => step,
            Self::Recolor(step) => step,
            Self::Blur(step) => step,
            Self::RandomErasing(step) => step,
            Self::RandAugment(step) => step,
            Self::TrivialAugmentWide(step) => step,
            Self::AutoAugment(step) => step,
            Self::AugMix(step) => step,
        }
    }

    /// What it does to a picture of this size, if that is known before there are pixels.
    pub(super) fn placement(&self, width: u32, height: u32, rng: &mut SampleRng) -> Option<Placement> {
        let step: &dyn Place = match self {
            Self::Resize(step) => step,
            Self::CenterCrop(step) => step,
            Self::RandomResizedCrop(step) => step,
            Self::RandomCrop(step) => step,
            Self::Pad(step) => step,
            Self::Flip(step) => step,
            _ => return None,
        };
        Some(step.place(width, height, rng))
    }
}

impl Transform for Step {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        let mut step = *self;
        step.described().apply(scene, rng);
    }
}

impl std::str::FromStr for Step {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, mut arguments) = text::call(text)?;
        let Some((_, usual)) = KINDS.iter().find(|(known, _)| *known == name) else {
            let suggestion = text::suggest(name, Self::names());
            return Err(text::refuse(format!("there is no step `{name}`{suggestion}")));
        };
        let mut step = usual();
        step.described().arguments(&mut arguments);
        arguments.finish()?;
        Ok(step)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = |mut step: Self| {
            let mut arguments = Arguments::writer();
            step.described().arguments(&mut arguments);
            arguments.written()
        };
        let usual = KINDS.iter().find(|(known, _)| *known == self.name()).map_or(*self, |(_, usual)| usual());
        text::write(f, self.name(), &written(*self), &written(usual))
    }
}

/// Arguments that several steps have.
impl Arguments<'_> {
    /// `size` for a square, `size` and `width` for height and width.
    pub(super) fn size(&mut self, height: &mut u32, width: &mut u32) {
        let mut wider = (width != height).then_some(*width);
        self.needed().count("size", height, SIDES);
        self.maybe_count("width", &mut wider, SIDES);
        *width = wider.unwrap_or(*height);
    }

    pub(super) fn filter(&mut self, filter: &mut Filter) {
        let words = [
            ("nearest", Filter::Nearest),
            ("bilinear", Filter::Bilinear),
            ("bicubic", Filter::Bicubic),
            ("lanczos", Filter::Lanczos),
        ];
        self.choice("filter", filter, &words);
    }

    /// A filter for moving pixels without changing their size.
    pub(super) fn warp_filter(&mut self, filter: &mut Filter) {
        let words =
            [("nearest", Filter::Nearest), ("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic)];
        self.choice("filter", filter, &words);
    }

    pub(super) fn fill(&mut self, fill: &mut u8) {
        let mut level = u32::from(*fill);
        self.count("fill", &mut level, LEVELS);
        *fill = level.min(255) as u8;
    }

    /// `mode` and `fill`.
    pub(super) fn border(&mut self, border: &mut Border) {
        let (mut mode, mut fill) = match *border {
            Border::Fill(value) => ("constant", value),
            Border::Reflect => ("reflect", 0),
            Border::Edge => ("edge", 0),
        };
        let words = ["constant", "reflect", "edge"].map(|word| (word, word));
        self.choice("mode", &mut mode, &words);
        self.fill(&mut fill);
        *border = match mode {
            "reflect" => Border::Reflect,
            "edge" => Border::Edge,
            _ => Border::Fill(fill),
        };
    }
}
