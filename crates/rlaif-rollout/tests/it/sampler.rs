//! The sampler's log-probabilities are those of the training pass; what cannot be said is never
//! sampled; end tokens end.

use burn::tensor::{Tensor, TensorData};
use rlaif_data::FinishReason;
use rlaif_model::{Parameters, Slot, Vlm};
use rlaif_rollout::{PromptInput, SamplingParams, Vocabulary, encode, sample, score};

use crate::support::{
    EOS, F32_SUMS, IMAGE, assert_close, host, model, prompts, requests, responses, vocabulary,
};

fn settings() -> Vec<SamplingParams> {
    let of = |temperature, top_p, top_k, min_completion_length| SamplingParams {
        temperature,
        top_p,
        top_k,
        max_completion_length: 10,
        min_completion_length,
    };
    vec![
        of(1.0, 1.0, 0, 0),
        of(1.0, 1.0, 0, 6),
        of(0.6, 1.0, 0, 0),
        of(1.7, 0.8, 0, 0),
        of(1.0, 1.0, 5, 0),
        of(1.3, 0.9, 7, 4),
        of(0.0, 1.0, 0, 0),
    ]
}

/// Whatever was sampled from, `logprobs` are the unmodified policy's.
#[test]
fn the_samplers_log_probabilities_are_the_teacher_forced_ones() {
    let (model, prompts, vocabulary) = (model(1), prompts(), vocabulary());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 6);
    for params in settings() {
        let sampled = sample(&model, &prefix, &requests, &params, &vocabulary);
        let lens: Vec<usize> = sampled.iter().map(|one| one.token_ids.len()).collect();
        assert!(lens.iter().any(|len| *len >= 6), "{params:?}: too short to say much: {lens:?}");
        let stats = score(&model, &prefix, &responses(&requests, &sampled), &vocabulary.forbidden);
        let got: Vec<f32> = sampled.iter().flat_map(|one| one.logprobs.clone()).collect();
        assert_close(&got, &host(&stats.logprobs), F32_SUMS, &format!("{params:?}"));
    }
}

/// The other log-probabilities, from each token's whole row: temperature, then top-k, then top-p.
#[test]
fn sampling_log_probabilities_are_those_of_the_filtered_distribution() {
    let (model, prompts, vocabulary) = (model(1), prompts(), vocabulary());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 4);
    for params in settings().into_iter().filter(|params| params.temperature > 0.0) {
        let sampled = sample(&model, &prefix, &requests, &params, &vocabulary);
        let responses = responses(&requests, &sampled);
        let hidden = rlaif_rollout::response_hidden(&model, &prefix, &responses);
        let logits = rlaif_ops::linear(hidden, model.decoder.head(), None);
        let rows = host(&rlaif_ops::log_softmax_rows(logits, &vocabulary.forbidden));
        let mut rows = rows.chunks_exact(29);
        for one in &sampled {
            for (position, token) in one.token_ids.iter().enumerate() {
                let row = rows.next().expect("a row per token");
                let early = position < params.min_completion_length;
                let mut kept: Vec<(usize, f64)> = row
                    .iter()
                    .enumerate()
                    .filter(|(id, _)| !(early && *id == EOS as usize))
                    .map(|(id, lp)| (id, (f64::from(*lp) / params.temperature).exp()))
                    .collect();
                kept.sort_by(|a, b| b.1.total_cmp(&a.1));
                kept.truncate(if params.top_k == 0 { 29 } else { params.top_k });
                let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
                let mut reached = 0.0;
                kept.retain(|(_, weight)| {
                    let inside = reached < params.top_p;
                    reached += weight / total;
                    inside
                });
                let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
                let own = kept.iter().find(|(id, _)| *id == *token as usize);
                let (_, weight) = own.expect("the token survived the filters");
                let got = f64::from(one.sampling_logprobs[position]);
                let expected = (weight / total).ln();
                assert!((got - expected).abs() < 1e-4, "{params:?}: {got} is not {expected}");
            }
        }
    }
}

/// A model that wants nothing but `token`: the first feature of every hidden state is large, and
/// the head's row of `token` reads it.
fn obsessed(tokens: &[u32]) -> Vlm {
    let mut model = model(2);
    model.walk("", &mut |name, slot| {
        let Slot::Matrix(matrix) = slot else { return };
        let [rows, width] = matrix.dims();
        let mut values = host(matrix);
        match name {
            "language_model.model.embed_tokens.weight" => {
                values.iter_mut().step_by(width).for_each(|first| *first = 20.0);
            }
            "language_model.lm_head.weight" => {
                for token in tokens {
                    values[*token as usize * width] = 100.0;
                }
            }
            _ => return,
        }
        *matrix = Tensor::from_data(TensorData::new(values, [rows, width]), &matrix.device());
    });
    model
}

#[test]
fn placeholders_and_padding_are_never_sampled_however_much_the_head_wants_them() {
    let forbidden = vocabulary().forbidden;
    let (model, prompts) = (obsessed(&forbidden), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 8);
    let free = Vocabulary { eos: vec![EOS], forbidden: Vec::new() };
    for params in settings() {
        // Left free, the model says nothing else: the test would fail without the mask.
        let wanted = sample(&model, &prefix, &requests, &params, &free);
        assert!(wanted.iter().all(|one| one.token_ids.iter().all(|id| forbidden.contains(id))));
        let sampled = sample(&model, &prefix, &requests, &params, &vocabulary());
        let said: Vec<u32> = sampled.iter().flat_map(|one| one.token_ids.clone()).collect();
        assert!(said.iter().all(|id| !forbidden.contains(id)), "{params:?}: {said:?}");
        assert!(!said.contains(&IMAGE) && said.len() > 40);
        // And what was said has the probability it has without the forbidden ones.
        let stats = score(&model, &prefix, &responses(&requests, &sampled), &forbidden);
        let got: Vec<f32> = sampled.iter().flat_map(|one| one.logprobs.clone()).collect();
        // The forbidden logits lie some hundreds above the others, whose sum must not feel them.
        assert_close(&got, &host(&stats.logprobs), F32_SUMS, &format!("{params:?}"));
    }
}

#[test]
fn an_end_token_ends_its_completion_and_no_other() {
    let (model, prompts) = (model(3), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 12);
    let params = SamplingParams { max_completion_length: 9, ..SamplingParams::default() };
    // A third of the vocabulary ends, so that completions end all along the way.
    let vocabulary = Vocabulary { eos: (20..29).collect(), forbidden: vec![0, 1, IMAGE] };
    let sampled = sample(&model, &prefix, &requests, &params, &vocabulary);
    let mut lens = std::collections::BTreeSet::new();
    for one in &sampled {
        let (last, before) = one.token_ids.split_last().expect("at least one token");
        assert!(before.iter().all(|id| *id < 20), "{:?}", one.token_ids);
        if *last < 20 {
            assert_eq!((one.finish_reason, one.token_ids.len()), (FinishReason::Length, 9));
        } else {
            assert_eq!(one.finish_reason, FinishReason::Stop);
        }
        assert_eq!(one.logprobs.len(), one.token_ids.len());
        assert_eq!(one.sampling_logprobs.len(), one.token_ids.len());
        lens.insert(one.token_ids.len());
    }
    assert!(lens.len() >= 4 && lens.contains(&1), "{lens:?}");

    let params = SamplingParams { min_completion_length: 5, ..params };
    let late = sample(&model, &prefix, &requests, &params, &vocabulary);
    assert!(late.iter().all(|one| one.token_ids.len() > 5 && one.token_ids[4] < 20));
    assert!(late.iter().any(|one| one.finish_reason == FinishReason::Stop));

    let endless = Vocabulary { eos: Vec::new(), forbidden: vec![0, 1, IMAGE] };
    for one in sample(&model, &prefix, &requests, &params, &endless) {
        assert_eq!((one.finish_reason, one.token_ids.len()), (FinishReason::Length, 9));
    }
}
