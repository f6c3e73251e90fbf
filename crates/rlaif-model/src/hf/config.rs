//! `config.json` of a LLaVA checkpoint, as `transformers`' `LlavaConfig` reads and writes it.
//!
//! Keys that are absent take `transformers`' defaults. Keys that this crate has no use for are
//! kept, so that a configuration is saved as it was found. A key that would change what the model
//! computes and is not supported is an error, never ignored.
//!
//! Two keys are ours: `video_pooling` (`"spatial_temporal"` or `"none"`) and `num_frames`.
//! `transformers` carries them along as plain attributes.

mod read;
mod write;

pub(super) use write::one_or_many;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::hf::fields::FieldError;
use crate::hf::files::{FileError, read_json, write_json};

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

/// Activation of the vision tower's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, CLIP's own.
    QuickGelu,
    /// The exact GELU, with the error function.
    Gelu,
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

/// How the features of a clip's frames become visual tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoPooling {
    /// All patches of all frames after each other, `F * P` tokens: plain LLaVA on several images.
    None,
    /// VLM-RLAIF: the mean over patches of each frame, `F` tokens, then the mean over frames of
    /// each patch, `P` tokens.
    SpatialTemporal,
}

/// A CLIP vision tower (`clip_vision_model`).
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Blocks in the checkpoint.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Height and width of a frame in pixels.
    pub image_size: usize,
    /// Height and width of a patch in pixels; pixels past the last whole patch are not seen.
    pub patch_size: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layers.
    pub hidden_act: Activation,
}

impl Default for VisionConfig {
    /// `CLIPVisionConfig()`: ViT-B/32 at 224 pixels.
    fn default() -> Self {
        VisionConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 32,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::QuickGelu,
        }
    }
}

impl VisionConfig {
    /// ViT-L/14 at 336 pixels, the tower of LLaVA-1.5 and of VLM-RLAIF.
    #[must_use]
    pub fn large_336() -> Self {
        VisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size: 336,
            patch_size: 14,
            ..VisionConfig::default()
        }
    }

    /// Patches `P` per frame.
    #[must_use]
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// A Llama decoder (`llama`).
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads, a divisor of the query heads.
    pub num_key_value_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Positions that the model was made for.
    pub max_position_embeddings: usize,
    /// Whether the head is the embedding table itself.
    pub tie_word_embeddings: bool,
    /// Whether the attention's projections have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Beginning-of-sequence token.
    pub bos_token_id: Option<u32>,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// Padding token.
    pub pad_token_id: Option<u32>,
}

impl Default for TextConfig {
    /// `LlamaConfig()`: Llama 7B.
    fn default() -> Self {
        TextConfig {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: 128,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            max_position_embeddings: 2048,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
            pad_token_id: None,
        }
    }
}

/// A LLaVA model: CLIP tower, two-layer GELU projector, Llama decoder.
///
/// Two configurations are equal when their fields and the keys kept for saving are.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The vision tower.
    pub vision: VisionConfig,
    /// The language model.
    pub text: TextConfig,
    /// The token that stands for a visual token in a prompt (`image_token_index`).
    pub image_token_id: u32,
    /// Hidden state that the projector is fed, counted as `transformers` counts: 0 is the
    /// embeddings, -1 the last block's output, -2 that of the last block but one.
    pub vision_feature_layer: i64,
    /// Whether the projector's linear layers have biases.
    pub multimodal_projector_bias: bool,
    /// How frames become visual tokens.
    pub video_pooling: VideoPooling,
    /// Frames sampled from a clip, where the checkpoint says so.
    pub num_frames: Option<usize>,
    /// Number format of the weights on disk (`dtype`, formerly `torch_dtype`).
    pub dtype: WeightFormat,
    /// The document this was read from, kept for saving; empty when made in memory.
    pub document: Map<String, Value>,
}

impl ModelConfig {
    /// A configuration with LLaVA-1.5's choices for the rest: layer -2, biases in the projector,
    /// no pooling, `f32` weights. Change the fields afterwards and call
    /// [`validate`](Self::validate).
    #[must_use]
    pub fn new(vision: VisionConfig, text: TextConfig, image_token_id: u32) -> Self {
        ModelConfig {
            vision,
            text,
            image_token_id,
            vision_feature_layer: -2,
            multimodal_projector_bias: true,
            video_pooling: VideoPooling::None,
            num_frames: None,
            dtype: WeightFormat::F32,
            document: Map::new(),
        }
    }

    /// Reads `config.json` in `dir`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a key in it cannot be used; the message names both.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = dir.as_ref().join("config.json");
        let value = read_json(&path)?;
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

    /// Blocks of the tower that run before the features are taken: `vision_feature_layer` counted
    /// from the start.
    #[must_use]
    pub fn tower_layers(&self) -> usize {
        let layers = i64::try_from(self.vision.num_hidden_layers).unwrap_or(i64::MAX - 1);
        let index = self.vision_feature_layer;
        let index = if index < 0 { layers + 1 + index } else { index };
        usize::try_from(index.clamp(0, layers)).unwrap_or_default()
    }

    /// Number of visual tokens that a clip of `frames` frames becomes.
    #[must_use]
    pub fn n_visual_tokens(&self, frames: usize) -> usize {
        match self.video_pooling {
            VideoPooling::None => frames * self.vision.patches(),
            VideoPooling::SpatialTemporal => frames + self.vision.patches(),
        }
    }
}

impl Activation {
    /// Name in `hidden_act`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::QuickGelu => "quick_gelu",
            Activation::Gelu => "gelu",
        }
    }
}

impl VideoPooling {
    /// Name in `video_pooling`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            VideoPooling::None => "none",
            VideoPooling::SpatialTemporal => "spatial_temporal",
        }
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
