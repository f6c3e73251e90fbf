//! Direct preference optimization.
//!
//! ```text
//! for each step:
//!   take the next pairs; encode each question once for both of its answers
//!   h = (log π_θ(chosen) - log π_ref(chosen)) - (log π_θ(rejected) - log π_ref(rejected))
//!   L = - mean over pairs of log σ(β h)
//!   update θ
//! ```
//!
//! Source: Rafailov et al. 2023, arXiv:2305.18290, Eq. 7.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Gradients, Parameters, Vlm};
use rlaif_objective::{DpoInput, DpoOutput, dpo};
use rlaif_rollout::Pass;

use crate::checkpoint::{self, Checkpoint, SaveModel, State};
use crate::config::{DpoConfig, Trainable, check_base};
use crate::drive::{Loop, drive};
use crate::error::TrainError;
use crate::metrics::Metrics;
use crate::optim::{self, AdamW, Rate};
use crate::order;
use crate::phase::Clock;
use crate::run::Run;
use crate::sft::{Items, SftItem, answer_stats};

/// The state of a run.
pub struct Dpo {
    /// The policy `π_θ`.
    pub policy: Vlm,
    /// The reference `π_ref`: the policy that the run started from.
    pub reference: Vlm,
    /// Optimizer state.
    pub optimizer: AdamW,
    /// Steps done.
    pub step: u64,
    config: DpoConfig,
    forbidden: Vec<u32>,
}

impl Dpo {
    /// A run from its beginning: the reference is `policy` as it stands; with LoRA, fresh adapters
    /// are put on the policy afterwards.
    ///
    /// # Errors
    ///
    /// Names a knob that is out of range.
    pub fn new(
        mut policy: Vlm,
        config: DpoConfig,
        forbidden: Vec<u32>,
    ) -> Result<Self, TrainError> {
        config.check().map_err(TrainError::Config)?;
        check_base(&policy, &config.trainable)?;
        let reference = policy.clone();
        if let Trainable::Lora(lora) = &config.trainable {
            policy.attach_lora(lora, config.seed);
        }
        Ok(Dpo { policy, reference, optimizer: AdamW::default(), step: 0, config, forbidden })
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
    /// Each item is a question with two turns, the chosen answer first.
    ///
    /// # Errors
    ///
    /// Fails on a pair that cannot be built, a loss that is not finite, a file that cannot be
    /// written.
    pub fn train(
        &mut self,
        len: usize,
        pairs: &Items<'_>,
        run: &mut Run<'_>,
        save: &SaveModel<'_>,
    ) -> Result<bool, TrainError> {
        if len == 0 {
            return Err(TrainError::NoData);
        }
        drive(&mut Training { dpo: self, len, pairs, save }, run)
    }

    fn one_step(&mut self, len: usize, pairs: &Items<'_>) -> Result<Metrics, TrainError> {
        let config = self.config.clone();
        let mut clock = Clock::default();
        let start = std::time::Instant::now();
        let batch = clock
            .time("data", || order::batch(len, self.step, config.batch_size, config.seed, pairs))?;

        let tracked = self.policy.tracked(|name| config.trainable.trains(name));
        let share = 1.0 / batch.len() as f64;
        let mut sums = Sums::default();
        let mut gradients = Gradients::new();
        for part in batch.chunks(config.pairs_per_batch) {
            let (_, ref_chosen, ref_rejected) = clock
                .time("reference", || pair_logps(&self.reference, part, &self.forbidden, false));
            let checkpointing = config.gradient_checkpointing;
            let (pass, output) = clock.time("forward", || {
                let (pass, chosen, rejected) =
                    pair_logps(&tracked, part, &self.forbidden, checkpointing);
                let weights = Tensor::full([part.len()], share, &chosen.device());
                sums.logps(&chosen, &rejected);
                let (ref_chosen, ref_rejected) = (ref_chosen.autodiff(), ref_rejected.autodiff());
                let input = DpoInput { chosen, rejected, ref_chosen, ref_rejected, weights };
                (pass, dpo(input, config.beta))
            });
            sums.add(&output);
            if !sums.loss.is_finite() {
                return Err(TrainError::NotFinite { step: self.step + 1, what: "loss" });
            }
            let more = clock.time("backward", || pass.gradients(&tracked, &output.loss));
            optim::accumulate(&mut gradients, more);
        }
        drop(tracked);
        let rate = Rate { peak: config.learning_rate, step: self.step, total: config.max_steps };
        let applied = clock.time("optimizer", || {
            self.optimizer.update(&mut self.policy, &mut gradients, &config.optim, &rate)
        })?;

        let mut metrics = sums.means(batch.len());
        let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
        put("grad_norm", applied.grad_norm);
        put("learning_rate", applied.learning_rate);
        put("step_time", start.elapsed().as_secs_f64());
        clock.report(&mut metrics);
        Ok(metrics)
    }
}

/// Log-probabilities of the whole chosen and the whole rejected answers, `[pairs]` each.
fn pair_logps<'a>(
    model: &'a Vlm,
    part: &[Arc<SftItem>],
    forbidden: &[u32],
    checkpointing: bool,
) -> (Pass<'a>, Tensor<1>, Tensor<1>) {
    let (pass, stats, lens) = answer_stats(model, part, forbidden, checkpointing);
    let tokens: usize = lens.iter().sum();
    let mut member = vec![0.0_f32; lens.len() * tokens];
    let mut at = 0;
    for (answer, len) in lens.iter().enumerate() {
        member[answer * tokens + at..answer * tokens + at + len].fill(1.0);
        at += len;
    }
    let device = stats.logprobs.device();
    let member = Tensor::<2>::from_data(TensorData::new(member, [lens.len(), tokens]), &device);
    let sums = member.matmul(stats.logprobs.reshape([tokens, 1])).reshape([lens.len()]);
    let of = |first: usize| {
        let rows: Vec<usize> = (first..lens.len()).step_by(2).collect();
        sums.clone().select(0, index_tensor(&rows, &device))
    };
    (pass, of(0), of(1))
}

/// Sums over the pairs of a step, under TRL's names.
#[derive(Default)]
struct Sums {
    loss: f64,
    logps: [f64; 2],
    rewards: [f64; 2],
    right: usize,
}

impl Sums {
    fn logps(&mut self, chosen: &Tensor<1>, rejected: &Tensor<1>) {
        for (sum, values) in self.logps.iter_mut().zip([chosen, rejected]) {
            *sum += f64::from(values.clone().inner().sum().into_scalar::<f32>());
        }
    }

    fn add(&mut self, output: &DpoOutput) {
        self.loss += f64::from(output.loss.clone().inner().into_scalar::<f32>());
        let host = |values: &Tensor<1>| -> Vec<f32> { values.to_data().iter::<f32>().collect() };
        let (chosen, rejected) = (host(&output.chosen_rewards), host(&output.rejected_rewards));
        for (chosen, rejected) in chosen.iter().zip(&rejected) {
            self.rewards[0] += f64::from(*chosen);
            self.rewards[1] += f64::from(*rejected);
            self.right += usize::from(chosen > rejected);
        }
    }

    fn means(&self, pairs: usize) -> Metrics {
        let n = pairs.max(1) as f64;
        let named = [
            ("loss", self.loss),
            ("logps/chosen", self.logps[0] / n),
            ("logps/rejected", self.logps[1] / n),
            ("rewards/chosen", self.rewards[0] / n),
            ("rewards/rejected", self.rewards[1] / n),
            ("rewards/margins", (self.rewards[0] - self.rewards[1]) / n),
            ("rewards/accuracies", self.right as f64 / n),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A run with what it is fed and where it is written.
struct Training<'a> {
    dpo: &'a mut Dpo,
    len: usize,
    pairs: &'a Items<'a>,
    save: &'a SaveModel<'a>,
}

impl Loop for Training<'_> {
    fn step(&mut self) -> &mut u64 {
        &mut self.dpo.step
    }

    fn max_steps(&self) -> u64 {
        self.dpo.config.max_steps
    }

    fn saving(&self) -> (u64, usize) {
        (self.dpo.config.save_steps, self.dpo.config.save_total_limit)
    }

    fn checkpoint(&self, folder: &Path) -> Result<PathBuf, TrainError> {
        let Dpo { policy, optimizer, step, config, .. } = &*self.dpo;
        let trains = |name: &str| config.trainable.trains(name);
        let state = State { step: *step, seed: config.seed, reference: false };
        checkpoint::write(folder, policy, optimizer, Vec::new(), state, &trains, self.save)
    }

    fn one_step(&mut self, _: &mut Run<'_>) -> Result<Metrics, TrainError> {
        self.dpo.one_step(self.len, self.pairs)
    }
}
