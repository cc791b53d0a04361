//! Text and numbers as a reader of the page sees them.

/// Stands for a number that is not finite.
const NONE: &str = "–";

const STYLE: &str = include_str!("style.css");

/// A page around its body.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Text from outside, safe in HTML text and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // Control characters are not allowed in HTML; a name may still hold some.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// A share of one with two decimals: `0.9912` is `99.12 %`, with a space that does not break. Only certainty reads 100 %.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.into();
    }
    let shown = if share < 1.0 { (100.0 * share).min(99.99) } else { 100.0 * share };
    format!("{shown:.2}\u{A0}%")
}

/// A share of one as a whole percentage, rounded down so that only certainty reads 100 %.
pub(super) fn rate(share: f64) -> String {
    if share.is_finite() { format!("{:.0}\u{A0}%", (100.0 * share + 1e-9).floor()) } else { NONE.into() }
}

/// A number with four significant digits, as a power of ten where it is very small or very large.
pub(super) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let exponent = value.abs().log10().floor();
    if (-4.0..6.0).contains(&exponent) {
        let decimals = (3.0 - exponent).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A duration in the unit that fits it, such as `12.3 s`, `4 min 10 s` or `2 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.into();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_leave_its_place() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(escape("a\0b\u{1b}"), "a\u{FFFD}b\u{FFFD}");
        assert_eq!(escape("épée → 刀"), "épée → 刀");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(percent(0.99125), "99.12\u{A0}%");
        assert_eq!(percent(0.99999), "99.99\u{A0}%");
        assert_eq!(percent(1.0), "100.00\u{A0}%");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(rate(0.999), "99\u{A0}%");
        assert_eq!(rate(1.0), "100\u{A0}%");
        assert_eq!(rate(0.29), "29\u{A0}%");
        assert_eq!(significant(0.031_416), "0.03142");
        assert_eq!(significant(2.0), "2.000");
        assert_eq!(significant(123_456.0), "123456");
        assert_eq!(significant(1.5e-7), "1.500e-7");
        assert_eq!(significant(0.0), "0");
        assert_eq!(significant(f64::INFINITY), "–");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(250.0), "4 min 10 s");
        assert_eq!(duration(7_500.0), "2 h 05 min");
        assert_eq!(duration(-1.0), "–");
    }
}
