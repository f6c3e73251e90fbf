//! Generalised advantage estimation over one response's tokens, and whitening.
//!
//! ```text
//! δ_t = r_t + γ V_{t+1} - V_t            V beyond the last token is 0
//! A_t = δ_t + γ λ A_{t+1}
//! R_t = A_t + V_t                        what the value function is fitted to
//! ```
//!
//! Source: Schulman et al. 2016, arXiv:1506.02438, Eq. 16. With γ = λ = 1 (VLM-RLAIF) `A_t` is the
//! sum of the rewards from `t` on, less `V_t`.
//!
//! Only tokens of the response come in: `r_t` and `V_t` belong to the state before token `t`, the
//! score is paid for the last one, and what comes after it is worth 0. VLM-RLAIF runs over all 896
//! slots. TRL (1.12, the last with PPO) gives a response that is shorter than the longest of its
//! batch one slot more: the score is paid there, for the end token's state, which has a value of
//! its own. With λ = 1 the advantages of the tokens are the same; with λ < 1 that value enters them,
//! and a response as long as the batch is treated unlike a shorter one. The recursion itself is
//! TRL's, as a golden test shows.

/// Advantages and returns of one response, from one reward and one value per token.
///
/// The sums are taken in `f64`.
///
/// # Panics
///
/// Panics if the lengths differ.
#[must_use]
pub fn gae(rewards: &[f32], values: &[f32], gamma: f64, lam: f64) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(rewards.len(), values.len(), "one value per reward");
    let mut advantages = vec![0.0; rewards.len()];
    let mut returns = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let value = f64::from(values[t]);
        let delta = f64::from(rewards[t]) + gamma * next_value - value;
        let advantage = delta + gamma * lam * next_advantage;
        advantages[t] = narrow(advantage);
        returns[t] = narrow(advantage + value);
        (next_value, next_advantage) = (value, advantage);
    }
    (advantages, returns)
}

/// Shifts and scales numbers to mean 0 and standard deviation 1.
///
/// ```text
/// x ← (x - mean) / √(var + 1e-8)         var = Σ (x - mean)² / (n - 1)
/// ```
///
/// The sample variance, with Bessel's correction, and the 1e-8 are those of TRL's `masked_whiten`.
/// Pass the tokens of the whole step at once, and no padding. Equal numbers become exactly 0, and
/// so does a single one, where TRL divides by zero.
pub fn whiten(values: &mut [f32]) {
    let Some(first) = values.first().copied() else { return };
    // Distances from one of the numbers: equal numbers give exact zeros, however large.
    let origin = f64::from(first);
    let n = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x) - origin).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (f64::from(*x) - origin - mean).powi(2)).sum();
    let scale = (squares / (n - 1.0).max(1.0) + 1e-8).sqrt().recip();
    for x in values {
        *x = narrow((f64::from(*x) - origin - mean) * scale);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    // γ = 0.9, λ = 0.5, r = (1, 0, 2), V = (0.5, 1, -1).
    // δ_2 = 2 + 1 = 3;                    A_2 = 3
    // δ_1 = 0 + 0.9 · -1 - 1 = -1.9;      A_1 = -1.9 + 0.45 · 3 = -0.55
    // δ_0 = 1 + 0.9 · 1 - 0.5 = 1.4;      A_0 = 1.4 + 0.45 · -0.55 = 1.1525
    // R = A + V = (1.6525, 0.45, 2).
    #[test]
    fn gae_matches_a_hand_calculation() {
        let (advantages, returns) = gae(&[1.0, 0.0, 2.0], &[0.5, 1.0, -1.0], 0.9, 0.5);
        close(&advantages, &[1.1525, -0.55, 3.0]);
        close(&returns, &[1.6525, 0.45, 2.0]);
    }

    // (1, 2, 6): mean 3, var (4 + 1 + 9) / 2 = 7; divided by √7 = 2.6457513.
    // With the population's variance the first would be -2 / √(14/3) = -0.926.
    #[test]
    fn whitening_uses_the_sample_variance() {
        let mut values = [1.0, 2.0, 6.0];
        whiten(&mut values);
        close(&values, &[-0.755_928_9, -0.377_964_5, 1.133_893_4]);
    }

    #[test]
    fn numbers_that_are_all_alike_become_zero() {
        for case in [vec![], vec![7.0], vec![1e8_f32; 3], vec![-0.1; 7]] {
            let mut values = case.clone();
            whiten(&mut values);
            assert!(values.iter().all(|x| *x == 0.0), "{case:?} became {values:?}");
        }
    }
}
