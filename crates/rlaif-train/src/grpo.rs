//! GRPO: scores, standardised within the group, are the advantages.
//!
//! ```text
//! A_i = (s_i - mean_j s_j) / (std_j s_j + 1e-4)
//! ```
//!
//! Source: Shao et al. 2024, arXiv:2402.03300, section 4.1.2; the loss is that of
//! [`rlaif_objective::grpo()`].

use rlaif_oracle::RankRequest;
use rlaif_rank::{Advantage, advantages};

use crate::error::TrainError;
use crate::method::{Judged, Judgement, Method, Rollouts};
use crate::phase::Clock;
use crate::reward::{Reward, Scored, order_metrics};

/// GRPO on a reward's scores.
pub struct Grpo(Scored);

impl Grpo {
    /// Learns from what `reward` says.
    #[must_use]
    pub fn new(reward: Box<dyn Reward>) -> Self {
        Grpo(Scored::new(reward))
    }
}

impl Method for Grpo {
    fn judge_name(&self) -> &'static str {
        "reward"
    }

    fn submit(&mut self, requests: Vec<RankRequest>) {
        self.0.submit(requests);
    }

    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError> {
        let (verdicts, mut metrics) = self.0.judge(rollouts, clock)?;
        let standardised = verdicts.iter().map(|verdict| {
            let judgement = verdict.as_ref().ok();
            let of = |j: &Judgement| {
                advantages(Advantage::Zscore, &j.ranking, &[], j.rewards.as_deref())
            };
            judgement.map(of).transpose()
        });
        let advantages = standardised
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TrainError::Advantage { step: rollouts.step, source })?;
        order_metrics(rollouts, &verdicts, &advantages, &mut metrics);
        Ok(Judged { verdicts, advantages, token_advantages: None, metrics })
    }
}
