//! From the keys of `config.json` to a [`ModelConfig`], with `transformers`' defaults.

use serde_json::{Value, json};

use crate::hf::config::{
    Architecture, ModelConfig, WeightFormat, llava, original, qwen, smolvlm, text,
};
use crate::hf::fields::{FieldError, Fields};

/// Widest residual stream or feed-forward layer believed.
pub(super) const MAX_WIDTH: u64 = 1 << 20;
/// Largest vocabulary believed.
pub(super) const MAX_VOCABULARY: u64 = 1 << 24;
/// Most blocks or heads believed.
pub(super) const MAX_COUNT: u64 = 1 << 12;
/// Largest frame side in pixels believed.
pub(super) const MAX_PIXELS: u64 = 1 << 14;
/// Longest context believed.
pub(super) const MAX_POSITIONS: u64 = 1 << 32;
/// Most frames per clip believed.
pub(super) const MAX_FRAMES: u64 = 1 << 20;

/// Reads a whole document.
pub(super) fn model(value: &Value) -> Result<ModelConfig, FieldError> {
    let root = Fields::root(value)?;
    let config = match root.text("model_type")? {
        _ if original::is_original(root) => original::model(root)?,
        Some("llava") => llava_model(root)?,
        Some("smolvlm") => smolvlm_model(root)?,
        Some("qwen2_5_vl") => qwen_model(root)?,
        found => {
            let supported = "\"llava\", \"smolvlm\", \"qwen2_5_vl\"";
            return Err(root.unsupported("model_type", &json!(found), supported));
        }
    };
    let config = ModelConfig { document: value.as_object().cloned().unwrap_or_default(), ..config };
    validate(&config)?;
    Ok(config)
}

fn llava_model(root: Fields<'_>) -> Result<ModelConfig, FieldError> {
    let arch = llava::read(root)?;
    let mut text = match root.object("text_config")? {
        Some(fields) => {
            fields.only("model_type", &json!("llama"), "\"llama\"")?;
            text::read(fields, &text::TextConfig::default())?
        }
        None => text::TextConfig::default(),
    };
    // LlavaConfig ties where either place says so; the ids stand at the top in old checkpoints.
    text.tie_word_embeddings |= root.flag("tie_word_embeddings", false)?;
    text.pad_token_id = text.pad_token_id.or(root.token("pad_token_id")?);
    let image_token_id = match root.token("image_token_index")? {
        Some(id) => id,
        None => root.token("image_token_id")?.unwrap_or(32_000),
    };
    Ok(ModelConfig {
        arch: Architecture::Llava(arch),
        text,
        image_token_id,
        num_frames: num_frames(root)?,
        dtype: dtype(root)?,
        document: serde_json::Map::new(),
    })
}

fn smolvlm_model(root: Fields<'_>) -> Result<ModelConfig, FieldError> {
    let mut text = match root.object("text_config")? {
        Some(fields) => {
            fields.only("model_type", &json!("llama"), "\"llama\"")?;
            text::read(fields, &text::TextConfig::default())?
        }
        None => text::TextConfig { rms_norm_eps: 1e-5, ..text::TextConfig::default() },
    };
    text.tie_word_embeddings = root.flag("tie_word_embeddings", text.tie_word_embeddings)?;
    text.pad_token_id = text.pad_token_id.or(root.token("pad_token_id")?);
    Ok(ModelConfig {
        arch: Architecture::SmolVlm(smolvlm::read(root)?),
        text,
        image_token_id: root.token("image_token_id")?.unwrap_or(128_257),
        num_frames: num_frames(root)?,
        dtype: dtype(root)?,
        document: serde_json::Map::new(),
    })
}

fn qwen_model(root: Fields<'_>) -> Result<ModelConfig, FieldError> {
    let default = qwen::default_text();
    // The hub has the decoder's keys at the top, `transformers` 5 an object of their own.
    let fields = root.object("text_config")?.unwrap_or(root);
    let supported = "\"qwen2_5_vl_text\"";
    fields.one_of("model_type", &["qwen2_5_vl", "qwen2_5_vl_text"], supported)?;
    fields.only("use_sliding_window", &json!(false), "false")?;
    let mut text = text::read(fields, &default)?;
    // The head is tied where either place says so.
    text.tie_word_embeddings |= root.flag("tie_word_embeddings", false)?;
    Ok(ModelConfig {
        arch: Architecture::Qwen2_5Vl(qwen::read(root)?),
        text,
        image_token_id: root.token("video_token_id")?.unwrap_or(151_656),
        num_frames: num_frames(root)?,
        dtype: dtype(root)?,
        document: serde_json::Map::new(),
    })
}

pub(super) fn num_frames(root: Fields<'_>) -> Result<Option<usize>, FieldError> {
    match root.get("num_frames") {
        Some(_) => Ok(Some(root.size("num_frames", 1, MAX_FRAMES)?)),
        None => Ok(None),
    }
}

pub(super) fn dtype(root: Fields<'_>) -> Result<WeightFormat, FieldError> {
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

/// Checks sizes and that keys agree with each other.
pub(super) fn validate(config: &ModelConfig) -> Result<(), FieldError> {
    match &config.arch {
        Architecture::Llava(arch) => llava::validate(arch)?,
        Architecture::SmolVlm(arch) => smolvlm::validate(arch)?,
        Architecture::Qwen2_5Vl(arch) => qwen::validate(arch, &config.text)?,
    }
    text::validate(&config.text)
}

#[cfg(test)]
mod tests;
