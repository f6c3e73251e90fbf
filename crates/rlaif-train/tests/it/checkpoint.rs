//! Checkpoints that cannot be used are refused with the reason, and change nothing.

use std::path::{Path, PathBuf};

use rlaif_model::LoraConfig;
use rlaif_train::{GrpoConfig, Online, Trainable, checkpoint};

use crate::support::{ByTable, bits, config, grpo, run};

fn two_steps() -> GrpoConfig {
    GrpoConfig { max_steps: 2, save_steps: 1, save_total_limit: 0, ..config() }
}

/// A run folder with `checkpoint-1` and `checkpoint-2`.
fn written(config: &GrpoConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(&mut grpo(config, ByTable::likes_red()), 4, Some(folder.path()), None).expect("two steps");
    folder
}

fn last(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("checkpoint-2")
}

/// Why a fresh run of `config` cannot go on from `path`; it stays as it was.
fn refusal(config: &GrpoConfig, path: &Path) -> String {
    let mut fresh: Online = grpo(config, ByTable::likes_red());
    let before = (bits(&fresh.policy), bits(&fresh.reference));
    let error = match checkpoint::open(path) {
        Ok(found) => fresh.resume(&found).expect_err("it must not be used"),
        Err(error) => error,
    };
    assert!(before == (bits(&fresh.policy), bits(&fresh.reference)), "half of it was taken");
    assert!(fresh.step == 0 && fresh.optimizer.updates == 0);
    error.to_string()
}

#[test]
fn a_truncated_or_altered_file_is_named_and_refused() {
    for file in ["weights.safetensors", "optimizer.safetensors"] {
        let folder = written(&two_steps());
        let path = last(&folder).join("trainer").join(file);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bytes in [&whole[..whole.len() - 4], &whole[..10], &[][..], &flipped] {
            std::fs::write(&path, bytes).unwrap();
            let message = refusal(&two_steps(), &last(&folder));
            assert!(message.contains(file) && message.contains("checkpoint-2"), "{message}");
            assert!(message.contains("damaged"), "{message}");
        }
        std::fs::remove_file(&path).unwrap();
        let message = refusal(&two_steps(), &last(&folder));
        assert!(message.contains(file), "{message}");
        // The one before is still good.
        let found = checkpoint::open(&folder.path().join("checkpoint-1")).unwrap();
        grpo(&two_steps(), ByTable::likes_red()).resume(&found).unwrap();
    }
}

#[test]
fn a_folder_without_a_whole_state_is_passed_over_for_the_one_before() {
    let folder = written(&two_steps());
    let latest = || checkpoint::latest(folder.path()).unwrap().unwrap().state.step;
    assert_eq!(latest(), 2);
    let state = last(&folder).join("trainer/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    for broken in [&text[..text.len() / 2], "", "{}"] {
        std::fs::write(&state, broken).unwrap();
        assert!(checkpoint::open(&last(&folder)).is_err());
        assert_eq!(latest(), 1);
    }
    std::fs::write(&state, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let message = checkpoint::open(&last(&folder)).unwrap_err().to_string();
    assert!(message.contains("version 2 where 1 is expected"), "{message}");
    std::fs::remove_dir_all(last(&folder)).unwrap();
    std::fs::create_dir(folder.path().join("checkpoint-9.tmp")).unwrap();
    assert_eq!(latest(), 1);
    std::fs::remove_dir_all(folder.path().join("checkpoint-1")).unwrap();
    assert!(checkpoint::latest(folder.path()).unwrap().is_none());
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let lora = || Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() });
    let wider = Trainable::Lora(LoraConfig { r: 3, ..LoraConfig::default() });
    let all = written(&two_steps());
    let adapters = written(&GrpoConfig { trainable: lora(), ..two_steps() });
    for (folder, config, reason) in [
        (&all, GrpoConfig { seed: 7, ..two_steps() }, "seed 42, the recipe says 7"),
        (&all, GrpoConfig { trainable: lora(), ..two_steps() }, "its run had no adapters"),
        (&adapters, two_steps(), "is no weight of this model"),
        (&adapters, GrpoConfig { trainable: wider, ..two_steps() }, "has another shape"),
    ] {
        let message = refusal(&config, &last(folder));
        assert!(message.contains(reason), "`{reason}` is not in: {message}");
    }
}

/// The folder around the trainer's state is a model that opens by itself, adapters merged.
#[test]
fn a_checkpoint_is_a_model_folder() {
    let config = GrpoConfig {
        trainable: Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() }),
        ..two_steps()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut grpo = grpo(&config, ByTable::likes_red());
    run(&mut grpo, 4, Some(folder.path()), None).unwrap();
    let model = rlaif_model::load(last(&folder), &burn::tensor::Device::flex()).unwrap();
    assert!(bits(&model) == bits(&grpo.policy.merged()));
}
