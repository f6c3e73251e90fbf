//! `GRPO_rank`: an Oracle's order becomes advantages. Source: Oracle-RLAIF, arXiv:2510.02561.

use rlaif_oracle::{OracleMetrics, OracleWorker, Pending, RankRequest};
use rlaif_rank::Ranking;

use crate::error::TrainError;
use crate::method::{Judged, Judgement, Method, Rollouts};
use crate::metrics::Metrics;
use crate::phase::Clock;
use crate::ranked::{group_advantages, rank_metrics};

/// The Oracle, and what it has not answered yet.
pub struct GrpoRank {
    oracle: OracleWorker,
    pending: Vec<Pending>,
}

impl GrpoRank {
    /// Learns from the orders that `oracle` gives.
    #[must_use]
    pub fn new(oracle: OracleWorker) -> Self {
        GrpoRank { oracle, pending: Vec::new() }
    }
}

impl Method for GrpoRank {
    fn judge_name(&self) -> &'static str {
        "oracle"
    }

    fn submit(&mut self, requests: Vec<RankRequest>) {
        self.pending.push(self.oracle.submit(requests));
    }

    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError> {
        let mut verdicts = Vec::new();
        let mut oracle = OracleMetrics::default();
        for waiting in self.pending.drain(..) {
            let outcome = clock.time("oracle_wait", || waiting.wait());
            oracle += &outcome.metrics;
            verdicts.extend(outcome.verdicts);
        }
        let rankings: Vec<Option<&Ranking>> =
            verdicts.iter().map(|v| v.as_ref().ok().map(|v| &v.ranking)).collect();
        if rankings.iter().all(Option::is_none) {
            let first = verdicts.iter().find_map(|v| v.as_ref().err());
            return Err(TrainError::NothingRanked {
                step: rollouts.step,
                groups: verdicts.len(),
                first: first.map(ToString::to_string).unwrap_or_default(),
            });
        }
        let config = rollouts.config;
        let advantages =
            group_advantages(config.advantage, config.scale_advantages, rollouts.groups, &rankings)
                .map_err(|source| TrainError::Advantage { step: rollouts.step, source })?;
        let mut metrics: Metrics = oracle.named().into_iter().collect();
        rank_metrics(rollouts.groups, &rankings, &advantages, &mut metrics);
        let verdicts = verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Ok(verdict) => Ok(Judgement { ranking: verdict.ranking, rewards: None }),
                Err(error) => Err(error.to_string()),
            })
            .collect();
        Ok(Judged { verdicts, advantages, token_advantages: None, metrics })
    }
}
