//! `config.json`.

use serde_json::{Value, json};

use crate::support::{Case, case, replace, rewrite, set, write};

const FILE: &str = "config.json";
const HIDDEN: &str = "/text_config/hidden_size";

/// A case on one value of `llava-a`.
fn with(
    name: &'static str,
    pointer: &'static str,
    value: Value,
    expected: &'static [&'static str],
) -> Case {
    case(name, "llava-a", expected, move |folder| set(folder, FILE, pointer, value.clone()))
}

/// A case that spells a number as no JSON writer does.
fn spelt(name: &'static str, number: &'static str, expected: &'static [&'static str]) -> Case {
    case(name, "llava-a", expected, move |folder| {
        set(folder, FILE, "/text_config/rms_norm_eps", json!("HERE"));
        replace(folder, FILE, "\"HERE\"", number);
    })
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        spelt("NaN", "NaN", &[FILE, "not valid JSON"]),
        spelt("infinity", "Infinity", &[FILE, "not valid JSON"]),
        spelt("1e400", "1e400", &[FILE, "number out of range"]),
        spelt("a negative epsilon", "-1e-5", &[FILE, "rms_norm_eps", "above zero"]),
        with("a negative size", HIDDEN, json!(-24), &[FILE, "hidden_size` is -24"]),
        with("a size of 2^60", HIDDEN, json!(1_u64 << 60), &[FILE, "outside of 1 to"]),
        with("a size in words", HIDDEN, json!("24"), &[FILE, "hidden_size` is \"24\""]),
        with("a size of 24.5", HIDDEN, json!(24.5), &[FILE, "positive whole number"]),
        with("a size of null's sort", HIDDEN, json!([24]), &[FILE, "hidden_size` is [24]"]),
        with(
            "another size",
            HIDDEN,
            json!(1 << 19),
            &["model.norm.weight: [24], expected [524288]"],
        ),
        with(
            "4096 blocks",
            "/text_config/num_hidden_layers",
            json!(4096),
            &["missing: language_model.model.layers.4095.mlp.down_proj.weight"],
        ),
        with("5000 blocks", "/text_config/num_hidden_layers", json!(5000), &[FILE, "outside of"]),
        with("no heads", "/text_config/num_attention_heads", json!(0), &[FILE, "outside of 1"]),
        with("odd groups", "/text_config/num_key_value_heads", json!(3), &[FILE, "a multiple of"]),
        with("2^24 tokens", "/text_config/vocab_size", json!(1 << 24), &["expected [16777216"]),
        with("2^32 tokens", "/text_config/vocab_size", json!(1_u64 << 32), &[FILE, "outside of"]),
        with("no patches", "/vision_config/patch_size", json!(0), &[FILE, "patch_size` is 0"]),
        with("a patch beyond", "/vision_config/patch_size", json!(22), &[FILE, "patch_size"]),
        with("a layer beyond", "/vision_feature_layer", json!(-99), &[FILE, "is not a layer"]),
        with("a layer of 2^63", "/vision_feature_layer", json!(u64::MAX), &[FILE, "whole number"]),
        with("another model", "/model_type", json!("bert"), &[FILE, "`model_type` is \"bert\""]),
        with("a number for a model", "/model_type", json!(3), &[FILE, "`model_type` is 3"]),
        with("a list for a part", "/text_config", json!([]), &[FILE, "`text_config` is []"]),
        with("a negative token", "/image_token_index", json!(-7), &[FILE, "token id"]),
        with("a long text", "/model_type", json!("x".repeat(1 << 20)), &[FILE, "xxx..."]),
        case("a list", "llava-a", &[FILE, "expected an object"], |folder| {
            write(folder, FILE, "[]");
        }),
        case("nothing", "llava-a", &[FILE, "not valid JSON"], |folder| write(folder, FILE, "")),
        case("cut off", "llava-a", &[FILE, "not valid JSON"], |folder| {
            rewrite(folder, FILE, |bytes| bytes[..bytes.len() / 2].to_vec());
        }),
        case("no text", "llava-a", &[FILE, "not UTF-8"], |folder| write(folder, FILE, [0xFF; 40])),
        case("deep nesting", "llava-a", &[FILE, "recursion limit"], |folder| {
            write(folder, FILE, "[".repeat(1 << 20));
        }),
        case("deep objects", "llava-a", &[FILE, "recursion limit"], |folder| {
            write(folder, FILE, "{\"a\":".repeat(1 << 20));
        }),
        case("without end", "llava-a", &[FILE, "more than 8388608 bytes"], |folder| {
            write(folder, FILE, vec![b' '; 9 << 20]);
        }),
        case("missing", "llava-a", &[FILE, "cannot read"], |folder| {
            std::fs::remove_file(folder.join(FILE)).expect("the file");
        }),
        case("a tower elsewhere", "llava-original-a", &[FILE, "`mm_vision_tower` is"], |folder| {
            set(folder, FILE, "/mm_vision_tower", json!("../../../etc"));
        }),
        case("a linear projector", "llava-original-a", &[FILE, "mlp2x_gelu"], |folder| {
            set(folder, FILE, "/mm_projector_type", json!("linear"));
        }),
        case(
            "SmolVLM2 with a shuffle of no patch",
            "smolvlm-a",
            &["config.json", "scale_factor"],
            |folder| set(folder, "config.json", "/scale_factor", json!(0)),
        ),
        case(
            "Qwen2.5-VL with a merge of absurd size",
            "qwen2_5-vl-a",
            &["config.json", "vision_config.spatial_merge_size"],
            |folder| {
                set(folder, "config.json", "/vision_config/spatial_merge_size", json!(1_u64 << 60));
            },
        ),
        case(
            "Qwen2.5-VL with a tower of no heads",
            "qwen2_5-vl-a",
            &["config.json", "vision_config.num_heads"],
            |folder| set(folder, "config.json", "/vision_config/num_heads", json!(0)),
        ),
        case(
            "a tower whose heads do not divide its width",
            "llava-original-a",
            &["clip-tiny-a/config.json", "hidden_size"],
            |folder| {
                set(folder, "clip-tiny-a/config.json", "/num_attention_heads", json!(7));
            },
        ),
        case(
            "a tower of absurd size",
            "llava-original-a",
            &["clip-tiny-a/config.json", "patch_size"],
            |folder| {
                set(folder, "clip-tiny-a/config.json", "/patch_size", json!(1_u64 << 60));
            },
        ),
    ]
}
