//! Attention in blocks of queries: the scores of one block live in cache and are then forgotten.
//!
//! The forward keeps the logarithm of each row's normaliser; the backward computes the block's
//! probabilities again from it ([FlashAttention-2](https://arxiv.org/abs/2307.08691), on a CPU).

use rayon::prelude::*;

use super::buffer::{Buffer, mat, tensor, with_rows};
use super::extension::Operation;
use super::math::exp;
use super::reduce::max;
use crate::attention::visible;
use crate::simd::{Mat, MatMut, Threads, gemm, kernel};
use crate::{Heads, Span};

/// Query rows of one block.
const BLOCK: usize = 64;
/// Multiply-adds below which one thread is faster than several.
const PARALLEL: usize = 1 << 18;

/// Attention of q, k, v, and a prefix's keys and values where there are five inputs.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) heads: Heads,
    pub(crate) spans: Vec<Span>,
    pub(crate) causal: bool,
}

/// What the backward reads: the inputs, the output, and each row's log-normaliser by query head.
#[derive(Clone, Debug)]
pub(crate) struct Saved<const N: usize> {
    pub(super) inputs: [Buffer; N],
    pub(super) out: Buffer,
    pub(super) log_sums: Vec<f32>,
}

impl Operation<3> for Attention {
    type Saved = Option<Saved<3>>;

    fn forward(&self, inputs: [Buffer; 3], needs: [bool; 3]) -> (Buffer, Self::Saved) {
        let inputs = inputs.map(with_rows);
        let (out, log_sums) = self.run(&View::of(&inputs));
        let saved = needs.contains(&true).then(|| Saved { inputs, out: out.clone(), log_sums });
        (out, saved)
    }

    fn backward(self, saved: Self::Saved, grad: Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        let Some(saved) = saved else { return [None, None, None] };
        let [q, k, v, _, _] = self.gradients(&View::of(&saved.inputs), &saved, grad);
        [Some(q), Some(k), Some(v)]
    }
}

impl Operation<5> for Attention {
    type Saved = Option<Saved<5>>;

    fn forward(&self, inputs: [Buffer; 5], needs: [bool; 5]) -> (Buffer, Self::Saved) {
        let inputs = inputs.map(with_rows);
        let (out, log_sums) = self.run(&View::of(&inputs));
        let saved = needs.contains(&true).then(|| Saved { inputs, out: out.clone(), log_sums });
        (out, saved)
    }

    fn backward(self, saved: Self::Saved, grad: Buffer, _: [bool; 5]) -> [Option<Buffer>; 5] {
        let Some(saved) = saved else { return [None, None, None, None, None] };
        self.gradients(&View::of(&saved.inputs), &saved, grad).map(Some)
    }
}

/// The inputs as matrices; an absent prefix has no rows.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) q: Mat<'a>,
    pub(super) k: Mat<'a>,
    pub(super) v: Mat<'a>,
    pub(super) prefix_k: Mat<'a>,
    pub(super) prefix_v: Mat<'a>,
}

impl<'a> View<'a> {
    fn of(inputs: &'a [Buffer]) -> Self {
        let [q, k, v] = [0, 1, 2].map(|i| mat(&inputs[i]));
        let prefix = |i: usize| inputs.get(i).map_or_else(|| Mat::new(&[], 0, k.cols()), mat);
        View { q, k, v, prefix_k: prefix(3), prefix_v: prefix(4) }
    }
}

/// Consecutive queries of one span.
pub(super) struct Piece {
    /// Rows of the query tensor.
    pub(super) first: usize,
    pub(super) rows: usize,
    /// Own keys that the last of them sees.
    pub(super) kv: usize,
    pub(super) keys: usize,
    /// Row `j` sees its first `j + 1 + reach` own keys, none where that is not above 0; `None`:
    /// all of them.
    pub(super) reach: Option<isize>,
}

/// Pieces that are worked on together: they read the same prefix.
pub(super) struct Block {
    pub(super) pieces: Vec<Piece>,
    pub(super) prefix: std::ops::Range<usize>,
    pub(super) rows: usize,
    /// Columns of the scores: the prefix, then the longest piece's own keys.
    pub(super) width: usize,
}

/// Blocks whose keys overlap, and the hull of their own keys.
pub(super) struct Cluster {
    pub(super) blocks: Vec<Block>,
    pub(super) prefix: std::ops::Range<usize>,
    pub(super) own: std::ops::Range<usize>,
}

/// Cuts spans into blocks, by their shapes alone.
pub(super) fn plan(spans: &[Span], causal: bool) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for span in spans.iter().filter(|span| !span.q.is_empty()) {
        let joins = clusters
            .last()
            .is_some_and(|last| !span.prefix.is_empty() && last.prefix == span.prefix);
        if !joins {
            let own = span.kv.clone();
            clusters.push(Cluster { blocks: Vec::new(), prefix: span.prefix.clone(), own });
        }
        let Some(cluster) = clusters.last_mut() else { continue };
        if !span.kv.is_empty() {
            let own = &mut cluster.own;
            *own = if own.start >= own.end {
                span.kv.clone()
            } else {
                own.start.min(span.kv.start)..own.end.max(span.kv.end)
            };
        }
        let (n, m) = (span.q.len(), span.kv.len());
        let mut at = 0;
        while at < n {
            if cluster.blocks.last().is_none_or(|block| block.rows >= BLOCK) {
                let (prefix, width) = (span.prefix.clone(), span.prefix.len());
                cluster.blocks.push(Block { pieces: Vec::new(), prefix, rows: 0, width });
            }
            let Some(block) = cluster.blocks.last_mut() else { break };
            let rows = (BLOCK - block.rows).min(n - at);
            let keys = visible(n, m, at + rows - 1, causal);
            let reach = causal.then(|| (m + at).cast_signed() - n.cast_signed());
            let (first, kv) = (span.q.start + at, span.kv.start);
            block.pieces.push(Piece { first, rows, kv, keys, reach });
            block.rows += rows;
            block.width = block.width.max(span.prefix.len() + keys);
            at += rows;
        }
    }
    clusters
}

/// One block for one key head, with the queries of its group of heads folded into the rows.
pub(super) struct Work<'a> {
    pub(super) view: View<'a>,
    pub(super) heads: Heads,
    pub(super) block: &'a Block,
    pub(super) head: usize,
}

impl Work<'_> {
    pub(super) fn group(&self) -> usize {
        self.heads.query / self.heads.kv
    }

    /// Rows of the scores.
    pub(super) fn rows(&self) -> usize {
        self.block.rows * self.group()
    }

    /// Rows `[rows · group, dim]` of this head's columns of a query-shaped matrix, times `factor`.
    pub(super) fn pack(&self, x: Mat<'_>, factor: f32) -> Vec<f32> {
        let (dim, group) = (self.heads.dim, self.group());
        let columns = self.head * group * dim;
        let mut out = Vec::with_capacity(self.rows() * dim);
        for piece in &self.block.pieces {
            for row in piece.first..piece.first + piece.rows {
                let row = &x.row(row)[columns..columns + group * dim];
                out.extend(row.iter().map(|x| x * factor));
            }
        }
        out
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.heads.dim as f32).sqrt()
    }

    /// `[keys, dim]` of this head.
    pub(super) fn head_of<'m>(&self, x: Mat<'m>, first: usize, keys: usize) -> Mat<'m> {
        x.block(first, keys, self.head * self.heads.dim, self.heads.dim)
    }

    /// `out = q [prefix, own]ᵀ` over packed rows `q`; `out` is `[rows, width]`.
    pub(super) fn products(&self, q: &[f32], prefix: Mat<'_>, own: Mat<'_>) -> Vec<f32> {
        let (dim, width, rows) = (self.heads.dim, self.block.width, self.rows());
        let shared = self.block.prefix.len();
        let mut out = vec![0.0; rows * width];
        let q = Mat::new(q, rows, dim);
        if shared > 0 {
            let keys = self.head_of(prefix, self.block.prefix.start, shared);
            let target = MatMut::strided(&mut out, rows, shared, width);
            gemm(target, 0.0, q, keys.t(), 1.0, Threads::One);
        }
        self.each_piece(|piece, at, rows| {
            if piece.keys > 0 {
                let keys = self.head_of(own, piece.kv, piece.keys);
                let start = at * width + shared;
                let target = MatMut::strided(&mut out[start..], rows, piece.keys, width);
                gemm(target, 0.0, q.block(at, rows, 0, dim), keys.t(), 1.0, Threads::One);
            }
        });
        out
    }

    /// `out = p [prefix, own]` for weights `p` `[rows, width]`; `out` is `[rows, dim]`.
    pub(super) fn combine(
        &self,
        p: &[f32],
        prefix: Mat<'_>,
        own: Mat<'_>,
        factor: f32,
    ) -> Vec<f32> {
        let (dim, width, rows) = (self.heads.dim, self.block.width, self.rows());
        let shared = self.block.prefix.len();
        let mut out = vec![0.0; rows * dim];
        let p = Mat::new(p, rows, width);
        if shared > 0 {
            let values = self.head_of(prefix, self.block.prefix.start, shared);
            let target = MatMut::new(&mut out, rows, dim);
            gemm(target, 0.0, p.block(0, rows, 0, shared), values, factor, Threads::One);
        }
        self.each_piece(|piece, at, rows| {
            if piece.keys > 0 {
                let values = self.head_of(own, piece.kv, piece.keys);
                let weights = p.block(at, rows, shared, piece.keys);
                let target = MatMut::new(&mut out[at * dim..][..rows * dim], rows, dim);
                gemm(target, 1.0, weights, values, factor, Threads::One);
            }
        });
        out
    }

    /// Visits pieces with their first row of the scores and their number of rows there.
    pub(super) fn each_piece(&self, mut visit: impl FnMut(&Piece, usize, usize)) {
        let mut at = 0;
        for piece in &self.block.pieces {
            let rows = piece.rows * self.group();
            visit(piece, at, rows);
            at += rows;
        }
    }

    /// Columns that each row of the scores sees.
    pub(super) fn seen(&self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.rows());
        let shared = self.block.prefix.len();
        for piece in &self.block.pieces {
            for row in 0..piece.rows {
                let own = piece.reach.map_or(piece.keys, |reach| {
                    (row.cast_signed() + 1 + reach).max(0).cast_unsigned().min(piece.keys)
                });
                out.extend(std::iter::repeat_n(shared + own, self.group()));
            }
        }
        out
    }

    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let q = self.pack(self.view.q, self.scale());
        let mut scores = self.products(&q, self.view.prefix_k, self.view.k);
        let mut log_sums = vec![0.0; self.rows()];
        softmax(&mut scores, self.block.width, &self.seen(), &mut log_sums);
        (self.combine(&scores, self.view.prefix_v, self.view.v, 1.0), log_sums)
    }
}

impl Attention {
    fn run(&self, view: &View<'_>) -> (Buffer, Vec<f32>) {
        let Heads { query, kv, dim } = self.heads;
        let rows = view.q.rows();
        let clusters = plan(&self.spans, self.causal);
        let blocks: Vec<&Block> = clusters.iter().flat_map(|cluster| &cluster.blocks).collect();
        let works: Vec<Work<'_>> = blocks
            .iter()
            .flat_map(|block| {
                (0..kv).map(|head| Work { view: *view, heads: self.heads, block, head })
            })
            .collect();
        let madds: usize = blocks.iter().map(|b| 2 * b.rows * b.width * query * dim).sum();
        let parts: Vec<(Vec<f32>, Vec<f32>)> = if madds < PARALLEL {
            works.iter().map(Work::forward).collect()
        } else {
            works.par_iter().map(Work::forward).collect()
        };
        let mut out = vec![0.0; rows * query * dim];
        let mut log_sums = vec![0.0; rows * query];
        for (work, (values, sums)) in works.iter().zip(&parts) {
            work.scatter(values, dim, &mut out);
            work.scatter(sums, 1, &mut log_sums);
        }
        (tensor(out, [rows, query * dim]), log_sums)
    }
}

impl Work<'_> {
    /// Puts packed rows of `dim` numbers per head back into a query-shaped matrix.
    pub(super) fn scatter(&self, packed: &[f32], dim: usize, out: &mut [f32]) {
        let group = self.group();
        let (stride, columns) = (self.heads.query * dim, self.head * group * dim);
        let mut rows = packed.chunks_exact(group * dim);
        for piece in &self.block.pieces {
            for (row, values) in (piece.first..piece.first + piece.rows).zip(&mut rows) {
                let at = row * stride + columns;
                out[at..at + group * dim].copy_from_slice(values);
            }
        }
    }
}

kernel! {
    /// Softmax of the first `seen` columns of each row, zeros behind; `log_sums` takes each row's
    /// log-normaliser.
    fn softmax<'a>(
        scores: &'a mut [f32],
        width: usize,
        seen: &'a [usize],
        log_sums: &'a mut [f32],
    ) {
        for ((row, seen), log_sum) in scores.chunks_exact_mut(width).zip(seen).zip(log_sums) {
            let (row, hidden) = row.split_at_mut(*seen);
            hidden.fill(0.0);
            let top = max::<FMA, LANES>(row);
            let (chunks, rest) = row.as_chunks_mut::<LANES>();
            let mut lanes = [0f32; LANES];
            for chunk in chunks {
                for j in 0..LANES {
                    chunk[j] = exp::<FMA>(chunk[j] - top);
                    lanes[j] += chunk[j];
                }
            }
            let mut total: f32 = lanes.iter().sum();
            for x in rest {
                *x = exp::<FMA>(*x - top);
                total += *x;
            }
            let factor = 1.0 / total;
            for x in row.iter_mut() {
                *x *= factor;
            }
            *log_sum = top + total.ln();
        }
    }
}
