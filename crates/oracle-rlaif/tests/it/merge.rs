//! `merge`: what it writes is base and adapter, equal to PEFT's.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use oracle_rlaif::folder::Folder;
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::hf::{VideoPooling, Weights};
use rlaif_model::{Parameters, Turn, Vlm, attach_adapter};

use crate::support::{ok, refused, text};

const FIXTURES: [&str; 6] =
    ["llava-a", "llava-b", "smolvlm-a", "smolvlm-b", "qwen2_5-vl-a", "qwen2_5-vl-b"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

fn merge(adapter: &Path, base: &Path, out: &Path) {
    ok(&["merge", "--adapter", text(adapter), "--base", text(base), "--out", text(out)]);
}

fn bits(model: &Vlm) -> Vec<(String, Vec<u32>)> {
    let mut out = Vec::new();
    model.read(|name, slot| {
        let values = slot.flat().into_data().iter::<f32>().map(f32::to_bits).collect();
        out.push((name.to_owned(), values));
    });
    out
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON")
}

/// A named tensor of a fixture's golden values: shape and bytes.
fn golden(name: &str, tensor: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(fixture(name).join("golden.safetensors")).expect("it is committed");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    let view = file.tensor(tensor).expect(tensor);
    (view.shape().to_vec(), view.data().to_vec())
}

fn golden_floats(name: &str, tensor: &str) -> Vec<f32> {
    let (_, bytes) = golden(name, tensor);
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Logits of every token of a fixture's prompt and answer, under `model`.
fn logits(model: &Vlm, name: &str) -> Vec<f32> {
    let (_, ids) = golden(name, "lora.ids");
    let ids: Vec<u32> = ids
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| u32::try_from(i64::from_le_bytes(*b)).expect("a token id"))
        .collect();
    let (shape, _) = golden(name, "pixel_values");
    let pixels = Pixels {
        frames: shape[0],
        height: shape[2],
        width: shape[3],
        values: golden_floats(name, "pixel_values"),
        digest: String::new(),
        video: VideoMetadata::default(),
    };
    let grid = model.vision.grid(&pixels).expect("frames of the tower's size");
    let visual = model.visual_tokens(model.tower_features(&pixels), &[grid]);
    let first = ids.iter().position(|id| *id == model.config.image_token_id).expect("a video");
    let end = first + visual.dims()[0];
    let decoder = &model.decoder;
    let embeds = Tensor::cat(
        vec![decoder.embed_tokens(&ids[..first]), visual, decoder.embed_tokens(&ids[end..])],
        0,
    );
    let prefix = decoder.prefill(embeds.clone().narrow(0, 0, 1), &[1]);
    let turn = Turn { prompt: 0, len: ids.len() - 1 };
    let rest = decoder.extend(&prefix, embeds.narrow(0, 1, ids.len() - 1), &[turn]);
    let states = Tensor::cat(vec![prefix.last_hidden, rest], 0);
    states.matmul(decoder.head().transpose()).to_data().iter::<f32>().collect()
}

#[test]
fn merged_weights_give_the_logits_of_peft() {
    for name in ["llava-a", "llava-b"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("merged");
        merge(&fixture(name).join("adapter"), &fixture(name), &out);
        let furthest = |path: &Path| {
            let mut model = Folder::open(path, &Device::flex()).unwrap().model;
            model.set_video_pooling(VideoPooling::SpatialTemporal);
            let (got, expected) = (logits(&model, name), golden_floats(name, "lora.logits"));
            assert_eq!(got.len(), expected.len(), "{name}");
            got.iter().zip(&expected).map(|(g, e)| (g - e).abs()).fold(0.0, f32::max)
        };
        assert!(furthest(&out) <= 1e-4, "{name}: {}", furthest(&out));
        assert!(furthest(&fixture(name)) > 0.1, "{name}: the adapter matters");
    }
}

#[test]
fn every_architecture_merges_into_a_checkpoint_of_its_own_kind() {
    for name in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("merged");
        merge(&fixture(name).join("adapter"), &fixture(name), &out);
        let mut model = rlaif_model::load(fixture(name), &Device::flex()).unwrap();
        attach_adapter(&mut model, fixture(name).join("adapter")).unwrap();
        let merged = Folder::open(&out, &Device::flex()).unwrap();
        assert_eq!(bits(&merged.model), bits(&model.merged()), "{name}");
        assert_eq!(json(&out.join("config.json")), json(&fixture(name).join("config.json")));
        let stored = |path: &Path| Weights::open(path).unwrap().stored_names();
        assert_eq!(stored(&out), stored(&fixture(name)), "{name}");
        let base = Folder::open(&fixture(name), &Device::flex()).unwrap();
        assert_eq!(merged.processor, base.processor, "{name}");
        assert_eq!(merged.generation, base.generation, "{name}");
        assert_eq!(
            std::fs::read(out.join("tokenizer.json")).unwrap(),
            std::fs::read(fixture(name).join("tokenizer.json")).unwrap(),
            "{name}"
        );
        assert!(!out.join("adapter_config.json").exists(), "{name}");
        // Without it the processor of `transformers` cannot count LLaVA's visual tokens.
        let processor = "processor_config.json";
        if fixture(name).join(processor).exists() {
            let (mut got, mut expected) =
                (json(&out.join(processor)), json(&fixture(name).join(processor)));
            for whole in [&mut got, &mut expected] {
                // The same settings, but with the defaults written out.
                whole["image_processor"].take();
            }
            assert_eq!(got, expected, "{name}");
        }
    }
}

/// The fixture's adapter with another base in its configuration.
fn adapter_on(base: &str, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    let of = fixture("llava-a").join("adapter");
    std::fs::copy(of.join("adapter_model.safetensors"), folder.join("adapter_model.safetensors"))
        .expect("the weights are copied");
    let mut config = json(&of.join("adapter_config.json"));
    config["base_model_name_or_path"] = base.into();
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).expect("written");
}

#[test]
fn the_base_is_the_one_that_the_adapter_names() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, out) = (folder.path().join("adapter"), folder.path().join("out"));
    adapter_on(text(&fixture("llava-a")), &adapter);
    ok(&["merge", "--adapter", text(&adapter), "--out", text(&out)]);
    let open = |path: &Path| bits(&Folder::open(path, &Device::flex()).unwrap().model);
    assert_eq!(open(&out), open(&adapter));
    assert_ne!(open(&out), open(&fixture("llava-a")));
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    adapter_on(text(&fixture("llava-a")), &at("whole"));
    adapter_on("gone/nowhere/else", &at("lost"));
    adapter_on(".", &at("itself"));
    adapter_on("", &at("nameless"));
    adapter_on(text(&fixture("llava-b")), &at("foreign"));
    std::fs::create_dir(at("there")).unwrap();
    for (adapter, out, part) in [
        (at("whole"), "there", "is there already"),
        (fixture("llava-a"), "out", "holds no adapter"),
        (at("lost"), "out", "`--base` names another"),
        (at("itself"), "out", "is an adapter itself"),
        (at("nameless"), "out", "does not say whose it is"),
        (at("foreign"), "out", "adapter"),
    ] {
        let message = refused(&["merge", "--adapter", text(&adapter), "--out", text(&at(out))]);
        assert!(message.contains(part), "{part}: {message}");
        assert!(!at("out").exists() && std::fs::read_dir(at("there")).unwrap().next().is_none());
    }
}
