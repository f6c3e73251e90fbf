//! Qwen2.5-VL's part of `config.json`, in the hub's layout (the decoder's keys at the top) and in
//! that of `transformers` 5 (`text_config`).

use serde_json::{Map, Value, json};

use super::read::{MAX_COUNT, MAX_PIXELS, MAX_WIDTH};
use super::text::{AttentionBias, TextConfig};
use super::write::{put, put_back, take};
use super::{Architecture, ModelConfig};
use crate::hf::fields::{FieldError, Fields};

/// What Qwen2.5-VL has besides its decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct QwenVlConfig {
    /// Blocks of the tower.
    pub depth: usize,
    /// Width of the tower's residual stream.
    pub hidden_size: usize,
    /// Width of its feed-forward layers.
    pub intermediate_size: usize,
    /// Attention heads of the tower.
    pub num_heads: usize,
    /// Pixels of a patch's side.
    pub patch_size: usize,
    /// Patches of a visual token's side.
    pub spatial_merge_size: usize,
    /// Frames that a patch spans.
    pub temporal_patch_size: usize,
    /// Rotary positions per second of video.
    pub tokens_per_second: f64,
    /// Pixels of an attention window's side.
    pub window_size: usize,
    /// Blocks that attend over the whole step in time.
    pub fullatt_block_indexes: Vec<usize>,
    /// Width of a visual token: the decoder's.
    pub out_hidden_size: usize,
    /// Base of the tower's rotary frequencies.
    pub rope_theta: f64,
}

impl Default for QwenVlConfig {
    /// `Qwen2_5_VLVisionConfig()`.
    fn default() -> Self {
        QwenVlConfig {
            depth: 32,
            hidden_size: 3584,
            intermediate_size: 3420,
            num_heads: 16,
            patch_size: 14,
            spatial_merge_size: 2,
            temporal_patch_size: 2,
            tokens_per_second: 4.0,
            window_size: 112,
            fullatt_block_indexes: vec![7, 15, 23, 31],
            out_hidden_size: 3584,
            rope_theta: 10_000.0,
        }
    }
}

impl QwenVlConfig {
    /// Numbers in a patch: three channels of `temporal_patch_size` frames.
    #[must_use]
    pub fn patch_values(&self) -> usize {
        3 * self.temporal_patch_size * self.patch_size * self.patch_size
    }
}

/// The defaults of `Qwen2_5_VLTextConfig()`.
pub(super) fn default_text() -> TextConfig {
    TextConfig {
        vocab_size: 152_064,
        hidden_size: 8192,
        intermediate_size: 29_568,
        num_hidden_layers: 80,
        num_attention_heads: 64,
        num_key_value_heads: 8,
        head_dim: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 1e6,
        mrope_section: Some([16, 24, 24]),
        max_position_embeddings: 32_768,
        attention_bias: AttentionBias::Qkv,
        bos_token_id: Some(151_643),
        eos_token_ids: vec![151_645],
        ..TextConfig::default()
    }
}

/// Reads the tower's keys.
pub(super) fn read(root: Fields<'_>) -> Result<QwenVlConfig, FieldError> {
    let default = QwenVlConfig::default();
    let Some(fields) = root.object("vision_config")? else { return Ok(default) };
    let supported = "\"qwen2_5_vl_vision\"";
    fields.one_of("model_type", &["qwen2_5_vl", "qwen2_5_vl_vision"], supported)?;
    fields.only("hidden_act", &json!("silu"), "\"silu\"")?;
    fields.only("in_channels", &json!(3), "3")?;
    fields.only("in_chans", &json!(3), "3")?;
    let size = |key: &str, default: usize, max: u64| fields.size(key, default, max);
    Ok(QwenVlConfig {
        depth: size("depth", default.depth, MAX_COUNT)?,
        hidden_size: size("hidden_size", default.hidden_size, MAX_WIDTH)?,
        intermediate_size: size("intermediate_size", default.intermediate_size, MAX_WIDTH)?,
        num_heads: size("num_heads", default.num_heads, MAX_COUNT)?,
        patch_size: size("patch_size", default.patch_size, MAX_COUNT)?,
        spatial_merge_size: size("spatial_merge_size", default.spatial_merge_size, MAX_COUNT)?,
        temporal_patch_size: size("temporal_patch_size", default.temporal_patch_size, MAX_COUNT)?,
        tokens_per_second: fields.positive("tokens_per_second", default.tokens_per_second)?,
        window_size: size("window_size", default.window_size, MAX_PIXELS)?,
        fullatt_block_indexes: match fields.get("fullatt_block_indexes") {
            None => default.fullatt_block_indexes,
            Some(list) => indexes(fields, list)?,
        },
        out_hidden_size: size("out_hidden_size", default.out_hidden_size, MAX_WIDTH)?,
        rope_theta: rope_theta(fields, default.rope_theta)?,
    })
}

/// The base of the tower's rotary frequencies, which `transformers` 5 writes and the hub leaves out.
fn rope_theta(fields: Fields<'_>, default: f64) -> Result<f64, FieldError> {
    let Some(value) = fields.get("rope_parameters") else { return Ok(default) };
    let Value::Object(rope) = value else {
        return Err(fields.wrong("rope_parameters", value, "an object"));
    };
    let given = |key: &str| rope.get(key).filter(|value| !value.is_null());
    if let Some(kind) = given("rope_type")
        && !["axial", "default"].contains(&kind.as_str().unwrap_or_default())
    {
        let supported = "\"axial\", \"default\"";
        return Err(fields.unsupported("rope_parameters.rope_type", kind, supported));
    }
    given("rope_theta").map_or(Ok(default), |theta| {
        theta
            .as_f64()
            .filter(|theta| *theta > 0.0)
            .ok_or_else(|| fields.wrong("rope_parameters.rope_theta", theta, "a number above zero"))
    })
}

fn indexes(fields: Fields<'_>, list: &Value) -> Result<Vec<usize>, FieldError> {
    let key = "fullatt_block_indexes";
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    list.as_array()
        .filter(|list| list.len() as u64 <= MAX_COUNT)
        .and_then(|list| list.iter().map(number).collect())
        .ok_or_else(|| fields.wrong(key, list, "a list of block numbers"))
}

/// Checks sizes and that keys agree with each other.
pub(super) fn validate(config: &QwenVlConfig, text: &TextConfig) -> Result<(), FieldError> {
    for (key, size, max) in [
        ("vision_config.depth", config.depth, MAX_COUNT),
        ("vision_config.hidden_size", config.hidden_size, MAX_WIDTH),
        ("vision_config.intermediate_size", config.intermediate_size, MAX_WIDTH),
        ("vision_config.num_heads", config.num_heads, MAX_COUNT),
        ("vision_config.patch_size", config.patch_size, MAX_COUNT),
        ("vision_config.spatial_merge_size", config.spatial_merge_size, MAX_COUNT),
        ("vision_config.temporal_patch_size", config.temporal_patch_size, MAX_COUNT),
        ("vision_config.window_size", config.window_size, MAX_PIXELS),
    ] {
        FieldError::check_size(key, size, max)?;
    }
    if !(config.tokens_per_second > 0.0 && config.tokens_per_second <= MAX_COUNT as f64) {
        return Err(FieldError::OutOfRange {
            key: "vision_config.tokens_per_second".to_owned(),
            found: config.tokens_per_second.to_string(),
            min: 0,
            max: MAX_COUNT,
        });
    }
    let inconsistent =
        |key: &str, problem: String| Err(FieldError::Inconsistent { key: key.to_owned(), problem });
    let (hidden, heads) = (config.hidden_size, config.num_heads);
    if !hidden.is_multiple_of(heads) || !(hidden / heads).is_multiple_of(4) {
        return inconsistent(
            "vision_config.hidden_size",
            format!("({hidden}) does not give {heads} heads whose width is a multiple of 4"),
        );
    }
    let unit = config.spatial_merge_size * config.patch_size;
    if config.window_size < unit {
        return inconsistent(
            "vision_config.window_size",
            format!("({}) is less than a visual token's side ({unit} pixels)", config.window_size),
        );
    }
    if text.head_dim.checked_mul(text.num_attention_heads) != Some(text.hidden_size) {
        return inconsistent(
            "text_config.head_dim",
            format!(
                "({}) times `num_attention_heads` ({}) is not `hidden_size` ({})",
                text.head_dim, text.num_attention_heads, text.hidden_size
            ),
        );
    }
    if config.out_hidden_size != text.hidden_size {
        return inconsistent(
            "vision_config.out_hidden_size",
            format!(
                "({}) is not the decoder's `hidden_size` ({})",
                config.out_hidden_size, text.hidden_size
            ),
        );
    }
    Ok(())
}

/// Writes what differs from `baseline`, everything without one.
pub(super) fn write(
    config: &ModelConfig,
    new: &QwenVlConfig,
    baseline: Option<&ModelConfig>,
    document: &mut Map<String, Value>,
) {
    let old = baseline.and_then(|old| match &old.arch {
        Architecture::Qwen2_5Vl(old) => Some(old),
        Architecture::Llava(_) | Architecture::SmolVlm(_) => None,
    });
    if old.is_none() {
        document.insert("architectures".into(), json!(["Qwen2_5_VLForConditionalGeneration"]));
        document.insert("model_type".into(), json!("qwen2_5_vl"));
    }
    put!(document, config, baseline, "video_token_id", image_token_id);
    let mut map = take(document, "vision_config");
    if old.is_none() {
        map.insert("model_type".into(), json!("qwen2_5_vl_vision"));
        map.insert("in_channels".into(), json!(3));
        map.insert("hidden_act".into(), json!("silu"));
    }
    let vision = &mut map;
    put!(vision, new, old, "depth", depth);
    put!(vision, new, old, "hidden_size", hidden_size);
    put!(vision, new, old, "intermediate_size", intermediate_size);
    put!(vision, new, old, "num_heads", num_heads);
    put!(vision, new, old, "patch_size", patch_size);
    put!(vision, new, old, "spatial_merge_size", spatial_merge_size);
    put!(vision, new, old, "temporal_patch_size", temporal_patch_size);
    put!(vision, new, old, "tokens_per_second", tokens_per_second);
    put!(vision, new, old, "window_size", window_size);
    put!(vision, new, old, "fullatt_block_indexes", fullatt_block_indexes);
    put!(vision, new, old, "out_hidden_size", out_hidden_size);
    put!(vision, new, old, "rope_parameters", rope_theta, |theta| {
        json!({ "rope_type": "axial", "rope_theta": theta })
    });
    put_back(document, "vision_config", map);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_positions_out_of_range_are_named() {
        let text = TextConfig {
            hidden_size: 3584,
            num_attention_heads: 28,
            num_key_value_heads: 4,
            ..default_text()
        };
        let of = |tokens_per_second| {
            validate(&QwenVlConfig { tokens_per_second, ..QwenVlConfig::default() }, &text)
        };
        assert!(of(4.0).is_ok() && of(0.5).is_ok());
        for wrong in [0.0, -1.0, 1e30, f64::INFINITY, f64::NAN] {
            let message = of(wrong).unwrap_err().to_string();
            assert!(message.contains("vision_config.tokens_per_second"), "{message}");
        }
    }
}
