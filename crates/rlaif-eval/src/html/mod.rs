//! The report as one HTML file: no script, no request to anywhere, light and dark.
//!
//! Plots are inline SVG, thumbnails are PNG data URLs. All text from data (candidates, questions,
//! names) is spliced in through `maud`, which escapes it; the only markup taken as it stands is
//! this crate's own style sheet. A content security policy in the file forbids scripts and
//! requests besides.

mod bars;
mod cards;
mod compare;
mod curves;
mod forest;
mod gains;
mod scale;
mod thumbnail;

pub use cards::{CardAnswer, ClipCard};
pub use curves::{CurveRun, CurveSection};
pub use thumbnail::FrameError;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::bootstrap::Interval;
use crate::format::{bytes, duration, percent, percent_interval};
use crate::gain::Gains;
use crate::item::ItemKind;
use crate::report::EvalReport;
use crate::summary::Summary;

const STYLE: &str = include_str!("style.css");

const KINDS: [(ItemKind, &str); 2] =
    [(ItemKind::MultipleChoice, "Multiple choice"), (ItemKind::OpenEnded, "Open-ended")];

/// Everything that a report may show; what is empty is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HtmlReport {
    /// Headline.
    pub title: String,
    /// Name and value of what to know about the run: recipe, device, wall time, seed.
    pub facts: Vec<(String, String)>,
    /// Checkpoints in the order of training.
    pub evals: Vec<EvalReport>,
    /// Pairs of them to compare; the last one makes the headline figures.
    pub gains: Vec<Gains>,
    /// Training curves, a section for each stage.
    pub curves: Vec<CurveSection>,
    /// Held-out questions with the answers of each checkpoint.
    pub held_out: Vec<ClipCard>,
    /// Groups sampled in training, with ranks and advantages.
    pub training_groups: Vec<ClipCard>,
}

impl HtmlReport {
    /// A report of a summary's checkpoints, gains, cost and seed; the rest is for the caller to
    /// add.
    #[must_use]
    pub fn of_summary(title: impl Into<String>, summary: &Summary) -> Self {
        let facts = &summary.facts;
        let fact = |name: &str, value: String| (name.to_owned(), value);
        HtmlReport {
            title: title.into(),
            facts: vec![
                fact("wall time", duration(facts.wall_seconds)),
                fact("peak memory", bytes(facts.peak_rss_bytes)),
                fact("seed", facts.seed.to_string()),
            ],
            evals: vec![summary.stages.sft.clone(), summary.stages.oracle_rlaif.clone()],
            gains: vec![summary.gain.clone()],
            ..HtmlReport::default()
        }
    }

    /// The whole HTML document.
    ///
    /// # Errors
    ///
    /// A frame's bytes do not match its size.
    pub fn render(&self) -> Result<String, FrameError> {
        let held_out = cards::section(
            "Answers on held-out videos",
            "The same question to each checkpoint. A tick marks the right option and right answers.",
            &self.held_out,
        )?;
        let groups = cards::section(
            "Groups sampled in training",
            "Answers of one group, best rank first; equal ranks are ties. The advantage is the \
             weight of an answer in the policy gradient.",
            &self.training_groups,
        )?;
        let page = shell(
            &self.title,
            &html! {
                (self.header())
                @if let Some(gains) = self.gains.last() { (tiles(gains, &self.evals)) }
                @for (kind, name) in KINDS {
                    (bars::section(name, kind, &self.evals))
                }
                (gains::section(&self.gains, &self.evals))
                (curves::sections(&self.curves))
                (held_out)
                (groups)
            },
        );
        Ok(page.into_string())
    }

    fn header(&self) -> Markup {
        header(&self.title, self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// The document around a page's parts, with the style sheet and the policy of the [module](self).
fn shell(title: &str, parts: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (parts) } }
        }
    }
}

fn header<'a>(title: &str, facts: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    let mut facts = facts.peekable();
    html! {
        header {
            h1 { (title) }
            @if facts.peek().is_some() {
                dl.facts {
                    @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }
}

/// The headline figures of one pair of checkpoints.
fn tiles(gains: &Gains, evals: &[EvalReport]) -> Markup {
    let accuracy = |name: &str, kind| {
        let section = evals.iter().find(|eval| eval.name == name)?.section(kind)?;
        Some((section.accuracy, section.ci95))
    };
    html! {
        div.tiles {
            @for (kind, title) in KINDS {
                @if let Some(gain) = gains.of(kind) {
                    div.tile {
                        p.tile-title { (title) span.soft { ", " (gain.measure.label()) } }
                        p.tile-gain.(direction(gain.ci95)) {
                            (points(gain.points)) span.unit { " points" }
                        }
                        p.tile-interval {
                            "95 % interval " (points_interval(gain.ci95)) " · " (gain.n) " questions"
                        }
                        @if let (Some((before, before_ci)), Some((after, after_ci))) =
                            (accuracy(&gains.before, kind), accuracy(&gains.after, kind)) {
                            p.tile-path {
                                bdi { (gains.before) } " " b { (percent(before)) " %" } " "
                                span.soft { (percent_interval(before_ci)) }
                                " → "
                                bdi { (gains.after) } " " b { (percent(after)) " %" } " "
                                span.soft { (percent_interval(after_ci)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Percentage points as in [`crate::format::points`], with a typographic minus.
fn points(points: f64) -> String {
    crate::format::points(points).replace('-', "−")
}

/// An interval in percentage points with typographic minus signs.
fn points_interval(ci95: Interval) -> String {
    crate::format::points_interval(ci95).replace('-', "−")
}

/// The class that colours a difference: by which side of zero its interval lies on.
fn direction([lo, hi]: Interval) -> &'static str {
    if lo > 0.0 {
        "up"
    } else if hi < 0.0 {
        "down"
    } else {
        "level"
    }
}

/// The class of the series at a place, from a palette of eight.
fn series_class(index: usize) -> String {
    format!("s{}", index % 8)
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        ul.legend {
            @for (index, name) in names.enumerate() {
                li { span.swatch.(series_class(index)) {} bdi { (name) } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
