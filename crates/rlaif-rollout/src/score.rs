//! Teacher forcing: log-probabilities and entropies of given continuations, all tokens at once.

use burn::tensor::{Int, Tensor};
use rlaif_model::{Prefix, Vlm};
use rlaif_ops::TokenStats;

use crate::pass::{Pass, Reads};

/// Normalised hidden states that predict each token of each response, `[Σ T, hidden]`: the
/// prompt's last state for a first token, the response's own states for the others.
///
/// `responses` are pairs of a prompt's index in the prefix and token ids; none may be empty.
#[must_use]
pub fn response_hidden(model: &Vlm, prefix: &Prefix, responses: &[(usize, &[u32])]) -> Tensor<2> {
    Pass::after(model, prefix, responses, Reads::EachToken).hidden
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
