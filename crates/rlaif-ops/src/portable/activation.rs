//! Portable activations.

use std::f64::consts::{FRAC_1_PI, FRAC_1_SQRT_2};

use burn::Tensor;
use burn::tensor::activation::sigmoid;

/// Portable form of [`crate::swiglu`].
#[must_use]
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    gate.clone() * sigmoid(gate) * up
}

/// Portable form of [`crate::gelu`].
#[must_use]
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    let phi = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * phi
}

/// Portable form of [`crate::gelu_tanh`].
#[must_use]
pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    // (1 + tanh u) / 2 = sigmoid(2 u)
    let inner = (x.clone().powi_scalar(3).mul_scalar(0.044_715) + x.clone())
        .mul_scalar(2.0 * (2.0 * FRAC_1_PI).sqrt());
    x * sigmoid(inner)
}

/// Portable form of [`crate::quick_gelu`].
#[must_use]
pub fn quick_gelu(x: Tensor<2>) -> Tensor<2> {
    x.clone() * sigmoid(x.mul_scalar(1.702))
}
