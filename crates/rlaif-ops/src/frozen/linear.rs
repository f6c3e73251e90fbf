//! Linear layers over a frozen matrix, plain and with a low-rank adapter beside it.

use burn::Tensor;
use burn::backend::Dispatch;

use super::FrozenMatrix;
use crate::flex::{FrozenLinear, FrozenLora, Fused, is_fused};
use crate::linear::{check, check_lora};
use crate::{Lora, portable};

/// Applies a linear layer: `x Wᵀ + b`. Gradients flow to x and the bias; the graph holds the packed
/// matrix alone.
///
/// On the CPU, products of up to 32 rows unpack a few weight rows at a time and give, bit for bit,
/// what [`linear`](crate::linear) gives with the unpacked matrix. More rows unpack a tile of about
/// one MiB at a time. On another device the matrix is unpacked whole for each product, and
/// where x wants a gradient, autodiff keeps that copy until the backward.
///
/// # Shapes
/// - x: `[tokens, in]`, weight: `[out, in]`, bias: `[out]`
/// - output: `[tokens, out]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn frozen_linear(x: Tensor<2>, weight: &FrozenMatrix, bias: Option<Tensor<1>>) -> Tensor<2> {
    check(&x, weight.dims(), bias.as_ref());
    let Some(host) = weight.host().filter(|_| is_fused(&x)) else {
        return portable::linear(x, weight.unpack(), bias);
    };
    let op = FrozenLinear { weight: host.clone() };
    let x = x.into_dispatch();
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::fused2(op, x, bias.into_dispatch()),
        None => Dispatch::fused1(op, x),
    })
}

/// Applies a linear layer with a low-rank adapter: `x Wᵀ + b + scale · (x Aᵀ) Bᵀ`, the layer of
/// [QLoRA](https://arxiv.org/abs/2305.14314), equation 5. Gradients flow to x, the bias, A and B.
/// Memory and speed are those of [`frozen_linear`].
///
/// # Shapes
/// - x: `[tokens, in]`, weight: `[out, in]`, bias: `[out]`
/// - output: `[tokens, out]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn frozen_lora_linear(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    bias: Option<Tensor<1>>,
    lora: &Lora,
) -> Tensor<2> {
    check(&x, weight.dims(), bias.as_ref());
    check_lora(weight.dims(), lora);
    let Some(host) = weight.host().filter(|_| is_fused(&x)) else {
        return portable::lora_linear(x, weight.unpack(), bias, lora);
    };
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    let op = FrozenLora { weight: host.clone(), scale: lora.scale as f32 };
    let x = x.into_dispatch();
    let (a, b) = (lora.a.clone().into_dispatch(), lora.b.clone().into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::fused4(op, x, a, b, bias.into_dispatch()),
        None => Dispatch::fused3(op, x, a, b),
    })
}
