//! From the keys of `config.json` to a [`ModelConfig`], with `transformers`' defaults.

use serde_json::{Value, json};

use crate::hf::config::{
    Activation, ModelConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
};
use crate::hf::fields::{FieldError, Fields};

/// Widest residual stream or feed-forward layer believed.
const MAX_WIDTH: u64 = 1 << 20;
/// Largest vocabulary believed.
const MAX_VOCABULARY: u64 = 1 << 24;
/// Most blocks or heads believed.
const MAX_COUNT: u64 = 1 << 12;
/// Largest frame side in pixels believed.
const MAX_PIXELS: u64 = 1 << 14;
/// Longest context believed.
const MAX_POSITIONS: u64 = 1 << 32;
/// Most frames per clip believed.
const MAX_FRAMES: u64 = 1 << 20;

/// Reads a whole document.
pub(super) fn model(value: &Value) -> Result<ModelConfig, FieldError> {
    let root = Fields::root(value)?;
    match root.get("model_type") {
        Some(Value::String(name)) if name == "llava" => {}
        found => {
            return Err(root.unsupported("model_type", found.unwrap_or(&Value::Null), "\"llava\""));
        }
    }
    let original = "the layout of transformers, with `vision_config` and `text_config`; this is the \
                    original LLaVA layout, convert it first";
    if let (Some(tower), None) = (root.get("mm_vision_tower"), root.get("vision_config")) {
        return Err(root.unsupported("mm_vision_tower", tower, original));
    }
    root.only("projector_hidden_act", &json!("gelu"), "\"gelu\"")?;
    root.only("vision_feature_select_strategy", &json!("default"), "\"default\"")?;
    if let Some(layers @ Value::Array(_)) = root.get("vision_feature_layer") {
        return Err(root.unsupported("vision_feature_layer", layers, "one layer"));
    }
    let vision = match root.object("vision_config")? {
        Some(fields) => vision(fields)?,
        None => VisionConfig::large_336(),
    };
    let mut text = match root.object("text_config")? {
        Some(fields) => text(fields)?,
        None => TextConfig::default(),
    };
    // LlavaConfig ties where either place says so; the ids stand at the top in old checkpoints.
    text.tie_word_embeddings |= root.flag("tie_word_embeddings", false)?;
    text.pad_token_id = text.pad_token_id.or(root.token("pad_token_id")?);
    let image_token_id = match root.token("image_token_index")? {
        Some(id) => id,
        None => root.token("image_token_id")?.unwrap_or(32_000),
    };
    let config = ModelConfig {
        vision,
        text,
        image_token_id,
        vision_feature_layer: root.integer("vision_feature_layer", -2)?,
        multimodal_projector_bias: root.flag("multimodal_projector_bias", true)?,
        video_pooling: match root.text("video_pooling")? {
            None | Some("none") => VideoPooling::None,
            Some("spatial_temporal") => VideoPooling::SpatialTemporal,
            Some(other) => {
                let supported = "\"none\", \"spatial_temporal\"";
                return Err(root.unsupported("video_pooling", &json!(other), supported));
            }
        },
        num_frames: match root.get("num_frames") {
            Some(_) => Some(root.size("num_frames", 1, MAX_FRAMES)?),
            None => None,
        },
        dtype: dtype(root)?,
        document: value.as_object().cloned().unwrap_or_default(),
    };
    validate(&config)?;
    Ok(config)
}

fn dtype(root: Fields<'_>) -> Result<WeightFormat, FieldError> {
    let key = if root.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    match root.text(key)? {
        None | Some("float32" | "auto") => Ok(WeightFormat::F32),
        Some("float16") => Ok(WeightFormat::F16),
        Some("bfloat16") => Ok(WeightFormat::Bf16),
        Some(other) => {
            let supported = "\"float32\", \"float16\", \"bfloat16\"";
            Err(root.unsupported(key, &json!(other), supported))
        }
    }
}

fn vision(fields: Fields<'_>) -> Result<VisionConfig, FieldError> {
    fields.only("model_type", &json!("clip_vision_model"), "\"clip_vision_model\"")?;
    fields.only("num_channels", &json!(3), "3")?;
    let default = VisionConfig::default();
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
            None | Some("quick_gelu") => Activation::QuickGelu,
            Some("gelu") => Activation::Gelu,
            Some(other) => {
                let supported = "\"quick_gelu\", \"gelu\"";
                return Err(fields.unsupported("hidden_act", &json!(other), supported));
            }
        },
    })
}

fn text(fields: Fields<'_>) -> Result<TextConfig, FieldError> {
    fields.only("model_type", &json!("llama"), "\"llama\"")?;
    fields.only("hidden_act", &json!("silu"), "\"silu\"")?;
    let default = TextConfig::default();
    let hidden_size = fields.size("hidden_size", default.hidden_size, MAX_WIDTH)?;
    let num_attention_heads =
        fields.size("num_attention_heads", default.num_attention_heads, MAX_COUNT)?;
    if fields.get("head_dim").is_none() && !hidden_size.is_multiple_of(num_attention_heads) {
        return Err(FieldError::Inconsistent {
            key: fields.key("hidden_size"),
            problem: format!(
                "({hidden_size}) is not a multiple of `num_attention_heads` ({num_attention_heads})"
            ),
        });
    }
    let head_dim = fields.size("head_dim", hidden_size / num_attention_heads, MAX_WIDTH)?;
    Ok(TextConfig {
        vocab_size: fields.size("vocab_size", default.vocab_size, MAX_VOCABULARY)?,
        hidden_size,
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
        num_attention_heads,
        num_key_value_heads: fields.size("num_key_value_heads", num_attention_heads, MAX_COUNT)?,
        head_dim,
        rms_norm_eps: fields.positive("rms_norm_eps", default.rms_norm_eps)?,
        rope_theta: rope_theta(fields)?,
        max_position_embeddings: fields.size(
            "max_position_embeddings",
            default.max_position_embeddings,
            MAX_POSITIONS,
        )?,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        attention_bias: fields.flag("attention_bias", false)?,
        mlp_bias: fields.flag("mlp_bias", false)?,
        bos_token_id: if fields.has("bos_token_id") {
            fields.token("bos_token_id")?
        } else {
            default.bos_token_id
        },
        eos_token_ids: if fields.has("eos_token_id") {
            fields.tokens("eos_token_id")?.unwrap_or_default()
        } else {
            default.eos_token_ids
        },
        pad_token_id: fields.token("pad_token_id")?,
    })
}

/// The rotary base. As in `transformers` 5, `rope_scaling` goes before `rope_parameters`, and a
/// base within the object before the key `rope_theta`.
fn rope_theta(fields: Fields<'_>) -> Result<f64, FieldError> {
    let default = TextConfig::default().rope_theta;
    fields.only("partial_rotary_factor", &json!(1.0), "1.0")?;
    let key = if fields.get("rope_scaling").is_some() { "rope_scaling" } else { "rope_parameters" };
    let outer = fields.positive("rope_theta", default)?;
    let Some(value) = fields.get(key) else { return Ok(outer) };
    let Value::Object(rope) = value else {
        return Err(fields.wrong(key, value, "an object"));
    };
    for kind in ["rope_type", "type"] {
        match rope.get(kind) {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "default" => {}
            Some(other) => {
                return Err(fields.unsupported(&format!("{key}.{kind}"), other, "\"default\""));
            }
        }
    }
    for (name, value) in rope {
        match name.as_str() {
            "rope_type" | "type" | "rope_theta" => {}
            "partial_rotary_factor" if value.as_f64() == Some(1.0) || value.is_null() => {}
            _ => {
                let supported = "`rope_type` and `rope_theta` only";
                return Err(fields.unsupported(&format!("{key}.{name}"), value, supported));
            }
        }
    }
    match rope.get("rope_theta") {
        None | Some(Value::Null) => Ok(outer),
        Some(theta) => theta.as_f64().filter(|theta| *theta > 0.0).ok_or_else(|| {
            fields.wrong(&format!("{key}.rope_theta"), theta, "a number above zero")
        }),
    }
}

/// Checks sizes and that keys agree with each other.
pub(super) fn validate(config: &ModelConfig) -> Result<(), FieldError> {
    let (vision, text) = (&config.vision, &config.text);
    for (key, size, max) in [
        ("vision_config.hidden_size", vision.hidden_size, MAX_WIDTH),
        ("vision_config.intermediate_size", vision.intermediate_size, MAX_WIDTH),
        ("vision_config.num_hidden_layers", vision.num_hidden_layers, MAX_COUNT),
        ("vision_config.num_attention_heads", vision.num_attention_heads, MAX_COUNT),
        ("vision_config.image_size", vision.image_size, MAX_PIXELS),
        ("vision_config.patch_size", vision.patch_size, vision.image_size as u64),
        ("text_config.vocab_size", text.vocab_size, MAX_VOCABULARY),
        ("text_config.hidden_size", text.hidden_size, MAX_WIDTH),
        ("text_config.intermediate_size", text.intermediate_size, MAX_WIDTH),
        ("text_config.num_hidden_layers", text.num_hidden_layers, MAX_COUNT),
        ("text_config.num_attention_heads", text.num_attention_heads, MAX_COUNT),
        ("text_config.num_key_value_heads", text.num_key_value_heads, MAX_COUNT),
        ("text_config.head_dim", text.head_dim, MAX_WIDTH),
    ] {
        if !(1..=max).contains(&(size as u64)) {
            let found = size.to_string();
            return Err(FieldError::OutOfRange { key: key.to_owned(), found, min: 1, max });
        }
    }
    let inconsistent =
        |key: &str, problem: String| Err(FieldError::Inconsistent { key: key.to_owned(), problem });
    if !vision.hidden_size.is_multiple_of(vision.num_attention_heads) {
        return inconsistent(
            "vision_config.hidden_size",
            format!(
                "({}) is not a multiple of `num_attention_heads` ({})",
                vision.hidden_size, vision.num_attention_heads
            ),
        );
    }
    if !text.num_attention_heads.is_multiple_of(text.num_key_value_heads) {
        return inconsistent(
            "text_config.num_attention_heads",
            format!(
                "({}) is not a multiple of `num_key_value_heads` ({})",
                text.num_attention_heads, text.num_key_value_heads
            ),
        );
    }
    if text.head_dim % 2 == 1 {
        return inconsistent(
            "text_config.head_dim",
            format!("({}) is odd; rotary positions turn pairs", text.head_dim),
        );
    }
    let layers = i64::try_from(vision.num_hidden_layers).unwrap_or(i64::MAX - 1);
    if !(-layers - 1..=layers).contains(&config.vision_feature_layer) {
        return inconsistent(
            "vision_feature_layer",
            format!("({}) is not a layer of a tower of {layers}", config.vision_feature_layer),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
