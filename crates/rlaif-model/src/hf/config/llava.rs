//! LLaVA's part of `config.json`: CLIP tower, two-layer GELU projector, and our `video_pooling`.

use serde_json::{Map, Value, json};

use super::read::{MAX_COUNT, MAX_PIXELS, MAX_WIDTH};
use super::write::{put, put_back, take};
use super::{ModelConfig, original};
use crate::hf::fields::{FieldError, Fields};

/// What LLaVA has besides its decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct LlavaConfig {
    /// Whose keys and names the checkpoint has.
    pub layout: LlavaLayout,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Hidden state that the projector is fed, counted as `transformers` counts: 0 is the
    /// embeddings, -1 the last block's output, -2 that of the last block but one.
    pub vision_feature_layer: i64,
    /// Whether the projector's linear layers have biases.
    pub multimodal_projector_bias: bool,
    /// How frames become visual tokens.
    pub video_pooling: VideoPooling,
}

impl LlavaConfig {
    /// LLaVA-1.5's choices on a tower: layer -2, biases in the projector, no pooling.
    #[must_use]
    pub fn new(vision: VisionConfig) -> Self {
        LlavaConfig {
            layout: LlavaLayout::Transformers,
            vision,
            vision_feature_layer: -2,
            multimodal_projector_bias: true,
            video_pooling: VideoPooling::None,
        }
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

/// The two ways in which LLaVA checkpoints are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LlavaLayout {
    /// `LlavaForConditionalGeneration` of `transformers`: `vision_config` and `text_config`.
    Transformers,
    /// `LlavaLlamaForCausalLM` of the original code: see the source of `config/original.rs`.
    Original {
        /// `mm_vision_tower`: the tower's name on the hub or its folder.
        tower: String,
    },
}

/// Activation of the vision tower's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, CLIP's own.
    QuickGelu,
    /// The exact GELU, with the error function.
    Gelu,
    /// GELU through `tanh` (`gelu_pytorch_tanh`), SigLIP's.
    GeluTanh,
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

/// A vision tower of CLIP's kind (`clip_vision_model`), or SigLIP's.
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

impl Activation {
    /// Name in `hidden_act`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::QuickGelu => "quick_gelu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_pytorch_tanh",
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

/// Reads the keys that stand beside the decoder's.
pub(super) fn read(root: Fields<'_>) -> Result<LlavaConfig, FieldError> {
    root.only("projector_hidden_act", &json!("gelu"), "\"gelu\"")?;
    root.only("vision_feature_select_strategy", &json!("default"), "\"default\"")?;
    if let Some(layers @ Value::Array(_)) = root.get("vision_feature_layer") {
        return Err(root.unsupported("vision_feature_layer", layers, "one layer"));
    }
    Ok(LlavaConfig {
        layout: LlavaLayout::Transformers,
        vision: match root.object("vision_config")? {
            Some(fields) => clip(fields)?,
            None => VisionConfig::large_336(),
        },
        vision_feature_layer: root.integer("vision_feature_layer", -2)?,
        multimodal_projector_bias: root.flag("multimodal_projector_bias", true)?,
        video_pooling: video_pooling(root)?,
    })
}

pub(super) fn video_pooling(root: Fields<'_>) -> Result<VideoPooling, FieldError> {
    match root.text("video_pooling")? {
        None | Some("none") => Ok(VideoPooling::None),
        Some("spatial_temporal") => Ok(VideoPooling::SpatialTemporal),
        Some(other) => {
            let supported = "\"none\", \"spatial_temporal\"";
            Err(root.unsupported("video_pooling", &json!(other), supported))
        }
    }
}

/// A CLIP tower's own configuration.
pub(super) fn clip(fields: Fields<'_>) -> Result<VisionConfig, FieldError> {
    fields.only("model_type", &json!("clip_vision_model"), "\"clip_vision_model\"")?;
    tower(fields, &VisionConfig::default())
}

/// Reads a tower's keys over `default`.
pub(super) fn tower(
    fields: Fields<'_>,
    default: &VisionConfig,
) -> Result<VisionConfig, FieldError> {
    fields.only("num_channels", &json!(3), "3")?;
    Ok(VisionConfig {
        hidden_size: fields.size("hidden_size", default.hidden_size, MAX_WIDTH)?,
        intermediate_size: fields.size(
            "intermediate_size",
            default.intermediate_size,
            MAX_WIDTH,
        )?,
        num_hidden_layers: fields.size(
            "num_hidden_layers",
            default.num_hidden_layers,
            MAX_COUNT,
        )?,
        num_attention_heads: fields.size(
            "num_attention_heads",
            default.num_attention_heads,
            MAX_COUNT,
        )?,
        image_size: fields.size("image_size", default.image_size, MAX_PIXELS)?,
        patch_size: fields.size("patch_size", default.patch_size, MAX_PIXELS)?,
        layer_norm_eps: fields.positive("layer_norm_eps", default.layer_norm_eps)?,
        hidden_act: match fields.text("hidden_act")? {
            None => default.hidden_act,
            Some("quick_gelu") => Activation::QuickGelu,
            Some("gelu") => Activation::Gelu,
            Some("gelu_pytorch_tanh") => Activation::GeluTanh,
            Some(other) => {
                let supported = "\"quick_gelu\", \"gelu\", \"gelu_pytorch_tanh\"";
                return Err(fields.unsupported("hidden_act", &json!(other), supported));
            }
        },
    })
}

/// Checks sizes and that keys agree with each other.
pub(super) fn validate(config: &LlavaConfig) -> Result<(), FieldError> {
    validate_tower(&config.vision)?;
    let layers = i64::try_from(config.vision.num_hidden_layers).unwrap_or(i64::MAX - 1);
    if !(-layers - 1..=layers).contains(&config.vision_feature_layer) {
        return Err(FieldError::Inconsistent {
            key: "vision_feature_layer".to_owned(),
            problem: format!(
                "({}) is not a layer of a tower of {layers}",
                config.vision_feature_layer
            ),
        });
    }
    Ok(())
}

/// Checks a tower's sizes.
pub(super) fn validate_tower(vision: &VisionConfig) -> Result<(), FieldError> {
    for (key, size, max) in [
        ("vision_config.hidden_size", vision.hidden_size, MAX_WIDTH),
        ("vision_config.intermediate_size", vision.intermediate_size, MAX_WIDTH),
        ("vision_config.num_hidden_layers", vision.num_hidden_layers, MAX_COUNT),
        ("vision_config.num_attention_heads", vision.num_attention_heads, MAX_COUNT),
        ("vision_config.image_size", vision.image_size, MAX_PIXELS),
        ("vision_config.patch_size", vision.patch_size, vision.image_size as u64),
    ] {
        FieldError::check_size(key, size, max)?;
    }
    if !vision.hidden_size.is_multiple_of(vision.num_attention_heads) {
        return Err(FieldError::Inconsistent {
            key: "vision_config.hidden_size".to_owned(),
            problem: format!(
                "({}) is not a multiple of `num_attention_heads` ({})",
                vision.hidden_size, vision.num_attention_heads
            ),
        });
    }
    Ok(())
}

/// Writes what differs from `old`, everything without one.
pub(super) fn write(
    config: &ModelConfig,
    new: &LlavaConfig,
    baseline: Option<&ModelConfig>,
    document: &mut Map<String, Value>,
) {
    let old = baseline.and_then(ModelConfig::llava);
    if new.layout != LlavaLayout::Transformers {
        original::write(new, old, document);
        return;
    }
    if old.is_none() {
        document.insert("architectures".into(), json!(["LlavaForConditionalGeneration"]));
        document.insert("model_type".into(), json!("llava"));
        document.insert("image_seq_length".into(), json!(new.vision.patches()));
        document.insert("projector_hidden_act".into(), json!("gelu"));
        document.insert("vision_feature_select_strategy".into(), json!("default"));
    }
    put!(document, config, baseline, "image_token_index", image_token_id);
    if document.contains_key("image_token_id") {
        put!(document, config, baseline, "image_token_id", image_token_id);
    }
    put!(document, new, old, "vision_feature_layer", vision_feature_layer);
    put!(document, new, old, "multimodal_projector_bias", multimodal_projector_bias);
    if old.is_some() || new.video_pooling != VideoPooling::None {
        put!(document, new, old, "video_pooling", video_pooling, |v| json!(v.name()));
    }

    write_vision(new, old, document);
}

/// Writes `vision_config`.
pub(super) fn write_vision(
    new: &LlavaConfig,
    old: Option<&LlavaConfig>,
    document: &mut Map<String, Value>,
) {
    let mut map = take(document, "vision_config");
    let vision = &mut map;
    if old.is_none() {
        vision.insert("model_type".into(), json!("clip_vision_model"));
        vision.insert("num_channels".into(), json!(3));
    }
    write_tower(&new.vision, old.map(|old| &old.vision), vision);
    put_back(document, "vision_config", map);
}

/// Writes the tower's keys that differ from `old`, all of them without one.
pub(super) fn write_tower(
    new: &VisionConfig,
    old: Option<&VisionConfig>,
    map: &mut Map<String, Value>,
) {
    put!(map, new, old, "hidden_size", hidden_size);
    put!(map, new, old, "intermediate_size", intermediate_size);
    put!(map, new, old, "num_hidden_layers", num_hidden_layers);
    put!(map, new, old, "num_attention_heads", num_attention_heads);
    put!(map, new, old, "image_size", image_size);
    put!(map, new, old, "patch_size", patch_size);
    put!(map, new, old, "layer_norm_eps", layer_norm_eps);
    put!(map, new, old, "hidden_act", hidden_act, |v| json!(v.name()));
}
