//! The page that shows runs side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::{Chart, Form, Series, swatch};
use super::html::{duration, escape, page, percent, significant};
use super::ticks::Axis;
use crate::plan::thousands;
use crate::{EpochRow, Result, RunSummary};

/// Runs that have curves; more could not be told apart.
const MOST_CURVES: usize = 32;
/// Colors of curves in the style sheet.
const COLORS: usize = 8;
/// Ways to dash them.
const DASHES: usize = 4;

/// A run with its settings by their whole names.
struct Shown<'a> {
    run: &'a RunSummary,
    name: String,
    settings: BTreeMap<String, String>,
    /// The style of its curves; none if it has no curves.
    class: Option<String>,
}

/// The page that shows `runs` in their order: a table of them with the settings in which they differ, and their curves in the same charts, those of
/// the first 32. One HTML file that needs nothing but a browser; text from outside is escaped.
///
/// # Errors
///
/// When a recipe cannot be written as TOML.
pub fn compare(title: &str, runs: &[RunSummary]) -> Result<String> {
    let mut curves = 0;
    let shown = runs.iter().map(|run| {
        let has_curves = !run.rows.is_empty() && curves < MOST_CURVES;
        let class =
            has_curves.then(|| format!("run c{} d{}", curves % COLORS, (curves + curves / COLORS) % DASHES));
        curves += usize::from(has_curves);
        Ok(Shown { run, name: run.name().to_owned(), settings: run.recipe.settings()?, class })
    });
    let shown: Vec<Shown<'_>> = shown.collect::<Result<_>>()?;
    let body = format!(
        "<header>\n<h1>{}</h1>\n{}</header>\n{}{}",
        escape(title),
        summary(runs),
        table(&shown),
        charts(&shown)
    );
    Ok(page(title, &body))
}

fn summary(runs: &[RunSummary]) -> String {
    let number = runs.len();
    let finished = runs.iter().filter(|run| run.measured.is_some()).count();
    let seconds = runs.iter().map(|run| run.seconds).sum();
    let mut text = format!(
        "{} {}, {} of them finished, {} of training together.",
        thousands(number),
        if number == 1 { "run" } else { "runs" },
        if finished == number { "all".into() } else { thousands(finished) },
        duration(seconds)
    );
    let mut best: Option<(&RunSummary, f64)> = None;
    for (run, accuracy) in runs.iter().filter_map(|run| Some((run, run.best?.1))) {
        if best.is_none_or(|(_, most)| accuracy > most) {
            best = Some((run, accuracy));
        }
    }
    if let Some((run, accuracy)) = best {
        text += &format!(
            " The best validation accuracy is {}, of <bdi>{}</bdi>.",
            percent(accuracy),
            escape(run.name())
        );
    }
    format!("<p class=\"note\">{text}</p>\n")
}

/// The settings that are not the same in all runs.
fn differing(shown: &[Shown<'_>]) -> Vec<String> {
    let keys: BTreeSet<&String> = shown.iter().flat_map(|run| run.settings.keys()).collect();
    let differs =
        |key: &&String| shown.windows(2).any(|pair| pair[0].settings.get(*key) != pair[1].settings.get(*key));
    keys.into_iter().filter(differs).cloned().collect()
}

fn table(shown: &[Shown<'_>]) -> String {
    let mut keys = differing(shown);
    let same = keys.is_empty();
    // How many epochs a run is to have stands beside those it had.
    keys.retain(|key| key != "epochs");
    let settings: String = keys
        .iter()
        .map(|key| format!("<th class=\"setting\">{}</th>", escape(key).replace('.', ".<wbr>")))
        .collect();
    let rows: String = shown.iter().map(|run| line(run, &keys)).collect();
    let note = match (same, shown.len()) {
        (_, 0 | 1) => "",
        (true, _) => "<p class=\"note\">All have the same recipe.</p>\n",
        (false, _) => {
            "<p class=\"note\">Settings are shown where they differ; a dash where one is not set.</p>\n"
        }
    };
    format!(
        "<section>\n<h2>Runs</h2>\n{note}<div class=\"wide\"><table class=\"list runs\">\n<thead><tr><th>run</th>\
         <th>epochs</th><th>best epoch</th><th>validation accuracy</th><th>loss there</th><th>measured in the end</th>\
         <th>training time</th>{settings}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n</section>\n"
    )
}

fn line(shown: &Shown<'_>, keys: &[String]) -> String {
    let run = shown.run;
    let settings: String = keys
        .iter()
        .map(|key| {
            let value = match shown.settings.get(key).map(String::as_str) {
                None => "–",
                Some("\"\"") => "\"\"",
                Some(value) => value.trim_matches('"'),
            };
            format!("<td class=\"setting\">{}</td>", breaking(value))
        })
        .collect();
    let best = run.best.and_then(|(epoch, accuracy)| {
        let row = run.rows.iter().find(|row| row.epoch == epoch)?;
        Some(format!(
            "<td>{epoch}</td><td>{}</td><td>{}</td>",
            percent(accuracy),
            significant(row.valid_loss)
        ))
    });
    let measured = match &run.measured {
        Some((part, accuracy)) => format!("{} {}", escape(part), percent(*accuracy)),
        None => "not finished".into(),
    };
    format!(
        "<tr><th scope=\"row\">{}<bdi>{}</bdi></th><td>{} of {}</td>{}<td>{measured}</td><td>{}</td>{settings}</tr>\n",
        shown.class.as_ref().map_or_else(String::new, |class| swatch("line", class)),
        breaking(&shown.name),
        thousands(run.rows.len()),
        thousands(run.recipe.epochs),
        best.unwrap_or_else(|| "<td>–</td><td>–</td><td>–</td>".into()),
        duration(run.seconds),
    )
}

/// Text from outside that may break between the parts of a path, a name or a list of steps.
fn breaking(text: &str) -> String {
    // None of these is part of what escaping writes.
    ['/', ',', '|'].iter().fold(escape(text), |text, mark| text.replace(*mark, &format!("{mark}<wbr>")))
}

fn charts(shown: &[Shown<'_>]) -> String {
    let with: Vec<(&Shown<'_>, &str)> =
        shown.iter().filter_map(|run| Some((run, run.class.as_deref()?))).collect();
    if with.is_empty() {
        return "<section>\n<h2>Curves</h2>\n<p>No epoch was completed.</p>\n</section>\n".into();
    }
    let chart = |title, y_label, axis, value: fn(&EpochRow) -> f64| {
        let series = with.iter().map(|(shown, class)| Series {
            name: &shown.name,
            class,
            points: shown.run.rows.iter().map(|row| (row.epoch as f64, value(row))).collect(),
        });
        Chart {
            title,
            y_label,
            axis,
            form: Form::LinesUnnamed,
            series: series.collect(),
            mark: None,
            small: false,
        }
        .to_svg()
    };
    let nats = "cross-entropy, nats";
    let right = "images right, %";
    let of_all = shown.iter().filter(|run| !run.run.rows.is_empty()).count();
    let note = if of_all > with.len() {
        format!(
            "<p class=\"note\">The first {} of {} runs, in the order of the table.</p>\n",
            with.len(),
            thousands(of_all)
        )
    } else {
        String::new()
    };
    let keys: String = with
        .iter()
        .map(|(shown, class)| {
            format!("<span class=\"key\">{}<bdi>{}</bdi></span> ", swatch("line", class), escape(&shown.name))
        })
        .collect();
    format!(
        "<section>\n<h2>Curves</h2>\n{note}<p class=\"keys\">{keys}</p>\n<div class=\"pair\">\n{}{}{}{}</div>\n</section>\n",
        chart("Validation loss", nats, Axis::FromZero, |row| row.valid_loss),
        chart("Validation accuracy", right, Axis::Percent, |row| 100.0 * row.valid_accuracy),
        chart("Training loss", nats, Axis::FromZero, |row| row.train_loss),
        chart("Training accuracy", right, Axis::Percent, |row| 100.0 * row.train_accuracy),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;

    fn run(name: &str, settings: &[(&str, &str)], accuracies: &[f64]) -> RunSummary {
        let recipe =
            settings.iter().fold(Recipe::default(), |recipe, (key, value)| recipe.set(key, value).unwrap());
        let rows = accuracies.iter().enumerate().map(|(n, &valid_accuracy)| EpochRow {
            epoch: n + 1,
            valid_accuracy,
            seconds: 2.0,
            ..EpochRow::default()
        });
        RunSummary::new(name.into(), recipe, rows.collect(), None)
    }

    #[test]
    fn settings_are_shown_where_they_differ_only() {
        let runs = [
            run("a", &[("optim.lr", "0.1"), ("ema", "0.9"), ("seed", "3")], &[0.5, 0.75]),
            run("b", &[("optim.lr", "0.2"), ("seed", "3")], &[0.25]),
        ];
        let page = compare("Runs", &runs).unwrap();
        for part in [
            "<th class=\"setting\">ema</th><th class=\"setting\">optim.<wbr>lr</th></tr>",
            "class=\"line run c1 d1\"",
        ] {
            assert!(page.contains(part), "no {part}");
        }
        assert!(page.contains("<td class=\"setting\">–</td><td class=\"setting\">0.2</td></tr>"));
        assert!(page.contains("75.00\u{A0}%, of <bdi>a</bdi>"));
        assert!(!page.contains(">seed<") && !page.contains(">model<"));
        let same = compare("Runs", &[runs[0].clone(), runs[0].clone()]).unwrap();
        assert!(same.contains("the same recipe") && !same.contains("class=\"setting\""));
    }

    #[test]
    fn text_from_outside_is_escaped_and_nothing_is_loaded() {
        let odd = "<script>alert(1)</script>\"'\u{202E}";
        let runs = [
            run(odd, &[("data.path", odd)], &[0.5]),
            run("b", &[("augment", "flip")], &[f64::NAN, f64::INFINITY]),
        ];
        let page = compare(&format!("Runs in {odd}"), &runs).unwrap();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)"));
        assert!(!page.contains("NaN") && !page.contains(">inf"));
        for way in ["http:", "https:", "<link", "@import", "url("] {
            assert!(!page.contains(way), "{way}");
        }
    }

    #[test]
    fn runs_without_epochs_and_many_runs_still_make_a_page() {
        assert!(compare("Runs", &[run("a", &[], &[])]).unwrap().contains("No epoch was completed"));
        assert!(compare("Runs", &[]).unwrap().contains("0 runs"));
        let many: Vec<RunSummary> =
            (0..100).map(|n| run(&format!("run-{n}"), &[("seed", &n.to_string())], &[0.5])).collect();
        let page = compare("Runs", &many).unwrap();
        assert!(page.contains("The first 32 of 100 runs") && page.contains("run-99"));
        let mut classes: Vec<&str> =
            page.match_indices("class=\"line run c").map(|(at, _)| &page[at..at + 22]).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), MOST_CURVES, "two runs look alike");
    }
}
