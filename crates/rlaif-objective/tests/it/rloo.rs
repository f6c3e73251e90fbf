//! RLOO against its formula, its baseline, and GRPO where the two are the same.

use rlaif_objective::{GrpoInput, GrpoKnobs, GrpoOutput, RlooInput, grpo, leave_one_out, rloo};

use crate::support::{assert_close, differences, host, plain, tracked};

const LOGPROBS: [f64; 8] = [-1.0, -0.7, -2.0, -1.1, -0.4, -0.9, -1.5, -0.2];
const OLD: [f64; 8] = [-1.1, -0.8, -1.2, -1.1, -1.0, -1.0, -1.4, -0.9];
const LENS: [usize; 5] = [2, 1, 3, 1, 1];
const ADVANTAGES: [f32; 5] = [1.5, -2.0, 0.5, -1.0, 0.0];
const WEIGHTS: [f32; 5] = [0.2, 0.3, 0.1, 0.25, 0.15];

fn run(
    lens: &[usize],
    responses: std::ops::Range<usize>,
    clip: [f64; 2],
) -> (GrpoOutput, Vec<f64>) {
    let start: usize = lens[..responses.start].iter().sum();
    let end: usize = lens[..responses.end].iter().sum();
    let logprobs = tracked(&LOGPROBS[start..end]);
    let output = rloo(
        RlooInput {
            logprobs: logprobs.clone(),
            old_logprobs: plain(&OLD[start..end]).autodiff(),
            lens: lens[responses.clone()].to_vec(),
            advantages: ADVANTAGES[responses.clone()].to_vec(),
            weights: WEIGHTS[responses].to_vec(),
        },
        clip[0],
        clip[1],
    );
    let gradient = host(&logprobs.grad(&output.loss.clone().backward()).expect("tracked"));
    (output, gradient)
}

fn formula(logprobs: &[f64], clip: [f64; 2]) -> f64 {
    let mut start = 0;
    let mut loss = 0.0;
    for (i, len) in LENS.iter().enumerate() {
        let log_ratio: f64 = (start..start + len).map(|t| logprobs[t] - OLD[t]).sum();
        let (ratio, advantage) = (log_ratio.exp(), f64::from(ADVANTAGES[i]));
        let bounded = ratio.max(1.0 - clip[0]).min(1.0 + clip[1]);
        loss -= f64::from(WEIGHTS[i]) * (ratio * advantage).min(bounded * advantage);
        start += len;
    }
    loss
}

/// Ratios of whole responses: e^0.2 = 1.22, e^-0.8 = 0.45, e^0.7 = 2.01, e^-0.1 = 0.90, e^0.7.
#[test]
fn the_loss_has_the_value_and_the_gradient_of_its_formula() {
    for (clip, low, high) in
        [([0.2, 0.2], 1.0, 2.0), ([0.1, 0.4], 1.0, 1.0), ([0.6, 1.0], 0.0, 1.0)]
    {
        let (output, gradient) = run(&LENS, 0..5, clip);
        assert_close(&host(&output.clipped_low), &[low], "low");
        assert_close(&host(&output.clipped_high), &[high], "high");
        assert_close(&host(&output.loss), &[formula(&LOGPROBS, clip)], "loss");
        assert_close(&gradient, &differences(&LOGPROBS, |x| formula(x, clip)), "gradient");
    }
}

#[test]
fn the_losses_of_micro_batches_add_up() {
    let clip = [0.2, 0.2];
    let ((whole, gradient), (first, a), (second, b)) =
        (run(&LENS, 0..5, clip), run(&LENS, 0..2, clip), run(&LENS, 2..5, clip));
    assert_close(&host(&whole.loss), &[host(&first.loss)[0] + host(&second.loss)[0]], "loss");
    assert_close(&gradient, &[a, b].concat(), "gradient");
}

/// A response of one token has one ratio in either objective.
#[test]
fn on_responses_of_one_token_it_is_grpo() {
    let (output, gradient) = run(&[1; 5], 0..5, [0.2, 0.3]);
    let logprobs = tracked(&LOGPROBS[..5]);
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let expected = grpo(
        GrpoInput {
            logprobs: logprobs.clone(),
            entropy: plain(&[0.0; 5]).autodiff(),
            old_logprobs: plain(&OLD[..5]).autodiff(),
            ref_logprobs: None,
            advantages: plain(&wide(&ADVANTAGES)).autodiff(),
            weights: plain(&wide(&WEIGHTS)).autodiff(),
        },
        &GrpoKnobs { epsilon_low: 0.2, epsilon_high: 0.3, beta: 0.0, entropy_coef: 0.0 },
    );
    assert_close(&host(&output.loss), &host(&expected.loss), "loss");
    assert_close(&host(&output.clipped_low), &host(&expected.clipped_low), "low");
    assert_close(&host(&output.clipped_high), &host(&expected.clipped_high), "high");
    let expected = host(&logprobs.grad(&expected.loss.backward()).expect("tracked"));
    assert_close(&gradient, &expected, "gradient");
}

/// `R_i - mean_{j ≠ i} R_j = G / (G - 1) (R_i - mean R)`: they sum to zero, and a shift of all
/// rewards is lost.
#[test]
fn leave_one_out_is_the_centred_reward_stretched() {
    for rewards in [vec![0.5, 2.0], vec![1.0, -3.0, 0.25, 0.25, 8.0], vec![4.0; 6]] {
        let g = rewards.len() as f64;
        let mean = rewards.iter().sum::<f64>() / g;
        let expected: Vec<f64> = rewards.iter().map(|r| g / (g - 1.0) * (r - mean)).collect();
        let advantages = leave_one_out(&rewards);
        assert_close(&advantages, &expected, "advantages");
        assert_close(&[advantages.iter().sum()], &[0.0], "sum");
        let moved: Vec<f64> = rewards.iter().map(|r| r + 10.0).collect();
        assert_close(&leave_one_out(&moved), &advantages, "shift");
    }
}

#[test]
#[should_panic(expected = "lens do not add up to N")]
fn lengths_that_do_not_cover_the_tokens_are_refused() {
    let input = RlooInput {
        logprobs: plain(&[-1.0, -1.0]),
        old_logprobs: plain(&[-1.0, -1.0]),
        lens: vec![1],
        advantages: vec![1.0],
        weights: vec![1.0],
    };
    let _ = rloo(input, 0.2, 0.2);
}
