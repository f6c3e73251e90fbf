//! Hugging Face folders in and out: configuration, weights, tokenizer, generation settings,
//! adapters. Plain numbers, no tensors.

mod clock;
mod config;
mod config_read;
mod config_write;
mod fields;
mod files;
mod generation;
mod names;
mod protect;
mod template;
#[cfg(test)]
mod testing;
mod tokenizer;
mod tokenizer_open;
mod weights;
mod weights_write;
mod word_level;

pub use config::{
    Activation, ConfigError, ModelConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
};
pub use fields::FieldError;
pub use files::FileError;
pub use generation::{GenerationConfig, GenerationError};
pub use names::{canonical_name, expected_tensors};
pub use template::Template;
pub use tokenizer::{ChatTokenizer, PromptTokens, TokenizerError};
pub use weights::{Weights, WeightsError};
pub use weights_write::write_weights;
