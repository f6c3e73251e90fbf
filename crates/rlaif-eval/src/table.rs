//! Reports as aligned plain text for a terminal.
//!
//! ```text
//! multiple choice: accuracy by option likelihood in percent (chance 25.0)
//! category             n                   sft          oracle_rlaif                       gain
//! ------------------  --  --------------------  --------------------  -------------------------
//! action_recognition  40   41.2 [ 35.0,  48.1]   63.8 [ 57.2,  70.0]   +22.6 [ +15.0,  +30.1] *
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::format::{bytes, duration, p_value, percent, points, printable};
use crate::gain::{Gain, Gains};
use crate::item::ItemKind;
use crate::measure::Measure;
use crate::report::{EvalReport, Section};
use crate::summary::Summary;

/// The table of a whole run: both checkpoints and the gain by category, then what it cost.
#[must_use]
pub fn render_summary(summary: &Summary) -> String {
    let stages = &summary.stages;
    let gains = std::slice::from_ref(&summary.gain);
    let mut text = render(&[&stages.sft, &stages.oracle_rlaif], gains);
    let facts = &summary.facts;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{}, {} peak memory, seed {}",
        duration(facts.wall_seconds),
        bytes(facts.peak_rss_bytes),
        facts.seed
    );
    text
}

/// Checkpoints side by side, one table for each kind of question, with the gains among them where
/// there are any.
#[must_use]
pub fn render_reports(reports: &[EvalReport], gains: &[Gains]) -> String {
    render(&reports.iter().collect::<Vec<_>>(), gains)
}

fn render(reports: &[&EvalReport], gains: &[Gains]) -> String {
    let kinds =
        [(ItemKind::MultipleChoice, "multiple choice"), (ItemKind::OpenEnded, "open-ended")];
    let mut text = String::new();
    for (kind, title) in kinds {
        let sections: Vec<(&str, Option<&Section>)> =
            reports.iter().map(|r| (r.name.as_str(), r.section(kind))).collect();
        let Some(first) = sections.iter().find_map(|(_, section)| *section) else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        let chance = first.chance.map(|c| format!(" (chance {})", percent(c))).unwrap_or_default();
        let _ = writeln!(text, "{title}: {} in percent{chance}", first.headline.label());
        let gains: Vec<(&Gains, &Gain)> =
            gains.iter().filter_map(|g| Some((g, g.of(kind)?))).collect();
        text.push_str(&categories(&sections, &gains).render());
        text.push_str(&other_measures(&sections, first.headline));
        text.push_str(&footnotes(&gains));
    }
    if !text.is_empty() {
        text.push_str("95 % intervals: percentile bootstrap over videos.\n");
    }
    for report in reports.iter().filter(|report| report.skipped_clips > 0) {
        let (name, skipped) = (printable(&report.name), report.skipped_clips);
        let _ = writeln!(text, "{name}: {skipped} questions left out, their video is unreadable.");
    }
    text
}

fn categories(sections: &[(&str, Option<&Section>)], gains: &[(&Gains, &Gain)]) -> Table {
    let mut table = Table::default();
    let several = gains.len() > 1;
    let gain_titles = gains.iter().map(|(pair, _)| {
        if several { format!("{} - {}", pair.after, pair.before) } else { "gain".to_owned() }
    });
    table.head(
        ["category".to_owned(), "n".to_owned()]
            .into_iter()
            .chain(sections.iter().map(|(name, _)| (*name).to_owned()))
            .chain(gain_titles),
    );
    let names: BTreeSet<&String> =
        sections.iter().filter_map(|(_, s)| *s).flat_map(|s| s.by_category.keys()).collect();
    for name in names {
        let results: Vec<_> = sections
            .iter()
            .map(|(_, section)| section.and_then(|s| s.by_category.get(name)))
            .collect();
        let n = results.iter().flatten().map(|result| result.n).max().unwrap_or(0);
        let cells = results.iter().map(|result| share(result.map(|r| (r.accuracy, r.ci95))));
        let gains = gains.iter().map(|(_, gain)| difference(gain.by_category.get(name)));
        table.row([name.clone(), n.to_string()].into_iter().chain(cells).chain(gains));
    }
    let n = sections.iter().filter_map(|(_, s)| Some((*s)?.n)).max().unwrap_or(0);
    let cells = sections.iter().map(|(_, section)| share(section.map(|s| (s.accuracy, s.ci95))));
    let gains = gains.iter().map(|(_, gain)| difference(Some(gain)));
    table.rule();
    table.row(["all".to_owned(), n.to_string()].into_iter().chain(cells).chain(gains));
    table
}

fn share(result: Option<(f64, [f64; 2])>) -> String {
    let Some((mean, [lo, hi])) = result else { return "-".to_owned() };
    let [mean, lo, hi] = [mean, lo, hi].map(percent);
    format!("{mean:>5} [{lo:>5}, {hi:>5}]")
}

fn difference(gain: Option<&Gain>) -> String {
    let Some(gain) = gain else { return "-".to_owned() };
    let mark = if gain.is_positive() || gain.is_negative() { '*' } else { ' ' };
    let [mean, lo, hi] = [gain.points, gain.ci95[0], gain.ci95[1]].map(points);
    format!("{mean:>6} [{lo:>6}, {hi:>6}] {mark}")
}

/// One line for each measure but the headline, checkpoints in order.
fn other_measures(sections: &[(&str, Option<&Section>)], headline: Measure) -> String {
    let mut text = String::new();
    let of = |measure: Measure| -> Vec<String> {
        let mean = |s: Option<&Section>| Some(percent(s?.measures.get(&measure)?.mean));
        sections.iter().filter_map(|(_, section)| mean(*section)).collect()
    };
    for measure in Measure::ALL.into_iter().filter(|measure| *measure != headline) {
        let means = of(measure);
        if !means.is_empty() {
            let _ = writeln!(text, "{}: {}", measure.label(), means.join(" -> "));
        }
    }
    for (name, section) in sections {
        let Some(s) = section else { continue };
        if s.letters_missing + s.letters_ambiguous > 0 {
            let _ = writeln!(
                text,
                "{}: {} texts name no option, {} name several",
                printable(name),
                s.letters_missing,
                s.letters_ambiguous
            );
        }
    }
    text
}

fn footnotes(gains: &[(&Gains, &Gain)]) -> String {
    let mut text = String::new();
    for (pair, gain) in gains {
        let p = gain.mcnemar_p.map(|p| format!(", McNemar p {}", p_value(p))).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} over {}: {} won, {} lost of {}{p}. Gains in percentage points, * interval without 0.",
            printable(&pair.after),
            printable(&pair.before),
            gain.wins,
            gain.losses,
            gain.n
        );
    }
    text
}

/// Rows of cells: the first column flush left, all others flush right.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<String>),
    Rule,
}

impl Table {
    pub(crate) fn head(&mut self, cells: impl Iterator<Item = String>) {
        self.row(cells);
        self.rule();
    }

    pub(crate) fn row(&mut self, cells: impl Iterator<Item = String>) {
        self.rows.push(Row::Cells(cells.map(|cell| printable(&cell)).collect()));
    }

    fn rule(&mut self) {
        self.rows.push(Row::Rule);
    }

    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let line: Vec<String> = match row {
                Row::Rule => widths.iter().map(|width| "-".repeat(*width)).collect(),
                Row::Cells(cells) => std::iter::zip(cells, &widths)
                    .enumerate()
                    .map(|(column, (cell, &width))| match column {
                        0 => format!("{cell:<width$}"),
                        _ => format!("{cell:>width$}"),
                    })
                    .collect(),
            };
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::summary;

    #[test]
    fn columns_line_up() {
        let text = render_summary(&summary());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "multiple choice: accuracy by option likelihood in percent (chance 50.0)"
        );
        assert!(lines[1].starts_with("category"), "{text}");
        let end_of_n = lines[1].find(" n ").unwrap() + 2;
        for line in &lines[3..6] {
            assert!(line[..end_of_n].ends_with('4') && line.contains('['), "{text}");
        }
        assert!(lines[7].starts_with("all"), "{text}");
        assert!(lines[7].contains("33.3 [") && lines[7].contains("83.3 ["), "{text}");
        assert!(lines[7].contains("+50.0 [ +") && lines[7].ends_with('*'), "{text}");
        let brackets =
            |line: &str| -> Vec<usize> { line.match_indices('[').map(|m| m.0).collect() };
        assert!(lines[3..6].iter().all(|line| brackets(line) == brackets(lines[7])), "{text}");
        // Two questions about one video prove nothing, though both were won.
        let open: Vec<&str> = text.lines().filter(|l| l.starts_with("uncategorised")).collect();
        assert!(open[0].contains("+100.0 [ -58.7, +100.0]") && !open[0].contains('*'), "{text}");
        assert!(text.contains("6 won, 0 lost of 12, McNemar p 0.031"), "{text}");
        assert!(text.ends_with("3 min 33 s, 1.2 GB peak memory, seed 42\n"), "{text}");
    }

    #[test]
    fn one_checkpoint_needs_no_gain() {
        let summary = summary();
        let text = render_reports(&[summary.stages.sft], &[]);
        assert!(text.contains("open-ended: normalised match") && !text.contains("gain"), "{text}");
        assert_eq!(render_reports(&[], &[]), "");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        let mut report = summary().stages.sft;
        report.name = "a\u{1b}[2J\nb".to_owned();
        report.skipped_clips = 1;
        let text = render_reports(&[report], &[]);
        assert!(!text.contains('\u{1b}') && text.contains("a?[2J?b: 1 questions"), "{text}");
    }
}
