//! What a run says of itself while it trains.

use std::fs::OpenOptions;
use std::io::Write;

use crate::callback::{Callback, EpochEnd, LeftOut};
use crate::{EpochRow, Error, Result, RunFolder};

/// Prints a line an epoch, and keeps a list of batches that were left out.
pub(crate) struct Teller {
    folder: RunFolder,
    epochs: usize,
    verbose: bool,
}

impl Teller {
    pub(crate) fn new(folder: &RunFolder, epochs: usize, verbose: bool) -> Self {
        Self { folder: folder.clone(), epochs, verbose }
    }
}

impl Callback for Teller {
    fn left_out(&mut self, batch: &LeftOut) -> Result<()> {
        let LeftOut { epoch, batch: number, what, images, rolled_back } = batch;
        let path = self.folder.left_out();
        let line = format!("epoch {epoch}, batch {number}: {what} is not finite: {}\n", images.join(", "));
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| Error::Checkpoint { path: path.clone(), source })?;
        if self.verbose {
            let then = if *rolled_back { "; weights go back to the last checkpoint" } else { "" };
            print_line(&format!(
                "  epoch {epoch}, batch {number}: {what} is not finite, nothing is learned of it{then}; its images: {}",
                path.display()
            ));
        }
        Ok(())
    }

    fn epoch_end(&mut self, epoch: &EpochEnd<'_>) -> Result<()> {
        if !self.verbose {
            return Ok(());
        }
        print_line(&told(epoch.row, self.epochs, epoch.is_best));
        if let Some(first) = epoch.bad_images.first() {
            print_line(&format!(
                "  {} images could not be read, others stood in for them; the first: {first}; all: {}",
                epoch.bad_images.len(),
                self.folder.bad_images().display()
            ));
        }
        Ok(())
    }
}

/// A reader that has gone (as `head`) must not end a run.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn told(row: &EpochRow, epochs: usize, is_best: bool) -> String {
    let width = epochs.to_string().len();
    let waiting = match (100.0 * row.waiting_share).round() {
        0.0 => String::new(),
        percent => format!("  waiting {percent} %"),
    };
    format!(
        "epoch {:>width$}/{epochs}  train loss {:.4} {:6.2} %  valid loss {:.4} {:6.2} %  \
         {:.0} img/s  {:.1} s{waiting}{}",
        row.epoch,
        row.train_loss,
        100.0 * row.train_accuracy,
        row.valid_loss,
        100.0 * row.valid_accuracy,
        row.images_per_second,
        row.seconds,
        if is_best { "  best" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_fits_into_a_hundred_columns_and_waiting_is_told_only_where_there_is_some() {
        let mut row = EpochRow { epoch: 7, images_per_second: 1234.0, seconds: 12.3, ..EpochRow::default() };
        (row.train_accuracy, row.valid_accuracy, row.waiting_share) = (0.99, 1.0, 0.004);
        let line = told(&row, 100, true);
        assert!(line.chars().count() <= 100 && !line.contains("waiting"), "{line}");
        row.waiting_share = 0.25;
        assert!(told(&row, 100, false).ends_with("waiting 25 %"), "{line}");
    }
}
