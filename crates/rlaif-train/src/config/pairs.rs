//! What runs on preference pairs can be told.

use serde::{Deserialize, Serialize};

use super::Trainable;
use crate::optim::OptimConfig;

/// `[dpo]`: direct preference optimization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Pairs per optimizer step. Default 8.
    pub batch_size: usize,
    /// Pairs that are differentiated together, their gradients summed over the step: bounds the
    /// memory. Default 8.
    pub pairs_per_batch: usize,
    /// Keeps each decoder block's input alone and runs the block a second time in the backward:
    /// far less memory, one more forward pass. Default false.
    pub gradient_checkpointing: bool,
    /// Optimizer steps. Default 100.
    pub max_steps: u64,
    /// β: how strongly the policy is held to the reference. Default 0.1 (TRL).
    pub beta: f64,
    /// Weights to train. Default `all`.
    pub trainable: Trainable,
    /// Peak learning rate. Default 1e-6 (TRL's DPO).
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

impl Default for DpoConfig {
    fn default() -> Self {
        DpoConfig {
            batch_size: 8,
            pairs_per_batch: 8,
            gradient_checkpointing: false,
            max_steps: 100,
            beta: 0.1,
            trainable: Trainable::default(),
            learning_rate: 1e-6,
            optim: OptimConfig::default(),
            save_steps: 0,
            save_total_limit: 2,
            seed: 42,
        }
    }
}

impl DpoConfig {
    /// # Errors
    ///
    /// Names the first knob that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        sizes("dpo", self.batch_size, self.pairs_per_batch)?;
        above_zero("dpo.beta", self.beta)?;
        above_zero("dpo.learning_rate", self.learning_rate)
    }
}

/// `[reward_model]`: training a reward model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardModelConfig {
    /// Pairs per optimizer step. Default 16 (VLM-RLAIF).
    pub batch_size: usize,
    /// Pairs that are differentiated together, their gradients summed over the step: bounds the
    /// memory. Default 8.
    pub pairs_per_batch: usize,
    /// Keeps each decoder block's input alone and runs the block a second time in the backward:
    /// far less memory, one more forward pass. Default false.
    pub gradient_checkpointing: bool,
    /// Optimizer steps. Default 100.
    pub max_steps: u64,
    /// Weight of the term that keeps scores around zero. Default 0.01 (TRL's advice).
    pub center_rewards_coefficient: f64,
    /// Whether the model reads the row's narrative beside the video, in training and whenever it
    /// is asked. Default false.
    pub narrative: bool,
    /// The user's turn after the answer that asks for its grade; `{narrative}` in it is where the
    /// narrative stands, and is left empty without one.
    pub prompt: String,
    /// The beginning of the assistant's turn, after whose last token the score is read.
    pub opening: String,
    /// Part of the pairs' questions kept for the held-out accuracy, in [0, 1). Default 0.1.
    pub held_out: f64,
    /// Weights to train beside the head. Default `all`.
    pub trainable: Trainable,
    /// Peak learning rate. Default 2e-5 (VLM-RLAIF).
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

impl Default for RewardModelConfig {
    fn default() -> Self {
        RewardModelConfig {
            batch_size: 16,
            pairs_per_batch: 8,
            gradient_checkpointing: false,
            max_steps: 100,
            center_rewards_coefficient: 0.01,
            narrative: false,
            prompt:
                "Please judge the quality of your last answer about the video: is it accurate, \
                     helpful, natural and to the point? {narrative}"
                    .to_owned(),
            opening: "The quality of my last answer is".to_owned(),
            held_out: 0.1,
            trainable: Trainable::default(),
            learning_rate: 2e-5,
            optim: OptimConfig::default(),
            save_steps: 0,
            save_total_limit: 2,
            seed: 42,
        }
    }
}

impl RewardModelConfig {
    /// # Errors
    ///
    /// Names the first knob that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        sizes("reward_model", self.batch_size, self.pairs_per_batch)?;
        above_zero("reward_model.learning_rate", self.learning_rate)?;
        if self.center_rewards_coefficient.is_nan() || self.center_rewards_coefficient < 0.0 {
            return Err(format!(
                "`reward_model.center_rewards_coefficient` must be 0 or more, got {}",
                self.center_rewards_coefficient
            ));
        }
        if !(0.0..1.0).contains(&self.held_out) {
            return Err(format!(
                "`reward_model.held_out` must be in [0, 1), got {}",
                self.held_out
            ));
        }
        if self.narrative && !self.prompt.contains("{narrative}") {
            return Err("`reward_model.prompt` has no `{narrative}` to put the narrative in; add \
                        it, or set `reward_model.narrative = false`"
                .to_owned());
        }
        if self.prompt.trim().is_empty() {
            return Err("`reward_model.prompt` is empty".to_owned());
        }
        Ok(())
    }
}

fn sizes(section: &str, batch: usize, part: usize) -> Result<(), String> {
    if batch == 0 || part == 0 {
        return Err(format!(
            "`{section}.batch_size` and `{section}.pairs_per_batch` must be at least 1"
        ));
    }
    Ok(())
}

fn above_zero(name: &str, value: f64) -> Result<(), String> {
    if value > 0.0 { Ok(()) } else { Err(format!("`{name}` must be above 0, got {value}")) }
}
