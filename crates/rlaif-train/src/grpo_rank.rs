//! `GRPO_rank`: an Oracle's order becomes advantages. Source: Oracle-RLAIF, arXiv:2510.02561.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rlaif_oracle::{
    OracleError, OracleMetrics, OracleWorker, Pending, RankOutcome, RankRequest, RankingConfig,
    Settled, Usage, Verdict, VoterMetrics,
};
use rlaif_rank::Ranking;

use crate::error::TrainError;
use crate::method::{Judged, Judgement, Method, Rollouts};
use crate::metrics::Metrics;
use crate::phase::Clock;
use crate::ranked::{group_advantages, rank_metrics};
use crate::run::Control;

/// How often the wish to stop is looked at while the Oracle ranks.
const GLANCE: Duration = Duration::from_millis(100);
/// How long the Oracle may take to finish a step that is to be the last. What it has ranked of a step
/// that is given up is in its ledger.
const LAST_STEP: Duration = Duration::from_secs(5);

/// The Oracle, and what it has not answered yet.
pub struct GrpoRank {
    oracle: OracleWorker,
    ranking: RankingConfig,
    pending: Vec<Pending>,
    /// What was spent when it was looked at last.
    spent: Usage,
    voters: BTreeMap<String, VoterMetrics>,
}

impl GrpoRank {
    /// Learns from the orders that `oracle` gives, as `ranking` says where it gives none.
    #[must_use]
    pub fn new(oracle: OracleWorker, ranking: RankingConfig) -> Self {
        let (spent, voters) = (oracle.usage(), BTreeMap::new());
        GrpoRank { oracle, ranking, pending: Vec::new(), spent, voters }
    }

    /// Waits for the verdicts, not for ever once the run is to stop.
    fn verdicts(
        &mut self,
        step: u64,
        control: &Control,
    ) -> Result<(Vec<Result<Verdict, OracleError>>, OracleMetrics), TrainError> {
        let (mut verdicts, mut metrics) = (Vec::new(), OracleMetrics::default());
        let mut stopping = None;
        for waiting in self.pending.drain(..) {
            let RankOutcome { verdicts: more, metrics: counted } =
                patient(waiting, control, &mut stopping).ok_or(TrainError::Interrupted { step })?;
            metrics += &counted;
            verdicts.extend(more);
        }
        Ok((verdicts, metrics))
    }

    /// The metrics of the step, and a warning where a voter turns out to say nothing.
    fn report(&mut self, oracle: &OracleMetrics) -> Metrics {
        let mut metrics: Metrics = oracle.named().into_iter().collect();
        let usage = self.oracle.usage();
        metrics.extend((usage - self.spent).named());
        self.spent = usage;
        for (name, counted) in &oracle.voters {
            let voter = self.voters.entry(name.clone()).or_default();
            let known = voter.is_unreliable();
            *voter += counted;
            if voter.is_unreliable() && !known {
                tracing::warn!(
                    oracle = name,
                    tau = voter.tau(),
                    groups = voter.compared,
                    "this Oracle does not agree with the others: leave it out, or give it less weight"
                );
            }
        }
        metrics
    }
}

/// The outcome; none where the run is to stop and the Oracle takes too long.
fn patient(
    mut waiting: Pending,
    control: &Control,
    stopping: &mut Option<Instant>,
) -> Option<RankOutcome> {
    while !waiting.wait_for(GLANCE) {
        if control.stopping() {
            let since = *stopping.get_or_insert_with(Instant::now);
            if since.elapsed() > LAST_STEP {
                return None;
            }
        }
    }
    Some(waiting.wait())
}

impl Method for GrpoRank {
    fn judge_name(&self) -> &'static str {
        "oracle"
    }

    fn submit(&mut self, requests: Vec<RankRequest>) {
        self.pending.push(self.oracle.submit(requests));
    }

    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError> {
        let (step, control) = (rollouts.step, rollouts.control);
        let (verdicts, oracle) = clock.time("oracle_wait", || self.verdicts(step, control))?;
        let mut metrics = self.report(&oracle);
        let settled = settle(&self.ranking, rollouts, verdicts, &mut metrics)?;
        let rankings: Vec<Option<&Ranking>> = settled
            .iter()
            .map(|group| group.verdict.as_ref().ok().map(|judgement| &judgement.ranking))
            .collect();
        // An abstention or a disagreement comes back whenever it is asked for: the run goes on without.
        let is_outage = settled.iter().any(|group| group.verdict.is_err() && !group.stays);
        if is_outage && rankings.iter().all(Option::is_none) {
            let first = settled.iter().find_map(|group| group.verdict.as_ref().err());
            return Err(TrainError::NothingRanked {
                step: rollouts.step,
                groups: settled.len(),
                first: first.cloned().unwrap_or_default(),
            });
        }
        let config = rollouts.config;
        let mut advantages =
            group_advantages(config.advantage, config.scale_advantages, rollouts.groups, &rankings)
                .map_err(|source| TrainError::Advantage { step: rollouts.step, source })?;
        for (values, group) in advantages.iter_mut().zip(&settled) {
            for value in values.iter_mut().flatten() {
                *value *= group.weight;
            }
        }
        rank_metrics(rollouts.groups, &rankings, &advantages, &mut metrics);
        let verdicts = settled.into_iter().map(|group| group.verdict).collect();
        Ok(Judged { verdicts, advantages, token_advantages: None, metrics })
    }
}

/// A group as it is learnt from.
struct Group {
    verdict: Result<Judgement, String>,
    /// What its advantages are multiplied with.
    weight: f64,
    /// Whether it would be the same whenever it were asked for.
    stays: bool,
}

/// What is made of each verdict, counted.
fn settle(
    config: &RankingConfig,
    rollouts: &Rollouts<'_>,
    verdicts: Vec<Result<Verdict, OracleError>>,
    metrics: &mut Metrics,
) -> Result<Vec<Group>, TrainError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    if config.min_agreement.is_some() {
        counts.extend([("oracle/low_agreement_scaled", 0), ("oracle/low_agreement_dropped", 0)]);
    }
    let mut groups = Vec::with_capacity(verdicts.len());
    for (verdict, sampled) in verdicts.into_iter().zip(rollouts.groups) {
        let votes = match &verdict {
            Ok(verdict) => verdict
                .votes
                .iter()
                .map(|vote| (vote.voter.clone(), vote.ranking.to_string()))
                .collect(),
            Err(_) => Vec::new(),
        };
        let judged = |ranking, weight| Group {
            verdict: Ok(Judgement { ranking, rewards: None, votes }),
            weight,
            stays: true,
        };
        groups.push(match config.settle(verdict, sampled.completions.len()) {
            Settled::Ranked { ranking, weight } => {
                if weight < 1.0 {
                    *counts.entry("oracle/low_agreement_scaled").or_default() += 1;
                }
                judged(ranking, weight)
            }
            Settled::Tied(ranking, error) => {
                tracing::warn!(%error, "a group without a verdict counts as a tie");
                *counts.entry("oracle/unranked_tied").or_default() += 1;
                judged(ranking, 1.0)
            }
            Settled::Dropped { agreement } => {
                *counts.entry("oracle/low_agreement_dropped").or_default() += 1;
                let why = format!("dropped: its votes agree at tau-b {agreement:.2} only");
                Group { verdict: Err(why), weight: 0.0, stays: true }
            }
            Settled::Skipped(error) => {
                let stays = matches!(error, OracleError::Abstained { .. });
                Group { verdict: Err(error.to_string()), weight: 0.0, stays }
            }
            Settled::Stop(source) => {
                return Err(TrainError::OracleStopped { step: rollouts.step, source });
            }
        });
    }
    metrics.extend(counts.into_iter().map(|(name, count)| (name.to_owned(), count as f64)));
    Ok(groups)
}
