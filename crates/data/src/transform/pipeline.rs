//! Steps in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::draw::Draws;
use super::step::Step;
use super::view::View;
use super::{Scene, Transform, text};
use crate::order::SampleRng;
use crate::{Error, Result};

/// Steps in order, as text: `random_resized_crop(224, scale=0.35..1)|flip|rand_augment(2, 9)`.
///
/// Arguments come in the order of the step's fields, or by name. A range is `low..high`. `Pipeline::default()` has no steps.
///
/// Each step draws from a stream of its own, keyed by its kind and by how many of that kind come before it: adding, removing or
/// moving a step does not move the draws of the others.
///
/// ```
/// use pyrograph_data::transform::{Draws, Pipeline, Scene};
/// use pyrograph_data::Image;
///
/// let pipeline: Pipeline = "resize(8)|center_crop(6)|flip(p=1)".parse()?;
/// let mut scene = Scene::from(Image::new(16, 12, 3, vec![100; 576]));
/// pipeline.apply(&mut scene, &Draws { seed: 0, epoch: 0, index: 0 });
/// assert_eq!(scene.size(), (6, 6));
/// # Ok::<(), pyrograph_data::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pipeline {
    steps: Vec<Step>,
}

/// The most steps of a pipeline.
const MOST_STEPS: usize = 64;

impl Pipeline {
    /// The pipeline of these steps.
    ///
    /// # Errors
    ///
    /// When an argument of a step is out of its range, or there are more than 64 steps.
    pub fn new(steps: &[Step]) -> Result<Self> {
        // Reading checks every range: the text is the one place where they are said.
        Self { steps: steps.to_vec() }.to_string().parse()
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does all steps to a scene.
    pub fn apply(&self, scene: &mut Scene, draws: &Draws) {
        self.apply_from(0, scene, draws);
    }

    /// Does the steps from number `first_step` on, counted from 0: the rest after [`Pipeline::view`].
    pub fn apply_from(&self, first_step: usize, scene: &mut Scene, draws: &Draws) {
        // A picture of no pixels has nothing to change, and nothing to sample.
        if scene.image.pixels().is_empty() {
            return;
        }
        for number in first_step..self.steps.len() {
            self.steps[number].apply(scene, &mut self.stream(number, draws));
        }
    }

    /// The part of a picture of `width` x `height` pixels that the leading steps come to, and how many steps these are; `None` when
    /// the first step is none that resizes, crops or mirrors, or adds pixels around the picture.
    ///
    /// The rest is [`Pipeline::apply_from`] that number. Both together are within one level of [`Pipeline::apply`].
    #[must_use]
    pub fn view(&self, width: u32, height: u32, draws: &Draws) -> Option<(View, usize)> {
        if width == 0 || height == 0 {
            return None;
        }
        let mut view = View::whole(width, height);
        let mut covered = 0;
        for (number, step) in self.steps.iter().enumerate() {
            let mut stream = self.stream(number, draws);
            let placement = step.placement(view.out_width, view.out_height, &mut stream);
            let Some(next) = placement.and_then(|placement| view.then(&placement)) else { break };
            view = next;
            covered = number + 1;
        }
        (covered > 0).then_some((view, covered))
    }

    /// The random numbers of a step.
    fn stream(&self, number: usize, draws: &Draws) -> SampleRng {
        let name = self.steps[number].name();
        let before = self.steps[..number].iter().filter(|step| step.name() == name).count();
        // FNV-1a of the name: a number that stays when kinds are added.
        let kind = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        SampleRng::new(draws.seed, draws.epoch, draws.index, kind.wrapping_add(before as u64))
    }
}

impl FromStr for Pipeline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let steps: Vec<&str> = text.split('|').collect();
        if steps.len() > MOST_STEPS {
            let problem = format!("a pipeline of {} steps; at most {MOST_STEPS} are allowed", steps.len());
            return Err(text::refuse(problem));
        }
        if steps.iter().any(|step| step.trim().is_empty()) {
            return Err(text::refuse(format!("`{text}`: a step is missing beside a `|`; remove the `|`")));
        }
        let steps = steps.into_iter().map(str::parse).collect::<Result<_>>()?;
        Ok(Self { steps })
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if number == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

impl Serialize for Pipeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pipeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
