//! The clipped objective: every side of the clip, masks, aggregation, KL and entropy.

use rlaif_objective::aggregate::Part;
use rlaif_objective::{Aggregation, GrpoInput, GrpoKnobs, GrpoOutput, grpo, sft, token_weights};

use crate::support::{assert_close, differences, host, plain, tracked};

const KNOBS: GrpoKnobs =
    GrpoKnobs { epsilon_low: 0.2, epsilon_high: 0.3, beta: 0.0, entropy_coef: 0.0 };

/// Tokens of a micro-batch.
#[derive(Clone)]
struct Case {
    logprobs: Vec<f64>,
    entropy: Vec<f64>,
    old: Vec<f64>,
    reference: Vec<f64>,
    advantages: Vec<f64>,
    weights: Vec<f64>,
}

impl Case {
    /// On either side of the clip for either sign of the advantage, inside it, and one token that
    /// does not count. Ratios: e^-0.5, e^0.1, e^0.5, twice, and e^2.
    fn all_sides() -> Case {
        let steps = [-0.5, 0.1, 0.5, -0.5, 0.1, 0.5, 2.0];
        let old = [-1.0, -2.0, -0.7, -1.3, -3.0, -0.9, -4.0];
        Case {
            logprobs: old.iter().zip(steps).map(|(old, step)| old + step).collect(),
            entropy: vec![1.0, 0.3, 2.0, 0.7, 1.1, 0.2, 5.0],
            old: old.to_vec(),
            reference: vec![-1.2, -1.9, -1.0, -1.3, -2.5, -0.1, -9.0],
            advantages: vec![1.0, 0.5, 0.8, -1.0, -0.5, -0.8, -7.0],
            weights: vec![0.2, 0.1, 0.15, 0.25, 0.05, 0.25, 0.0],
        }
    }

    fn run(&self, knobs: &GrpoKnobs) -> (GrpoOutput, [Vec<f64>; 2]) {
        let (logprobs, entropy) = (tracked(&self.logprobs), tracked(&self.entropy));
        let output = grpo(
            GrpoInput {
                logprobs: logprobs.clone(),
                entropy: entropy.clone(),
                old_logprobs: plain(&self.old).autodiff(),
                ref_logprobs: (knobs.beta != 0.0).then(|| plain(&self.reference).autodiff()),
                advantages: plain(&self.advantages).autodiff(),
                weights: plain(&self.weights).autodiff(),
            },
            knobs,
        );
        let gradients = output.loss.clone().backward();
        let of = |leaf: &burn::tensor::Tensor<1>| {
            leaf.grad(&gradients).map_or_else(|| vec![0.0; self.old.len()], |g| host(&g))
        };
        let both = [of(&logprobs), of(&entropy)];
        (output, both)
    }

    /// The module's formula, one token after the other.
    fn formula(&self, logprobs: &[f64], entropy: &[f64], knobs: &GrpoKnobs) -> f64 {
        let token = |t: usize| {
            let ratio = (logprobs[t] - self.old[t]).exp();
            let bounded = ratio.max(1.0 - knobs.epsilon_low).min(1.0 + knobs.epsilon_high);
            let d = self.reference[t] - logprobs[t];
            (ratio * self.advantages[t]).min(bounded * self.advantages[t])
                - knobs.beta * (d.exp() - d - 1.0)
                + knobs.entropy_coef * entropy[t]
        };
        -(0..logprobs.len()).map(|t| self.weights[t] * token(t)).sum::<f64>()
    }
}

/// With A > 0: kept below and inside, clipped above. With A < 0: clipped below, kept inside and
/// above. d loss / d log π = -w A ρ where kept, 0 where clipped.
#[test]
fn the_gradient_stops_only_where_moving_on_would_go_too_far() {
    let case = Case::all_sides();
    let (output, [gradient, _]) = case.run(&KNOBS);
    let kept = |w: f64, a: f64, step: f64| -w * a * step.exp();
    let expected = [
        kept(0.2, 1.0, -0.5),
        kept(0.1, 0.5, 0.1),
        0.0,
        0.0,
        kept(0.05, -0.5, 0.1),
        kept(0.25, -0.8, 0.5),
        0.0,
    ];
    assert_close(&gradient, &expected, "gradient");
    // e^-0.5 = 0.60653 < 0.8 with A = -1; e^0.5 = 1.64872 > 1.3 with A = 0.8. The seventh token is
    // beyond, but a ratio above the clip with A < 0 is no clip.
    assert_close(&host(&output.clipped_low), &[1.0], "clipped low");
    assert_close(&host(&output.clipped_high), &[1.0], "clipped high");
    // -(0.2·0.606531 + 0.1·0.552585 + 0.15·1.04 - 0.25·0.8 - 0.05·0.552585 - 0.25·1.318977)
    assert_close(&host(&output.loss), &[0.224_808_8], "loss");
}

#[test]
fn value_and_gradients_are_those_of_the_formula_for_every_knob() {
    let case = Case::all_sides();
    for (epsilon_low, epsilon_high) in [(0.2, 0.2), (0.1, 0.4), (0.45, 0.7)] {
        for (beta, entropy_coef) in [(0.0, 0.0), (0.04, 0.0), (0.0, 0.02), (0.5, 0.1)] {
            let knobs = GrpoKnobs { epsilon_low, epsilon_high, beta, entropy_coef };
            let (output, [by_logprob, by_entropy]) = case.run(&knobs);
            let what = format!("{knobs:?}");
            let value = case.formula(&case.logprobs, &case.entropy, &knobs);
            assert_close(&host(&output.loss), &[value], &what);
            let expected = differences(&case.logprobs, |x| case.formula(x, &case.entropy, &knobs));
            assert_close(&by_logprob, &expected, &what);
            let expected = differences(&case.entropy, |x| case.formula(&case.logprobs, x, &knobs));
            assert_close(&by_entropy, &expected, &what);
            assert!(by_logprob[6] == 0.0 && by_entropy[6] == 0.0, "{what}: a masked token");
        }
    }
}

#[test]
fn a_masked_token_changes_nothing_whatever_it_says() {
    let knobs = GrpoKnobs { beta: 0.1, entropy_coef: 0.1, ..KNOBS };
    let case = Case::all_sides();
    let mut other = case.clone();
    (other.logprobs[6], other.entropy[6], other.advantages[6]) = (-0.1, 0.0, 40.0);
    let (a, b) = (case.run(&knobs), other.run(&knobs));
    assert_close(&host(&a.0.loss), &host(&b.0.loss), "loss");
    assert_close(&a.1[0], &b.1[0], "gradient");
}

/// Micro-batches that carry the weights of the whole step add up to its loss.
#[test]
fn the_losses_of_micro_batches_add_up_to_that_of_the_step() {
    let knobs = GrpoKnobs { beta: 0.1, entropy_coef: 0.1, ..KNOBS };
    let case = Case::all_sides();
    let part = |range: std::ops::Range<usize>| Case {
        logprobs: case.logprobs[range.clone()].to_vec(),
        entropy: case.entropy[range.clone()].to_vec(),
        old: case.old[range.clone()].to_vec(),
        reference: case.reference[range.clone()].to_vec(),
        advantages: case.advantages[range.clone()].to_vec(),
        weights: case.weights[range].to_vec(),
    };
    let (whole, [gradient, _]) = case.run(&knobs);
    let (first, second) = (part(0..3).run(&knobs), part(3..7).run(&knobs));
    let sum = host(&first.0.loss)[0] + host(&second.0.loss)[0];
    assert_close(&host(&whole.loss), &[sum], "loss");
    assert_close(&gradient, &[first.1[0].clone(), second.1[0].clone()].concat(), "gradient");
}

/// On policy with A = (2, -1) for responses of 1 and 3 tokens, limit 4, every token's surrogate is
/// its advantage:
/// token: -(2 - 3) / 4; sequence: -(2 / 1 - 3 / 3) / 2; constant: -(2 - 3) / (2 · 4).
#[test]
fn the_three_aggregations_are_the_means_that_they_name() {
    let parts = [Part { len: 1, counts: true }, Part { len: 3, counts: true }];
    for (aggregation, expected) in
        [(Aggregation::Token, 0.25), (Aggregation::Sequence, -0.5), (Aggregation::Constant, 0.125)]
    {
        let weights = token_weights(&parts, aggregation, 4);
        let per_token = [weights[0], weights[1], weights[1], weights[1]].map(f64::from);
        let case = Case {
            logprobs: vec![-1.0; 4],
            entropy: vec![0.0; 4],
            old: vec![-1.0; 4],
            reference: vec![-1.0; 4],
            advantages: vec![2.0, -1.0, -1.0, -1.0],
            weights: per_token.to_vec(),
        };
        let (output, [gradient, _]) = case.run(&KNOBS);
        assert_close(&host(&output.loss), &[expected], &format!("{aggregation:?}"));
        // At ratio 1 the gradient is -w A: plain policy gradient.
        let plain: Vec<f64> =
            case.weights.iter().zip(&case.advantages).map(|(w, a)| -w * a).collect();
        assert_close(&gradient, &plain, &format!("{aggregation:?}"));
    }
}

/// A response that is masked for being cut off leaves the divisors: 2 tokens of one response.
#[test]
fn masked_responses_leave_the_divisors() {
    let parts = [Part { len: 2, counts: true }, Part { len: 4, counts: false }];
    for (aggregation, expected) in
        [(Aggregation::Token, 0.5), (Aggregation::Sequence, 0.5), (Aggregation::Constant, 0.25)]
    {
        let weights = token_weights(&parts, aggregation, 4).map_to_f64();
        assert_close(&weights, &[expected, 0.0], &format!("{aggregation:?}"));
    }
    let none = [Part { len: 4, counts: false }];
    assert_close(&token_weights(&none, Aggregation::Token, 4).map_to_f64(), &[0.0], "none");
}

trait ToF64 {
    fn map_to_f64(self) -> Vec<f64>;
}

impl ToF64 for Vec<f32> {
    fn map_to_f64(self) -> Vec<f64> {
        self.into_iter().map(f64::from).collect()
    }
}

/// -(0.25 · -1 + 0.75 · -2) = 1.75, and the gradient is minus the weight.
#[test]
fn the_supervised_loss_is_the_weighted_negative_log_likelihood() {
    let logprobs = tracked(&[-1.0, -2.0, -30.0]);
    let loss = sft(logprobs.clone(), plain(&[0.25, 0.75, 0.0]).autodiff());
    assert_close(&host(&loss), &[1.75], "loss");
    let gradient = logprobs.grad(&loss.backward()).unwrap();
    assert_close(&host(&gradient), &[-0.25, -0.75, 0.0], "gradient");
}

#[test]
#[should_panic(expected = "beta is set and there are no reference log-probabilities")]
fn a_kl_term_without_a_reference_is_refused() {
    let one = || plain(&[-1.0]);
    let _ = grpo(
        GrpoInput {
            logprobs: one(),
            entropy: one(),
            old_logprobs: one(),
            ref_logprobs: None,
            advantages: one(),
            weights: one(),
        },
        &GrpoKnobs { beta: 0.1, ..KNOBS },
    );
}
