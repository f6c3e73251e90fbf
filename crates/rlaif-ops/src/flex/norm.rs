//! Normalisations: forward and backward in one pass over the rows each.

use rayon::prelude::*;

use super::buffer::{Buffer, dense, size, tensor, values};
use super::extension::Operation;
use super::math::madd;
use super::reduce::{add_up, dot, sum, sum_of_squares};
use crate::simd::kernel;

/// Rows one task handles. It fixes how the weight gradients are added up, so it depends on the
/// width alone.
fn rows_per_task(cols: usize) -> usize {
    (1 << 14) / cols.max(1) + 1
}

/// `x / √(mean(x²) + eps) · weight`.
#[derive(Clone, Debug)]
pub(crate) struct RmsNorm {
    pub(crate) eps: f64,
}

/// `(x - mean) / √(var + eps) · weight + bias`.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    pub(crate) eps: f64,
}

impl Operation<2> for RmsNorm {
    type Saved = [Buffer; 2];

    fn forward(&self, inputs: [Buffer; 2], _needs: [bool; 2]) -> (Buffer, Self::Saved) {
        let [x, weight] = inputs.map(dense);
        let out = normalise(&x, &weight, None, self.eps);
        (out, [x, weight])
    }

    fn backward(
        self,
        [x, weight]: Self::Saved,
        grad: Buffer,
        needs: [bool; 2],
    ) -> [Option<Buffer>; 2] {
        let (dx, sums) = gradients::<false>(&x, &weight, grad, self.eps, needs[1]);
        [Some(dx), needs[1].then(|| tensor(sums, [size(&x)[1]]))]
    }
}

impl Operation<3> for LayerNorm {
    type Saved = [Buffer; 2];

    fn forward(&self, inputs: [Buffer; 3], _needs: [bool; 3]) -> (Buffer, Self::Saved) {
        let [x, weight, bias] = inputs.map(dense);
        let out = normalise(&x, &weight, Some(&bias), self.eps);
        (out, [x, weight])
    }

    fn backward(
        self,
        [x, weight]: Self::Saved,
        grad: Buffer,
        needs: [bool; 3],
    ) -> [Option<Buffer>; 3] {
        let cols = size(&x)[1];
        let (dx, mut sums) = gradients::<true>(&x, &weight, grad, self.eps, needs[1] || needs[2]);
        let d_bias = sums.split_off(cols.min(sums.len()));
        [Some(dx), needs[1].then(|| tensor(sums, [cols])), needs[2].then(|| tensor(d_bias, [cols]))]
    }
}

/// The forward; with a bias it also subtracts the mean.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn normalise(x: &Buffer, weight: &Buffer, bias: Option<&Buffer>, eps: f64) -> Buffer {
    let [rows, cols] = size(x);
    let mut out = vec![0.0; rows * cols];
    let task = rows_per_task(cols) * cols.max(1);
    let weight = values(weight);
    out.par_chunks_mut(task).zip(values(x).par_chunks(task)).for_each(|(out, x)| match bias {
        Some(bias) => layer_norm(x, weight, values(bias), eps as f32, out),
        None => rms_norm(x, weight, eps as f32, out),
    });
    tensor(out, [rows, cols])
}

/// The gradient of `x`, and the sums over rows that are the gradients of the weight and, for layer
/// normalisation, of the bias behind it (empty unless `with_sums`).
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn gradients<const CENTRED: bool>(
    x: &Buffer,
    weight: &Buffer,
    grad: Buffer,
    eps: f64,
    with_sums: bool,
) -> (Buffer, Vec<f32>) {
    let [rows, cols] = size(x);
    let grad = dense(grad);
    let mut dx = vec![0.0; rows * cols];
    let task = rows_per_task(cols) * cols.max(1);
    let weight = values(weight);
    let width = if CENTRED { 2 * cols } else { cols };
    let sums: Vec<Vec<f32>> = dx
        .par_chunks_mut(task)
        .zip(values(x).par_chunks(task).zip(values(&grad).par_chunks(task)))
        .map(|(dx, (x, grad))| {
            let mut sums = if with_sums { vec![0.0; width] } else { Vec::new() };
            norm_grad(CENTRED, x, weight, grad, eps as f32, dx, &mut sums[..]);
            sums
        })
        .collect();
    let sums = if rows == 0 && with_sums { vec![0.0; width] } else { add_up(sums) };
    (tensor(dx, [rows, cols]), sums)
}

kernel! {
    fn rms_norm<'a>(x: &'a [f32], weight: &'a [f32], eps: f32, out: &'a mut [f32]) {
        let cols = weight.len();
        for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
            let scale = 1.0 / (sum_of_squares::<FMA, LANES>(x, 0.0) / cols as f32 + eps).sqrt();
            for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * w;
            }
        }
    }
}

kernel! {
    fn layer_norm<'a>(
        x: &'a [f32],
        weight: &'a [f32],
        bias: &'a [f32],
        eps: f32,
        out: &'a mut [f32],
    ) {
        let cols = weight.len();
        for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
            let mean = sum::<FMA, LANES>(x) / cols as f32;
            let scale = 1.0 / (sum_of_squares::<FMA, LANES>(x, mean) / cols as f32 + eps).sqrt();
            for (((out, x), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = madd::<FMA>((x - mean) * scale, *w, *b);
            }
        }
    }
}

kernel! {
    /// With `x̂ = (x - mean) scale` and `d = dy · weight`: `dx = scale (d - mean(d) - x̂ mean(d x̂))`,
    /// where the middle term and the mean are there for layer normalisation only.
    fn norm_grad<'a>(
        centred: bool,
        x: &'a [f32],
        weight: &'a [f32],
        grad: &'a [f32],
        eps: f32,
        dx: &'a mut [f32],
        sums: &'a mut [f32],
    ) {
        let cols = weight.len();
        let n = cols as f32;
        let rows = x.chunks_exact(cols).zip(grad.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols));
        for ((x, grad), dx) in rows {
            let mean = if centred { sum::<FMA, LANES>(x) / n } else { 0.0 };
            let scale = 1.0 / (sum_of_squares::<FMA, LANES>(x, mean) / n + eps).sqrt();
            // `dx` holds x̂ first.
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = (x - mean) * scale;
            }
            if !sums.is_empty() {
                let (d_weight, d_bias) = sums.split_at_mut(cols);
                for ((s, g), x) in d_weight.iter_mut().zip(grad).zip(&*dx) {
                    *s = madd::<FMA>(*g, *x, *s);
                }
                for (s, g) in d_bias.iter_mut().zip(grad) {
                    *s += g;
                }
            }
            let shift = if centred { dot::<FMA, LANES>(grad, weight) / n } else { 0.0 };
            let tilt = triple::<FMA, LANES>(grad, weight, dx) / n;
            for ((dx, g), w) in dx.iter_mut().zip(grad).zip(weight) {
                *dx = scale * (g * w - shift - *dx * tilt);
            }
        }
    }
}

/// Sum of `a · b · c`.
#[expect(clippy::inline_always, reason = "compiled inside the kernel that calls it")]
#[inline(always)]
fn triple<const FMA: bool, const L: usize>(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<L>();
    let (b, b_rest) = b.as_chunks::<L>();
    let (c, c_rest) = c.as_chunks::<L>();
    let mut lanes = [0f32; L];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for j in 0..L {
            lanes[j] = madd::<FMA>(a[j] * b[j], c[j], lanes[j]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest);
    rest.fold(lanes.iter().sum(), |total, ((a, b), c)| madd::<FMA>(a * b, *c, total))
}
