//! Generation: continuations of many prompts at once, each prompt's prefix shared.
//!
//! The weights are read once per step for all continuations in flight, of all prompts.

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rlaif_data::FinishReason;
use rlaif_model::{Prefix, Suffix, Vlm};

use crate::token::{Choice, SamplingParams, Vocabulary, choose};

/// One continuation to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRequest {
    /// Index of the prompt in the prefix.
    pub prompt: usize,
    /// Seed of this continuation's own random stream: what it samples depends on nothing else
    /// that is in flight.
    pub seed: u64,
}

/// One sampled continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Tokens with the closing end token, where there is one. Length `T`, at least 1.
    pub token_ids: Vec<u32>,
    /// Log-probabilities under the unmodified policy, length `T`.
    pub logprobs: Vec<f32>,
    /// Log-probabilities under the distribution that was sampled from, length `T`.
    pub sampling_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// A token that was sampled this moment, as [`sample_observed`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Index of its continuation among the requests.
    pub request: usize,
    /// Its place in the continuation, from 0.
    pub position: usize,
    /// The token with its log-probabilities.
    pub choice: Choice,
    /// True for an end token: nothing follows it.
    pub ends: bool,
    /// Log-probability of every token of the vocabulary in its place under the unmodified policy,
    /// negative infinity where forbidden.
    pub row: &'a [f32],
}

struct InFlight {
    request: usize,
    rng: ChaCha8Rng,
}

/// Samples every request to its end. Results are in the order of `requests`.
///
/// # Panics
///
/// Panics when `max_completion_length` is 0 or a request names no prompt of the prefix.
#[must_use]
pub fn sample(
    model: &Vlm,
    prefix: &Prefix,
    requests: &[SampleRequest],
    params: &SamplingParams,
    vocabulary: &Vocabulary,
) -> Vec<Sampled> {
    let params = vec![params.clone(); requests.len()];
    let unseen = &mut |_: &Observed<'_>| ControlFlow::Continue(());
    sample_observed(model, prefix, requests, &params, vocabulary, unseen)
}

/// [`sample`] with parameters for each request, showing every token to `observe` as soon as it is
/// sampled. [`ControlFlow::Break`] ends that continuation after the token, which is kept; its
/// [`finish_reason`](Sampled::finish_reason) is [`FinishReason::Stop`]. What the others sample does
/// not change.
///
/// `observe` is called from the thread that samples, for one step's tokens in the order of the
/// requests: while it takes its time, nothing is sampled.
///
/// # Panics
///
/// Panics when there is not one of `params` for each request, where a `max_completion_length` is 0
/// or a request names no prompt of the prefix.
#[must_use]
pub fn sample_observed(
    model: &Vlm,
    prefix: &Prefix,
    requests: &[SampleRequest],
    params: &[SamplingParams],
    vocabulary: &Vocabulary,
    observe: &mut dyn FnMut(&Observed<'_>) -> ControlFlow<()>,
) -> Vec<Sampled> {
    assert_eq!(params.len(), requests.len(), "not one of `params` for each request");
    assert!(params.iter().all(|p| p.max_completion_length > 0), "max_completion_length is 0");
    let decoder = &model.decoder;
    let longest = params.iter().map(|p| p.max_completion_length).max().unwrap_or(0);
    let empty = Sampled {
        token_ids: Vec::new(),
        logprobs: Vec::new(),
        sampling_logprobs: Vec::new(),
        finish_reason: FinishReason::Length,
    };
    let mut done = vec![empty; requests.len()];
    let mut flying: Vec<InFlight> = requests
        .iter()
        .enumerate()
        .map(|(request, r)| InFlight { request, rng: ChaCha8Rng::seed_from_u64(r.seed) })
        .collect();

    // One row per prompt serves the first token of all its continuations.
    let rows: Vec<usize> = requests.iter().map(|request| request.prompt).collect();
    let mut logprobs = next_token_logprobs(model, prefix.last_hidden.clone(), vocabulary);
    let mut row_of: Vec<usize> = rows.clone();
    let mut suffix =
        Suffix::new(decoder, rows, longest.saturating_sub(1).max(1), &prefix.last_hidden.device());
    // Slot of each continuation in flight.
    let mut slots: Vec<usize> = (0..requests.len()).collect();

    for position in 0..longest {
        let choices = choose_all(&mut flying, &logprobs, &row_of, position, params, vocabulary);
        let mut still = Vec::with_capacity(flying.len());
        for (index, (one, picked)) in flying.iter().zip(&choices).enumerate() {
            let out = &mut done[one.request];
            out.token_ids.push(picked.token);
            out.logprobs.push(picked.logprob);
            out.sampling_logprobs.push(picked.sampling_logprob);
            let ends = vocabulary.eos.contains(&picked.token);
            let shown = observe(&Observed {
                request: one.request,
                position,
                choice: *picked,
                ends,
                row: logprobs.row(row_of[index]),
            });
            if ends || shown.is_break() {
                out.finish_reason = FinishReason::Stop;
            } else if position + 1 < params[one.request].max_completion_length {
                still.push(index);
            }
        }
        if still.is_empty() {
            break;
        }
        let tokens: Vec<u32> = still.iter().map(|index| choices[*index].token).collect();
        slots = still.iter().map(|index| slots[*index]).collect();
        let mut index = 0;
        flying.retain(|_| {
            index += 1;
            still.binary_search(&(index - 1)).is_ok()
        });
        // Finished continuations keep their slot until a quarter of the slots is idle: moving
        // the cache costs more than a few idle rows.
        if slots.len() * 4 <= suffix.slots() * 3 {
            suffix.keep(&slots);
            slots = (0..slots.len()).collect();
        }
        let mut row_tokens = vec![0; suffix.slots()];
        for (slot, token) in slots.iter().zip(&tokens) {
            row_tokens[*slot] = *token;
        }
        let hidden = decoder.step(prefix, &mut suffix, decoder.embed_tokens(&row_tokens));
        logprobs = next_token_logprobs(model, hidden, vocabulary);
        row_of.clone_from(&slots);
    }
    done
}

/// The next token of every continuation in flight.
fn choose_all(
    flying: &mut [InFlight],
    logprobs: &Rows,
    row_of: &[usize],
    position: usize,
    params: &[SamplingParams],
    vocabulary: &Vocabulary,
) -> Vec<Choice> {
    flying
        .par_iter_mut()
        .zip(row_of)
        .map(|(one, row)| {
            let params = &params[one.request];
            let early = position < params.min_completion_length;
            let banned: &[u32] = if early { &vocabulary.eos } else { &[] };
            choose(logprobs.row(*row), banned, params, &mut one.rng)
        })
        .collect()
}

/// Log-probabilities of every token, on the host.
struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}

fn next_token_logprobs(
    model: &Vlm,
    hidden: burn::tensor::Tensor<2>,
    vocabulary: &Vocabulary,
) -> Rows {
    let logits = rlaif_ops::linear(hidden, model.decoder.head(), None);
    let logprobs = rlaif_ops::log_softmax_rows(logits, &vocabulary.forbidden);
    let width = logprobs.dims()[1];
    Rows { values: logprobs.into_data().iter::<f32>().collect(), width }
}
