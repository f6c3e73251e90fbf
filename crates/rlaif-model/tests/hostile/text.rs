//! Tokenizer, chat template, generation settings and adapter.

use serde_json::{Value, json};

use crate::support::{Case, case, fixture, header, rewrite, set, write};

const TOKENIZER: &str = "tokenizer.json";
const GENERATION: &str = "generation_config.json";
const ADAPTER: &str = "adapter/adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter/adapter_model.safetensors";

fn tokenizer(name: &'static str, text: &'static str, expected: &'static [&'static str]) -> Case {
    case(name, "llava-a", expected, move |folder| write(folder, TOKENIZER, text))
}

fn generation(
    name: &'static str,
    key: &'static str,
    value: Value,
    expected: &'static [&'static str],
) -> Case {
    case(name, "llava-a", expected, move |folder| {
        set(folder, GENERATION, &format!("/{key}"), value.clone());
    })
}

fn adapter(
    name: &'static str,
    key: &'static str,
    value: Value,
    expected: &'static [&'static str],
) -> Case {
    case(name, "llava-a", expected, move |folder| {
        set(folder, ADAPTER, &format!("/{key}"), value.clone());
    })
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("another model's tokenizer", "llava-b", &["do not belong together"], |folder| {
            for file in [TOKENIZER, "chat_template.jinja"] {
                std::fs::copy(fixture("llava-a").join(file), folder.join(file)).expect("a copy");
            }
            set(folder, "config.json", "/image_token_index", json!(4));
        }),
        tokenizer("a nonsense tokenizer", r#"{"version": 3}"#, &[TOKENIZER]),
        tokenizer("a list for a tokenizer", "[1, 2, 3]", &[TOKENIZER]),
        tokenizer("no tokenizer", "", &[TOKENIZER]),
        tokenizer("deep nesting", r#"{"model": [[[[[[[[[[[[]]]]]]]]]]]]}"#, &[TOKENIZER]),
        case("tokenizer cut off", "llava-a", &[TOKENIZER], |folder| {
            rewrite(folder, TOKENIZER, |bytes| bytes[..bytes.len() / 2].to_vec());
        }),
        case("tokenizer without a model", "llava-a", &[TOKENIZER], |folder| {
            set(folder, TOKENIZER, "/model", json!({}));
        }),
        case("tokenizer of another kind", "llava-a", &[TOKENIZER], |folder| {
            set(folder, TOKENIZER, "/model/type", json!("Oracle"));
        }),
        case("merges of what is not there", "llava-a", &[TOKENIZER], |folder| {
            set(folder, TOKENIZER, "/model/merges", json!([["no such", "piece"]]));
        }),
        case(
            "a frame of tokens that are not there",
            "llava-a",
            &[TOKENIZER, "fails on"],
            |folder| {
                set(folder, TOKENIZER, "/post_processor/special_tokens", json!({}));
            },
        ),
        case("a token of 2^32 - 1", "llava-a", &["4294967296 tokens"], |folder| {
            set(folder, TOKENIZER, "/model/vocab/a", json!(u32::MAX));
        }),
        case("a token of 2^60", "llava-a", &[TOKENIZER], |folder| {
            set(folder, TOKENIZER, "/model/vocab/a", json!(1_u64 << 60));
        }),
        case("a template that never ends", "llava-a", &["chat template"], |folder| {
            let endless = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}";
            write(folder, "chat_template.jinja", endless);
        }),
        case("a template that takes for ever", "llava-a", &["chat template"], |folder| {
            let ever = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}\
                        {% endfor %}";
            write(folder, "chat_template.jinja", ever);
        }),
        case("a template that writes a gigabyte", "llava-a", &["chat template"], |folder| {
            write(folder, "chat_template.jinja", "{{ 'x' * 1000000000 }}");
        }),
        case("a template that is broken", "llava-a", &["chat template"], |folder| {
            write(folder, "chat_template.jinja", "{% for %}");
        }),
        case("a template without a place", "llava-a", &["chat template"], |folder| {
            write(folder, "chat_template.jinja", "hello");
        }),
        case("broken settings", "llava-a", &["tokenizer_config.json", "not an object"], |folder| {
            write(folder, "tokenizer_config.json", "[]");
        }),
        case("a broken SentencePiece file", "llava-a", &["tokenizer.model", "cut off"], |folder| {
            std::fs::remove_file(folder.join(TOKENIZER)).expect("the file");
            write(folder, "tokenizer.model", [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        }),
        generation("an end token of 2^40", "eos_token_id", json!(1_u64 << 40), &[GENERATION]),
        generation("a negative length", "max_new_tokens", json!(-1), &[GENERATION]),
        generation("a length of 2^60", "max_new_tokens", json!(1_u64 << 60), &[GENERATION]),
        generation("a negative temperature", "temperature", json!(-1.0), &[GENERATION]),
        generation("a mass of 7", "top_p", json!(7), &[GENERATION, "`top_p` is 7"]),
        generation("a sampler in words", "do_sample", json!("yes"), &[GENERATION, "do_sample"]),
        case("generation settings of 1e400", "llava-a", &[GENERATION], |folder| {
            write(folder, GENERATION, r#"{"temperature": 1e400}"#);
        }),
        adapter("rank 2^40", "r", json!(1_u64 << 40), &[ADAPTER, "`r` is 1099511627776"]),
        adapter("rank 65536", "r", json!(1 << 16), &["is [4, 24], the model takes [65536, 24]"]),
        adapter("rank 0", "r", json!(0), &[ADAPTER, "`r` is 0"]),
        adapter("scale in words", "lora_alpha", json!("x"), &[ADAPTER, "`lora_alpha` is \"x\""]),
        adapter("another kind", "peft_type", json!("IA3"), &[ADAPTER, "peft_type"]),
        case("adapter cut off", "llava-a", &[ADAPTER_WEIGHTS, "cut off"], |folder| {
            rewrite(folder, ADAPTER_WEIGHTS, |bytes| bytes[..bytes.len() - 1].to_vec());
        }),
        case("adapter for other layers", "llava-a", &["has no place in the model"], |folder| {
            header(folder, ADAPTER_WEIGHTS, |header| header.replace("layers.1.", "layers.9."));
        }),
        case("adapter by pickle", "llava-a", &["adapter_model.bin", "posix.system"], |folder| {
            std::fs::remove_file(folder.join(ADAPTER_WEIGHTS)).expect("the file");
            let evil = fixture("torch/system.bin");
            std::fs::copy(evil, folder.join("adapter/adapter_model.bin")).expect("a copy");
        }),
    ]
}
