//! Accuracy by category: a bar for each checkpoint with its interval, checkpoints side by side.
//!
//! Lengths are percentages of the drawing's width, so that the plot stretches with the page while
//! its labels keep their size.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{legend, series_class};
use crate::format::{percent, percent_interval, words};
use crate::item::ItemKind;
use crate::report::{Estimate, EvalReport, Section};

/// Height of one bar and of the gap behind it, in pixels.
const BAR: usize = 12;
const GAP: usize = 4;

/// Below this many questions a category is marked as small.
const SMALL: usize = 100;

pub(super) fn section(title: &str, kind: ItemKind, evals: &[EvalReport]) -> Markup {
    let sections: Vec<(usize, &EvalReport, &Section)> = evals
        .iter()
        .enumerate()
        .filter_map(|(index, eval)| Some((index, eval, eval.section(kind)?)))
        .collect();
    let Some((_, _, first)) = sections.first().copied() else { return html! {} };
    let of = |pick: &dyn Fn(&Section) -> Option<Estimate>| -> Vec<Option<Estimate>> {
        evals.iter().map(|eval| eval.section(kind).and_then(pick)).collect()
    };
    let names: BTreeSet<&String> =
        sections.iter().flat_map(|(_, _, section)| section.by_category.keys()).collect();
    let all = of(&|s| Some(Estimate { mean: s.accuracy, ci95: s.ci95, n: s.n }));
    html! {
        section {
            h2 { (title) " by category" }
            p.note {
                "Bars: " (first.headline.label()) ", in percent. Whiskers: 95 % bootstrap \
                 interval over " (first.videos) " videos."
                @if let Some(chance) = first.chance {
                    " Dashed: guessing, " (percent(chance)) " %."
                }
            }
            (legend(sections.iter().map(|(_, eval, _)| eval.name.as_str())))
            div.bars {
                (row("All questions", &all, first.chance))
                @for name in names {
                    @let cells = of(&|s| {
                        let c = s.by_category.get(name)?;
                        Some(Estimate { mean: c.accuracy, ci95: c.ci95, n: c.n })
                    });
                    (row(&words(name), &cells, first.chance))
                }
                (axis())
            }
            @for (_, eval, section) in &sections { (unread_letters(eval, section)) }
        }
    }
}

fn row(name: &str, cells: &[Option<Estimate>], chance: Option<f64>) -> Markup {
    let n = cells.iter().flatten().map(|cell| cell.n).max().unwrap_or(0);
    let height = cells.len() * (BAR + GAP) + GAP;
    let place = |share: f64| format!("{:.2}%", 100.0 * share);
    html! {
        div.bar-row {
            div.bar-name {
                (name) " " span.soft title=[(n < SMALL).then_some("fewer than 100 questions")] {
                    "n=" (n)
                }
            }
            svg.bar-plot width="100%" height=(height) role="img" aria-label=(name) {
                @for quarter in 0..=4 {
                    @let x = format!("{}%", 25 * quarter);
                    line.grid x1=(x) x2=(x) y1="0" y2="100%" {}
                }
                @for (index, cell) in cells.iter().enumerate() {
                    @if let Some(Estimate { mean, ci95: [lo, hi], .. }) = cell {
                        @let top = GAP + index * (BAR + GAP);
                        @let middle = top + BAR / 2;
                        g.(series_class(index)) {
                            rect.bar x="0" y=(top) width=(place(*mean)) height=(BAR) rx="2" {}
                            line.whisker x1=(place(*lo)) x2=(place(*hi)) y1=(middle) y2=(middle) {}
                            @for end in [lo, hi] {
                                line.whisker x1=(place(*end)) x2=(place(*end))
                                    y1=(middle - 3) y2=(middle + 3) {}
                            }
                        }
                    }
                }
                @if let Some(chance) = chance {
                    line.chance x1=(place(chance)) x2=(place(chance)) y1="0" y2="100%" {}
                }
            }
            div.bar-values {
                @for (index, cell) in cells.iter().enumerate() {
                    div.(series_class(index)) {
                        @match cell {
                            Some(Estimate { mean, ci95, .. }) => {
                                b { (percent(*mean)) } " " span.soft { (percent_interval(*ci95)) }
                            }
                            None => { "–" }
                        }
                    }
                }
            }
        }
    }
}

fn axis() -> Markup {
    html! {
        div.bar-row.bar-axis aria-hidden="true" {
            div.bar-name {}
            div.bar-ticks { @for tick in [0, 25, 50, 75, 100] { span { (tick) } } }
            div.bar-values {}
        }
    }
}

fn unread_letters(eval: &EvalReport, section: &Section) -> Markup {
    let (missing, ambiguous) = (section.letters_missing, section.letters_ambiguous);
    html! {
        @if missing + ambiguous > 0 {
            p.remark {
                bdi { (eval.name) } ": " (missing) " generated texts name no option and "
                (ambiguous) " name several; by letter they count as wrong."
            }
        }
    }
}
