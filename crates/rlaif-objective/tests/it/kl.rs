//! Both measures of the divergence from the reference.

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_objective::{ExactKl, exact_kl, k3};

use crate::support::{assert_close, differences, host, plain, tracked};

#[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
fn matrix(values: &[f64], columns: usize) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let shape = [values.len() / columns, columns];
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

#[test]
fn k3_has_the_value_and_the_gradient_of_its_formula() {
    let (policy, reference) = ([-1.0, -0.5, -3.0, -0.2], [-1.5, -0.5, -1.0, -6.0]);
    let leaf = tracked(&policy);
    let kl = k3(leaf.clone(), plain(&reference).autodiff());
    let formula = |x: f64, r: f64| (r - x).exp() - (r - x) - 1.0;
    let expected: Vec<f64> = policy.iter().zip(reference).map(|(x, r)| formula(*x, r)).collect();
    assert_close(&host(&kl), &expected, "value");
    assert!(expected.iter().all(|kl| *kl >= 0.0));
    let gradient = leaf.grad(&kl.sum().backward()).unwrap();
    let sum = |x: &[f64]| x.iter().zip(reference).map(|(x, r)| formula(*x, r)).sum();
    assert_close(&host(&gradient), &differences(&policy, sum), "gradient");
}

/// `Σ_t w_t KL_t` of `softmax(hidden headᵀ)` over the tokens that are not forbidden.
fn formula(
    [hidden, head, ref_hidden, ref_head]: [&[f64]; 4],
    width: usize,
    weights: &[f64],
    forbidden: &[usize],
) -> f64 {
    let log_softmax = |hidden: &[f64], head: &[f64]| -> Vec<f64> {
        let logits: Vec<f64> = head
            .chunks_exact(width)
            .enumerate()
            .filter(|(id, _)| !forbidden.contains(id))
            .map(|(_, row)| row.iter().zip(hidden).map(|(a, b)| a * b).sum())
            .collect();
        let log_sum = logits.iter().map(|z: &f64| z.exp()).sum::<f64>().ln();
        logits.into_iter().map(|z| z - log_sum).collect()
    };
    hidden
        .chunks_exact(width)
        .zip(ref_hidden.chunks_exact(width))
        .zip(weights)
        .map(|((h, r), w)| {
            let (p, q) = (log_softmax(h, head), log_softmax(r, ref_head));
            w * p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
        })
        .sum()
}

#[test]
fn exact_kl_has_the_value_and_the_gradients_of_its_formula() {
    let numbers = |seed: usize, len: usize| -> Vec<f64> {
        (0..len).map(|i| ((i * 37 + seed * 11) % 19) as f64 / 8.0 - 1.1).collect()
    };
    let (hidden, ref_hidden) = (numbers(1, 3 * 2), numbers(2, 3 * 2));
    let (head, ref_head) = (numbers(3, 5 * 2), numbers(4, 5 * 2));
    let weights = [0.5, 0.0, 0.25];
    for forbidden in [vec![], vec![1_u32, 4]] {
        let ids: Vec<usize> = forbidden.iter().map(|id| *id as usize).collect();
        let at = |hidden: &[f64], head: &[f64]| {
            formula([hidden, head, &ref_hidden, &ref_head], 2, &weights, &ids)
        };
        for chunk in [1, 2, 64] {
            let leaf = matrix(&hidden, 2).autodiff().require_grad();
            let head_leaf = matrix(&head, 2).autodiff().require_grad();
            let (kl, sum) = exact_kl(&ExactKl {
                hidden: leaf.clone(),
                head: head_leaf.clone(),
                ref_hidden: matrix(&ref_hidden, 2),
                ref_head: matrix(&ref_head, 2),
                weights: &[0.5, 0.0, 0.25],
                forbidden: &forbidden,
                chunk,
            });
            assert_close(&host(&kl), &[at(&hidden, &head)], "value");
            let unweighted = formula([&hidden, &head, &ref_hidden, &ref_head], 2, &[1.0; 3], &ids);
            assert_close(&[sum], &[unweighted], "sum");
            let gradients = kl.backward();
            let got = host(&leaf.grad(&gradients).unwrap());
            assert_close(&got, &differences(&hidden, |x| at(x, &head)), "by hidden");
            let got = host(&head_leaf.grad(&gradients).unwrap());
            assert_close(&got, &differences(&head, |x| at(&hidden, x)), "by head");
        }
    }
}

/// Two tokens, p = σ(ln 3) = 3/4 and q = 1/2:
/// KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308120; d KL / d logit = p (1 - p) ln 3 = 0.2059898.
#[test]
fn exact_kl_matches_a_hand_calculation_with_a_frozen_head() {
    let leaf = matrix(&[3.0_f64.ln()], 1).autodiff().require_grad();
    let head = matrix(&[1.0, 0.0], 1);
    let (kl, sum) = exact_kl(&ExactKl {
        hidden: leaf.clone(),
        head: head.clone().autodiff(),
        ref_hidden: matrix(&[0.0], 1),
        ref_head: head,
        weights: &[1.0],
        forbidden: &[],
        chunk: 64,
    });
    assert_close(&host(&kl), &[0.130_812_0], "value");
    assert_close(&[sum], &[0.130_812_0], "sum");
    assert_close(&host(&leaf.grad(&kl.backward()).unwrap()), &[0.205_989_8], "gradient");
}

#[test]
fn exact_kl_of_a_policy_with_itself_is_zero_and_so_is_its_gradient() {
    let leaf = matrix(&[0.3, -1.0, 2.0, 0.5], 2).autodiff().require_grad();
    let head = matrix(&[1.0, 0.0, -0.5, 2.0, 0.7, 0.1], 2);
    let (kl, sum) = exact_kl(&ExactKl {
        hidden: leaf.clone(),
        head: head.clone().autodiff(),
        ref_hidden: leaf.clone().inner(),
        ref_head: head,
        weights: &[0.5, 0.5],
        forbidden: &[2],
        chunk: 1,
    });
    assert_close(&[host(&kl)[0], sum], &[0.0, 0.0], "value");
    assert_close(&host(&leaf.grad(&kl.backward()).unwrap()), &[0.0; 4], "gradient");
}
