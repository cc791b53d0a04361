//! Bars over epochs, one series on top of another.

use super::chart::{Frame, Series, drawable};

/// The share of an epoch's width that its bar takes.
const SHARE: f64 = 0.8;

/// An epoch's piece of a series.
pub(super) struct Bar {
    x: f64,
    from: f64,
    to: f64,
}

impl Bar {
    /// The upper end.
    pub(super) fn top(&self) -> f64 {
        self.to
    }
}

/// For each series its bars. An epoch without a value in one of them has no bar in any.
pub(super) fn stack(series: &[Series<'_>]) -> Vec<Vec<Bar>> {
    let epochs = series.iter().map(|line| line.points.len()).min().unwrap_or(0);
    let mut stacks: Vec<Vec<Bar>> = series.iter().map(|_| Vec::new()).collect();
    for epoch in 0..epochs {
        let total: f64 = series.iter().map(|line| line.points[epoch].1).sum();
        if !drawable(total) {
            continue;
        }
        let mut from = 0.0;
        for (line, bars) in series.iter().zip(&mut stacks) {
            let (x, height) = line.points[epoch];
            bars.push(Bar { x, from, to: from + height });
            from += height;
        }
    }
    stacks
}

/// The bars of one series, all of them as one path.
pub(super) fn draw(class: &str, bars: &[Bar], frame: &Frame) -> String {
    let path: String = bars
        .iter()
        .map(|bar| {
            let (left, right) = (frame.px(bar.x - SHARE / 2.0), frame.px(bar.x + SHARE / 2.0));
            let (top, bottom) = (frame.py(bar.to), frame.py(bar.from));
            format!("M{left:.1} {bottom:.1}V{top:.1}H{right:.1}V{bottom:.1}z")
        })
        .collect();
    format!("<path class=\"bar {class}\" d=\"{path}\"/>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_and_leave_out_what_has_no_value() {
        let series = |values: &[f64]| Series {
            name: "s",
            class: "s",
            points: values.iter().enumerate().map(|(n, value)| (n as f64 + 1.0, *value)).collect(),
        };
        let stacks = stack(&[series(&[2.0, f64::NAN, 1.0]), series(&[3.0, 1.0, 0.5])]);
        let ends = |bars: &[Bar]| bars.iter().map(|bar| (bar.x, bar.from, bar.to)).collect::<Vec<_>>();
        assert_eq!(ends(&stacks[0]), [(1.0, 0.0, 2.0), (3.0, 0.0, 1.0)]);
        assert_eq!(ends(&stacks[1]), [(1.0, 2.0, 5.0), (3.0, 1.0, 1.5)]);
        assert!(stack(&[]).is_empty());
    }
}
