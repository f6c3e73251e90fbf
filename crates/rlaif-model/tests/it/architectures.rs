//! Architectures besides LLaVA against `transformers` and PEFT: prompts, tower, projector, logits,
//! greedy decoding, adapters, folders. `tools/make_smolvlm_fixtures.py` and
//! `tools/make_qwen_fixtures.py` wrote the fixtures.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, activation};
use rlaif_data::{Block, Message, Pixels, Role, VideoMetadata};
use rlaif_model::hf::{ChatTokenizer, PromptTokens, Weights, canonical_name};
use rlaif_model::{
    Grid, Parameters, Positions, Suffix, Turn, Vlm, attach_adapter, save, save_adapter,
};

use crate::support::{F32_SUMS, Golden, assert_close, fixture, grid_of, host, open};

const FIXTURES: [&str; 4] = ["smolvlm-a", "smolvlm-b", "qwen2_5-vl-a", "qwen2_5-vl-b"];

/// One prompt of a fixture: its frames, where they lie in their video, and its tokens.
struct Case {
    pixels: Pixels,
    tokens: PromptTokens,
}

/// Token ids with the places of visual tokens.
fn prompt_tokens(ids: Vec<u32>, image: u32) -> PromptTokens {
    let mut visual: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..ids.len()).filter(|at| ids[*at] == image) {
        match visual.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => visual.push(at..at + 1),
        }
    }
    PromptTokens { ids, visual }
}

impl Case {
    fn of(golden: &Golden, model: &Vlm, prefix: &str, index: usize) -> Case {
        let shape = golden.shape(&format!("{prefix}pixel_values"));
        let video = &golden.document()["prompts"][index];
        Case {
            pixels: Pixels {
                frames: shape[0],
                height: shape[2],
                width: shape[3],
                values: golden.floats(&format!("{prefix}pixel_values")),
                digest: String::new(),
                video: metadata(video),
            },
            tokens: prompt_tokens(golden.ids(&format!("{prefix}ids")), model.config.image_token_id),
        }
    }

    fn positions(&self, model: &Vlm) -> Positions {
        let grid = grid_of(model, &self.pixels);
        model
            .positions(&self.tokens, grid, &self.pixels.video)
            .unwrap_or_else(|| Positions::text(self.tokens.ids.len()))
    }

    /// Embeddings with the visual tokens in their places, `[T, hidden]`.
    fn embeds(&self, model: &Vlm) -> Tensor<2> {
        let grid = grid_of(model, &self.pixels);
        let visual = model.visual_tokens(model.tower_features(&self.pixels), &[grid]);
        let ids = &self.tokens.ids;
        let mut rows: Vec<usize> = (0..ids.len()).collect();
        let places: Vec<usize> = self.tokens.visual.iter().flat_map(Clone::clone).collect();
        assert_eq!(places.len(), visual.dims()[0], "the clip fills its placeholders");
        for (source, place) in places.into_iter().enumerate() {
            rows[place] = ids.len() + source;
        }
        let index = rlaif_model::decoder::index_tensor(&rows, &visual.device());
        Tensor::cat(vec![model.decoder.embed_tokens(ids), visual], 0).select(0, index)
    }

    /// Logits of all positions from `cut - 1` on, the tokens after `cut` as a continuation.
    fn logits(&self, model: &Vlm, cut: usize) -> Tensor<2> {
        let (embeds, positions) = (self.embeds(model), self.positions(model));
        let rest = embeds.dims()[0] - cut;
        let prefix = model
            .decoder
            .prefill_at(embeds.clone().narrow(0, 0, cut), &[&positions.truncated(cut)]);
        let turn = Turn { prompt: 0, len: rest };
        let states = model.decoder.extend(&prefix, embeds.narrow(0, cut, rest), &[turn]);
        Tensor::cat(vec![prefix.last_hidden, states], 0).matmul(model.decoder.head().transpose())
    }
}

/// The video of a golden prompt.
fn metadata(prompt: &serde_json::Value) -> VideoMetadata {
    let video = &prompt["video"];
    let number = |value: &serde_json::Value| {
        usize::try_from(value.as_u64().expect("golden values")).expect("golden values")
    };
    let indices = prompt["indices"].as_array().expect("golden values").iter().map(number).collect();
    VideoMetadata::new(
        number(&video["frames"]),
        video["fps"].as_f64().expect("golden values"),
        indices,
    )
}

/// Messages of a golden prompt.
fn messages(value: &serde_json::Value) -> Vec<Message> {
    let block = |block: &serde_json::Value| match block["type"].as_str().expect("golden values") {
        "text" => Block::Text { text: block["text"].as_str().expect("golden values").to_owned() },
        _ => Block::Video { video: None },
    };
    let message = |message: &serde_json::Value| Message {
        role: match message["role"].as_str().expect("golden values") {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        },
        content: message["content"].as_array().expect("golden values").iter().map(block).collect(),
    };
    value.as_array().expect("golden values").iter().map(message).collect()
}

#[test]
fn prompts_are_token_for_token_those_of_the_processor() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let tokenizer = ChatTokenizer::open(fixture(name)).expect("golden values");
        let grid = grid_of(&model, &golden.pixels());
        let mut with_video = 0;
        for prompt in golden.document()["prompts"].as_array().expect("golden values") {
            let expected: Vec<u32> =
                serde_json::from_value(prompt["ids"].clone()).expect("token ids");
            let messages = messages(&prompt["messages"]);
            if prompt.get("video").is_none() {
                let add = prompt["add_generation_prompt"].as_bool().expect("golden values");
                let ids = tokenizer.encode_conversation(&messages, add).unwrap();
                assert_eq!(ids, expected, "{name}");
                continue;
            }
            with_video += 1;
            let video = metadata(prompt);
            let grid = match &prompt["grid"] {
                serde_json::Value::Array(sides) => {
                    let side = |at: usize| usize::try_from(sides[at].as_u64().unwrap()).unwrap();
                    Grid { t: side(0), h: side(1), w: side(2) }
                }
                _ => Grid { t: video.indices.len(), ..grid },
            };
            let text = model.video_text(grid, &video);
            let tokens = tokenizer.encode_prompt(&messages, &text).unwrap();
            assert_eq!(tokens.ids, expected, "{name}");
            let visual: usize = tokens.visual.iter().map(ExactSizeIterator::len).sum();
            assert_eq!(visual, model.n_visual_tokens(grid), "{name}");
        }
        assert!(with_video >= 2, "{name}");
    }
}

/// M-RoPE: time, row and column of every token, and where the answer goes on.
#[test]
fn rotary_positions_are_those_of_the_original_rule() {
    for name in ["qwen2_5-vl-a", "qwen2_5-vl-b"] {
        let (model, golden) = (open(name), Golden::of(name));
        for (index, prefix) in ["", "second."].into_iter().enumerate() {
            let got = Case::of(&golden, &model, prefix, index).positions(&model);
            let expected = golden.ids(&format!("{prefix}positions"));
            let axes: Vec<u32> = (0..3)
                .flat_map(|axis| got.rows.iter().map(move |row| u32::try_from(row[axis]).unwrap()))
                .collect();
            assert_eq!(axes, expected, "{name} {prefix}");
            assert_eq!(got.next, *expected.iter().max().unwrap() as usize + 1);
        }
    }
}

#[test]
fn tower_and_projector_give_what_transformers_gives() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let pixels = golden.pixels();
        let features = model.tower_features(&pixels);
        assert_close(&host(&features), &golden.floats("tower"), F32_SUMS, name);
        let grid = grid_of(&model, &pixels);
        let tokens = model.visual_tokens(features.clone(), &[grid]);
        assert_eq!(tokens.dims()[0], model.n_visual_tokens(grid));
        assert_close(&host(&tokens), &golden.floats("tokens"), F32_SUMS, name);
        // Two clips in one call, against each alone.
        let both =
            model.visual_tokens(Tensor::cat(vec![features.clone(), features], 0), &[grid; 2]);
        let twice = Tensor::cat(vec![tokens.clone(), tokens], 0);
        assert_close(&host(&both), &host(&twice), 1e-5, name);
    }
}

/// Patches of three frames, of which the last step lacks one; three by three patches to a token; the
/// names of `transformers`' own modules.
#[test]
fn a_clip_that_does_not_fill_its_last_step_repeats_its_last_frame() {
    let name = "qwen2_5-vl-c";
    let (model, golden) = (open(name), Golden::of(name));
    let pixels = golden.pixels();
    let grid = grid_of(&model, &pixels);
    assert_eq!((pixels.frames, grid.t), (5, 2));
    let features = model.tower_features(&pixels);
    assert_close(&host(&features), &golden.floats("tower"), F32_SUMS, name);
    let tokens = model.visual_tokens(features, &[grid]);
    assert_close(&host(&tokens), &golden.floats("tokens"), F32_SUMS, name);
    let weights = Weights::open(fixture(name)).unwrap();
    let called = |start: &str| weights.stored_names().values().any(|name| name.starts_with(start));
    assert!(called("model.visual.merger.") && called("model.language_model.layers."));
}

#[test]
fn logits_are_those_of_transformers_wherever_the_prompt_is_cut() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let case = Case::of(&golden, &model, "", 0);
        let expected = golden.floats("logits");
        let (vocabulary, len) = (model.config.text.vocab_size, case.tokens.ids.len());
        let after = case.tokens.visual.last().unwrap().end;
        // Prompts that end anywhere, within the video too.
        for len in [1, 2, after / 3, after / 2, after - 1, after, len] {
            let embeds = case.embeds(&model).narrow(0, 0, len);
            let positions = case.positions(&model).truncated(len);
            let prefix = model.decoder.prefill_at(embeds, &[&positions]);
            let got = host(&prefix.last_hidden.matmul(model.decoder.head().transpose()));
            let row = (len - 1) * vocabulary..len * vocabulary;
            assert_close(&got, &expected[row], F32_SUMS, &format!("{name} of {len} tokens"));
        }
        // Continuations are text: M-RoPE gives a clip's tokens positions of their own.
        for cut in [after + 1, usize::midpoint(after, len), len - 1] {
            let got = case.logits(&model, cut);
            let what = format!("{name} cut at {cut}");
            assert_close(&host(&got), &expected[(cut - 1) * vocabulary..], F32_SUMS, &what);
        }
    }
}

/// Two prompts of unlike lengths and clips, packed, against `transformers`' padded batch.
#[test]
fn a_batch_of_unequal_prompts_gives_each_its_logits() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let cases = [Case::of(&golden, &model, "", 0), Case::of(&golden, &model, "second.", 1)];
        let vocabulary = model.config.text.vocab_size;
        let known = golden.floats("second.logits");
        let rows = known.len() / vocabulary;
        let embeds: Vec<Tensor<2>> = cases.iter().map(|case| case.embeds(&model)).collect();
        let cuts: Vec<usize> = cases.iter().map(|case| case.tokens.ids.len() + 1 - rows).collect();
        let positions: Vec<Positions> = cases
            .iter()
            .zip(&cuts)
            .map(|(case, cut)| case.positions(&model).truncated(*cut))
            .collect();
        let heads: Vec<Tensor<2>> =
            embeds.iter().zip(&cuts).map(|(e, cut)| e.clone().narrow(0, 0, *cut)).collect();
        let tails: Vec<Tensor<2>> =
            embeds.iter().zip(&cuts).map(|(e, cut)| e.clone().narrow(0, *cut, rows - 1)).collect();
        let decoder = &model.decoder;
        let prefix =
            decoder.prefill_at(Tensor::cat(heads, 0), &positions.iter().collect::<Vec<_>>());
        let turns = [0, 1].map(|prompt| Turn { prompt, len: rows - 1 });
        let states = decoder.extend(&prefix, Tensor::cat(tails, 0), &turns);
        let second = Tensor::cat(
            vec![prefix.last_hidden.clone().narrow(0, 1, 1), states.narrow(0, rows - 1, rows - 1)],
            0,
        );
        let got = second.matmul(decoder.head().transpose());
        assert_close(&host(&got), &known, F32_SUMS, name);
    }
}

#[test]
fn greedy_decoding_follows_transformers() {
    for name in FIXTURES {
        let (model, golden) = (open(name), Golden::of(name));
        let case = Case::of(&golden, &model, "", 0);
        let decoder = &model.decoder;
        let prefix = decoder.prefill_at(case.embeds(&model), &[&case.positions(&model)]);
        let expected = golden.ids("greedy");
        let mut suffix = Suffix::new(decoder, vec![0], expected.len(), &model.device());
        let mut hidden = prefix.last_hidden.clone();
        let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
        for _ in 0..expected.len() {
            let row = hidden.matmul(decoder.head().transpose());
            let row = host(&activation::log_softmax(row, 1));
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            logprobs.push(row[best]);
            tokens.push(u32::try_from(best).unwrap());
            let embeds = decoder.embed_tokens(&tokens[tokens.len() - 1..]);
            hidden = decoder.step(&prefix, &mut suffix, embeds);
        }
        assert_eq!(tokens, expected, "{name}");
        assert_close(&logprobs, &golden.floats("greedy_logprobs"), F32_SUMS, name);
    }
}

/// Logits that choose the golden answer's tokens, and their mean cross-entropy.
fn answered(model: &Vlm, golden: &Golden) -> (Tensor<2>, Tensor<1>) {
    let answer = golden.shape("lora.logits")[0];
    let mut case = Case::of(golden, model, "", 0);
    let ids = golden.ids("lora.ids");
    let prompt = case.tokens.ids.len();
    assert_eq!(ids.len(), prompt + answer);
    let (embeds, positions) = (case.embeds(model), case.positions(model));
    let prefix = model.decoder.prefill_at(embeds, &[&positions]);
    let fed = model.decoder.embed_tokens(&ids[prompt..ids.len() - 1]);
    let states = model.decoder.extend(&prefix, fed, &[Turn { prompt: 0, len: answer - 1 }]);
    let states = Tensor::cat(vec![prefix.last_hidden, states], 0);
    let logits = states.matmul(model.decoder.head().transpose());
    let vocabulary = model.config.text.vocab_size;
    case.tokens.ids = ids;
    let targets: Vec<i64> = case.tokens.ids[prompt..]
        .iter()
        .enumerate()
        .map(|(row, id)| i64::try_from(row * vocabulary).expect("small") + i64::from(*id))
        .collect();
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &logits.device());
    let logprobs = activation::log_softmax(logits.clone(), 1).reshape([answer * vocabulary]);
    (logits, -logprobs.select(0, targets).mean())
}

#[test]
fn adapters_of_peft_give_its_logits_loss_and_gradients() {
    for name in FIXTURES {
        let golden = Golden::of(name);
        let mut model = open(name);
        let plain = host(&answered(&model, &golden).0);
        attach_adapter(&mut model, fixture(name).join("adapter")).expect("PEFT's adapter");
        let (logits, loss) = answered(&model, &golden);
        let expected = golden.floats("lora.logits");
        assert_close(&host(&logits), &expected, F32_SUMS, name);
        assert!((host(&loss)[0] - golden.floats("lora.loss")[0]).abs() < F32_SUMS, "{name}");
        assert!(plain.iter().zip(&expected).any(|(p, e)| (p - e).abs() > 0.1), "{name}");
        let merged = host(&answered(&model.merged(), &golden).0);
        assert_close(&merged, &expected, F32_SUMS, "merged");

        let tracked = model.tracked(|name| name.contains(".lora_"));
        let gradients = tracked.gradients(&answered(&tracked, &golden).1.backward());
        let keys: Vec<String> =
            golden.names().into_iter().filter(|name| name.starts_with("lora.grad.")).collect();
        assert!(keys.len() >= 28 && gradients.len() == keys.len(), "{name}");
        for key in keys {
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

/// Every tensor of a folder's weights or adapter by the name in the file.
fn stored(weights: &Weights) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let names = weights.stored_names();
    names
        .into_iter()
        .map(|(name, stored)| (stored, weights.tensor(&name).expect("a tensor")))
        .collect()
}

#[test]
fn a_checkpoint_is_saved_as_it_was_found() {
    for name in FIXTURES.into_iter().chain(["qwen2_5-vl-c"]) {
        let folder = tempfile::tempdir().unwrap();
        save(&open(name), folder.path()).unwrap();
        let json = |folder: &std::path::Path| -> serde_json::Value {
            let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(json(folder.path()), json(&fixture(name)), "{name}");
        let (old, new) =
            (Weights::open(fixture(name)).unwrap(), Weights::open(folder.path()).unwrap());
        assert!(stored(&old) == stored(&new), "{name}: other names or numbers");
    }
}

#[test]
fn an_adapter_is_written_under_the_names_of_peft() {
    for name in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        let mut model = open(name);
        let original = rlaif_model::hf::Adapter::open(fixture(name).join("adapter")).unwrap();
        attach_adapter(&mut model, fixture(name).join("adapter")).unwrap();
        let config = rlaif_model::LoraConfig {
            r: original.config.r,
            lora_alpha: original.config.lora_alpha,
            target_modules: original.config.target_modules.clone(),
        };
        save_adapter(&model, &config, None, folder.path()).unwrap();
        let again = rlaif_model::hf::Adapter::open(folder.path()).unwrap();
        assert!(stored(&again.weights) == stored(&original.weights), "{name}");
        let module = if name.starts_with("smolvlm") { "text_model" } else { "language_model" };
        let pattern = again.config.document["target_modules"].as_str().unwrap();
        assert!(pattern.contains(module), "{name}: {pattern}");
    }
}
