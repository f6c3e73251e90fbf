//! Gradient checkpointing in every loop: the same step, to rounding.

use std::path::Path;

use rlaif_model::{LoadError, LoraConfig, ScalarVlm, Vlm};
use rlaif_train::optim::OptimConfig;
use rlaif_train::{
    Dpo, DpoConfig, GrpoConfig, RewardModelConfig, RewardTraining, Run, Sft, SftConfig, Trainable,
};

use crate::support::{ByTable, config, distance, grpo, model, record, run, save, tokenizer};
use crate::{pairs, scored, sft};

/// Smooth in gradients that are rounding.
fn optim() -> OptimConfig {
    OptimConfig { adam_epsilon: 1e-3, ..OptimConfig::default() }
}

fn lora() -> Trainable {
    Trainable::Lora(LoraConfig { r: 4, ..LoraConfig::default() })
}

/// The weights after a few steps, and the first gradient's norm.
type Trained = (Vlm, f64);

fn online(trainable: &Trainable, method: &str, gradient_checkpointing: bool) -> Trained {
    let config = GrpoConfig {
        trainable: trainable.clone(),
        optim: optim(),
        max_steps: 2,
        num_iterations: 2,
        save_steps: 0,
        method: serde_json::from_value(method.into()).expect("a method"),
        gradient_checkpointing,
        ..config()
    };
    let mut work = match method {
        "grpo_rank" => grpo(&config, ByTable::likes_red()),
        _ => scored::online(&config, scored::likes_red),
    };
    let metrics = run(&mut work, 4, None, None).expect("it trains");
    (work.policy, metrics[0]["grad_norm"])
}

fn supervised(trainable: &Trainable, gradient_checkpointing: bool) -> Trained {
    let config = SftConfig {
        trainable: trainable.clone(),
        optim: optim(),
        max_steps: 3,
        save_steps: 0,
        gradient_checkpointing,
        ..sft::config()
    };
    let mut work =
        Sft::new(model(), config, tokenizer().forbidden_ids().to_vec()).expect("full weights");
    let metrics = sft::run(&mut work, &sft::items(), None, None).expect("it trains");
    (work.policy, metrics[0]["grad_norm"])
}

fn preferred(trainable: &Trainable, gradient_checkpointing: bool) -> Trained {
    let config = DpoConfig {
        optim: optim(),
        max_steps: 3,
        save_steps: 0,
        gradient_checkpointing,
        ..pairs::dpo_config(trainable.clone())
    };
    let mut work =
        Dpo::new(model(), config, tokenizer().forbidden_ids().to_vec()).expect("it trains");
    let items = pairs::pairs();
    let train = |run: &mut Run<'_>| work.train(items.len(), &|i| Ok(items[i].clone()), run, &save);
    let metrics = record(None, None, train).expect("it trains");
    (work.policy, metrics[0]["grad_norm"])
}

fn rewarded(trainable: &Trainable, gradient_checkpointing: bool) -> Trained {
    let config = RewardModelConfig {
        optim: optim(),
        max_steps: 3,
        save_steps: 0,
        gradient_checkpointing,
        ..pairs::reward_config(trainable.clone())
    };
    let mut work = RewardTraining::new(model(), config).expect("it trains");
    let items = pairs::scored();
    let save = |model: &ScalarVlm, path: &Path| -> Result<(), LoadError> { model.save(path) };
    let train = |run: &mut Run<'_>| work.train(items.len(), &|i| Ok(items[i].clone()), run, &save);
    let metrics = record(None, None, train).expect("it trains");
    (work.model.vlm, metrics[1]["grad_norm"])
}

#[test]
fn checkpointing_changes_no_step_of_any_method() {
    for trainable in [Trainable::All, lora()] {
        let loops: [(&str, &dyn Fn(bool) -> Trained); 5] = [
            ("grpo_rank", &|on| online(&trainable, "grpo_rank", on)),
            ("ppo", &|on| online(&trainable, "ppo", on)),
            ("sft", &|on| supervised(&trainable, on)),
            ("dpo", &|on| preferred(&trainable, on)),
            ("reward model", &|on| rewarded(&trainable, on)),
        ];
        for (name, train) in loops {
            let ((whole, norm), (parts, same)) = (train(false), train(true));
            assert!(norm > 1e-3, "{name}: there is a gradient");
            assert!((norm - same).abs() < 1e-4 * norm, "{name}: {norm} and {same}");
            let mut start = model();
            if let Trainable::Lora(lora) = &trainable {
                start.attach_lora(lora, 42);
            }
            let moved = distance(&whole, &start);
            let apart = distance(&whole, &parts);
            assert!(moved > 1e-3 && apart < 1e-3 * moved, "{name}: {apart} of {moved}");
        }
    }
}
