//! The loop of the methods that learn from sampled groups.
//!
//! ```text
//! for each step:
//!   for each batch of prompts:
//!     sample G completions per prompt from π_θ             (rollout)
//!     hand them to the judge, who may work while the next batch is sampled
//!   score the completions under π_ref                      (reference)
//!   turn what the judge says into advantages
//!   for each of μ iterations:
//!     update θ on the method's objective                   (update)
//! ```
//!
//! Who judges, and what becomes of it, is the [`Method`]'s.

use std::sync::Arc;
use std::time::Instant;

use rlaif_data::{Example, Group};
use rlaif_model::hf::ChatTokenizer;
use rlaif_model::{Gradients, Parameters, Vlm};
use rlaif_oracle::{OracleWorker, RankRequest, RankingConfig};
use rlaif_rollout::PromptInput;

use crate::batch::{Batch, Objective, vocabulary};
use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::completions::{self, GroupRecord};
use crate::config::{GrpoConfig, RefreshReference, Trainable, check_base};
use crate::drive::{Loop, drive};
use crate::error::TrainError;
use crate::grpo_rank::GrpoRank;
use crate::method::{Method, Rollouts, StepOf};
use crate::metrics::Metrics;
use crate::optim::{self, AdamW, Rate};
use crate::order;
use crate::phase::Clock;
use crate::plan::Plan;
use crate::run::{Event, Run};
use crate::step_metrics::{Updated, group_metrics, speed, utilisation};

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

/// The state of a run.
pub struct Online {
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
    method: Box<dyn Method>,
    refreshed: bool,
}

impl Online {
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
        method: Box<dyn Method>,
    ) -> Result<Self, TrainError> {
        config.check().map_err(TrainError::Config)?;
        check_base(&policy, &config.trainable)?;
        let reference = policy.clone();
        if let Trainable::Lora(lora) = &config.trainable {
            policy.attach_lora(lora, config.seed);
        }
        Ok(Online {
            policy,
            reference,
            optimizer: AdamW::default(),
            step: 0,
            config,
            tokenizer,
            method,
            refreshed: false,
        })
    }

    /// A run of `GRPO_rank`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn grpo_rank(
        policy: Vlm,
        config: GrpoConfig,
        tokenizer: Arc<ChatTokenizer>,
        oracle: OracleWorker,
    ) -> Result<Self, TrainError> {
        let method = GrpoRank::new(oracle, RankingConfig::default());
        Online::new(policy, config, tokenizer, Box::new(method))
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
        self.method.restore(from)?;
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
    /// Fails on a prompt that cannot be built, a judge that judges no group of a step, numbers
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
        drive(&mut Training { online: self, len, prompts, save }, run)
    }

    fn save(
        &self,
        folder: &std::path::Path,
        save: &SaveModel<'_>,
    ) -> Result<std::path::PathBuf, TrainError> {
        let trains = |name: &str| self.config.trainable.trains(name);
        let state = State { step: self.step, seed: self.config.seed, reference: self.refreshed };
        let mut extra = self.method.tensors();
        if self.refreshed {
            extra.push((checkpoint::REFERENCE, checkpoint::weights(&self.reference, &trains)));
        }
        checkpoint::write(folder, &self.policy, &self.optimizer, extra, state, &trains, save)
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
        let mut batches = self.roll_out(len, prompts, tracked.as_ref(), &mut clock)?;
        let exact = self.exact_kl();
        if self.config.beta != 0.0 && !exact {
            phase("reference");
            let forbidden = vocabulary(&self.tokenizer, &self.policy).forbidden;
            clock.time("reference", || {
                for batch in &mut batches {
                    batch.score_reference(&self.reference, &forbidden);
                }
            });
        }
        phase(self.method.judge_name());
        let groups: Vec<Group> = batches.iter().flat_map(|batch| batch.groups.clone()).collect();
        let rollouts = Rollouts {
            step,
            config: &self.config,
            batches: &batches,
            groups: &groups,
            control: &run.control,
        };
        let judged = self.method.judge(&rollouts, &mut clock)?;

        phase("update");
        let aggregation = self.method.aggregation(&self.config);
        let plan = Plan::new(&groups, &judged, aggregation, &self.config);
        let mut metrics = judged.metrics;
        for iteration in 0..self.config.num_iterations {
            let current = tracked.take().unwrap_or_else(|| self.tracked());
            let update =
                clock.time("update", || self.update(&mut batches, &current, &plan, iteration))?;
            update.report(&mut metrics, self.config.num_iterations);
            let at = StepOf { step: self.step, config: &self.config };
            metrics.extend(self.method.learn(&batches, &plan, &at, &mut clock)?);
        }

        group_metrics(&groups, &mut metrics);
        let skipped = format!("{}/skipped_weight", self.method.judge_name());
        metrics.insert(skipped, plan.skipped_weight);
        let seconds = started.elapsed().as_secs_f64();
        metrics.insert("step_time".to_owned(), seconds);
        clock.report(&mut metrics);
        speed(&groups, &clock, &mut metrics);
        utilisation(&self.policy, &self.config, &batches, seconds, &mut metrics);
        let examples = batches.iter().flat_map(Batch::examples);
        let records = examples
            .zip(&groups)
            .zip(judged.verdicts.iter().zip(&judged.advantages))
            .map(|((example, group), (verdict, advantages))| {
                GroupRecord::new(step, example, group, verdict.as_ref(), advantages.as_deref())
            })
            .collect();
        Ok((metrics, records))
    }

    /// Whether the divergence is measured over the whole vocabulary, as a term of the loss.
    fn exact_kl(&self) -> bool {
        self.config.kl_estimator == crate::KlEstimator::Exact && !self.method.kl_in_reward()
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

    /// Samples every batch of the step; the judge hears of each while the next is sampled.
    fn roll_out(
        &mut self,
        len: usize,
        prompts: &Prompts<'_>,
        tracked: Option<&Vlm>,
        clock: &mut Clock,
    ) -> Result<Vec<Batch>, TrainError> {
        let config = &self.config;
        let start = usize::try_from(self.step).unwrap_or(usize::MAX) * config.prompts_per_step;
        let order = order::stream(len, start, config.prompts_per_step, config.seed);
        // A graph that is kept is what checkpointing does without.
        let kept = tracked.filter(|_| config.reuse_prefill && !config.gradient_checkpointing);
        let encoder = kept.unwrap_or(&self.policy);
        let mut batches = Vec::new();
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
            self.method.submit(requests);
            batches.push(batch);
        }
        Ok(batches)
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
        let part = Objective {
            method: &*self.method,
            reference: &self.reference,
            config: &config,
            forbidden: &forbidden,
        };
        for batch in batches {
            let tokens = at..at + batch.tokens();
            at = tokens.end;
            let update = batch.update(
                tracked,
                &plan.advantages[tokens.clone()],
                &plan.weights[tokens],
                &part,
            );
            sum.add(&update, iteration);
            optim::accumulate(&mut gradients, update.gradients);
        }
        if !sum.loss.is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss" });
        }
        let rate = Rate { peak: config.learning_rate, step: self.step, total: config.max_steps };
        let applied =
            self.optimizer.update(&mut self.policy, &mut gradients, &config.optim, &rate)?;
        sum.grad_norm = applied.grad_norm;
        sum.learning_rate = applied.learning_rate;
        Ok(sum)
    }
}

/// A run with what it is fed and where it is written.
struct Training<'a> {
    online: &'a mut Online,
    len: usize,
    prompts: &'a Prompts<'a>,
    save: &'a SaveModel<'a>,
}

impl Loop for Training<'_> {
    fn step(&mut self) -> &mut u64 {
        &mut self.online.step
    }

    fn max_steps(&self) -> u64 {
        self.online.config.max_steps
    }

    fn saving(&self) -> (u64, usize) {
        (self.online.config.save_steps, self.online.config.save_total_limit)
    }

    fn checkpoint(&self, folder: &std::path::Path) -> Result<std::path::PathBuf, TrainError> {
        self.online.save(folder, self.save)
    }

    fn one_step(&mut self, run: &mut Run<'_>) -> Result<Metrics, TrainError> {
        let (metrics, records) = self.online.one_step(self.len, self.prompts, run)?;
        if let Some(folder) = &run.folder {
            completions::write(folder, self.online.step + 1, &records)?;
        }
        Ok(metrics)
    }
}
