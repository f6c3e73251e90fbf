//! What is logged about an Oracle's work.

use std::{collections::BTreeMap, ops::AddAssign, time::Duration};

use rlaif_rank::Ranking;

use crate::{
    FailureKind, OracleError, Verdict,
    agreement::{agreement, with_the_others},
};

/// Votes of one voter before its agreement is worth a warning.
const ENOUGH_VOTES: usize = 20;
/// Mean agreement with the others below which a voter is reported.
const UNRELIABLE: f64 = 0.1;

/// What is known of one of several voters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VoterMetrics {
    /// Groups that it and another gave an order of.
    pub compared: usize,
    /// Its mean tau-b with the others, added up over those groups.
    pub tau_sum: f64,
    /// Groups that it gave no order of, though another did.
    pub failed: usize,
}

impl VoterMetrics {
    /// Mean Kendall tau-b with the others; none where it was never compared.
    #[must_use]
    pub fn tau(&self) -> Option<f64> {
        (self.compared > 0).then(|| self.tau_sum / self.compared as f64)
    }

    /// Whether it agrees with the others so little, over enough groups, that it says nothing.
    #[must_use]
    pub fn is_unreliable(&self) -> bool {
        self.compared >= ENOUGH_VOTES && self.tau().is_some_and(|tau| tau < UNRELIABLE)
    }
}

/// Counts over the groups of a batch, or of many batches added up with `+=`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OracleMetrics {
    /// Groups asked for.
    pub groups: usize,
    /// Groups that the Oracle was shown.
    pub calls: usize,
    /// Groups that were ranked, with the [skipped](Self::skipped) ones.
    pub ranked: usize,
    /// Groups with one distinct response: tied without asking.
    pub skipped: usize,
    /// Groups without a verdict, by kind. Kinds that did not occur are missing.
    pub failures: BTreeMap<FailureKind, usize>,
    /// Candidates that were not shown because another of their group reads the same.
    pub merged_candidates: usize,
    /// Ranked groups in which some candidates were left unplaced.
    pub partial: usize,
    /// Pairs of candidates in ranked groups.
    pub pairs: usize,
    /// Those of [`pairs`](Self::pairs) that the ranking ties, merged copies included.
    pub tied_pairs: usize,
    /// Latencies of the verdicts that the Oracle gave, added up.
    pub latency_sum: Duration,
    /// The longest of them.
    pub latency_max: Duration,
    /// Groups with several votes.
    pub voted: usize,
    /// Agreement of their votes by Kendall's tau-b, added up.
    pub tau_sum: f64,
    /// Agreement of their votes by Kendall's W, added up.
    pub w_sum: f64,
    /// By the name of the voter, where voters have names.
    pub voters: BTreeMap<String, VoterMetrics>,
}

impl OracleMetrics {
    /// Groups without a verdict, of every kind.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Share of the pairs of candidates that tie, in `0..=1`; none without a pair.
    #[must_use]
    pub fn ties_fraction(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.tied_pairs as f64 / self.pairs as f64)
    }

    /// Mean wall time of a verdict that the Oracle gave; none without one.
    #[must_use]
    pub fn latency_mean(&self) -> Option<Duration> {
        let answers = u32::try_from(self.ranked - self.skipped).unwrap_or(u32::MAX);
        (answers > 0).then(|| self.latency_sum / answers)
    }

    /// The figures under the names that a run logs them by. Latencies are in seconds; those of
    /// which there is nothing to tell, and kinds of failure that did not occur, are left out.
    #[must_use]
    pub fn named(&self) -> Vec<(String, f64)> {
        let counts = [
            ("oracle/groups", self.groups),
            ("oracle/calls", self.calls),
            ("oracle/ranked", self.ranked),
            ("oracle/skipped", self.skipped),
            ("oracle/failed", self.failed()),
            ("oracle/merged_candidates", self.merged_candidates),
            ("oracle/partial", self.partial),
        ];
        let mut named: Vec<(String, f64)> =
            counts.map(|(name, count)| (name.to_owned(), count as f64)).to_vec();
        for (kind, count) in &self.failures {
            named.push((format!("oracle/failures/{}", kind.as_str()), *count as f64));
        }
        if let Some(mean) = self.latency_mean() {
            named.push(("oracle/latency".to_owned(), mean.as_secs_f64()));
            named.push(("oracle/latency_max".to_owned(), self.latency_max.as_secs_f64()));
        }
        if self.voted > 0 {
            let voted = self.voted as f64;
            named.push(("oracle/agreement_tau".to_owned(), self.tau_sum / voted));
            named.push(("oracle/agreement_w".to_owned(), self.w_sum / voted));
        }
        for (voter, metrics) in &self.voters {
            named.push((format!("oracle/{voter}/failed"), metrics.failed as f64));
            if let Some(tau) = metrics.tau() {
                named.push((format!("oracle/{voter}/tau"), tau));
            }
        }
        named
    }

    pub(crate) fn count_failure(&mut self, error: &OracleError) {
        *self.failures.entry(error.kind()).or_default() += 1;
    }

    /// Counts a verdict that the Oracle gave.
    pub(crate) fn count_verdict(&mut self, verdict: &Verdict) {
        self.count_ranking(&verdict.ranking);
        self.latency_sum += verdict.latency;
        self.latency_max = self.latency_max.max(verdict.latency);
        for (voter, _) in &verdict.absent {
            self.voters.entry(voter.clone()).or_default().failed += 1;
        }
        if let Some(both) = agreement(&verdict.votes) {
            self.voted += 1;
            self.tau_sum += both.tau;
            self.w_sum += both.w;
        }
        for (vote, tau) in verdict.votes.iter().zip(with_the_others(&verdict.votes)) {
            if !vote.voter.is_empty() {
                let voter = self.voters.entry(vote.voter.clone()).or_default();
                voter.compared += 1;
                voter.tau_sum += tau;
            }
        }
    }

    /// Counts a ranking that needed no Oracle.
    pub(crate) fn count_skipped(&mut self, ranking: &Ranking) {
        self.skipped += 1;
        self.count_ranking(ranking);
    }

    fn count_ranking(&mut self, ranking: &Ranking) {
        let pairs_of = |n: usize| n * n.saturating_sub(1) / 2;
        self.ranked += 1;
        self.partial += usize::from(!ranking.is_complete());
        self.pairs += pairs_of(ranking.len());
        self.tied_pairs +=
            ranking.blocks().iter().map(|block| pairs_of(block.len())).sum::<usize>();
    }
}

impl AddAssign<&VoterMetrics> for VoterMetrics {
    fn add_assign(&mut self, other: &VoterMetrics) {
        self.compared += other.compared;
        self.tau_sum += other.tau_sum;
        self.failed += other.failed;
    }
}

impl AddAssign<&OracleMetrics> for OracleMetrics {
    fn add_assign(&mut self, other: &OracleMetrics) {
        self.groups += other.groups;
        self.calls += other.calls;
        self.ranked += other.ranked;
        self.skipped += other.skipped;
        for (kind, count) in &other.failures {
            *self.failures.entry(*kind).or_default() += count;
        }
        self.merged_candidates += other.merged_candidates;
        self.partial += other.partial;
        self.pairs += other.pairs;
        self.tied_pairs += other.tied_pairs;
        self.latency_sum += other.latency_sum;
        self.voted += other.voted;
        self.tau_sum += other.tau_sum;
        self.w_sum += other.w_sum;
        for (voter, theirs) in &other.voters {
            *self.voters.entry(voter.clone()).or_default() += theirs;
        }
        self.latency_max = self.latency_max.max(other.latency_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_counted_in_pairs_and_the_unplaced_do_not_tie() {
        let mut metrics = OracleMetrics::default();
        let ranking = Ranking::from_blocks(&[vec![0, 1, 2], vec![3]], 6).unwrap();
        metrics.count_verdict(&Verdict::new(ranking, Duration::from_secs(2)));
        assert_eq!((metrics.tied_pairs, metrics.pairs, metrics.partial), (3, 15, 1));
        assert_eq!(metrics.ties_fraction(), Some(0.2));
    }

    #[test]
    fn skipped_groups_have_no_latency() {
        let mut metrics = OracleMetrics::default();
        assert_eq!((metrics.latency_mean(), metrics.ties_fraction()), (None, None));
        metrics.count_skipped(&Ranking::all_tied(3).unwrap());
        assert_eq!(metrics.latency_mean(), None);
        for seconds in [1, 4] {
            let ranking = Ranking::from_order(&[0, 1]).unwrap();
            metrics.count_verdict(&Verdict::new(ranking, Duration::from_secs(seconds)));
        }
        assert_eq!(metrics.latency_mean(), Some(Duration::from_millis(2500)));
        assert_eq!(metrics.latency_max, Duration::from_secs(4));
        assert_eq!((metrics.ranked, metrics.skipped), (3, 1));
    }

    #[test]
    fn batches_add_up() {
        let timeout =
            OracleError::Timeout { oracle: "o".to_owned(), example: "e".to_owned(), seconds: 1.0 };
        let mut one = OracleMetrics { groups: 2, calls: 2, ..OracleMetrics::default() };
        one.count_failure(&timeout);
        one.count_verdict(&Verdict::new(
            Ranking::from_order(&[1, 0]).unwrap(),
            Duration::from_secs(3),
        ));
        let mut sum = one.clone();
        sum += &one;
        assert_eq!((sum.groups, sum.calls, sum.ranked, sum.failed()), (4, 4, 2, 2));
        assert_eq!(sum.failures[&FailureKind::Timeout], 2);
        assert_eq!(sum.latency_sum, Duration::from_secs(6));
        assert_eq!(sum.latency_max, Duration::from_secs(3));
    }

    #[test]
    fn names_are_those_of_the_log() {
        let silent: Vec<String> =
            OracleMetrics::default().named().into_iter().map(|(name, _)| name).collect();
        assert!(!silent.iter().any(|name| name.contains("latency")));

        let mut metrics = OracleMetrics { groups: 2, calls: 2, ..OracleMetrics::default() };
        metrics.count_failure(&OracleError::Cancelled { example: "e".to_owned() });
        let ranking = Ranking::from_blocks(&[vec![0, 1], vec![2]], 3).unwrap();
        metrics.count_verdict(&Verdict::new(ranking, Duration::from_millis(1500)));
        let named: BTreeMap<String, f64> = metrics.named().into_iter().collect();
        for (name, value) in [
            ("oracle/failed", 1.0),
            ("oracle/failures/cancelled", 1.0),
            ("oracle/latency", 1.5),
            ("oracle/latency_max", 1.5),
        ] {
            assert!((named[name] - value).abs() < 1e-12, "{name}: {}", named[name]);
        }
    }
}
