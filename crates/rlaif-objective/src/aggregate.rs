//! How a loss per token becomes one number: a weight for every token, summing to at most one.
//!
//! ```text
//! token     w_it = 1 / Σ_j |o_j|          mean over all tokens (DAPO, arXiv:2503.14476)
//! sequence  w_it = 1 / (N |o_i|)          mean of means per response (GRPO, arXiv:2402.03300)
//! constant  w_it = 1 / (N L)              L the length limit (Dr. GRPO, arXiv:2503.20783)
//! ```
//!
//! `N` responses of the whole optimizer step, micro-batches included, so that accumulating
//! gradients over micro-batches gives the gradient of the whole batch.

use serde::{Deserialize, Serialize};

/// How tokens are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Every token of the batch counts the same.
    #[default]
    Token,
    /// Every response counts the same.
    Sequence,
    /// Every token counts the same, whatever the batch: the divisor is the length limit.
    Constant,
}

/// One response's part in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Tokens of the response.
    pub len: usize,
    /// Whether its tokens count; a response masked for being cut off takes no part in the
    /// divisors either. TRL has it so for `token`; its `grpo` and `dr_grpo` losses go on counting
    /// the response.
    pub counts: bool,
}

/// Weight of one token of each response, in the order of `parts`; zero where it does not count.
#[must_use]
pub fn token_weights(parts: &[Part], aggregation: Aggregation, max_len: usize) -> Vec<f32> {
    let counted = || parts.iter().filter(|part| part.counts);
    let responses = counted().count().max(1) as f32;
    let tokens = counted().map(|part| part.len).sum::<usize>().max(1) as f32;
    parts
        .iter()
        .map(|part| match (part.counts, aggregation) {
            (false, _) => 0.0,
            (true, Aggregation::Token) => 1.0 / tokens,
            (true, Aggregation::Sequence) => 1.0 / (responses * part.len.max(1) as f32),
            (true, Aggregation::Constant) => 1.0 / (responses * max_len.max(1) as f32),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part; 3] = [
        Part { len: 2, counts: true },
        Part { len: 6, counts: true },
        Part { len: 8, counts: false },
    ];

    #[test]
    fn weights_are_those_of_the_three_papers() {
        let weights = |aggregation| token_weights(&PARTS, aggregation, 8);
        assert_eq!(weights(Aggregation::Token), [0.125, 0.125, 0.0]);
        assert_eq!(weights(Aggregation::Sequence), [0.25, 1.0 / 12.0, 0.0]);
        assert_eq!(weights(Aggregation::Constant), [0.0625, 0.0625, 0.0]);
    }
}
