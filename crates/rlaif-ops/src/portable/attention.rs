//! Portable attention: one softmax per span over the prefix and the span's own keys.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, TensorData};
use burn::{Tensor, prelude::Device};

use crate::attention::visible;
use crate::{Heads, Span};

/// Portable form of [`crate::attention`]. Holds the scores of one span at a time, all of them
/// under autodiff.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the signature of the fused form")]
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    prefix: Option<(Tensor<2>, Tensor<2>)>,
    heads: Heads,
    spans: &[Span],
    causal: bool,
) -> Tensor<2> {
    let [queries, features] = q.dims();
    let device = q.device();
    let mut ordered: Vec<&Span> = spans.iter().filter(|span| !span.q.is_empty()).collect();
    ordered.sort_by_key(|span| span.q.start);
    let mut parts = Vec::new();
    let mut next = 0;
    for span in ordered {
        if span.q.start > next {
            parts.push(Tensor::zeros([span.q.start - next, features], &device));
        }
        next = span.q.end;
        let rows =
            |x: &Tensor<2>, r: &std::ops::Range<usize>| x.clone().narrow(0, r.start, r.len());
        let join = |own: &Tensor<2>, shared: Option<&Tensor<2>>| match shared {
            Some(shared) if span.kv.is_empty() => rows(shared, &span.prefix),
            Some(shared) => Tensor::cat(vec![rows(shared, &span.prefix), rows(own, &span.kv)], 0),
            None => rows(own, &span.kv),
        };
        let shared = prefix.as_ref().filter(|_| !span.prefix.is_empty());
        let keys = join(&k, shared.map(|(k, _)| k));
        let values = join(&v, shared.map(|(_, v)| v));
        parts.push(one_span(rows(&q, &span.q), keys, values, heads, span, causal, &device));
    }
    if next < queries {
        parts.push(Tensor::zeros([queries - next, features], &device));
    }
    Tensor::cat(parts, 0)
}

/// Attention of `[n, query · dim]` queries to `[s, kv · dim]` keys. The query heads of one key head
/// are folded into the rows.
fn one_span(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    heads: Heads,
    span: &Span,
    causal: bool,
    device: &Device,
) -> Tensor<2> {
    let Heads { query, kv, dim } = heads;
    let (n, s, group) = (q.dims()[0], k.dims()[0], query / kv);
    let q = q.reshape([n, kv, group, dim]).permute([1, 2, 0, 3]).reshape([kv, group * n, dim]);
    let k = k.reshape([s, kv, dim]).permute([1, 2, 0]);
    let v = v.reshape([s, kv, dim]).permute([1, 0, 2]);
    let mut scores = q.matmul(k).mul_scalar(1.0 / (dim as f64).sqrt());
    if causal && n > 1 {
        let hidden = hidden(n, span.kv.len(), span.prefix.len(), device);
        let mask = hidden.reshape([1, 1, n, s]).expand([kv, group, n, s]);
        let masked = scores.reshape([kv, group, n, s]).mask_fill(mask, f32::NEG_INFINITY);
        scores = masked.reshape([kv, group * n, s]);
    }
    let out = softmax(scores, 2).matmul(v);
    out.reshape([kv, group, n, dim]).permute([2, 0, 1, 3]).reshape([n, query * dim])
}

/// `[n, prefix + m]`, true where a key is hidden from a query.
fn hidden(n: usize, m: usize, prefix: usize, device: &Device) -> Tensor<2, Bool> {
    let s = prefix + m;
    let mut mask = vec![false; n * s];
    for (j, row) in mask.chunks_exact_mut(s).enumerate() {
        row[prefix + visible(n, m, j, true)..].fill(true);
    }
    Tensor::from_data(TensorData::new(mask, [n, s]), device)
}
