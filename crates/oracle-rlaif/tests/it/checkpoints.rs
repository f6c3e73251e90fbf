//! Checkpoints that `transformers` wrote go through the commands and come out as they went in:
//! supervised fine-tuning, ranked training beside packed weights, generation.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use oracle_rlaif::folder::Folder;
use rlaif_model::hf::Weights;
use serde_json::Value;

use crate::support::{ok, text};

const FIXTURES: [&str; 4] = ["smolvlm-a", "smolvlm-b", "qwen2_5-vl-a", "qwen2_5-vl-b"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

/// Two steps of each stage on ClipWorld's clips, adapters alone.
fn recipe(folder: &Path, model: &Path) -> PathBuf {
    let file = folder.join("recipe.toml");
    let toml = format!(
        r#"
seed = 3
[model]
path = '{}'
[data.sft.world]
split = "train"
clips = 3
[data.train.world]
split = "train"
clips = 3
[oracle]
type = "world"
[sft]
max_steps = 2
batch_size = 2
gradient_checkpointing = true
trainable = {{ type = "lora", r = 2 }}
[train]
num_generations = 3
prompts_per_step = 2
max_steps = 2
save_steps = 2
gradient_checkpointing = true
learning_rate = 1e-2
trainable = {{ type = "lora", r = 2 }}
sampling = {{ max_completion_length = 4 }}
"#,
        model.display()
    );
    std::fs::write(&file, toml).expect("the recipe is written");
    file
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON")
}

fn names(folder: &Path) -> Vec<String> {
    let weights = Weights::open(folder).expect("weights");
    weights.stored_names().into_values().collect()
}

#[test]
fn every_architecture_is_tuned_and_saved_under_its_own_names() {
    for name in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), &fixture(name));
        let (sft, run) = (folder.path().join("sft"), folder.path().join("run"));
        ok(&["sft", "--recipe", text(&recipe), "--out", text(&sft), "--quiet"]);
        let start = format!("model.path={}", text(&sft));
        ok(&[
            "train",
            "--recipe",
            text(&recipe),
            "--out",
            text(&run),
            "--quiet",
            "--set",
            &start,
            "--set",
            "model.base_precision=nf4",
        ]);
        for tuned in [&sft, &run] {
            assert_eq!(json(&tuned.join("config.json")), json(&fixture(name).join("config.json")));
            assert_eq!(names(tuned), names(&fixture(name)), "{name}");
        }
        let adapter = run.join("checkpoint-2/adapter_config.json");
        assert_eq!(json(&adapter)["peft_type"], "LORA", "{name}");
        // What the processor and the tokenizer need lies beside the weights.
        let open = |path: &Path| Folder::open(path, &Device::flex()).expect("a checkpoint");
        let (before, after) = (open(&fixture(name)), open(&run));
        assert_eq!(after.processor, before.processor, "{name}");
        assert_eq!(after.tokenizer.eos_ids(), before.tokenizer.eos_ids(), "{name}");
        let answer = ok(&[
            "generate",
            "--checkpoint",
            text(&run),
            "--video",
            "world:test/3",
            "--prompt",
            "What moves?",
            "--quiet",
        ]);
        assert!(!answer.trim().is_empty(), "{name}");
    }
}
