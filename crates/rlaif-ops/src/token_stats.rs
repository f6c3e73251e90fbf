//! Log-probabilities and entropies of next-token distributions.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::Int;

use crate::flex::{self, Fused, is_fused};
use crate::portable;

/// What [`token_stats`] computes for each row.
#[derive(Clone, Debug)]
pub struct TokenStats {
    /// Natural-log probability of the target token, `[tokens]`.
    pub logprobs: Tensor<1>,
    /// Entropy of the distribution in nats, `[tokens]`.
    pub entropy: Tensor<1>,
}

/// Log-probability of each row's target and entropy of each row's distribution
/// `softmax(hidden headᵀ)`, over tiles of the vocabulary: the logits of all rows are never held at
/// once.
///
/// `forbidden` lists token ids whose logits count as minus infinity: they can never be sampled, so
/// they have no probability here either. A forbidden target has log-probability minus infinity and
/// passes no gradient.
///
/// Gradients flow to `hidden` and, where it is tracked, to `head`.
///
/// # Shapes
/// - hidden: `[tokens, features]`, head: `[vocabulary, features]`, targets: `[tokens]`
///
/// # Panics
/// Panics when the shapes do not fit together, or every id is forbidden.
#[must_use]
pub fn token_stats(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    forbidden: &[u32],
) -> TokenStats {
    fused_or_portable(hidden, head, targets, forbidden, true)
}

/// The same where nothing differentiates the entropy, which is then a plain number for metrics:
/// [`TokenStats::entropy`] passes no gradient, and the work for it is saved.
///
/// # Panics
/// As [`token_stats`].
#[must_use]
pub fn token_logprobs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    forbidden: &[u32],
) -> TokenStats {
    let stats = fused_or_portable(hidden, head, targets, forbidden, false);
    TokenStats { entropy: stats.entropy.detach(), ..stats }
}

fn fused_or_portable(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    forbidden: &[u32],
    entropy_grad: bool,
) -> TokenStats {
    let n = targets.dims()[0];
    assert_eq!(hidden.dims()[1], head.dims()[1], "token_stats: widths of hidden and head");
    assert_eq!(hidden.dims()[0], n, "token_stats: rows of hidden and targets");
    if !is_fused(&hidden) || n == 0 {
        return portable::token_stats(hidden, head, targets, forbidden);
    }
    let vocabulary = head.dims()[0];
    let targets: Vec<usize> = targets
        .into_data()
        .iter::<i64>()
        .map(|id| usize::try_from(id).unwrap_or(usize::MAX))
        .collect();
    assert!(targets.iter().all(|id| *id < vocabulary), "token_stats: a target is no token");
    let forbidden: Vec<usize> = forbidden.iter().map(|id| *id as usize).collect();
    let op = flex::TokenStats { targets, forbidden, entropy_grad };
    let both: Tensor<2> =
        Tensor::from_dispatch(Dispatch::fused2(op, hidden.into_dispatch(), head.into_dispatch()));
    TokenStats {
        logprobs: both.clone().narrow(1, 0, 1).reshape([n]),
        entropy: both.narrow(1, 1, 1).reshape([n]),
    }
}

/// Log-probability of every token in every row: `log_softmax(logits)`, with minus infinity at the
/// `forbidden` ids. For few rows: sampling, or an exact KL divergence.
///
/// # Shapes
/// - logits, output: `[tokens, vocabulary]`
#[must_use]
pub fn log_softmax_rows(logits: Tensor<2>, forbidden: &[u32]) -> Tensor<2> {
    portable::log_softmax_rows(logits, forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, distance, matrix, numbers};
    use burn::prelude::Device;
    use burn::tensor::TensorData;

    fn targets(ids: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &Device::flex())
    }

    /// Both outputs side by side, so that one check covers the two of them.
    fn both(stats: TokenStats) -> Tensor<2> {
        Tensor::stack(vec![stats.logprobs, stats.entropy], 1)
    }

    #[test]
    fn matches_the_portable_form() {
        for (rows, width, vocabulary) in [(3, 5, 11), (17, 24, 9001)] {
            let last = u32::try_from(vocabulary).unwrap() - 1;
            let ids: Vec<i64> = (0..i64::try_from(rows).unwrap())
                .map(|i| i * 7919 % (i64::from(last) - 5) + 3)
                .collect();
            let inputs = [matrix(1, rows, width).mul_scalar(3.0), matrix(2, vocabulary, width)];
            for forbidden in [&[][..], &[0, 2, last]] {
                check(
                    &inputs,
                    |t| both(token_stats(t[0].clone(), t[1].clone(), targets(&ids), forbidden)),
                    |t| {
                        both(portable::token_stats(
                            t[0].clone(),
                            t[1].clone(),
                            targets(&ids),
                            forbidden,
                        ))
                    },
                );
            }
        }
    }

    #[test]
    fn even_logits_have_the_entropy_of_a_die() {
        let hidden = Tensor::<2>::zeros([1, 3], &Device::flex());
        let stats = token_stats(hidden, matrix(2, 8, 3), targets(&[4]), &[1, 6]);
        let ln6 = 6f32.ln();
        assert!((numbers(&stats.logprobs)[0] + ln6).abs() < 1e-6);
        assert!((numbers(&stats.entropy)[0] - ln6).abs() < 1e-6);
    }

    #[test]
    fn agrees_with_the_rows_of_log_softmax() {
        let (hidden, head) = (matrix(1, 4, 6), matrix(2, 50, 6));
        let ids = [3_u8, 49, 0, 17];
        let forbidden = [5, 40];
        let rows = log_softmax_rows(hidden.clone().matmul(head.clone().transpose()), &forbidden);
        let rows = numbers(&rows);
        let stats = token_stats(hidden, head, targets(&ids.map(i64::from)), &forbidden);
        let want: Vec<f32> = (0..4).map(|i| rows[i * 50 + usize::from(ids[i])]).collect();
        assert!(distance(&numbers(&stats.logprobs), &want) < 1e-5);
        for row in rows.chunks_exact(50) {
            assert!(row[5] == f32::NEG_INFINITY && row[40] == f32::NEG_INFINITY);
            assert!((row.iter().map(|x| x.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_forbidden_target_has_no_probability_and_no_gradient() {
        let (hidden, head) = (matrix(1, 2, 6).autodiff().require_grad(), matrix(2, 50, 6));
        let stats = token_stats(hidden.clone(), head, targets(&[5, 7]), &[5]);
        assert!(numbers(&stats.logprobs)[0] == f32::NEG_INFINITY);
        let grads = stats.logprobs.sum().backward();
        let grad = numbers(&hidden.grad(&grads).unwrap());
        assert!(grad[..6].iter().all(|g| *g == 0.0), "{grad:?}");
        assert!(grad[6..].iter().any(|g| g.abs() > 1e-3));
    }

    #[test]
    fn rows_of_log_softmax_match_the_portable_form() {
        for (rows, vocabulary) in [(2, 9), (11, 3000)] {
            let logits = matrix(1, rows, vocabulary).mul_scalar(8.0);
            // The loss of `check` multiplies every output, so nothing may be infinite here.
            check(
                &[logits],
                |t| log_softmax_rows(t[0].clone(), &[]),
                |t| portable::log_softmax_rows(t[0].clone(), &[]),
            );
        }
    }
}
