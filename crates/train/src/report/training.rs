//! How the run went, epoch by epoch.

use super::EpochRow;
use super::chart::{Chart, Mark, Series};
use super::html::{duration, percent};
use super::ticks::Axis;

/// The section of the page: loss, accuracy, and what the run cost.
pub(super) fn section(epochs: &[EpochRow], watched: &str) -> String {
    let watched = if watched == "test" { "test" } else { "validation" };
    if epochs.is_empty() {
        return "<section>\n<h2>Training</h2>\n<p>No epoch was completed.</p>\n</section>\n".into();
    }
    let column = |value: fn(&EpochRow) -> f64| -> Vec<(f64, f64)> {
        epochs.iter().map(|row| (row.epoch as f64, value(row))).collect()
    };
    let best = best_epoch(epochs);
    let mark = |value: fn(&EpochRow) -> f64| best.map(|row| Mark { x: row.epoch as f64, y: value(row) });
    let loss = Chart {
        title: "Loss",
        y_label: "cross-entropy, nats",
        axis: Axis::FromZero,
        series: vec![
            Series { name: "train", class: "train", points: column(|row| row.train_loss) },
            Series { name: watched, class: "valid", points: column(|row| row.valid_loss) },
        ],
        mark: mark(|row| row.valid_loss),
        small: false,
    };
    let accuracy = Chart {
        title: "Accuracy",
        y_label: "images right, %",
        axis: Axis::Percent,
        series: vec![
            Series { name: "train", class: "train", points: column(|row| 100.0 * row.train_accuracy) },
            Series { name: watched, class: "valid", points: column(|row| 100.0 * row.valid_accuracy) },
        ],
        mark: mark(|row| 100.0 * row.valid_accuracy),
        small: false,
    };
    let small = |title, y_label, axis, value| Chart {
        title,
        y_label,
        axis,
        series: vec![Series { name: title, class: "plain", points: column(value) }],
        mark: None,
        small: true,
    };
    let learning_rate = small("Learning rate", "rate at epoch end", Axis::FromZero, |row| row.learning_rate);
    let speed = small("Speed", "training images a second", Axis::FromZero, |row| row.images_per_second);
    let waiting =
        small("Waiting for data", "of training time, %", Axis::FromZero, |row| 100.0 * row.waiting_share);
    format!(
        "<section>\n<h2>Training</h2>\n<p class=\"note\">{}</p>\n<div class=\"pair\">\n{}{}</div>\n\
         <div class=\"triple\">\n{}{}{}</div>\n</section>\n",
        note(epochs, best, watched),
        loss.to_svg(),
        accuracy.to_svg(),
        learning_rate.to_svg(),
        speed.to_svg(),
        waiting.to_svg(),
    )
}

fn note(epochs: &[EpochRow], best: Option<&EpochRow>, watched: &str) -> String {
    let count = epochs.len();
    let mut seconds: Vec<f64> = epochs.iter().map(|row| row.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut note = if count == 1 {
        format!("1 epoch, {} of training.", duration(seconds[0]))
    } else {
        format!("{count} epochs, median {} of training each.", duration(seconds[count / 2]))
    };
    if let Some(row) = best {
        note += &format!(
            " Best {watched} accuracy {} at epoch {} (ringed).",
            percent(row.valid_accuracy),
            row.epoch
        );
    }
    note + " Training values are averages while the epoch runs, on images as augmented; the others are \
            measured after it."
}

/// The first epoch with the highest validation accuracy; none where no accuracy is finite.
fn best_epoch(epochs: &[EpochRow]) -> Option<&EpochRow> {
    let mut best: Option<&EpochRow> = None;
    for row in epochs.iter().filter(|row| row.valid_accuracy.is_finite()) {
        if best.is_none_or(|so_far| row.valid_accuracy > so_far.valid_accuracy) {
            best = Some(row);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_epoch_is_the_first_of_equals() {
        let row = |epoch, valid_accuracy| EpochRow { epoch, valid_accuracy, ..EpochRow::default() };
        let rows = [row(1, 0.2), row(2, f64::NAN), row(3, 0.9), row(4, 0.9)];
        assert_eq!(best_epoch(&rows).map(|row| row.epoch), Some(3));
    }

    #[test]
    fn values_that_are_not_finite_leave_the_rest_standing() {
        let nan = f64::NAN;
        let row =
            EpochRow { epoch: 1, train_loss: nan, valid_accuracy: nan, seconds: nan, ..EpochRow::default() };
        let page = section(&[row], "validation");
        assert!(!page.contains("NaN") && !page.contains("ringed"));
        assert!(page.contains("1 value not finite"));
    }
}
