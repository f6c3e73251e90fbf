//! Axes: which range to show, where to put ticks, how to write them.

/// A closed range of values with round ticks inside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) lo: f64,
    pub(super) hi: f64,
    pub(super) ticks: Vec<f64>,
    step: f64,
}

impl Scale {
    /// A scale over `lo..=hi` with about `n` ticks at multiples of 1, 2 or 5 times a power of ten,
    /// at whole numbers only where `whole`. A range without extent, or that is not finite, is
    /// widened to one that has it.
    pub(super) fn new(lo: f64, hi: f64, n: usize, whole: bool) -> Self {
        let (mut lo, mut hi) = if lo.is_finite() && hi.is_finite() { (lo, hi) } else { (0.0, 1.0) };
        if hi - lo <= f64::EPSILON * lo.abs().max(hi.abs()).max(f64::MIN_POSITIVE) {
            let pad = if lo == 0.0 { 1.0 } else { lo.abs() * 0.1 };
            (lo, hi) = (lo - pad, hi + pad);
        }
        let raw = (hi - lo) / n.max(1) as f64;
        let magnitude = 10_f64.powf(raw.log10().floor());
        // The borders are geometric means of neighbouring factors.
        let factor = match raw / magnitude {
            f if f < 2_f64.sqrt() => 1.0,
            f if f < 10_f64.sqrt() => 2.0,
            f if f < 50_f64.sqrt() => 5.0,
            _ => 10.0,
        };
        let step = if whole { (factor * magnitude).max(1.0) } else { factor * magnitude };
        let first = (lo / step).ceil();
        let ticks = (0..=2 * n.max(1))
            .map(|i| (first + i as f64) * step)
            .take_while(|tick| *tick <= hi + step * 1e-9)
            .collect();
        Scale { lo, hi, ticks, step }
    }

    /// Where `value` lies, 0 at `lo` and 1 at `hi`.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.lo) / (self.hi - self.lo)
    }

    /// A tick as text, all with as many decimals as their distance needs.
    pub(super) fn label(&self, tick: f64) -> String {
        let largest = self.lo.abs().max(self.hi.abs());
        if tick.abs() < self.step * 1e-9 {
            return "0".to_owned();
        }
        if !(1e-3..1e5).contains(&largest) {
            return scientific(tick);
        }
        let decimals = (0..8).find(|d| {
            let scaled = self.step * 10_f64.powi(*d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        format!("{tick:.*}", usize::try_from(decimals.unwrap_or(3)).unwrap_or(3))
    }
}

/// A value in a caption: three or four digits that count.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "not finite".to_owned(),
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => scientific(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    text.replace(".0e", "e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(lo: f64, hi: f64, whole: bool) -> Vec<String> {
        let scale = Scale::new(lo, hi, 4, whole);
        scale.ticks.iter().map(|tick| scale.label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, false), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(0.12, 0.93, false), ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(ticks(-0.3, 0.5, false), ["-0.2", "0", "0.2", "0.4"]);
        assert_eq!(ticks(1.0, 200.0, true), ["50", "100", "150", "200"]);
        assert_eq!(ticks(1.0, 3.0, true), ["1", "2", "3"]);
        assert_eq!(ticks(0.0, 2.4e-5, false), ["0", "5e-6", "1e-5", "1.5e-5", "2e-5"]);
    }

    #[test]
    fn a_flat_or_broken_range_still_has_an_extent() {
        for (lo, hi) in
            [(3.0, 3.0), (0.0, 0.0), (f64::NAN, 1.0), (f64::INFINITY, f64::NEG_INFINITY)]
        {
            let scale = Scale::new(lo, hi, 4, false);
            assert!(scale.lo < scale.hi && !scale.ticks.is_empty(), "{lo} {hi}: {scale:?}");
            assert!((scale.place(scale.hi) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn captions_are_short() {
        assert_eq!(
            [1234.5, 12.34, 1.234, 0.1234, 2e-6, 0.0].map(short),
            ["1234", "12.3", "1.23", "0.123", "2e-6", "0"]
        );
    }
}
