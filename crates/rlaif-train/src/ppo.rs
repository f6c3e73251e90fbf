//! PPO: scores against a critic's expectation.
//!
//! ```text
//! r_t = - β (log π_old(o_t) - log π_ref(o_t))      plus the score at the last token
//! A_t = Σ_k (γ λ)^k (r_{t+k} + γ V_{t+k+1} - V_{t+k}),   whitened over the step;   R_t = A_t + V_t
//! policy: clipped per token;   critic: ½ Σ_t w_t max((V - R)², (clip(V, V_old ± c) - R)²)
//! ```
//!
//! Source: Schulman et al. 2017, arXiv:1707.06347, and 2016, arXiv:1506.02438; the pipeline of
//! VLM-RLAIF, arXiv:2402.03746. Only real tokens count, everywhere: there is no padding.

use burn::tensor::Tensor;
use rlaif_model::{Gradients, Parameters, ScalarVlm};
use rlaif_objective::{ValueInput, gae, shaped_rewards, value_loss, whiten};
use rlaif_oracle::RankRequest;
use rlaif_rollout::{Pass, Reads};

use crate::batch::Batch;
use crate::checkpoint::{self, Checkpoint, NamedTensors};
use crate::config::Trainable;
use crate::error::TrainError;
use crate::method::{Judged, Judgement, Method, Rollouts, StepOf};
use crate::metrics::Metrics;
use crate::optim::{self, AdamW, Rate};
use crate::phase::Clock;
use crate::plan::Plan;
use crate::reward::{Reward, Scored, order_metrics};

const CRITIC: &str = "critic.safetensors";
const CRITIC_OPTIMIZER: &str = "critic_optimizer.safetensors";

/// PPO on a reward's scores, with a critic that is a model of its own.
pub struct Ppo {
    scored: Scored,
    critic: ScalarVlm,
    optimizer: AdamW,
    trainable: Trainable,
    /// `V_old` and `R` of all tokens of the step.
    old_values: Vec<f32>,
    returns: Vec<f32>,
}

impl Ppo {
    /// Learns from what `reward` says. The critic starts as `critic`: VLM-RLAIF takes the reward
    /// model. It trains the same kind of weights as the policy, and its head. It reads the
    /// policy's prompts, so its tower must be the policy's.
    #[must_use]
    pub fn new(
        reward: Box<dyn Reward>,
        mut critic: ScalarVlm,
        trainable: Trainable,
        seed: u64,
    ) -> Self {
        if let Trainable::Lora(lora) = &trainable {
            critic.vlm.attach_lora(lora, seed);
        }
        Ppo {
            scored: Scored::new(reward),
            critic,
            optimizer: AdamW::default(),
            trainable,
            old_values: Vec::new(),
            returns: Vec::new(),
        }
    }

    /// Advantages of all tokens, and what the log says of the rewards.
    fn advantages(
        &mut self,
        rollouts: &Rollouts<'_>,
        verdicts: &[Result<Judgement, String>],
    ) -> (Vec<f32>, Metrics) {
        let config = rollouts.config;
        let (mut advantages, mut returns, mut judged) = (Vec::new(), Vec::new(), Vec::new());
        let (mut kl, mut scores, mut count) = (0.0, 0.0, 0_usize);
        let mut verdicts = verdicts.iter();
        let mut at = 0;
        for batch in rollouts.batches {
            let mut in_batch = 0;
            for (group, verdict) in batch.groups.iter().zip(verdicts.by_ref()) {
                let rewards = verdict.as_ref().ok().and_then(|v| v.rewards.as_ref());
                for (index, completion) in group.completions.iter().enumerate() {
                    let len = completion.logprobs.len();
                    let reference = batch.ref_logprobs.as_ref();
                    let reference = reference.map_or(completion.logprobs.as_slice(), |all| {
                        &all[in_batch..in_batch + len]
                    });
                    let values = &self.old_values[at..at + len];
                    let score = rewards.map_or(0.0, |rewards| rewards[index]);
                    let shaped =
                        shaped_rewards(score, &completion.logprobs, reference, config.beta);
                    let (a, r) = gae(&shaped, values, config.ppo.gamma, config.ppo.lam);
                    if rewards.is_some() {
                        judged.extend(at..at + len);
                        let pairs = completion.logprobs.iter().zip(reference);
                        kl += pairs.map(|(old, new)| f64::from(old - new)).sum::<f64>();
                        scores += score;
                        count += 1;
                    }
                    advantages.extend(a);
                    returns.extend(r);
                    in_batch += len;
                    at += len;
                }
            }
        }
        // Tokens of groups without a score have no part in the mean and the deviation.
        let mut known: Vec<f32> = judged.iter().map(|token| advantages[*token]).collect();
        whiten(&mut known);
        advantages.fill(0.0);
        for (token, value) in judged.iter().zip(known) {
            advantages[*token] = value;
        }
        let n = count.max(1) as f64;
        let named = [
            ("objective/kl", kl / n),
            ("objective/scores", scores / n),
            ("objective/non_score_reward", -config.beta * kl / n),
            ("objective/rlhf_reward", (scores - config.beta * kl) / n),
            ("val/explained_variance", explained(&self.old_values, &returns, &judged)),
        ];
        self.returns = returns;
        (advantages, named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// One update of the critic.
    fn update(
        &mut self,
        batches: &[Batch],
        plan: &Plan,
        at: &StepOf<'_>,
    ) -> Result<Metrics, TrainError> {
        let config = at.config;
        let tracked = self.critic.tracked(|name| self.trainable.trains(name));
        let mut gradients = Gradients::new();
        let (mut loss_sum, mut clipped, mut from) = (0.0, 0.0, 0);
        for batch in batches {
            let tokens = from..from + batch.tokens();
            from = tokens.end;
            let (pass, values) = values(&tracked, batch, config.gradient_checkpointing);
            let device = values.device();
            let constant = |all: &[f32]| Tensor::<1>::from_data(&all[tokens.clone()], &device);
            let output = value_loss(
                ValueInput {
                    values,
                    old_values: constant(&self.old_values),
                    returns: constant(&self.returns),
                    weights: constant(&plan.weights),
                },
                config.ppo.cliprange_value,
            );
            loss_sum += f64::from(output.loss.clone().inner().into_scalar::<f32>());
            clipped += f64::from(output.clipped.into_scalar::<f32>());
            let loss = output.loss * config.ppo.vf_coef;
            optim::accumulate(&mut gradients, pass.gradients(&tracked, &loss));
        }
        if !loss_sum.is_finite() {
            return Err(TrainError::NotFinite { step: at.step + 1, what: "value loss" });
        }
        let peak = config.ppo.critic_learning_rate.unwrap_or(config.learning_rate);
        let rate = Rate { peak, step: at.step, total: config.max_steps };
        let applied =
            self.optimizer.update(&mut self.critic, &mut gradients, &config.optim, &rate)?;
        let named = [
            ("loss/value_avg", loss_sum),
            ("val/clipfrac_avg", clipped / from.max(1) as f64),
            ("val/grad_norm", applied.grad_norm),
        ];
        Ok(named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl Method for Ppo {
    fn judge_name(&self) -> &'static str {
        "reward"
    }

    fn submit(&mut self, requests: Vec<RankRequest>) {
        self.scored.submit(requests);
    }

    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError> {
        let (verdicts, mut metrics) = self.scored.judge(rollouts, clock)?;
        self.old_values = clock.time("critic", || {
            let values =
                |batch| values(&self.critic, batch, false).1.to_data().iter().collect::<Vec<f32>>();
            rollouts.batches.iter().flat_map(values).collect()
        });
        let (tokens, more) = self.advantages(rollouts, &verdicts);
        metrics.extend(more);
        let advantages = per_completion(rollouts, &verdicts, &tokens);
        order_metrics(rollouts, &verdicts, &advantages, &mut metrics);
        Ok(Judged { verdicts, advantages, token_advantages: Some(tokens), metrics })
    }

    fn kl_in_reward(&self) -> bool {
        true
    }

    fn learn(
        &mut self,
        batches: &[Batch],
        plan: &Plan,
        at: &StepOf<'_>,
        clock: &mut Clock,
    ) -> Result<Metrics, TrainError> {
        clock.time("critic", || self.update(batches, plan, at))
    }

    fn tensors(&self) -> Vec<(&'static str, NamedTensors)> {
        let trains = |name: &str| self.trainable.trains(name);
        vec![
            (CRITIC, checkpoint::weights(&self.critic, &trains)),
            (CRITIC_OPTIMIZER, checkpoint::moments(&self.optimizer)),
        ]
    }

    fn restore(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        let device = checkpoint::device(&self.critic);
        let optimizer = checkpoint::read_optimizer(from, CRITIC_OPTIMIZER, &device)?;
        self.critic = checkpoint::read_model(from, CRITIC, &self.critic)?;
        self.optimizer = optimizer;
        Ok(())
    }
}

/// The critic's expectation before each response token of a batch, `[Σ T]`.
fn values<'a>(critic: &'a ScalarVlm, batch: &Batch, checkpointing: bool) -> (Pass<'a>, Tensor<1>) {
    let (inputs, responses) = (batch.inputs(), batch.responses());
    let pass = Pass::new(&critic.vlm, &inputs, &responses, Reads::EachToken, checkpointing);
    let values = critic.read(pass.hidden.clone());
    (pass, values)
}

/// Mean advantage of each completion's tokens, for the log.
fn per_completion(
    rollouts: &Rollouts<'_>,
    verdicts: &[Result<Judgement, String>],
    tokens: &[f32],
) -> Vec<Option<Vec<f64>>> {
    let mut at = 0;
    let of_group = |(group, verdict): (&rlaif_data::Group, &Result<Judgement, String>)| {
        let mut means = Vec::with_capacity(group.completions.len());
        for completion in &group.completions {
            let len = completion.logprobs.len();
            let sum: f64 = tokens[at..at + len].iter().map(|a| f64::from(*a)).sum();
            means.push(sum / len.max(1) as f64);
            at += len;
        }
        verdict.is_ok().then_some(means)
    };
    rollouts.groups.iter().zip(verdicts).map(of_group).collect()
}

/// `1 - Var(R - V) / Var(R)` over the judged tokens; 0 where all returns are the same.
fn explained(values: &[f32], returns: &[f32], judged: &[usize]) -> f64 {
    let variance = |of: &dyn Fn(usize) -> f64| {
        let n = judged.len().max(1) as f64;
        let mean = judged.iter().map(|t| of(*t)).sum::<f64>() / n;
        judged.iter().map(|t| (of(*t) - mean).powi(2)).sum::<f64>() / n
    };
    let total = variance(&|t| f64::from(returns[t]));
    let residual = variance(&|t| f64::from(returns[t] - values[t]));
    if total > 0.0 { 1.0 - residual / total } else { 0.0 }
}
