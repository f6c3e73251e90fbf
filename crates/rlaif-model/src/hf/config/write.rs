//! From a [`ModelConfig`] to the keys of `config.json`.

use serde_json::{Map, Value, json};

use super::{Architecture, ModelConfig, llava, qwen, read, smolvlm, text};

/// The document that `config` was read from with the fields changed since; a whole one where it
/// was made in memory.
pub(super) fn document(config: &ModelConfig) -> Value {
    let mut document = config.document.clone();
    let baseline =
        read::model(&Value::Object(document.clone())).ok().filter(|_| !document.is_empty());
    write_fields(config, baseline.as_ref(), &mut document);
    Value::Object(document)
}

/// Puts `value` under each of `keys` unless `old` says that nothing has changed.
pub(super) fn put_value<T: PartialEq>(
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

/// Puts a field of `new` under its keys unless it is the same in `old`.
macro_rules! put {
    ($map:expr, $new:ident, $old:ident, $($key:literal)|+, $($field:ident).+, $value:expr) => {
        super::write::put_value(
            $map,
            &[$($key),+],
            &$new.$($field).+,
            $old.map(|old| &old.$($field).+),
            $value,
        )
    };
    ($map:expr, $new:ident, $old:ident, $key:literal, $($field:ident).+) => {
        put!($map, $new, $old, $key, $($field).+, |v| json!(v))
    };
}
pub(super) use put;

/// Writes each field that differs from `baseline`, all of them without one.
fn write_fields(
    new: &ModelConfig,
    baseline: Option<&ModelConfig>,
    document: &mut Map<String, Value>,
) {
    match &new.arch {
        Architecture::Llava(arch) => llava::write(new, arch, baseline, document),
        Architecture::SmolVlm(arch) => smolvlm::write(new, arch, baseline, document),
        Architecture::Qwen2_5Vl(arch) => qwen::write(new, arch, baseline, document),
    }
    // Old releases read `torch_dtype`, new ones `dtype`.
    put!(document, new, baseline, "dtype" | "torch_dtype", dtype, |v| json!(v.name()));
    put!(document, new, baseline, "tie_word_embeddings", text.tie_word_embeddings);
    if baseline.is_some() || new.num_frames.is_some() {
        put!(document, new, baseline, "num_frames", num_frames);
    }
    let qwen = matches!(new.arch, Architecture::Qwen2_5Vl(_));
    let flat = qwen && baseline.is_some() && !document.contains_key("text_config");
    if flat || new.is_flat() {
        // The hub's layout, or the original LLaVA code's: the decoder's keys stand at the top.
        return text::write(&new.text, baseline.map(|b| &b.text), document);
    }
    let mut map = take(document, "text_config");
    if baseline.is_none() {
        let kind = if qwen { "qwen2_5_vl_text" } else { "llama" };
        map.insert("model_type".into(), json!(kind));
        map.insert("hidden_act".into(), json!("silu"));
    }
    text::write(&new.text, baseline.map(|b| &b.text), &mut map);
    put_back(document, "text_config", map);
}

/// The object under `key`, an empty one where there is none.
pub(super) fn take(document: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match document.get_mut(key).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Puts an object that was taken back into its place.
pub(super) fn put_back(document: &mut Map<String, Value>, key: &str, map: Map<String, Value>) {
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
    use crate::hf::{
        Activation, LlavaConfig, TextConfig, VideoPooling, VisionConfig, WeightFormat,
    };

    fn llava_mut(config: &mut ModelConfig) -> &mut LlavaConfig {
        match &mut config.arch {
            Architecture::Llava(llava) => llava,
            other => panic!("{other:?}"),
        }
    }

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
        config.set_video_pooling(VideoPooling::SpatialTemporal);
        config.num_frames = Some(8);
        config.text.rope_theta = 1e6;
        config.text.eos_token_ids = vec![2, 9];
        llava_mut(&mut config).vision.hidden_act = Activation::Gelu;
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
        assert_eq!((again.arch, again.text), (config.arch, config.text));
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
        llava_mut(&mut config).multimodal_projector_bias = false;
        config.dtype = WeightFormat::Bf16;
        llava_mut(&mut config).vision_feature_layer = -1;
        config.num_frames = Some(50);
        let mut again = ModelConfig::from_json(&config.to_json()).unwrap();
        again.document.clear();
        assert_eq!(again, config);
    }
}
