//! A comparison of methods over seeds as one HTML file, under the rules of the [parent](super).

mod curves;
mod tables;

use maud::{Markup, html};

use super::{KINDS, header, legend, shell};
use crate::comparison::{Claim, Comparison, Verdict};
use crate::format::{count, percent};

impl Comparison {
    /// The whole HTML document: no script, no request to anywhere.
    #[must_use]
    pub fn html(&self) -> String {
        let page = shell(
            &self.facts.title,
            &html! {
                (self.page_header())
                (tables::overall(self))
                (self.claims_section())
                @for baseline in &self.baselines {
                    (tables::differences(self, baseline))
                }
                (self.curves_section())
                @for (kind, title) in KINDS {
                    (tables::by_category(self, kind, title))
                }
                (tables::cost(self))
                (self.background())
            },
        );
        page.into_string()
    }

    fn page_header(&self) -> Markup {
        let facts = &self.facts;
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let (seeds, resamples) = (seeds.join(", "), count(self.bootstrap.resamples as f64));
        let rows: [(&str, &str); 5] = [
            ("command", &facts.command),
            ("commit", &facts.commit),
            ("machine", &facts.machine),
            ("seeds", &seeds),
            ("resamples", &resamples),
        ];
        header(&facts.title, rows.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    fn claims_section(&self) -> Markup {
        html! {
            @if !self.claims.is_empty() {
                section {
                    h2 { "Claims" }
                    p.note {
                        "Held against the paired differences measured here. A claim holds where the \
                         95 % interval lies on its side of zero, is contradicted where it lies on \
                         the other, and is undecided where it includes zero."
                    }
                    ul.claims { @for claim in &self.claims { (self.claim_item(claim)) } }
                }
            }
        }
    }

    fn claim_item(&self, claim: &Claim) -> Markup {
        let class = match claim.verdict {
            Verdict::Holds => "up",
            Verdict::Contradicted => "down",
            Verdict::Undecided => "level",
        };
        let spec = &claim.spec;
        html! {
            li {
                p { bdi { (spec.text) } " " span.soft { "(" bdi { (spec.source) } ")" } }
                p.verdict.(class) { (claim.sentence().replace('-', "−")) }
                p.note {
                    bdi { (self.label(&spec.method)) } " against "
                    bdi { (self.label(&spec.against)) } ", " (claim.n) " questions, "
                    (claim.seeds_positive) " of " (self.seeds.len()) " seeds above zero, p "
                    (crate::format::p_value(claim.p))
                }
            }
        }
    }

    fn curves_section(&self) -> Markup {
        let panels = curves::panels(self);
        html! {
            @if !panels.is_empty() {
                section {
                    h2 { "Learning curves" }
                    p.note {
                        "Accuracy in percent against what was spent, mean over seeds; the band \
                         reaches from the worst to the best seed. Points that all seeds have."
                    }
                    (legend(self.methods.iter().map(|method| method.label.as_str())))
                    div.panels.two { @for panel in &panels { (panel) } }
                }
            }
        }
    }

    fn background(&self) -> Markup {
        let facts = &self.facts;
        html! {
            section {
                h2 { "Methods" }
                ul.plain {
                    @for method in &self.methods {
                        li { b { bdi { (method.label) } } ": " bdi { (method.about) } }
                    }
                }
                @if !facts.selection.is_empty() {
                    h3 { "Learning rates, by accuracy on validation questions in percent" }
                    ul.plain {
                        @for selection in &facts.selection {
                            li {
                                bdi { (selection.method) } ": "
                                @for (index, (rate, accuracy)) in selection.candidates.iter().enumerate() {
                                    @if index > 0 { ", " }
                                    (format!("{rate:e}")) " " b { (percent(*accuracy)) }
                                }
                                span.soft { " (taken: " (format!("{:e}", selection.chosen)) ")" }
                            }
                        }
                    }
                }
                @if !facts.notes.is_empty() {
                    h3 { "Notes" }
                    ul.plain { @for note in &facts.notes { li { bdi { (note) } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
