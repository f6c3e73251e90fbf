//! Element-wise activations.

use burn::Tensor;
use burn::backend::Dispatch;

use crate::flex::{Activation, Fused, Swiglu, is_fused};
use crate::portable;

/// Gated activation of Llama's feed-forward: `silu(gate) · up`, `silu(g) = g · sigmoid(g)`
/// ([`SwiGLU`](https://arxiv.org/abs/2002.05202)).
///
/// # Shapes
/// - gate, up, output: `[tokens, features]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    if !is_fused(&gate) {
        return portable::swiglu(gate, up);
    }
    assert_eq!(gate.dims(), up.dims(), "swiglu: shapes of gate and up");
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused2(Swiglu, gate, up))
}

/// Exact `x · Φ(x)` with `Φ(x) = (1 + erf(x / √2)) / 2`, PyTorch's default GELU
/// ([GELU](https://arxiv.org/abs/1606.08415)).
///
/// # Shapes
/// - x, output: `[tokens, features]`
#[must_use]
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::gelu(x);
    }
    Tensor::from_dispatch(Dispatch::fused1(Activation::Gelu, x.into_dispatch()))
}

/// `x · sigmoid(1.702 x)`, the approximation CLIP uses.
///
/// # Shapes
/// - x, output: `[tokens, features]`
#[must_use]
pub fn quick_gelu(x: Tensor<2>) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::quick_gelu(x);
    }
    Tensor::from_dispatch(Dispatch::fused1(Activation::QuickGelu, x.into_dispatch()))
}

/// `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`, the approximation of GELU that SigLIP uses
/// (`gelu_pytorch_tanh`).
///
/// # Shapes
/// - x, output: `[tokens, features]`
#[must_use]
pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::gelu_tanh(x);
    }
    Tensor::from_dispatch(Dispatch::fused1(Activation::GeluTanh, x.into_dispatch()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, matrix, numbers};

    #[test]
    fn matches_the_portable_form() {
        for (rows, cols) in [(3, 5), (37, 96)] {
            let x = matrix(1, rows, cols).mul_scalar(6.0);
            let up = matrix(2, rows, cols);
            check(
                &[x.clone(), up],
                |t| swiglu(t[0].clone(), t[1].clone()),
                |t| portable::swiglu(t[0].clone(), t[1].clone()),
            );
            check(
                std::slice::from_ref(&x),
                |t| gelu(t[0].clone()),
                |t| portable::gelu(t[0].clone()),
            );
            check(
                std::slice::from_ref(&x),
                |t| gelu_tanh(t[0].clone()),
                |t| portable::gelu_tanh(t[0].clone()),
            );
            check(&[x], |t| quick_gelu(t[0].clone()), |t| portable::quick_gelu(t[0].clone()));
        }
    }

    #[test]
    fn values_from_pytorch() {
        // torch.nn.functional.gelu and x * sigmoid(1.702 x), in double precision.
        let x = Tensor::<2>::from_data(
            [[-3.0f32, -1.0, 0.0, 0.5, 2.0]],
            &burn::prelude::Device::flex(),
        );
        let close = |got: Tensor<2>, want: [f32; 5]| {
            for (g, w) in numbers(&got).iter().zip(want) {
                assert!((g - w).abs() < 1e-6, "{g} is not {w}");
            }
        };
        close(gelu(x.clone()), [-0.004_049_694, -0.158_655_25, 0.0, 0.345_731_23, 1.954_499_7]);
        // approximate="tanh"
        close(
            gelu_tanh(x.clone()),
            [-0.003_637_392, -0.158_808_01, 0.0, 0.345_714_02, 1.954_597_7],
        );
        close(quick_gelu(x), [-0.018_071_31, -0.154_204_23, 0.0, 0.350_388_44, 1.935_658_5]);
    }

    #[test]
    fn extremes_stay_finite() {
        let x = Tensor::<2>::from_data(
            [[-200.0f32, -90.0, 90.0, 200.0]],
            &burn::prelude::Device::flex(),
        );
        let one = x.ones_like();
        for y in [swiglu(x.clone(), one), gelu(x.clone()), gelu_tanh(x.clone()), quick_gelu(x)] {
            let y = numbers(&y);
            assert!(y[0].abs() < 1e-30 && y[1].abs() < 1e-30, "{y:?}");
            assert_eq!(&y[2..], [90.0, 200.0]);
        }
    }
}
