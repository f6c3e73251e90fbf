//! Normalisation over the features of each token.

use burn::Tensor;

use crate::portable;

/// Root-mean-square normalisation: `x / √(mean(x²) + eps) · weight`
/// ([`RMSNorm`](https://arxiv.org/abs/1910.07467)).
///
/// # Shapes
/// - x, output: `[tokens, features]`, weight: `[features]`
#[must_use]
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    portable::rms_norm(x, weight, eps)
}

/// Layer normalisation: `(x - mean) / √(var + eps) · weight + bias`, with the biased variance
/// ([`LayerNorm`](https://arxiv.org/abs/1607.06450)).
///
/// # Shapes
/// - x, output: `[tokens, features]`, weight, bias: `[features]`
#[must_use]
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<2> {
    portable::layer_norm(x, weight, bias, eps)
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
