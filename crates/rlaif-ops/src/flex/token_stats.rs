//! Token statistics over tiles of the vocabulary: no more than one tile of logits exists at a time.
//!
//! With `p = softmax(z)`, `H` the entropy, `t` the target and `W` the head:
//!
//! ```text
//! d log p_t / dh = W_t - Σ_j p_j W_j          dH / dh = - Σ_j p_j (log p_j + H) W_j
//! ```
//!
//! Where the head is frozen, the sums over the vocabulary are taken in the forward beside the
//! normaliser, so that the backward has no product left to compute. Where it is trained, the
//! backward computes the logits once more.

use rayon::prelude::*;

use super::buffer::{Buffer, dense, mat, size, tensor, values, with_rows};
use super::extension::Operation;
use super::math::{exp, madd};
use super::reduce::max;
use crate::simd::{Mat, MatMut, Threads, gemm, kernel};

/// Columns of one tile of logits.
const TILE: usize = 1024;
/// Stands for minus infinity where infinities would turn into NaN.
const LOW: f32 = -1e30;

/// Of hidden states `[n, d]` and a head `[vocabulary, d]`; the output `[n, 2]` holds each row's
/// log-probability of its target and its entropy.
#[derive(Clone, Debug)]
pub(crate) struct TokenStats {
    pub(crate) targets: Vec<usize>,
    pub(crate) forbidden: Vec<usize>,
    /// Whether anything differentiates the entropy.
    pub(crate) entropy_grad: bool,
}

/// What the backward reads.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    hidden: Buffer,
    head: Buffer,
    /// Log-normaliser and entropy of each row.
    log_sums: Vec<f32>,
    entropies: Vec<f32>,
    /// `Σ p_j W_j` and `Σ p_j log p_j W_j`, `[n, d]`, where the forward took them.
    means: Option<[Vec<f32>; 2]>,
}

/// Running sums of one row.
#[derive(Clone, Copy)]
struct Row {
    top: f32,
    /// `Σ exp(z - top)`
    sum: f32,
    /// `Σ exp(z - top) z`
    weighted: f32,
    target: f32,
}

impl Operation<2> for TokenStats {
    type Saved = Saved;

    fn forward(&self, [hidden, head]: [Buffer; 2], needs: [bool; 2]) -> (Buffer, Saved) {
        let (hidden, head) = (dense(hidden), with_rows(head));
        let ([n, width], [vocabulary, _]) = (size(&hidden), size(&head));
        let keep = needs[0] && !needs[1];
        let mut means = [keep, keep && self.entropy_grad]
            .map(|wanted| if wanted { vec![0.0; n * width] } else { Vec::new() });
        let mut rows = vec![Row { top: LOW, sum: 0.0, weighted: 0.0, target: LOW }; n];
        let mut tile = vec![0.0; n * TILE.min(vocabulary)];
        let mut weighted = if means[1].is_empty() { Vec::new() } else { tile.clone() };
        let mut factors = vec![1.0; n];
        for start in (0..vocabulary).step_by(TILE) {
            let len = TILE.min(vocabulary - start);
            let tile = &mut tile[..n * len];
            let part = mat(&head).block(start, len, 0, width);
            self.logits(mat(&hidden), part, start, tile);
            let targets = &self.targets;
            tile.par_chunks_mut(len).zip(&mut rows).zip(&mut factors).zip(targets).for_each(
                |(((z, row), factor), target)| {
                    if let Some(z) = target.checked_sub(start).and_then(|i| z.get(i)) {
                        row.target = *z;
                    }
                    *factor = absorb(z, row);
                },
            );
            if means[0].is_empty() {
                continue;
            }
            // What was summed so far moves to the new top; then this tile is added.
            if !weighted.is_empty() {
                // `tile` holds exp(z - top); z comes back as its logarithm.
                weighted[..n * len]
                    .par_chunks_mut(len)
                    .zip(tile.par_chunks(len))
                    .zip(&rows)
                    .for_each(|((out, e), row)| times_log(out, e, row.top));
            }
            let sources: [&[f32]; 2] = [tile, &weighted];
            for (mean, source) in means.iter_mut().zip(sources) {
                if !mean.is_empty() {
                    for (row, factor) in mean.chunks_exact_mut(width).zip(&factors) {
                        for x in row {
                            *x *= factor;
                        }
                    }
                    let source = Mat::new(&source[..n * len], n, len);
                    gemm(MatMut::new(mean, n, width), 1.0, source, part, 1.0, Threads::All);
                }
            }
        }
        let log_sums: Vec<f32> = rows.iter().map(|row| row.top + row.sum.ln()).collect();
        let entropies: Vec<f32> =
            rows.iter().zip(&log_sums).map(|(row, l)| l - row.weighted / row.sum).collect();
        let mut out = Vec::with_capacity(2 * n);
        for ((row, log_sum), entropy) in rows.iter().zip(&log_sums).zip(&entropies) {
            let possible = row.target > LOW;
            out.push(if possible { row.target - log_sum } else { f32::NEG_INFINITY });
            out.push(*entropy);
        }
        let means = keep.then(|| {
            let [mut first, mut second] = means;
            for (mean, row) in first.chunks_exact_mut(width).zip(&rows) {
                for x in mean {
                    *x /= row.sum;
                }
            }
            let logs = second.chunks_exact_mut(width).zip(first.chunks_exact(width));
            for (((second, first), row), log_sum) in logs.zip(&rows).zip(&log_sums) {
                for (second, first) in second.iter_mut().zip(first) {
                    *second = *second / row.sum - log_sum * first;
                }
            }
            [first, second]
        });
        (tensor(out, [n, 2]), Saved { hidden, head, log_sums, entropies, means })
    }

    fn backward(self, saved: Saved, grad: Buffer, needs: [bool; 2]) -> [Option<Buffer>; 2] {
        let grad = dense(grad);
        let grads: Vec<[f32; 2]> = values(&grad)
            .chunks_exact(2)
            .zip(&self.targets)
            .map(|(g, target)| {
                // A forbidden target passes no gradient.
                let possible = !self.forbidden.contains(target);
                [if possible { g[0] } else { 0.0 }, if self.entropy_grad { g[1] } else { 0.0 }]
            })
            .collect();
        match &saved.means {
            Some(means) => [Some(self.by_means(&saved, means, &grads)), None],
            None => self.again(&saved, &grads, needs),
        }
    }
}

impl TokenStats {
    /// `hidden partᵀ` with the forbidden columns at [`LOW`].
    fn logits(&self, hidden: Mat<'_>, part: Mat<'_>, start: usize, out: &mut [f32]) {
        let (n, len) = (hidden.rows(), part.rows());
        super::linear::times_transposed(hidden, part, None, out);
        for id in &self.forbidden {
            if let Some(column) = id.checked_sub(start).filter(|column| *column < len) {
                (0..n).for_each(|row| out[row * len + column] = LOW);
            }
        }
    }

    /// `g (W_t - u) - g_H (w + H u)`.
    fn by_means(&self, saved: &Saved, means: &[Vec<f32>; 2], grads: &[[f32; 2]]) -> Buffer {
        let [n, width] = size(&saved.hidden);
        let head = mat(&saved.head);
        let mut out = vec![0.0; n * width];
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let [g, g_entropy] = grads[i];
            let target = head.row(self.targets[i]);
            for (j, out) in out.iter_mut().enumerate() {
                let u = means[0][i * width + j];
                *out = g * (target[j] - u);
                if g_entropy != 0.0 {
                    *out -= g_entropy * (means[1][i * width + j] + saved.entropies[i] * u);
                }
            }
        }
        tensor(out, [n, width])
    }

    /// Gradients by tiles, the logits computed once more.
    fn again(&self, saved: &Saved, grads: &[[f32; 2]], needs: [bool; 2]) -> [Option<Buffer>; 2] {
        let ([n, width], [vocabulary, _]) = (size(&saved.hidden), size(&saved.head));
        let (hidden, head) = (mat(&saved.hidden), mat(&saved.head));
        let mut d_hidden = vec![0.0; n * width];
        let mut d_head = if needs[1] { vec![0.0; vocabulary * width] } else { Vec::new() };
        let mut tile = vec![0.0; n * TILE.min(vocabulary)];
        for start in (0..vocabulary).step_by(TILE) {
            let len = TILE.min(vocabulary - start);
            let tile = &mut tile[..n * len];
            let part = head.block(start, len, 0, width);
            self.logits(hidden, part, start, tile);
            tile.par_chunks_mut(len).enumerate().for_each(|(i, z)| {
                let [g, g_entropy] = grads[i];
                logit_gradients(z, saved.log_sums[i], saved.entropies[i], g, g_entropy);
                let target = self.targets[i].checked_sub(start);
                if let Some(z) = target.and_then(|target| z.get_mut(target)) {
                    *z += g;
                }
            });
            let dz = Mat::new(tile, n, len);
            if needs[0] {
                gemm(MatMut::new(&mut d_hidden, n, width), 1.0, dz, part, 1.0, Threads::All);
            }
            if needs[1] {
                let rows = &mut d_head[start * width..(start + len) * width];
                gemm(MatMut::new(rows, len, width), 0.0, dz.t(), hidden, 1.0, Threads::All);
            }
        }
        [
            needs[0].then(|| tensor(d_hidden, [n, width])),
            needs[1].then(|| tensor(d_head, [vocabulary, width])),
        ]
    }
}

kernel! {
    /// Adds a tile of logits to a row's sums and leaves `exp(z - top)` in its place; returns the
    /// factor by which sums taken before shrink.
    fn absorb<'a>(z: &'a mut [f32], row: &'a mut Row) -> f32 {
        let top = max::<FMA, LANES>(z);
        let top = if row.top > top { row.top } else { top };
        let factor = exp::<FMA>(row.top - top);
        let factor = if row.sum == 0.0 { 0.0 } else { factor };
        let (chunks, rest) = z.as_chunks_mut::<LANES>();
        let mut sums = [0f32; LANES];
        let mut weighted = [0f32; LANES];
        for chunk in chunks {
            for j in 0..LANES {
                let z = chunk[j];
                chunk[j] = exp::<FMA>(z - top);
                let e = if z > LOW { chunk[j] } else { 0.0 };
                chunk[j] = e;
                sums[j] += e;
                weighted[j] = madd::<FMA>(e, z, weighted[j]);
            }
        }
        let mut sum: f32 = sums.iter().sum();
        let mut total: f32 = weighted.iter().sum();
        for x in rest {
            let z = *x;
            *x = if z > LOW { exp::<FMA>(z - top) } else { 0.0 };
            sum += *x;
            total = madd::<FMA>(*x, z, total);
        }
        row.top = top;
        row.sum = madd::<FMA>(row.sum, factor, sum);
        row.weighted = madd::<FMA>(row.weighted, factor, total);
        factor
    }
}

/// `out = e (top + ln e)`, zero where `e` is.
fn times_log(out: &mut [f32], e: &[f32], top: f32) {
    for (out, e) in out.iter_mut().zip(e) {
        *out = if *e > 0.0 { e * (top + e.ln()) } else { 0.0 };
    }
}

kernel! {
    /// `- g p - g_H p (log p + H)` in place of each logit.
    fn logit_gradients<'a>(
        z: &'a mut [f32],
        log_sum: f32,
        entropy: f32,
        g: f32,
        g_entropy: f32,
    ) {
        for z in z {
            let log_p = *z - log_sum;
            let p = if *z > LOW { exp::<FMA>(log_p) } else { 0.0 };
            let log_p = if *z > LOW { log_p } else { 0.0 };
            *z = -p * madd::<FMA>(g_entropy, log_p + entropy, g);
        }
    }
}
