//! Linear layers, plain and with a low-rank adapter beside the weight.

use burn::Tensor;
use burn::backend::Dispatch;

use crate::flex::{Fused, Linear, LoraLinear, is_fused};
use crate::portable;

/// A low-rank adapter of one linear layer: `scale · B A` is added to the weight
/// ([LoRA](https://arxiv.org/abs/2106.09685), section 4.1).
#[derive(Clone, Debug)]
pub struct Lora {
    /// Down projection `A`, `[rank, in]`.
    pub a: Tensor<2>,
    /// Up projection `B`, `[out, rank]`.
    pub b: Tensor<2>,
    /// Factor on the adapter's output, `alpha / rank` in the paper.
    pub scale: f64,
}

/// Applies a linear layer: `x Wᵀ + b`.
///
/// # Shapes
/// - x: `[tokens, in]`, weight: `[out, in]`, bias: `[out]`
/// - output: `[tokens, out]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::linear(x, weight, bias);
    }
    check(&x, weight.dims(), bias.as_ref());
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::fused3(Linear, x, weight, bias.into_dispatch()),
        None => Dispatch::fused2(Linear, x, weight),
    })
}

/// Applies a linear layer with a low-rank adapter: `x Wᵀ + b + scale · (x Aᵀ) Bᵀ`.
///
/// The adapted weight is never built, and no gradient of `weight` is computed when it is untracked.
///
/// # Shapes
/// - x: `[tokens, in]`, weight: `[out, in]`, bias: `[out]`
/// - output: `[tokens, out]`
///
/// # Panics
/// Panics when the shapes do not fit together.
#[must_use]
pub fn lora_linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    lora: &Lora,
) -> Tensor<2> {
    if !is_fused(&x) {
        return portable::lora_linear(x, weight, bias, lora);
    }
    check(&x, weight.dims(), bias.as_ref());
    check_lora(weight.dims(), lora);
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    let op = LoraLinear { scale: lora.scale as f32 };
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    let (a, b) = (lora.a.clone().into_dispatch(), lora.b.clone().into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::fused5(op, x, weight, a, b, bias.into_dispatch()),
        None => Dispatch::fused4(op, x, weight, a, b),
    })
}

/// Refuses an input or a bias that does not fit a weight of `[out, in]`.
pub(crate) fn check(x: &Tensor<2>, [outs, ins]: [usize; 2], bias: Option<&Tensor<1>>) {
    assert_eq!(x.dims()[1], ins, "linear: width of x and weight");
    if let Some(bias) = bias {
        assert_eq!(bias.dims()[0], outs, "linear: size of the bias");
    }
}

/// Refuses an adapter that does not fit a weight of `[out, in]`.
pub(crate) fn check_lora([outs, ins]: [usize; 2], lora: &Lora) {
    assert_eq!(lora.a.dims()[1], ins, "linear: width of x and A");
    assert_eq!(lora.b.dims(), [outs, lora.a.dims()[0]], "linear: shape of B");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, matrix, value_and_grads};

    fn row(x: &Tensor<2>) -> Tensor<1> {
        x.clone().reshape([x.dims()[1]])
    }

    #[test]
    fn linear_matches_the_portable_form() {
        for (rows, from, to) in [(1, 7, 5), (5, 40, 37), (13, 33, 18), (40, 24, 56), (90, 64, 48)] {
            let inputs = [matrix(1, rows, from), matrix(2, to, from), matrix(3, 1, to)];
            check(
                &inputs,
                |t| linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
                |t| portable::linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
            );
            check(
                &inputs[..2],
                |t| linear(t[0].clone(), t[1].clone(), None),
                |t| portable::linear(t[0].clone(), t[1].clone(), None),
            );
        }
    }

    #[test]
    fn lora_matches_the_portable_form() {
        for (rows, from, to) in [(1, 7, 5), (5, 40, 37), (13, 33, 18), (90, 64, 48)] {
            let inputs = [
                matrix(1, rows, from),
                matrix(2, to, from),
                matrix(3, 1, to),
                matrix(4, 4, from),
                matrix(5, to, 4),
            ];
            let lora = |t: &[Tensor<2>]| Lora { a: t[3].clone(), b: t[4].clone(), scale: 2.0 };
            check(
                &inputs,
                |t| lora_linear(t[0].clone(), t[1].clone(), Some(row(&t[2])), &lora(t)),
                |t| portable::lora_linear(t[0].clone(), t[1].clone(), Some(row(&t[2])), &lora(t)),
            );
        }
    }

    #[test]
    fn views_of_larger_tensors_are_read_in_place() {
        let big = matrix(1, 20, 30);
        let weight = matrix(2, 30, 20);
        let x = big.clone().narrow(0, 3, 10).narrow(1, 4, 12);
        let w = weight.transpose().narrow(0, 2, 9).narrow(1, 5, 12);
        let got = value_and_grads(&[x.clone(), w.clone()], &[true, true], |t| {
            linear(t[0].clone(), t[1].clone(), None)
        });
        let want = value_and_grads(&[x, w], &[true, true], |t| {
            portable::linear(t[0].clone(), t[1].clone(), None)
        });
        assert!(crate::testing::distance(&got.0, &want.0) < 1e-5);
        for (a, b) in got.1.iter().zip(&want.1) {
            assert!(crate::testing::distance(a.as_ref().unwrap(), b.as_ref().unwrap()) < 1e-5);
        }
    }
}
