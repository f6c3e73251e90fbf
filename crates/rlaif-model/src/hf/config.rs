//! `config.json` of a checkpoint, as `transformers` reads and writes it.
//!
//! Keys that are absent take `transformers`' defaults. Keys that this crate has no use for are
//! kept, so that a configuration is saved as it was found. A key that would change what the model
//! computes and is not supported is an error, never ignored.
//!
//! Two keys are ours: `video_pooling` (`"spatial_temporal"` or `"none"`) and `num_frames`.
//! `transformers` carries them along as plain attributes.

mod llava;
mod original;
mod qwen;
mod read;
mod smolvlm;
mod text;
mod write;

pub use llava::{Activation, LlavaConfig, LlavaLayout, VideoPooling, VisionConfig};
pub use qwen::QwenVlConfig;
pub use smolvlm::SmolVlmConfig;
pub use text::{AttentionBias, TextConfig};

pub(super) use original::is_original_llava;
pub(super) use write::one_or_many;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::hf::fields::FieldError;
use crate::hf::files::{FileError, read_json, write_json};
use crate::hf::llava_tower::ResolveTower;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key in it cannot be used.
    #[error("{}: {source}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        source: FieldError,
    },
}

/// Number format of the weights in a checkpoint's files. Tensors in memory are always `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// 32 bits.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
}

/// The kind of model, with what each kind has besides its decoder.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// LLaVA-1.5 (`llava`).
    Llava(LlavaConfig),
    /// SmolVLM2 (`smolvlm`).
    SmolVlm(SmolVlmConfig),
    /// Qwen2.5-VL (`qwen2_5_vl`).
    Qwen2_5Vl(QwenVlConfig),
}

/// What `config.json` says.
///
/// Two configurations are equal when their fields and the keys kept for saving are.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Vision tower and projector.
    pub arch: Architecture,
    /// The language model.
    pub text: TextConfig,
    /// The token that stands for a visual token of a video in a prompt.
    pub image_token_id: u32,
    /// Frames sampled from a clip, where the checkpoint says so.
    pub num_frames: Option<usize>,
    /// Number format of the weights on disk (`dtype`, formerly `torch_dtype`).
    pub dtype: WeightFormat,
    /// The document this was read from, kept for saving; empty when made in memory.
    pub document: Map<String, Value>,
}

impl ModelConfig {
    /// A LLaVA with LLaVA-1.5's choices for the rest ([`LlavaConfig::new`]) and `f32` weights.
    /// Change the fields afterwards and call [`validate`](Self::validate).
    #[must_use]
    pub fn new(vision: VisionConfig, text: TextConfig, image_token_id: u32) -> Self {
        ModelConfig {
            arch: Architecture::Llava(LlavaConfig::new(vision)),
            text,
            image_token_id,
            num_frames: None,
            dtype: WeightFormat::F32,
            document: Map::new(),
        }
    }

    /// LLaVA's part, where it is one.
    #[must_use]
    pub fn llava(&self) -> Option<&LlavaConfig> {
        match &self.arch {
            Architecture::Llava(llava) => Some(llava),
            Architecture::SmolVlm(_) | Architecture::Qwen2_5Vl(_) => None,
        }
    }

    /// Sets how a LLaVA's frames become visual tokens; other models have a way of their own and
    /// keep it.
    pub fn set_video_pooling(&mut self, pooling: VideoPooling) {
        if let Architecture::Llava(llava) = &mut self.arch {
            llava.video_pooling = pooling;
        }
    }

    /// Whether the decoder's keys stand at the top of the document.
    fn is_flat(&self) -> bool {
        self.llava().is_some_and(|llava| llava.layout != LlavaLayout::Transformers)
    }

    /// Reads `config.json` in `dir`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a key in it cannot be used; the message names both.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::open_with(dir, &|_| None)
    }

    /// [`open`](Self::open), where `resolve` may know the folder of a vision tower by the name
    /// that the original LLaVA layout calls it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(dir: impl AsRef<Path>, resolve: ResolveTower) -> Result<Self, ConfigError> {
        let dir = dir.as_ref();
        let path = dir.join("config.json");
        let mut value = read_json(&path)?;
        original::complete(&mut value, dir, resolve)?;
        Self::from_json(&value).map_err(|source| ConfigError::Field { path, source })
    }

    /// Reads a configuration from a document.
    ///
    /// # Errors
    ///
    /// When a key is of the wrong type, out of range, unsupported, or contradicts another.
    pub fn from_json(value: &Value) -> Result<Self, FieldError> {
        read::model(value)
    }

    /// Writes `config.json` into `dir`, atomically.
    ///
    /// # Errors
    ///
    /// When a field is out of range or the file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), ConfigError> {
        let path = dir.as_ref().join("config.json");
        if let Err(source) = self.validate() {
            return Err(ConfigError::Field { path, source });
        }
        Ok(write_json(&path, &self.to_json())?)
    }

    /// The document: the one that was read with the fields changed since, or a whole one.
    #[must_use]
    pub fn to_json(&self) -> Value {
        write::document(self)
    }

    /// Checks sizes and that keys agree with each other.
    ///
    /// # Errors
    ///
    /// The first key that no model can have.
    pub fn validate(&self) -> Result<(), FieldError> {
        read::validate(self)
    }
}

impl WeightFormat {
    /// Name in `dtype`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WeightFormat::F32 => "float32",
            WeightFormat::F16 => "float16",
            WeightFormat::Bf16 => "bfloat16",
        }
    }
}
