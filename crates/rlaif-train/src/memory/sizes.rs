//! Weights, blocks and tokens of a demand, in numbers.

use rlaif_model::hf::{TextConfig, expected_tensors};
use rlaif_model::{LoraConfig, Precision, n_visual_tokens};

use super::{Demand, FLOAT, Kernels};
use crate::config::Trainable;

/// What portable norms, rotations and activations keep, over what the fused ones do.
const PORTABLE_BLOCK: f64 = 2.0;

/// Weights of the model by what becomes of them, in numbers.
pub(super) struct Weights {
    /// The decoder's projections with their biases.
    pub(super) projections: u64,
    /// Bytes of the projections as they are kept.
    pub(super) projection_bytes: u64,
    pub(super) embeddings: u64,
    pub(super) vision: u64,
    /// Numbers that are trained; adapters, where there are any.
    pub(super) trained: u64,
    pub(super) adapters: u64,
}

impl Weights {
    pub(super) fn of(demand: &Demand<'_>) -> Self {
        let mut weights = Weights {
            projections: 0,
            projection_bytes: 0,
            embeddings: 0,
            vision: 0,
            trained: 0,
            adapters: 0,
        };
        let trainable = &demand.train.trainable;
        for (name, shape) in expected_tensors(demand.model) {
            let numbers = product(&shape);
            if !name.starts_with("language_model.") {
                weights.vision += numbers;
            } else if name.contains("_proj.") {
                weights.projections += numbers;
                weights.projection_bytes += kept(demand.base, &shape);
                weights.adapters += adapter(trainable, &name, &shape);
            } else {
                weights.embeddings += numbers;
            }
            if trainable.trains(&name) {
                weights.trained += numbers;
            }
        }
        weights.trained += weights.adapters;
        weights
    }
}

/// Bytes of a tensor of the projections: biases stay floats; packed rows are filled up to whole
/// blocks of 64 numbers, which share a scale.
fn kept(base: Precision, shape: &[usize]) -> u64 {
    let [rows, width] = shape else { return product(shape) * FLOAT };
    let (rows, blocks) = (*rows as u64, width.div_ceil(64) as u64);
    match base {
        Precision::F32 => product(shape) * FLOAT,
        Precision::Bf16 => product(shape) * 2,
        Precision::Int8 => rows * blocks * (64 + FLOAT),
        Precision::Nf4 => rows * blocks * (32 + FLOAT),
    }
}

/// Numbers of the adapter beside a projection.
fn adapter(trainable: &Trainable, name: &str, shape: &[usize]) -> u64 {
    let (Trainable::Lora(LoraConfig { r, target_modules, .. }), [outputs, inputs]) =
        (trainable, shape)
    else {
        return 0;
    };
    let module = name.trim_end_matches(".weight").rsplit('.').next().unwrap_or_default();
    if target_modules.iter().any(|target| target == module) {
        (r * (outputs + inputs)) as u64
    } else {
        0
    }
}

pub(super) fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}

/// Sizes of the decoder, in numbers per token.
pub(super) struct Block {
    pub(super) layers: u64,
    pub(super) hidden: u64,
    pub(super) wide: u64,
    /// Keys and values.
    pub(super) kv: u64,
    pub(super) heads: u64,
    /// Kept of one token for the backward of one block.
    pub(super) kept: u64,
    /// In flight in a forward pass: the stream, a norm's output, gate, up and their product.
    pub(super) forward: u64,
    /// In flight in a backward pass.
    pub(super) backward: u64,
}

impl Block {
    pub(super) fn of(demand: &Demand<'_>) -> Self {
        let text: &TextConfig = &demand.model.text;
        let (hidden, wide) = (text.hidden_size as u64, text.intermediate_size as u64);
        let heads = text.num_attention_heads as u64;
        let query = heads * text.head_dim as u64;
        let kv = 2 * (text.num_key_value_heads * text.head_dim) as u64;
        let ranks = match &demand.train.trainable {
            Trainable::Lora(lora) => (lora.r * lora.target_modules.len()) as u64,
            Trainable::All | Trainable::Everything => 0,
        };
        let kept = 4 * hidden + 2 * query + kv + 3 * wide + heads + ranks;
        let (kept, forward) = match demand.kernels {
            Kernels::Fused => (kept, 2 * hidden + 3 * wide),
            Kernels::Portable => (scaled(kept), 2 * hidden + 4 * wide),
        };
        Block {
            layers: text.num_hidden_layers as u64,
            hidden,
            wide,
            kv,
            heads,
            kept,
            forward,
            backward: 3 * hidden + 3 * wide,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rough factor on a size"
)]
fn scaled(numbers: u64) -> u64 {
    (numbers as f64 * PORTABLE_BLOCK) as u64
}

/// Tokens of a step.
pub(super) struct Tokens {
    /// Of one prompt.
    pub(super) prompt: u64,
    /// Of the prompts that are worked on together.
    pub(super) prompts: u64,
    /// Of all prompts of the step.
    pub(super) all_prompts: u64,
    /// Of the completions that are worked on together.
    pub(super) turns: u64,
    /// Completions that are sampled together.
    pub(super) slots: u64,
    pub(super) completion: u64,
    pub(super) batches: u64,
}

impl Tokens {
    pub(super) fn of(demand: &Demand<'_>) -> Self {
        let train = demand.train;
        let prompt = (n_visual_tokens(&demand.model.arch, demand.grid) + demand.text_tokens) as u64;
        let together = train.prompts_per_batch.min(train.prompts_per_step).max(1) as u64;
        let slots = together * train.num_generations as u64;
        let completion = train.sampling.max_completion_length as u64;
        Tokens {
            prompt,
            prompts: prompt * together,
            all_prompts: prompt * train.prompts_per_step as u64,
            turns: slots * completion,
            slots,
            completion,
            batches: (train.prompts_per_step as u64).div_ceil(together),
        }
    }
}
