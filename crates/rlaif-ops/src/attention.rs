//! Attention over packed sequences that may share a prefix.

use std::ops::Range;

use burn::Tensor;
use burn::backend::Dispatch;

use crate::flex::{Attention, Fused, is_fused};
use crate::portable;

/// The head layout of an attention layer. Query head `h` reads key/value head
/// `h / (query / kv)` ([grouped-query attention](https://arxiv.org/abs/2305.13245)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads; a multiple of `kv`.
    pub query: usize,
    /// Key and value heads.
    pub kv: usize,
    /// Features of one head.
    pub dim: usize,
}

/// One stretch of queries and the keys it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Rows of the query tensor. Spans must not overlap here; rows in no span come out as zeros.
    pub q: Range<usize>,
    /// Rows of the own keys. With `causal`, query `j` of `n` sees the first `m - n + j + 1` of
    /// these `m` rows (aligned at the end); otherwise all of them.
    pub kv: Range<usize>,
    /// Rows of the prefix keys, all of them seen by every query of the span.
    pub prefix: Range<usize>,
}

/// Scaled dot-product attention of each span over its prefix and its own keys:
/// `softmax(q [kₚ, k]ᵀ / √dim) [vₚ, v]`.
///
/// Gradients flow to `q`, `k`, `v` and both prefix tensors. Spans that follow one another and name
/// the same prefix range share the work on it, so put them side by side.
///
/// # Shapes
/// - q, output: `[queries, heads.query · dim]`
/// - k, v: `[keys, heads.kv · dim]`
/// - prefix: keys and values, each `[prefix keys, heads.kv · dim]`
///
/// # Panics
/// Panics when the shapes do not fit `heads`, a range leaves its tensor, two spans share a query,
/// or a query sees no key at all.
#[must_use]
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    prefix: Option<(Tensor<2>, Tensor<2>)>,
    heads: Heads,
    spans: &[Span],
    causal: bool,
) -> Tensor<2> {
    check(&q, &k, &v, prefix.as_ref(), heads, spans, causal);
    if !is_fused(&q) {
        return portable::attention(q, k, v, prefix, heads, spans, causal);
    }
    let op = Attention { heads, spans: spans.to_vec(), causal };
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(match prefix {
        Some((pk, pv)) => Dispatch::fused5(op, q, k, v, pk.into_dispatch(), pv.into_dispatch()),
        None => Dispatch::fused3(op, q, k, v),
    })
}

/// How many of the `m` own keys query `j` of `n` sees.
pub(crate) fn visible(n: usize, m: usize, j: usize, causal: bool) -> usize {
    if causal { (m + j + 1).saturating_sub(n).min(m) } else { m }
}

fn check(
    q: &Tensor<2>,
    k: &Tensor<2>,
    v: &Tensor<2>,
    prefix: Option<&(Tensor<2>, Tensor<2>)>,
    heads: Heads,
    spans: &[Span],
    causal: bool,
) {
    let Heads { query, kv, dim } = heads;
    assert!(kv > 0 && query % kv == 0, "attention: {query} query heads over {kv} key heads");
    let [queries, q_features] = q.dims();
    let [keys, k_features] = k.dims();
    assert_eq!(q_features, query * dim, "attention: width of q for {heads:?}");
    assert_eq!(k_features, kv * dim, "attention: width of k for {heads:?}");
    assert_eq!(v.dims(), [keys, k_features], "attention: shape of v against k");
    let mut prefix_keys = 0;
    if let Some((pk, pv)) = prefix {
        prefix_keys = pk.dims()[0];
        assert_eq!(pk.dims()[1], kv * dim, "attention: width of the prefix keys");
        assert_eq!(pk.dims(), pv.dims(), "attention: shape of the prefix values");
    }
    let mut taken = vec![false; queries];
    for span in spans {
        assert!(span.q.end <= queries, "attention: {span:?} leaves the {queries} queries");
        assert!(span.kv.end <= keys, "attention: {span:?} leaves the {keys} keys");
        assert!(
            span.prefix.is_empty() || span.prefix.end <= prefix_keys,
            "attention: {span:?} leaves the {prefix_keys} prefix keys"
        );
        let sees = span.prefix.len() + visible(span.q.len(), span.kv.len(), 0, causal);
        assert!(span.q.is_empty() || sees > 0, "attention: a query of {span:?} sees no key");
        for row in span.q.clone() {
            assert!(!taken[row], "attention: query {row} is in two spans");
            taken[row] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, distance, matrix, noise, numbers};

    fn span(q: Range<usize>, kv: Range<usize>, prefix: Range<usize>) -> Span {
        Span { q, kv, prefix }
    }

    type Op = fn(
        Tensor<2>,
        Tensor<2>,
        Tensor<2>,
        Option<(Tensor<2>, Tensor<2>)>,
        Heads,
        &[Span],
        bool,
    ) -> Tensor<2>;

    fn compare(
        heads: Heads,
        queries: usize,
        keys: usize,
        prefix: usize,
        spans: &[Span],
        causal: bool,
    ) {
        let Heads { query, kv, dim } = heads;
        let mut inputs = vec![
            matrix(1, queries, query * dim).mul_scalar(2.0),
            matrix(2, keys, kv * dim).mul_scalar(2.0),
            matrix(3, keys, kv * dim),
        ];
        if prefix > 0 {
            inputs.push(matrix(4, prefix, kv * dim).mul_scalar(2.0));
            inputs.push(matrix(5, prefix, kv * dim));
        }
        let run = |t: &[Tensor<2>], f: Op| {
            let shared = (t.len() > 3).then(|| (t[3].clone(), t[4].clone()));
            f(t[0].clone(), t[1].clone(), t[2].clone(), shared, heads, spans, causal)
        };
        check(&inputs, |t| run(t, attention), |t| run(t, portable::attention));
    }

    #[test]
    fn one_causal_sequence() {
        let heads = Heads { query: 4, kv: 2, dim: 8 };
        compare(heads, 11, 11, 0, &[span(0..11, 0..11, 0..0)], true);
        compare(heads, 150, 150, 0, &[span(0..150, 0..150, 0..0)], true);
        // Fewer queries than keys: a prompt read in pieces.
        compare(heads, 5, 11, 0, &[span(0..5, 0..11, 0..0)], true);
    }

    #[test]
    fn responses_share_a_prefix() {
        let heads = Heads { query: 6, kv: 2, dim: 16 };
        let spans = [span(0..7, 0..7, 0..33), span(7..9, 7..9, 0..33), span(9..20, 9..20, 0..33)];
        compare(heads, 20, 20, 33, &spans, true);
        // Two prompts, a span without prefix and a gap in the queries.
        let spans = [
            span(0..4, 0..4, 0..20),
            span(4..9, 4..9, 0..20),
            span(9..12, 9..12, 20..33),
            span(14..20, 12..20, 0..0),
        ];
        compare(heads, 20, 20, 33, &spans, true);
        // A long prefix, over several tiles.
        let spans = [span(0..40, 0..40, 0..300), span(40..75, 40..75, 0..300)];
        compare(heads, 75, 75, 300, &spans, true);
        // More queries than own keys: the first ones see the prefix alone.
        compare(heads, 6, 4, 5, &[span(0..6, 0..4, 0..5)], true);
        compare(heads, 6, 0, 5, &[span(0..6, 0..0, 0..5)], false);
    }

    #[test]
    fn frames_see_all_of_themselves() {
        let heads = Heads { query: 2, kv: 2, dim: 12 };
        let spans = [span(0..9, 0..9, 0..0), span(9..18, 9..18, 0..0)];
        compare(heads, 18, 18, 0, &spans, false);
        compare(
            heads,
            200,
            200,
            0,
            &[span(0..100, 0..100, 0..0), span(100..200, 100..200, 0..0)],
            false,
        );
    }

    #[test]
    fn decoding_steps() {
        let heads = Heads { query: 6, kv: 2, dim: 16 };
        let spans: Vec<Span> =
            (0..3).map(|i| span(i..i + 1, i * 8..i * 8 + 5 + i, 0..21)).collect();
        compare(heads, 3, 24, 21, &spans, true);
        let spans: Vec<Span> = (0..3).map(|i| span(i..i + 1, i * 8..i * 8 + 5 + i, 0..0)).collect();
        compare(heads, 3, 24, 0, &spans, true);
    }

    /// Softmax attention of one query head written out over plain numbers.
    #[test]
    fn agrees_with_the_formula() {
        let heads = Heads { query: 2, kv: 1, dim: 4 };
        let (q, k, v) = (noise(1, 3 * 8), noise(2, 3 * 4), noise(3, 3 * 4));
        let mut want = vec![0f32; 3 * 8];
        for i in 0..3 {
            for h in 0..2 {
                let weight = |j: usize| {
                    (0..4).map(|c| q[i * 8 + h * 4 + c] * k[j * 4 + c]).sum::<f32>() / 2.0
                };
                let total: f32 = (0..=i).map(|j| weight(j).exp()).sum();
                for c in 0..4 {
                    want[i * 8 + h * 4 + c] =
                        (0..=i).map(|j| weight(j).exp() / total * v[j * 4 + c]).sum();
                }
            }
        }
        let got = attention(
            matrix(1, 3, 8),
            matrix(2, 3, 4),
            matrix(3, 3, 4),
            None,
            heads,
            &[span(0..3, 0..3, 0..0)],
            true,
        );
        assert!(distance(&numbers(&got), &want) < 1e-5);
    }

    #[test]
    #[should_panic(expected = "is in two spans")]
    fn overlapping_spans_are_refused() {
        let heads = Heads { query: 1, kv: 1, dim: 2 };
        let x = matrix(1, 4, 2);
        let spans = [span(0..3, 0..3, 0..0), span(2..4, 2..4, 0..0)];
        let _ = attention(x.clone(), x.clone(), x, None, heads, &spans, true);
    }
}
