//! Tokens are shown as they are sampled, and whoever looks may end a continuation.

use std::ops::ControlFlow;

use rlaif_data::FinishReason;
use rlaif_rollout::{
    PromptInput, SampleRequest, Sampled, SamplingParams, encode, sample, sample_observed,
};

use crate::support::{F32_SUMS, assert_close, model, prompts, requests, vocabulary};

fn params(max_completion_length: usize) -> SamplingParams {
    SamplingParams { max_completion_length, ..SamplingParams::default() }
}

/// Position, token, its log-probability and whether it ends, of each continuation.
type Seen = Vec<Vec<(usize, u32, f32, bool)>>;

fn watched(
    requests: &[SampleRequest],
    params: &[SamplingParams],
    ends: impl Fn(usize, usize) -> bool,
) -> (Vec<Sampled>, Seen) {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let mut seen: Seen = vec![Vec::new(); requests.len()];
    let sampled = sample_observed(&model, &prefix, requests, params, &vocabulary(), &mut |token| {
        assert_eq!(token.row.len(), 29);
        let total: f32 = token.row.iter().map(|lp| lp.exp()).sum();
        assert!((total - 1.0).abs() < 1e-4, "a distribution: {total}");
        let own = token.row[token.choice.token as usize];
        assert_eq!(own.to_bits(), token.choice.logprob.to_bits());
        seen[token.request].push((
            token.position,
            token.choice.token,
            token.choice.logprob,
            token.ends,
        ));
        if ends(token.request, token.position) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (sampled, seen)
}

#[test]
fn every_token_is_shown_once_in_its_place() {
    let requests = requests(prompts().len(), 3);
    let each = vec![params(12); requests.len()];
    let (sampled, seen) = watched(&requests, &each, |_, _| false);
    for (one, seen) in sampled.iter().zip(&seen) {
        let ids: Vec<u32> = seen.iter().map(|(_, token, _, _)| *token).collect();
        assert_eq!(ids, one.token_ids);
        assert!(seen.iter().enumerate().all(|(at, (position, ..))| at == *position));
        let ended = seen.last().is_some_and(|(.., ends)| *ends);
        assert_eq!(ended, one.finish_reason == FinishReason::Stop);
    }
    assert!(sampled.iter().any(|one| one.finish_reason == FinishReason::Stop));
    assert!(sampled.iter().any(|one| one.finish_reason == FinishReason::Length));
}

/// The first three tokens of every other continuation, the whole of the rest: as without anybody
/// who looks.
#[test]
fn ending_one_continuation_leaves_the_others_as_they_are() {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let requests = requests(prompts.len(), 3);
    let free = sample(&model, &encode(&model, &inputs), &requests, &params(12), &vocabulary());
    let each = vec![params(12); requests.len()];
    let (sampled, _) = watched(&requests, &each, |request, at| request % 2 == 0 && at == 2);
    for (index, (one, free)) in sampled.iter().zip(&free).enumerate() {
        let len = if index % 2 == 0 { free.token_ids.len().min(3) } else { free.token_ids.len() };
        assert_eq!(one.token_ids, free.token_ids[..len], "continuation {index}");
        assert_close(&one.logprobs, &free.logprobs[..len], F32_SUMS, "log-probabilities");
        if index % 2 == 0 {
            assert_eq!(one.finish_reason, FinishReason::Stop);
        }
    }
}

#[test]
fn requests_that_fly_together_keep_their_own_parameters() {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 2);
    let each: Vec<SamplingParams> = (0..requests.len())
        .map(|index| SamplingParams {
            temperature: [0.0, 1.0, 0.7][index % 3],
            top_k: index % 4,
            ..params(2 + index)
        })
        .collect();
    let (sampled, _) = watched(&requests, &each, |_, _| false);
    for ((one, request), params) in sampled.iter().zip(&requests).zip(&each) {
        let alone = sample(&model, &prefix, &[*request], params, &vocabulary()).remove(0);
        assert_eq!(one.token_ids, alone.token_ids);
        assert_eq!(one.finish_reason, alone.finish_reason);
    }
    assert!(sampled.iter().enumerate().any(|(at, one)| one.token_ids.len() == 2 + at));
}
