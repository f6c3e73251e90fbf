//! SmolVLM2's part of `config.json`: SigLIP tower, pixel shuffle.

use serde_json::{Map, Value, json};

use super::llava::{Activation, VisionConfig, tower, validate_tower, write_tower};
use super::read::MAX_COUNT;
use super::write::{put, put_back, take};
use super::{Architecture, ModelConfig};
use crate::hf::fields::{FieldError, Fields};

/// What SmolVLM2 has besides its decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct SmolVlmConfig {
    /// The SigLIP tower. `image_size` and `patch_size` say how many position embeddings it has;
    /// frames may be smaller.
    pub vision: VisionConfig,
    /// Patches a side that become one visual token.
    pub scale_factor: usize,
}

/// The keys of `transformers`' `SmolVLMVisionConfig()`.
fn default_vision() -> VisionConfig {
    VisionConfig {
        hidden_size: 1152,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 16,
        image_size: 224,
        patch_size: 32,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::GeluTanh,
    }
}

/// Reads the keys that stand beside the decoder's.
pub(super) fn read(root: Fields<'_>) -> Result<SmolVlmConfig, FieldError> {
    Ok(SmolVlmConfig {
        vision: match root.object("vision_config")? {
            Some(fields) => {
                let supported = "\"smolvlm_vision\"";
                fields.one_of("model_type", &["smolvlm_vision", "smolvlm"], supported)?;
                tower(fields, &default_vision())?
            }
            None => default_vision(),
        },
        scale_factor: root.size("scale_factor", 2, MAX_COUNT)?,
    })
}

/// Checks sizes.
pub(super) fn validate(config: &SmolVlmConfig) -> Result<(), FieldError> {
    FieldError::check_size("scale_factor", config.scale_factor, MAX_COUNT)?;
    validate_tower(&config.vision)
}

/// Writes what differs from `baseline`, everything without one.
pub(super) fn write(
    config: &ModelConfig,
    new: &SmolVlmConfig,
    baseline: Option<&ModelConfig>,
    document: &mut Map<String, Value>,
) {
    let old = baseline.and_then(|old| match &old.arch {
        Architecture::SmolVlm(old) => Some(old),
        Architecture::Llava(_) | Architecture::Qwen2_5Vl(_) => None,
    });
    if old.is_none() {
        document.insert("architectures".into(), json!(["SmolVLMForConditionalGeneration"]));
        document.insert("model_type".into(), json!("smolvlm"));
    }
    put!(document, config, baseline, "image_token_id", image_token_id);
    put!(document, new, old, "scale_factor", scale_factor);
    let mut map = take(document, "vision_config");
    if old.is_none() {
        map.insert("model_type".into(), json!("smolvlm_vision"));
        map.insert("num_channels".into(), json!(3));
    }
    write_tower(&new.vision, old.map(|old| &old.vision), &mut map);
    put_back(document, "vision_config", map);
}
