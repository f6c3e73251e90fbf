//! Learning curves of a comparison: accuracy against what was spent, a line with a band for each
//! method.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::scale::Scale;
use super::super::series_class;
use crate::comparison::{Comparison, MeanCurvePoint};
use crate::item::ItemKind;

/// Drawing area, in the units of its view box.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// What was spent, by name.
type Spent = (&'static str, fn(&MeanCurvePoint) -> f64);

const SPENT: [Spent; 2] = [
    ("completions sampled", |point| point.completions),
    ("judge calls", |point| point.judge_calls),
];

/// One method's curve: what was spent, then mean, least and greatest accuracy in percent.
struct Line {
    index: usize,
    points: Vec<[f64; 4]>,
}

/// A panel for each kind of question and each thing spent of which there are curves.
pub(super) fn panels(comparison: &Comparison) -> Vec<Markup> {
    let mut panels = Vec::new();
    for (kind, title) in super::super::KINDS {
        for (spent, of) in SPENT {
            let lines = lines(comparison, kind, of);
            if lines.iter().any(|line| line.points.len() > 1) {
                panels.push(panel(title, spent, &lines));
            }
        }
    }
    panels
}

/// Methods that spend as they learn: of the others there is nothing to draw against it.
fn lines(comparison: &Comparison, kind: ItemKind, spent: fn(&MeanCurvePoint) -> f64) -> Vec<Line> {
    let line = |(index, curve): (usize, &[MeanCurvePoint])| {
        let point = |point: &MeanCurvePoint| {
            let band = point.of(kind)?;
            Some([spent(point), 100.0 * band.mean, 100.0 * band.min, 100.0 * band.max])
        };
        let points: Vec<[f64; 4]> = curve.iter().filter_map(point).collect();
        let moves = points.windows(2).any(|pair| pair[0][0] < pair[1][0]);
        moves.then_some(Line { index, points })
    };
    let curves = comparison.methods.iter().map(|method| method.curve.as_slice());
    curves.enumerate().filter_map(line).collect()
}

fn panel(title: &str, spent: &str, lines: &[Line]) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|p| p[2]).fold(f64::INFINITY, f64::min);
    let most = points().map(|p| p[3]).fold(f64::NEG_INFINITY, f64::max);
    let margin = 0.05 * (most - least);
    let y = Scale::new((least - margin).max(0.0), (most + margin).min(100.0), 5, false);
    let x = Scale::new(0.0, points().map(|p| p[0]).fold(0.0, f64::max), 4, true);
    let across = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * x.place(value);
    let down = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - y.place(value));
    let floor = HEIGHT - BOTTOM;
    html! {
        figure.panel.wide {
            figcaption { span.metric { (title) } span.soft { "by " (spent) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (title) " by " (spent) } {
                @for tick in &y.ticks {
                    @let at = format!("{:.1}", down(*tick));
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at) y2=(at) {}
                    text.tick x=(LEFT - 6.0) y=(at) dy="0.32em" text-anchor="end" { (y.label(*tick)) }
                }
                @for tick in &x.ticks {
                    @let at = format!("{:.1}", across(*tick));
                    line.axis x1=(at) x2=(at) y1=(floor) y2=(floor + 4.0) {}
                    text.tick x=(at) y=(floor + 17.0) text-anchor="middle" { (x.label(*tick)) }
                }
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(floor) y2=(floor) {}
                text.tick x=(WIDTH - RIGHT) y=(HEIGHT - 4.0) text-anchor="end" { (spent) }
                @for line in lines {
                    g.(series_class(line.index)) { path.band d=(band(line, across, down)) {} }
                }
                @for line in lines {
                    g.(series_class(line.index)) {
                        path.smooth d=(path(line.points.iter().map(|p| (across(p[0]), down(p[1]))))) {}
                        @if let Some(last) = line.points.last() {
                            circle.dot cx=(format!("{:.1}", across(last[0])))
                                cy=(format!("{:.1}", down(last[1]))) r="3" {}
                        }
                    }
                }
            }
        }
    }
}

/// The outline from the worst seeds and back along the best.
fn band(line: &Line, across: impl Fn(f64) -> f64, down: impl Fn(f64) -> f64) -> String {
    let there = line.points.iter().map(|p| (across(p[0]), down(p[2])));
    let back = line.points.iter().rev().map(|p| (across(p[0]), down(p[3])));
    format!("{}Z", path(there.chain(back)))
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut data = String::new();
    for (index, (x, y)) in points.enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(data, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_goes_there_and_back() {
        let line = Line { index: 0, points: vec![[0.0, 2.0, 1.0, 3.0], [4.0, 5.0, 4.0, 6.0]] };
        assert_eq!(band(&line, |x| x, |y| y), "M0.0 1.0L4.0 4.0L4.0 6.0L0.0 3.0Z");
        assert_eq!(path(std::iter::empty()), "");
    }
}
