//! LoRA equal to PEFT: logits, loss and gradients of an adapter that PEFT wrote.

use burn::tensor::{Int, Tensor, activation};
use rlaif_model::hf::{VideoPooling, canonical_name};
use rlaif_model::{Gradients, LoraConfig, Parameters, Vlm, attach_adapter};

use crate::support::{
    F32_SUMS, FIXTURES, Golden, assert_close, fixture, grid_of, host, logits, open, spliced,
};

/// Answer tokens that carry the golden loss.
const ANSWER: usize = 6;

/// The fixture with PEFT's adapter on, pooling as the golden values have it.
fn adapted(name: &str) -> Vlm {
    let mut model = open(name);
    model.set_video_pooling(VideoPooling::SpatialTemporal);
    attach_adapter(&mut model, fixture(name).join("adapter")).expect("PEFT's adapter");
    model
}

/// Logits of the whole sequence.
fn forward(model: &Vlm, golden: &Golden) -> Tensor<2> {
    let pixels = golden.pixels();
    let visual = model.visual_tokens(model.tower_features(&pixels), &[grid_of(model, &pixels)]);
    logits(&model.decoder, spliced(model, &golden.ids("lora.ids"), visual), 1)
}

/// Cross-entropy, mean over the answer's tokens.
fn loss(logits: Tensor<2>, ids: &[u32]) -> Tensor<1> {
    let [tokens, vocabulary] = logits.dims();
    let rows = logits.narrow(0, tokens - 1 - ANSWER, ANSWER);
    let logprobs = activation::log_softmax(rows, 1).reshape([ANSWER * vocabulary]);
    let targets: Vec<i64> = ids[ids.len() - ANSWER..]
        .iter()
        .enumerate()
        .map(|(row, id)| i64::try_from(row * vocabulary).expect("small") + i64::from(*id))
        .collect();
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &logprobs.device());
    -logprobs.select(0, targets).mean()
}

#[test]
fn an_adapter_of_peft_gives_its_logits_and_its_loss() {
    for name in FIXTURES {
        let (model, golden) = (adapted(name), Golden::of(name));
        let got = forward(&model, &golden);
        let expected = golden.floats("lora.logits");
        assert_close(&host(&got), &expected, F32_SUMS, name);
        let got = host(&loss(got, &golden.ids("lora.ids")))[0];
        assert!((got - golden.floats("lora.loss")[0]).abs() < F32_SUMS, "{name}: loss {got}");

        // The adapter matters, is gone without it, and is in the weights once merged.
        let plain = host(&forward(&model.without_lora(), &golden));
        assert!(plain.iter().zip(&expected).any(|(p, e)| (p - e).abs() > 0.1), "{name}");
        let mut base = open(name);
        base.set_video_pooling(VideoPooling::SpatialTemporal);
        assert_eq!(plain, host(&forward(&base, &golden)), "{name}");
        let merged = host(&forward(&model.merged(), &golden));
        assert_close(&merged, &expected, F32_SUMS, "merged");
    }
}

/// Relative: each tensor's largest error over its own largest gradient.
#[test]
fn the_gradients_of_an_adapter_are_those_of_peft() {
    for name in FIXTURES {
        let golden = Golden::of(name);
        let tracked = adapted(name).tracked(|name| name.contains(".lora_"));
        let loss = loss(forward(&tracked, &golden), &golden.ids("lora.ids"));
        let gradients: Gradients = tracked.gradients(&loss.backward());
        let expected: Vec<String> =
            golden.names().into_iter().filter(|name| name.starts_with("lora.grad.")).collect();
        assert!(expected.len() >= 28 && gradients.len() == expected.len(), "{name}");
        for key in expected {
            let module = canonical_name(key.trim_start_matches("lora.grad."));
            let expected = golden.floats(&key);
            let scale = expected.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            let got = host(&gradients[&module]);
            assert_eq!(got.len(), expected.len(), "{key}");
            let error = got.iter().zip(&expected).fold(0.0_f32, |m, (g, e)| m.max((g - e).abs()));
            assert!(scale > 0.0 && error <= F32_SUMS * scale, "{name} {key}: {error} of {scale}");
        }
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_and_its_seed_fixes_it() {
    let golden = Golden::of("llava-a");
    let mut model = open("llava-a");
    model.set_video_pooling(VideoPooling::SpatialTemporal);
    let before = host(&forward(&model, &golden));
    let adapters = |seed| {
        let mut model = model.clone();
        model.attach_lora(&LoraConfig { r: 2, ..LoraConfig::default() }, seed);
        let mut values = Vec::new();
        model.read(|name, slot| {
            if name.contains("lora_A") {
                values.extend(host(&slot.flat()));
            }
        });
        (host(&forward(&model, &golden)), values)
    };
    let (logits, first) = adapters(5);
    assert_close(&logits, &before, F32_SUMS, "B is zero");
    assert_eq!(first, adapters(5).1);
    assert_ne!(first, adapters(6).1);
}
