//! Training curves as small multiples: one panel a metric, raw values behind their smoothed line.
//!
//! The smoothed line is a local linear fit (Cleveland 1979) over records, which, unlike a moving
//! average, neither lags behind a trend nor bends at the ends. At record `t` of `n`:
//!
//! ```text
//! min over a, b of Σ_s w_s (x_s - a - b (s - t))²,  w_s = 1 - |s - t| / (h + 1),  h = n / 12
//! ```
//!
//! and `a` is drawn, within the range of the values it was fitted to. Long logs are first averaged down to at most a thousand records.

use std::collections::BTreeSet;
use std::fmt::Write;

use maud::{Markup, html};

use super::scale::{Scale, short};
use super::{legend, series_class};
use crate::metrics::MetricsLog;

/// Known metrics in the order in which panels appear, each with what it means.
const KNOWN: [(&str, &str); 16] = [
    ("loss", "objective that is minimised"),
    ("mean_token_accuracy", "share of target tokens that are the most likely ones"),
    ("kl", "distance from the reference policy, nats a token"),
    ("entropy", "of the policy, nats a token"),
    ("rank/ndcg", "policy order against oracle order, 1 agrees"),
    ("rank/tau", "Kendall tau-b of policy and oracle order"),
    ("rank/ties", "share of pairs that the oracle ties"),
    ("rank/advantage_corr", "advantage against oracle rank"),
    ("completions/mean_length", "tokens an answer"),
    ("completions/clipped_ratio", "share of answers cut off by the limit"),
    ("clip_ratio/region_mean", "share of tokens whose ratio is clipped"),
    ("sampler/mismatch_kl", "sampler against training pass, nats a token"),
    ("grad_norm", "before clipping"),
    ("learning_rate", "of the optimizer"),
    ("tokens_per_second", "throughput"),
    ("step_time", "seconds a step"),
];

/// Drawing area of a panel, in the units of its view box.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 168.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// Most points that one line draws; longer ones keep the extremes of each stretch.
const MAX_POINTS: usize = 400;

/// Most records that are smoothed one by one.
const MAX_SMOOTHED: usize = 1_000;

/// The log of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveRun {
    /// Name in the legend.
    pub name: String,
    /// Its metrics.
    pub log: MetricsLog,
}

/// The curves of one stage; several runs share each panel.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveSection {
    /// Headline, for instance `Supervised fine-tuning`.
    pub title: String,
    /// Runs to draw, eight at most in colours of their own.
    pub runs: Vec<CurveRun>,
    /// Metrics to show in this order; where empty, those known by name that the runs have (loss,
    /// kl, entropy, ranking, lengths, optimizer), or all of them if none is known.
    pub metrics: Vec<String>,
}

impl CurveSection {
    /// A section of one run with the default choice of panels.
    #[must_use]
    pub fn of_run(title: impl Into<String>, log: MetricsLog) -> Self {
        let title = title.into();
        CurveSection {
            runs: vec![CurveRun { name: title.clone(), log }],
            title,
            metrics: Vec::new(),
        }
    }

    fn panels(&self) -> Vec<&str> {
        if !self.metrics.is_empty() {
            return self.metrics.iter().map(String::as_str).collect();
        }
        let there: BTreeSet<&str> = self.runs.iter().flat_map(|run| run.log.names()).collect();
        let known: Vec<&str> =
            KNOWN.into_iter().map(|(name, _)| name).filter(|name| there.contains(name)).collect();
        if known.is_empty() { there.into_iter().collect() } else { known }
    }
}

pub(super) fn sections(sections: &[CurveSection]) -> Markup {
    html! {
        @for section in sections.iter().filter(|section| !section.runs.is_empty()) {
            section {
                h2 { "Training: " (section.title) }
                p.note {
                    "Pale: every logged value. Strong: smoothed by a local fit. The figure beside \
                     a name is its end."
                    @if section.runs.iter().any(|run| run.log.truncated) {
                        " The log ends in half a line, which is left out."
                    }
                }
                @if section.runs.len() > 1 {
                    (legend(section.runs.iter().map(|run| run.name.as_str())))
                }
                div.panels {
                    @for metric in section.panels() { (panel(metric, &section.runs)) }
                }
            }
        }
    }
}

/// One metric of all runs. Nothing where no run has a finite value of it.
fn panel(metric: &str, runs: &[CurveRun]) -> Markup {
    let lines: Vec<Line> =
        runs.iter().enumerate().map(|(i, run)| Line::new(i, &run.log.series(metric))).collect();
    let finite = || lines.iter().flat_map(|line| line.raw.iter()).filter(|(_, y)| y.is_finite());
    let (x_lo, x_hi) = extremes(finite().map(|(x, _)| *x));
    if x_lo > x_hi {
        return html! {};
    }
    let (y_lo, y_hi, cut) = y_range(&lines);
    let y = Scale::new(y_lo, y_hi, 4, false);
    let x = Scale::new(x_lo, x_hi, 4, true);
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let across = |value: f64| LEFT + width * x.place(value);
    let down = |value: f64| TOP + height * (1.0 - y.place(value));
    let about = KNOWN.iter().find(|(name, _)| *name == metric).map_or("", |(_, about)| about);
    html! {
        figure.panel {
            figcaption {
                span.metric { (metric) }
                @for line in &lines {
                    @if let Some(last) = line.last() {
                        span.last.(series_class(line.index)) { (short(last)) }
                    }
                }
                @if !about.is_empty() { span.about { (about) } }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (metric) " by step" } {
                @for tick in &y.ticks {
                    @let at = format!("{:.1}", down(*tick));
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at) y2=(at) {}
                    text.tick x=(LEFT - 6.0) y=(at) dy="0.32em" text-anchor="end" {
                        (y.label(*tick))
                    }
                }
                @for tick in &x.ticks {
                    @let at = format!("{:.1}", across(*tick));
                    line.axis x1=(at) x2=(at) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM + 4.0) {}
                    text.tick x=(at) y=(HEIGHT - 5.0) text-anchor="middle" { (x.label(*tick)) }
                }
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
                text.tick x=(LEFT - 6.0) y=(HEIGHT - 5.0) text-anchor="end" { "step" }
                svg x=(LEFT) y=(TOP) width=(width) height=(height)
                    viewBox={ (LEFT) " " (TOP) " " (width) " " (height) } {
                    @for line in &lines {
                        g.(series_class(line.index)) {
                            @if line.is_smoothed() {
                                path.raw d=(path(&line.raw, across, down)) {}
                                path.smooth d=(path(&line.smooth, across, down)) {}
                            } @else {
                                path.smooth d=(path(&line.raw, across, down)) {}
                            }
                            @if let [(px, py)] = line.raw[..] {
                                circle.dot cx=(across(px)) cy=(down(py)) r="3" {}
                            }
                        }
                    }
                }
            }
            @if cut > 0 { p.cut { (cut) @if cut == 1 { " value lies" } @else { " values lie" } " outside the frame" } }
        }
    }
}

/// One run's values of one metric.
struct Line {
    index: usize,
    raw: Vec<(f64, f64)>,
    smooth: Vec<(f64, f64)>,
}

impl Line {
    fn new(index: usize, series: &[(u64, f64)]) -> Self {
        let raw: Vec<(f64, f64)> = series.iter().map(|(step, y)| (*step as f64, *y)).collect();
        Line { index, smooth: smooth(&raw), raw }
    }

    fn is_smoothed(&self) -> bool {
        self.raw.len() >= 30
    }

    fn last(&self) -> Option<f64> {
        let line = if self.is_smoothed() { &self.smooth } else { &self.raw };
        line.iter().rev().map(|(_, y)| *y).find(|y| y.is_finite())
    }
}

/// The local linear fit of the [module](self); values that are not finite are left out of it.
fn smooth(raw: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points = average_down(raw);
    let reach = (points.len() / 12).max(2);
    let fit = |at: usize| {
        let near = at.saturating_sub(reach)..points.len().min(at + reach + 1);
        let (mut w0, mut w1, mut w2, mut y0, mut y1) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (place, (_, y)) in near.clone().zip(&points[near.clone()]) {
            let distance = place as f64 - at as f64;
            let weight = 1.0 - distance.abs() / (reach as f64 + 1.0);
            w0 += weight;
            w1 += weight * distance;
            w2 += weight * distance * distance;
            y0 += weight * y;
            y1 += weight * distance * y;
        }
        let determinant = w0 * w2 - w1 * w1;
        // A single point has no slope.
        let fit = if determinant > 0.0 { (w2 * y0 - w1 * y1) / determinant } else { y0 / w0 };
        let (lo, hi) = extremes(points[near].iter().map(|(_, y)| *y));
        fit.max(lo).min(hi)
    };
    (0..points.len()).map(|at| (points[at].0, fit(at))).collect()
}

/// Least and greatest value; infinite and the wrong way round without any.
fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), y| (lo.min(y), hi.max(y)))
}

/// The finite points, averaged over equal stretches so that at most [`MAX_SMOOTHED`] are left.
fn average_down(raw: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = raw.iter().copied().filter(|(_, y)| y.is_finite()).collect();
    let stretch = finite.len().div_ceil(MAX_SMOOTHED).max(1);
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        let (x, y) = part.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        (x / n, y / n)
    };
    finite.chunks(stretch).map(mean).collect()
}

/// The range of the smoothed lines and of 98 % of the raw values, with a margin, and how many raw
/// values lie outside it.
fn y_range(lines: &[Line]) -> (f64, f64, usize) {
    let mut raw: Vec<f64> =
        lines.iter().flat_map(|l| &l.raw).map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
    raw.sort_unstable_by(f64::total_cmp);
    let trim = raw.len() / 100;
    let smooth = lines
        .iter()
        .filter(|line| line.is_smoothed())
        .flat_map(|line| &line.smooth)
        .map(|(_, y)| *y)
        .filter(|y| y.is_finite());
    let (mut lo, mut hi) =
        extremes(raw.iter().copied().skip(trim).take(raw.len() - 2 * trim).chain(smooth));
    let margin = 0.06 * (hi - lo);
    // A quantity that is never negative gets no negative axis.
    let floor = if lo >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    (lo, hi) = ((lo - margin).max(floor), hi + margin);
    (lo, hi, raw.iter().filter(|y| !(lo..=hi).contains(*y)).count())
}

/// Path data through the finite points; a value that is not finite breaks the line.
fn path(points: &[(f64, f64)], across: impl Fn(f64) -> f64, down: impl Fn(f64) -> f64) -> String {
    let mut data = String::new();
    let mut pen_up = true;
    for (x, y) in thin(points) {
        if y.is_finite() {
            // Writing to a string cannot fail.
            let _ =
                write!(data, "{}{:.1} {:.1}", if pen_up { 'M' } else { 'L' }, across(x), down(y));
        }
        pen_up = !y.is_finite();
    }
    data
}

/// At most about [`MAX_POINTS`] points: the least and the greatest of each of equal stretches, in
/// order, so that no spike is lost.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MAX_POINTS / 2);
    let mut kept = Vec::with_capacity(MAX_POINTS + 2);
    for part in points.chunks(stretch) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends: Vec<(f64, f64)> = part
            .iter()
            .min_by(by_value)
            .into_iter()
            .chain(part.iter().max_by(by_value))
            .copied()
            .collect();
        ends.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(ends);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_straight_lines_and_halves_noise() {
        let line: Vec<(f64, f64)> =
            (0..60).map(|i| (f64::from(i), 2.0 - 0.1 * f64::from(i))).collect();
        assert!(std::iter::zip(smooth(&line), &line).all(|(s, l)| (s.1 - l.1).abs() < 1e-9));
        let mut gap = line.clone();
        gap[10].1 = f64::NAN;
        assert_eq!(smooth(&gap).len(), 59);
        assert!(smooth(&gap).iter().all(|(_, y)| y.is_finite()));
        let sign = |i: i32| f64::from(1 - 2 * (i % 2));
        let noisy: Vec<(f64, f64)> = (0..60).map(|i| (f64::from(i), sign(i))).collect();
        assert!(smooth(&noisy)[5..55].iter().all(|(_, y)| y.abs() < 0.5));
        // A fit at the edge of a bend overshoots; a quantity that stays above 0 is drawn above 0.
        let bend: Vec<(f64, f64)> =
            (0..60).map(|i| (f64::from(i), f64::from(59 - i).powi(2))).collect();
        assert!(smooth(&bend).iter().all(|(_, y)| *y >= 0.0));
        assert_eq!(smooth(&[(3.0, 7.0)]), [(3.0, 7.0)]);
        assert!(smooth(&[]).is_empty());
    }

    #[test]
    fn long_logs_are_averaged_before_smoothing() {
        let long: Vec<(f64, f64)> = (0..2_500).map(|i| (f64::from(i), f64::from(i % 3))).collect();
        let short = average_down(&long);
        assert_eq!((short.len(), short[0]), (834, (1.0, 1.0)));
    }

    #[test]
    fn thinning_keeps_spikes_and_order() {
        let mut points: Vec<(f64, f64)> = (0..5_000).map(|i| (f64::from(i), 1.0)).collect();
        points[1_234].1 = 9.0;
        let thinned = thin(&points);
        assert!(thinned.len() <= MAX_POINTS + 2);
        assert!(thinned.contains(&(1_234.0, 9.0)));
        assert!(thinned.windows(2).all(|w| w[0].0 <= w[1].0));
    }

    #[test]
    fn a_gap_breaks_the_path() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 4.0)];
        assert_eq!(path(&points, |x| x, |y| y), "M0.0 1.0M2.0 3.0L3.0 4.0");
    }

    #[test]
    fn a_lone_spike_does_not_flatten_the_rest() {
        let mut raw: Vec<(u64, f64)> = (0..200).map(|i| (i, (i % 7) as f64)).collect();
        raw[50].1 = 1e6;
        let mut line = Line::new(0, &raw);
        line.smooth.clear();
        let (lo, hi, cut) = y_range(&[line]);
        assert!(lo >= 0.0 && hi < 7.0 && cut == 1, "{lo} {hi} {cut}");
    }

    #[test]
    fn panels_follow_the_known_order() {
        let log = MetricsLog::parse(
            b"{\"step\":1,\"zeta\":1,\"kl\":0.1,\"loss\":2}\n",
            std::path::Path::new("m"),
        )
        .unwrap();
        let section = CurveSection::of_run("RL", log);
        assert_eq!(section.panels(), ["loss", "kl"]);
        let chosen = CurveSection { metrics: vec!["zeta".to_owned()], ..section };
        assert_eq!(chosen.panels(), ["zeta"]);
    }
}
