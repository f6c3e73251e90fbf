//! Linear layers over a packed matrix. It is part of the operation, not an input, so the graph
//! holds its packed bytes and nothing else of it.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::{Buffer, dense, mat, readable, size, tensor, values, with_rows};
use super::extension::Operation;
use super::linear::{AdapterSaved, adapt, column_sums};
use super::skinny;
use crate::frozen::HostMatrix;
use crate::simd::{Mat, MatMut, Threads, gemm};

/// Numbers of the scratch buffer that many rows unpack weights into.
const TILE: usize = 1 << 18;

/// `x Wᵀ`, with a bias where there are two inputs.
#[derive(Clone, Debug)]
pub(crate) struct FrozenLinear {
    pub(crate) weight: Arc<HostMatrix>,
}

impl Operation<1> for FrozenLinear {
    type Saved = ();

    fn forward(&self, [x]: [Buffer; 1], _needs: [bool; 1]) -> (Buffer, ()) {
        (forward(&with_rows(x), &self.weight, None), ())
    }

    fn backward(self, (): (), grad: Buffer, needs: [bool; 1]) -> [Option<Buffer>; 1] {
        let grad = readable(grad);
        [needs[0].then(|| input_grad(&grad, &self.weight))]
    }
}

impl Operation<2> for FrozenLinear {
    type Saved = ();

    fn forward(&self, [x, bias]: [Buffer; 2], _needs: [bool; 2]) -> (Buffer, ()) {
        (forward(&with_rows(x), &self.weight, Some(&dense(bias))), ())
    }

    fn backward(self, (): (), grad: Buffer, needs: [bool; 2]) -> [Option<Buffer>; 2] {
        let grad = readable(grad);
        let dx = needs[0].then(|| input_grad(&grad, &self.weight));
        [dx, needs[1].then(|| column_sums(grad))]
    }
}

fn forward(x: &Buffer, weight: &HostMatrix, bias: Option<&Buffer>) -> Buffer {
    tensor(times_transposed(x, weight, bias), [size(x)[0], weight.shape()[0]])
}

fn input_grad(grad: &Buffer, weight: &HostMatrix) -> Buffer {
    tensor(times(grad, weight), [size(grad)[0], weight.shape()[1]])
}

/// `x Wᵀ + scale · (x Aᵀ) Bᵀ`, with a bias where there are four inputs: x, A, B, bias.
#[derive(Clone, Debug)]
pub(crate) struct FrozenLora {
    pub(crate) weight: Arc<HostMatrix>,
    pub(crate) scale: f32,
}

impl Operation<3> for FrozenLora {
    type Saved = AdapterSaved;

    fn forward(&self, [x, a, b]: [Buffer; 3], needs: [bool; 3]) -> (Buffer, AdapterSaved) {
        self.run(x, a, b, None, [needs[1], needs[2]])
    }

    fn backward(self, saved: AdapterSaved, grad: Buffer, needs: [bool; 3]) -> [Option<Buffer>; 3] {
        self.gradients(saved, &readable(grad), needs[0])
    }
}

impl Operation<4> for FrozenLora {
    type Saved = AdapterSaved;

    fn forward(&self, [x, a, b, bias]: [Buffer; 4], needs: [bool; 4]) -> (Buffer, AdapterSaved) {
        self.run(x, a, b, Some(&dense(bias)), [needs[1], needs[2]])
    }

    fn backward(self, saved: AdapterSaved, grad: Buffer, needs: [bool; 4]) -> [Option<Buffer>; 4] {
        let grad = readable(grad);
        let [x, a, b] = self.gradients(saved, &grad, needs[0]);
        [x, a, b, needs[3].then(|| column_sums(grad))]
    }
}

impl FrozenLora {
    fn run(
        &self,
        x: Buffer,
        a: Buffer,
        b: Buffer,
        bias: Option<&Buffer>,
        needs: [bool; 2],
    ) -> (Buffer, AdapterSaved) {
        let x = with_rows(x);
        let shape = [size(&x)[0], self.weight.shape()[0]];
        let mut out = times_transposed(&x, &self.weight, bias);
        let saved = adapt(x, a, b, self.scale, &mut out, needs);
        (tensor(out, shape), saved)
    }

    fn gradients(&self, saved: AdapterSaved, grad: &Buffer, x: bool) -> [Option<Buffer>; 3] {
        saved.gradients(grad, self.scale, x.then(|| times(grad, &self.weight)))
    }
}

/// `x wᵀ + bias`; x has contiguous rows.
fn times_transposed(x: &Buffer, w: &HostMatrix, bias: Option<&Buffer>) -> Vec<f32> {
    let (x, bias) = (mat(x), bias.map(values));
    let (rows, [outs, _]) = (x.rows(), w.shape());
    let mut out = vec![0.0; rows * outs];
    if rows <= skinny::MAX_ROWS {
        skinny::skinny(x, w, outs, bias, &mut out);
        return out;
    }
    if let Some(bias) = bias {
        out.chunks_exact_mut(outs.max(1)).for_each(|row| row.copy_from_slice(bias));
    }
    let keep = if bias.is_some() { 1.0 } else { 0.0 };
    in_tiles(w, |first, tile| {
        let product = MatMut::strided(&mut out[first..], rows, tile.rows(), outs);
        gemm(product, keep, x, tile.t(), 1.0, Threads::All);
    });
    out
}

/// `dy w`, added up tile by tile.
fn times(grad: &Buffer, w: &HostMatrix) -> Vec<f32> {
    let (grad, [_, ins]) = (mat(grad), w.shape());
    let rows = grad.rows();
    let mut out = vec![0.0; rows * ins];
    in_tiles(w, |first, tile| {
        let product = MatMut::new(&mut out, rows, ins);
        gemm(product, 1.0, grad.block(0, rows, first, tile.rows()), tile, 1.0, Threads::All);
    });
    out
}

impl skinny::Weights for HostMatrix {
    const COLUMNS: usize = 512;

    fn read<'s>(
        &'s self,
        rows: Range<usize>,
        columns: Range<usize>,
        scratch: &'s mut [f32],
    ) -> Mat<'s> {
        let (n, len) = (rows.len(), columns.len());
        let scratch = &mut scratch[..n * len];
        let ([outs, width], next) = (self.shape(), columns.end);
        if next < width {
            self.prefetch(rows.clone(), next..width.min(next + Self::COLUMNS));
        } else {
            let following = (rows.end + n).min(outs);
            self.prefetch(rows.end..following, 0..width.min(Self::COLUMNS));
        }
        self.unpack(rows, columns, scratch);
        Mat::new(scratch, n, len)
    }
}

/// Unpacks the rows of `w` tile by tile and hands each over with the number of its first row.
fn in_tiles(w: &HostMatrix, mut work: impl FnMut(usize, Mat<'_>)) {
    let [outs, ins] = w.shape();
    let rows = (TILE / ins.max(1)).max(1).next_multiple_of(16).min(outs);
    let mut scratch = vec![0.0; rows * ins];
    for first in (0..outs).step_by(rows.max(1)) {
        let n = rows.min(outs - first);
        let tile = &mut scratch[..n * ins];
        w.unpack_with_threads(first, tile);
        work(first, Mat::new(tile, n, ins));
    }
}
