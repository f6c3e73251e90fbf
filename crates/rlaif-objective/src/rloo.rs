//! REINFORCE with a leave-one-out baseline, on whole responses.
//!
//! ```text
//! R_i  = score_i - β Σ_t (log π_old(o_it) - log π_ref(o_it))
//! A_i  = R_i - mean_{j ≠ i} R_j
//! ρ_i  = exp(Σ_t (log π_θ(o_it) - log π_old(o_it)))
//! J_i  = min(ρ_i A_i, clip(ρ_i, 1 - ε_low, 1 + ε_high) A_i)
//! loss = - Σ_i w_i J_i
//! ```
//!
//! Source: Ahmadian et al. 2024, arXiv:2402.14740; the clipped ratio is TRL's. The KL is part of the
//! reward and the caller subtracts it from the score, over all of a response's tokens, before
//! [`leave_one_out`]; it has no gradient of its own. A response has one ratio, and its length does
//! not divide anything.
//!
//! This equals TRL 1.16's `RLOOTrainer` with `normalize_advantages = false` and `reward_clip_range`
//! unset: the ratio of summed log-probabilities, the same clip, `w_i` = 1 / number of responses, the
//! KL by `k1` of the sampling policy. TRL adds no length division either.
//!
//! Shapes: `N` tokens of `R` responses laid end to end, no padding.

use burn::tensor::Tensor;

use crate::grpo::GrpoOutput;

/// Each reward less the mean of the others of its group; the results sum to zero.
///
/// # Panics
///
/// Panics on a group of one, which has no others.
#[must_use]
pub fn leave_one_out(rewards: &[f64]) -> Vec<f64> {
    assert!(rewards.len() != 1, "a response alone in its group has no baseline");
    let others = rewards.len() as f64 - 1.0;
    let sum: f64 = rewards.iter().sum();
    rewards.iter().map(|reward| reward - (sum - reward) / others).collect()
}

/// Inputs of [`rloo`].
#[derive(Clone, Debug)]
pub struct RlooInput {
    /// `log π_θ(o_it)`, tracked for gradients, `[N]`.
    pub logprobs: Tensor<1>,
    /// `log π_old(o_it)`, recorded when the response was sampled, `[N]`.
    pub old_logprobs: Tensor<1>,
    /// Tokens of each response, `R` numbers with the sum `N`.
    pub lens: Vec<usize>,
    /// `A_i`, `R` numbers.
    pub advantages: Vec<f32>,
    /// `w_i`, `R` numbers: one over the number of responses of the whole optimizer step for a mean.
    pub weights: Vec<f32>,
}

/// Computes the loss of one micro-batch. The counts of the output are of responses, not of tokens,
/// and it holds no KL.
///
/// # Panics
///
/// Panics if the lengths do not fit together, or on a response without a token.
#[must_use]
pub fn rloo(input: RlooInput, epsilon_low: f64, epsilon_high: f64) -> GrpoOutput {
    let RlooInput { logprobs, old_logprobs, lens, advantages, weights } = input;
    assert_eq!(old_logprobs.dims(), logprobs.dims(), "old_logprobs is not [N]");
    assert_eq!([lens.iter().sum::<usize>()], logprobs.dims(), "lens do not add up to N");
    assert!(lens.iter().all(|len| *len > 0), "a response has at least one token");
    assert_eq!(advantages.len(), lens.len(), "advantages is not [R]");
    assert_eq!(weights.len(), lens.len(), "weights is not [R]");
    let log_ratio = logprobs - old_logprobs; // [N]
    let mut start = 0;
    let sums = lens.iter().map(|len| {
        start += len;
        log_ratio.clone().narrow(0, start - len, *len).sum()
    });
    let ratio = Tensor::cat(sums.collect(), 0).exp(); // [R]
    let constant = |values: &[f32]| Tensor::<1>::from_data(values, &ratio.device());
    let (advantages, weights) = (constant(&advantages), constant(&weights));
    let bounded = ratio.clone().clamp(1.0 - epsilon_low, 1.0 + epsilon_high);
    let objective = (ratio.clone() * advantages.clone()).min_pair(bounded * advantages.clone());

    let (ratio, advantages) = (ratio.inner(), advantages.inner());
    let low = ratio.clone().lower_scalar(1.0 - epsilon_low).float()
        * advantages.clone().lower_scalar(0.0).float();
    let high =
        ratio.greater_scalar(1.0 + epsilon_high).float() * advantages.greater_scalar(0.0).float();
    GrpoOutput {
        loss: -(objective * weights).sum(),
        kl_sum: None,
        clipped_low: low.sum(),
        clipped_high: high.sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, host, plain, tracked};

    // (1, 2, 6): 1 - 4, 2 - 3.5, 6 - 1.5.
    #[test]
    fn the_baseline_is_the_mean_of_the_others() {
        let advantages = leave_one_out(&[1.0, 2.0, 6.0]);
        assert_eq!(advantages, [-3.0, -1.5, 4.5]);
        assert!(leave_one_out(&[]).is_empty());
    }

    #[test]
    #[should_panic(expected = "a response alone in its group has no baseline")]
    fn a_group_of_one_is_refused() {
        let _ = leave_one_out(&[1.0]);
    }

    // Three responses of 2, 1 and 2 tokens, w = 1/2, ε = 0.2.
    // ρ = exp(0.3 - 0.2) = 1.1051709, A = 2:   J = 2.2103418;  gradient -w A ρ = -1.1051709 each
    // ρ = exp(0.5) = 1.6487213, A = 1:         J = 1.2, clipped; gradient 0
    // ρ = exp(0.2 + 0.3) = 1.6487213, A = -1:  J = -1.6487213;  gradient w ρ = 0.8243606 each
    // L = -(2.2103418 + 1.2 - 1.6487213) / 2 = -0.8808103.
    #[test]
    fn the_loss_matches_a_hand_calculation_with_its_gradient() {
        let logprobs = tracked(&[-0.7, -1.2, -0.5, -0.8, -0.7]);
        let output = rloo(
            RlooInput {
                logprobs: logprobs.clone(),
                old_logprobs: plain(&[-1.0; 5]).autodiff(),
                lens: vec![2, 1, 2],
                advantages: vec![2.0, 1.0, -1.0],
                weights: vec![0.5; 3],
            },
            0.2,
            0.2,
        );
        close(&host(&output.loss), &[-0.880_810_3]);
        close(&host(&output.clipped_low), &[0.0]);
        close(&host(&output.clipped_high), &[1.0]);
        assert!(output.kl_sum.is_none());
        let gradients = output.loss.backward();
        let gradient = logprobs.grad(&gradients).expect("tracked");
        close(&host(&gradient), &[-1.105_170_9, -1.105_170_9, 0.0, 0.824_360_6, 0.824_360_6]);
    }
}
