//! Supervised fine-tuning: the negative log-likelihood of the answer's tokens.
//!
//! ```text
//! L = - Σ_t w_t log π_θ(o_t | q, o_<t)
//! ```
//!
//! Prompt and video tokens carry no loss: their weight is zero.

use burn::tensor::Tensor;

/// The loss, `[1]`, from log-probabilities and weights, both `[N]`.
///
/// # Panics
///
/// Panics if the lengths differ.
#[must_use]
pub fn sft(logprobs: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
    assert_eq!(logprobs.dims(), weights.dims(), "one weight per token");
    -(logprobs * weights).sum()
}
