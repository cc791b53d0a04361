//! The page of a run, and the page that shows several side by side: HTML files that need nothing but a browser.
//!
//! [`Report`] is plain data and [`Report::to_html`] a pure function of it, as [`compare`] is of runs. A page carries its style, its
//! plots (inline SVG) and its pictures (data addresses) within itself, runs no script and loads nothing.

mod bars;
mod chart;
mod comparison;
mod confusion;
mod html;
mod mistakes;
mod ticks;
mod training;

use serde::{Deserialize, Deserializer, Serialize};

pub use comparison::compare;

use html::{escape, page, percent, significant};

use crate::plan::thousands;

/// All that the page of a run shows.
#[derive(Debug, Clone)]
pub struct Report {
    /// The heading, such as the recipe's name.
    pub title: String,
    /// Name and value of what describes the run: model, parameters, data, device, seed, time.
    pub facts: Vec<(String, String)>,
    /// The epochs in order.
    pub epochs: Vec<EpochRow>,
    /// The part of the data measured after each epoch: `validation`, or `test` where no other part was set apart.
    pub watched: String,
    /// The part of the data behind `accuracy` and `confusion`: `test` or `validation`.
    pub final_name: String,
    /// The name of each class.
    pub class_names: Vec<String>,
    /// Pictures counted by truth (row) and prediction (column), `[classes, classes]` row by row.
    pub confusion: Vec<u64>,
    /// Share of pictures whose first guess is right, `0..=1`.
    pub accuracy: f64,
    /// Share of pictures with the truth among the first five guesses, `0..=1`.
    pub top5: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Wrongly classified pictures, the most confident first.
    pub mistakes: Vec<MistakePicture>,
    /// The resolved recipe as TOML.
    pub recipe: String,
}

/// What one epoch measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Counted from 1.
    pub epoch: usize,
    /// The learning rate of the epoch's last step.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// Mean loss over the training pictures as the epoch went, in nats.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Accuracy over the training pictures as the epoch went, `0..=1`.
    #[serde(deserialize_with = "number")]
    pub train_accuracy: f64,
    /// Mean loss over the validation pictures after the epoch, in nats.
    #[serde(deserialize_with = "number")]
    pub valid_loss: f64,
    /// Accuracy over the validation pictures after the epoch, `0..=1`.
    #[serde(deserialize_with = "number")]
    pub valid_accuracy: f64,
    /// Share of validation pictures with the truth among the first five guesses, `0..=1`.
    #[serde(deserialize_with = "number")]
    pub valid_top5: f64,
    /// Duration of the epoch's training without its validation, in seconds.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Training pictures a second of that duration.
    #[serde(deserialize_with = "number")]
    pub images_per_second: f64,
    /// Share of that duration spent waiting for batches, `0..=1`.
    #[serde(deserialize_with = "number")]
    pub waiting_share: f64,
    /// Training images that could not be read, for which others stood in.
    #[serde(default)]
    pub bad_images: usize,
    /// Batches of which nothing was learned, since the loss or a gradient was not finite.
    #[serde(default)]
    pub left_out: u64,
}

/// JSON has no numbers that are not finite; `null` stands for them.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A wrongly classified picture.
#[derive(Debug, Clone)]
pub struct MistakePicture {
    /// The picture as a PNG file.
    pub png: Vec<u8>,
    /// Which picture it is, such as its path in the data set.
    pub key: String,
    /// Name of the true class.
    pub truth: String,
    /// Name of the predicted class.
    pub predicted: String,
    /// Probability given to the prediction, `0..=1`.
    pub confidence: f64,
}

impl Report {
    /// The whole page. Text from outside is escaped; values that are not finite show as a dash.
    pub fn to_html(&self) -> String {
        let body = [
            self.headline(),
            training::section(&self.epochs, &self.watched),
            confusion::section(&self.class_names, &self.confusion, &self.final_name),
            mistakes::section(&self.mistakes, &self.final_name),
            self.recipe_text(),
        ]
        .concat();
        page(&self.title, &body)
    }

    fn headline(&self) -> String {
        let pictures: u64 = self.confusion.iter().fold(0, |sum, n| sum.saturating_add(*n));
        let mut beside = Vec::new();
        if pictures > 0 {
            beside.push(format!("{} images", thousands(pictures)));
            if let Some((low, high)) = wilson(self.accuracy, pictures) {
                beside.push(format!(
                    "<span title=\"Wilson interval: chance in the choice of images only, not in training\">\
                     95 % interval {:.2}–{:.2} %</span>",
                    100.0 * low,
                    100.0 * high
                ));
            }
        }
        // Among five classes or fewer the truth is always among five guesses.
        if self.class_names.len() > 5 {
            beside.push(format!("top-5 {}", percent(self.top5)));
        }
        beside.push(format!("loss {}", significant(self.loss)));
        let chosen = if self.final_name == self.watched && self.epochs.len() > 1 {
            "<p class=\"note\">The epoch kept was chosen on these same images, so the accuracy on new ones is \
             likely to be a little lower.</p>\n"
        } else {
            ""
        };
        let facts: String = self
            .facts
            .iter()
            .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value)))
            .collect();
        let facts = if facts.is_empty() { facts } else { format!("<dl class=\"facts\">{facts}</dl>\n") };
        format!(
            "<header>\n<h1>{}</h1>\n<p class=\"score\"><strong>{}</strong> <span>{} accuracy</span></p>\n\
             <p class=\"beside\"><span>{}</span></p>\n{chosen}{facts}</header>\n",
            escape(&self.title),
            percent(self.accuracy),
            escape(&self.final_name),
            beside.join("</span> · <span>"),
        )
    }

    fn recipe_text(&self) -> String {
        if self.recipe.is_empty() {
            return String::new();
        }
        format!("<section>\n<h2>Recipe</h2>\n<pre>{}</pre>\n</section>\n", escape(&self.recipe))
    }
}

/// The 95 % interval of a share measured on `n` pictures (Wilson, JASA 22, 1927).
fn wilson(share: f64, n: u64) -> Option<(f64, f64)> {
    if !(0.0..=1.0).contains(&share) || n == 0 {
        return None;
    }
    let (n, z) = (n as f64, 1.96_f64);
    let scale = 1.0 + z * z / n;
    let middle = (share + z * z / (2.0 * n)) / scale;
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            title: "A <script>alert(1)</script> run".into(),
            facts: vec![("model".into(), "ResNet-18 \"<b>\"".into())],
            epochs: vec![EpochRow { epoch: 1, valid_accuracy: 0.5, valid_loss: 0.7, ..EpochRow::default() }],
            watched: "validation".into(),
            final_name: "test".into(),
            class_names: vec!["cat".into(), "<script>dog".into()],
            confusion: vec![3, 1, 0, 4],
            accuracy: 0.875,
            top5: 1.0,
            loss: 0.25,
            mistakes: vec![MistakePicture {
                png: vec![1, 2, 3],
                key: "a\"><script>.png".into(),
                truth: "cat".into(),
                predicted: "<script>dog".into(),
                confidence: 0.987,
            }],
            recipe: "name = \"<script>\"".into(),
        }
    }

    #[test]
    fn text_from_outside_is_escaped_everywhere() {
        let page = report().to_html();
        assert!(!page.contains("<script"));
        assert!(!page.contains("a\">"));
        assert!(page.contains("<bdi>&lt;script&gt;dog</bdi> <span>98\u{A0}%</span>"));
    }

    #[test]
    fn page_loads_nothing() {
        let page = report().to_html();
        for way in ["http:", "https:", "//", "<link", "@import", "url("] {
            assert!(!page.contains(way), "{way}");
        }
    }

    #[test]
    fn headline_shows_the_measured_accuracy() {
        let page = report().to_html();
        assert!(page.contains("<strong>87.50\u{A0}%</strong> <span>test accuracy</span>"));
        assert!(page.contains("8 images"));
        assert!(!page.contains("top-5"), "with two classes the top five say nothing");
    }

    #[test]
    fn validation_as_final_set_is_named_as_chosen_on() {
        let mut report = report();
        report.final_name = "validation".into();
        report.epochs.push(EpochRow { epoch: 2, ..EpochRow::default() });
        assert!(report.to_html().contains("chosen on these same images"));
    }

    #[test]
    fn nothing_measured_still_makes_a_page() {
        let page = Report {
            epochs: Vec::new(),
            class_names: Vec::new(),
            confusion: Vec::new(),
            accuracy: f64::NAN,
            loss: f64::INFINITY,
            mistakes: Vec::new(),
            ..report()
        }
        .to_html();
        assert!(page.contains("No mistakes to show") && page.contains("No epoch was completed"));
        assert!(!page.contains("NaN") && !page.contains(">inf"));
    }

    #[test]
    fn interval_follows_wilson() {
        let (low, high) = wilson(0.9, 100).unwrap();
        assert!((low - 0.8256).abs() < 1e-4 && (high - 0.9448).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(f64::NAN, 10), None);
        assert_eq!(wilson(1.0, 10).unwrap().1, 1.0);
    }
}
