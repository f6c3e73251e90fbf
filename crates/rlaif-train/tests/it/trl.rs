//! One update equal to TRL's: loss and all LoRA gradients of `GRPOTrainer` on the same model,
//! frames, completions and ranks. The golden files are written by `tools/make_trl_grpo_goldens.py`.
//!
//! TRL replicates each prompt with its frames for every completion and pads; here the prompt is
//! encoded once and nothing is padded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_model::hf::{VideoPooling, canonical_name};
use rlaif_model::{Gradients, Parameters, Vlm, attach_adapter};
use rlaif_objective::aggregate::Part;
use rlaif_objective::{Aggregation, GrpoInput, GrpoKnobs, GrpoOutput, grpo, token_weights};
use rlaif_rank::{Advantage, Ranking, advantages};
use rlaif_rollout::{PromptInput, Visual, encode, score};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

use crate::support::host;

/// Relative: each gradient's largest error over its tensor's largest element, and the loss's over
/// itself. Two orders of adding the same `f32` products through a tower and two blocks.
const F32_SUMS: f32 = 1e-4;

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

struct Golden {
    bytes: Vec<u8>,
    report: Value,
}

impl Golden {
    fn open() -> Golden {
        let read = |name: &str| std::fs::read(path("tests/golden").join(name));
        let report = read("trl_grpo.json").expect("it is committed");
        Golden {
            bytes: read("trl_grpo.safetensors").expect("it is committed"),
            report: serde_json::from_slice(&report).expect("JSON"),
        }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("trl_grpo.safetensors is whole")
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let file = self.file();
        let view = file.tensor(name).expect(name);
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn integers<T: TryFrom<i64, Error: std::fmt::Debug>>(&self, name: &str) -> Vec<T> {
        let file = self.file();
        let view = file.tensor(name).expect(name);
        assert_eq!(view.dtype(), Dtype::I64, "{name}");
        let numbers = view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
        numbers.map(|number| T::try_from(number).expect(name)).collect()
    }

    /// Prompt `index`: ids with its frames' placeholders side by side, and the frames.
    fn prompt(&self, index: usize, image: u32) -> PromptInput {
        let ids: Vec<u32> = self.integers(&format!("{index}.ids"));
        let name = format!("{index}.pixel_values");
        let shape = self.file().tensor(&name).expect("pixels").shape().to_vec();
        let start = ids.iter().position(|id| *id == image).expect("it has frames");
        let end = ids.iter().rposition(|id| *id == image).expect("it has frames") + 1;
        let pixels = Pixels {
            frames: shape[0],
            height: shape[2],
            width: shape[3],
            values: self.floats(&name),
            digest: String::new(),
            video: VideoMetadata::default(),
        };
        let visual =
            Some((std::iter::once(start..end).collect(), Visual::Pixels(Arc::new(pixels))));
        PromptInput { ids, visual, positions: None }
    }

    fn knob(&self, name: &str) -> f64 {
        self.report[name].as_f64().expect(name)
    }

    fn count(&self, name: &str) -> usize {
        usize::try_from(self.report[name].as_u64().expect(name)).expect(name)
    }
}

fn policy() -> Vlm {
    let fixture = path("../rlaif-model/tests/fixtures/llava-a");
    let mut model = rlaif_model::load(&fixture, &Device::flex()).expect("the fixture opens");
    model.set_video_pooling(VideoPooling::None);
    attach_adapter(&mut model, fixture.join("adapter")).expect("PEFT's adapter");
    model
}

/// `dcg` advantages of every completion, group by group; 0 in a group that the Oracle fails on.
fn rank_advantages(golden: &Golden, failed: &[usize]) -> Vec<f32> {
    let positions: Vec<usize> = golden.integers("positions");
    let group = golden.count("num_generations");
    let of_group = |ranks: &[usize]| {
        let ranking = Ranking::from_ranks(ranks.iter().copied().map(Some).collect());
        advantages(Advantage::Dcg, &ranking.expect("an order"), &[], None).expect("no more needed")
    };
    let groups = positions.chunks_exact(group).enumerate().flat_map(|(index, ranks)| {
        if failed.contains(&index) { vec![0.0; group] } else { of_group(ranks) }
    });
    groups.map(narrow).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

struct Step {
    output: GrpoOutput,
    loss: f32,
    logprobs: Vec<f32>,
    gradients: Gradients,
}

/// The loss of all groups in one pass, and its gradients. A failed group keeps its part of the
/// divisors and has no weight, as `rlaif_train` has it.
fn step(golden: &Golden, aggregation: Aggregation, beta: f64, failed: &[usize]) -> Step {
    let model = policy();
    let tracked = model.tracked(|name| name.contains(".lora_"));
    let prompts = [0, 1].map(|index| golden.prompt(index, model.config.image_token_id));
    let lens: Vec<usize> = golden.integers("lens");
    let tokens: Vec<u32> = golden.integers("completions");
    let mut rest = tokens.as_slice();
    let mut responses = Vec::new();
    for (index, len) in lens.iter().enumerate() {
        let (response, tail) = rest.split_at(*len);
        responses.push((index / golden.count("num_generations"), response));
        rest = tail;
    }
    assert!(rest.is_empty());
    let scored = |model: &Vlm| {
        let prefix = encode(model, &[&prompts[0], &prompts[1]]);
        score(model, &prefix, &responses, &[])
    };
    let stats = scored(&tracked);
    let device = stats.logprobs.device();
    let constant = |values: &[f32]| Tensor::<1>::from_data(values, &device);
    let per_token = |values: &[f32]| -> Vec<f32> {
        values.iter().zip(&lens).flat_map(|(v, len)| std::iter::repeat_n(*v, *len)).collect()
    };
    let reference = (beta != 0.0).then(|| host(&scored(&model.without_lora()).logprobs));
    if let Some(reference) = &reference {
        assert_near(reference, &golden.floats("ref_logprobs"), "reference");
    }
    let parts: Vec<Part> = lens.iter().map(|len| Part { len: *len, counts: true }).collect();
    let mut weights = token_weights(&parts, aggregation, golden.count("max_completion_length"));
    for ((prompt, _), weight) in responses.iter().zip(&mut weights) {
        if failed.contains(prompt) {
            *weight = 0.0;
        }
    }
    let output = grpo(
        GrpoInput {
            logprobs: stats.logprobs.clone(),
            entropy: stats.entropy,
            old_logprobs: constant(&golden.floats("old_logprobs")),
            ref_logprobs: reference.as_deref().map(constant),
            advantages: constant(&per_token(&rank_advantages(golden, failed))),
            weights: constant(&per_token(&weights)),
        },
        &GrpoKnobs {
            epsilon_low: golden.knob("epsilon"),
            epsilon_high: golden.knob("epsilon_high"),
            beta,
            entropy_coef: 0.0,
        },
    );
    Step {
        loss: host(&output.loss)[0],
        logprobs: host(&stats.logprobs),
        gradients: tracked.gradients(&output.loss.backward()),
        output,
    }
}

/// The largest error over the largest expected number.
fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |m, e| m.max(e.abs()));
    assert!(scale > 0.0, "nothing but zeros to compare with");
    let errors = got.iter().zip(expected).map(|(g, e)| (g - e).abs());
    errors.fold(0.0, |m, e| if e.is_nan() { f32::INFINITY } else { m.max(e) }) / scale
}

fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    let error = relative_error(got, expected);
    assert!(error < F32_SUMS, "{what}: relative error {error}");
}

#[test]
fn the_advantages_that_trl_keeps_are_those_of_the_ranking() {
    let golden = Golden::open();
    for (name, failed) in [("advantages", vec![]), ("advantages.failed", vec![1])] {
        let (ours, theirs) = (rank_advantages(&golden, &failed), golden.floats(name));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-6, "{name}: {ours} is not {theirs}");
        }
    }
}

/// The reward function of docs/trl-emulation.md on ties and unplaced answers.
#[test]
fn the_reward_function_gives_weak_and_partial_orders_our_advantages() {
    let golden = Golden::open();
    let cases = golden.report["emulation"].as_array().expect("emulation");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let levels = case["levels"].as_array().expect("levels").iter();
        let levels: Vec<Option<usize>> =
            levels.map(|l| l.as_u64().map(|l| usize::try_from(l).expect("small"))).collect();
        let ranking = Ranking::from_ranks(levels).expect("an order");
        let ours = advantages(Advantage::Dcg, &ranking, &[], None).expect("no more needed");
        let theirs = case["advantages"].as_array().expect("advantages");
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs.as_f64().expect("a number")).abs() < 1e-12, "{case}: {ours}");
        }
    }
}

#[test]
fn loss_and_adapter_gradients_are_those_of_trl() {
    let golden = Golden::open();
    let cases = golden.report["cases"].as_array().expect("cases").clone();
    assert_eq!(cases.len(), 7);
    let mut worst = 0.0_f32;
    for case in &cases {
        worst = worst.max(check(&golden, case));
    }
    println!("largest relative error of a gradient: {worst:.1e}");
}

/// Compares one case; returns the largest relative error of a gradient.
fn check(golden: &Golden, case: &Value) -> f32 {
    let name = case["name"].as_str().expect("name");
    let aggregation = match case["loss_type"].as_str().expect("loss_type") {
        "dapo" => Aggregation::Token,
        "grpo" => Aggregation::Sequence,
        "dr_grpo" => Aggregation::Constant,
        other => panic!("`{other}` has no counterpart"),
    };
    let number = |key: &str| narrow(case[key].as_f64().expect(key));
    let failed = case["failed_groups"].as_array().expect("failed_groups").iter();
    let failed: Vec<usize> =
        failed.map(|g| usize::try_from(g.as_u64().expect("a group")).expect("small")).collect();
    let beta = case["beta"].as_f64().expect("beta");
    let step = step(golden, aggregation, beta, &failed);
    assert_near(&step.logprobs, &golden.floats("logprobs"), &format!("{name}: logprobs"));
    assert_near(&[step.loss], &[number("loss")], &format!("{name}: loss"));
    let counts = [&step.output.clipped_low, &step.output.clipped_high].map(|count| host(count)[0]);
    let expected = [number("clipped_low"), number("clipped_high")];
    assert_near(&counts, &expected, &format!("{name}: clipped tokens"));
    assert!(counts[0] > 0.0 && counts[1] > 0.0, "{name}: {counts:?}");
    if let Some(sum) = &step.output.kl_sum {
        let mean = host(sum)[0] / step.logprobs.len() as f32;
        assert_near(&[mean], &[number("kl")], &format!("{name}: kl"));
    }
    let prefix = format!("{name}.grad.");
    let file = golden.file();
    let expected = file.names().into_iter().filter(|key| key.starts_with(&prefix));
    let expected: Vec<&str> = expected.collect();
    // Two blocks, seven layers each, A and B.
    assert_eq!((expected.len(), step.gradients.len()), (28, 28), "{name}");
    let mut worst = 0.0_f32;
    for key in expected {
        let module = canonical_name(key.trim_start_matches(&prefix));
        let error = relative_error(&host(&step.gradients[&module]), &golden.floats(key));
        assert!(error < F32_SUMS, "{key}: relative error {error}");
        worst = worst.max(error);
    }
    worst
}
