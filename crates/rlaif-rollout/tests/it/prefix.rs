//! One prompt encoded once for its G responses, against the prompt repeated before each of them:
//! log-probabilities, entropies, and the gradient of every weight.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::KvLayer;
use rlaif_model::{Gradients, LoraConfig, Parameters, Prefix, Turn, Vlm};
use rlaif_ops::TokenStats;
use rlaif_rollout::prompt::embed;
use rlaif_rollout::{Pass, PromptInput, Reads, Visual, encode, response_hidden, score};
use rlaif_video::Features;

use crate::support::{F32_SUMS, assert_close, host, model, prompt, prompts, vocabulary};

type Response = (usize, Vec<u32>);

fn group() -> Vec<Response> {
    let text = |seed: u64, len: usize| prompt(seed, len, 0).ids;
    vec![
        (0, text(11, 5)),
        (0, text(12, 1)),
        (0, text(13, 9)),
        (1, text(14, 4)),
        (1, text(15, 4)),
        (2, text(16, 3)),
        (3, text(17, 1)),
    ]
}

fn shared(model: &Vlm, prompts: &[PromptInput], responses: &[Response]) -> TokenStats {
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(model, &inputs);
    let responses: Vec<(usize, &[u32])> =
        responses.iter().map(|(prompt, ids)| (*prompt, ids.as_slice())).collect();
    let hidden = response_hidden(model, &prefix, &responses);
    let flat: Vec<u32> = responses.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    let stats = token_stats(model, hidden, &flat);
    // `score` is the same but for the entropy's gradient, which it does not pass.
    let scored = score(model, &prefix, &responses, &vocabulary().forbidden);
    assert_close(&host(&scored.logprobs), &host(&stats.logprobs), 1e-6, "score");
    assert_close(&host(&scored.entropy), &host(&stats.entropy), 1e-6, "score");
    stats
}

fn token_stats(model: &Vlm, hidden: Tensor<2>, targets: &[u32]) -> TokenStats {
    let targets: Vec<i64> = targets.iter().map(|id| i64::from(*id)).collect();
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &hidden.device());
    rlaif_ops::token_stats(hidden, model.decoder.head(), targets, &vocabulary().forbidden)
}

/// Each prompt and response as one sequence of its own, no prefix anywhere: a causal pass from
/// position 0 over every layer and row.
fn replicated(model: &Vlm, prompts: &[PromptInput], responses: &[Response]) -> TokenStats {
    let (mut logprobs, mut entropy) = (Vec::new(), Vec::new());
    for (index, response) in responses {
        let prompt = &prompts[*index];
        let mut whole = prompt.clone();
        whole.ids.extend_from_slice(&response[..response.len() - 1]);
        let embeds = embed(model, &[&whole]);
        let device = embeds.device();
        let heads = model.decoder.heads();
        // One row that belongs to no prompt: the prefix of the only prompt has length 0.
        let nothing = || Tensor::zeros([1, heads.kv * heads.dim], &device);
        let empty = Prefix {
            layers: (0..model.decoder.n_layers())
                .map(|_| KvLayer { k: nothing(), v: nothing() })
                .collect(),
            lens: vec![0],
            next: vec![0],
            last_hidden: Tensor::zeros([1, model.config.text.hidden_size], &device),
        };
        let turn = Turn { prompt: 0, len: whole.ids.len() };
        let hidden = model.decoder.extend(&empty, embeds, &[turn]);
        let hidden = hidden.narrow(0, prompt.ids.len() - 1, response.len());
        let stats = token_stats(model, hidden, response);
        logprobs.push(stats.logprobs);
        entropy.push(stats.entropy);
    }
    TokenStats { logprobs: Tensor::cat(logprobs, 0), entropy: Tensor::cat(entropy, 0) }
}

/// A loss that weighs every token differently, and its gradient.
fn differentiated(
    model: &Vlm,
    pass: fn(&Vlm, &[PromptInput], &[Response]) -> TokenStats,
    prompts: &[PromptInput],
    trains: fn(&str) -> bool,
) -> (Vec<f32>, Gradients) {
    let tracked = model.tracked(trains);
    let stats = pass(&tracked, prompts, &group());
    let values = [host(&stats.logprobs), host(&stats.entropy)].concat();
    let n = stats.logprobs.dims()[0];
    let weights: Vec<f32> = (0..n).map(|i| ((i * 7 % 5) as f32 - 1.8) * 0.5).collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &stats.logprobs.device());
    let loss = (stats.logprobs * weights).sum() + stats.entropy.sum() * 0.3;
    (values, tracked.gradients(&loss.backward()))
}

/// Every gradient within `F32_SUMS` of the tensor's largest one; returns how many tensors there
/// were.
fn assert_same_gradients(got: &Gradients, expected: &Gradients) -> usize {
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, gradient) in got {
        let (got, expected) = (host(gradient), host(&expected[name]));
        let scale = expected.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        // The bias of the keys moves all scores of a query alike: its gradient is rounding.
        assert!(scale > 1e-3 || name.ends_with("k_proj.bias"), "{name}: {scale}");
        assert_close(&got, &expected, F32_SUMS * scale.max(1.0), name);
    }
    got.len()
}

#[test]
fn a_shared_prefix_equals_the_replicated_prompt_in_values_and_all_gradients() {
    let (model, prompts) = (model(1), prompts());
    let trains = |name: &str| !name.starts_with("vision_tower.");
    let (got, shared) = differentiated(&model, shared, &prompts, trains);
    let (expected, replicated) = differentiated(&model, replicated, &prompts, trains);
    assert_close(&got, &expected, F32_SUMS, "log-probabilities and entropies");
    // Projector (4), embeddings, head, last norm; in each of three blocks two norms, seven matrices
    // and the four biases of attention.
    assert_eq!(assert_same_gradients(&shared, &replicated), 4 + 3 + 3 * 13);
}

/// The same loss through a [`Pass`].
fn through_pass(
    model: &Vlm,
    prompts: &[PromptInput],
    checkpointing: bool,
    trains: impl Fn(&str) -> bool,
) -> (Vec<f32>, Gradients) {
    let tracked = model.tracked(trains);
    let group = group();
    let responses: Vec<(usize, &[u32])> = group.iter().map(|(p, r)| (*p, r.as_slice())).collect();
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let pass = Pass::new(&tracked, &inputs, &responses, Reads::EachToken, checkpointing);
    let targets: Vec<i64> =
        responses.iter().flat_map(|(_, ids)| ids.iter().map(|id| i64::from(*id))).collect();
    let targets = Tensor::from_data(targets.as_slice(), &pass.hidden.device());
    let stats = rlaif_ops::token_stats(
        pass.hidden.clone(),
        tracked.decoder.head(),
        targets,
        &[crate::support::IMAGE],
    );
    let values = [host(&stats.logprobs), host(&stats.entropy)].concat();
    let weights: Vec<f32> =
        (0..stats.logprobs.dims()[0]).map(|i| ((i * 7 % 5) as f32 - 1.8) * 0.5).collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &stats.logprobs.device());
    let loss = (stats.logprobs * weights).sum() + stats.entropy.sum() * 0.3;
    (values, pass.gradients(&tracked, &loss))
}

/// Which parameters are trained.
type Trains<'a> = &'a dyn Fn(&str) -> bool;

/// All weights, adapters alone, and a single block in the middle: with and without a gradient that
/// has to reach the embeddings.
#[test]
fn checkpointed_gradients_are_those_of_the_whole_graph() {
    let prompts = prompts();
    let cases: [(&Vlm, Trains<'_>, usize); 4] = [
        (&model(1), &|name| !name.starts_with("vision_tower."), 4 + 3 + 3 * 13),
        (&adapted(), &|name| name.contains(".lora_"), 3 * 7 * 2),
        (&model(1), &|name| name.contains("layers.1."), 13),
        (&model(1), &|name| name.ends_with("lm_head.weight"), 1),
    ];
    for (model, trains, tensors) in cases {
        let (values, whole) = through_pass(model, &prompts, false, trains);
        let (again, parts) = through_pass(model, &prompts, true, trains);
        assert_eq!(values, again);
        assert_eq!(parts.len(), tensors);
        assert_eq!(parts.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
        for (name, gradient) in &parts {
            let (got, expected) = (host(gradient), host(&whole[name]));
            let scale = expected.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            assert_close(&got, &expected, 1e-6 * scale.max(1.0), name);
        }
        assert!(whole.values().any(|gradient| host(gradient).iter().any(|g| g.abs() > 1e-3)));
    }
}

/// A model with adapters that do something.
fn adapted() -> Vlm {
    let mut model = model(1);
    model.attach_lora(&LoraConfig { r: 3, ..LoraConfig::default() }, 5);
    model.walk("", &mut |name, mut slot| {
        if name.contains("lora_B") {
            let flat = slot.flat();
            let len = flat.dims()[0];
            let values: Vec<f32> = (0..len).map(|i| ((i * 13 % 11) as f32 - 5.0) * 0.05).collect();
            slot.set_flat(Tensor::from_data(values.as_slice(), &flat.device()));
        }
    });
    model
}

#[test]
fn a_shared_prefix_equals_the_replicated_prompt_for_adapters() {
    let (model, prompts) = (adapted(), prompts());
    let trains = |name: &str| name.contains(".lora_");
    let (got, shared) = differentiated(&model, shared, &prompts, trains);
    let (expected, replicated) = differentiated(&model, replicated, &prompts, trains);
    assert_close(&got, &expected, F32_SUMS, "log-probabilities and entropies");
    assert_eq!(assert_same_gradients(&shared, &replicated), 3 * 7 * 2);
    // The reference of such a run is the model without them.
    let base = host(&self::shared(&model.without_lora(), &prompts, &group()).logprobs);
    assert!(base.iter().zip(&got).any(|(b, g)| (b - g).abs() > 1e-2));
}

/// Frames through the tower inside the pass, its gradient included, against the tower's features
/// handed in.
#[test]
fn frames_and_their_features_give_the_same_and_a_trained_tower_gets_its_gradient() {
    let model = model(1);
    let pixels = |frames: usize| Pixels {
        frames,
        height: 8,
        width: 8,
        values: (0..frames * 3 * 64).map(|i| ((i * 31 % 23) as f32 - 11.0) / 8.0).collect(),
        digest: String::new(),
        video: VideoMetadata::default(),
    };
    let (mut seen, mut known) = (prompts(), prompts());
    for (index, frames) in [(0, 2), (1, 5), (3, 2)] {
        let pixels = pixels(frames);
        let features = Features {
            shape: vec![frames, 2, 2, 8],
            values: model.visual_features(&pixels),
            video: VideoMetadata::default(),
        };
        let at = seen[index].visual.as_ref().expect("a clip").0.clone();
        seen[index].visual = Some((at.clone(), Visual::Pixels(Arc::new(pixels))));
        known[index].visual = Some((at, Visual::Features(Arc::new(features))));
    }
    let (expected, frozen) =
        differentiated(&model, shared, &known, |name| !name.starts_with("vision_tower."));
    let (got, mut whole) = differentiated(&model, shared, &seen, |_| true);
    assert_close(&got, &expected, F32_SUMS, "log-probabilities and entropies");
    let tower: Vec<String> =
        whole.keys().filter(|name| name.starts_with("vision_tower.")).cloned().collect();
    // The last block but one is read: block 0 of two, without the blocks and the norm after it.
    assert!(tower.iter().all(|name| !name.contains("layers.1.") && !name.contains("post_layer")));
    for name in ["embeddings.patch_embedding.weight", "encoder.layers.0.mlp.fc1.weight"] {
        let gradient = &whole[&format!("vision_tower.vision_model.{name}")];
        assert!(host(gradient).iter().any(|g| g.abs() > 1e-4), "{name}");
    }
    whole.retain(|name, _| !tower.contains(name));
    assert_same_gradients(&whole, &frozen);
}
