//! Memory that a step of training takes, estimated from its shapes: before anything is loaded.
//!
//! What stays in memory all the while (weights, moments, the feature cache) is added to the most
//! demanding of the phases that follow each other. All numbers are 32-bit floats but packed weights.
//!
//! What an operation keeps for its backward is that of the CPU's fused kernels (`rlaif-ops`, `flex`).
//! Per token and decoder block, with `D` the hidden size, `F` the intermediate one, `Q` and `K` all
//! query and all key heads wide, and `r` the rank of each of seven adapters:
//!
//! ```text
//! 4 D (both norms' inputs and outputs) + 2 Q + 2 K (attention, with its output) + 3 F (SwiGLU)
//!     + heads (log-normalisers) + Σ r
//! ```
//!
//! On other devices Burn's own operations keep more ([`Kernels::Portable`]): the scores of attention,
//! which grow with the square of the prompt, all logits of the completions, and the parts of norms
//! and activations. That estimate is rougher and was not measured.
//!
//! Not counted: judges and reward models, the critic of `ppo`, the models that `refresh_reference`
//! keeps of adapters, and the system's own share on a GPU.

use rlaif_model::hf::{Architecture, ModelConfig};
use rlaif_model::{Grid, Precision};

use crate::config::{GrpoConfig, Trainable};

mod report;
mod sizes;

pub use report::{Estimate, Part, Phase};
use sizes::{Block, Tokens, Weights};

/// Bytes of a float.
const FLOAT: u64 = 4;
/// Columns of the fused kernel's tile of logits.
const LOGIT_TILE: usize = 1024;
/// Copies of attention's scores that portable operations hold: one kept, three in flight.
const PORTABLE_SCORES: u64 = 4;
/// Copies of the logits that portable operations keep.
const PORTABLE_LOGITS: u64 = 4;

/// Program, tokenizer and what the allocator has and does not use: fitted to steps that were
/// measured on a CPU (docs/models.md).
const PROCESS: u64 = 200_000_000;

/// Whose operations compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The fused ones of the CPU.
    Fused,
    /// Burn's own, on a GPU.
    Portable,
}

/// A step whose memory is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The model.
    pub model: &'a ModelConfig,
    /// How the decoder's projections are kept.
    pub base: Precision,
    /// How it is trained.
    pub train: &'a GrpoConfig,
    /// Patches of a clip.
    pub grid: Grid,
    /// Tokens of a prompt beside the visual ones.
    pub text_tokens: usize,
    /// Bytes of the feature cache on the device that computes.
    pub feature_cache: u64,
    /// Whose operations compute.
    pub kernels: Kernels,
}

/// Estimates the memory of a step, every completion as long as it may be.
#[must_use]
pub fn estimate(demand: &Demand<'_>) -> Estimate {
    let (weights, block, tokens) = (Weights::of(demand), Block::of(demand), Tokens::of(demand));
    let keeps_graph = demand.train.reuse_prefill && !demand.train.gradient_checkpointing;
    let graph = if keeps_graph { tokens.all_prompts } else { 0 };
    let phases = vec![
        Phase::new("vision tower", tower(demand)),
        Phase::new("rollout", rollout(demand, &block, &tokens, graph)),
        Phase::new("update", update(demand, &weights, &block, &tokens, graph)),
        Phase::new(report::FINISH, finish(demand, &weights)),
    ];
    Estimate {
        prompt_tokens: tokens.prompt,
        parameters: weights.projections + weights.embeddings + weights.vision,
        trained: weights.trained,
        resident: resident(demand, &weights),
        phases,
    }
}

/// What stays all the while.
fn resident(demand: &Demand<'_>, weights: &Weights) -> Vec<Part> {
    let adapters = weights.adapters * FLOAT;
    // Weights that are trained part from those of the start, which the reference keeps.
    let own = (weights.trained - weights.adapters) * FLOAT;
    vec![
        Part::new("decoder projections", weights.projection_bytes),
        Part::new("embeddings, head and norms", weights.embeddings * FLOAT),
        Part::new("vision tower and projector", weights.vision * FLOAT),
        Part::new("adapters", adapters),
        Part::new("the policy's own weights beside the reference's", own),
        Part::new("optimizer moments", 2 * weights.trained * FLOAT),
        Part::new("feature cache", demand.feature_cache),
        Part::new("program, tokenizer and allocator", PROCESS),
    ]
}

/// One clip's way through the tower.
fn tower(demand: &Demand<'_>) -> Vec<Part> {
    let (hidden, wide, heads, values, span) = match &demand.model.arch {
        Architecture::Llava(arch) => tower_sizes(&arch.vision, demand.grid, 1),
        Architecture::SmolVlm(arch) => tower_sizes(&arch.vision, demand.grid, 0),
        Architecture::Qwen2_5Vl(arch) => (
            arch.hidden_size,
            // Gate and up.
            2 * arch.intermediate_size,
            arch.num_heads,
            arch.patch_values(),
            demand.grid.h * demand.grid.w,
        ),
    };
    let rows = demand.grid.rows() as u64;
    let in_flight = (6 * hidden).max(2 * hidden + 2 * wide) as u64;
    let scores = match demand.kernels {
        Kernels::Fused => 0,
        Kernels::Portable => 3 * (heads * span * span) as u64,
    };
    vec![
        // Frames, and the same cut into patches.
        Part::new("pixels", 2 * rows * values as u64 * FLOAT),
        Part::new("one block in flight", (rows * in_flight + scores) * FLOAT),
    ]
}

fn tower_sizes(
    vision: &rlaif_model::hf::VisionConfig,
    grid: Grid,
    class_tokens: usize,
) -> (usize, usize, usize, usize, usize) {
    (
        vision.hidden_size,
        vision.intermediate_size,
        vision.num_attention_heads,
        3 * vision.patch_size.pow(2),
        grid.h * grid.w + class_tokens,
    )
}

/// Prompts are encoded, completions sampled.
fn rollout(demand: &Demand<'_>, block: &Block, tokens: &Tokens, graph: u64) -> Vec<Part> {
    let vocabulary = demand.model.text.vocab_size as u64;
    let suffix = tokens.slots * tokens.completion;
    let prefix = if graph == 0 { tokens.prompts } else { 0 };
    vec![
        Part::new("activations kept of prompts", graph * block.layers * block.kept * FLOAT),
        Part::new("keys and values", (prefix + suffix) * block.layers * block.kv * FLOAT),
        Part::new(
            "one block in flight",
            (tokens.prompts * block.forward + scores(demand, block, tokens)) * FLOAT,
        ),
        // Logits, their logarithms, and these on the host.
        Part::new("logits of a token", 3 * tokens.slots * vocabulary * FLOAT),
    ]
}

/// Portable operations hold all scores of the prompts, and those of the completions.
fn scores(demand: &Demand<'_>, block: &Block, tokens: &Tokens) -> u64 {
    match demand.kernels {
        Kernels::Fused => 0,
        Kernels::Portable => {
            let prompts = tokens.prompts * tokens.prompt;
            let turns = tokens.turns * (tokens.prompt + tokens.completion);
            PORTABLE_SCORES * block.heads * (prompts + turns)
        }
    }
}

/// Loss, backward and optimizer.
fn update(
    demand: &Demand<'_>,
    weights: &Weights,
    block: &Block,
    tokens: &Tokens,
    graph: u64,
) -> Vec<Part> {
    let rows = tokens.prompts + tokens.turns;
    let one = scores(demand, block, tokens);
    let activations = if demand.train.gradient_checkpointing {
        // The input of each block, all of one, and the gradient of its output.
        rows * (block.layers * block.hidden + block.kept + block.hidden) + one
    } else {
        // In the last block a prompt has keys and values alone.
        let prompts = graph.max(tokens.prompts);
        let whole = prompts * block.layers.saturating_sub(1) + tokens.turns * block.layers;
        let kv_gradients = tokens.prompts * block.layers * block.kv;
        whole * block.kept + kv_gradients + one * block.layers
    };
    let vocabulary = demand.model.text.vocab_size as u64;
    let logits = match demand.kernels {
        // Two expectations over the head's rows for each token, and a tile.
        Kernels::Fused => tokens.turns * (2 * block.hidden + LOGIT_TILE as u64),
        Kernels::Portable => PORTABLE_LOGITS * tokens.turns * vocabulary,
    };
    let unpacked = match (demand.kernels, demand.base) {
        (Kernels::Fused, _) | (_, Precision::F32) => 0,
        // Codes, their parts, numbers, and their product with the scales.
        (Kernels::Portable, _) => 4 * block.hidden * block.wide,
    };
    // A batch's own and their sum; the weights of the pass beside the updated ones.
    let gradients = weights.trained * if tokens.batches > 1 { 2 } else { 1 };
    vec![
        Part::new("activations kept for the backward", activations * FLOAT),
        Part::new("one block's backward in flight", rows * block.backward * FLOAT),
        Part::new("logits", logits * FLOAT),
        Part::new("a projection unpacked", unpacked * FLOAT),
        Part::new("gradients", gradients * FLOAT),
        Part::new("trained weights before the update", weights.trained * FLOAT),
    ]
}

/// The adapters merged into full weights, which are read again where they are packed.
fn finish(demand: &Demand<'_>, weights: &Weights) -> Vec<Part> {
    let full = (weights.projections + weights.embeddings + weights.vision) * FLOAT;
    let (read, merged) = match (&demand.train.trainable, demand.base) {
        (Trainable::Lora(_), Precision::F32) => (0, weights.projections * FLOAT),
        (Trainable::Lora(_), _) => (full, weights.projections * FLOAT),
        (Trainable::All | Trainable::Everything, _) => (0, 0),
    };
    vec![Part::new("full weights", read), Part::new("merged projections", merged)]
}

#[cfg(test)]
mod tests;
