//! Supervised fine-tuning.
//!
//! ```text
//! for each step:
//!   take the next clips; encode what their conversations share once per clip
//!   L = - mean over answer tokens of log π_θ(answer token)
//!   update θ
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Gradients, Parameters, Vlm};
use rlaif_objective::sft;
use rlaif_ops::TokenStats;
use rlaif_rollout::{Pass, PromptInput, Reads};

use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::config::{SftConfig, check_base};
use crate::drive::{Loop, drive};
use crate::error::TrainError;
use crate::metrics::Metrics;
use crate::optim::{self, AdamW, Rate};
use crate::order;
use crate::phase::Clock;
use crate::run::Run;

/// One continuation of a shared beginning: the rest of the prompt, then the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftTurn {
    /// Token ids after the shared beginning.
    pub ids: Vec<u32>,
    /// First of `ids` that belongs to the answer and carries loss.
    pub answer_from: usize,
}

/// Conversations about one clip whose prompts begin alike.
#[derive(Clone, Debug, PartialEq)]
pub struct SftItem {
    /// The beginning they share, video included.
    pub shared: PromptInput,
    /// Their continuations.
    pub turns: Vec<SftTurn>,
}

impl SftItem {
    /// Tokens that carry loss.
    #[must_use]
    pub fn answer_tokens(&self) -> usize {
        self.turns.iter().map(|turn| turn.ids.len() - turn.answer_from).sum()
    }
}

/// Where items come from: position in the data set to item.
pub type Items<'a> = dyn Fn(usize) -> Result<Arc<SftItem>, TrainError> + 'a;

/// The state of a supervised run.
pub struct Sft {
    /// The model under training.
    pub policy: Vlm,
    /// Optimizer state.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    config: SftConfig,
    forbidden: Vec<u32>,
}

impl Sft {
    /// A run from its beginning. With LoRA, fresh adapters are put on `policy`.
    ///
    /// # Errors
    ///
    /// Fails where packed weights were to be trained.
    pub fn new(
        mut policy: Vlm,
        config: SftConfig,
        forbidden: Vec<u32>,
    ) -> Result<Self, TrainError> {
        check_base(&policy, &config.trainable)?;
        if let crate::config::Trainable::Lora(lora) = &config.trainable {
            policy.attach_lora(lora, config.seed);
        }
        Ok(Sft { policy, optimizer: AdamW::default(), step: 0, config, forbidden })
    }

    /// Continues from a checkpoint of the same recipe.
    ///
    /// # Errors
    ///
    /// Fails where the checkpoint is not whole, not of this model, or of another seed.
    pub fn resume(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        checkpoint::same_seed(from, self.config.seed)?;
        checkpoint::restore(from, &mut self.policy, &mut self.optimizer, None)?;
        self.step = from.state.step;
        Ok(())
    }

    /// Trains to the last step, or until asked to stop. Returns true where it reached the end.
    ///
    /// # Errors
    ///
    /// Fails on a row that cannot be built, a loss that is not finite, a file that cannot be
    /// written.
    pub fn train(
        &mut self,
        len: usize,
        items: &Items<'_>,
        run: &mut Run<'_>,
        save: &SaveModel<'_>,
    ) -> Result<bool, TrainError> {
        if len == 0 {
            return Err(TrainError::NoData);
        }
        drive(&mut Training { sft: self, len, items, save }, run)
    }

    fn one_step(&mut self, len: usize, items: &Items<'_>) -> Result<Metrics, TrainError> {
        let config = self.config.clone();
        let mut clock = Clock::default();
        let start = std::time::Instant::now();
        let batch = clock
            .time("data", || order::batch(len, self.step, config.batch_size, config.seed, items))?;

        let tracked = self.policy.tracked(|name| config.trainable.trains(name));
        // Parts of the batch follow one another; each counts by its share of the tokens.
        let tokens: usize = batch.iter().map(|item| item.answer_tokens()).sum();
        let (mut loss_value, mut entropy) = (0.0, 0.0);
        let mut gradients = Gradients::new();
        for part in batch.chunks(config.clips_per_batch) {
            let checkpointing = config.gradient_checkpointing;
            let (pass, loss, part_entropy) = clock.time("forward", || {
                part_loss(&tracked, part, tokens, &self.forbidden, checkpointing)
            });
            loss_value += f64::from(loss.clone().inner().into_scalar::<f32>());
            entropy += part_entropy;
            if !loss_value.is_finite() {
                return Err(TrainError::NotFinite { step: self.step + 1, what: "loss" });
            }
            let more = clock.time("backward", || pass.gradients(&tracked, &loss));
            optim::accumulate(&mut gradients, more);
        }
        drop(tracked);
        let rate = Rate { peak: config.learning_rate, step: self.step, total: config.max_steps };
        let applied = clock.time("optimizer", || {
            self.optimizer.update(&mut self.policy, &mut gradients, &config.optim, &rate)
        })?;

        let mut metrics = Metrics::new();
        let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
        put("loss", loss_value);
        put("entropy", entropy);
        put("grad_norm", applied.grad_norm);
        put("learning_rate", applied.learning_rate);
        put("num_tokens", tokens as f64);
        put("step_time", start.elapsed().as_secs_f64());
        clock.report(&mut metrics);
        Ok(metrics)
    }
}

/// Negative log-likelihood of the answers' tokens over `tokens`, the number in the whole batch,
/// `[1]`, and their entropy over the same.
fn part_loss<'a>(
    model: &'a Vlm,
    part: &[Arc<SftItem>],
    tokens: usize,
    forbidden: &[u32],
    checkpointing: bool,
) -> (Pass<'a>, Tensor<1>, f64) {
    let (pass, stats, lens) = answer_stats(model, part, forbidden, checkpointing);
    let share = 1.0 / tokens.max(1) as f64;
    let weights = Tensor::<1>::full([lens.iter().sum::<usize>()], share, &stats.logprobs.device());
    let entropy = f64::from(stats.entropy.inner().sum().into_scalar::<f32>()) * share;
    (pass, sft(stats.logprobs, weights), entropy)
}

/// Log-probabilities of the tokens of all answers, laid end to end, the length of each, and the
/// pass that they come from.
pub(crate) fn answer_stats<'a>(
    model: &'a Vlm,
    part: &[Arc<SftItem>],
    forbidden: &[u32],
    checkpointing: bool,
) -> (Pass<'a>, TokenStats, Vec<usize>) {
    let prompts: Vec<&PromptInput> = part.iter().map(|item| &item.shared).collect();
    let mut responses: Vec<(usize, &[u32])> = Vec::new();
    let mut rows = Vec::new();
    let mut lens = Vec::new();
    let mut targets: Vec<i64> = Vec::new();
    let mut at = 0;
    for (prompt, item) in part.iter().enumerate() {
        for turn in &item.turns {
            responses.push((prompt, &turn.ids));
            rows.extend(at + turn.answer_from..at + turn.ids.len());
            lens.push(turn.ids.len() - turn.answer_from);
            targets.extend(turn.ids[turn.answer_from..].iter().map(|id| i64::from(*id)));
            at += turn.ids.len();
        }
    }
    let pass = Pass::new(model, &prompts, &responses, Reads::EachToken, checkpointing);
    let device = pass.hidden.device();
    let hidden = pass.hidden.clone().select(0, index_tensor(&rows, &device));
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &device);
    let stats = rlaif_ops::token_logprobs(hidden, model.decoder.head(), targets, forbidden);
    (pass, stats, lens)
}

/// A run with what it is fed and where it is written.
struct Training<'a> {
    sft: &'a mut Sft,
    len: usize,
    items: &'a Items<'a>,
    save: &'a SaveModel<'a>,
}

impl Loop for Training<'_> {
    fn step(&mut self) -> &mut u64 {
        &mut self.sft.step
    }

    fn max_steps(&self) -> u64 {
        self.sft.config.max_steps
    }

    fn saving(&self) -> (u64, usize) {
        (self.sft.config.save_steps, self.sft.config.save_total_limit)
    }

    fn checkpoint(&self, folder: &Path) -> Result<PathBuf, TrainError> {
        let Sft { policy, optimizer, step, config, .. } = &*self.sft;
        let trains = |name: &str| config.trainable.trains(name);
        let state = State { step: *step, seed: config.seed, reference: false };
        checkpoint::write(folder, policy, optimizer, Vec::new(), state, &trains, self.save)
    }

    fn one_step(&mut self, _: &mut Run<'_>) -> Result<Metrics, TrainError> {
        self.sft.one_step(self.len, self.items)
    }
}
