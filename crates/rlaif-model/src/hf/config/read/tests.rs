use super::*;
use crate::hf::testing::fixture;
use crate::hf::{Activation, AttentionBias, LlavaConfig, TextConfig, VideoPooling, VisionConfig};

fn llava_of(config: &ModelConfig) -> &LlavaConfig {
    config.llava().unwrap()
}

/// The configuration of llava-hf/llava-1.5-7b-hf, which leaves most keys out.
fn llava_1_5() -> Value {
    json!({
        "architectures": ["LlavaForConditionalGeneration"],
        "ignore_index": -100,
        "image_token_index": 32000,
        "model_type": "llava",
        "pad_token_id": 32001,
        "projector_hidden_act": "gelu",
        "text_config": {
            "_name_or_path": "lmsys/vicuna-7b-v1.5",
            "architectures": ["LlamaForCausalLM"],
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "rms_norm_eps": 1e-05,
            "torch_dtype": "float16",
            "vocab_size": 32064
        },
        "tie_word_embeddings": false,
        "torch_dtype": "float16",
        "vision_config": {
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
            "vocab_size": 32000
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default"
    })
}

#[test]
fn absent_keys_take_the_defaults_of_transformers() {
    let config = model(&llava_1_5()).unwrap();
    let llava = llava_of(&config);
    assert_eq!(llava.vision, VisionConfig::large_336());
    assert_eq!(
        config.text,
        TextConfig {
            vocab_size: 32_064,
            max_position_embeddings: 4096,
            rms_norm_eps: 1e-5,
            pad_token_id: Some(32_001),
            ..TextConfig::default()
        }
    );
    assert_eq!((config.image_token_id, llava.vision_feature_layer), (32_000, -2));
    assert_eq!((llava.tower_layers(), llava.vision.patches()), (23, 576));
    assert_eq!((config.dtype, config.num_frames), (WeightFormat::F16, None));
    assert_eq!(llava.n_visual_tokens(50), 28_800);
    let pooled = LlavaConfig { video_pooling: VideoPooling::SpatialTemporal, ..llava.clone() };
    assert_eq!(pooled.n_visual_tokens(50), 626);
    let bare = model(&json!({ "model_type": "llava" })).unwrap();
    assert_eq!(llava_of(&bare).vision, VisionConfig::large_336());
    assert_eq!(bare.text, TextConfig::default());
    // `vision_config` as an object is CLIPVisionConfig(**object), as in transformers.
    let partial = json!({ "model_type": "llava", "vision_config": { "patch_size": 16 } });
    assert_eq!(llava_of(&model(&partial).unwrap()).vision.hidden_size, 768);
}

#[test]
fn the_fixtures_are_what_their_script_says() {
    let a = ModelConfig::open(fixture("llava-a")).unwrap();
    assert_eq!((a.text.num_attention_heads, a.text.num_key_value_heads), (4, 2));
    assert_eq!((a.text.head_dim, a.text.hidden_size), (8, 24));
    assert!((a.text.rope_theta - 5000.0).abs() < 1e-9 && a.text.tie_word_embeddings);
    let b = ModelConfig::open(fixture("llava-b")).unwrap();
    assert!(
        b.text.attention_bias == AttentionBias::All
            && b.text.mlp_bias
            && !llava_of(&b).multimodal_projector_bias
    );
    assert!(!b.text.tie_word_embeddings);
    let vision = &llava_of(&b).vision;
    assert_eq!((vision.hidden_act, vision.patches()), (Activation::Gelu, 4));
    assert_eq!((b.text.head_dim, b.text.num_key_value_heads), (6, 3));
}

#[test]
fn the_rotary_base_is_found_in_old_and_new_places() {
    for (text, theta) in [
        (json!({ "rope_theta": 5e5 }), 5e5),
        (json!({ "rope_theta": 5e5, "rope_scaling": null }), 5e5),
        (json!({ "rope_parameters": { "rope_theta": 7e4, "rope_type": "default" } }), 7e4),
        (json!({ "rope_theta": 9.0, "rope_parameters": { "rope_theta": 7e4 } }), 7e4),
        (json!({ "rope_theta": 9.0, "rope_scaling": { "type": "default" } }), 9.0),
        (json!({}), 1e4),
    ] {
        let config = model(&json!({ "model_type": "llava", "text_config": text })).unwrap();
        assert_eq!(config.text.rope_theta.to_bits(), f64::to_bits(theta), "{text}");
    }
}

/// The message for llava-1.5 with one key (a JSON pointer) replaced.
fn complaint(pointer: &str, value: Value) -> String {
    let mut document = llava_1_5();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    model(&document).unwrap_err().to_string()
}

#[test]
fn what_would_change_the_computation_is_refused_by_key() {
    for (pointer, value) in [
        ("/model_type", json!("llava_next")),
        ("/projector_hidden_act", json!("relu")),
        ("/vision_feature_select_strategy", json!("full")),
        ("/vision_feature_layer", json!([-2, -5])),
        ("/video_pooling", json!("max")),
        ("/dtype", json!("float8_e4m3fn")),
        ("/vision_config/model_type", json!("siglip_vision_model")),
        ("/vision_config/hidden_act", json!("relu")),
        ("/vision_config/num_channels", json!(1)),
        ("/text_config/model_type", json!("mistral")),
        ("/text_config/hidden_act", json!("gelu")),
        ("/text_config/rope_scaling/rope_type", json!("llama3")),
        ("/text_config/rope_parameters/factor", json!(2.0)),
        ("/text_config/partial_rotary_factor", json!(0.5)),
    ] {
        let mut start = pointer.to_owned();
        let value =
            if let Some(at) = pointer.find("rope_").filter(|_| pointer.matches('/').count() == 3) {
                let (object, key) = pointer[at..].split_once('/').unwrap();
                start = format!("/text_config/{object}");
                json!({ key: value })
            } else {
                value
            };
        let message = complaint(&start, value);
        let key = pointer.trim_start_matches('/').replace('/', ".");
        assert!(message.starts_with(&format!("`{key}` is ")), "{pointer}: {message}");
        assert!(message.contains("not supported"), "{message}");
    }
}

#[test]
fn absurd_and_contradictory_sizes_are_refused_by_key() {
    for (pointer, value, part) in [
        ("/text_config/hidden_size", json!(1_u64 << 60), "outside of 1 to"),
        ("/text_config/hidden_size", json!(1e300), "outside of 1 to"),
        ("/text_config/vocab_size", json!(-5), "outside of 1 to"),
        ("/text_config/num_hidden_layers", json!(0), "outside of 1 to"),
        ("/text_config/hidden_size", json!(4096.5), "expected a positive whole number"),
        ("/text_config/hidden_size", json!("4096"), "expected a positive whole number"),
        ("/text_config/rms_norm_eps", json!(0), "above zero"),
        ("/text_config/head_dim", json!(127), "is odd"),
        ("/text_config/num_key_value_heads", json!(5), "is not a multiple"),
        ("/text_config/num_attention_heads", json!(7), "is not a multiple"),
        ("/text_config/tie_word_embeddings", json!("yes"), "expected true or false"),
        ("/vision_config/num_attention_heads", json!(7), "is not a multiple"),
        ("/vision_config/patch_size", json!(337), "outside of 1 to 336"),
        ("/vision_config/image_size", json!([336, 336]), "expected a positive whole number"),
        ("/vision_feature_layer", json!(-26), "is not a layer"),
        ("/image_token_index", json!(-200), "expected a token id"),
        ("/vision_config", json!(3), "expected an object"),
    ] {
        let message = complaint(pointer, value);
        assert!(message.contains(part), "{pointer}: {message}");
    }
}

/// The configuration of Qwen/Qwen2.5-VL-3B-Instruct.
fn qwen2_5_vl_3b() -> Value {
    json!({
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": 151_643,
        "eos_token_id": 151_645,
        "vision_start_token_id": 151_652,
        "vision_end_token_id": 151_653,
        "vision_token_id": 151_654,
        "image_token_id": 151_655,
        "video_token_id": 151_656,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "initializer_range": 0.02,
        "intermediate_size": 11008,
        "max_position_embeddings": 128_000,
        "max_window_layers": 70,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": 16,
        "num_hidden_layers": 36,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1_000_000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "use_sliding_window": false,
        "vision_config": {
            "depth": 32,
            "hidden_act": "silu",
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "in_chans": 3,
            "out_hidden_size": 2048,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2,
            "temporal_patch_size": 2
        },
        "rope_scaling": { "type": "mrope", "mrope_section": [16, 24, 24] },
        "vocab_size": 151_936
    })
}

#[test]
fn the_hubs_qwen2_5_vl_reads_and_writes_back() {
    let config = model(&qwen2_5_vl_3b()).unwrap();
    let text = &config.text;
    assert_eq!((text.hidden_size, text.head_dim, text.num_key_value_heads), (2048, 128, 2));
    assert_eq!((text.rope_theta, text.mrope_section), (1e6, Some([16, 24, 24])));
    assert_eq!((text.attention_bias, text.tie_word_embeddings), (AttentionBias::Qkv, true));
    assert_eq!((config.image_token_id, config.dtype), (151_656, WeightFormat::Bf16));
    let Architecture::Qwen2_5Vl(vision) = &config.arch else { panic!("{:?}", config.arch) };
    assert_eq!((vision.tokens_per_second, vision.rope_theta), (2.0, 1e4));
    assert_eq!(config.to_json(), qwen2_5_vl_3b());
    // Only what changes is written, at the top, where the hub has it.
    let mut changed = config.clone();
    changed.text.eos_token_ids = vec![151_645, 151_643];
    let mut expected = qwen2_5_vl_3b();
    expected["eos_token_id"] = json!([151_645, 151_643]);
    assert_eq!(changed.to_json(), expected);
    // Made in memory, everything is written, the tower's base too.
    let mut fresh = config.clone();
    fresh.document.clear();
    if let Architecture::Qwen2_5Vl(vision) = &mut fresh.arch {
        vision.rope_theta = 777.0;
    }
    let mut again = model(&fresh.to_json()).unwrap();
    again.document.clear();
    assert_eq!(again, fresh);
    // Before release 5 the head was tied within `text_config`.
    let mut nested = fresh.to_json();
    nested["tie_word_embeddings"] = json!(false);
    nested["text_config"]["tie_word_embeddings"] = json!(true);
    assert!(model(&nested).unwrap().text.tie_word_embeddings);
}

#[test]
fn changed_sections_of_qwen2_5_vl_are_written() {
    let mut config = model(&qwen2_5_vl_3b()).unwrap();
    config.text.mrope_section = Some([20, 22, 22]);
    assert_eq!(model(&config.to_json()).unwrap().text, config.text);
}

#[test]
fn keys_that_qwen2_5_vl_cannot_use_are_named() {
    for (place, key, value, said) in [
        ("", "use_sliding_window", json!(true), "`use_sliding_window`"),
        ("", "head_dim", json!(64), "`text_config.head_dim`"),
        ("", "rope_scaling", json!({ "type": "yarn", "factor": 4 }), "`rope_scaling.type`"),
        ("", "rope_scaling", json!({ "type": "mrope", "mrope_section": [1, 2] }), "mrope_section`"),
        (
            "",
            "rope_scaling",
            json!({ "type": "mrope", "mrope_section": [1, 2, 3] }),
            "mrope_section`",
        ),
        ("vision_config", "rope_parameters", json!([]), "`vision_config.rope_parameters`"),
        ("vision_config", "rope_parameters", json!({ "rope_theta": "x" }), "rope_theta`"),
        ("vision_config", "rope_parameters", json!({ "rope_type": "yarn" }), "rope_type`"),
        ("vision_config", "fullatt_block_indexes", json!([-1]), "fullatt_block_indexes`"),
        ("vision_config", "window_size", json!(27), "`vision_config.window_size`"),
        ("vision_config", "num_heads", json!(7), "`vision_config.hidden_size`"),
        ("vision_config", "out_hidden_size", json!(9), "`vision_config.out_hidden_size`"),
    ] {
        let mut document = qwen2_5_vl_3b();
        let map = if place.is_empty() { &mut document } else { &mut document[place] };
        map[key] = value;
        let message = model(&document).unwrap_err().to_string();
        assert!(message.contains(said), "{key}: {message}");
    }
}
