//! Products of a few rows with a large matrix: memory speed, each weight read once for all rows.
#![expect(clippy::inline_always, reason = "kernels are compiled inside each vector width")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::Mat;

/// Up to this many rows [`skinny`] beats a general multiplication.
pub(crate) const MAX_ROWS: usize = 32;
/// Rows of `x` one block of accumulators covers, beside 2 weight rows, or 4 where vectors have 64
/// bytes: there are 32 registers of them.
const GROUP: usize = 6;
/// Most weight rows of one block.
const BLOCK: usize = 4;
/// Multiply-adds below which one thread is faster than several.
const PARALLEL: usize = 1 << 18;

/// Where [`skinny`] finds its weights, `[out, in]`.
pub(crate) trait Weights: Sync {
    /// Columns to read at a time, so that what is unpacked stays in the first cache.
    const COLUMNS: usize;

    /// A block of the weights with contiguous rows, where it is or in `scratch`. The columns start
    /// at a multiple of [`COLUMNS`](Self::COLUMNS).
    fn read<'s>(
        &'s self,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &'s mut [f32],
    ) -> Mat<'s>;
}

/// Weights as they are.
impl Weights for Mat<'_> {
    const COLUMNS: usize = usize::MAX;

    #[inline(always)]
    fn read<'s>(
        &'s self,
        rows: Range<usize>,
        columns: Range<usize>,
        _scratch: &'s mut [f32],
    ) -> Mat<'s> {
        self.block(rows.start, rows.len(), columns.start, columns.len())
    }
}

/// `out = x wᵀ + bias`, for `x` of at most [`MAX_ROWS`] rows; `x` and `w` have contiguous rows.
///
/// Each output is one sum over the features in an order of its own: it depends neither on the
/// number of rows nor on the threads, nor on how the weights are kept.
pub(crate) fn skinny<W: Weights>(
    x: Mat<'_>,
    w: &W,
    outs: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let rows = x.rows();
    if rows == 0 || outs == 0 {
        return;
    }
    if rows * outs * x.cols() < PARALLEL {
        let mut parts: Vec<&mut [f32]> = out.chunks_mut(outs).collect();
        Arch::new().dispatch(Part { x, w, weights: 0..outs, bias, out: &mut parts[..] });
        return;
    }
    let chunk = outs.div_ceil(24).next_multiple_of(8).clamp(8, 512);
    let mut parts: Vec<Vec<&mut [f32]>> =
        (0..outs.div_ceil(chunk)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_mut(outs) {
        for (part, piece) in parts.iter_mut().zip(row.chunks_mut(chunk)) {
            part.push(piece);
        }
    }
    parts.par_iter_mut().enumerate().for_each(|(i, out)| {
        let weights = i * chunk..outs.min((i + 1) * chunk);
        Arch::new().dispatch(Part { x, w, weights, bias, out: &mut out[..] });
    });
}

/// All rows of `x` against some of the weight rows; `out` holds one slice per row of `x`.
struct Part<'a, 'o, 'r, W> {
    x: Mat<'a>,
    w: &'a W,
    weights: Range<usize>,
    bias: Option<&'a [f32]>,
    out: &'o mut [&'r mut [f32]],
}

impl<W: Weights> WithSimd for Part<'_, '_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Part { x, w, weights, bias, out } = self;
        let (rows, width) = (x.rows(), x.cols());
        let many_registers = size_of::<S::f32s>() == 64;
        let block = if rows > 3 && !many_registers { 2 } else { BLOCK };
        let step = W::COLUMNS.min(width);
        let mut scratch =
            if W::COLUMNS == usize::MAX { Vec::new() } else { vec![0.0; BLOCK * step] };
        let mut sums = [[simd.splat_f32s(0.0); BLOCK]; MAX_ROWS];
        for first in weights.clone().step_by(block) {
            let n = block.min(weights.end - first);
            sums[..rows].fill([simd.splat_f32s(0.0); BLOCK]);
            let mut at = 0;
            loop {
                let len = step.min(width - at);
                let w = w.read(first..first + n, at..at + len, &mut scratch);
                let x = x.block(0, rows, at, len);
                add(simd, x, w, &mut sums[..rows]);
                at += len;
                if at == width {
                    for (j, (out, sums)) in out.iter_mut().zip(&sums).enumerate() {
                        for (i, sum) in sums[..n].iter().enumerate() {
                            let mut total = simd.reduce_sum_f32s(*sum);
                            let rest = S::as_simd_f32s(w.row(i)).1.iter();
                            for (w, x) in rest.zip(S::as_simd_f32s(x.row(j)).1) {
                                total += w * x;
                            }
                            let start = bias.map_or(0.0, |bias| bias[first + i]);
                            out[first - weights.start + i] = total + start;
                        }
                    }
                    break;
                }
            }
        }
    }
}

/// Adds the products of whole vectors to the sums of every row of `x` with every row of `w`.
#[inline(always)]
fn add<S: Simd>(simd: S, x: Mat<'_>, w: Mat<'_>, sums: &mut [[S::f32s; BLOCK]]) {
    let (rows, n) = (x.rows(), w.rows());
    let mut row = 0;
    while row < rows {
        // Even groups: 8 rows are 4 + 4, not 6 + 2.
        let left = rows - row;
        let b = left.div_ceil(left.div_ceil(GROUP));
        match (n, b) {
            (4, 1) => add_block::<S, 4, 1>(simd, x, w, row, 0, sums),
            (4, 2) => add_block::<S, 4, 2>(simd, x, w, row, 0, sums),
            (4, 3) => add_block::<S, 4, 3>(simd, x, w, row, 0, sums),
            (4, 4) => add_block::<S, 4, 4>(simd, x, w, row, 0, sums),
            (4, 5) => add_block::<S, 4, 5>(simd, x, w, row, 0, sums),
            (4, 6) => add_block::<S, 4, 6>(simd, x, w, row, 0, sums),
            (2, 4) => add_block::<S, 2, 4>(simd, x, w, row, 0, sums),
            (2, 5) => add_block::<S, 2, 5>(simd, x, w, row, 0, sums),
            (2, 6) => add_block::<S, 2, 6>(simd, x, w, row, 0, sums),
            (_, b) => {
                for i in 0..n {
                    for j in row..row + b {
                        add_block::<S, 1, 1>(simd, x, w, j, i, sums);
                    }
                }
            }
        }
        row += b;
    }
}

/// `N` weight rows from `first` on against `B` rows of `x` from `row` on.
#[inline(always)]
fn add_block<S: Simd, const N: usize, const B: usize>(
    simd: S,
    x: Mat<'_>,
    w: Mat<'_>,
    row: usize,
    first: usize,
    sums: &mut [[S::f32s; BLOCK]],
) {
    let chunks = S::as_simd_f32s(w.row(first)).0.len();
    // Slices of one length: no bounds are left to check inside the loop.
    let mut xs: [&[S::f32s]; B] = [&[]; B];
    for (b, xs) in xs.iter_mut().enumerate() {
        *xs = &S::as_simd_f32s(x.row(row + b)).0[..chunks];
    }
    let mut ws: [&[S::f32s]; N] = [&[]; N];
    for (n, ws) in ws.iter_mut().enumerate() {
        *ws = &S::as_simd_f32s(w.row(first + n)).0[..chunks];
    }
    let mut acc = [[simd.splat_f32s(0.0); B]; N];
    for (n, acc) in acc.iter_mut().enumerate() {
        for (b, acc) in acc.iter_mut().enumerate() {
            *acc = sums[row + b][first + n];
        }
    }
    for i in 0..chunks {
        for b in 0..B {
            let x = xs[b][i];
            for n in 0..N {
                acc[n][b] = simd.mul_add_f32s(ws[n][i], x, acc[n][b]);
            }
        }
    }
    for (n, acc) in acc.iter().enumerate() {
        for (b, acc) in acc.iter().enumerate() {
            sums[row + b][first + n] = *acc;
        }
    }
}
