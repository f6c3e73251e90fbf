//! What a run can be told. Names and defaults follow TRL where TRL has the same knob.

use rlaif_model::{LoraConfig, Precision, Vlm};
use rlaif_objective::Aggregation;
use rlaif_rank::{Advantage, Scale};
use rlaif_rollout::SamplingParams;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optim::OptimConfig;

mod pairs;

pub use pairs::{DpoConfig, RewardModelConfig};

/// Which weights a run trains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trainable {
    /// Adapters on the decoder; everything else is frozen.
    Lora(LoraConfig),
    /// Projector and decoder; the tower is frozen.
    #[default]
    All,
    /// Every weight, the tower included: for models that start from nothing.
    Everything,
}

impl Trainable {
    /// Whether the parameter of this name is trained.
    #[must_use]
    pub fn trains(&self, name: &str) -> bool {
        match self {
            // The head of a reward model or a critic has no weights to keep.
            Trainable::Lora(_) => name.contains(".lora_") || name == "score.weight",
            Trainable::All => !name.starts_with("vision_tower."),
            Trainable::Everything => true,
        }
    }
}

/// Refuses to train packed weights, and to lose an adapter that could not be merged into them.
pub(crate) fn check_base(model: &Vlm, trainable: &Trainable) -> Result<(), TrainError> {
    let precision = model.base_precision();
    if precision == Precision::F32 {
        return Ok(());
    }
    if !matches!(trainable, Trainable::Lora(_)) {
        return Err(TrainError::PackedBase { precision });
    }
    if model.memory().adapters > 0 {
        return Err(TrainError::Config(format!(
            "the model carries an adapter beside weights kept as {precision}, and a new one would \
             replace it: merge it into the full weights before they are packed"
        )));
    }
    Ok(())
}

/// `[sft]`: supervised fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Clips per optimizer step; all questions of a clip that share its prompt's beginning are
    /// trained together. Default 8.
    pub batch_size: usize,
    /// Clips that are differentiated together, their gradients summed over the step: bounds the
    /// memory. Default 8.
    pub clips_per_batch: usize,
    /// Keeps each decoder block's input alone and runs the block a second time in the backward:
    /// far less memory, one more forward pass. Default false.
    pub gradient_checkpointing: bool,
    /// Optimizer steps. Default 100.
    pub max_steps: u64,
    /// Weights to train. Default `all`.
    pub trainable: Trainable,
    /// Peak learning rate. Default 2e-5 (TRL's SFT).
    pub learning_rate: f64,
    /// Optimizer.
    pub optim: OptimConfig,
    /// Steps between checkpoints; 0 writes none before the end. Default 0.
    pub save_steps: u64,
    /// Newest checkpoints that are kept; 0 keeps all. Default 2.
    pub save_total_limit: usize,
    /// Seed of the data order; not a key of its own, the recipe has one for all.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for SftConfig {
    fn default() -> Self {
        SftConfig {
            batch_size: 8,
            clips_per_batch: 8,
            gradient_checkpointing: false,
            max_steps: 100,
            trainable: Trainable::default(),
            learning_rate: 2e-5,
            optim: OptimConfig::default(),
            save_steps: 0,
            save_total_limit: 2,
            seed: 42,
        }
    }
}

/// How the divergence from the reference is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// From the sampled token: `exp(d) - d - 1` (GRPO).
    #[default]
    K3,
    /// Over the whole vocabulary.
    Exact,
}

/// When the reference becomes the policy of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshReference {
    /// The reference stays the policy that the run started from.
    #[default]
    Never,
    /// At the start of every epoch over the prompts (the paper).
    Epoch,
}

/// How sampled groups become an update: see [`crate::method`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// An Oracle's order.
    #[default]
    GrpoRank,
    /// Scores, standardised within the group.
    Grpo,
    /// Scores against the mean of the others.
    Rloo,
    /// Scores against a critic.
    Ppo,
}

impl MethodKind {
    /// Whether it learns from a reward's scores, not from an Oracle's order.
    #[must_use]
    pub fn is_scored(self) -> bool {
        self != MethodKind::GrpoRank
    }
}

/// `[train.ppo]`: knobs of PPO alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// γ. Default 1.
    pub gamma: f64,
    /// λ of GAE. Default 0.95 (TRL; VLM-RLAIF has 1).
    pub lam: f64,
    /// How far a value may move from its old one without losing its gradient. Default 0.2.
    pub cliprange_value: f64,
    /// Weight of the value loss: with a critic of its own it scales the critic's gradient alone,
    /// before it is clipped. Default 0.1.
    pub vf_coef: f64,
    /// Peak learning rate of the critic; that of the policy where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critic_learning_rate: Option<f64>,
}

impl Default for PpoConfig {
    fn default() -> Self {
        PpoConfig {
            gamma: 1.0,
            lam: 0.95,
            cliprange_value: 0.2,
            vf_coef: 0.1,
            critic_learning_rate: None,
        }
    }
}

/// `[train]`: the methods that learn from sampled groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpoConfig {
    /// Which of them. Default `grpo_rank`.
    pub method: MethodKind,
    /// Completions per prompt, the group size G, at least 2 (1 for PPO). Default 5 (the paper).
    pub num_generations: usize,
    /// Prompts per optimizer step. Default 8.
    pub prompts_per_step: usize,
    /// Prompts that are sampled, and differentiated, together: bounds the memory. Default 4.
    pub prompts_per_batch: usize,
    /// Optimizer steps, each on fresh rollouts. Default 100.
    pub max_steps: u64,
    /// Updates per batch of rollouts, μ (PPO's epochs). Default 1: on policy.
    pub num_iterations: usize,
    /// Advantage made from the ranks, for `grpo_rank` alone. Default `dcg`.
    pub advantage: Advantage,
    /// Whether advantages are divided by a standard deviation. Default `none`.
    pub scale_advantages: Scale,
    /// Lower clip range ε. Default 0.2.
    pub epsilon: f64,
    /// Upper clip range; the lower one where absent.
    pub epsilon_high: Option<f64>,
    /// Weight β of the KL term; 0 skips the reference pass. In the loss, but for `rloo` and `ppo`,
    /// where it lowers the rewards. Default 0.04 (GRPO).
    pub beta: f64,
    /// How the KL is measured. Default `k3`.
    pub kl_estimator: KlEstimator,
    /// Weight of the entropy bonus. Default 0.
    pub entropy_coef: f64,
    /// How the loss is averaged over tokens. Default `token` (DAPO).
    pub loss_aggregation: Aggregation,
    /// Leaves responses out of the loss that were cut off by the length limit. Default false.
    pub mask_truncated_completions: bool,
    /// What an answer loses in reward that the length limit cut off, for scored methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_eos_penalty: Option<f64>,
    /// When the reference follows the policy. Default `never`.
    pub refresh_reference: RefreshReference,
    /// Keeps the graph of the rollout's prompt pass for the update, which then need not repeat
    /// it: faster, and holds every prompt's activations of the step in memory. Default true.
    pub reuse_prefill: bool,
    /// Keeps each decoder block's input alone and runs the block a second time in the backward:
    /// far less memory, one more forward pass. No prompt pass is kept then, whatever
    /// `reuse_prefill` says. Default false.
    pub gradient_checkpointing: bool,
    /// Weights to train. Default `all`.
    pub trainable: Trainable,
    /// Peak learning rate. Default 1e-6 (TRL's GRPO).
    pub learning_rate: f64,
    /// Optimizer.
    pub optim: OptimConfig,
    /// Knobs of PPO.
    pub ppo: PpoConfig,
    /// Sampling of completions.
    pub sampling: SamplingParams,
    /// Steps between checkpoints; 0 writes none before the end. Default 0.
    pub save_steps: u64,
    /// Newest checkpoints that are kept; 0 keeps all. Default 2.
    pub save_total_limit: usize,
    /// Seed of data order and sampling; not a key of its own, the recipe has one for all.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        GrpoConfig {
            method: MethodKind::default(),
            num_generations: 5,
            prompts_per_step: 8,
            prompts_per_batch: 4,
            max_steps: 100,
            num_iterations: 1,
            advantage: Advantage::default(),
            scale_advantages: Scale::default(),
            epsilon: 0.2,
            epsilon_high: None,
            beta: 0.04,
            kl_estimator: KlEstimator::default(),
            entropy_coef: 0.0,
            loss_aggregation: Aggregation::default(),
            mask_truncated_completions: false,
            missing_eos_penalty: None,
            refresh_reference: RefreshReference::default(),
            reuse_prefill: true,
            gradient_checkpointing: false,
            trainable: Trainable::default(),
            learning_rate: 1e-6,
            optim: OptimConfig::default(),
            ppo: PpoConfig::default(),
            sampling: SamplingParams::default(),
            save_steps: 0,
            save_total_limit: 2,
            seed: 42,
        }
    }
}

impl GrpoConfig {
    /// # Errors
    ///
    /// Names the first knob that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("prompts_per_step", self.prompts_per_step),
            ("prompts_per_batch", self.prompts_per_batch),
            ("num_iterations", self.num_iterations),
            ("sampling.max_completion_length", self.sampling.max_completion_length),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("`train.{name}` must be at least 1, got 0"));
        }
        let smallest = if self.method == MethodKind::Ppo { 1 } else { 2 };
        if self.num_generations < smallest {
            return Err(format!(
                "`train.num_generations` must be at least {smallest}{}, got {}",
                if smallest == 2 { " for a comparison to say anything" } else { "" },
                self.num_generations
            ));
        }
        if self.method == MethodKind::GrpoRank && self.advantage == Advantage::Zscore {
            return Err(
                "`train.advantage = \"zscore\"` needs scores, and an Oracle gives none; set \
                        `train.method = \"grpo\"` and a `[reward]`"
                    .to_owned(),
            );
        }
        if self.method.is_scored()
            && self.kl_estimator == KlEstimator::Exact
            && self.method != MethodKind::Grpo
        {
            return Err(
                "`train.kl_estimator = \"exact\"` is a term of the loss, and `rloo` and `ppo` \
                        take the divergence off the rewards"
                    .to_owned(),
            );
        }
        let range = |name: &str, value: f64, ok: bool, want: &str| {
            if ok { Ok(()) } else { Err(format!("`train.{name}` must be {want}, got {value}")) }
        };
        range("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon < 1.0, "in (0, 1)")?;
        if let Some(high) = self.epsilon_high {
            range("epsilon_high", high, high > 0.0, "above 0")?;
        }
        range("beta", self.beta, self.beta >= 0.0, "0 or more")?;
        range("entropy_coef", self.entropy_coef, self.entropy_coef >= 0.0, "0 or more")?;
        let ppo = &self.ppo;
        range("ppo.gamma", ppo.gamma, (0.0..=1.0).contains(&ppo.gamma), "in [0, 1]")?;
        range("ppo.lam", ppo.lam, (0.0..=1.0).contains(&ppo.lam), "in [0, 1]")?;
        let clip = ppo.cliprange_value;
        range("ppo.cliprange_value", clip, clip > 0.0, "above 0")?;
        range("ppo.vf_coef", ppo.vf_coef, ppo.vf_coef > 0.0, "above 0")?;
        let temperature = self.sampling.temperature;
        range("sampling.temperature", temperature, temperature > 0.0, "above 0 in training")?;
        let top_p = self.sampling.top_p;
        range("sampling.top_p", top_p, top_p > 0.0 && top_p <= 1.0, "in (0, 1]")?;
        let rate = self.learning_rate;
        range("learning_rate", rate, rate > 0.0, "above 0")
    }
}
