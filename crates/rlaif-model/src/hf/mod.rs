//! Hugging Face folders in and out: configuration, weights, tokenizer, generation settings,
//! adapters. Plain numbers, no tensors.

mod config;
mod config_read;
mod config_write;
mod fields;
mod files;
mod names;
mod weights;
mod weights_write;

pub use config::{
    Activation, ConfigError, ModelConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
};
pub use fields::FieldError;
pub use files::FileError;
pub use names::{canonical_name, expected_tensors};
pub use weights::{Weights, WeightsError};
pub use weights_write::write_weights;
