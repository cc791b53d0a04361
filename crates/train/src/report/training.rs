//! How the run went, epoch by epoch.

use super::EpochRow;
use super::chart::{Chart, Form, Mark, Series};
use super::html::{duration, percent, rate};
use super::ticks::Axis;
use crate::plan::thousands;

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
        form: Form::Lines,
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
        form: Form::Lines,
        series: vec![
            Series { name: "train", class: "train", points: column(|row| 100.0 * row.train_accuracy) },
            Series { name: watched, class: "valid", points: column(|row| 100.0 * row.valid_accuracy) },
        ],
        mark: mark(|row| 100.0 * row.valid_accuracy),
        small: false,
    };
    let small = |title, y_label, value| Chart {
        title,
        y_label,
        axis: Axis::FromZero,
        form: Form::Lines,
        series: vec![Series { name: title, class: "plain", points: column(value) }],
        mark: None,
        small: true,
    };
    let learning_rate = small("Learning rate", "rate at epoch end", |row| row.learning_rate);
    let speed = small("Speed", "training images a second", |row| row.images_per_second);
    let time = Chart {
        title: "Time",
        y_label: "seconds of training an epoch",
        axis: Axis::FromZero,
        form: Form::Stack,
        series: vec![
            Series {
                name: "computing",
                class: "computing",
                points: column(|row| row.seconds - waiting(row)),
            },
            Series { name: "waiting", class: "waiting", points: column(waiting) },
        ],
        mark: None,
        small: true,
    };
    format!(
        "<section>\n<h2>Training</h2>\n<p class=\"note\">{}</p>\n{}<div class=\"pair\">\n{}{}</div>\n\
         <div class=\"triple\">\n{}{}{}</div>\n</section>\n",
        note(epochs, best, watched),
        left_out(epochs),
        loss.to_svg(),
        accuracy.to_svg(),
        learning_rate.to_svg(),
        speed.to_svg(),
        time.to_svg(),
    )
}

/// Seconds of an epoch in which training waited for batches.
fn waiting(row: &EpochRow) -> f64 {
    row.seconds * row.waiting_share
}

/// What is said of batches of which nothing was learned, where there were any.
fn left_out(epochs: &[EpochRow]) -> String {
    let with: Vec<&EpochRow> = epochs.iter().filter(|row| row.left_out > 0).collect();
    let Some(first) = with.first() else { return String::new() };
    let batches = with.iter().fold(0, |sum: u64, row| sum.saturating_add(row.left_out));
    let noun = if batches == 1 { "batch" } else { "batches" };
    let most = with.iter().fold(first, |most, row| if row.left_out > most.left_out { row } else { most });
    let place = match with.len() {
        1 => format!("in epoch {}", first.epoch),
        epochs => format!("in {epochs} epochs, most of them ({}) in epoch {}", most.left_out, most.epoch),
    };
    format!(
        "<p class=\"note missing\">Nothing was learned of {} {noun}, {place}, since the loss, a gradient or a weight was not \
         finite; left_out.txt in the run folder lists their images.</p>\n",
        thousands(batches)
    )
}

fn note(epochs: &[EpochRow], best: Option<&EpochRow>, watched: &str) -> String {
    let number = epochs.len();
    let mut seconds: Vec<f64> = epochs.iter().map(|row| row.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut note = if number == 1 {
        format!("1 epoch, {} of training", duration(seconds[0]))
    } else {
        format!("{number} epochs, median {} of training each", duration(seconds[number / 2]))
    };
    let waited = epochs.iter().map(waiting).sum::<f64>() / seconds.iter().sum::<f64>();
    note +=
        &if waited.is_finite() { format!(", {} of it waiting for data.", rate(waited)) } else { ".".into() };
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

    #[test]
    fn time_is_split_and_batches_that_were_left_out_are_told() {
        let row = |epoch, left_out| EpochRow {
            epoch,
            seconds: 10.0,
            waiting_share: 0.25,
            left_out,
            ..EpochRow::default()
        };
        let page = section(&[row(1, 0), row(2, 0)], "validation");
        assert!(page.contains("25\u{A0}% of it waiting for data"));
        assert!(page.contains("computing 7.500, waiting 2.500"));
        assert!(!page.contains("Nothing was learned"));
        let page = section(&[row(1, 0), row(2, 1)], "validation");
        assert!(page.contains("Nothing was learned of 1 batch, in epoch 2,"));
        let page = section(&[row(1, 1), row(2, 4)], "validation");
        assert!(page.contains("of 5 batches, in 2 epochs, most of them (4) in epoch 2,"));
    }
}
