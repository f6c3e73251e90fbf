//! All groups together: means with intervals over videos, what it took, and a verdict in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rlaif_eval::bootstrap::{Bootstrap, Interval, clusters, mean as cluster_mean};
use rlaif_oracle::{Vote, agreement};
use rlaif_rank::Ranking;
use serde::Serialize;

use super::statistics::{Statistics, measure};
use super::{Labelled, listing, unlisted};
use crate::asked::Asked;

/// A mean and its 95 % interval over videos.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// The mean.
    pub value: f64,
    /// Both ends; none where there is too little to resample.
    pub interval: Option<Interval>,
    /// Values it is of.
    pub n: usize,
}

/// What `oracle check` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Labelled groups.
    pub groups: usize,
    /// Times that each was asked about.
    pub repeats: usize,
    /// Verdicts that came.
    pub verdicts: usize,
    /// Verdicts that did not come, by kind.
    pub failures: BTreeMap<String, usize>,
    /// `tau`, `ndcg`, `top1`, `pairs`, `ties`, `first_slot`, `first_of_pair`, `consistency`.
    pub measures: BTreeMap<String, Measure>,
    /// Mean tau by category, where rows have one.
    pub tau_by_category: BTreeMap<String, Measure>,
    /// Seconds a verdict: mean, median, 95th percentile.
    pub latency: Option<[f64; 3]>,
    /// Requests, tokens of prompts and of replies, and money a verdict, those from the ledger included
    /// only by the requests that were sent now.
    pub requests_per_verdict: f64,
    /// Tokens of prompts a request.
    pub prompt_tokens_per_request: f64,
    /// Tokens of replies a request.
    pub completion_tokens_per_request: f64,
    /// Money a verdict, by all that its questions cost when they were asked.
    pub cost_per_verdict: f64,
}

/// Names of the measures in the order of the table, with what they mean.
const MEASURES: [(&str, &str); 8] = [
    ("tau", "Kendall tau-b with the label"),
    ("ndcg", "nDCG by the label's gains"),
    ("top1", "best candidate right"),
    ("pairs", "pairs right (chance 0.5)"),
    ("ties", "pairs tied"),
    ("consistency", "tau-b between repeats"),
    ("first_slot", "preference for the first slot (0 is none)"),
    ("first_of_pair", "first of a pair wins (0.5 is fair)"),
];

/// Puts the figures together. `asked` answers [`requests`](super::requests) of the same groups.
#[must_use]
pub fn report(groups: &[Labelled], repeats: usize, asked: &Asked) -> Report {
    let mut values: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
    let mut by_category: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
    let (mut came, mut latencies, mut costs) = (0, Vec::new(), 0.0);
    for (group, verdicts) in groups.iter().zip(asked.verdicts.chunks(repeats)) {
        let video = group.row.example.video.to_string();
        let mut orders = Vec::new();
        for (repeat, verdict) in verdicts.iter().enumerate() {
            let Ok(verdict) = verdict else { continue };
            let listing = listing(group.row.candidates.len(), repeat);
            let found = measure(&group.row.candidates, &listing, &group.label, verdict);
            for (name, value) in named(&found) {
                if let Some(value) = value {
                    values.entry(name).or_default().push((video.clone(), value));
                }
            }
            if let (Some(tau), Some(category)) = (found.tau, &group.row.example.category) {
                by_category.entry(category.clone()).or_default().push((video.clone(), tau));
            }
            orders.extend(unlisted(&verdict.ranking, &listing).map(vote));
            came += 1;
            // What the ledger had took no time.
            if verdict.calls.is_empty() || verdict.calls.iter().any(|call| !call.cached) {
                latencies.push(verdict.latency);
            }
            costs += verdict.calls.iter().map(|call| call.cost).sum::<f64>();
        }
        if let Some(consistency) = agreement(&orders) {
            values.entry("consistency").or_default().push((video, consistency.tau));
        }
    }
    let usage = asked.usage;
    let per = |total: f64, n: f64| if n > 0.0 { total / n } else { 0.0 };
    Report {
        groups: groups.len(),
        repeats,
        verdicts: came,
        failures: asked
            .metrics
            .failures
            .iter()
            .map(|(kind, count)| (kind.as_str().to_owned(), *count))
            .collect(),
        measures: values
            .into_iter()
            .filter_map(|(name, values)| Some((name.to_owned(), summary(name, &values)?)))
            .collect(),
        tau_by_category: by_category
            .into_iter()
            .filter_map(|(category, values)| Some((category, summary("tau", &values)?)))
            .collect(),
        latency: latency(latencies),
        requests_per_verdict: per(usage.requests as f64, came as f64),
        prompt_tokens_per_request: per(usage.prompt_tokens as f64, usage.requests as f64),
        completion_tokens_per_request: per(usage.completion_tokens as f64, usage.requests as f64),
        cost_per_verdict: per(costs, came as f64),
    }
}

fn vote(ranking: Ranking) -> Vote {
    Vote { voter: String::new(), ranking, weight: 1.0 }
}

fn named(found: &Statistics) -> [(&'static str, Option<f64>); 7] {
    [
        ("tau", found.tau),
        ("ndcg", found.ndcg),
        ("top1", found.top1),
        ("pairs", found.pairs),
        ("ties", found.ties),
        ("first_slot", found.first_slot),
        ("first_of_pair", found.first_of_pair),
    ]
}

fn summary(name: &str, values: &[(String, f64)]) -> Option<Measure> {
    let clusters = clusters(values.iter().map(|(video, value)| (video.as_str(), *value)));
    let bootstrap = Bootstrap::default();
    // Where all videos agree, resampling would claim certainty.
    let interval = match name {
        _ if clusters.len() < 2 => None,
        "tau" | "consistency" => bootstrap.difference(&clusters),
        "first_slot" => bootstrap.interval(&clusters),
        _ => bootstrap.share(&clusters),
    };
    Some(Measure { value: cluster_mean(&clusters)?, interval, n: values.len() })
}

fn latency(mut latencies: Vec<Duration>) -> Option<[f64; 3]> {
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1)?;
    let at = |percent: usize| latencies[last * percent / 100].as_secs_f64();
    let sum: Duration = latencies.iter().sum();
    Some([sum.as_secs_f64() / latencies.len() as f64, at(50), at(95)])
}

impl Report {
    /// The report as Markdown, its judgement in words at the end.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "| of {} groups, asked {} times | | 95 % |\n|---|---:|---|\n",
            self.groups, self.repeats
        );
        for (name, meaning) in MEASURES {
            if let Some(measure) = self.measures.get(name) {
                let _ = writeln!(text, "| {meaning} | {} |", cells(measure));
            }
        }
        for (category, measure) in &self.tau_by_category {
            let _ = writeln!(text, "| tau-b, {category} | {} |", cells(measure));
        }
        let _ = writeln!(text, "| verdicts | {} | |", self.verdicts);
        for (kind, count) in &self.failures {
            let _ = writeln!(text, "| failed: {kind} | {count} | |");
        }
        if let Some([mean, median, high]) = self.latency {
            let _ = writeln!(
                text,
                "| seconds a group | {mean:.3} | median {median:.3}, p95 {high:.3} |"
            );
        }
        if self.requests_per_verdict > 0.0 {
            let _ = writeln!(text, "| requests a group | {:.2} | |", self.requests_per_verdict);
            let _ = writeln!(
                text,
                "| tokens a request | {:.0} + {:.0} | |",
                self.prompt_tokens_per_request, self.completion_tokens_per_request
            );
        }
        if self.cost_per_verdict > 0.0 {
            let thousand = self.cost_per_verdict * 1000.0;
            let _ = writeln!(
                text,
                "| cost a group | {:.5} | 1,000 groups: {thousand:.2} |",
                self.cost_per_verdict
            );
        }
        text.push('\n');
        text.push_str(&self.words());
        text
    }

    /// One sentence or two.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(tau) = self.measures.get("tau") else {
            return "no verdict on a group whose label orders anything: nothing can be said"
                .to_owned();
        };
        let mut text = format!("agrees with the labels at tau {:.2}", tau.value);
        match tau.interval {
            None => text += ", on one video: too little to say how sure that is",
            Some([low, high]) => {
                let _ = write!(text, " [{low:.2}, {high:.2}]");
                if high < 0.0 {
                    text += ", which is their reverse: do not train on it";
                } else if low <= 0.0 {
                    text += ", which chance gives, too: do not train on it";
                }
            }
        }
        if let Some(slot) = self.measures.get("first_slot")
            && let Some([low, high]) = slot.interval
            && (low > 0.0 || high < 0.0)
        {
            let which = if slot.value > 0.0 { "first" } else { "last" };
            let _ = write!(
                text,
                "; it favours what is shown {which} by {:.2}: set `repeats`, which cancels that",
                slot.value.abs()
            );
        }
        let failed: usize = self.failures.values().sum();
        if failed > 0 {
            let _ = write!(text, "; {failed} of {} verdicts did not come", failed + self.verdicts);
        }
        text
    }
}

fn cells(measure: &Measure) -> String {
    let interval = measure.interval.map(|[low, high]| format!("[{low:.3}, {high:.3}]"));
    format!("{:.3} | {}", measure.value, interval.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[f64]) -> Vec<(String, f64)> {
        of.iter().enumerate().map(|(video, value)| (video.to_string(), *value)).collect()
    }

    #[test]
    fn videos_that_all_agree_are_no_certainty() {
        let share = summary("top1", &values(&[1.0; 12])).unwrap();
        let [low, high] = share.interval.unwrap();
        // Wilson's lower bound after 12 of 12 is 12 / (12 + 1.96^2).
        assert!((low - 12.0 / (12.0 + 3.841_458_8)).abs() < 1e-6 && high >= 1.0 - 1e-12, "{low}");
        let tau = summary("tau", &values(&[1.0; 12])).unwrap().interval.unwrap();
        assert!(tau[0] < 0.9, "{tau:?}");
        assert_eq!(summary("tau", &values(&[0.5])).unwrap().interval, None, "one video");
    }

    fn words(tau: &[f64]) -> String {
        let measures = BTreeMap::from([("tau".to_owned(), summary("tau", &values(tau)).unwrap())]);
        let report = Report {
            groups: tau.len(),
            repeats: 1,
            verdicts: tau.len(),
            failures: BTreeMap::new(),
            measures,
            tau_by_category: BTreeMap::new(),
            latency: None,
            requests_per_verdict: 0.0,
            prompt_tokens_per_request: 0.0,
            completion_tokens_per_request: 0.0,
            cost_per_verdict: 0.0,
        };
        report.words()
    }

    #[test]
    fn judges_of_no_use_are_told_apart() {
        let good = words(&[0.8, 0.6, 0.7, 0.9, 0.5, 0.8]);
        assert!(!good.contains("do not train"), "{good}");
        assert!(words(&[0.4, -0.5, 0.3, -0.2, 0.1, 0.0]).contains("chance gives"));
        assert!(words(&[-0.8, -0.6, -0.7, -0.9]).contains("their reverse"));
        assert!(words(&[0.8]).contains("one video"));
    }
}
