//! Normalisation over the features of each token.

use burn::Tensor;
use burn::backend::Dispatch;

use crate::flex::{Fused, LayerNorm, RmsNorm, is_fused};
use crate::portable;

/// Root-mean-square normalisation: `x / √(mean(x²) + eps) · weight`
/// ([`RMSNorm`](https://arxiv.org/abs/1910.07467)).
///
/// # Shapes
/// - x, output: `[tokens, features]`, weight: `[features]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::rms_norm(x, weight, eps);
    }
    assert_eq!(x.dims()[1], weight.dims()[0], "rms_norm: width of x and weight");
    let op = RmsNorm { eps };
    Tensor::from_dispatch(Dispatch::fused2(op, x.into_dispatch(), weight.into_dispatch()))
}

/// Layer normalisation: `(x - mean) / √(var + eps) · weight + bias`, with the biased variance
/// ([`LayerNorm`](https://arxiv.org/abs/1607.06450)).
///
/// # Shapes
/// - x, output: `[tokens, features]`, weight, bias: `[features]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::layer_norm(x, weight, bias, eps);
    }
    assert_eq!(x.dims()[1], weight.dims()[0], "layer_norm: width of x and weight");
    assert_eq!(x.dims()[1], bias.dims()[0], "layer_norm: width of x and bias");
    let op = LayerNorm { eps };
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused3(op, x, weight, bias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, matrix};

    fn row(x: &Tensor<2>) -> Tensor<1> {
        x.clone().reshape([x.dims()[1]])
    }

    #[test]
    fn matches_the_portable_form() {
        for (rows, cols) in [(3, 5), (70, 96)] {
            let inputs = [matrix(1, rows, cols), matrix(2, 1, cols), matrix(3, 1, cols)];
            check(
                &inputs[..2],
                |t| rms_norm(t[0].clone(), row(&t[1]), 1e-5),
                |t| portable::rms_norm(t[0].clone(), row(&t[1]), 1e-5),
            );
            check(
                &inputs,
                |t| layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
                |t| portable::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
            );
        }
    }
}
