//! Charts over epochs as inline SVG.
//!
//! The value axis starts at zero unless its label says otherwise; values that are not finite leave a gap and
//! are counted below the chart. Lines differ in dash as well as in color, so they survive a gray print.

use super::bars;
use super::html::{escape, significant};
use super::ticks::{Axis, epoch_ticks, tick_text, value_ticks};

/// Larger values are left out like those that are not finite: a plot of them would show nothing else.
const LARGEST: f64 = 1e30;
/// Charts of more epochs carry no tooltips, to keep the page small,
const MOST_TOOLTIPS: usize = 400;
/// nor do those that would have to name more values.
const MOST_NAMED: usize = 4000;
/// Charts of at most this many epochs show a dot at each.
const MOST_DOTS: usize = 30;

const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 38.0;

/// A chart with one or more series over the epochs.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What the value axis shows, with its unit.
    pub(super) y_label: &'a str,
    pub(super) axis: Axis,
    pub(super) form: Form,
    pub(super) series: Vec<Series<'a>>,
    pub(super) mark: Option<Mark>,
    /// A third of the page's width instead of half.
    pub(super) small: bool,
}

/// How series are drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// As lines, which the caption names where there are several.
    Lines,
    /// As lines whose names are elsewhere on the page.
    LinesUnnamed,
    /// As bars on top of one another, for values that are not negative.
    Stack,
}

/// A series; `class` picks its style.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    /// Epoch and value, by rising epoch.
    pub(super) points: Vec<(f64, f64)>,
}

/// A ringed point.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where values lie on the chart.
pub(super) struct Frame {
    width: f64,
    height: f64,
    x: (f64, f64),
    y: Vec<f64>,
}

impl Frame {
    pub(super) fn px(&self, x: f64) -> f64 {
        let (low, high) = self.x;
        LEFT + (x - low) / (high - low) * (self.width - LEFT - RIGHT)
    }

    pub(super) fn py(&self, y: f64) -> f64 {
        let (low, high) = (self.y[0], self.y[self.y.len() - 1]);
        self.height - BOTTOM - (y - low) / (high - low) * (self.height - TOP - BOTTOM)
    }
}

impl Chart<'_> {
    /// The chart as a `<figure>`.
    pub(super) fn to_svg(&self) -> String {
        let stacks = if self.form == Form::Stack { bars::stack(&self.series) } else { Vec::new() };
        let shown: Vec<f64> = if self.form == Form::Stack {
            stacks.iter().flatten().map(bars::Bar::top).collect()
        } else {
            self.series
                .iter()
                .flat_map(|line| &line.points)
                .map(|point| point.1)
                .filter(|y| drawable(*y))
                .collect()
        };
        if shown.is_empty() {
            return format!(
                "<figure class=\"chart\"><figcaption><b>{}</b> No finite value to plot.</figcaption></figure>\n",
                escape(self.title)
            );
        }
        let epochs = self.longest();
        let ends = (epochs.first().map_or(0.0, |p| p.0), epochs.last().map_or(0.0, |p| p.0));
        let (width, height) = if self.small { (300.0, 190.0) } else { (450.0, 290.0) };
        let x = if self.form == Form::Stack {
            // Room for the whole of the outer bars.
            (ends.0 - 0.5, ends.1 + 0.5)
        } else if ends.1 > ends.0 {
            ends
        } else {
            // A single epoch stands in the middle.
            (ends.0 - 1.0, ends.0 + 1.0)
        };
        let frame = Frame { width, height, x, y: value_ticks(self.axis, &shown) };
        let lines: String = if self.form == Form::Stack {
            self.series
                .iter()
                .zip(&stacks)
                .map(|(line, stack)| bars::draw(line.class, stack, &frame))
                .collect()
        } else {
            self.series.iter().map(|line| draw(line, &frame)).collect()
        };
        format!(
            "<figure class=\"chart\">{}<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n\
             {}{lines}{}{}</svg></figure>\n",
            self.caption(),
            escape(&format!("{} over {} epochs", self.title, epochs.len())),
            self.axes(&frame, ends),
            self.ring(&frame),
            self.tooltips(&frame),
        )
    }

    /// The points of the series with most of them. All begin with the first epoch.
    fn longest(&self) -> &[(f64, f64)] {
        self.series.iter().map(|line| &line.points[..]).max_by_key(|points| points.len()).unwrap_or_default()
    }

    fn caption(&self) -> String {
        let mut out = format!("<figcaption><b>{}</b>", escape(self.title));
        if self.series.len() > 1 && self.form != Form::LinesUnnamed {
            for line in &self.series {
                let shape = if self.form == Form::Stack { "bar" } else { "line" };
                out += &format!(
                    " <span class=\"key\">{}{}</span>",
                    swatch(shape, line.class),
                    escape(line.name)
                );
            }
        }
        let missing = self.series.iter().flat_map(|line| &line.points).filter(|p| !drawable(p.1)).count();
        if missing > 0 {
            let noun = if missing == 1 { "value" } else { "values" };
            out += &format!(" <span class=\"missing\">{missing} {noun} not finite, left out</span>");
        }
        out + "</figcaption>"
    }

    fn axes(&self, frame: &Frame, ends: (f64, f64)) -> String {
        let (right, bottom) = (frame.width - RIGHT, frame.height - BOTTOM);
        let step = frame.y[1] - frame.y[0];
        let mut out = String::new();
        for &tick in &frame.y {
            let y = frame.py(tick);
            out += &format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
                LEFT - 6.0,
                y + 4.0,
                tick_text(tick, step)
            );
        }
        for tick in epoch_ticks(ends, if self.small { 5.0 } else { 8.0 }) {
            let x = frame.px(tick);
            out += &format!(
                "<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/><text class=\"x\" x=\"{x:.1}\" y=\"{}\">{tick}</text>\n",
                bottom + 17.0
            );
        }
        let from = if frame.y[0] == 0.0 {
            String::new()
        } else {
            format!(" (axis starts at {})", tick_text(frame.y[0], step))
        };
        out += &format!(
            "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/><text class=\"label\" x=\"2\" y=\"14\">{}{from}</text>\
             <text class=\"x\" x=\"{}\" y=\"{}\">epoch</text>\n",
            escape(self.y_label),
            (LEFT + right) / 2.0,
            frame.height - 4.0
        );
        out
    }

    fn ring(&self, frame: &Frame) -> String {
        match self.mark {
            Some(mark) if drawable(mark.y) => {
                format!(
                    "<circle class=\"ring\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"6\"/>\n",
                    frame.px(mark.x),
                    frame.py(mark.y)
                )
            }
            _ => String::new(),
        }
    }

    /// A band for each epoch that names its values when pointed at.
    fn tooltips(&self, frame: &Frame) -> String {
        let epochs = self.longest();
        if epochs.len() > MOST_TOOLTIPS || epochs.len() * self.series.len() > MOST_NAMED {
            return String::new();
        }
        let band = frame.px(1.0) - frame.px(0.0);
        let (before, between) = if self.series.len() > 3 { ("\n", "\n") } else { (" ", ", ") };
        let mut out = String::new();
        for (i, &(epoch, _)) in epochs.iter().enumerate() {
            let values: Vec<String> = self
                .series
                .iter()
                .filter_map(|line| line.points.get(i).map(|p| format!("{} {}", line.name, significant(p.1))))
                .collect();
            let start = (frame.px(epoch) - band / 2.0).max(LEFT);
            let end = (frame.px(epoch) + band / 2.0).min(frame.width - RIGHT);
            out += &format!(
                "<rect class=\"hover\" x=\"{start:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>epoch {epoch}:{before}\
                 {}</title></rect>\n",
                end - start,
                frame.height - TOP - BOTTOM,
                escape(&values.join(between))
            );
        }
        out
    }
}

/// A sample of a series for a legend: `shape` is `line` or `bar`.
pub(super) fn swatch(shape: &str, class: &str) -> String {
    let path = if shape == "bar" { "M1 0H25V8H1z" } else { "M1 4H25" };
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"{shape} {class}\" d=\"{path}\"/></svg>"
    )
}

/// Whether a value is shown.
pub(super) fn drawable(y: f64) -> bool {
    y.is_finite() && y.abs() <= LARGEST
}

/// A line with gaps where values are missing, and dots where a line alone would not show the points.
fn draw(line: &Series<'_>, frame: &Frame) -> String {
    let mut path = String::new();
    let mut dots = String::new();
    let shows = |i: usize| line.points.get(i).is_some_and(|point| drawable(point.1));
    for (i, &(x, y)) in line.points.iter().enumerate() {
        if !drawable(y) {
            continue;
        }
        let before = i > 0 && shows(i - 1);
        path += &format!("{}{:.1} {:.1}", if before { 'L' } else { 'M' }, frame.px(x), frame.py(y));
        if line.points.len() <= MOST_DOTS || !(before || shows(i + 1)) {
            dots += &format!(
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                line.class,
                frame.px(x),
                frame.py(y)
            );
        }
    }
    format!("<path class=\"line {}\" d=\"{path}\"/>{dots}\n", line.class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> String {
        let points = values.iter().enumerate().map(|(i, y)| (i as f64 + 1.0, *y)).collect();
        let series = vec![Series { name: "train", class: "train", points }];
        let (axis, form) = (Axis::FromZero, Form::Lines);
        Chart { title: "Loss", y_label: "nats", axis, form, series, mark: None, small: false }.to_svg()
    }

    #[test]
    fn axis_starts_at_zero_or_says_so() {
        assert_eq!(value_ticks(Axis::FromZero, &[0.5, 2.0])[0], 0.0);
        assert_eq!(value_ticks(Axis::Percent, &[20.0, 98.0])[0], 0.0);
        let high = value_ticks(Axis::Percent, &[91.0, 99.97, 100.0]);
        assert_eq!((high[0], high[high.len() - 1]), (90.0, 100.0));
        let series = vec![Series { name: "a", class: "train", points: vec![(1.0, 91.0), (2.0, 99.0)] }];
        let (axis, form) = (Axis::Percent, Form::Lines);
        let chart = Chart { title: "Accuracy", y_label: "%", axis, form, series, mark: None, small: false };
        assert!(chart.to_svg().contains("axis starts at 90"));
    }

    #[test]
    fn odd_values_do_not_break_a_plot() {
        for values in [&[f64::NAN][..], &[], &[f64::INFINITY, f64::NEG_INFINITY], &[f64::MAX]] {
            assert!(chart(values).contains("No finite value"));
        }
        for values in [
            &[0.0][..],
            &[1e-300],
            &[5e-324],
            &[-5e-324],
            &[-1.0],
            &[3.0, f64::NAN, 2.0],
            &[1e30, -1e30],
            &[2.0; 700],
        ] {
            let svg = chart(values);
            assert!(!svg.contains("NaN") && !svg.contains("inf "), "{values:?}: {svg}");
        }
        let gap = chart(&[3.0, f64::NAN, 2.0]);
        assert!(gap.contains("1 value not finite"));
        assert!(gap.contains("d=\"M56.0 30.0M438.0"), "no line across the gap: {gap}");
    }
}
