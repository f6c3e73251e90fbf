//! Portable token statistics, one tile of the vocabulary at a time.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Int, TensorData};
use burn::{Tensor, prelude::Device};

use crate::TokenStats;

/// Columns of one tile of logits.
const TILE: usize = 8192;
/// Stands for minus infinity where infinities would turn into NaN.
const LOW: f32 = -1e30;

/// Portable form of [`crate::token_stats`]. Without autodiff it holds one tile of logits; Burn's
/// autodiff keeps every tile until the backward.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the signature of the fused form")]
pub fn token_stats(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    forbidden: &[u32],
) -> TokenStats {
    let ([n, _], [vocabulary, _]) = (hidden.dims(), head.dims());
    let device = hidden.device();
    let targets: Tensor<2, Int> = targets.reshape([n, 1]);
    // Running maximum, sum of exp(z - max), sum of exp(z - max) z, and the target's logit.
    let mut state: Option<[Tensor<2>; 4]> = None;
    for start in (0..vocabulary).step_by(TILE) {
        let len = TILE.min(vocabulary - start);
        let z = hidden.clone().matmul(head.clone().narrow(0, start, len).transpose());
        let z = match forbidden_mask(forbidden, start, len, &device) {
            Some(mask) => z.mask_fill(mask.expand([n, len]), LOW),
            None => z,
        };
        let local = targets.clone().sub_scalar(i64::try_from(start).unwrap_or(i64::MAX));
        let outside = local
            .clone()
            .lower_elem(0)
            .bool_or(local.clone().greater_equal_elem(i64::try_from(len).unwrap_or(i64::MAX)));
        let target =
            z.clone().gather(1, local.mask_fill(outside.clone(), 0)).mask_fill(outside, 0.0);
        let max = z.clone().detach().max_dim(1);
        let e = (z.clone() - max.clone()).exp();
        let tile = [max, e.clone().sum_dim(1), (e * z).sum_dim(1), target];
        state = Some(match state {
            Some(state) => merge(state, tile),
            None => tile,
        });
    }
    let Some([max, sum, weighted, target]) = state else {
        let empty = Tensor::zeros([n], &device);
        return TokenStats { logprobs: empty.clone(), entropy: empty };
    };
    let lse = max + sum.clone().log();
    let entropy = lse.clone() - weighted / sum;
    let impossible = target.clone().lower_equal_elem(LOW);
    let logprobs = (target - lse).mask_fill(impossible, f32::NEG_INFINITY);
    TokenStats { logprobs: logprobs.reshape([n]), entropy: entropy.reshape([n]) }
}

fn merge(a: [Tensor<2>; 4], b: [Tensor<2>; 4]) -> [Tensor<2>; 4] {
    let [max_a, sum_a, weighted_a, target_a] = a;
    let [max_b, sum_b, weighted_b, target_b] = b;
    let max = max_a.clone().max_pair(max_b.clone());
    let (fa, fb) = ((max_a - max.clone()).exp(), (max_b - max.clone()).exp());
    [
        max,
        sum_a * fa.clone() + sum_b * fb.clone(),
        weighted_a * fa + weighted_b * fb,
        target_a + target_b,
    ]
}

/// Portable form of [`crate::log_softmax_rows`].
#[must_use]
pub fn log_softmax_rows(logits: Tensor<2>, forbidden: &[u32]) -> Tensor<2> {
    let ([n, vocabulary], device) = (logits.dims(), logits.device());
    let Some(mask) = forbidden_mask(forbidden, 0, vocabulary, &device) else {
        return log_softmax(logits, 1);
    };
    let mask = mask.expand([n, vocabulary]);
    log_softmax(logits.mask_fill(mask.clone(), LOW), 1).mask_fill(mask, f32::NEG_INFINITY)
}

/// `[1, len]`, true at the forbidden ids among `start..start + len`; none where there are none.
fn forbidden_mask(
    forbidden: &[u32],
    start: usize,
    len: usize,
    device: &Device,
) -> Option<Tensor<2, Bool>> {
    let mut mask = vec![false; len];
    let mut any = false;
    for &id in forbidden {
        if let Some(slot) = (id as usize).checked_sub(start).and_then(|i| mask.get_mut(i)) {
            (*slot, any) = (true, true);
        }
    }
    any.then(|| Tensor::from_data(TensorData::new(mask, [1, len]), device))
}
