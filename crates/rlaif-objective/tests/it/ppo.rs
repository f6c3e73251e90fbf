//! PPO's value loss and rewards against their formulas.

use rlaif_objective::{ValueInput, ValueOutput, shaped_rewards, value_loss};

use crate::support::{assert_close, differences, host, plain, tracked, wide};

const VALUES: [f64; 6] = [0.1, 0.9, -0.8, 0.4, 2.0, -1.5];
const OLD: [f64; 6] = [0.0, 0.2, -0.7, 1.0, 1.1, -0.2];
const RETURNS: [f64; 6] = [1.0, 1.4, -2.0, 0.7, 0.3, -3.0];
const WEIGHTS: [f64; 6] = [0.2, 0.1, 0.3, 0.15, 0.25, 0.0];

fn run(range: std::ops::Range<usize>, clip: f64) -> (ValueOutput, Vec<f64>) {
    let values = tracked(&VALUES[range.clone()]);
    let output = value_loss(
        ValueInput {
            values: values.clone(),
            old_values: plain(&OLD[range.clone()]).autodiff(),
            returns: plain(&RETURNS[range.clone()]).autodiff(),
            weights: plain(&WEIGHTS[range]).autodiff(),
        },
        clip,
    );
    let gradient = host(&values.grad(&output.loss.clone().backward()).expect("tracked"));
    (output, gradient)
}

fn formula(values: &[f64], clip: f64) -> f64 {
    let one = |t: usize| {
        let bounded = values[t].max(OLD[t] - clip).min(OLD[t] + clip);
        WEIGHTS[t] * (values[t] - RETURNS[t]).powi(2).max((bounded - RETURNS[t]).powi(2))
    };
    0.5 * (0..values.len()).map(one).sum::<f64>()
}

#[test]
fn the_value_loss_has_the_value_and_the_gradient_of_its_formula() {
    // Clipped where the bounded value is the further one from the return: tokens 0, 1, 2 and 5;
    // 1 and 5; 5. Tokens 3 and 4 move past their bound towards the return's far side.
    for (clip, clipped) in [(0.05, 4.0), (0.2, 2.0), (0.75, 1.0)] {
        let (output, gradient) = run(0..6, clip);
        assert_close(&host(&output.loss), &[formula(&VALUES, clip)], "loss");
        let expected = differences(&VALUES, |values| formula(values, clip));
        assert_close(&gradient, &expected, "gradient");
        assert_close(&host(&output.clipped), &[clipped], "clipped");
    }
}

#[test]
fn a_wide_clip_leaves_half_the_weighted_squared_error() {
    let (output, _) = run(0..6, 1e3);
    let squares = |t: usize| 0.5 * WEIGHTS[t] * (VALUES[t] - RETURNS[t]).powi(2);
    assert_close(&host(&output.loss), &[(0..6).map(squares).sum()], "loss");
    assert_close(&host(&output.clipped), &[0.0], "clipped");
}

#[test]
fn the_value_losses_of_micro_batches_add_up() {
    let ((whole, gradient), (first, a), (second, b)) =
        (run(0..6, 0.2), run(0..2, 0.2), run(2..6, 0.2));
    assert_close(&host(&whole.loss), &[host(&first.loss)[0] + host(&second.loss)[0]], "loss");
    assert_close(&gradient, &[a, b].concat(), "gradient");
}

/// What a response is paid in all is its score less the summed log-ratio, negative parts included.
#[test]
fn rewards_add_up_to_the_score_less_the_penalty() {
    let (policy, reference) = ([-1.0_f32, -0.2, -4.0, -2.5], [-1.5_f32, -0.9, -0.4, -2.5]);
    for kl_coef in [0.0, 0.1, 2.0] {
        let rewards = wide(&shaped_rewards(3.0, &policy, &reference, kl_coef));
        let log_ratio: f64 =
            wide(&policy).iter().sum::<f64>() - wide(&reference).iter().sum::<f64>();
        assert_close(&[rewards.iter().sum()], &[3.0 - kl_coef * log_ratio], "sum");
        assert!(log_ratio < 0.0 && (kl_coef == 0.0 || rewards[2] > 0.0));
    }
}
