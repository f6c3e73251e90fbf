//! Prompts about one clip, their beginning encoded once, against each encoded whole.

use rlaif_model::Positions;
use rlaif_rollout::{
    PromptInput, SampleRequest, SamplingParams, Vocabulary, encode, encode_alike, sample,
};

use crate::support::{F32_SUMS, IMAGE, assert_close, host, model, prompt, prompts};

/// `base` with other words from place `at` on.
fn with(base: &PromptInput, at: usize, words: &[u32]) -> PromptInput {
    let mut other = base.truncated(at);
    other.extend(words);
    other
}

/// Two clips asked about several times, in turn, beside a prompt that differs before its clip, one
/// without a clip, and one that is asked once.
fn asked() -> Vec<PromptInput> {
    let (a, b) = (prompt(2, 9, 5), prompt(4, 6, 2));
    let (end_a, end_b) = (a.visual_end(), b.visual_end());
    let mut before = a.clone();
    before.ids[0] = if before.ids[0] == 7 { 8 } else { 7 };
    vec![
        with(&a, end_a + 2, &[5, 6, 7]),
        with(&b, end_b, &[9, 9]),
        before,
        with(&a, end_a + 2, &[8]),
        prompt(3, 4, 0),
        with(&b, end_b, &[10]),
        a.clone(),
        prompt(1, 3, 2),
    ]
}

fn assert_same_prefix(prompts: &[PromptInput]) {
    let model = model(1);
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let (got, expected) = (encode_alike(&model, &inputs), encode(&model, &inputs));
    assert_eq!((&got.lens, &got.next), (&expected.lens, &expected.next));
    let close = |got: &_, expected: &_, what: &str| {
        assert_close(&host(got), &host(expected), F32_SUMS, what);
    };
    close(&got.last_hidden, &expected.last_hidden, "last states");
    assert_eq!(got.layers.len(), expected.layers.len());
    for (got, expected) in got.layers.iter().zip(&expected.layers) {
        close(&got.k, &expected.k, "keys");
        close(&got.v, &expected.v, "values");
    }
}

#[test]
fn what_prompts_have_in_common_is_encoded_once_and_nothing_else_changes() {
    assert_same_prefix(&asked());
    assert_same_prefix(&prompts());
    // Asked the same twice, and one that ends where its clip does.
    let same = prompt(2, 9, 5);
    assert_same_prefix(&[same.clone(), same.clone()]);
    assert_same_prefix(&[same.clone(), same.truncated(same.visual_end()), same]);
}

/// Positions that jump behind the clip, as M-RoPE has them.
#[test]
fn positions_of_their_own_go_on_behind_the_beginning() {
    let mut prompts = asked();
    for prompt in &mut prompts {
        let end = prompt.visual_end();
        let mut positions = Positions::text(1);
        for place in 1..end {
            positions.rows.push([1, 1 + place % 2, 1 + place % 3]);
        }
        positions.next = if end > 0 { 4 } else { 1 };
        positions.extend_text(prompt.ids.len() - positions.rows.len());
        prompt.positions = Some(positions);
    }
    assert_same_prefix(&prompts);
}

#[test]
fn continuations_are_those_of_prompts_encoded_whole() {
    let (model, prompts) = (model(1), asked());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let params = SamplingParams { max_completion_length: 8, ..SamplingParams::default() };
    let requests: Vec<SampleRequest> = (0..prompts.len())
        .map(|prompt| SampleRequest { prompt, seed: 3 + prompt as u64 })
        .collect();
    // Ends at different lengths.
    let vocabulary = Vocabulary { eos: (23..29).collect(), forbidden: vec![0, 1, IMAGE] };
    let of = |prefix| sample(&model, prefix, &requests, &params, &vocabulary);
    let (alike, whole) = (of(&encode_alike(&model, &inputs)), of(&encode(&model, &inputs)));
    let lens: std::collections::BTreeSet<usize> =
        whole.iter().map(|one| one.token_ids.len()).collect();
    assert!(lens.len() > 1, "{lens:?}");
    for (alike, whole) in alike.iter().zip(&whole) {
        assert_eq!(alike.token_ids, whole.token_ids);
        assert_close(&alike.logprobs, &whole.logprobs, F32_SUMS, "log-probabilities");
    }
}
