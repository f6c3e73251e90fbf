//! RLOO: REINFORCE with the other answers' mean reward as the baseline.
//!
//! ```text
//! R_i = s_i - β Σ_t (log π_old(o_t) - log π_ref(o_t))       A_i = R_i - mean_{j≠i} R_j
//! ```
//!
//! Source: Ahmadian et al. 2024, arXiv:2402.14740. The whole response is one action: its ratio
//! is that of the whole, and every response weighs the same ([`rlaif_objective::rloo()`]).

use rlaif_data::Group;
use rlaif_objective::{Aggregation, GrpoKnobs, GrpoOutput, RlooInput, k3, leave_one_out, rloo};
use rlaif_oracle::RankRequest;

use crate::config::GrpoConfig;
use crate::error::TrainError;
use crate::method::{Judged, Method, Rollouts, Tokens};
use crate::phase::Clock;
use crate::reward::{Reward, Scored, order_metrics, rewards};

/// RLOO on a reward's scores.
pub struct Rloo(Scored);

impl Rloo {
    /// Learns from what `reward` says.
    #[must_use]
    pub fn new(reward: Box<dyn Reward>) -> Self {
        Rloo(Scored::new(reward))
    }
}

impl Method for Rloo {
    fn judge_name(&self) -> &'static str {
        "reward"
    }

    fn submit(&mut self, requests: Vec<RankRequest>) {
        self.0.submit(requests);
    }

    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError> {
        let (verdicts, mut metrics) = self.0.judge(rollouts, clock)?;
        let divergences = divergences(rollouts);
        let penalised = |index: usize, scores: &[f64]| -> Vec<f64> {
            let beta = rollouts.config.beta;
            scores.iter().zip(&divergences[index]).map(|(s, kl)| s - beta * kl).collect()
        };
        let advantages: Vec<_> = rewards(&verdicts)
            .enumerate()
            .map(|(index, scores)| scores.map(|scores| leave_one_out(&penalised(index, scores))))
            .collect();
        let all: Vec<f64> = divergences.into_iter().flatten().collect();
        metrics
            .insert("objective/kl".to_owned(), all.iter().sum::<f64>() / all.len().max(1) as f64);
        order_metrics(rollouts, &verdicts, &advantages, &mut metrics);
        Ok(Judged { verdicts, advantages, token_advantages: None, metrics })
    }

    fn kl_in_reward(&self) -> bool {
        true
    }

    fn aggregation(&self, _: &GrpoConfig) -> Aggregation {
        Aggregation::Sequence
    }

    fn objective(&self, tokens: Tokens<'_>, knobs: &GrpoKnobs) -> GrpoOutput {
        let logprobs = tokens.input.logprobs.clone();
        let kl_sum = tokens.input.ref_logprobs.map(|r| k3(logprobs.inner(), r.inner()).sum());
        let mut at = 0;
        let (mut advantages, mut weights) = (Vec::new(), Vec::new());
        for len in tokens.lens {
            advantages.push(tokens.advantages[at]);
            weights.push(tokens.weights[at..at + len].iter().sum());
            at += len;
        }
        let input = RlooInput {
            logprobs: tokens.input.logprobs,
            old_logprobs: tokens.input.old_logprobs,
            lens: tokens.lens.to_vec(),
            advantages,
            weights,
        };
        GrpoOutput { kl_sum, ..rloo(input, knobs.epsilon_low, knobs.epsilon_high) }
    }
}

/// `Σ_t (log π_old - log π_ref)` of every completion, by group; zeros without a reference.
fn divergences(rollouts: &Rollouts<'_>) -> Vec<Vec<f64>> {
    let mut out = Vec::with_capacity(rollouts.groups.len());
    for batch in rollouts.batches {
        let mut at = 0;
        for group in &batch.groups {
            out.push(of_group(group, batch.ref_logprobs.as_deref(), &mut at));
        }
    }
    out
}

fn of_group(group: &Group, reference: Option<&[f32]>, at: &mut usize) -> Vec<f64> {
    let one = |completion: &rlaif_data::Completion| {
        let len = completion.logprobs.len();
        let from = *at;
        *at += len;
        let Some(reference) = reference else { return 0.0 };
        let pairs = completion.logprobs.iter().zip(&reference[from..from + len]);
        pairs.map(|(old, reference)| f64::from(old - reference)).sum()
    };
    group.completions.iter().map(one).collect()
}
