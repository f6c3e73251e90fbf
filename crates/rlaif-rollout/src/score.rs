//! Teacher forcing: log-probabilities and entropies of given continuations, all tokens at once.

use burn::tensor::{Int, Tensor};
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Prefix, Turn, Vlm};
use rlaif_ops::TokenStats;

/// Normalised hidden states that predict each token of each response, `[Σ T, hidden]`: the
/// prompt's last state for a first token, the response's own states for the others.
///
/// `responses` are pairs of a prompt's index in the prefix and token ids; none may be empty.
#[must_use]
pub fn response_hidden(model: &Vlm, prefix: &Prefix, responses: &[(usize, &[u32])]) -> Tensor<2> {
    let prompts = prefix.lens.len();
    let mut fed = Vec::new();
    let mut turns = Vec::new();
    let mut rows = Vec::new();
    for (prompt, tokens) in responses {
        rows.push(*prompt);
        let inputs = &tokens[..tokens.len() - 1];
        rows.extend((0..inputs.len()).map(|i| prompts + fed.len() + i));
        if !inputs.is_empty() {
            fed.extend_from_slice(inputs);
            turns.push(Turn { prompt: *prompt, len: inputs.len() });
        }
    }
    let states = if fed.is_empty() {
        prefix.last_hidden.clone()
    } else {
        let hidden = model.decoder.extend(prefix, model.decoder.embed_tokens(&fed), &turns);
        Tensor::cat(vec![prefix.last_hidden.clone(), hidden], 0)
    };
    let index = index_tensor(&rows, &states.device());
    states.select(0, index)
}

/// Normalised hidden state after the last token of each continuation, `[R, hidden]`: where a score
/// of the whole is read.
///
/// `continuations` are pairs of a prompt's index in the prefix and token ids; none may be empty.
#[must_use]
pub fn last_hidden(model: &Vlm, prefix: &Prefix, continuations: &[(usize, &[u32])]) -> Tensor<2> {
    let mut fed = Vec::new();
    let mut turns = Vec::new();
    let mut rows = Vec::new();
    for (prompt, tokens) in continuations {
        fed.extend_from_slice(tokens);
        turns.push(Turn { prompt: *prompt, len: tokens.len() });
        rows.push(fed.len() - 1);
    }
    let states = model.decoder.extend(prefix, model.decoder.embed_tokens(&fed), &turns);
    let index = index_tensor(&rows, &states.device());
    states.select(0, index)
}

/// Log-probability and entropy of every response token, in the order given, `[Σ T]` each.
/// The entropy is a plain number for metrics: no gradient passes through it.
#[must_use]
pub fn score(
    model: &Vlm,
    prefix: &Prefix,
    responses: &[(usize, &[u32])],
    forbidden: &[u32],
) -> TokenStats {
    let hidden = response_hidden(model, prefix, responses);
    let targets: Vec<i64> =
        responses.iter().flat_map(|(_, tokens)| tokens.iter().map(|t| i64::from(*t))).collect();
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &hidden.device());
    rlaif_ops::token_logprobs(hidden, model.decoder.head(), targets, forbidden)
}
