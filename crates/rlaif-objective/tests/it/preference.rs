//! Losses on pairs against their formulas, and what must hold of them for any pairs.

use burn::tensor::Tensor;
use rlaif_objective::{DpoInput, DpoOutput, bradley_terry, dpo};

use crate::support::{assert_close, differences, host, plain, tracked};

const CHOSEN: [f64; 5] = [1.2, -0.3, 0.0, 4.0, -2.5];
const REJECTED: [f64; 5] = [0.4, 0.9, 0.0, -3.0, -2.0];
const WEIGHTS: [f64; 5] = [0.2, 0.3, 0.1, 0.4, 0.0];
const REF_CHOSEN: [f64; 5] = [0.7, 0.1, 1.0, 2.0, -2.0];
const REF_REJECTED: [f64; 5] = [0.9, -0.4, 0.3, -2.0, -4.0];

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

fn sum(f: impl Fn(usize) -> f64) -> f64 {
    (0..5).map(|n| WEIGHTS[n] * f(n)).sum()
}

fn gradients(loss: &Tensor<1>, leaves: [&Tensor<1>; 2]) -> [Vec<f64>; 2] {
    let gradients = loss.backward();
    leaves.map(|leaf| host(&leaf.grad(&gradients).expect("tracked")))
}

fn rewarded(
    chosen: &[f64],
    rejected: &[f64],
    weights: &[f64],
    lambda: f64,
) -> (f64, [Vec<f64>; 2]) {
    let (c, r) = (tracked(chosen), tracked(rejected));
    let loss = bradley_terry(c.clone(), r.clone(), plain(weights).autodiff(), lambda);
    (host(&loss)[0], gradients(&loss, [&c, &r]))
}

#[test]
fn the_reward_loss_has_the_value_and_the_gradients_of_its_formula() {
    for lambda in [0.0, 0.01, 0.5] {
        let formula =
            |c: &[f64], r: &[f64]| sum(|n| softplus(r[n] - c[n]) + lambda * (c[n] + r[n]).powi(2));
        let (loss, [by_chosen, by_rejected]) = rewarded(&CHOSEN, &REJECTED, &WEIGHTS, lambda);
        assert_close(&[loss], &[formula(&CHOSEN, &REJECTED)], "loss");
        assert_close(&by_chosen, &differences(&CHOSEN, |c| formula(c, &REJECTED)), "by chosen");
        assert_close(&by_rejected, &differences(&REJECTED, |r| formula(&CHOSEN, r)), "by rejected");
        assert!(by_chosen[4] == 0.0 && by_rejected[4] == 0.0, "a pair without weight");
    }
}

/// Without centring only differences count; with it, the loss is least where the scores of a pair
/// lie about zero.
#[test]
fn centring_alone_fixes_the_zero_of_the_scale() {
    let moved = |by: f64, lambda: f64| {
        let (chosen, rejected) = (CHOSEN.map(|c| c + by), REJECTED.map(|r| r + by));
        rewarded(&chosen, &rejected, &WEIGHTS, lambda).0
    };
    assert_close(&[moved(3.0, 0.0), moved(-3.0, 0.0)], &[moved(0.0, 0.0); 2], "no centring");
    let total = sum(|n| CHOSEN[n] + REJECTED[n]);
    let best = -total / 2.0; // weights sum to 1
    assert!(moved(best, 0.1) < moved(best + 0.5, 0.1) && moved(best, 0.1) < moved(best - 0.5, 0.1));
}

/// What VLM-RLAIF's absolute value of a batch mean does not do.
#[test]
fn the_reward_losses_of_micro_batches_add_up_centring_included() {
    let (whole, [gradient, _]) = rewarded(&CHOSEN, &REJECTED, &WEIGHTS, 0.1);
    let (first, [a, _]) = rewarded(&CHOSEN[..2], &REJECTED[..2], &WEIGHTS[..2], 0.1);
    let (second, [b, _]) = rewarded(&CHOSEN[2..], &REJECTED[2..], &WEIGHTS[2..], 0.1);
    assert_close(&[whole], &[first + second], "loss");
    assert_close(&gradient, &[a, b].concat(), "gradient");
}

fn optimised(chosen: &[f64], rejected: &[f64], beta: f64) -> (DpoOutput, [Vec<f64>; 2]) {
    let (c, r) = (tracked(chosen), tracked(rejected));
    let output = dpo(
        DpoInput {
            chosen: c.clone(),
            rejected: r.clone(),
            ref_chosen: plain(&REF_CHOSEN).autodiff(),
            ref_rejected: plain(&REF_REJECTED).autodiff(),
            weights: plain(&WEIGHTS).autodiff(),
        },
        beta,
    );
    let both = gradients(&output.loss, [&c, &r]);
    (output, both)
}

#[test]
fn dpo_has_the_value_and_the_gradients_of_its_formula() {
    for beta in [0.1, 1.0, 3.0] {
        let reward = |x: f64, reference: f64| beta * (x - reference);
        let formula = |c: &[f64], r: &[f64]| {
            sum(|n| softplus(reward(r[n], REF_REJECTED[n]) - reward(c[n], REF_CHOSEN[n])))
        };
        let (output, [by_chosen, by_rejected]) = optimised(&CHOSEN, &REJECTED, beta);
        assert_close(&host(&output.loss), &[formula(&CHOSEN, &REJECTED)], "loss");
        assert_close(&by_chosen, &differences(&CHOSEN, |c| formula(c, &REJECTED)), "by chosen");
        assert_close(&by_rejected, &differences(&REJECTED, |r| formula(&CHOSEN, r)), "by rejected");
        let rewards: Vec<f64> = (0..5).map(|n| reward(CHOSEN[n], REF_CHOSEN[n])).collect();
        assert_close(&host(&output.chosen_rewards), &rewards, "chosen rewards");
        let rewards: Vec<f64> = (0..5).map(|n| reward(REJECTED[n], REF_REJECTED[n])).collect();
        assert_close(&host(&output.rejected_rewards), &rewards, "rejected rewards");
    }
}

/// Where training starts: the policy is the reference, the loss log 2, the gradient ∓w β / 2.
#[test]
fn dpo_starts_at_log_two() {
    let (output, [by_chosen, by_rejected]) = optimised(&REF_CHOSEN, &REF_REJECTED, 0.3);
    assert_close(&host(&output.loss), &[2.0_f64.ln()], "loss");
    assert_close(&by_chosen, &WEIGHTS.map(|w| -w * 0.15), "by chosen");
    assert_close(&by_rejected, &WEIGHTS.map(|w| w * 0.15), "by rejected");
}
