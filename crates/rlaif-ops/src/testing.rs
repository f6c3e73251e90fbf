//! Shared test machinery: fixed random tensors, and the comparison of an operation's two forms.

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::TensorData;

/// A fixed stream of numbers between -1 and 1.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A matrix of [`noise`] on the plain CPU device.
pub(crate) fn matrix(seed: u64, rows: usize, cols: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(seed, rows * cols), [rows, cols]), &Device::flex())
}

/// The numbers of a tensor.
pub(crate) fn numbers<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.to_data().iter::<f32>().collect()
}

/// Largest difference over the largest magnitude of `b`.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) }) / scale
}

/// Value and gradients of `f` under autodiff, for the loss `sum(f(inputs) · w)` with fixed `w`.
/// Inputs whose entry in `tracked` is false stay constants on the plain device.
pub(crate) fn value_and_grads(
    inputs: &[Tensor<2>],
    tracked: &[bool],
    f: impl Fn(&[Tensor<2>]) -> Tensor<2>,
) -> (Vec<f32>, Vec<Option<Vec<f32>>>) {
    let leaves: Vec<Tensor<2>> = inputs
        .iter()
        .zip(tracked)
        .map(|(x, &t)| if t { x.clone().autodiff().require_grad() } else { x.clone() })
        .collect();
    let out = f(&leaves);
    let [rows, cols] = out.dims();
    let grads = (out.clone() * matrix(99, rows, cols)).sum().backward();
    // An input the portable form never reads has no gradient there: that is a gradient of zeros.
    let grad = |x: &Tensor<2>| {
        x.grad(&grads).map_or_else(|| vec![0.0; x.shape().num_elements()], |g| numbers(&g))
    };
    let grads = leaves.iter().zip(tracked).map(|(x, &t)| t.then(|| grad(x)));
    (numbers(&out), grads.collect())
}

/// Checks one operation: its fused form against its portable form (value without autodiff, value
/// and every gradient with it), and the gradients against central differences of the portable value.
pub(crate) fn check(
    inputs: &[Tensor<2>],
    fused: impl Fn(&[Tensor<2>]) -> Tensor<2>,
    portable: impl Fn(&[Tensor<2>]) -> Tensor<2>,
) {
    let all = vec![true; inputs.len()];
    let (value, grads) = value_and_grads(inputs, &all, &fused);
    let (expected, expected_grads) = value_and_grads(inputs, &all, &portable);
    assert!(distance(&value, &expected) < 1e-4, "value: {}", distance(&value, &expected));
    let plain = numbers(&fused(inputs));
    let d = distance(&plain, &value);
    assert!(d < 1e-6, "value without autodiff: {d}");
    for (i, (a, b)) in grads.iter().zip(&expected_grads).enumerate() {
        let d = distance(a.as_ref().unwrap(), b.as_ref().unwrap());
        assert!(d < 1e-4, "gradient {i}: {d}");
    }
    // One tracked input at a time gives the same gradient.
    for i in 0..inputs.len() {
        if grads[i].iter().flatten().all(|g| *g == 0.0) {
            continue; // not part of the graph at all
        }
        let only: Vec<bool> = (0..inputs.len()).map(|j| j == i).collect();
        let (_, single) = value_and_grads(inputs, &only, &fused);
        let d = distance(single[i].as_ref().unwrap(), grads[i].as_ref().unwrap());
        // Another path may serve a single gradient: equal up to the order of its sums.
        assert!(d < 1e-5, "gradient {i} alone: {d}");
    }
    for (i, grad) in grads.iter().enumerate() {
        finite_difference(inputs, i, grad.as_ref().unwrap(), &portable);
    }
}

/// Directional derivative of `sum(f · w)` along a fixed direction, by central differences.
fn finite_difference(
    inputs: &[Tensor<2>],
    i: usize,
    grad: &[f32],
    f: impl Fn(&[Tensor<2>]) -> Tensor<2>,
) {
    let [rows, cols] = inputs[i].dims();
    // Along the gradient itself, mixed with noise, so that the derivative is far from zero.
    let norm = grad.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt().max(1e-12);
    let unit = 1.0 / ((rows * cols) as f64).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
    let direction: Vec<f32> = grad
        .iter()
        .zip(noise(7 + i as u64, rows * cols))
        .map(|(g, n)| (f64::from(*g) / norm + 0.3 * unit * f64::from(n)) as f32)
        .collect();
    let along =
        Tensor::<2>::from_data(TensorData::new(direction.clone(), [rows, cols]), &Device::flex());
    let step = 1e-2;
    let loss = |sign: f64| {
        let mut moved = inputs.to_vec();
        moved[i] = moved[i].clone() + along.clone().mul_scalar(sign * step);
        let out = f(&moved);
        let [r, c] = out.dims();
        let weights = noise(99, r * c);
        numbers(&out).iter().zip(weights).map(|(o, w)| f64::from(*o) * f64::from(w)).sum::<f64>()
    };
    let measured = (loss(1.0) - loss(-1.0)) / (2.0 * step);
    let expected: f64 = grad.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
    let error = (measured - expected).abs() / expected.abs().max(1e-3);
    assert!(error < 1e-2, "input {i}: central difference {measured}, gradient {expected}");
}
