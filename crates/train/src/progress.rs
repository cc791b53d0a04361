//! A plain progress bar as a Burn metrics renderer.

use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// One bar for the part of the epoch that is under way, with rate and time left, on standard error. Where that is
/// no terminal nothing is drawn.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    epoch: usize,
    epochs: usize,
    visible: bool,
}

/// A bar over `total` images, labelled `label`, on standard error where that is a terminal.
#[must_use]
pub fn image_bar(label: String, total: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(10));
    // Fits 80 columns with the longest message; the bar gives way.
    bar.set_style(style("{prefix} {wide_bar:.cyan/dim} {pos}/{len} {rate} {eta} left {msg}"));
    bar.set_prefix(label);
    bar
}

/// A count of images whose number nobody knows yet.
#[must_use]
pub fn counting_bar(label: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style("{prefix} {pos} images {rate}"));
    bar.set_prefix(label);
    bar
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants: a mistake in one shows in the first run.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━━ ").with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    })
}

impl Progress {
    /// Bars from epoch `first_epoch` on, counted from 1, if `visible`.
    pub(crate) fn new(visible: bool, first_epoch: usize) -> Self {
        Self { bar: ProgressBar::hidden(), epoch: first_epoch, epochs: 1, visible }
    }
}

impl TrainingProgressLogger for Progress {
    fn start(&mut self, epochs: usize, _: usize, _: Option<usize>, _: Option<&str>) {
        self.epochs = epochs;
    }

    fn start_split(&mut self, split: &str, total: usize) {
        self.bar.finish_and_clear();
        if self.visible {
            self.bar = image_bar(format!("epoch {}/{} {split}", self.epoch, self.epochs), total);
        }
    }

    fn update_split(&mut self, done: usize) {
        self.bar.set_position(done as u64);
    }

    fn end_split(&mut self) {
        self.bar.finish_and_clear();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererTraining for Progress {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(entry, _) = state {
            self.bar.set_message(format!("accuracy {}", entry.serialized_entry.formatted));
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update_train(state);
    }

    fn on_train_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn core::error::Error>> {
        Ok(())
    }
}

impl MetricsRenderer for Progress {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}

// The learner asks for both halves of the trait; evaluations have a bar of their own.
impl EvaluationProgressLogger for Progress {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Progress {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}
