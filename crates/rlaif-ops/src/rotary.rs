//! Rotary position embedding.

use burn::Tensor;
use burn::backend::Dispatch;

use crate::flex::{Fused, Rotary, is_fused};
use crate::portable;

/// Rotates each head by its position, with the halves of a head paired as in Hugging Face's Llama
/// (`rotate_half`): `y₁ = x₁ cos - x₂ sin`, `y₂ = x₂ cos + x₁ sin`
/// ([RoPE](https://arxiv.org/abs/2104.09864)).
///
/// No gradient flows to the angles.
///
/// # Shapes
/// - x, output: `[tokens, heads · dim]`
/// - cos, sin: `[tokens, dim / 2]`, one row per token
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn rotary(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::rotary(x, cos, sin, heads);
    }
    let [tokens, features] = x.dims();
    assert!(heads > 0 && features % (2 * heads) == 0, "rotary: {features} over {heads} heads");
    let angles = [tokens, features / heads / 2];
    assert_eq!(cos.dims(), angles, "rotary: shape of cos");
    assert_eq!(sin.dims(), angles, "rotary: shape of sin");
    let (x, cos, sin) =
        (x.into_dispatch(), cos.detach().into_dispatch(), sin.detach().into_dispatch());
    Tensor::from_dispatch(Dispatch::fused3(Rotary { heads }, x, cos, sin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, matrix, numbers};

    #[test]
    fn matches_the_portable_form() {
        for (tokens, heads, dim) in [(3, 2, 6), (41, 3, 32)] {
            let angle = matrix(5, tokens, dim / 2).mul_scalar(3.0);
            let (cos, sin) = (angle.clone().cos(), angle.sin());
            check(
                &[matrix(1, tokens, heads * dim)],
                |t| rotary(t[0].clone(), cos.clone(), sin.clone(), heads),
                |t| portable::rotary(t[0].clone(), cos.clone(), sin.clone(), heads),
            );
        }
    }

    #[test]
    fn a_quarter_turn_moves_the_first_half_into_the_second() {
        let device = burn::prelude::Device::flex();
        let x = Tensor::<2>::from_data([[1.0f32, 2.0, 3.0, 4.0]], &device);
        let (cos, sin) = (Tensor::zeros([1, 2], &device), Tensor::ones([1, 2], &device));
        assert_eq!(numbers(&rotary(x, cos, sin, 1)), [-3.0, -4.0, 1.0, 2.0]);
    }
}
