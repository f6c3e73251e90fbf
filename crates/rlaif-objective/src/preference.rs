//! Two losses on pairs of answers, one chosen over the other: reward model and DPO.
//!
//! ```text
//! Bradley-Terry  L = Σ_n w_n ( -log σ(c_n - r_n) + λ (c_n + r_n)² )
//! DPO            L = Σ_n w_n ( -log σ(β (log π(y_c)/π_ref(y_c) - log π(y_r)/π_ref(y_r))) )
//! ```
//!
//! Bradley-Terry: `c_n` and `r_n` are the scores of the chosen and the rejected answer (Ouyang et
//! al. 2022, arXiv:2203.02155, Eq. 1, with one pair a prompt). A pair says nothing about the zero
//! of the scale; the term with `λ` fixes it (Eisenstein et al. 2023, arXiv:2312.09244, Eq. 2, and
//! TRL's `center_rewards_coefficient`). VLM-RLAIF instead adds `1e-3 |mean_n(r1 + r0)|`,
//! the absolute value of a mean over whichever pairs lie in a batch: two micro-batches with means
//! +1 and -1 pay twice, their union nothing. A square of every pair is a sum over pairs, so that
//! micro-batches carrying the weights of the whole step add up to its loss.
//!
//! DPO: Rafailov et al. 2023, arXiv:2305.18290, Eq. 7. `log π(y)` is the sum over the answer's
//! tokens, its end token included, not their mean.
//!
//! Shapes: `N` pairs of the micro-batch; `w_n` is one over the number of pairs of the whole
//! optimizer step for a mean.

use burn::tensor::{Tensor, activation};

/// The reward model's loss, `[1]`, from scores `chosen` and `rejected`, tracked for gradients, and
/// `weights`; all `[N]`.
///
/// Finite for any finite scores: far apart the wrong way round, the loss is their distance and the
/// gradient ±1.
///
/// # Panics
///
/// Panics if the lengths differ.
#[must_use]
pub fn bradley_terry(
    chosen: Tensor<1>,
    rejected: Tensor<1>,
    weights: Tensor<1>,
    center_rewards_coefficient: f64,
) -> Tensor<1> {
    assert_eq!(rejected.dims(), chosen.dims(), "rejected is not [N]");
    assert_eq!(weights.dims(), chosen.dims(), "weights is not [N]");
    let mut loss = -activation::log_sigmoid(chosen.clone() - rejected.clone());
    if center_rewards_coefficient != 0.0 {
        let sum = chosen + rejected;
        loss = loss + sum.clone() * sum * center_rewards_coefficient;
    }
    (loss * weights).sum()
}

/// Inputs of [`dpo`]: summed log-probabilities of whole answers, every tensor `[N]`.
#[derive(Clone, Debug)]
pub struct DpoInput {
    /// `log π_θ` of the chosen answers, tracked for gradients.
    pub chosen: Tensor<1>,
    /// `log π_θ` of the rejected answers, tracked for gradients.
    pub rejected: Tensor<1>,
    /// `log π_ref` of the chosen answers.
    pub ref_chosen: Tensor<1>,
    /// `log π_ref` of the rejected answers.
    pub ref_rejected: Tensor<1>,
    /// `w_n`.
    pub weights: Tensor<1>,
}

/// The loss, and what the policy implicitly says an answer is worth.
#[derive(Clone, Debug)]
pub struct DpoOutput {
    /// Scalar to minimise, `[1]`.
    pub loss: Tensor<1>,
    /// `β (log π_θ - log π_ref)` of the chosen answers, plain device, `[N]`.
    pub chosen_rewards: Tensor<1>,
    /// The same of the rejected answers.
    pub rejected_rewards: Tensor<1>,
}

/// Computes DPO's sigmoid loss of one micro-batch.
///
/// # Panics
///
/// Panics if the lengths differ.
#[must_use]
pub fn dpo(input: DpoInput, beta: f64) -> DpoOutput {
    let n = input.chosen.dims();
    assert_eq!(input.rejected.dims(), n, "rejected is not [N]");
    assert_eq!(input.ref_chosen.dims(), n, "ref_chosen is not [N]");
    assert_eq!(input.ref_rejected.dims(), n, "ref_rejected is not [N]");
    assert_eq!(input.weights.dims(), n, "weights is not [N]");
    let chosen_rewards = (input.chosen - input.ref_chosen) * beta;
    let rejected_rewards = (input.rejected - input.ref_rejected) * beta;
    let margin = chosen_rewards.clone() - rejected_rewards.clone();
    DpoOutput {
        loss: -(activation::log_sigmoid(margin) * input.weights).sum(),
        chosen_rewards: chosen_rewards.inner(),
        rejected_rewards: rejected_rewards.inner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, host, plain, tracked};

    // Two pairs, weights 1/2, λ = 0.1.
    // Margins ln 3 and 0: -log σ(ln 3) = log(4/3) = 0.2876821, -log σ(0) = log 2 = 0.6931472.
    // Sums ln 3 and -2: squares 1.2069490 and 4, times 0.1.
    // L = (0.2876821 + 0.1206949 + 0.6931472 + 0.4) / 2 = 0.7507621.
    // dL/dc = w (-(1 - σ) + 2 λ sum): (-0.25 + 0.2197225)/2 = -0.0151388, (-0.5 - 0.4)/2 = -0.45.
    // dL/dr = w ( (1 - σ) + 2 λ sum): ( 0.25 + 0.2197225)/2 =  0.2348612, ( 0.5 - 0.4)/2 =  0.05.
    #[test]
    fn bradley_terry_matches_a_hand_calculation_with_its_gradient() {
        let ln3 = 3.0_f32.ln();
        let (chosen, rejected) = (tracked(&[ln3, -1.0]), tracked(&[0.0, -1.0]));
        let weights = plain(&[0.5, 0.5]).autodiff();
        let loss = bradley_terry(chosen.clone(), rejected.clone(), weights, 0.1);
        close(&host(&loss), &[0.750_762_1]);
        let gradients = loss.backward();
        close(&host(&chosen.grad(&gradients).expect("tracked")), &[-0.015_138_8, -0.45]);
        close(&host(&rejected.grad(&gradients).expect("tracked")), &[0.234_861_2, 0.05]);
    }

    // Without centring: margin 2e4 costs nothing, margin -2e4 costs 2e4; margin 0, where every run
    // starts, has the gradient ∓1/2.
    #[test]
    fn bradley_terry_is_finite_however_far_the_scores_are_apart() {
        let chosen = tracked(&[1e4, -1e4, 0.0]);
        let rejected = tracked(&[-1e4, 1e4, 0.0]);
        let weights = plain(&[1.0; 3]).autodiff();
        let loss = bradley_terry(chosen.clone(), rejected.clone(), weights, 0.0);
        let value = host(&loss)[0];
        assert!((value - 20_000.693).abs() < 0.01, "{value}");
        let gradients = loss.backward();
        close(&host(&chosen.grad(&gradients).expect("tracked")), &[0.0, -1.0, -0.5]);
        close(&host(&rejected.grad(&gradients).expect("tracked")), &[0.0, 1.0, 0.5]);
    }

    // β = 0.5. Rewards: chosen 0.5 (-3 + 5) = 1, rejected 0.5 (-4 + 2) = -1; margin 2.
    // L = log(1 + e⁻²) = 0.1269280; dL/d log π(y_c) = -β (1 - σ(2)) = -0.5 · 0.1192029 = -0.0596015.
    #[test]
    fn dpo_matches_a_hand_calculation_with_its_gradient() {
        let (chosen, rejected) = (tracked(&[-3.0]), tracked(&[-4.0]));
        let output = dpo(
            DpoInput {
                chosen: chosen.clone(),
                rejected: rejected.clone(),
                ref_chosen: plain(&[-5.0]).autodiff(),
                ref_rejected: plain(&[-2.0]).autodiff(),
                weights: plain(&[1.0]).autodiff(),
            },
            0.5,
        );
        close(&host(&output.loss), &[0.126_928]);
        close(&host(&output.chosen_rewards), &[1.0]);
        close(&host(&output.rejected_rewards), &[-1.0]);
        let gradients = output.loss.backward();
        close(&host(&chosen.grad(&gradients).expect("tracked")), &[-0.059_601_5]);
        close(&host(&rejected.grad(&gradients).expect("tracked")), &[0.059_601_5]);
    }
}
