//! Tables of a comparison: accuracies, differences with their intervals drawn, cost.

use maud::{Markup, html};

use super::super::{KINDS, direction, forest, points, points_interval};
use crate::comparison::{Comparison, Difference, MethodResult};
use crate::format::{
    count, duration, p_value, percent, percent_half, percent_interval, points as signed, words,
};
use crate::item::ItemKind;

/// Methods by kind of question, with intervals and seeds.
pub(super) fn overall(comparison: &Comparison) -> Markup {
    let kinds = || KINDS.into_iter().filter(|(kind, _)| comparison.questions.contains_key(kind));
    html! {
        section {
            h2 { "Accuracy" }
            p.note {
                "In percent, mean over seeds. Underlined: best mean of the column."
                @if let Some(baseline) = comparison.baselines.first() {
                    " †: the 95 % interval of the paired difference to "
                    bdi { (comparison.label(baseline)) } " leaves out zero."
                }
                @for (kind, title) in kinds() {
                    @if let Some(chance) = comparison.questions.get(&kind).and_then(|q| q.chance) {
                        " " (title) " by guessing: " (percent(chance)) " %."
                    }
                }
                " " (comparison.interval_note())
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "method" }
                            @for (kind, title) in kinds() {
                                th.num { (title) @if let Some(questions) = comparison.questions.get(&kind) {
                                    " (n = " (questions.n) ")"
                                } }
                                th.num { "95 % interval, by seed" }
                            }
                        }
                    }
                    tbody {
                        @for method in &comparison.methods {
                            tr {
                                td { bdi { (method.label) } }
                                @for (kind, _) in kinds() {
                                    @if let Some(score) = method.score(kind, None) {
                                        td.num { (mean(comparison, method, kind, None)) }
                                        td.num.soft {
                                            (percent_interval(score.ci95)) br;
                                            small { (joined(score.per_seed.iter().map(|a| percent(*a)))) }
                                        }
                                    } @else { td.num { "–" } td {} }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A mean, underlined where it is the best of its column, with † where it differs from the first
/// baseline.
fn mean(c: &Comparison, method: &MethodResult, kind: ItemKind, category: Option<&str>) -> Markup {
    let Some(score) = method.score(kind, category) else { return html! { "–" } };
    html! {
        b.best[c.is_best(score.accuracy, kind, category)] { (percent(score.accuracy)) }
        @if c.differs(&method.name, kind, category) { "†" }
    }
}

fn joined(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(" · ")
}

/// Categories by methods.
pub(super) fn by_category(comparison: &Comparison, kind: ItemKind, title: &str) -> Markup {
    let Some(questions) = comparison.questions.get(&kind) else { return html! {} };
    let categories = questions.by_category.iter().map(|(name, n)| (Some(name.as_str()), *n));
    html! {
        section {
            h2 { (title) " by category" }
            p.note {
                "Mean of the " (questions.headline.label()) " in percent ± half the width of its \
                 95 % interval."
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "category" } th.num { "n" }
                            @for method in &comparison.methods { th.num { bdi { (method.label) } } }
                        }
                    }
                    tbody {
                        @for (category, n) in std::iter::once((None, questions.n)).chain(categories) {
                            tr.total[category.is_none()] {
                                td { (category.map_or("All questions".to_owned(), words)) }
                                td.num { (n) }
                                @for method in &comparison.methods {
                                    td.num {
                                        (mean(comparison, method, kind, category))
                                        @if let Some(score) = method.score(kind, category) {
                                            span.soft { " ± " (percent_half(score.ci95)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Every other method against a baseline: overall, and folded by category.
pub(super) fn differences(comparison: &Comparison, baseline: &str) -> Markup {
    let contrasts = || comparison.contrasts.iter().filter(|c| c.baseline == baseline);
    let rows = |kind, category: Option<&str>| -> Vec<(String, Difference)> {
        let row = |c: &crate::comparison::Contrast| {
            let label = comparison.label(&c.method).to_owned();
            Some((label, c.difference(kind, category)?.clone()))
        };
        contrasts().filter_map(row).collect()
    };
    html! {
        section {
            h2 { "Difference to " bdi { (comparison.label(baseline)) } }
            p.note {
                "Percentage points, paired by seed and question, with 95 % intervals; coloured where \
                 the interval leaves out zero. Holm p allows for the number of methods compared, \
                 nothing allows for the number of categories."
            }
            @for (kind, title) in KINDS {
                @if let Some(questions) = comparison.questions.get(&kind) {
                    h3 { (title) }
                    (difference_table(&rows(kind, None)))
                    details {
                        summary { (title) " by category" }
                        @for (category, n) in &questions.by_category {
                            h3 { (words(category)) span.soft { ", n = " (n) } }
                            (difference_table(&rows(kind, Some(category))))
                        }
                    }
                }
            }
        }
    }
}

fn difference_table(rows: &[(String, Difference)]) -> Markup {
    let scale = forest::scale(rows.iter().map(|(_, d)| (d.points, d.ci95)));
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "method" } th.num { "points" } th.num { "95 % interval" }
                        th.forest-head { (forest::axis(&scale)) }
                        th.num { "by seed" } th.num { "p" } th.num { "Holm p" }
                    }
                }
                tbody {
                    @for (label, d) in rows {
                        tr {
                            td { bdi { (label) } }
                            td.num.(direction(d.ci95)) { b { (points(d.points)) } }
                            td.num.soft { (points_interval(d.ci95)) }
                            td.forest { (forest::whisker(d.points, d.ci95, &scale)) }
                            td.num.soft {
                                (joined(d.per_seed.iter().map(|p| signed(*p).replace('-', "−"))))
                            }
                            td.num { (p_value(d.p)) }
                            td.num { (p_value(d.holm_p)) }
                        }
                    }
                }
            }
        }
    }
}

/// What each method used up.
pub(super) fn cost(comparison: &Comparison) -> Markup {
    html! {
        section {
            h2 { "Cost" }
            p.note { "Of one run, mean over seeds." }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "method" } th.num { "completions" } th.num { "judge calls" }
                            th.num { "judge time" } th.num { "wall time" } th.num { "learning rate" }
                        }
                    }
                    tbody {
                        @for method in &comparison.methods {
                            tr {
                                td { bdi { (method.label) } }
                                td.num { (count(method.cost.completions)) }
                                td.num { (count(method.cost.judge_calls)) }
                                td.num { (duration(method.cost.judge_seconds)) }
                                td.num { (duration(method.cost.wall_seconds)) }
                                td.num {
                                    (method.learning_rate.map_or("–".to_owned(), |rate| format!("{rate:e}")))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
