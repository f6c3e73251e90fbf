//! What was gained, as tables: by category, each gain drawn on one axis around zero, and by every
//! measure that was taken.

use maud::{Markup, html};

use super::{KINDS, direction, forest, points, points_interval};
use crate::format::{p_value, percent, percent_interval, words};
use crate::gain::{Gain, Gains};
use crate::measure::Measure;
use crate::report::EvalReport;

pub(super) fn section(gains: &[Gains], evals: &[EvalReport]) -> Markup {
    html! {
        @for pair in gains {
            section {
                h2 { "Gain of " bdi { (pair.after) } " over " bdi { (pair.before) } }
                p.note {
                    "Percentage points on the same questions, with 95 % intervals from a paired \
                     bootstrap over videos; coloured where the interval excludes zero. p: McNemar, \
                     exact. Intervals and p-values are not corrected for the number of categories."
                }
                @for (kind, title) in KINDS {
                    @if let Some(gain) = pair.of(kind) { (by_category(title, gain)) }
                }
            }
        }
        @if !evals.is_empty() {
            section {
                h2 { "All measures" }
                (all_measures(gains, evals))
                @for eval in evals.iter().filter(|eval| eval.skipped_clips > 0) {
                    p.remark {
                        bdi { (eval.name) } ": " (eval.skipped_clips)
                        " questions are left out because their video could not be read."
                    }
                }
            }
        }
    }
}

fn by_category(title: &str, gain: &Gain) -> Markup {
    let rows: Vec<(String, &Gain, bool)> =
        std::iter::once(("All questions".to_owned(), gain, true))
            .chain(gain.by_category.iter().map(|(name, gain)| (words(name), gain, false)))
            .collect();
    let scale = forest::scale(rows.iter().map(|(_, gain, _)| (gain.points, gain.ci95)));
    html! {
        h3 { (title) span.soft { ", " (gain.measure.label()) } }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "category" } th.num { "n" } th.num { "points" }
                        th.num { "95 % interval" } th.forest-head { (forest::axis(&scale)) }
                        th.num { "won" } th.num { "lost" } th.num { "p" }
                    }
                }
                tbody {
                    @for (name, gain, total) in &rows {
                        tr.total[*total] {
                            td { (name) }
                            td.num { (gain.n) }
                            td.num.(direction(gain.ci95)) { b { (points(gain.points)) } }
                            td.num.soft { (points_interval(gain.ci95)) }
                            td.forest { (forest::whisker(gain.points, gain.ci95, &scale)) }
                            td.num { (gain.wins) }
                            td.num { (gain.losses) }
                            td.num { (gain.mcnemar_p.map_or("–".to_owned(), p_value)) }
                        }
                    }
                }
            }
        }
    }
}

fn all_measures(gains: &[Gains], evals: &[EvalReport]) -> Markup {
    let estimate = |eval: &EvalReport, measure: Measure| {
        KINDS.into_iter().find_map(|(kind, _)| eval.section(kind)?.measures.get(&measure).copied())
    };
    let taken = |measure: &Measure| evals.iter().any(|eval| estimate(eval, *measure).is_some());
    html! {
        p.note { "Means in percent with 95 % intervals." }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "measure" }
                        @for eval in evals { th.num colspan="2" { bdi { (eval.name) } } }
                        @for pair in gains {
                            th.num colspan="2" {
                                "gain " span.soft { bdi { (pair.after) } " over " bdi { (pair.before) } }
                            }
                        }
                    }
                }
                tbody {
                    @for measure in Measure::ALL.into_iter().filter(taken) {
                        tr {
                            td { (measure.label()) }
                            @for eval in evals {
                                @if let Some(estimate) = estimate(eval, measure) {
                                    td.num { b { (percent(estimate.mean)) } }
                                    td.num.soft { (percent_interval(estimate.ci95)) }
                                } @else { td.num { "–" } td {} }
                            }
                            @for pair in gains {
                                @if let Some(gain) = pair.measures.get(&measure) {
                                    td.num.(direction(gain.ci95)) { b { (points(gain.points)) } }
                                    td.num.soft { (points_interval(gain.ci95)) }
                                } @else { td.num { "–" } td {} }
                            }
                        }
                    }
                }
            }
        }
    }
}
