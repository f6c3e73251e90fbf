//! Portable linear layers.

use burn::Tensor;

use crate::Lora;

/// Portable form of [`crate::linear`].
#[must_use]
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze_dim(0),
        None => y,
    }
}

/// Portable form of [`crate::lora_linear`].
#[must_use]
pub fn lora_linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    lora: &Lora,
) -> Tensor<2> {
    let low = x.clone().matmul(lora.a.clone().transpose());
    let update = low.matmul(lora.b.clone().transpose()).mul_scalar(lora.scale);
    linear(x, weight, bias) + update
}
