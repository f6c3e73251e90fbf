//! `GRPO_rank`: Oracle-RLAIF's training loop.
//!
//! ```text
//! for each step:
//!   for each batch of prompts:
//!     sample G completions per prompt from π_θ             (rollout)
//!     hand them to the Oracle, which ranks while the next batch is sampled
//!   score the completions under π_ref                      (reference)
//!   turn the rankings into advantages
//!   for each of μ iterations:
//!     update θ on the clipped objective                    (update)
//! ```
//!
//! Source: Oracle-RLAIF, arXiv:2510.02561; GRPO, arXiv:2402.03300.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use rlaif_data::{Example, Group};
use rlaif_model::hf::ChatTokenizer;
use rlaif_model::{Gradients, Parameters, Vlm};
use rlaif_objective::aggregate::Part;
use rlaif_objective::token_weights;
use rlaif_oracle::{OracleError, OracleMetrics, OracleWorker, RankRequest, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::PromptInput;

use crate::batch::{Batch, Update, truncated, vocabulary};
use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::completions::{self, GroupRecord};
use crate::config::{GrpoConfig, RefreshReference, Trainable};
use crate::error::TrainError;
use crate::flops::{Costs, GroupShape, Macs};
use crate::metrics::{self, Metrics};
use crate::optim::{self, AdamW};
use crate::order;
use crate::phase::Clock;
use crate::ranked::{group_advantages, rank_metrics};
use crate::run::{Event, Run};

/// A prompt of the data set, ready for the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompted {
    /// Position in the data set: part of the seed of its rollouts.
    pub position: u64,
    /// The row, as the Oracle is shown it.
    pub example: Example,
    /// The prompt, as the policy reads it.
    pub input: PromptInput,
}

/// Where prompts come from: position in the data set to prompt.
pub type Prompts<'a> = dyn Fn(usize) -> Result<Arc<Prompted>, TrainError> + 'a;

/// The state of a `GRPO_rank` run.
pub struct Grpo {
    /// The policy `π_θ`.
    pub policy: Vlm,
    /// The reference `π_ref`.
    pub reference: Vlm,
    /// Optimizer state.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    config: GrpoConfig,
    tokenizer: Arc<ChatTokenizer>,
    oracle: OracleWorker,
    refreshed: bool,
}

impl Grpo {
    /// A run from its beginning: the reference is `policy` as it stands; with LoRA, fresh
    /// adapters are put on the policy afterwards.
    ///
    /// # Errors
    ///
    /// Names a knob that is out of range.
    pub fn new(
        mut policy: Vlm,
        config: GrpoConfig,
        tokenizer: Arc<ChatTokenizer>,
        oracle: OracleWorker,
    ) -> Result<Self, TrainError> {
        config.check().map_err(TrainError::Config)?;
        let reference = policy.clone();
        if let Trainable::Lora(lora) = &config.trainable {
            policy.attach_lora(lora, config.seed);
        }
        Ok(Grpo {
            policy,
            reference,
            optimizer: AdamW::default(),
            step: 0,
            config,
            tokenizer,
            oracle,
            refreshed: false,
        })
    }

    /// Continues from a checkpoint of the same recipe.
    ///
    /// # Errors
    ///
    /// Fails where the checkpoint is not whole, not of this model, or of another seed.
    pub fn resume(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        checkpoint::same_seed(from, self.config.seed)?;
        let mut reference = self.policy.clone();
        let into = from.state.reference.then_some(&mut reference);
        checkpoint::restore(from, &mut self.policy, &mut self.optimizer, into)?;
        if from.state.reference {
            self.reference = reference;
            self.refreshed = true;
        }
        self.step = from.state.step;
        Ok(())
    }

    /// Trains to the last step, or until asked to stop. Returns true where it reached the end.
    ///
    /// # Errors
    ///
    /// Fails on a prompt that cannot be built, an Oracle that ranks no group of a step, numbers
    /// that are not finite, files that cannot be written.
    pub fn train(
        &mut self,
        len: usize,
        prompts: &Prompts<'_>,
        run: &mut Run<'_>,
        save: &SaveModel<'_>,
    ) -> Result<bool, TrainError> {
        if len == 0 {
            return Err(TrainError::NoData);
        }
        let total = self.config.max_steps;
        while self.step < total {
            let (metrics, records) = self.one_step(len, prompts, run)?;
            self.step += 1;
            if let Some(folder) = &run.folder {
                completions::write(folder, self.step, &records)?;
                metrics::append(&folder.join("metrics.jsonl"), self.step, &metrics)?;
            }
            (run.listen)(Event::Step { step: self.step, total, metrics: &metrics });
            let stopping = run.control.stopping() && self.step < total;
            let due =
                self.config.save_steps > 0 && self.step.is_multiple_of(self.config.save_steps);
            if let (Some(folder), true) = (&run.folder, stopping || due) {
                let path = self.save(folder, save)?;
                (run.listen)(Event::Saved { path: &path });
            }
            if stopping {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn save(
        &self,
        folder: &std::path::Path,
        save: &SaveModel<'_>,
    ) -> Result<std::path::PathBuf, TrainError> {
        let trains = |name: &str| self.config.trainable.trains(name);
        let state = State { step: self.step, seed: self.config.seed, reference: self.refreshed };
        let reference = self.refreshed.then_some(&self.reference);
        let path = checkpoint::write(
            folder,
            &self.policy,
            &self.optimizer,
            reference,
            state,
            &trains,
            save,
        )?;
        checkpoint::prune(folder, self.config.save_total_limit)?;
        Ok(path)
    }

    /// The algorithm box.
    fn one_step(
        &mut self,
        len: usize,
        prompts: &Prompts<'_>,
        run: &mut Run<'_>,
    ) -> Result<(Metrics, Vec<GroupRecord>), TrainError> {
        let started = Instant::now();
        let mut clock = Clock::default();
        let total = self.config.max_steps;
        let step = self.step + 1;
        let mut phase = |name| (run.listen)(Event::Phase { step, total, name });
        self.refresh_reference(len);

        phase("rollout");
        // Where the graph of the prompt pass is kept, sampling and update share this copy.
        let mut tracked = Some(self.tracked());
        let (mut batches, pending) = self.roll_out(len, prompts, tracked.as_ref(), &mut clock)?;
        if self.config.beta != 0.0 && self.config.kl_estimator == crate::KlEstimator::K3 {
            phase("reference");
            let forbidden = self.tokenizer.forbidden_ids();
            clock.time("reference", || {
                for batch in &mut batches {
                    batch.score_reference(&self.reference, forbidden);
                }
            });
        }
        phase("oracle");
        let mut verdicts = Vec::new();
        let mut oracle = OracleMetrics::default();
        for waiting in pending {
            let outcome = clock.time("oracle_wait", || waiting.wait());
            oracle += &outcome.metrics;
            verdicts.extend(outcome.verdicts);
        }
        let groups: Vec<Group> = batches.iter().flat_map(|batch| batch.groups.clone()).collect();
        let rankings = self.rankings(&verdicts)?;
        let advantages = group_advantages(
            self.config.advantage,
            self.config.scale_advantages,
            &groups,
            &rankings,
        )
        .map_err(|source| TrainError::Advantage { step, source })?;

        phase("update");
        let plan = Plan::new(&groups, &advantages, &self.config);
        let mut metrics = Metrics::new();
        for iteration in 0..self.config.num_iterations {
            let current = tracked.take().unwrap_or_else(|| self.tracked());
            let update =
                clock.time("update", || self.update(&mut batches, &current, &plan, iteration))?;
            update.report(&mut metrics, self.config.num_iterations);
        }

        rank_metrics(&groups, &rankings, &advantages, &mut metrics);
        group_metrics(&groups, &mut metrics);
        oracle_metrics(&oracle, plan.skipped_weight, &mut metrics);
        let seconds = started.elapsed().as_secs_f64();
        metrics.insert("step_time".to_owned(), seconds);
        clock.report(&mut metrics);
        Self::speed(&groups, &clock, &mut metrics);
        self.utilisation(&batches, seconds, &mut metrics);
        let examples = batches.iter().flat_map(Batch::examples);
        let records = examples
            .zip(&groups)
            .zip(verdicts.iter().zip(&advantages))
            .map(|((example, group), (verdict, advantages))| {
                let ranking = verdict.as_ref().map(|v| &v.ranking).map_err(ToString::to_string);
                GroupRecord::new(step, example, group, ranking, advantages.as_deref())
            })
            .collect();
        Ok((metrics, records))
    }

    /// The policy as a training pass differentiates it.
    fn tracked(&self) -> Vlm {
        self.policy.tracked(|name| self.config.trainable.trains(name))
    }

    fn refresh_reference(&mut self, len: usize) {
        let per_step = self.config.prompts_per_step;
        let position = usize::try_from(self.step).unwrap_or(usize::MAX).saturating_mul(per_step);
        let epoch_begins = position > 0 && position % len < per_step;
        if self.config.refresh_reference == RefreshReference::Epoch && epoch_begins {
            self.reference = self.policy.clone();
            self.refreshed = true;
        }
    }

    /// Samples every batch of the step; the Oracle ranks each while the next is sampled.
    fn roll_out(
        &self,
        len: usize,
        prompts: &Prompts<'_>,
        tracked: Option<&Vlm>,
        clock: &mut Clock,
    ) -> Result<(Vec<Batch>, Vec<rlaif_oracle::Pending>), TrainError> {
        let config = &self.config;
        let start = usize::try_from(self.step).unwrap_or(usize::MAX) * config.prompts_per_step;
        let order = order::stream(len, start, config.prompts_per_step, config.seed);
        let kept = tracked.filter(|_| config.reuse_prefill);
        let encoder = kept.unwrap_or(&self.policy);
        let mut batches = Vec::new();
        let mut pending = Vec::new();
        for chunk in order.chunks(config.prompts_per_batch) {
            let inputs: Vec<Arc<Prompted>> = clock
                .time("data", || chunk.iter().map(|i| prompts(*i)).collect::<Result<_, _>>())?;
            let batch = clock.time("rollout", || {
                Batch::roll_out(
                    inputs,
                    &self.policy,
                    encoder,
                    kept.is_some(),
                    config,
                    &self.tokenizer,
                    self.step,
                )
            });
            let requests = batch
                .examples()
                .zip(&batch.groups)
                .map(|(example, group)| RankRequest {
                    example: example.clone(),
                    candidates: group.completions.iter().map(|c| c.text.clone()).collect(),
                })
                .collect();
            pending.push(self.oracle.submit(requests));
            batches.push(batch);
        }
        Ok((batches, pending))
    }

    /// The rankings there are; an error where there is none at all.
    fn rankings<'v>(
        &self,
        verdicts: &'v [Result<Verdict, OracleError>],
    ) -> Result<Vec<Option<&'v Ranking>>, TrainError> {
        let rankings: Vec<_> =
            verdicts.iter().map(|v| v.as_ref().ok().map(|v| &v.ranking)).collect();
        if rankings.iter().all(Option::is_none) {
            let first = verdicts.iter().find_map(|v| v.as_ref().err());
            return Err(TrainError::NothingRanked {
                step: self.step + 1,
                groups: verdicts.len(),
                first: first.map(ToString::to_string).unwrap_or_default(),
            });
        }
        Ok(rankings)
    }

    /// One update of θ over all batches of the step.
    fn update(
        &mut self,
        batches: &mut [Batch],
        tracked: &Vlm,
        plan: &Plan,
        iteration: usize,
    ) -> Result<Updated, TrainError> {
        let step = self.step + 1;
        let config = self.config.clone();
        let forbidden = vocabulary(&self.tokenizer).forbidden;
        let mut gradients = Gradients::new();
        let mut sum = Updated::default();
        let mut at = 0;
        for batch in batches {
            let responses = at..at + batch.responses().len();
            at = responses.end;
            let update = batch.update(
                tracked,
                &self.reference,
                &plan.advantages[responses.clone()],
                &plan.weights[responses],
                &config,
                &forbidden,
            );
            sum.add(&update, iteration);
            optim::accumulate(&mut gradients, update.gradients);
        }
        if !sum.loss.is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss" });
        }
        sum.grad_norm = optim::clip_global_norm(&mut gradients, config.optim.max_grad_norm);
        if !sum.grad_norm.is_finite() {
            return Err(TrainError::NotFinite { step, what: "gradient norm" });
        }
        sum.learning_rate = config.learning_rate
            * config.optim.lr_scheduler_type.factor(
                self.step,
                config.max_steps,
                config.optim.warmup_ratio,
            );
        self.optimizer.step(&mut self.policy, &gradients, &config.optim, sum.learning_rate);
        Ok(sum)
    }

    fn speed(groups: &[Group], clock: &Clock, metrics: &mut Metrics) {
        let sampled: usize =
            groups.iter().flat_map(|g| &g.completions).map(|c| c.token_ids.len()).sum();
        let prompt: usize = groups.iter().map(|group| group.prompt_tokens).sum();
        let mut rate = |name: &str, tokens: usize, phase: &str| {
            let seconds = clock.seconds(phase);
            if seconds > 0.0 {
                metrics.insert(format!("speed/{name}"), tokens as f64 / seconds);
            }
        };
        rate("rollout_tokens_per_second", sampled, "rollout");
        rate("reference_tokens_per_second", sampled + prompt, "reference");
        rate("update_tokens_per_second", sampled + prompt, "update");
    }

    /// `speed/mfu`: the step's arithmetic over what this CPU's matrix products would have done in
    /// the same time. Other devices have no measured peak, and no such number.
    fn utilisation(&self, batches: &[Batch], seconds: f64, metrics: &mut Metrics) {
        if self.policy.device() != Device::flex() || seconds <= 0.0 {
            return;
        }
        let costs = Costs::of(&self.policy);
        let trained = !matches!(self.config.trainable, Trainable::Lora(_));
        let mut macs = Macs::default();
        for group in batches.iter().flat_map(|b| shapes(b, self.policy.tower.patches())) {
            macs += group.rollout(&costs);
            if self.config.beta != 0.0 {
                macs += group.score(&costs);
            }
            for iteration in 0..self.config.num_iterations {
                let kept = self.config.reuse_prefill && iteration == 0;
                macs += group.update(&costs, kept, trained);
            }
        }
        let peak = rlaif_ops::peak::measure().gemm_gflops * 1e9;
        metrics.insert("speed/mfu".to_owned(), macs.flops() / (seconds * peak));
    }
}

/// The shapes of a batch's groups.
fn shapes(batch: &Batch, patches: usize) -> impl Iterator<Item = GroupShape> {
    batch.prompts.iter().zip(&batch.groups).map(move |(prompt, group)| GroupShape {
        prompt: group.prompt_tokens,
        patches: prompt.input.visual.as_ref().map_or(0, |(_, clip)| clip.frames() * patches),
        responses: group.completions.iter().map(|c| c.token_ids.len()).collect(),
    })
}

/// Advantage and token weight of every response of the step.
struct Plan {
    advantages: Vec<f32>,
    weights: Vec<f32>,
    /// Part of the step's weight that fell to groups without a ranking.
    skipped_weight: f64,
}

impl Plan {
    /// Groups without a ranking keep their part of the divisors: their share of the step's
    /// weight is lost, and reported, not handed to the others.
    fn new(groups: &[Group], advantages: &[Option<Vec<f64>>], config: &GrpoConfig) -> Plan {
        let completions = || groups.iter().flat_map(|group| &group.completions);
        let parts: Vec<Part> = completions()
            .map(|completion| Part {
                len: completion.token_ids.len(),
                counts: !(config.mask_truncated_completions && truncated(completion)),
            })
            .collect();
        let max_len = config.sampling.max_completion_length;
        let mut weights = token_weights(&parts, config.loss_aggregation, max_len);
        let share = |weight: &f32, part: &Part| f64::from(*weight) * part.len as f64;
        let whole: f64 = weights.iter().zip(&parts).map(|(w, p)| share(w, p)).sum();
        let mut skipped = 0.0;
        let mut flat = Vec::with_capacity(parts.len());
        for (group, advantage) in groups.iter().zip(advantages) {
            let at = flat.len();
            let end = at + group.completions.len();
            if let Some(values) = advantage {
                #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
                flat.extend(values.iter().map(|a| *a as f32));
            } else {
                for (weight, part) in weights[at..end].iter_mut().zip(&parts[at..end]) {
                    skipped += share(weight, part);
                    *weight = 0.0;
                }
                flat.resize(end, 0.0);
            }
        }
        let skipped_weight = if whole > 0.0 { skipped / whole } else { 0.0 };
        Plan { advantages: flat, weights, skipped_weight }
    }
}

/// Sums over the batches of one update.
#[derive(Default)]
struct Updated {
    loss: f64,
    tokens: usize,
    kl: Option<f64>,
    entropy: f64,
    clipped_low: f64,
    clipped_high: f64,
    mismatch: Option<f64>,
    grad_norm: f64,
    learning_rate: f64,
}

impl Updated {
    fn add(&mut self, update: &Update, iteration: usize) {
        self.loss += update.loss;
        self.tokens += update.tokens;
        self.kl = match (self.kl, update.kl_sum) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.entropy += update.entropy_sum;
        self.clipped_low += update.clipped_low;
        self.clipped_high += update.clipped_high;
        if iteration == 0 {
            *self.mismatch.get_or_insert(0.0) += update.mismatch_sum;
        }
    }

    /// Means over tokens, averaged over `iterations`.
    fn report(&self, metrics: &mut Metrics, iterations: usize) {
        let tokens = self.tokens.max(1) as f64;
        let part = 1.0 / iterations as f64;
        let mut add = |name: &str, value: f64| {
            *metrics.entry(name.to_owned()).or_default() += value * part;
        };
        add("loss", self.loss);
        add("entropy", self.entropy / tokens);
        add("clip_ratio/low_mean", self.clipped_low / tokens);
        add("clip_ratio/high_mean", self.clipped_high / tokens);
        add("clip_ratio/region_mean", (self.clipped_low + self.clipped_high) / tokens);
        add("grad_norm", self.grad_norm);
        add("learning_rate", self.learning_rate);
        if let Some(kl) = self.kl {
            add("kl", kl / tokens);
        }
        if let Some(mismatch) = self.mismatch {
            metrics.insert("sampler/mismatch_kl".to_owned(), mismatch / tokens);
        }
    }
}

fn group_metrics(groups: &[Group], metrics: &mut Metrics) {
    let completions: Vec<_> = groups.iter().flat_map(|group| &group.completions).collect();
    let lens: Vec<usize> = completions.iter().map(|c| c.token_ids.len()).collect();
    let n = lens.len().max(1) as f64;
    let cut = completions.iter().filter(|c| truncated(c)).count();
    let tokens: usize = lens.iter().sum();
    let prompt: usize = groups.iter().map(|group| group.prompt_tokens).sum();
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    put("completions/mean_length", tokens as f64 / n);
    put("completions/min_length", lens.iter().min().copied().unwrap_or(0) as f64);
    put("completions/max_length", lens.iter().max().copied().unwrap_or(0) as f64);
    put("completions/clipped_ratio", cut as f64 / n);
    put("num_tokens", (tokens + prompt) as f64);
}

fn oracle_metrics(oracle: &OracleMetrics, skipped_weight: f64, metrics: &mut Metrics) {
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    put("oracle/calls", oracle.calls as f64);
    put("oracle/failures", oracle.failed() as f64);
    put("oracle/merged_candidates", oracle.merged_candidates as f64);
    put("oracle/skipped_weight", skipped_weight);
    if let Some(latency) = oracle.latency_mean() {
        put("oracle/latency", latency.as_secs_f64());
    }
}
