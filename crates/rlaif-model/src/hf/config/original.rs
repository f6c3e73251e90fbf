//! `config.json` of the original LLaVA code, `LlavaLlamaForCausalLM`: Llama's keys at the top, the
//! vision side in `mm_*`.
//!
//! After `llava/model/` of haotian-liu/LLaVA 1.1.3 and of yonseivnl/vlm-rlaif. The tower is only
//! named, never described. [`complete`] fills in what `vision_config` says in the other layout:
//! from the table below, or from the tower's own folder. A `vision_config` that stands in the
//! document goes before both; the original code passes over it.
//!
//! The vocabulary has no token for a picture (the code splits the text at `<image>` and puts -200
//! there), so the token that marks the place lies one beyond it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::llava::{self, LlavaConfig, LlavaLayout, VisionConfig};
use super::read::{dtype, num_frames};
use super::write::put;
use super::{Architecture, ConfigError, ModelConfig, text};
use crate::hf::fields::{FieldError, Fields};
use crate::hf::files::read_json;
use crate::hf::llava_tower::{ResolveTower, find_tower};

const CLASS: &str = "LlavaLlamaForCausalLM";
const NAMED: &str = "a tower known by name (openai/clip-vit-large-patch14-336, \
                     openai/clip-vit-large-patch14), one whose folder with its config.json lies in \
                     the checkpoint's folder or beside it, or a `vision_config`";

/// Towers whose shape their name says.
fn known_tower(name: &str) -> Option<VisionConfig> {
    match name {
        "openai/clip-vit-large-patch14-336" => Some(VisionConfig::large_336()),
        "openai/clip-vit-large-patch14" => {
            Some(VisionConfig { image_size: 224, ..VisionConfig::large_336() })
        }
        _ => None,
    }
}

/// Whether a document is of this layout. Its `model_type` may be `transformers`' own `llava`.
pub(super) fn is_original(root: Fields<'_>) -> bool {
    let class = root.get("architectures").and_then(Value::as_array);
    let class = class.is_some_and(|list| list.iter().any(|name| name == CLASS));
    let kind = root.get("model_type").and_then(Value::as_str);
    class || kind == Some("llava_llama") || root.has("mm_vision_tower") && !root.has("text_config")
}

/// [`is_original`] of a document of any kind.
pub(in crate::hf) fn is_original_llava(value: &Value) -> bool {
    Fields::root(value).is_ok_and(is_original)
}

/// Puts the `vision_config` of a tower that is not known by name into the document.
pub(super) fn complete(
    value: &mut Value,
    dir: &Path,
    resolve: ResolveTower,
) -> Result<(), ConfigError> {
    let Ok(root) = Fields::root(value) else { return Ok(()) };
    let name = root.get("mm_vision_tower").and_then(Value::as_str).unwrap_or_default();
    if !is_original(root) || root.has("vision_config") || known_tower(name).is_some() {
        return Ok(());
    }
    let Some(folder) = find_tower(dir, name, resolve) else { return Ok(()) };
    let path = folder.join("config.json");
    let tower = read_json(&path)?;
    let field = |source| ConfigError::Field { path: path.clone(), source };
    let fields = Fields::root(&tower).map_err(field)?;
    // A whole CLIP, or its vision side alone.
    let vision = fields.object("vision_config").map_err(field)?.unwrap_or(fields);
    llava::clip(vision).and_then(|vision| llava::validate_tower(&vision)).map_err(field)?;
    let described = fields.get("vision_config").unwrap_or(&tower).clone();
    if let Value::Object(document) = value {
        document.insert("vision_config".to_owned(), described);
    }
    Ok(())
}

/// Reads a document of this layout.
pub(super) fn model(root: Fields<'_>) -> Result<ModelConfig, FieldError> {
    if let Some(kind) = root.get("model_type")
        && kind != "llava"
        && kind != "llava_llama"
    {
        return Err(root.unsupported("model_type", kind, "\"llava\", \"llava_llama\""));
    }
    for (key, value, supported) in [
        ("mm_projector_type", json!("mlp2x_gelu"), "\"mlp2x_gelu\""),
        ("mm_vision_select_feature", json!("patch"), "\"patch\""),
        ("mm_patch_merge_type", json!("flat"), "\"flat\""),
        ("mm_use_im_start_end", json!(false), "false"),
        ("mm_use_im_patch_token", json!(false), "false"),
    ] {
        root.only(key, &value, supported)?;
    }
    if root.get("mm_projector_type").is_none() {
        // What the original code takes then.
        return Err(root.unsupported("mm_projector_type", &json!("linear"), "\"mlp2x_gelu\""));
    }
    match root.text("image_aspect_ratio")? {
        None | Some("pad" | "square") => {}
        Some(other) => {
            let supported = "\"pad\", \"square\"";
            return Err(root.unsupported("image_aspect_ratio", &json!(other), supported));
        }
    }
    let tower = root.text("mm_vision_tower")?.unwrap_or_default().to_owned();
    let vision = match (root.object("vision_config")?, known_tower(&tower)) {
        (Some(fields), _) => llava::clip(fields)?,
        (None, Some(known)) => known,
        (None, None) => return Err(root.unsupported("mm_vision_tower", &json!(tower), NAMED)),
    };
    let width = root.size("mm_hidden_size", vision.hidden_size, super::read::MAX_WIDTH)?;
    if width != vision.hidden_size {
        return Err(FieldError::Inconsistent {
            key: "mm_hidden_size".to_owned(),
            problem: format!("({width}) is not the width of the tower ({})", vision.hidden_size),
        });
    }
    let arch = LlavaConfig {
        layout: LlavaLayout::Original { tower },
        vision,
        vision_feature_layer: root.integer("mm_vision_select_layer", -2)?,
        multimodal_projector_bias: true,
        video_pooling: llava::video_pooling(root)?,
    };
    let text = text::read(root, &text::TextConfig::default())?;
    Ok(ModelConfig {
        image_token_id: u32::try_from(text.vocab_size).unwrap_or(u32::MAX),
        arch: Architecture::Llava(arch),
        text,
        num_frames: num_frames(root)?,
        dtype: dtype(root)?,
        document: Map::new(),
    })
}

/// Writes what differs from `old`, everything without one.
pub(super) fn write(
    new: &LlavaConfig,
    old: Option<&LlavaConfig>,
    document: &mut Map<String, Value>,
) {
    let LlavaLayout::Original { tower } = &new.layout else { return };
    if old.is_none() {
        document.insert("architectures".into(), json!([CLASS]));
        document.insert("model_type".into(), json!("llava"));
        document.insert("mm_vision_tower".into(), json!(tower));
        document.insert("mm_projector_type".into(), json!("mlp2x_gelu"));
        document.insert("mm_vision_select_feature".into(), json!("patch"));
        document.insert("use_mm_proj".into(), json!(true));
    }
    put!(document, new, old, "mm_hidden_size", vision.hidden_size);
    put!(document, new, old, "mm_vision_select_layer", vision_feature_layer);
    if old.is_some() || new.video_pooling != llava::VideoPooling::None {
        put!(document, new, old, "video_pooling", video_pooling, |v| json!(v.name()));
    }
    if known_tower(tower).as_ref() != Some(&new.vision) {
        llava::write_vision(new, old, document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `vlm_sft_video_llava_7b` should hold, after the conventions of LLaVA-1.5.
    fn vlm_sft_7b() -> Value {
        json!({
            "architectures": [CLASS], "model_type": "llava", "hidden_size": 4096,
            "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "vocab_size": 32000, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 4096, "rope_scaling": null, "hidden_act": "silu",
            "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
            "torch_dtype": "float16", "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "mm_hidden_size": 1024, "mm_projector_type": "mlp2x_gelu",
            "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
            "mm_use_im_start_end": false, "mm_use_im_patch_token": false,
            "image_aspect_ratio": "pad", "use_mm_proj": true, "tune_mm_mlp_adapter": false,
            "freeze_mm_mlp_adapter": false, "image_grid_pinpoints": null, "pretraining_tp": 1,
        })
    }

    #[test]
    fn the_keys_of_llava_1_5_are_read_and_left_alone() {
        let mut config = ModelConfig::from_json(&vlm_sft_7b()).unwrap();
        let llava = config.llava().unwrap().clone();
        assert_eq!(llava.vision, VisionConfig::large_336());
        assert_eq!(llava.vision.hidden_act, crate::hf::Activation::QuickGelu);
        assert_eq!((llava.vision_feature_layer, llava.multimodal_projector_bias), (-2, true));
        assert_eq!((config.text.intermediate_size, config.text.head_dim), (11_008, 128));
        assert_eq!((config.image_token_id, config.num_frames), (32_000, None));
        assert_eq!(config.dtype, crate::hf::WeightFormat::F16);
        assert_eq!(config.to_json(), vlm_sft_7b());
        // 686 tensors and 6.7 + 0.3 billion parameters: the published checkpoint has them.
        let expected = crate::hf::expected_tensors(&config);
        let parameters: usize = expected.iter().map(|(_, s)| s.iter().product::<usize>()).sum();
        assert_eq!((expected.len(), parameters), (686, 7_062_902_784));

        config.set_video_pooling(llava::VideoPooling::SpatialTemporal);
        assert_eq!(config.llava().unwrap().n_visual_tokens(50), 626);
        let mut expected = vlm_sft_7b();
        expected["video_pooling"] = json!("spatial_temporal");
        assert_eq!(config.to_json(), expected);
        assert_eq!(ModelConfig::from_json(&expected).unwrap().llava(), config.llava());
    }

    #[test]
    fn what_the_original_code_would_compute_otherwise_is_refused_by_key() {
        for (key, value, expected) in [
            ("mm_projector_type", json!("linear"), "\"mlp2x_gelu\""),
            ("mm_projector_type", Value::Null, "`mm_projector_type` is \"linear\""),
            ("mm_vision_select_feature", json!("cls_patch"), "\"patch\""),
            ("mm_use_im_start_end", json!(true), "false"),
            ("image_aspect_ratio", json!("anyres"), "\"pad\""),
            ("mm_hidden_size", json!(768), "(768) is not the width of the tower (1024)"),
            ("mm_vision_tower", json!("google/siglip"), "a tower known by name"),
            ("mm_vision_tower", json!(3), "`mm_vision_tower` is 3"),
            ("mm_vision_select_layer", json!(-26), "is not a layer of a tower of 24"),
            ("model_type", json!("llava_mpt"), "\"llava_llama\""),
            ("rope_scaling", json!({ "type": "linear", "factor": 2.0 }), "rope_scaling.type"),
            ("hidden_size", json!("wide"), "`hidden_size` is \"wide\""),
        ] {
            let mut document = vlm_sft_7b();
            document[key] = value;
            let error = ModelConfig::from_json(&document).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_layout_is_known_by_class_type_or_tower() {
        let mut document = vlm_sft_7b();
        for (key, value) in [
            ("architectures", json!(["LlamaForCausalLM"])),
            ("model_type", json!("llava_llama")),
            ("architectures", Value::Null),
        ] {
            document[key] = value;
            assert!(ModelConfig::from_json(&document).is_ok(), "{document}");
        }
        let ours = ModelConfig::new(VisionConfig::default(), crate::hf::TextConfig::default(), 3);
        assert!(!is_original(Fields::root(&ours.to_json()).unwrap()));
    }
}
