//! The original LLaVA layout: the same models as `llava-a` and `llava-b`, so that their golden
//! values hold (`tools/make_llava_original_fixtures.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rlaif_model::hf::{LlavaLayout, VideoPooling, Weights, open_checkpoint};
use rlaif_model::{
    LoadOptions, LoraConfig, Parameters, Vlm, attach_adapter, load, load_resolved, save,
    save_adapter,
};

use crate::support::{F32_SUMS, Golden, assert_close, fixture, host, logits, open, spliced};

/// Each with the fixture that holds the same tensors.
const TWINS: [(&str, &str); 2] = [("llava-original-a", "llava-a"), ("llava-original-b", "llava-b")];

/// Bits of every tensor by name; a bias of zeros is none.
fn bits(model: &Vlm) -> BTreeMap<String, Vec<u32>> {
    let mut out = BTreeMap::new();
    model.read(|name, slot| {
        let values = host(&slot.flat());
        if !(name.starts_with("multi_modal_projector") && values.iter().all(|v| *v == 0.0)) {
            out.insert(name.to_owned(), values.into_iter().map(f32::to_bits).collect());
        }
    });
    out
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

fn json(path: PathBuf) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

#[test]
fn the_logits_are_those_of_the_same_model_in_the_other_layout() {
    for (name, twin) in TWINS {
        let (mut model, golden) = (open(name), Golden::of(twin));
        assert!(bits(&model) == bits(&open(twin)), "{name}: other weights than {twin}");
        // The original layout has no token for a picture; the golden ids are the twin's.
        let image = open(twin).config.image_token_id;
        assert_eq!(model.config.image_token_id as usize, model.config.text.vocab_size);
        model.config.image_token_id = image;
        let pixels = golden.pixels();
        for (path, pooling) in
            [("plain", VideoPooling::None), ("pooled", VideoPooling::SpatialTemporal)]
        {
            model.set_video_pooling(pooling);
            let grid = model.vision.grid(&pixels).unwrap();
            let visual = model.visual_tokens(model.tower_features(&pixels), &[grid]);
            let ids = golden.ids(&format!("{path}.ids"));
            let got = logits(&model.decoder, spliced(&model, &ids, visual), 1);
            let expected = golden.floats(&format!("{path}.logits"));
            assert_close(&host(&got), &expected, F32_SUMS, &format!("{name} {path}"));
        }
    }
}

#[test]
fn a_checkpoint_is_saved_back_in_its_own_layout() {
    for (name, _) in TWINS {
        let model = open(name);
        let folder = tempfile::tempdir().unwrap();
        save(&model, folder.path()).unwrap();
        let saved = Weights::open(folder.path()).unwrap().stored_names();
        let saved: BTreeSet<&str> = saved.values().map(String::as_str).collect();
        let (_, found) = open_checkpoint(fixture(name), &|_| None).unwrap();
        let found = found.stored_names();
        let found: BTreeSet<&str> = found.values().map(String::as_str).collect();
        let others: Vec<&&str> = saved.symmetric_difference(&found).collect();
        // Only buffers, which are computed, are not there again.
        let buffer = |name: &str| name.ends_with("inv_freq") || name.ends_with("position_ids");
        assert!(!others.is_empty() && others.iter().all(|n| buffer(n)), "{name}: {others:?}");
        assert!(saved.contains("model.mm_projector.2.weight"));
        let tower = "model.vision_tower.vision_tower.vision_model.pre_layrnorm.weight";
        assert!(saved.contains(tower));
        // All keys as they were, and the tower's shape, which its name does not say.
        let mut config = json(folder.path().join("config.json"));
        let tower = config.as_object_mut().unwrap().remove("vision_config").unwrap();
        assert!(tower["patch_size"].as_u64() == Some(7));
        assert_eq!(config, json(fixture(name).join("config.json")), "{name}");

        let again = load(folder.path(), &Device::flex()).unwrap();
        assert_eq!(again.config, model.config);
        assert!(matches!(again.config.llava().unwrap().layout, LlavaLayout::Original { .. }));
        assert!(bits(&again) == bits(&model), "{name}: other weights");
    }
}

#[test]
fn an_adapter_is_named_as_the_original_code_names_its_modules() {
    let (name, device) = ("llava-original-a", Device::flex());
    let mut model = open(name);
    let lora = LoraConfig { r: 2, ..LoraConfig::default() };
    model.attach_lora(&lora, 3);
    let folder = tempfile::tempdir().unwrap();
    save_adapter(&model, &lora, Some(&fixture(name)), folder.path()).unwrap();
    let bytes = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let prefix = "base_model.model.model.layers.";
    assert!(file.names().len() == 28 && file.names().iter().all(|n| n.starts_with(prefix)));
    let config = json(folder.path().join("adapter_config.json"));
    let pattern = config["target_modules"].as_str().unwrap();
    assert!(pattern.starts_with(r".*model\.layers.*\.(down_proj|"), "{pattern}");
    let mut again = load(fixture(name), &device).unwrap();
    attach_adapter(&mut again, folder.path()).unwrap();
    assert!(bits(&again) == bits(&model));
}

#[test]
fn the_tower_is_found_within_the_folder_beside_it_or_where_the_caller_says() {
    let top = tempfile::tempdir().unwrap();
    let (folder, tower) = (top.path().join("llava"), top.path().join("llava/clip-tiny-b"));
    copy(&fixture("llava-original-b"), &folder);
    let expected = bits(&load(&folder, &Device::flex()).unwrap());

    let beside = top.path().join("clip-tiny-b");
    std::fs::rename(&tower, &beside).unwrap();
    assert!(bits(&load(&folder, &Device::flex()).unwrap()) == expected);

    let elsewhere = top.path().join("cache/snapshot");
    std::fs::create_dir(top.path().join("cache")).unwrap();
    std::fs::rename(&beside, &elsewhere).unwrap();
    let found = load_resolved(&folder, &Device::flex(), &LoadOptions::default(), &|name| {
        (name == "example/clip-tiny-b").then(|| elsewhere.clone())
    });
    assert!(bits(&found.unwrap()) == expected);

    // Neither its shape is known then, nor, where that is written down, its weights.
    let message = load(&folder, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("`mm_vision_tower` is \"example/clip-tiny-b\""), "{message}");
    let mut config = json(folder.join("config.json"));
    config["vision_config"] = json(elsewhere.join("config.json"))["vision_config"].take();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let message = load(&folder, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("hf download example/clip-tiny-b --local-dir"), "{message}");

    // A name cannot lead out of the two folders.
    config["mm_vision_tower"] = serde_json::json!("../../cache/..");
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    assert!(load(&folder, &Device::flex()).unwrap_err().to_string().contains("vision tower"));
}

#[test]
fn a_checkpoint_without_its_projector_is_refused() {
    let top = tempfile::tempdir().unwrap();
    copy(&fixture("llava-original-b"), top.path());
    std::fs::remove_file(top.path().join("mm_projector.bin")).unwrap();
    let message = load(top.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("missing: multi_modal_projector.linear_2.bias"), "{message}");
}
