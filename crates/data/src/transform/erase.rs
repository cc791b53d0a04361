//! Parts taken away.

use super::draw::{Span, up_to};
use super::step::Described;
use super::text::{Arguments, CHANCES};
use super::{Scene, Transform};
use crate::order::SampleRng;

/// Covers a random rectangle of the picture; what is marked on it stays (Zhong et al., "Random erasing data augmentation", 2020).
/// torchvision's `RandomErasing`, but with values 0 to 255, since the picture is not normalized yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomErasing {
    /// The probability.
    pub p: f32,
    /// The rectangle's area as a part of the picture's.
    pub scale: Span,
    /// The rectangle's height divided by its width.
    pub ratio: Span,
    /// The value it is covered with; `None` for a random one in each channel of each pixel.
    pub value: Option<u8>,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { p: 0.5, scale: Span::new(0.02, 0.33), ratio: Span::new(0.3, 3.3), value: Some(0) }
    }
}

impl Described for RandomErasing {
    fn arguments(&mut self, a: &mut Arguments<'_>) {
        a.number("p", &mut self.p, CHANCES);
        a.span("scale", &mut self.scale, 0.0..=1.0);
        a.span("ratio", &mut self.ratio, 0.01..=100.0);
        let read = |text: &str| match text {
            "random" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let write = |value: &Option<u8>| value.map_or("random".to_owned(), |v| v.to_string());
        a.argument("value", &mut self.value, "a whole number from 0 to 255, or `random`", read, write);
    }
}

/// Rectangles that are tried.
const TRIES: usize = 10;

impl Transform for RandomErasing {
    fn apply(&self, scene: &mut Scene, rng: &mut SampleRng) {
        if !rng.chance(self.p) {
            return;
        }
        let (width, height) = scene.size();
        let Some(([left, top], [w, h])) = self.rectangle(width, height, rng) else { return };
        let channels = usize::from(scene.image.channels());
        let stride = width as usize * channels;
        let rows = scene.image.pixels_mut().chunks_exact_mut(stride).skip(top as usize).take(h as usize);
        for row in rows {
            let covered = &mut row[left as usize * channels..][..w as usize * channels];
            match self.value {
                Some(value) => covered.fill(value),
                None => covered.chunks_mut(8).for_each(|chunk| {
                    let random = rng.next_u64().to_le_bytes();
                    chunk.copy_from_slice(&random[..chunk.len()]);
                }),
            }
        }
    }
}

impl RandomErasing {
    /// The rectangle's corner (left, top) and size (width, height); `None` when none that was tried is smaller than the picture.
    fn rectangle(&self, width: u32, height: u32, rng: &mut SampleRng) -> Option<([u32; 2], [u32; 2])> {
        for _ in 0..TRIES {
            let area = f64::from(width) * f64::from(height) * self.scale.draw(rng);
            let ratio = self.ratio.draw_ratio(rng);
            let [h, w] = [(area * ratio).sqrt(), (area / ratio).sqrt()].map(f64::round_ties_even);
            if h < f64::from(height) && w < f64::from(width) {
                let (h, w) = (h as u32, w as u32);
                let top = up_to(rng, height - h);
                return Some(([up_to(rng, width - w), top], [w, h]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;

    #[test]
    fn a_rectangle_of_the_area_asked_for_is_covered() {
        let step = RandomErasing { p: 1.0, value: Some(255), ..RandomErasing::default() };
        let mut mean = 0.0;
        for n in 0..500 {
            let mut scene = Scene::from(Image::new(40, 30, 3, vec![0; 3600]));
            step.apply(&mut scene, &mut SampleRng::new(0, 0, n, 0));
            let covered = scene.image.pixels().iter().filter(|&&v| v == 255).count() as f64 / 3600.0;
            assert!((0.01..0.36).contains(&covered), "{covered}");
            mean += covered / 500.0;
        }
        // (0.02 + 0.33) / 2
        assert!((mean - 0.175).abs() < 0.02, "{mean}");
    }

    #[test]
    fn noise_has_many_values() {
        let step = RandomErasing { p: 1.0, value: None, ..RandomErasing::default() };
        let mut scene = Scene::from(Image::new(64, 64, 1, vec![0; 4096]));
        step.apply(&mut scene, &mut SampleRng::new(0, 0, 1, 0));
        let values: std::collections::HashSet<u8> = scene.image.pixels().iter().copied().collect();
        assert!(values.len() > 40, "{}", values.len());
    }
}
