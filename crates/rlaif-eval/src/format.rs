//! Numbers and names in the forms that tables and the HTML report share.

use crate::bootstrap::Interval;

/// A share in percent with one decimal, without the sign: `63.8`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// An interval of a share in percent: `[57.2, 70.0]`.
pub(crate) fn percent_interval([lo, hi]: Interval) -> String {
    format!("[{}, {}]", percent(lo), percent(hi))
}

/// Percentage points with their sign: `+22.6`, and `0.0` where it rounds to nothing.
pub(crate) fn points(points: f64) -> String {
    if (-0.05..0.05).contains(&points) { "0.0".to_owned() } else { format!("{points:+.1}") }
}

/// An interval in percentage points: `[+18.1, +27.2]`.
pub(crate) fn points_interval([lo, hi]: Interval) -> String {
    format!("[{}, {}]", points(lo), points(hi))
}

/// A p-value: `0.031`, `< 0.001`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// Seconds as `3 min 32 s`, `1 h 02 min` or `8.4 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round();
    if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else if whole < 3600.0 {
        format!("{} min {:02} s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        let minutes = (seconds / 60.0).round();
        format!("{} h {:02} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// A count or mean count with thousands set apart: `12,345`.
pub(crate) fn count(n: f64) -> String {
    let digits = format!("{:.0}", n.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Half the width of an interval of a share, in percent: `3.1`.
pub(crate) fn percent_half([lo, hi]: Interval) -> String {
    percent((hi - lo) / 2.0)
}

/// Bytes in decimal units: `1.2 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (unit, size) = match bytes {
        b if b >= 1e9 => ("GB", 1e9),
        b if b >= 1e6 => ("MB", 1e6),
        _ => ("kB", 1e3),
    };
    format!("{:.1} {unit}", bytes / size)
}

/// A category or metric name in words: `action_recognition` becomes `action recognition`.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Text from outside in one printable line: control characters, which could move a terminal's
/// cursor, become `?`.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_print() {
        assert_eq!(percent_interval([0.5722, 0.7]), "[57.2, 70.0]");
        assert_eq!([22.64, -3.0, -0.04, 0.06].map(points), ["+22.6", "-3.0", "0.0", "+0.1"]);
        assert_eq!(points_interval([-1.0, 2.0]), "[-1.0, +2.0]");
        assert_eq!(
            [0.0, 999.0, 1_000.4, 1_234_567.0].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(percent_half([0.5, 0.562]), "3.1");
        assert_eq!([0.0314, 0.000_2].map(p_value), ["0.031", "< 0.001"]);
        let durations = [8.44, 59.97, 212.4, 3_725.0].map(duration);
        assert_eq!(durations, ["8.4 s", "1 min 00 s", "3 min 32 s", "1 h 02 min"]);
        assert_eq!([1_234_567_890, 3_400_000, 900].map(bytes), ["1.2 GB", "3.4 MB", "0.9 kB"]);
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }
}
