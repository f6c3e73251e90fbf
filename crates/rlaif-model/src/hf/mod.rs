//! Hugging Face folders in and out, as `transformers` reads and writes them, and those of the
//! original LLaVA code. Plain numbers, no tensors.
//!
//! | file | here |
//! |---|---|
//! | `config.json` | [`ModelConfig`] |
//! | `model.safetensors`, shards and index | [`Weights`], [`write_weights`] |
//! | `pytorch_model.bin`, shards and index | [`Weights`], read only |
//! | `tokenizer.json` or `tokenizer.model`, `tokenizer_config.json`, `chat_template.jinja` | [`ChatTokenizer`] |
//! | `generation_config.json` | [`GenerationConfig`] |
//! | `adapter_config.json`, `adapter_model.safetensors` or `.bin` | [`Adapter`], [`write_adapter`] |
//!
//! Opening a checkpoint, before any tensor is made:
//!
//! ```no_run
//! use rlaif_model::hf::{ChatTokenizer, ModelConfig, Weights, expected_tensors};
//!
//! let dir = "checkpoints/llava-1.5-7b-hf";
//! let config = ModelConfig::open(dir)?;
//! let weights = Weights::open(dir)?;
//! weights.check(&expected_tensors(&config))?;
//! let (shape, values) = weights.tensor("language_model.model.norm.weight")?;
//! let tokenizer = ChatTokenizer::open(dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`open_checkpoint`] also finds the parts that the original LLaVA code keeps in other files, a
//! vision tower and a projector. Nothing in these files is run, and what they declare is checked
//! before memory is set aside for it. `preprocessor_config.json` belongs to `rlaif-video`. Written files replace older ones at once
//! (temporary file, fsync, rename).

mod config;
mod fields;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod llava_tower;
mod peft;
mod smolvlm_text;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
mod weights;

pub use config::{
    Activation, Architecture, AttentionBias, ConfigError, LlavaConfig, LlavaLayout, ModelConfig,
    QwenVlConfig, SmolVlmConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
};
pub use fields::FieldError;
pub use files::FileError;
pub use generation::{GenerationConfig, GenerationError};
pub use llava_tower::{CheckpointError, ResolveTower, open_checkpoint};
pub use peft::{Adapter, AdapterConfig, AdapterError, write_adapter};
pub use smolvlm_text::smolvlm_text;
pub use tokenizer::{ChatTokenizer, PromptTokens, Template, TokenizerError, VideoText};
pub use weights::{
    Dtype, MAX_SHARD_BYTES, RawTensor, TorchError, Weights, WeightsError, canonical_name,
    decoder_module, expected_tensors, stored_name, write_shards, write_weights,
};
