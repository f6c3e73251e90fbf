use rlaif_model::hf::{ModelConfig, TextConfig, VisionConfig, expected_tensors};
use rlaif_model::{LoraConfig, Precision, init};

use super::sizes::product;
use super::*;

fn model() -> ModelConfig {
    let text = TextConfig {
        vocab_size: 100,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        ..TextConfig::default()
    };
    let vision = VisionConfig {
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 8,
        patch_size: 4,
        ..VisionConfig::default()
    };
    ModelConfig::new(vision, text, 5)
}

fn train(trainable: Trainable) -> GrpoConfig {
    let mut train = GrpoConfig {
        trainable,
        prompts_per_step: 2,
        prompts_per_batch: 1,
        num_generations: 3,
        ..GrpoConfig::default()
    };
    train.sampling.max_completion_length = 7;
    train
}

fn demand<'a>(model: &'a ModelConfig, train: &'a GrpoConfig) -> Demand<'a> {
    Demand {
        model,
        base: Precision::F32,
        train,
        grid: Grid { t: 5, h: 2, w: 2 },
        text_tokens: 10,
        feature_cache: 0,
        kernels: Kernels::Fused,
    }
}

fn bytes(parts: &[Part], name: &str) -> u64 {
    parts.iter().find(|part| part.name == name).unwrap().bytes
}

fn phase<'a>(estimate: &'a Estimate, name: &str) -> &'a [Part] {
    &estimate.phases.iter().find(|phase| phase.name == name).unwrap().parts
}

/// What `Vlm::memory` counts in a model that is there.
#[test]
fn weights_and_adapters_are_those_of_the_model() {
    let (config, device) = (model(), burn::tensor::Device::flex());
    for base in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Nf4] {
        let lora = LoraConfig { r: 4, ..LoraConfig::default() };
        let mut model = init(&config, 1, &device);
        model.pack_base(base).unwrap();
        model.attach_lora(&lora, 1);
        let found = model.memory();

        let train = train(Trainable::Lora(lora));
        let estimate = estimate(&Demand { base, ..demand(&config, &train) });
        let parts = &estimate.resident;
        assert_eq!(bytes(parts, "decoder projections"), found.base as u64, "{base}");
        assert_eq!(bytes(parts, "adapters"), found.adapters as u64);
        let others = (found.embeddings + found.norms) as u64;
        assert_eq!(bytes(parts, "embeddings, head and norms"), others);
        assert_eq!(bytes(parts, "vision tower and projector"), found.vision as u64);
        assert_eq!(estimate.trained * 4, found.adapters as u64);
    }
}

#[test]
fn a_checkpointed_update_keeps_one_row_per_token_and_block() {
    let config = model();
    let lora = Trainable::Lora(LoraConfig { r: 2, ..LoraConfig::default() });
    let mut train = train(lora);
    let plain = estimate(&demand(&config, &train));
    assert_eq!(plain.prompt_tokens, 30);
    // Two prompts of 30 tokens in the two blocks that keep all of them, 21 tokens of answers in
    // three: 4 · 24 + 2 · 24 + 24 + 3 · 40 + 4 + 14 numbers each. And gradients of 24 numbers for
    // the keys and values of one prompt in three blocks.
    let kept = bytes(phase(&plain, "update"), "activations kept for the backward");
    assert_eq!(kept, ((60 * 2 + 21 * 3) * 306 + 30 * 3 * 24) * 4);

    train.gradient_checkpointing = true;
    let checkpointed = estimate(&demand(&config, &train));
    let kept = bytes(phase(&checkpointed, "update"), "activations kept for the backward");
    assert_eq!(kept, (30 + 21) * (3 * 24 + 306 + 24) * 4);
    assert_eq!(bytes(phase(&checkpointed, "rollout"), "activations kept of prompts"), 0);
    assert!(checkpointed.step_bytes() < plain.step_bytes());
}

#[test]
fn training_all_weights_holds_them_twice_with_moments_and_gradients() {
    let config = model();
    let train = train(Trainable::All);
    let estimate = estimate(&demand(&config, &train));
    let tower: u64 = expected_tensors(&config)
        .iter()
        .filter(|(name, _)| name.starts_with("vision_tower."))
        .map(|(_, shape)| product(shape))
        .sum();
    assert_eq!(estimate.trained, estimate.parameters - tower);
    let moments = bytes(&estimate.resident, "optimizer moments");
    assert_eq!(moments, 8 * estimate.trained);
    assert_eq!(bytes(phase(&estimate, "update"), "gradients"), 8 * estimate.trained);
    assert_eq!(bytes(phase(&estimate, report::FINISH), "merged projections"), 0);
}
