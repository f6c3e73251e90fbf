//! From a [`ModelConfig`] to the keys of `config.json`.

use serde_json::{Map, Value, json};

use super::{ModelConfig, VideoPooling, read};

/// The document that `config` was read from with the fields changed since; a whole one where it
/// was made in memory.
pub(super) fn document(config: &ModelConfig) -> Value {
    let mut document = config.document.clone();
    let baseline =
        read::model(&Value::Object(document.clone())).ok().filter(|_| !document.is_empty());
    write_fields(config, baseline.as_ref(), &mut document);
    Value::Object(document)
}

/// Writes each field that differs from `baseline`, all of them without one.
fn write_fields(
    new: &ModelConfig,
    baseline: Option<&ModelConfig>,
    document: &mut Map<String, Value>,
) {
    /// Puts `value` under each of `keys` unless `old` says that nothing has changed.
    fn put<T: PartialEq>(
        map: &mut Map<String, Value>,
        keys: &[&str],
        new: &T,
        old: Option<&T>,
        value: impl Fn(&T) -> Value,
    ) {
        if old != Some(new) {
            for key in keys {
                map.insert((*key).to_owned(), value(new));
            }
        }
    }
    macro_rules! put {
        ($map:expr, $($key:literal)|+, $($field:ident).+, $value:expr) => {
            put($map, &[$($key),+], &new.$($field).+, baseline.map(|b| &b.$($field).+), $value)
        };
        ($map:expr, $key:literal, $($field:ident).+) => {
            put!($map, $key, $($field).+, |v| json!(v))
        };
    }

    if baseline.is_none() {
        document.insert("architectures".into(), json!(["LlavaForConditionalGeneration"]));
        document.insert("model_type".into(), json!("llava"));
        document.insert("image_seq_length".into(), json!(new.vision.patches()));
        document.insert("projector_hidden_act".into(), json!("gelu"));
        document.insert("vision_feature_select_strategy".into(), json!("default"));
    }
    put!(document, "image_token_index", image_token_id);
    if document.contains_key("image_token_id") {
        put!(document, "image_token_id", image_token_id);
    }
    put!(document, "vision_feature_layer", vision_feature_layer);
    put!(document, "multimodal_projector_bias", multimodal_projector_bias);
    // Old releases read `torch_dtype`, new ones `dtype`.
    put!(document, "dtype" | "torch_dtype", dtype, |v| json!(v.name()));
    put!(document, "tie_word_embeddings", text.tie_word_embeddings);
    if baseline.is_some() || new.video_pooling != VideoPooling::None {
        put!(document, "video_pooling", video_pooling, |v| json!(v.name()));
    }
    if baseline.is_some() || new.num_frames.is_some() {
        put!(document, "num_frames", num_frames);
    }

    let mut map = take(document, "vision_config");
    let vision = &mut map;
    if baseline.is_none() {
        vision.insert("model_type".into(), json!("clip_vision_model"));
        vision.insert("num_channels".into(), json!(3));
    }
    put!(vision, "hidden_size", vision.hidden_size);
    put!(vision, "intermediate_size", vision.intermediate_size);
    put!(vision, "num_hidden_layers", vision.num_hidden_layers);
    put!(vision, "num_attention_heads", vision.num_attention_heads);
    put!(vision, "image_size", vision.image_size);
    put!(vision, "patch_size", vision.patch_size);
    put!(vision, "layer_norm_eps", vision.layer_norm_eps);
    put!(vision, "hidden_act", vision.hidden_act, |v| json!(v.name()));
    put_back(document, "vision_config", map);

    let mut map = take(document, "text_config");
    let text = &mut map;
    if baseline.is_none() {
        text.insert("model_type".into(), json!("llama"));
        text.insert("hidden_act".into(), json!("silu"));
    }
    put!(text, "vocab_size", text.vocab_size);
    put!(text, "hidden_size", text.hidden_size);
    put!(text, "intermediate_size", text.intermediate_size);
    put!(text, "num_hidden_layers", text.num_hidden_layers);
    put!(text, "num_attention_heads", text.num_attention_heads);
    put!(text, "num_key_value_heads", text.num_key_value_heads);
    put!(text, "head_dim", text.head_dim);
    put!(text, "rms_norm_eps", text.rms_norm_eps);
    put!(text, "max_position_embeddings", text.max_position_embeddings);
    put!(text, "tie_word_embeddings", text.tie_word_embeddings);
    put!(text, "attention_bias", text.attention_bias);
    put!(text, "mlp_bias", text.mlp_bias);
    put!(text, "bos_token_id", text.bos_token_id);
    put!(text, "eos_token_id", text.eos_token_ids, |ids| one_or_many(ids));
    put!(text, "pad_token_id", text.pad_token_id);
    if baseline.is_none_or(|b| b.text.rope_theta.to_bits() != new.text.rope_theta.to_bits()) {
        // Releases before 5 read `rope_theta`, later ones `rope_parameters`.
        let theta = new.text.rope_theta;
        text.remove("rope_scaling");
        text.insert("rope_theta".into(), json!(theta));
        text.insert(
            "rope_parameters".into(),
            json!({ "rope_type": "default", "rope_theta": theta }),
        );
    }
    put_back(document, "text_config", map);
}

/// The object under `key`, an empty one where there is none.
fn take(document: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match document.get_mut(key).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Puts an object that was taken back into its place.
fn put_back(document: &mut Map<String, Value>, key: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        document.insert(key.to_owned(), Value::Object(map));
    }
}

/// Token ids as Hugging Face writes them: one as a number, several as a list, none as null.
pub(in crate::hf) fn one_or_many(ids: &[u32]) -> Value {
    match ids {
        [] => Value::Null,
        [one] => json!(one),
        many => json!(many),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hf::testing::fixture;
    use crate::hf::{Activation, TextConfig, VisionConfig, WeightFormat};

    fn original(name: &str) -> Value {
        let text = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_configuration_is_saved_as_it_was_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["llava-a", "llava-b"] {
            let config = ModelConfig::open(fixture(name)).unwrap();
            config.save(dir.path()).unwrap();
            let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), original(name));
            assert_eq!(ModelConfig::open(dir.path()).unwrap(), config);
        }
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut config = ModelConfig::open(fixture("llava-a")).unwrap();
        config.video_pooling = VideoPooling::SpatialTemporal;
        config.num_frames = Some(8);
        config.text.rope_theta = 1e6;
        config.text.eos_token_ids = vec![2, 9];
        config.vision.hidden_act = Activation::Gelu;
        let mut expected = original("llava-a");
        expected["video_pooling"] = json!("spatial_temporal");
        expected["num_frames"] = json!(8);
        expected["text_config"]["rope_theta"] = json!(1e6);
        expected["text_config"]["rope_parameters"] =
            json!({ "rope_type": "default", "rope_theta": 1e6 });
        expected["text_config"]["eos_token_id"] = json!([2, 9]);
        expected["vision_config"]["hidden_act"] = json!("gelu");
        let written = config.to_json();
        assert_eq!(written, expected);
        let again = ModelConfig::from_json(&written).unwrap();
        assert_eq!((again.vision, again.text), (config.vision, config.text));
        assert_eq!(again.video_pooling, VideoPooling::SpatialTemporal);
    }

    #[test]
    fn a_configuration_made_in_memory_reads_back() {
        let text = TextConfig {
            vocab_size: 50,
            hidden_size: 24,
            intermediate_size: 40,
            num_hidden_layers: 2,
            num_attention_heads: 3,
            num_key_value_heads: 1,
            head_dim: 8,
            rope_theta: 777.0,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_ids: vec![],
            pad_token_id: Some(0),
            ..TextConfig::default()
        };
        let mut config = ModelConfig::new(VisionConfig::large_336(), text, 3);
        config.multimodal_projector_bias = false;
        config.dtype = WeightFormat::Bf16;
        config.vision_feature_layer = -1;
        config.num_frames = Some(50);
        let mut again = ModelConfig::from_json(&config.to_json()).unwrap();
        again.document.clear();
        assert_eq!(again, config);
    }
}
