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

use rlaif_data::{Example, Group};
use rlaif_model::hf::ChatTokenizer;
use rlaif_model::{Gradients, Parameters, Vlm};
use rlaif_oracle::{OracleError, OracleMetrics, OracleWorker, RankRequest, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::PromptInput;

use crate::batch::{Batch, vocabulary};
use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::completions::{self, GroupRecord};
use crate::config::{GrpoConfig, RefreshReference, Trainable};
use crate::error::TrainError;
use crate::metrics::{self, Metrics};
use crate::optim::{self, AdamW};
use crate::order;
use crate::phase::Clock;
use crate::plan::Plan;
use crate::ranked::{group_advantages, rank_metrics};
use crate::run::{Event, Run};
use crate::step_metrics::{Updated, group_metrics, oracle_metrics, speed, utilisation};

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
            let forbidden = vocabulary(&self.tokenizer, &self.policy).forbidden;
            clock.time("reference", || {
                for batch in &mut batches {
                    batch.score_reference(&self.reference, &forbidden);
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
        speed(&groups, &clock, &mut metrics);
        utilisation(&self.policy, &self.config, &batches, seconds, &mut metrics);
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
        let forbidden = vocabulary(&self.tokenizer, &self.policy).forbidden;
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
}
