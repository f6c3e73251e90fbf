//! The backward of attention: a block's probabilities once more, then four products.

use rayon::prelude::*;

use super::attention::{Attention, Block, Cluster, Saved, View, Work, plan};
use super::buffer::{Buffer, mat, size, tensor, with_rows};
use super::math::{exp, madd};
use crate::Heads;
use crate::simd::{Mat, MatMut, Threads, gemm, kernel};

/// Tasks that a backward is cut into at least, where it has as many blocks: every task keeps sums
/// of its own, added up in order, so that the result does not depend on the threads.
const TASKS: usize = 8;

/// Blocks of one cluster for one key head, and the gradients that they add.
struct Task<'a> {
    cluster: &'a Cluster,
    blocks: &'a [Block],
    head: usize,
}

/// Gradients of one task: queries by block, then keys and values of prefix and own rows.
struct Parts {
    queries: Vec<Vec<f32>>,
    prefix: [Vec<f32>; 2],
    own: [Vec<f32>; 2],
}

impl Attention {
    /// Gradients of q, k, v, prefix keys and prefix values.
    pub(super) fn gradients<const N: usize>(
        &self,
        view: &View<'_>,
        saved: &Saved<N>,
        grad: Buffer,
    ) -> [Buffer; 5] {
        let Heads { query, kv, dim } = self.heads;
        let grad = with_rows(grad);
        let clusters = plan(&self.spans, self.causal);
        let chunks = TASKS.div_ceil((clusters.len() * kv).max(1));
        let tasks: Vec<Task<'_>> = clusters
            .iter()
            .flat_map(|cluster| {
                let size = cluster.blocks.len().div_ceil(chunks).max(1);
                (0..kv).flat_map(move |head| {
                    cluster.blocks.chunks(size).map(move |blocks| Task { cluster, blocks, head })
                })
            })
            .collect();
        let log_sums = Mat::new(&saved.log_sums, view.q.rows(), query);
        let (out, grad_view) = (mat(&saved.out), mat(&grad));
        let parts: Vec<Parts> = tasks
            .par_iter()
            .map(|task| task.run(view, self.heads, log_sums, out, grad_view))
            .collect();

        let rows = size(&grad)[0];
        let width = kv * dim;
        let mut dq = vec![0.0; rows * query * dim];
        let [mut dk, mut dv] = [(); 2].map(|()| vec![0.0; view.k.rows() * width]);
        let [mut dpk, mut dpv] = [(); 2].map(|()| vec![0.0; view.prefix_k.rows() * width]);
        for (task, parts) in tasks.iter().zip(&parts) {
            for (block, values) in task.blocks.iter().zip(&parts.queries) {
                let work = Work { view: *view, heads: self.heads, block, head: task.head };
                work.scatter(values, dim, &mut dq);
            }
            let columns = task.head * dim;
            for (sums, [prefix, own]) in
                [(&parts.prefix[0], &parts.own[0]), (&parts.prefix[1], &parts.own[1])]
                    .into_iter()
                    .zip([[&mut dpk, &mut dk], [&mut dpv, &mut dv]])
            {
                add_rows(prefix, sums.0, task.cluster.prefix.start, width, columns, dim);
                add_rows(own, sums.1, task.cluster.own.start, width, columns, dim);
            }
        }
        let keys = [view.k.rows(), width];
        let prefix = [view.prefix_k.rows(), width];
        [
            tensor(dq, [rows, query * dim]),
            tensor(dk, keys),
            tensor(dv, keys),
            tensor(dpk, prefix),
            tensor(dpv, prefix),
        ]
    }
}

/// Adds packed rows of `dim` numbers into columns `column..` from row `first` on.
fn add_rows(out: &mut [f32], rows: &[f32], first: usize, width: usize, column: usize, dim: usize) {
    for (row, values) in rows.chunks_exact(dim).enumerate() {
        let at = (first + row) * width + column;
        for (out, x) in out[at..at + dim].iter_mut().zip(values) {
            *out += x;
        }
    }
}

impl Task<'_> {
    fn run(
        &self,
        view: &View<'_>,
        heads: Heads,
        log_sums: Mat<'_>,
        out: Mat<'_>,
        grad: Mat<'_>,
    ) -> Parts {
        let dim = heads.dim;
        let sums = |rows: usize| [(); 2].map(|()| vec![0.0; rows * dim]);
        let mut parts = Parts {
            queries: Vec::with_capacity(self.blocks.len()),
            prefix: sums(self.cluster.prefix.len()),
            own: sums(self.cluster.own.len()),
        };
        for block in self.blocks {
            let work = Work { view: *view, heads, block, head: self.head };
            let (rows, width) = (work.rows(), block.width);
            let q = work.pack(view.q, work.scale());
            let mut p = work.products(&q, view.prefix_k, view.k);
            let d_out = work.pack(grad, 1.0);
            let mut ds = work.products(&d_out, view.prefix_v, view.v);
            let tilt = tilts(&work.pack(out, 1.0), &d_out, dim);
            let log_sums = work.pack_heads(log_sums);
            score_gradients(&mut p, &mut ds, width, &work.seen(), &log_sums, &tilt);
            parts.queries.push(work.combine(&ds, view.prefix_k, view.k, work.scale()));

            // dK = dSᵀ q and dV = Pᵀ dO, over the prefix of all rows and the own keys by piece.
            let shared = block.prefix.len();
            let factors = [(&ds, &q), (&p, &d_out)];
            for (i, (weights, rows_of)) in factors.into_iter().enumerate() {
                let weights = Mat::new(weights, rows, width);
                let rows_of = Mat::new(rows_of, rows, dim);
                if shared > 0 {
                    let target = MatMut::new(&mut parts.prefix[i], shared, dim);
                    let weights = weights.block(0, rows, 0, shared);
                    gemm(target, 1.0, weights.t(), rows_of, 1.0, Threads::One);
                }
                let own = &mut parts.own[i];
                work.each_piece(|piece, at, rows| {
                    if piece.keys > 0 {
                        let start = (piece.kv - self.cluster.own.start) * dim;
                        let target = &mut own[start..][..piece.keys * dim];
                        let target = MatMut::new(target, piece.keys, dim);
                        let weights = weights.block(at, rows, shared, piece.keys);
                        let rows_of = rows_of.block(at, rows, 0, dim);
                        gemm(target, 1.0, weights.t(), rows_of, 1.0, Threads::One);
                    }
                });
            }
        }
        parts
    }
}

impl Work<'_> {
    /// This head group's columns of a `[queries, query heads]` matrix, by row of the scores.
    fn pack_heads(&self, x: Mat<'_>) -> Vec<f32> {
        let group = self.group();
        let mut out = Vec::with_capacity(self.rows());
        for piece in &self.block.pieces {
            for row in piece.first..piece.first + piece.rows {
                out.extend_from_slice(&x.row(row)[self.head * group..(self.head + 1) * group]);
            }
        }
        out
    }
}

/// `Σ out · d_out` of each row.
fn tilts(out: &[f32], d_out: &[f32], dim: usize) -> Vec<f32> {
    let rows = out.chunks_exact(dim).zip(d_out.chunks_exact(dim));
    rows.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum()).collect()
}

kernel! {
    /// Turns scores into probabilities `p = exp(s - log_sum)` and `ds = dO Vᵀ` into the gradient
    /// of the scores `p (ds - tilt)`; both zero where a row sees nothing.
    fn score_gradients<'a>(
        p: &'a mut [f32],
        ds: &'a mut [f32],
        width: usize,
        seen: &'a [usize],
        log_sums: &'a [f32],
        tilts: &'a [f32],
    ) {
        let rows = p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width));
        let known = seen.iter().zip(log_sums).zip(tilts);
        for ((p, ds), ((seen, log_sum), tilt)) in rows.zip(known) {
            let (p, p_hidden) = p.split_at_mut(*seen);
            let (ds, ds_hidden) = ds.split_at_mut(*seen);
            p_hidden.fill(0.0);
            ds_hidden.fill(0.0);
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp::<FMA>(*p - log_sum);
                *ds = madd::<FMA>(*p, *ds, -*p * tilt);
            }
        }
    }
}
