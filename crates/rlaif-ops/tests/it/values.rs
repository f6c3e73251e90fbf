//! Values and gradients worked out by hand.

use burn::tensor::{Device, Int, Tensor};
use rlaif_ops::{
    Heads, Lora, Span, attention, layer_norm, lora_linear, rms_norm, rotary, swiglu,
    token_logprobs, token_stats,
};

use crate::support::{assert_close, from, host, matrix, vector};

/// One rounding or a few of numbers below 10.
const ROUNDED: f64 = 2e-6;

/// x = (3, 4): mean square 12.5, root 3.5355339. Mean 3.5, deviation 0.5.
#[test]
fn norms() {
    let x = from(&[3.0, 4.0], 2);
    let gain = vector(&[1.0, 2.0]);
    let got = rms_norm(x.clone(), gain.clone(), 0.0);
    assert_close(&host(&got), &[0.848_528_1, 2.262_741_7], ROUNDED, "rms");
    let got = layer_norm(x, gain, vector(&[0.5, -0.5]), 0.0);
    assert_close(&host(&got), &[-0.5, 1.5], ROUNDED, "layer");
}

/// silu(1) = 0.7310586, silu(-2) = -0.2384058; silu'(1) = 0.9276705, silu'(-2) = -0.0907842.
#[test]
fn swiglu_with_its_gradients() {
    let gate = from(&[1.0, -2.0], 2).autodiff().require_grad();
    let up = from(&[2.0, 3.0], 2).autodiff().require_grad();
    let y = swiglu(gate.clone(), up.clone());
    assert_close(&host(&y), &[1.462_117_2, -0.715_217_5], ROUNDED, "value");
    let gradients = y.sum().backward();
    let of = |leaf: &Tensor<2>| host(&leaf.grad(&gradients).unwrap());
    assert_close(&of(&gate), &[1.855_341_0, -0.272_352_5], ROUNDED, "gate");
    assert_close(&of(&up), &[0.731_058_6, -0.238_405_8], ROUNDED, "up");
}

/// What a query and a key give depends on the distance of their positions alone.
#[test]
fn rotated_products_depend_on_the_distance_alone() {
    let (q, k) = (matrix(1, 1, 8), matrix(2, 1, 8));
    let at = |x: &Tensor<2>, position: f32| {
        let angles = from(&[position, 0.3 * position, 0.1 * position, 0.01 * position], 4);
        rotary(x.clone(), angles.clone().cos(), angles.sin(), 1)
    };
    let product = |p: f32, r: f32| host(&(at(&q, p) * at(&k, r)).sum())[0];
    let expected = f64::from(product(7.0, 3.0));
    assert_close(&[product(4.0, 0.0), product(24.0, 20.0)], &[expected; 2], 1e-5, "distance 4");
    assert!((product(7.0, 4.0) - product(7.0, 3.0)).abs() > 1e-2);
}

/// x = (1, 2), W = (3, 4), A = (5, 6), B = 7, scale 1/2: 11 + 7 · 17 / 2 = 70.5.
/// dx = W + s B A = (20.5, 25); dA = s B x = (3.5, 7); dB = s A x = 8.5; dW = x.
#[test]
fn an_adapter_with_its_gradients() {
    let leaf = |values: &[f32], columns| from(values, columns).autodiff().require_grad();
    let (x, w) = (leaf(&[1.0, 2.0], 2), leaf(&[3.0, 4.0], 2));
    let (a, b) = (leaf(&[5.0, 6.0], 2), leaf(&[7.0], 1));
    let lora = Lora { a: a.clone(), b: b.clone(), scale: 0.5 };
    let y = lora_linear(x.clone(), w.clone(), None, &lora);
    assert_close(&host(&y), &[70.5], ROUNDED, "value");
    let gradients = y.sum().backward();
    let of = |leaf: &Tensor<2>| host(&leaf.grad(&gradients).unwrap());
    assert_close(&of(&x), &[20.5, 25.0], ROUNDED, "x");
    assert_close(&of(&w), &[1.0, 2.0], ROUNDED, "W");
    assert_close(&of(&a), &[3.5, 7.0], ROUNDED, "A");
    assert_close(&of(&b), &[8.5], ROUNDED, "B");
}

/// One query over a prefix key and its own: scores ln 3 and 0, weights 3/4 and 1/4, values 1 and 5:
/// 2. d out / d v = the weights; d out / d score = 3/16 (1 - 5) = -3/4 for the prefix.
#[test]
fn attention_over_a_prefix_with_its_gradients() {
    let leaf = |value: f32| from(&[value], 1).autodiff().require_grad();
    let (q, k, v) = (leaf(3f32.ln()), leaf(0.0), leaf(5.0));
    let (pk, pv) = (leaf(1.0), leaf(1.0));
    let heads = Heads { query: 1, kv: 1, dim: 1 };
    let span = Span { q: 0..1, kv: 0..1, prefix: 0..1 };
    let prefix = Some((pk.clone(), pv.clone()));
    let y = attention(q.clone(), k.clone(), v.clone(), prefix, heads, &[span], true);
    assert_close(&host(&y), &[2.0], ROUNDED, "value");
    let gradients = y.sum().backward();
    let of = |leaf: &Tensor<2>| host(&leaf.grad(&gradients).unwrap());
    let ln3 = 3_f64.ln();
    assert_close(&of(&v), &[0.25], ROUNDED, "v");
    assert_close(&of(&pv), &[0.75], ROUNDED, "prefix v");
    assert_close(&of(&pk), &[-0.75 * ln3], ROUNDED, "prefix k");
    assert_close(&of(&k), &[0.75 * ln3], ROUNDED, "k");
    assert_close(&of(&q), &[-0.75], ROUNDED, "q");
}

/// A prefix is what the same rows in front of the sequence would be.
#[test]
fn a_prefix_equals_the_same_rows_in_front() {
    let heads = Heads { query: 4, kv: 2, dim: 6 };
    let (q, k, v) = (matrix(1, 9, 24), matrix(2, 9, 12), matrix(3, 9, 12));
    let whole = [Span { q: 0..9, kv: 0..9, prefix: 0..0 }];
    let whole = attention(q.clone(), k.clone(), v.clone(), None, heads, &whole, true);
    for cut in 1..9 {
        let own = |x: &Tensor<2>| x.clone().narrow(0, cut, 9 - cut);
        let front = |x: &Tensor<2>| x.clone().narrow(0, 0, cut);
        let span = Span { q: 0..9 - cut, kv: 0..9 - cut, prefix: 0..cut };
        let prefix = Some((front(&k), front(&v)));
        let got = attention(own(&q), own(&k), own(&v), prefix, heads, &[span], true);
        let expected: Vec<f64> = host(&own(&whole)).into_iter().map(f64::from).collect();
        assert_close(&host(&got), &expected, 1e-5, &format!("cut at {cut}"));
    }
}

/// Logits ln(1, 2, 5) of which the last is forbidden: p = (1/3, 2/3), entropy ln 3 - 2/3 ln 2.
/// d log p₁ / dz = (-1/3, 1/3); `dH / dz_j = -p_j (log p_j + H)` = (0.1540327, -0.1540327).
#[test]
fn token_statistics_with_their_gradients() {
    let head = from(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 3);
    let logits = [0.0, 2f32.ln(), 5f32.ln()];
    let targets = || Tensor::<1, Int>::from_data([1], &Device::flex());
    let third = 1.0_f64 / 3.0;
    let entropy = 3_f64.ln() - 2.0 * third * 2_f64.ln();
    let slope = 2.0 / 9.0 * 2_f64.ln();
    for (which, expected) in [(0, [-third, third, 0.0]), (1, [slope, -slope, 0.0])] {
        let hidden = from(&logits, 3).autodiff().require_grad();
        let stats = token_stats(hidden.clone(), head.clone().autodiff(), targets(), &[2]);
        assert_close(&host(&stats.logprobs), &[(2.0 * third).ln()], ROUNDED, "log-probability");
        assert_close(&host(&stats.entropy), &[entropy], ROUNDED, "entropy");
        let gradients = [stats.logprobs, stats.entropy][which].clone().backward();
        assert_close(&host(&hidden.grad(&gradients).unwrap()), &expected, ROUNDED, "gradient");
    }

    // The cheaper form is the same with an entropy that nothing flows through.
    let hidden = from(&logits, 3).autodiff().require_grad();
    let cheap = token_logprobs(hidden.clone(), head.autodiff(), targets(), &[2]);
    assert_close(&host(&cheap.entropy), &[entropy], ROUNDED, "entropy");
    let gradients = (cheap.logprobs + cheap.entropy).backward();
    let got = host(&hidden.grad(&gradients).unwrap());
    assert_close(&got, &[-third, third, 0.0], ROUNDED, "by log-probability alone");
}
