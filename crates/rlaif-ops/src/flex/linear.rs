//! Linear layers: few rows through [`super::skinny`], many through `gemm`, sums in place.

use super::buffer::{Buffer, dense, mat, readable, size, tensor, values, with_rows};
use super::extension::Operation;
use super::reduce::add_up;
use super::skinny;
use crate::simd::{Mat, MatMut, Threads, gemm};

/// `x Wᵀ`, with a bias where there are three inputs.
#[derive(Clone, Debug)]
pub(crate) struct Linear;

/// What the backward reads: the input for the weight's gradient, the weight for the input's.
type Saved = (Option<Buffer>, Option<Buffer>);

impl Operation<2> for Linear {
    type Saved = Saved;

    fn forward(&self, [x, weight]: [Buffer; 2], needs: [bool; 2]) -> (Buffer, Saved) {
        forward(x, weight, None, [needs[0], needs[1]])
    }

    fn backward(self, (x, weight): Saved, grad: Buffer, _needs: [bool; 2]) -> [Option<Buffer>; 2] {
        let grad = readable(grad);
        [weight.map(|w| input_grad(&grad, &w)), x.map(|x| weight_grad(&grad, &x, 1.0))]
    }
}

impl Operation<3> for Linear {
    type Saved = Saved;

    fn forward(&self, [x, weight, bias]: [Buffer; 3], needs: [bool; 3]) -> (Buffer, Saved) {
        forward(x, weight, Some(bias), [needs[0], needs[1]])
    }

    fn backward(self, (x, weight): Saved, grad: Buffer, needs: [bool; 3]) -> [Option<Buffer>; 3] {
        let grad = readable(grad);
        [
            weight.map(|w| input_grad(&grad, &w)),
            x.map(|x| weight_grad(&grad, &x, 1.0)),
            needs[2].then(|| column_sums(grad)),
        ]
    }
}

fn forward(x: Buffer, weight: Buffer, bias: Option<Buffer>, needs: [bool; 2]) -> (Buffer, Saved) {
    let (x, weight, bias) = (readable(x), readable(weight), bias.map(dense));
    let shape = [size(&x)[0], size(&weight)[0]];
    let mut out = vec![0.0; shape[0] * shape[1]];
    times_transposed(mat(&x), mat(&weight), bias.as_ref().map(values), &mut out);
    (tensor(out, shape), (needs[1].then_some(x), needs[0].then_some(weight)))
}

/// `out = x wᵀ + bias` by the kernel that suits the sizes.
pub(crate) fn times_transposed(x: Mat<'_>, w: Mat<'_>, bias: Option<&[f32]>, out: &mut [f32]) {
    if x.rows() <= skinny::MAX_ROWS && x.has_contiguous_rows() && w.has_contiguous_rows() {
        return skinny::skinny(x, &w, w.rows(), bias, out);
    }
    let keep = if let Some(bias) = bias {
        out.chunks_exact_mut(bias.len().max(1)).for_each(|row| row.copy_from_slice(bias));
        1.0
    } else {
        0.0
    };
    gemm(MatMut::new(out, x.rows(), w.rows()), keep, x, w.t(), 1.0, Threads::All);
}

/// The gradient of the input, `dy W`.
fn input_grad(grad: &Buffer, weight: &Buffer) -> Buffer {
    tensor(times(grad, weight), [size(grad)[0], size(weight)[1]])
}

/// `dy W` as plain numbers.
fn times(grad: &Buffer, weight: &Buffer) -> Vec<f32> {
    let [rows, cols] = [size(grad)[0], size(weight)[1]];
    let mut out = vec![0.0; rows * cols];
    gemm(MatMut::new(&mut out, rows, cols), 0.0, mat(grad), mat(weight), 1.0, Threads::All);
    out
}

/// `factor · dyᵀ x`.
fn weight_grad(grad: &Buffer, x: &Buffer, factor: f32) -> Buffer {
    let shape = [size(grad)[1], size(x)[1]];
    let mut out = vec![0.0; shape[0] * shape[1]];
    let product = MatMut::new(&mut out, shape[0], shape[1]);
    gemm(product, 0.0, mat(grad).t(), mat(x), factor, Threads::All);
    tensor(out, shape)
}

/// The gradient of a bias: each column's sum, over blocks of rows of fixed size.
pub(crate) fn column_sums(grad: Buffer) -> Buffer {
    use rayon::prelude::*;
    let grad = dense(grad);
    let [_, cols] = size(&grad);
    let block = ((1 << 14) / cols.max(1) + 1) * cols.max(1);
    let parts = values(&grad).par_chunks(block).map(|rows| {
        let mut total = vec![0.0; cols];
        for row in rows.chunks_exact(cols) {
            for (total, x) in total.iter_mut().zip(row) {
                *total += x;
            }
        }
        total
    });
    let mut total = add_up(parts.collect());
    total.resize(cols, 0.0);
    tensor(total, [cols])
}

/// `x Wᵀ + scale · (x Aᵀ) Bᵀ`, with a bias where there are five inputs: x, W, A, B, bias.
#[derive(Clone, Debug)]
pub(crate) struct LoraLinear {
    pub(crate) scale: f32,
}

/// What the backward reads.
#[derive(Clone, Debug)]
pub(crate) struct LoraSaved {
    weight: Option<Buffer>,
    /// For the gradient of the weight.
    x: Option<Buffer>,
    adapter: AdapterSaved,
}

impl Operation<4> for LoraLinear {
    type Saved = LoraSaved;

    fn forward(&self, [x, weight, a, b]: [Buffer; 4], needs: [bool; 4]) -> (Buffer, LoraSaved) {
        self.run(x, weight, a, b, None, needs)
    }

    fn backward(self, saved: LoraSaved, grad: Buffer, _needs: [bool; 4]) -> [Option<Buffer>; 4] {
        self.gradients(saved, &readable(grad))
    }
}

impl Operation<5> for LoraLinear {
    type Saved = LoraSaved;

    fn forward(&self, [x, w, a, b, bias]: [Buffer; 5], needs: [bool; 5]) -> (Buffer, LoraSaved) {
        self.run(x, w, a, b, Some(bias), [needs[0], needs[1], needs[2], needs[3]])
    }

    fn backward(self, saved: LoraSaved, grad: Buffer, needs: [bool; 5]) -> [Option<Buffer>; 5] {
        let grad = readable(grad);
        let [x, w, a, b] = self.gradients(saved, &grad);
        [x, w, a, b, needs[4].then(|| column_sums(grad))]
    }
}

impl LoraLinear {
    fn run(
        &self,
        x: Buffer,
        weight: Buffer,
        a: Buffer,
        b: Buffer,
        bias: Option<Buffer>,
        needs: [bool; 4],
    ) -> (Buffer, LoraSaved) {
        // Rows in place for the skinny kernel; the weights usually are rows already.
        let (x, weight, bias) = (with_rows(x), readable(weight), bias.map(dense));
        let [rows, outs] = [size(&x)[0], size(&weight)[0]];
        let mut out = vec![0.0; rows * outs];
        times_transposed(mat(&x), mat(&weight), bias.as_ref().map(values), &mut out);
        let (weight, kept) = (needs[0].then_some(weight), needs[1].then(|| x.clone()));
        let adapter = adapt(x, a, b, self.scale, &mut out, [needs[2], needs[3]]);
        (tensor(out, [rows, outs]), LoraSaved { weight, x: kept, adapter })
    }

    fn gradients(&self, saved: LoraSaved, grad: &Buffer) -> [Option<Buffer>; 4] {
        let dx = saved.weight.map(|weight| times(grad, &weight));
        let dw = saved.x.map(|x| weight_grad(grad, &x, 1.0));
        let [dx, da, db] = saved.adapter.gradients(grad, self.scale, dx);
        [dx, dw, da, db]
    }
}

/// What an adapter's backward reads.
#[derive(Clone, Debug)]
pub(crate) struct AdapterSaved {
    a: Buffer,
    b: Buffer,
    /// For the gradient of A.
    x: Option<Buffer>,
    /// `x Aᵀ`, for the gradient of B.
    low: Option<Buffer>,
}

/// `out += scale · (x Aᵀ) Bᵀ`. `needs` says whether A and B want a gradient.
pub(crate) fn adapt(
    x: Buffer,
    a: Buffer,
    b: Buffer,
    scale: f32,
    out: &mut [f32],
    needs: [bool; 2],
) -> AdapterSaved {
    let (a, b) = (with_rows(a), with_rows(b));
    let ([rows, _], [rank, _], [outs, _]) = (size(&x), size(&a), size(&b));
    let mut low = vec![0.0; rows * rank];
    times_transposed(mat(&x), mat(&a), None, &mut low);
    let sum = MatMut::new(out, rows, outs);
    gemm(sum, 1.0, Mat::new(&low, rows, rank), mat(&b).t(), scale, Threads::All);
    let low = needs[1].then(|| tensor(low, [rows, rank]));
    AdapterSaved { a, b, x: needs[0].then_some(x), low }
}

impl AdapterSaved {
    /// The gradients of x, A and B, where `dx` is what the weight beside the adapter gives x, if
    /// x wants a gradient.
    pub(crate) fn gradients(
        self,
        grad: &Buffer,
        scale: f32,
        dx: Option<Vec<f32>>,
    ) -> [Option<Buffer>; 3] {
        let AdapterSaved { a, b, x, low } = self;
        let ([rows, _], [rank, ins]) = (size(grad), size(&a));
        // scale · dy B: the gradient of x Aᵀ.
        let mut d_low = vec![0.0; rows * rank];
        if dx.is_some() || x.is_some() {
            let product = MatMut::new(&mut d_low, rows, rank);
            gemm(product, 0.0, mat(grad), mat(&b), scale, Threads::All);
        }
        let d_low = tensor(d_low, [rows, rank]);
        let dx = dx.map(|mut out| {
            let sum = MatMut::new(&mut out, rows, ins);
            gemm(sum, 1.0, mat(&d_low), mat(&a), 1.0, Threads::All);
            tensor(out, [rows, ins])
        });
        let da = x.map(|x| weight_grad(&d_low, &x, 1.0));
        let db = low.map(|low| weight_grad(grad, &low, scale));
        [dx, da, db]
    }
}
