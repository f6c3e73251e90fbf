//! Products of a few rows with a large matrix: memory speed, each weight read once for all rows.
#![expect(clippy::inline_always, reason = "kernels are compiled inside each vector width")]

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::Mat;

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

/// All rows of `x` against a block of weight rows; `out` holds one slice per row of `x`.
fn part(x: Mat<'_>, w: Mat<'_>, bias: Option<&[f32]>, out: &mut [&mut [f32]]) {
    Arch::new().dispatch(Part { x, w, bias, out });
}

struct Part<'a, 'o, 'r> {
    x: Mat<'a>,
    w: Mat<'a>,
    bias: Option<&'a [f32]>,
    out: &'o mut [&'r mut [f32]],
}

impl WithSimd for Part<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (rows, outs) = (self.x.rows(), self.w.rows());
        let mut first = 0;
        while first < outs {
            let n = if rows > 3 { 2 } else { 4 }.min(outs - first);
            let mut row = 0;
            while row < rows {
                // Even groups: 8 rows are 4 + 4, not 6 + 2.
                let left = rows - row;
                let b = left.div_ceil(left.div_ceil(GROUP));
                match (n, b) {
                    (4, 1) => self.block::<S, 4, 1>(simd, row, first),
                    (4, 2) => self.block::<S, 4, 2>(simd, row, first),
                    (4, 3) => self.block::<S, 4, 3>(simd, row, first),
                    (2, 4) => self.block::<S, 2, 4>(simd, row, first),
                    (2, 5) => self.block::<S, 2, 5>(simd, row, first),
                    (2, 6) => self.block::<S, 2, 6>(simd, row, first),
                    (_, b) => {
                        for i in first..first + n {
                            for j in row..row + b {
                                self.block::<S, 1, 1>(simd, j, i);
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

impl Part<'_, '_, '_> {
    /// `N` weight rows against `B` rows of `x`.
    #[inline(always)]
    fn block<S: Simd, const N: usize, const B: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
    ) {
        let mut xs: [(&[S::f32s], &[f32]); B] = [(&[], &[]); B];
        for (b, x) in xs.iter_mut().enumerate() {
            *x = S::as_simd_f32s(self.x.row(row + b));
        }
        let mut ws: [(&[S::f32s], &[f32]); N] = [(&[], &[]); N];
        for (n, w) in ws.iter_mut().enumerate() {
            *w = S::as_simd_f32s(self.w.row(first + n));
        }
        let chunks = ws[0].0.len();
        // Slices of one length: no bounds are left to check inside the loop.
        let mut xc: [&[S::f32s]; B] = [&[]; B];
        for (xc, x) in xc.iter_mut().zip(&xs) {
            *xc = &x.0[..chunks];
        }
        let mut wc: [&[S::f32s]; N] = [&[]; N];
        for (wc, w) in wc.iter_mut().zip(&ws) {
            *wc = &w.0[..chunks];
        }
        let mut acc = [[simd.splat_f32s(0.0); B]; N];
        for i in 0..chunks {
            for b in 0..B {
                let x = xc[b][i];
                for n in 0..N {
                    acc[n][b] = simd.mul_add_f32s(wc[n][i], x, acc[n][b]);
                }
            }
        }
        for n in 0..N {
            let start = self.bias.map_or(0.0, |bias| bias[first + n]);
            for b in 0..B {
                let mut total = simd.reduce_sum_f32s(acc[n][b]);
                for (w, x) in ws[n].1.iter().zip(xs[b].1) {
                    total += w * x;
                }
                self.out[row + b][first + n] = total + start;
            }
        }
    }
}
