//! What a continuation says depends on its prompt and its seed, not on its company.

use rlaif_model::{Prefix, Suffix, Turn, Vlm};
use rlaif_rollout::{
    PromptInput, SampleRequest, Sampled, SamplingParams, Vocabulary, encode, sample,
};

use crate::support::{F32_SUMS, IMAGE, assert_close, host, model, prompts, requests, vocabulary};

fn alone(
    model: &Vlm,
    prompts: &[PromptInput],
    requests: &[SampleRequest],
    params: &SamplingParams,
    vocabulary: &Vocabulary,
) -> Vec<Sampled> {
    let one = |request: &SampleRequest| {
        let prefix = encode(model, &[&prompts[request.prompt]]);
        let request = SampleRequest { prompt: 0, ..*request };
        sample(model, &prefix, &[request], params, vocabulary).remove(0)
    };
    requests.iter().map(one).collect()
}

/// All together, in another order, and each alone. Completions end at different lengths, so that
/// slots of the cache are given up on the way.
#[test]
fn the_same_seed_gives_the_same_tokens_whatever_else_is_in_flight() {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix = encode(&model, &inputs);
    let requests = requests(prompts.len(), 6);
    let vocabulary = Vocabulary { eos: (23..29).collect(), forbidden: vec![0, 1, IMAGE] };
    for (temperature, top_p) in [(1.0, 1.0), (0.8, 0.9)] {
        let params = SamplingParams {
            temperature,
            top_p,
            max_completion_length: 14,
            ..SamplingParams::default()
        };
        let together = sample(&model, &prefix, &requests, &params, &vocabulary);
        let lens: std::collections::BTreeSet<usize> =
            together.iter().map(|one| one.token_ids.len()).collect();
        assert!(lens.len() >= 5, "{lens:?}");
        let distinct: std::collections::BTreeSet<&[u32]> =
            together.iter().map(|one| one.token_ids.as_slice()).collect();
        assert!(distinct.len() > requests.len() / 2, "seeds differ");

        let again = sample(&model, &prefix, &requests, &params, &vocabulary);
        assert_eq!(again, together, "the same bits once more");

        let mut order: Vec<usize> = (0..requests.len()).rev().collect();
        order.swap(0, 5);
        let shuffled: Vec<SampleRequest> = order.iter().map(|i| requests[*i]).collect();
        let shuffled = sample(&model, &prefix, &shuffled, &params, &vocabulary);
        let single = alone(&model, &prompts, &requests, &params, &vocabulary);
        for (at, index) in order.into_iter().enumerate() {
            let one = &together[index];
            for other in [&shuffled[at], &single[index]] {
                assert_eq!(other.token_ids, one.token_ids);
                assert_eq!(other.finish_reason, one.finish_reason);
                assert_close(&other.logprobs, &one.logprobs, F32_SUMS, "log-probabilities");
            }
        }
    }
}

#[test]
fn prompts_encoded_together_equal_prompts_encoded_one_at_a_time() {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let together = encode(&model, &inputs);
    for (index, prompt) in prompts.iter().enumerate() {
        let single = encode(&model, &[prompt]);
        let rows = together.rows(index);
        assert_eq!(rows.len(), prompt.ids.len());
        let last = together.last_hidden.clone().narrow(0, index, 1);
        assert_close(&host(&last), &host(&single.last_hidden), F32_SUMS, "last hidden state");
        for (many, one) in together.layers.iter().zip(&single.layers) {
            for (many, one) in [(&many.k, &one.k), (&many.v, &one.v)] {
                let own = many.clone().narrow(0, rows.start, rows.len());
                assert_close(&host(&own), &host(one), F32_SUMS, "keys and values");
            }
        }
    }
}

/// Hidden states of every position: one token at a time against all at once. Half way, the
/// continuations change slots and one is dropped.
#[test]
fn decoding_token_by_token_equals_the_whole_pass() {
    let (model, prompts) = (model(1), prompts());
    let inputs: Vec<&PromptInput> = prompts.iter().collect();
    let prefix: Prefix = encode(&model, &inputs);
    let decoder = &model.decoder;
    let mut places = vec![1, 0, 1, 3, 2];
    let mut texts: Vec<Vec<u32>> =
        (0..places.len()).map(|i| crate::support::prompt(40 + i as u64, 8, 0).ids).collect();
    let whole: Vec<Vec<f32>> = places
        .iter()
        .zip(&texts)
        .map(|(prompt, text)| {
            let turn = Turn { prompt: *prompt, len: text.len() };
            host(&decoder.extend(&prefix, decoder.embed_tokens(text), &[turn]))
        })
        .collect();
    let width = model.config.text.hidden_size;
    let mut order: Vec<usize> = (0..places.len()).collect();
    let mut suffix = Suffix::new(decoder, places.clone(), 8, &model.device());
    for position in 0..8 {
        if position == 4 {
            let kept = [4, 1, 0, 3];
            suffix.keep(&kept);
            order = kept.to_vec();
            places = kept.iter().map(|i| places[*i]).collect();
            texts = kept.iter().map(|i| texts[*i].clone()).collect();
        }
        assert_eq!((suffix.len(), suffix.slots()), (position, places.len()));
        let tokens: Vec<u32> = texts.iter().map(|text| text[position]).collect();
        let hidden = host(&decoder.step(&prefix, &mut suffix, decoder.embed_tokens(&tokens)));
        for (slot, original) in order.iter().enumerate() {
            let expected = &whole[*original][position * width..(position + 1) * width];
            let got = &hidden[slot * width..(slot + 1) * width];
            assert_close(got, expected, F32_SUMS, &format!("position {position}"));
        }
    }
}

#[test]
fn a_longer_limit_only_lets_completions_go_on() {
    let (model, prompts) = (model(1), prompts());
    let prefix = encode(&model, &[&prompts[1]]);
    let requests = requests(1, 8);
    let at = |max_completion_length| {
        let params = SamplingParams { max_completion_length, ..SamplingParams::default() };
        sample(&model, &prefix, &requests, &params, &vocabulary())
    };
    let (short, long) = (at(3), at(12));
    for (short, long) in short.iter().zip(&long) {
        assert!(long.token_ids.starts_with(&short.token_ids));
        assert!(short.token_ids.len() <= 3);
    }
    assert!(long.iter().any(|one| one.token_ids.len() > 3));
    assert!(at(1).iter().all(|one| one.token_ids.len() == 1));
}
