//! All groups together: means with intervals over videos, what it took, and a verdict in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rlaif_eval::bootstrap::{Bootstrap, Interval, clusters, mean as cluster_mean};
use rlaif_oracle::OracleError;
use rlaif_rank::{Ranking, kendall_tau_b};
use serde::Serialize;

use super::statistics::{Statistics, mean, measure};
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
    let (mut latencies, mut costs) = (Vec::new(), 0.0);
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
            orders.extend(unlisted(&verdict.ranking, &listing));
            latencies.push(verdict.latency);
            costs += verdict.calls.iter().map(|call| call.cost).sum::<f64>();
        }
        if let Some(consistency) = consistency(&orders) {
            values.entry("consistency").or_default().push((video, consistency));
        }
    }
    let usage = asked.usage;
    let verdicts = latencies.len();
    let per = |total: f64, n: f64| if n > 0.0 { total / n } else { 0.0 };
    Report {
        groups: groups.len(),
        repeats,
        verdicts,
        failures: failures(&asked.verdicts),
        measures: values
            .into_iter()
            .filter_map(|(name, values)| Some((name.to_owned(), summary(&values)?)))
            .collect(),
        tau_by_category: by_category
            .into_iter()
            .filter_map(|(category, values)| Some((category, summary(&values)?)))
            .collect(),
        latency: latency(latencies),
        requests_per_verdict: per(usage.requests as f64, verdicts as f64),
        prompt_tokens_per_request: per(usage.prompt_tokens as f64, usage.requests as f64),
        completion_tokens_per_request: per(usage.completion_tokens as f64, usage.requests as f64),
        cost_per_verdict: per(costs, verdicts as f64),
    }
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

/// Mean tau-b between the orders of one group; an order that ties everything agrees with none.
fn consistency(orders: &[Ranking]) -> Option<f64> {
    let mut taus = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        taus.extend(orders[..index].iter().map(|other| kendall_tau_b(order, other).unwrap_or(0.0)));
    }
    mean(&taus)
}

fn summary(values: &[(String, f64)]) -> Option<Measure> {
    let clusters = clusters(values.iter().map(|(video, value)| (video.as_str(), *value)));
    let interval = if clusters.len() > 1 { Bootstrap::default().interval(&clusters) } else { None };
    Some(Measure { value: cluster_mean(&clusters)?, interval, n: values.len() })
}

fn failures(verdicts: &[Result<rlaif_oracle::Verdict, OracleError>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for error in verdicts.iter().filter_map(|verdict| verdict.as_ref().err()) {
        *counts.entry(error.kind().as_str().to_owned()).or_default() += 1;
    }
    counts
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
