//! PPO's own parts: the value function's loss and the rewards per token.
//!
//! ```text
//! v̂_t = clip(v_t, v_old,t - c, v_old,t + c)
//! L_V = ½ Σ_t w_t max((v_t - R_t)², (v̂_t - R_t)²)
//!
//! r_t = -κ (log π_old(o_t) - log π_ref(o_t)) + [t is the last token] score
//! ```
//!
//! Source: Schulman et al. 2017 (PPO), arXiv:1707.06347; the clipped value loss is that of its
//! first implementation, OpenAI's `baselines`, as TRL and VLM-RLAIF have it. Rewards: Ziegler et
//! al. 2019, arXiv:1909.08593, Section 2.
//!
//! The policy's loss is [`grpo`](crate::grpo()) with `beta` and `entropy_coef` 0 and an advantage
//! per token from [`gae`](crate::gae()): the clipped surrogate is the same formula, only a
//! response's advantages need not be equal. `ppo_is_grpo_with_an_advantage_per_token` works a case
//! out by hand.
//!
//! Shapes: `N` response tokens of the micro-batch, no padding.

use burn::tensor::Tensor;

/// Inputs of [`value_loss`]; every tensor is `[N]`.
#[derive(Clone, Debug)]
pub struct ValueInput {
    /// `v_t`, tracked for gradients.
    pub values: Tensor<1>,
    /// `v_old,t`, recorded at the rollout.
    pub old_values: Tensor<1>,
    /// `R_t`.
    pub returns: Tensor<1>,
    /// `w_t`.
    pub weights: Tensor<1>,
}

/// The value function's loss, and a count for the metrics.
#[derive(Clone, Debug)]
pub struct ValueOutput {
    /// Scalar to minimise, `[1]`; VLM-RLAIF and TRL multiply it by 0.1.
    pub loss: Tensor<1>,
    /// Tokens where the clipped value is further from the return than the value itself, so that
    /// the clip took the gradient; plain device, `[1]`.
    pub clipped: Tensor<1>,
}

/// Computes the value function's loss of one micro-batch.
///
/// # Panics
///
/// Panics if the lengths differ.
#[must_use]
pub fn value_loss(input: ValueInput, cliprange_value: f64) -> ValueOutput {
    let n = input.values.dims();
    assert_eq!(input.old_values.dims(), n, "old_values is not [N]");
    assert_eq!(input.returns.dims(), n, "returns is not [N]");
    assert_eq!(input.weights.dims(), n, "weights is not [N]");
    // Bounds on the value itself: old + clip(value - old) is not the value to the last bit.
    let lowest = input.old_values.clone() - cliprange_value;
    let highest = input.old_values + cliprange_value;
    let bounded = input.values.clone().max_pair(lowest).min_pair(highest);
    let squared = |values: Tensor<1>| {
        let error = values - input.returns.clone();
        error.clone() * error
    };
    let (plain, clipped) = (squared(input.values), squared(bounded));
    let taken = clipped.clone().inner().greater(plain.clone().inner()).float();
    ValueOutput {
        loss: (plain.max_pair(clipped) * input.weights).sum() * 0.5,
        clipped: taken.sum(),
    }
}

/// The reward of every token of one response: the KL penalty of each, and the score on the last.
///
/// The penalty is the `k1` estimator and keeps its sign. VLM-RLAIF clamps it at 0, which makes its
/// mean too large. `score` already holds whatever a response cut off by the length limit pays
/// (`missing_eos_penalty`).
///
/// # Panics
///
/// Panics if the lengths differ, or on a response without a token: its score would be lost.
#[must_use]
pub fn shaped_rewards(
    score: f64,
    logprobs: &[f32],
    ref_logprobs: &[f32],
    kl_coef: f64,
) -> Vec<f32> {
    assert_eq!(logprobs.len(), ref_logprobs.len(), "one reference log-probability per token");
    assert!(!logprobs.is_empty(), "a response has at least one token");
    let last = logprobs.len() - 1;
    logprobs
        .iter()
        .zip(ref_logprobs)
        .enumerate()
        .map(|(t, (logprob, reference))| {
            let penalty = -kl_coef * (f64::from(*logprob) - f64::from(*reference));
            let reward = if t == last { penalty + score } else { penalty };
            #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
            let reward = reward as f32;
            reward
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, host, plain, tracked};
    use crate::{GrpoInput, GrpoKnobs, grpo};

    // c = 0.2, w = 1/4, v_old = 0.
    // v 0.1, R 1:  inside, both (0.9)² = 0.81;           dL/dv = w (v - R) = -0.225
    // v 0.5, R 1:  plain 0.25, clipped (0.2 - 1)² = 0.64: the clip takes the gradient
    // v 0.5, R 0:  plain 0.25, clipped 0.04:              dL/dv = 0.125
    // v -1, R 0.5: plain 2.25, clipped (-0.2 - 0.5)²:     dL/dv = -0.375
    // L = ½ · ¼ (0.81 + 0.64 + 0.25 + 2.25) = 0.49375.
    #[test]
    fn the_value_loss_matches_a_hand_calculation_with_its_gradient() {
        let values = tracked(&[0.1, 0.5, 0.5, -1.0]);
        let output = value_loss(
            ValueInput {
                values: values.clone(),
                old_values: plain(&[0.0; 4]).autodiff(),
                returns: plain(&[1.0, 1.0, 0.0, 0.5]).autodiff(),
                weights: plain(&[0.25; 4]).autodiff(),
            },
            0.2,
        );
        close(&host(&output.loss), &[0.493_75]);
        close(&host(&output.clipped), &[1.0]);
        let gradients = output.loss.backward();
        let gradient = values.grad(&gradients).expect("tracked");
        close(&host(&gradient), &[-0.225, 0.0, 0.125, -0.375]);
    }

    // PPO's `mean(max(-A ρ, -A clip(ρ, 0.8, 1.2)))` over one response whose advantages differ:
    // A = 2,  ρ = 1:    max(-2, -2) = -2;                   gradient -A ρ / 4 = -0.5
    // A = -1, ρ = 1.5:  max(1.5, 1.2) = 1.5;                gradient 1.5 / 4 = 0.375
    // A = 1,  ρ = 1.5:  max(-1.5, -1.2) = -1.2, clipped;    gradient 0
    // A = -3, ρ = 0.5:  max(1.5, 2.4) = 2.4, clipped;       gradient 0
    // L = (-2 + 1.5 - 1.2 + 2.4) / 4 = 0.175.
    #[test]
    fn ppo_is_grpo_with_an_advantage_per_token() {
        let (up, down) = (1.5_f32.ln(), 0.5_f32.ln());
        let logprobs = tracked(&[-1.0, up - 2.0, up - 1.0, down - 1.0]);
        let output = grpo(
            GrpoInput {
                logprobs: logprobs.clone(),
                entropy: plain(&[0.0; 4]).autodiff(),
                old_logprobs: plain(&[-1.0, -2.0, -1.0, -1.0]).autodiff(),
                ref_logprobs: None,
                advantages: plain(&[2.0, -1.0, 1.0, -3.0]).autodiff(),
                weights: plain(&[0.25; 4]).autodiff(),
            },
            &GrpoKnobs { epsilon_low: 0.2, epsilon_high: 0.2, beta: 0.0, entropy_coef: 0.0 },
        );
        close(&host(&output.loss), &[0.175]);
        let gradients = output.loss.backward();
        let gradient = logprobs.grad(&gradients).expect("tracked");
        close(&host(&gradient), &[-0.5, 0.375, 0.0, 0.0]);
    }

    // κ = 0.1: -0.1 (-1 + 2) = -0.1; a token less likely than under the reference is paid:
    // -0.1 (-3 + 1) = 0.2; the last: -0.1 (-0.5 + 0.5) + 4 = 4.
    #[test]
    fn the_score_is_paid_at_the_last_token_and_the_penalty_keeps_its_sign() {
        let rewards = shaped_rewards(4.0, &[-1.0, -3.0, -0.5], &[-2.0, -1.0, -0.5], 0.1);
        close(&rewards, &[-0.1, 0.2, 4.0]);
        close(&shaped_rewards(-2.0, &[-1.0], &[-3.0], 0.5), &[-3.0]);
    }

    #[test]
    #[should_panic(expected = "a response has at least one token")]
    fn a_score_without_a_token_to_carry_it_is_refused() {
        let _ = shaped_rewards(1.0, &[], &[], 0.1);
    }
}
