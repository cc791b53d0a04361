//! What is taken for what: the confusion matrix and the scores of each class.

use super::html::{escape, percent};
use crate::plan::thousands;

/// With more classes the most confused pairs are listed instead of the grid.
const MOST_CLASSES: usize = 40;
/// Pairs listed.
const PAIRS: usize = 20;
/// Names in the grid's heading are cut to this many characters.
const HEADING: usize = 16;

/// Counts by truth (row) and prediction (column).
struct Matrix<'a> {
    names: &'a [String],
    counts: &'a [u64],
}

/// Both sections of the page, or a line that says why there are none.
pub(super) fn section(names: &[String], counts: &[u64], set: &str) -> String {
    let classes = names.len();
    if classes == 0 || classes.checked_mul(classes) != Some(counts.len()) {
        return "<section>\n<h2>Confusion</h2>\n<p>No confusion counts for these classes.</p>\n</section>\n"
            .into();
    }
    let matrix = Matrix { names, counts };
    let view = if classes <= MOST_CLASSES { matrix.grid() } else { matrix.pairs() };
    format!(
        "<section>\n<h2>Confusion on the {} set</h2>\n{view}</section>\n\
         <section>\n<h2>Classes</h2>\n{}</section>\n",
        escape(set),
        matrix.scores()
    )
}

impl Matrix<'_> {
    fn at(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.names.len() + predicted]
    }

    fn truths(&self, class: usize) -> u64 {
        (0..self.names.len()).fold(0, |sum, predicted| sum.saturating_add(self.at(class, predicted)))
    }

    fn predictions(&self, class: usize) -> u64 {
        (0..self.names.len()).fold(0, |sum, truth| sum.saturating_add(self.at(truth, class)))
    }

    fn grid(&self) -> String {
        let classes = self.names.len();
        let head: String = self
            .names
            .iter()
            .map(|name| {
                format!(
                    "<th scope=\"col\" title=\"{}\"><span>{}</span></th>",
                    escape(name),
                    escape(&cut(name))
                )
            })
            .collect();
        let rows: String = (0..classes).map(|truth| self.grid_row(truth)).collect();
        format!(
            "<p class=\"note\">Rows are the truth, columns the prediction. Shade grows with the square \
             root of the share of the row, so that rare confusions show; the diagonal (outlined) is right. Empty cells are zero.</p>\n\
             <div class=\"wide\"><table class=\"grid{}\">\n<thead><tr><th class=\"corner\">truth ↓ predicted →</th>{head}\
             </tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n",
            if classes > 15 { " dense" } else { "" }
        )
    }

    fn grid_row(&self, truth: usize) -> String {
        let name = escape(&self.names[truth]);
        let total = self.truths(truth);
        let mut row = format!(
            "<tr><th scope=\"row\" title=\"{name}\"><span>{}</span></th>",
            escape(&cut(&self.names[truth]))
        );
        for predicted in 0..self.names.len() {
            let n = self.at(truth, predicted);
            let right = if truth == predicted { "right" } else { "wrong" };
            if n == 0 {
                row += &format!("<td class=\"{right}\"></td>");
                continue;
            }
            let share = n as f64 / total as f64;
            row += &format!(
                "<td class=\"{right}{}\" style=\"--s:{:.0}%\" title=\"{} of {} {name} taken for {}\">{}</td>",
                if share > 0.5 { " strong" } else { "" },
                // The square root keeps rare confusions visible; never quite nothing.
                (100.0 * share.sqrt()).max(6.0),
                thousands(n),
                thousands(total),
                escape(&self.names[predicted]),
                n
            );
        }
        row + "</tr>\n"
    }

    fn pairs(&self) -> String {
        let classes = self.names.len();
        let mut pairs: Vec<(u64, usize, usize)> = (0..classes)
            .flat_map(|truth| (0..classes).map(move |predicted| (truth, predicted)))
            .filter(|(truth, predicted)| truth != predicted)
            .map(|(truth, predicted)| (self.at(truth, predicted), truth, predicted))
            .filter(|pair| pair.0 > 0)
            .collect();
        if pairs.is_empty() {
            return "<p>No class was taken for another.</p>\n".into();
        }
        let all = pairs.len();
        pairs.sort_by_key(|&(n, truth, predicted)| (std::cmp::Reverse(n), truth, predicted));
        pairs.truncate(PAIRS);
        let rows: String = pairs
            .iter()
            .map(|&(n, truth, predicted)| {
                format!(
                    "<tr><th scope=\"row\">{}</th><td class=\"name\">{}</td><td>{}</td><td>{}</td></tr>\n",
                    escape(&self.names[truth]),
                    escape(&self.names[predicted]),
                    thousands(n),
                    percent(n as f64 / self.truths(truth) as f64)
                )
            })
            .collect();
        format!(
            "<p class=\"note\">The {} most frequent confusions of {}; with {classes} classes a grid would not be \
             readable.</p>\n<div class=\"wide\"><table class=\"list\">\n<thead><tr><th>truth</th><th \
             class=\"name\">predicted</th><th>images</th><th>of the true class</th></tr></thead>\n\
             <tbody>\n{rows}</tbody></table></div>\n",
            pairs.len(),
            thousands(all)
        )
    }

    fn scores(&self) -> String {
        let share = |part: u64, whole: u64| if whole == 0 { f64::NAN } else { part as f64 / whole as f64 };
        let rows: String = (0..self.names.len())
            .map(|class| {
                let (right, truths, predictions) =
                    (self.at(class, class), self.truths(class), self.predictions(class));
                format!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    escape(&self.names[class]),
                    thousands(truths),
                    thousands(predictions),
                    percent(share(right, predictions)),
                    percent(share(right, truths))
                )
            })
            .collect();
        let table = format!(
            "<p class=\"note\">Precision: of the images predicted as the class, those that are. Recall: of the \
             images of the class, those found. A dash where there are none.</p>\n\
             <div class=\"wide\"><table class=\"list\">\n<thead><tr><th>class</th><th>images</th><th>predicted</th>\
             <th>precision</th><th>recall</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
        );
        if self.names.len() <= MOST_CLASSES {
            return table;
        }
        format!(
            "<details><summary>All {} classes</summary>\n{table}</details>\n",
            thousands(self.names.len())
        )
    }
}

/// A long name's beginning and end: names of one family often differ only at one of them.
fn cut(name: &str) -> String {
    let length = name.chars().count();
    if length <= HEADING {
        return name.to_owned();
    }
    let end = HEADING / 2;
    let start = HEADING - 1 - end;
    name.chars().take(start).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    #[test]
    fn precision_is_by_column_and_recall_by_row() {
        // Truth 0: 8 right, 2 taken for 1. Truth 1: all 5 right. Class 2 never occurs.
        let page = section(&names(3), &[8, 2, 0, 0, 5, 0, 0, 0, 0], "test");
        assert!(page.contains(
            "<th scope=\"row\">c0</th><td>10</td><td>8</td><td>100.00\u{A0}%</td><td>80.00\u{A0}%</td>"
        ));
        assert!(page.contains(
            "<th scope=\"row\">c1</th><td>5</td><td>7</td><td>71.43\u{A0}%</td><td>100.00\u{A0}%</td>"
        ));
        assert!(page.contains("<th scope=\"row\">c2</th><td>0</td><td>0</td><td>–</td><td>–</td>"));
        assert!(page.contains("2 of 10 c0 taken for c1"));
    }

    #[test]
    fn many_classes_become_a_list_of_pairs() {
        let mut counts = vec![0; 50 * 50];
        counts[3 * 50 + 7] = 9;
        counts[4 * 50 + 4] = 1;
        let page = section(&names(50), &counts, "test");
        assert!(
            page.contains(
                "<th scope=\"row\">c3</th><td class=\"name\">c7</td><td>9</td><td>100.00\u{A0}%</td>"
            )
        );
        assert!(page.contains("The 1 most frequent confusions of 1;"));
        assert!(!page.contains("table class=\"grid"));
    }

    #[test]
    fn counts_that_do_not_fit_are_left_out() {
        assert!(section(&names(3), &[1, 2], "test").contains("No confusion counts"));
        assert!(section(&[], &[], "test").contains("No confusion counts"));
        assert!(!section(&names(2), &[u64::MAX; 4], "test").contains("NaN"));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("刀".repeat(30).as_str()).chars().count(), HEADING);
        assert_eq!(cut("cat"), "cat");
        assert_eq!(cut("quercus robur subspecies 12"), "quercus…ecies 12");
    }
}
