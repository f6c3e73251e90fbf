//! Training a reward model on preference pairs.
//!
//! ```text
//! for each step:
//!   take the next pairs; encode each question once for both of its answers
//!   s = w · h after the last token of (question, answer, request for a grade)
//!   L = mean over pairs of - log σ(s_chosen - s_rejected) + c (s_chosen + s_rejected)²
//!   update the model and w
//! ```
//!
//! Source: Bradley and Terry 1952; read where VLM-RLAIF (arXiv:2402.03746) reads its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Gradients, Parameters, ScalarVlm, Vlm};
use rlaif_objective::bradley_terry;
use rlaif_rollout::{Pass, PromptInput, Reads};

use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::config::{RewardModelConfig, Trainable, check_base};
use crate::drive::{Loop, drive};
use crate::error::TrainError;
use crate::metrics::Metrics;
use crate::optim::{self, AdamW, Rate};
use crate::order;
use crate::phase::Clock;
use crate::run::Run;

/// Continuations of one beginning that are each scored at their last token.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredItem {
    /// The beginning they share, video included.
    pub shared: PromptInput,
    /// Token ids of each after it; none is empty.
    pub continuations: Vec<Vec<u32>>,
}

/// Where pairs come from: position in the data set to item, the chosen answer first.
pub type Pairs<'a> = dyn Fn(usize) -> Result<Arc<ScoredItem>, TrainError> + 'a;

/// Scores of all continuations of `items`, in order, `[Σ continuations]`.
#[must_use]
pub fn scores(model: &ScalarVlm, items: &[Arc<ScoredItem>]) -> Tensor<1> {
    score_pass(model, items, false).1
}

fn score_pass<'a>(
    model: &'a ScalarVlm,
    items: &[Arc<ScoredItem>],
    checkpointing: bool,
) -> (Pass<'a>, Tensor<1>) {
    let prompts: Vec<&PromptInput> = items.iter().map(|item| &item.shared).collect();
    let mut all: Vec<(usize, &[u32])> = Vec::new();
    for (prompt, item) in items.iter().enumerate() {
        all.extend(item.continuations.iter().map(|ids| (prompt, ids.as_slice())));
    }
    let pass = Pass::new(&model.vlm, &prompts, &all, Reads::AfterLast, checkpointing);
    let scores = model.read(pass.hidden.clone());
    (pass, scores)
}

/// The state of a run.
pub struct RewardTraining {
    /// The model under training.
    pub model: ScalarVlm,
    /// Optimizer state.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    config: RewardModelConfig,
}

impl RewardTraining {
    /// A run from its beginning: a head of zeros on `start`. With LoRA, fresh adapters are put on
    /// it.
    ///
    /// # Errors
    ///
    /// Names a knob that is out of range.
    pub fn new(mut start: Vlm, config: RewardModelConfig) -> Result<Self, TrainError> {
        config.check().map_err(TrainError::Config)?;
        check_base(&start, &config.trainable)?;
        if let Trainable::Lora(lora) = &config.trainable {
            start.attach_lora(lora, config.seed);
        }
        let model = ScalarVlm::new(start);
        Ok(RewardTraining { model, optimizer: AdamW::default(), step: 0, config })
    }

    /// Continues from a checkpoint of the same recipe.
    ///
    /// # Errors
    ///
    /// Fails where the checkpoint is not whole, not of this model, or of another seed.
    pub fn resume(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        checkpoint::same_seed(from, self.config.seed)?;
        checkpoint::restore(from, &mut self.model, &mut self.optimizer, None)?;
        self.step = from.state.step;
        Ok(())
    }

    /// Trains to the last step, or until asked to stop. Returns true where it reached the end.
    ///
    /// # Errors
    ///
    /// Fails on a pair that cannot be built, a loss that is not finite, a file that cannot be
    /// written.
    pub fn train(
        &mut self,
        len: usize,
        pairs: &Pairs<'_>,
        run: &mut Run<'_>,
        save: &SaveModel<'_, ScalarVlm>,
    ) -> Result<bool, TrainError> {
        if len == 0 {
            return Err(TrainError::NoData);
        }
        drive(&mut Training { work: self, len, pairs, save }, run)
    }

    fn one_step(&mut self, len: usize, pairs: &Pairs<'_>) -> Result<Metrics, TrainError> {
        let config = self.config.clone();
        let mut clock = Clock::default();
        let start = std::time::Instant::now();
        let batch = clock
            .time("data", || order::batch(len, self.step, config.batch_size, config.seed, pairs))?;

        let tracked = self.model.tracked(|name| config.trainable.trains(name));
        let share = 1.0 / batch.len() as f64;
        let mut loss_value = 0.0;
        let (mut right, mut margin, mut score) = (0_usize, 0.0, 0.0);
        let mut gradients = Gradients::new();
        for part in batch.chunks(config.pairs_per_batch) {
            let checkpointing = config.gradient_checkpointing;
            let (pass, chosen, rejected) =
                clock.time("forward", || pair_scores(&tracked, part, checkpointing));
            let host = |t: &Tensor<1>| -> Vec<f32> { t.clone().inner().to_data().iter().collect() };
            for (c, r) in host(&chosen).iter().zip(host(&rejected)) {
                right += usize::from(*c > r);
                margin += f64::from(c - r) * share;
                score += f64::from(c + r) / 2.0 * share;
            }
            let weights = Tensor::full([part.len()], share, &chosen.device());
            let loss = bradley_terry(chosen, rejected, weights, config.center_rewards_coefficient);
            loss_value += f64::from(loss.clone().inner().into_scalar::<f32>());
            if !loss_value.is_finite() {
                return Err(TrainError::NotFinite { step: self.step + 1, what: "loss" });
            }
            let more = clock.time("backward", || pass.gradients(&tracked, &loss));
            optim::accumulate(&mut gradients, more);
        }
        drop(tracked);
        let rate = Rate { peak: config.learning_rate, step: self.step, total: config.max_steps };
        let applied = clock.time("optimizer", || {
            self.optimizer.update(&mut self.model, &mut gradients, &config.optim, &rate)
        })?;

        let mut metrics = Metrics::new();
        let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
        put("loss", loss_value);
        put("accuracy", right as f64 * share);
        put("margin", margin);
        put("mean_reward", score);
        put("grad_norm", applied.grad_norm);
        put("learning_rate", applied.learning_rate);
        put("step_time", start.elapsed().as_secs_f64());
        clock.report(&mut metrics);
        Ok(metrics)
    }
}

/// Scores of the chosen and of the rejected answers, `[pairs]` each.
fn pair_scores<'a>(
    model: &'a ScalarVlm,
    part: &[Arc<ScoredItem>],
    checkpointing: bool,
) -> (Pass<'a>, Tensor<1>, Tensor<1>) {
    let (pass, all) = score_pass(model, part, checkpointing);
    let device = all.device();
    let of = |first: usize| {
        let rows: Vec<usize> = (0..part.len()).map(|pair| 2 * pair + first).collect();
        all.clone().select(0, index_tensor(&rows, &device))
    };
    (pass, of(0), of(1))
}

/// A run with what it is fed and where it is written.
struct Training<'a> {
    work: &'a mut RewardTraining,
    len: usize,
    pairs: &'a Pairs<'a>,
    save: &'a SaveModel<'a, ScalarVlm>,
}

impl Loop for Training<'_> {
    fn step(&mut self) -> &mut u64 {
        &mut self.work.step
    }

    fn max_steps(&self) -> u64 {
        self.work.config.max_steps
    }

    fn saving(&self) -> (u64, usize) {
        (self.work.config.save_steps, self.work.config.save_total_limit)
    }

    fn checkpoint(&self, folder: &Path) -> Result<PathBuf, TrainError> {
        let RewardTraining { model, optimizer, step, config } = &*self.work;
        let trains = |name: &str| config.trainable.trains(name);
        let state = State { step: *step, seed: config.seed, reference: false };
        checkpoint::write(folder, model, optimizer, Vec::new(), state, &trains, self.save)
    }

    fn one_step(&mut self, _: &mut Run<'_>) -> Result<Metrics, TrainError> {
        self.work.one_step(self.len, self.pairs)
    }
}
