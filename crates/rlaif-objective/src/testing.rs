//! Tensors from numbers and back, for the unit tests.

use burn::tensor::{Device, Tensor};

pub(crate) fn plain(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(values, &Device::flex())
}

pub(crate) fn tracked(values: &[f32]) -> Tensor<1> {
    plain(values).autodiff().require_grad()
}

pub(crate) fn host(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

pub(crate) fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() < 1e-5, "{got:?} is not {expected:?}");
    }
}
