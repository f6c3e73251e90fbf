//! Differences with their intervals, drawn on one axis around zero.

use maud::{Markup, html};

use super::scale::Scale;
use super::{direction, points};
use crate::bootstrap::Interval;

/// An axis that holds zero and all of some differences with their intervals.
pub(super) fn scale(differences: impl Iterator<Item = (f64, Interval)>) -> Scale {
    let (lo, hi) = differences.fold((0.0_f64, 0.0_f64), |(lo, hi), (points, ci95)| {
        (lo.min(ci95[0]).min(points), hi.max(ci95[1]).max(points))
    });
    let margin = 0.03 * (hi - lo);
    Scale::new(lo - margin, hi + margin, 4, false)
}

/// One difference on it.
pub(super) fn whisker(difference: f64, ci95: Interval, scale: &Scale) -> Markup {
    let at = |value| place(scale, value);
    html! {
        svg width="100%" height="30" role="img" aria-label={ (points(difference)) " points" } {
            @for tick in &scale.ticks {
                line.grid x1=(at(*tick)) x2=(at(*tick)) y1="0" y2="30" {}
            }
            line.zero x1=(at(0.0)) x2=(at(0.0)) y1="0" y2="30" {}
            g.(direction(ci95)) {
                line.span x1=(at(ci95[0])) x2=(at(ci95[1])) y1="15" y2="15" {}
                circle.dot cx=(at(difference)) cy="15" r="4" {}
            }
        }
    }
}

/// Its labels.
pub(super) fn axis(scale: &Scale) -> Markup {
    html! {
        svg width="100%" height="14" role="img" aria-label="axis of differences in percentage points" {
            @for tick in &scale.ticks {
                text.tick x=(place(scale, *tick)) y="11" text-anchor="middle" {
                    @if *tick > 0.0 { "+" } (scale.label(*tick).replace('-', "−"))
                }
            }
        }
    }
}

fn place(scale: &Scale, value: f64) -> String {
    format!("{:.2}%", 100.0 * scale.place(value))
}
