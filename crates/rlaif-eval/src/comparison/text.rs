//! A comparison as a narrow table for the terminal: overall accuracies, differences, claims.

use std::fmt::Write;

use super::{Comparison, Contrast, MethodResult};
use crate::format::{p_value, percent, points, printable};
use crate::item::ItemKind;
use crate::table::Table;

const KINDS: [(ItemKind, &str); 2] =
    [(ItemKind::MultipleChoice, "multiple choice"), (ItemKind::OpenEnded, "open-ended")];

impl Comparison {
    /// Overall accuracies, differences to the baselines and claims, as aligned plain text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n", printable(&self.facts.title));
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let _ = writeln!(text, "accuracy in percent, mean over seeds {}", seeds.join(", "));
        text.push_str(&self.accuracy_table().render());
        for baseline in &self.baselines {
            let label = printable(self.label(baseline));
            let _ = writeln!(text, "\ndifference to {label} in percentage points");
            text.push_str(&self.difference_table(baseline).render());
        }
        let _ = writeln!(text, "\n{} * leaves out 0.", self.interval_note());
        text.push_str("Holm p: adjusted for the methods compared. up: seeds with a gain.\n");
        if !self.claims.is_empty() {
            text.push_str("\nclaims\n");
        }
        for claim in &self.claims {
            let (claimed, source) = (printable(&claim.spec.text), printable(&claim.spec.source));
            let _ = writeln!(text, "- {claimed} ({source})\n  {}", claim.sentence());
        }
        text
    }

    fn kinds(&self) -> impl Iterator<Item = (ItemKind, &'static str)> {
        KINDS.into_iter().filter(|(kind, _)| self.questions.contains_key(kind))
    }

    fn accuracy_table(&self) -> Table {
        let mut table = Table::default();
        let titles = self.kinds().map(|(kind, title)| match self.questions.get(&kind) {
            Some(questions) => format!("{title} (n {})", questions.n),
            None => title.to_owned(),
        });
        table.head(std::iter::once("method".to_owned()).chain(titles));
        let cell = |method: &MethodResult, kind| {
            let Some(scores) = method.of(kind) else { return "-".to_owned() };
            let [lo, hi] = scores.overall.ci95.map(percent);
            format!("{:>5} [{lo:>5}, {hi:>5}]", percent(scores.overall.accuracy))
        };
        for method in &self.methods {
            let cells = self.kinds().map(|(kind, _)| cell(method, kind));
            table.row(std::iter::once(method.label.clone()).chain(cells));
        }
        table
    }

    fn difference_table(&self, baseline: &str) -> Table {
        let mut table = Table::default();
        let titles = self.kinds().flat_map(|(_, title)| [title, "Holm p", "up"].map(str::to_owned));
        table.head(std::iter::once("method".to_owned()).chain(titles));
        let cells = |contrast: &Contrast, kind| {
            let Some(differences) = contrast.of(kind) else { return ["-"; 3].map(str::to_owned) };
            let all = &differences.overall;
            let mark = if all.excludes_zero() { '*' } else { ' ' };
            let [mean, lo, hi] = [all.points, all.ci95[0], all.ci95[1]].map(points);
            [
                format!("{mean:>6} [{lo:>6}, {hi:>6}] {mark}"),
                p_value(all.holm_p),
                format!("{}/{}", all.seeds_positive, all.per_seed.len()),
            ]
        };
        for contrast in self.contrasts.iter().filter(|contrast| contrast.baseline == baseline) {
            let cells = self.kinds().flat_map(|(kind, _)| cells(contrast, kind));
            table.row(std::iter::once(self.label(&contrast.method).to_owned()).chain(cells));
        }
        table
    }
}
