//! Hugging Face folders in and out, as `transformers`' `LlavaForConditionalGeneration` reads and
//! writes them. Plain numbers, no tensors.
//!
//! | file | here |
//! |---|---|
//! | `config.json` | [`ModelConfig`] |
//! | `model.safetensors`, shards and index | [`Weights`], [`write_weights`] |
//! | `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja` | [`ChatTokenizer`] |
//! | `generation_config.json` | [`GenerationConfig`] |
//! | `adapter_config.json`, `adapter_model.safetensors` | [`Adapter`], [`write_adapter`] |
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
//! `preprocessor_config.json` belongs to `rlaif-video`. Written files replace older ones at once
//! (temporary file, fsync, rename).

mod config;
mod fields;
mod files;
mod generation;
mod peft;
mod smolvlm_text;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
mod weights;

pub use config::{
    Activation, Architecture, AttentionBias, ConfigError, LlavaConfig, ModelConfig, QwenVlConfig,
    SmolVlmConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
};
pub use fields::FieldError;
pub use files::FileError;
pub use generation::{GenerationConfig, GenerationError};
pub use peft::{Adapter, AdapterConfig, AdapterError, write_adapter};
pub use smolvlm_text::smolvlm_text;
pub use tokenizer::{ChatTokenizer, PromptTokens, Template, TokenizerError, VideoText};
pub use weights::{
    Weights, WeightsError, canonical_name, decoder_module, expected_tensors, stored_name,
    write_weights,
};
