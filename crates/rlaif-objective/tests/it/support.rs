//! Tensors from numbers and back.

use burn::tensor::{Device, Tensor};

/// Rounding of `f32` over sums of a few terms near 1.
pub(crate) const F32_TERMS: f64 = 1e-5;

pub(crate) fn plain(values: &[f64]) -> Tensor<1> {
    #[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(values.as_slice(), &Device::flex())
}

pub(crate) fn tracked(values: &[f64]) -> Tensor<1> {
    plain(values).autodiff().require_grad()
}

pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f32>().map(f64::from).collect()
}

pub(crate) fn assert_close(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() < F32_TERMS, "{what}: {got:?} is not {expected:?}");
    }
}

/// Central differences of `f` at `x`.
pub(crate) fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut x = x.to_vec();
        x[i] += by;
        f(&x)
    };
    (0..x.len()).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect()
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}
