//! The clipped policy-gradient objective of GRPO_rank, on tokens laid end to end.
//!
//! ```text
//! ρ_t  = exp(log π_θ(o_t) - log π_old(o_t))
//! J_t  = min(ρ_t A_t, clip(ρ_t, 1 - ε_low, 1 + ε_high) A_t) - β KL_t + c_H H_t
//! loss = - Σ_t w_t J_t
//! ```
//!
//! Source: Shao et al. 2024 (GRPO), arXiv:2402.03300, Eq. 3, for the surrogate and its KL term;
//! separate bounds `ε_low` and `ε_high`: Yu et al. 2025 (DAPO), arXiv:2503.14476, Eq. 10; rank
//! advantages and the entropy bonus: Oracle-RLAIF, arXiv:2510.02561. The advantages `A_t` are an
//! input, the same for all tokens of a response, and so are the weights `w_t`
//! ([`token_weights`](crate::token_weights)).
//!
//! Shapes: `N` response tokens of the micro-batch, no padding.

use burn::tensor::Tensor;

use crate::kl::k3;

/// Bounds and weights of the objective. Names follow TRL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoKnobs {
    /// `ε_low`: how far the ratio may fall.
    pub epsilon_low: f64,
    /// `ε_high`: how far the ratio may rise.
    pub epsilon_high: f64,
    /// β of the `k3` term; 0 where the KL is exact and added apart, or off.
    pub beta: f64,
    /// `c_H` of the entropy bonus.
    pub entropy_coef: f64,
}

/// Inputs of [`grpo`]; every tensor is `[N]`.
#[derive(Clone, Debug)]
pub struct GrpoInput {
    /// `log π_θ(o_t)`, tracked for gradients.
    pub logprobs: Tensor<1>,
    /// `H_t` in nats, tracked for gradients.
    pub entropy: Tensor<1>,
    /// `log π_old(o_t)`, recorded when the response was sampled.
    pub old_logprobs: Tensor<1>,
    /// `log π_ref(o_t)`; needed where β is not zero.
    pub ref_logprobs: Option<Tensor<1>>,
    /// `A_t`.
    pub advantages: Tensor<1>,
    /// `w_t`.
    pub weights: Tensor<1>,
}

/// The loss, and sums over tokens for the metrics (divide by the number of tokens of the step).
#[derive(Clone, Debug)]
pub struct GrpoOutput {
    /// Scalar to minimise, `[1]`.
    pub loss: Tensor<1>,
    /// Sum of `KL_t`, plain device, `[1]`; absent without a reference.
    pub kl_sum: Option<Tensor<1>>,
    /// Tokens with ρ below `1 - ε_low` and a negative advantage: the clip removed their gradient.
    pub clipped_low: Tensor<1>,
    /// Tokens with ρ above `1 + ε_high` and a positive advantage.
    pub clipped_high: Tensor<1>,
}

/// Computes the loss of one micro-batch.
///
/// # Panics
///
/// Panics if the tensors differ in length, or if β is not zero and there is no reference.
#[must_use]
pub fn grpo(input: GrpoInput, knobs: &GrpoKnobs) -> GrpoOutput {
    let n = input.logprobs.dims();
    assert_eq!(input.old_logprobs.dims(), n, "old_logprobs is not [N]");
    assert_eq!(input.advantages.dims(), n, "advantages is not [N]");
    assert_eq!(input.weights.dims(), n, "weights is not [N]");

    let ratio = (input.logprobs.clone() - input.old_logprobs).exp();
    let bounded = ratio.clone().clamp(1.0 - knobs.epsilon_low, 1.0 + knobs.epsilon_high);
    let surrogate =
        (ratio.clone() * input.advantages.clone()).min_pair(bounded * input.advantages.clone());

    let mut objective = surrogate;
    let mut kl_sum = None;
    if let Some(reference) = input.ref_logprobs {
        let kl = k3(input.logprobs, reference);
        kl_sum = Some(kl.clone().inner().sum());
        if knobs.beta != 0.0 {
            objective = objective - kl * knobs.beta;
        }
    } else {
        assert!(knobs.beta == 0.0, "beta is set and there are no reference log-probabilities");
    }
    if knobs.entropy_coef != 0.0 {
        objective = objective + input.entropy * knobs.entropy_coef;
    }

    let ratio = ratio.inner();
    let advantages = input.advantages.inner();
    let low = ratio.clone().lower_scalar(1.0 - knobs.epsilon_low).float()
        * advantages.clone().lower_scalar(0.0).float();
    let high = ratio.greater_scalar(1.0 + knobs.epsilon_high).float()
        * advantages.greater_scalar(0.0).float();
    GrpoOutput {
        loss: -(objective * input.weights).sum(),
        kl_sum,
        clipped_low: low.sum(),
        clipped_high: high.sum(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn vector(values: &[f32], device: &Device) -> Tensor<1> {
        Tensor::from_data(values, device)
    }

    fn host(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn close(got: &[f32], expected: &[f32]) {
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-5, "{got:?} is not {expected:?}");
        }
    }

    /// Two responses, A = (1, -1). Ratios: (1, e) and (e⁻¹); `ε_low` 0.2, `ε_high` 0.3; mean over
    /// three tokens. min(1, 1) = 1; min(e, 1.3) = 1.3; min(-0.3679, -0.8) = -0.8.
    /// loss = -(1 + 1.3 - 0.8) / 3 = -0.5.
    /// d loss / d log π = -A ρ / 3 where not clipped: -1/3 for the first token, 0 elsewhere.
    #[test]
    fn matches_a_hand_calculation_with_its_gradient() {
        let device = Device::flex().autodiff();
        let logprobs = vector(&[-1.0, 0.0, -2.0], &device).require_grad();
        let output = grpo(
            GrpoInput {
                logprobs: logprobs.clone(),
                entropy: vector(&[0.0; 3], &device),
                old_logprobs: vector(&[-1.0, -1.0, -1.0], &device),
                ref_logprobs: None,
                advantages: vector(&[1.0, 1.0, -1.0], &device),
                weights: vector(&[1.0 / 3.0; 3], &device),
            },
            &GrpoKnobs { epsilon_low: 0.2, epsilon_high: 0.3, beta: 0.0, entropy_coef: 0.0 },
        );
        close(&host(output.loss.clone().inner()), &[-0.5]);
        close(&host(output.clipped_low), &[1.0]);
        close(&host(output.clipped_high), &[1.0]);
        let gradients = output.loss.backward();
        let gradient = logprobs.grad(&gradients).expect("logprobs is tracked");
        close(&host(gradient), &[-1.0 / 3.0, 0.0, 0.0]);
    }

    /// On policy, zero advantages: only KL and entropy remain. log π = -1, `log π_ref` = -1.5:
    /// d = -0.5, k3 = e^-0.5 + 0.5 - 1 = 0.1065307; loss = 0.1 * 0.1065307 - 0.01 * 2.
    /// d k3 / d log π = 1 - e^d = 0.3934693.
    #[test]
    fn kl_pulls_towards_the_reference_and_entropy_is_rewarded() {
        let device = Device::flex().autodiff();
        let logprobs = vector(&[-1.0], &device).require_grad();
        let entropy = vector(&[2.0], &device).require_grad();
        let output = grpo(
            GrpoInput {
                logprobs: logprobs.clone(),
                entropy: entropy.clone(),
                old_logprobs: vector(&[-1.0], &device),
                ref_logprobs: Some(vector(&[-1.5], &device)),
                advantages: vector(&[0.0], &device),
                weights: vector(&[1.0], &device),
            },
            &GrpoKnobs { epsilon_low: 0.2, epsilon_high: 0.2, beta: 0.1, entropy_coef: 0.01 },
        );
        close(&host(output.loss.clone().inner()), &[0.010_653_07 - 0.02]);
        close(&host(output.kl_sum.expect("there is a reference")), &[0.106_530_7]);
        let gradients = output.loss.backward();
        close(&host(logprobs.grad(&gradients).expect("tracked")), &[0.039_346_93]);
        close(&host(entropy.grad(&gradients).expect("tracked")), &[-0.01]);
    }
}
