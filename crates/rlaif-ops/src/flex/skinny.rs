//! Products of a few rows with a large matrix: memory speed, each weight read once for all rows.
#![expect(clippy::inline_always, reason = "kernels are compiled inside each vector width")]

use rayon::prelude::*;

use super::math::madd;
use crate::simd::{Mat, kernel};

/// Up to this many rows [`skinny`] beats a general multiplication.
pub(crate) const MAX_ROWS: usize = 32;
/// Rows of `x` one block of accumulators covers: 2 weight rows by 6 fill the 16 vector registers.
const GROUP: usize = 6;
/// Multiply-adds below which one thread is faster than several.
const PARALLEL: usize = 1 << 18;

/// `out = x wᵀ + bias`, for `x` of at most [`MAX_ROWS`] rows; `x` and `w` have contiguous rows.
///
/// Each output is one sum over the features in an order of its own: it depends neither on the
/// number of rows nor on the threads.
pub(crate) fn skinny(x: Mat<'_>, w: Mat<'_>, bias: Option<&[f32]>, out: &mut [f32]) {
    let (rows, outs) = (x.rows(), w.rows());
    if rows == 0 || outs == 0 {
        return;
    }
    let chunk = outs.div_ceil(24).next_multiple_of(8).clamp(8, 512);
    if rows * outs * w.cols() < PARALLEL {
        let mut parts: Vec<&mut [f32]> = out.chunks_mut(outs).collect();
        part(x, w, bias, &mut parts[..]);
        return;
    }
    let mut parts: Vec<Vec<&mut [f32]>> =
        (0..outs.div_ceil(chunk)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_mut(outs) {
        for (part, piece) in parts.iter_mut().zip(row.chunks_mut(chunk)) {
            part.push(piece);
        }
    }
    parts.par_iter_mut().enumerate().for_each(|(i, out)| {
        let start = i * chunk;
        let len = chunk.min(outs - start);
        let w = w.block(start, len, 0, w.cols());
        part(x, w, bias.map(|b| &b[start..start + len]), &mut out[..]);
    });
}

kernel! {
    /// All rows of `x` against a block of weight rows; `out` holds one slice per row of `x`.
    fn part<'a, 'b>(
        x: Mat<'a>,
        w: Mat<'a>,
        bias: Option<&'a [f32]>,
        out: &'a mut [&'b mut [f32]],
    ) {
        let rows = x.rows();
        let mut first = 0;
        while first < w.rows() {
            let n = if rows > 3 { 2 } else { 4 }.min(w.rows() - first);
            let mut row = 0;
            while row < rows {
                // Even groups: 8 rows are 4 + 4, not 6 + 2.
                let left = rows - row;
                let b = left.div_ceil(left.div_ceil(GROUP));
                macro_rules! block {
                    ($n:literal, $b:literal) => {
                        block::<FMA, LANES, $n, $b>(x, w, row, first, bias, out)
                    };
                }
                match (n, b) {
                    (4, 1) => block!(4, 1),
                    (4, 2) => block!(4, 2),
                    (4, 3) => block!(4, 3),
                    (2, 4) => block!(2, 4),
                    (2, 5) => block!(2, 5),
                    (2, 6) => block!(2, 6),
                    (_, b) => {
                        for i in first..first + n {
                            for j in row..row + b {
                                block::<FMA, LANES, 1, 1>(x, w, j, i, bias, out);
                            }
                        }
                    }
                }
                row += b;
            }
            first += n;
        }
    }
}

/// `N` weight rows against `B` rows of `x`.
#[inline(always)]
fn block<const FMA: bool, const L: usize, const N: usize, const B: usize>(
    x: Mat<'_>,
    w: Mat<'_>,
    row: usize,
    first: usize,
    bias: Option<&[f32]>,
    out: &mut [&mut [f32]],
) {
    let xs: [(&[[f32; L]], &[f32]); B] = std::array::from_fn(|b| x.row(row + b).as_chunks());
    let ws: [(&[[f32; L]], &[f32]); N] = std::array::from_fn(|n| w.row(first + n).as_chunks());
    let chunks = ws[0].0.len();
    let xc: [&[[f32; L]]; B] = std::array::from_fn(|b| &xs[b].0[..chunks]);
    let wc: [&[[f32; L]]; N] = std::array::from_fn(|n| &ws[n].0[..chunks]);
    let mut acc = [[[0f32; L]; B]; N];
    for i in 0..chunks {
        for b in 0..B {
            let xv = &xc[b][i];
            for n in 0..N {
                let wv = &wc[n][i];
                for j in 0..L {
                    acc[n][b][j] = madd::<FMA>(wv[j], xv[j], acc[n][b][j]);
                }
            }
        }
    }
    for n in 0..N {
        let start = bias.map_or(0.0, |bias| bias[first + n]);
        for b in 0..B {
            let mut total = 0.0;
            for j in 0..L {
                total += acc[n][b][j];
            }
            for (w, x) in ws[n].1.iter().zip(xs[b].1) {
                total = madd::<FMA>(*w, *x, total);
            }
            out[row + b][first + n] = total + start;
        }
    }
}
