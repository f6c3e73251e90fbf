//! What must hold of advantages over time and of whitening, whatever the numbers.

use rlaif_objective::{gae, whiten};

use crate::support::{assert_close, wide};

const REWARDS: [f32; 6] = [0.1, -0.4, 0.0, 0.3, -0.05, 2.5];
const VALUES: [f32; 6] = [0.7, -0.2, 1.1, 0.4, -0.9, 0.6];

#[test]
fn without_discount_the_advantage_is_the_reward_to_go_less_the_value() {
    let (advantages, returns) = gae(&REWARDS, &VALUES, 1.0, 1.0);
    let to_go: Vec<f64> = (0..6).map(|t| wide(&REWARDS[t..]).iter().sum()).collect();
    assert_close(&wide(&returns), &to_go, "returns");
    let less: Vec<f64> = to_go.iter().zip(VALUES).map(|(r, v)| r - f64::from(v)).collect();
    assert_close(&wide(&advantages), &less, "advantages");
}

/// `A_t = Σ_k (γ λ)^k δ_{t+k}`, the sum that the recursion stands for.
#[test]
fn the_recursion_is_the_sum_of_discounted_differences() {
    for (gamma, lam) in [(1.0, 1.0), (0.9, 0.0), (0.99, 0.95), (0.5, 1.0), (0.0, 0.7)] {
        let delta = |t: usize| {
            let next = VALUES.get(t + 1).map_or(0.0, |v| f64::from(*v));
            f64::from(REWARDS[t]) + gamma * next - f64::from(VALUES[t])
        };
        let sums = |t: usize| -> f64 {
            (t..6).zip(0..).map(|(s, k)| (gamma * lam).powi(k) * delta(s)).sum()
        };
        let expected: Vec<f64> = (0..6).map(sums).collect();
        let (advantages, returns) = gae(&REWARDS, &VALUES, gamma, lam);
        assert_close(&wide(&advantages), &expected, &format!("γ = {gamma}, λ = {lam}"));
        let with_values: Vec<f64> =
            expected.iter().zip(VALUES).map(|(a, v)| a + f64::from(v)).collect();
        assert_close(&wide(&returns), &with_values, "returns");
    }
    assert_eq!(gae(&[], &[], 1.0, 1.0), (vec![], vec![]));
}

#[test]
fn whitened_numbers_have_mean_zero_and_deviation_one_wherever_they_came_from() {
    let base = [0.3_f32, -1.2, 4.0, 0.0, 2.2, -0.7, 0.3];
    let mut expected = base;
    whiten(&mut expected);
    let whitened = wide(&expected);
    let squares: f64 = whitened.iter().map(|x| x * x).sum();
    assert_close(&[whitened.iter().sum(), squares / 6.0], &[0.0, 1.0], "mean and variance");
    for (scale, shift) in [(1.0, 100.0), (25.0, 0.0), (0.5, -3.0), (-1.0, 0.0), (-8.0, 5.0)] {
        let mut moved = base.map(|x| scale * x + shift);
        whiten(&mut moved);
        let sign = f64::from(scale.signum());
        let expected: Vec<f64> = whitened.iter().map(|x| sign * x).collect();
        assert_close(&wide(&moved), &expected, &format!("{scale} x + {shift}"));
    }
}
