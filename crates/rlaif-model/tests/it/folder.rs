//! Folders written and read again, and folders that are refused.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use rlaif_model::hf::{
    ModelConfig, TextConfig, VisionConfig, Weights, expected_tensors, write_weights,
};
use rlaif_model::{LoraConfig, Parameters, Vlm, load, save};

use crate::support::{FIXTURES, fixture, host, open};

/// Name, shape and bits of every tensor.
fn bits(model: &Vlm) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let mut out = Vec::new();
    model.read(|name, slot| {
        let bits = host(&slot.flat()).into_iter().map(f32::to_bits).collect();
        out.push((name.to_owned(), slot.shape(), bits));
    });
    out
}

fn reopen(folder: &Path) -> Vlm {
    load(folder, &Device::flex()).expect("a folder that was just written")
}

#[test]
fn a_saved_model_reopens_with_the_same_bits_and_the_same_configuration() {
    for name in FIXTURES {
        let model = open(name);
        let folder = tempfile::tempdir().unwrap();
        save(&model, folder.path()).unwrap();
        let again = reopen(folder.path());
        assert_eq!(again.config, model.config, "{name}");
        assert!(bits(&again) == bits(&model), "{name}: other weights");
        // Not only to this crate: the file itself says what the original's says.
        let json = |folder: &Path| -> serde_json::Value {
            let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let (old, new) = (json(&fixture(name)), json(folder.path()));
        for (key, value) in old.as_object().unwrap() {
            assert_eq!(new.get(key), Some(value), "{name}: {key}");
        }
    }
}

fn small() -> ModelConfig {
    let vision = VisionConfig {
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 8,
        patch_size: 4,
        ..VisionConfig::default()
    };
    let text = TextConfig {
        vocab_size: 19,
        hidden_size: 12,
        intermediate_size: 20,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 6,
        tie_word_embeddings: true,
        ..TextConfig::default()
    };
    ModelConfig::new(vision, text, 3)
}

#[test]
fn a_model_from_nothing_is_fixed_by_its_seed_and_survives_a_save() {
    let device = Device::flex();
    let model = rlaif_model::init(&small(), 7, &device);
    assert!(bits(&model) == bits(&rlaif_model::init(&small(), 7, &device)));
    assert!(bits(&model) != bits(&rlaif_model::init(&small(), 8, &device)));
    let folder = tempfile::tempdir().unwrap();
    save(&model, folder.path()).unwrap();
    let mut again = reopen(folder.path());
    assert!(bits(&again) == bits(&model));
    // What was made in memory has no document yet; everything else is the same.
    again.config.document.clear();
    assert_eq!(again.config, model.config);
}

#[test]
fn saving_puts_adapters_into_the_weights() {
    let mut model = rlaif_model::init(&small(), 7, &Device::flex());
    model.attach_lora(&LoraConfig { r: 2, ..LoraConfig::default() }, 3);
    model.walk("", &mut |name, mut slot| {
        if name.contains("lora_B") {
            let flat = slot.flat();
            slot.set_flat(Tensor::full(flat.dims(), 0.25, &flat.device()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    save(&model, folder.path()).unwrap();
    let again = bits(&reopen(folder.path()));
    assert!(again == bits(&model.merged()));
    assert!(again != bits(&model.without_lora()));
    assert!(bits(&model).len() > again.len(), "the model in memory keeps its adapters");
}

/// Writes the fixture's weights anew, each as `change` leaves it.
fn rewritten(
    name: &str,
    change: impl Fn(&str, Vec<usize>, Vec<f32>) -> Option<(String, Vec<usize>, Vec<f32>)>,
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = ModelConfig::open(fixture(name)).expect("the fixture opens");
    config.save(folder.path()).expect("config.json");
    let weights = Weights::open(fixture(name)).expect("the fixture's weights");
    let tensors = expected_tensors(&config).into_iter().filter_map(|(name, _)| {
        let (shape, values) = weights.tensor(&name).expect("it is expected");
        change(&name, shape, values)
    });
    write_weights(folder.path(), config.dtype, tensors).expect("model.safetensors");
    folder
}

fn refusal(folder: &Path) -> String {
    load(folder, &Device::flex()).expect_err("it must not load").to_string()
}

#[test]
fn all_missing_unknown_and_misshapen_tensors_are_named_at_once() {
    for name in FIXTURES {
        let folder = rewritten(name, |name, mut shape, mut values| match name {
            "multi_modal_projector.linear_2.weight"
            | "language_model.model.layers.1.mlp.up_proj.weight" => None,
            "language_model.model.layers.0.self_attn.k_proj.weight" => {
                values.truncate(values.len() - shape[1]);
                shape[0] -= 1;
                Some((name.to_owned(), shape, values))
            }
            "language_model.model.norm.weight" => {
                Some(("language_model.model.final_norm.weight".to_owned(), shape, values))
            }
            _ => Some((name.to_owned(), shape, values)),
        });
        let message = refusal(folder.path());
        for part in [
            "missing: multi_modal_projector.linear_2.weight",
            "missing: language_model.model.layers.1.mlp.up_proj.weight",
            "missing: language_model.model.norm.weight",
            "unknown: language_model.model.final_norm.weight",
            "shape of language_model.model.layers.0.self_attn.k_proj.weight: [",
        ] {
            assert!(message.contains(part), "{name}: no `{part}` in {message}");
        }
        assert!(!message.contains("layers.0.mlp"), "{name}: {message}");
    }
}

#[test]
fn a_transposed_matrix_of_the_right_size_is_refused() {
    let folder = rewritten("llava-a", |name, mut shape, values| {
        if name == "language_model.model.layers.0.mlp.down_proj.weight" {
            shape.reverse();
        }
        Some((name.to_owned(), shape, values))
    });
    let message = refusal(folder.path());
    let expected = "layers.0.mlp.down_proj.weight: [40, 24], expected [24, 40]";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_shard_that_is_missing_or_cut_off_is_named() {
    let copy = || {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture("llava-b")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        folder
    };
    let shard = "model-00002-of-00004.safetensors";
    let folder = copy();
    let bytes = std::fs::read(folder.path().join(shard)).unwrap();
    std::fs::write(folder.path().join(shard), &bytes[..bytes.len() - 8]).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(shard) && message.contains("cut off"), "{message}");
    std::fs::remove_file(folder.path().join(shard)).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(shard), "{message}");
}
