//! The decoder's part of `config.json`.

use serde_json::{Map, Value, json};

use super::read::{MAX_COUNT, MAX_POSITIONS, MAX_VOCABULARY, MAX_WIDTH};
use super::write::{one_or_many, put};
use crate::hf::fields::{FieldError, Fields};

/// Which of the attention's projections have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionBias {
    /// None of them.
    None,
    /// Queries, keys and values, but not the output (Qwen2).
    Qkv,
    /// All four.
    All,
}

/// A decoder of Llama's kind.
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
    /// How many of the rotary frequencies turn by time, by row and by column, in this order;
    /// `None` where all turn by the one position (M-RoPE: Wang et al. 2024, "Qwen2-VL",
    /// arXiv:2409.12191, section 2.1).
    pub mrope_section: Option<[usize; 3]>,
    /// Positions that the model was made for.
    pub max_position_embeddings: usize,
    /// Whether the head is the embedding table itself.
    pub tie_word_embeddings: bool,
    /// Which of the attention's projections have biases.
    pub attention_bias: AttentionBias,
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
            mrope_section: None,
            max_position_embeddings: 2048,
            tie_word_embeddings: false,
            attention_bias: AttentionBias::None,
            mlp_bias: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
            pad_token_id: None,
        }
    }
}

/// Reads the decoder's keys, those of `text_config` or of a flat document, over `default`. Where that
/// has rotary sections, the keys may, too.
pub(super) fn read(fields: Fields<'_>, default: &TextConfig) -> Result<TextConfig, FieldError> {
    fields.only("hidden_act", &json!("silu"), "\"silu\"")?;
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
    let (rope_theta, mrope_section) = rope(fields, default)?;
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
        // Llama has as many by default, Qwen2.5-VL a number of its own.
        num_key_value_heads: fields.size(
            "num_key_value_heads",
            if default.mrope_section.is_some() {
                default.num_key_value_heads
            } else {
                num_attention_heads
            },
            MAX_COUNT,
        )?,
        head_dim,
        rms_norm_eps: fields.positive("rms_norm_eps", default.rms_norm_eps)?,
        rope_theta,
        mrope_section,
        max_position_embeddings: fields.size(
            "max_position_embeddings",
            default.max_position_embeddings,
            MAX_POSITIONS,
        )?,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        attention_bias: if default.attention_bias == AttentionBias::Qkv {
            AttentionBias::Qkv
        } else if fields.flag("attention_bias", false)? {
            AttentionBias::All
        } else {
            AttentionBias::None
        },
        mlp_bias: fields.flag("mlp_bias", false)?,
        bos_token_id: if fields.has("bos_token_id") {
            fields.token("bos_token_id")?
        } else {
            default.bos_token_id
        },
        eos_token_ids: if fields.has("eos_token_id") {
            fields.tokens("eos_token_id")?.unwrap_or_default()
        } else {
            default.eos_token_ids.clone()
        },
        pad_token_id: fields.token("pad_token_id")?,
    })
}

/// The rotary base, and the sections where the model has them. As in `transformers` 5, `rope_scaling`
/// goes before `rope_parameters`, and a base within the object before the key `rope_theta`.
fn rope(fields: Fields<'_>, default: &TextConfig) -> Result<(f64, Option<[usize; 3]>), FieldError> {
    let multimodal = default.mrope_section.is_some();
    fields.only("partial_rotary_factor", &json!(1.0), "1.0")?;
    let key = if fields.get("rope_scaling").is_some() { "rope_scaling" } else { "rope_parameters" };
    let outer = fields.positive("rope_theta", default.rope_theta)?;
    let Some(value) = fields.get(key) else { return Ok((outer, default.mrope_section)) };
    let Value::Object(rope) = value else {
        return Err(fields.wrong(key, value, "an object"));
    };
    for kind in ["rope_type", "type"] {
        match rope.get(kind) {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == "default" || multimodal && name == "mrope" => {}
            Some(other) => {
                return Err(fields.unsupported(&format!("{key}.{kind}"), other, "\"default\""));
            }
        }
    }
    for (name, value) in rope {
        match name.as_str() {
            "rope_type" | "type" | "rope_theta" => {}
            "mrope_section" if multimodal => {}
            "partial_rotary_factor" if value.as_f64() == Some(1.0) || value.is_null() => {}
            _ => {
                let supported = "`rope_type` and `rope_theta` only";
                return Err(fields.unsupported(&format!("{key}.{name}"), value, supported));
            }
        }
    }
    let theta = match rope.get("rope_theta") {
        None | Some(Value::Null) => outer,
        Some(theta) => theta.as_f64().filter(|theta| *theta > 0.0).ok_or_else(|| {
            fields.wrong(&format!("{key}.rope_theta"), theta, "a number above zero")
        })?,
    };
    let section = match rope.get("mrope_section") {
        Some(section) if multimodal => Some(sections(section).ok_or_else(|| {
            fields.wrong(&format!("{key}.mrope_section"), section, "three whole numbers")
        })?),
        _ => default.mrope_section,
    };
    Ok((theta, section))
}

/// Frequencies that turn by time, row and column.
fn sections(value: &Value) -> Option<[usize; 3]> {
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let list: Option<Vec<usize>> = value.as_array()?.iter().map(number).collect();
    list?.try_into().ok()
}

/// Checks sizes and that keys agree with each other.
pub(super) fn validate(text: &TextConfig) -> Result<(), FieldError> {
    for (key, size, max) in [
        ("text_config.vocab_size", text.vocab_size, MAX_VOCABULARY),
        ("text_config.hidden_size", text.hidden_size, MAX_WIDTH),
        ("text_config.intermediate_size", text.intermediate_size, MAX_WIDTH),
        ("text_config.num_hidden_layers", text.num_hidden_layers, MAX_COUNT),
        ("text_config.num_attention_heads", text.num_attention_heads, MAX_COUNT),
        ("text_config.num_key_value_heads", text.num_key_value_heads, MAX_COUNT),
        ("text_config.head_dim", text.head_dim, MAX_WIDTH),
    ] {
        FieldError::check_size(key, size, max)?;
    }
    let inconsistent =
        |key: &str, problem: String| Err(FieldError::Inconsistent { key: key.to_owned(), problem });
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
    if let Some(section) = text.mrope_section
        && section.iter().try_fold(0_usize, |sum, n| sum.checked_add(*n)) != Some(text.head_dim / 2)
    {
        return inconsistent(
            "text_config.rope_scaling.mrope_section",
            format!("({section:?}) does not add up to half of `head_dim` ({})", text.head_dim),
        );
    }
    Ok(())
}

/// Writes what differs from `old`, everything without one.
pub(super) fn write(new: &TextConfig, old: Option<&TextConfig>, text: &mut Map<String, Value>) {
    put!(text, new, old, "vocab_size", vocab_size);
    put!(text, new, old, "hidden_size", hidden_size);
    put!(text, new, old, "intermediate_size", intermediate_size);
    put!(text, new, old, "num_hidden_layers", num_hidden_layers);
    put!(text, new, old, "num_attention_heads", num_attention_heads);
    put!(text, new, old, "num_key_value_heads", num_key_value_heads);
    put!(text, new, old, "head_dim", head_dim);
    put!(text, new, old, "rms_norm_eps", rms_norm_eps);
    put!(text, new, old, "max_position_embeddings", max_position_embeddings);
    put!(text, new, old, "tie_word_embeddings", tie_word_embeddings);
    // Qwen2 has no such key: its biases are fixed.
    if new.attention_bias != AttentionBias::Qkv {
        put!(text, new, old, "attention_bias", attention_bias, |v| json!(*v == AttentionBias::All));
    }
    put!(text, new, old, "mlp_bias", mlp_bias);
    put!(text, new, old, "bos_token_id", bos_token_id);
    put!(text, new, old, "eos_token_id", eos_token_ids, |ids| one_or_many(ids));
    put!(text, new, old, "pad_token_id", pad_token_id);
    if old.is_none_or(|old| {
        old.rope_theta.to_bits() != new.rope_theta.to_bits()
            || old.mrope_section != new.mrope_section
    }) {
        // Releases before 5 read `rope_theta`, later ones `rope_parameters`.
        let theta = new.rope_theta;
        text.remove("rope_scaling");
        text.insert("rope_theta".into(), json!(theta));
        let mut rope = json!({ "rope_type": "default", "rope_theta": theta });
        if let Some(section) = new.mrope_section {
            rope["mrope_section"] = json!(section);
        }
        text.insert("rope_parameters".into(), rope);
    }
}
