//! A comparison as Markdown for GitHub: methods by benchmarks, then by category, differences,
//! claims, cost.
//!
//! Text from outside is escaped, so that a label cannot open a table cell, a link or a tag.

mod escape;

use std::fmt::Write;

use super::{Comparison, MethodResult};
use crate::format::{
    count, duration, p_value, percent, percent_half, percent_interval, points, points_interval,
    words,
};
use crate::item::ItemKind;
use escape::{Grid, code, plain};

const KINDS: [(ItemKind, &str); 2] =
    [(ItemKind::MultipleChoice, "Multiple choice"), (ItemKind::OpenEnded, "Open-ended")];

impl Comparison {
    /// The comparison as Markdown, to be read on GitHub.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = self.head();
        text.push_str("\n## Accuracy\n\n");
        text.push_str(&self.overall().render());
        text.push_str(&self.legend());
        self.claims_list(&mut text);
        for (kind, title) in KINDS {
            let Some(questions) = self.questions.get(&kind) else { continue };
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {title}\n\n### Accuracy by category\n\n");
            text.push_str(&self.by_category(kind).render());
            let _ = write!(
                text,
                "\n{} in percent, mean ± half the width of its 95 % interval.\n",
                upper_first(questions.headline.label())
            );
            for baseline in &self.baselines {
                let _ = write!(text, "\n### Difference to {}\n\n", plain(self.label(baseline)));
                text.push_str(&self.differences(kind, baseline).render());
                text.push('\n');
                text.push_str(&self.differences_by_category(kind, baseline).render());
            }
        }
        if !self.baselines.is_empty() {
            text.push_str(
                "\nDifferences are in percentage points, paired by seed and question; bold where \
                 the 95 % interval leaves out zero. Holm p allows for the number of methods \
                 compared, nothing allows for the number of categories.\n",
            );
        }
        self.cost_and_methods(&mut text);
        self.selection_and_notes(&mut text);
        text
    }

    fn head(&self) -> String {
        let facts = &self.facts;
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let mut text = format!("# {}\n\n", plain(&facts.title));
        let mut grid = Grid::new(["", ""].map(str::to_owned).to_vec(), 2);
        let rows = [
            ("command", code(&facts.command)),
            ("commit", code(&facts.commit)),
            ("machine", plain(&facts.machine)),
            ("seeds", seeds.join(", ")),
            ("resamples", count(self.bootstrap.resamples as f64)),
        ];
        for (name, value) in rows {
            grid.row(vec![name.to_owned(), value]);
        }
        text.push_str(&grid.render());
        text
    }

    fn overall(&self) -> Grid {
        let kinds: Vec<_> = KINDS.iter().filter(|(k, _)| self.questions.contains_key(k)).collect();
        let mut titles = vec!["method".to_owned()];
        for (kind, title) in &kinds {
            let n = self.questions.get(kind).map_or(0, |questions| questions.n);
            titles.push(format!("{title} (n = {n})"));
            titles.push("by seed".to_owned());
        }
        let mut grid = Grid::new(titles, 1);
        for method in &self.methods {
            let mut row = vec![plain(&method.label)];
            for (kind, _) in &kinds {
                let Some(score) = method.score(*kind, None) else {
                    row.extend(["–", "–"].map(str::to_owned));
                    continue;
                };
                let mean = self.marked(method, *kind, None);
                row.push(format!("{mean} {}", percent_interval(score.ci95)));
                let seeds: Vec<String> = score.per_seed.iter().map(|a| percent(*a)).collect();
                row.push(seeds.join(" · "));
            }
            grid.row(row);
        }
        grid
    }

    /// A mean, bold where it is the best of its column, with † where it differs from the first
    /// baseline.
    fn marked(&self, method: &MethodResult, kind: ItemKind, category: Option<&str>) -> String {
        let Some(score) = method.score(kind, category) else { return "–".to_owned() };
        let mean = bold(percent(score.accuracy), self.is_best(score.accuracy, kind, category));
        if self.differs(&method.name, kind, category) { format!("{mean}†") } else { mean }
    }

    fn legend(&self) -> String {
        let mut text = "\nIn percent, mean over seeds and its 95 % interval. Bold: best mean of \
                        the column."
            .to_owned();
        if let Some(baseline) = self.baselines.first() {
            let _ = write!(
                text,
                " †: the 95 % interval of the paired difference to {} leaves out zero.",
                plain(self.label(baseline))
            );
        }
        for (kind, title) in KINDS {
            let Some(chance) = self.questions.get(&kind).and_then(|q| q.chance) else { continue };
            let _ = write!(text, " {title} by guessing: {} %.", percent(chance));
        }
        let _ = write!(text, " {}", self.interval_note());
        text.push('\n');
        text
    }

    fn claims_list(&self, text: &mut String) {
        if self.claims.is_empty() {
            return;
        }
        text.push_str("\n## Claims\n\n");
        for claim in &self.claims {
            let (spec, seeds) = (&claim.spec, self.seeds.len());
            let (method, against) = (self.label(&spec.method), self.label(&spec.against));
            let _ = write!(
                text,
                "- {} ({})\n  **{}**, {} against {}, n = {}, {} of {seeds} seeds above zero, p {}\n",
                plain(&spec.text),
                plain(&spec.source),
                claim.sentence(),
                plain(method),
                plain(against),
                claim.n,
                claim.seeds_positive,
                p_value(claim.p)
            );
        }
    }

    /// Categories as rows, methods as columns.
    fn by_category(&self, kind: ItemKind) -> Grid {
        let labels = self.methods.iter().map(|method| plain(&method.label));
        let titles = ["category", "n"].map(str::to_owned).into_iter().chain(labels);
        let mut grid = Grid::new(titles.collect(), 1);
        for (category, n) in self.rows(kind) {
            let cells = self.methods.iter().map(|method| {
                let score = method.score(kind, category);
                score.map_or("–".to_owned(), |score| {
                    let mean = self.marked(method, kind, category);
                    format!("{mean} ± {}", percent_half(score.ci95))
                })
            });
            grid.row([row_name(category), n.to_string()].into_iter().chain(cells).collect());
        }
        grid
    }

    /// All questions of a kind, then its categories, each with their number.
    fn rows(&self, kind: ItemKind) -> Vec<(Option<&str>, usize)> {
        let Some(questions) = self.questions.get(&kind) else { return Vec::new() };
        let categories = questions.by_category.iter().map(|(name, n)| (Some(name.as_str()), *n));
        std::iter::once((None, questions.n)).chain(categories).collect()
    }

    fn differences(&self, kind: ItemKind, baseline: &str) -> Grid {
        let titles =
            ["method", "points", "95 % interval", "p", "Holm p", "seeds above 0", "by seed"];
        let mut grid = Grid::new(titles.map(str::to_owned).to_vec(), 1);
        for contrast in self.contrasts.iter().filter(|c| c.baseline == baseline) {
            let Some(d) = contrast.difference(kind, None) else { continue };
            let seeds: Vec<String> = d.per_seed.iter().map(|p| points(*p)).collect();
            grid.row(vec![
                plain(self.label(&contrast.method)),
                bold(points(d.points), d.excludes_zero()),
                points_interval(d.ci95),
                p_value(d.p),
                p_value(d.holm_p),
                format!("{} of {}", d.seeds_positive, d.per_seed.len()),
                seeds.join(" · "),
            ]);
        }
        grid
    }

    fn differences_by_category(&self, kind: ItemKind, baseline: &str) -> Grid {
        let contrasts: Vec<_> = self.contrasts.iter().filter(|c| c.baseline == baseline).collect();
        let labels = contrasts.iter().map(|contrast| plain(self.label(&contrast.method)));
        let titles = ["category", "n"].map(str::to_owned).into_iter().chain(labels);
        let mut grid = Grid::new(titles.collect(), 1);
        for (category, n) in self.rows(kind) {
            let Some(category) = category else { continue };
            let cells = contrasts.iter().map(|contrast| {
                let difference = contrast.difference(kind, Some(category));
                difference.map_or("–".to_owned(), |d| {
                    let half = (d.ci95[1] - d.ci95[0]) / 2.0;
                    format!("{} ± {half:.1}", bold(points(d.points), d.excludes_zero()))
                })
            });
            grid.row([row_name(Some(category)), n.to_string()].into_iter().chain(cells).collect());
        }
        grid
    }

    fn cost_and_methods(&self, text: &mut String) {
        text.push_str("\n## Cost\n\n");
        let titles =
            ["method", "completions", "judge calls", "judge time", "wall time", "learning rate"];
        let mut grid = Grid::new(titles.map(str::to_owned).to_vec(), 1);
        for method in &self.methods {
            let cost = &method.cost;
            grid.row(vec![
                plain(&method.label),
                count(cost.completions),
                count(cost.judge_calls),
                duration(cost.judge_seconds),
                duration(cost.wall_seconds),
                method.learning_rate.map_or("–".to_owned(), |rate| format!("{rate:e}")),
            ]);
        }
        text.push_str(&grid.render());
        text.push_str("\nOf one run, mean over seeds.\n\n## Methods\n\n");
        for method in &self.methods {
            let _ = writeln!(text, "- **{}**: {}", plain(&method.label), plain(&method.about));
        }
    }

    fn selection_and_notes(&self, text: &mut String) {
        let facts = &self.facts;
        if !facts.selection.is_empty() {
            text.push_str(
                "\n## Learning rates\n\nAccuracy on validation questions in percent.\n\n",
            );
        }
        for selection in &facts.selection {
            let candidate = |(rate, accuracy): &(f64, f64)| {
                let chosen = rate.total_cmp(&selection.chosen).is_eq();
                bold(format!("{rate:e}: {}", percent(*accuracy)), chosen)
            };
            let tried: Vec<String> = selection.candidates.iter().map(candidate).collect();
            let (method, chosen) = (plain(&selection.method), selection.chosen);
            let _ = writeln!(text, "- {method}: {} (taken: {chosen:e})", tried.join(", "));
        }
        if !facts.notes.is_empty() {
            text.push_str("\n## Notes\n\n");
        }
        for note in &facts.notes {
            let _ = writeln!(text, "- {}", plain(note));
        }
    }
}

fn row_name(category: Option<&str>) -> String {
    category.map_or("all".to_owned(), |category| plain(&words(category)))
}

fn bold(text: String, bold: bool) -> String {
    if bold { format!("**{text}**") } else { text }
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
