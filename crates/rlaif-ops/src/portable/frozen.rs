//! Portable linear layers over a frozen matrix.

use burn::Tensor;

use crate::{FrozenMatrix, Lora};

/// Portable form of [`crate::frozen_linear`]: unpacks the whole matrix, and autodiff keeps it.
#[must_use]
pub fn frozen_linear(x: Tensor<2>, weight: &FrozenMatrix, bias: Option<Tensor<1>>) -> Tensor<2> {
    super::linear(x, weight.unpack(), bias)
}

/// Portable form of [`crate::frozen_lora_linear`]: unpacks the whole matrix, and autodiff keeps it.
#[must_use]
pub fn frozen_lora_linear(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    bias: Option<Tensor<1>>,
    lora: &Lora,
) -> Tensor<2> {
    super::lora_linear(x, weight.unpack(), bias, lora)
}
