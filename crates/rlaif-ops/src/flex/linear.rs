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
        return skinny::skinny(x, w, bias, out);
    }
    let keep = if let Some(bias) = bias {
        out.chunks_exact_mut(bias.len().max(1)).for_each(|row| row.copy_from_slice(bias));
        1.0
    } else {
        0.0
    };
    gemm(MatMut::new(out, x.rows(), w.rows()), keep, x, w.t(), 1.0, Threads::All);
}

/// `dy W`.
fn input_grad(grad: &Buffer, weight: &Buffer) -> Buffer {
    let shape = [size(grad)[0], size(weight)[1]];
    let mut out = vec![0.0; shape[0] * shape[1]];
    let product = MatMut::new(&mut out, shape[0], shape[1]);
    gemm(product, 0.0, mat(grad), mat(weight), 1.0, Threads::All);
    tensor(out, shape)
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
fn column_sums(grad: Buffer) -> Buffer {
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

/// What the adapter's backward reads.
#[derive(Clone, Debug)]
pub(crate) struct LoraSaved {
    x: Option<Buffer>,
    weight: Option<Buffer>,
    a: Buffer,
    b: Buffer,
    /// `x Aᵀ`
    low: Option<Buffer>,
}

impl Operation<4> for LoraLinear {
    type Saved = LoraSaved;

    fn forward(&self, [x, weight, a, b]: [Buffer; 4], needs: [bool; 4]) -> (Buffer, LoraSaved) {
        self.run(x, weight, a, b, None, needs)
    }

    fn backward(self, saved: LoraSaved, grad: Buffer, needs: [bool; 4]) -> [Option<Buffer>; 4] {
        self.gradients(saved, &readable(grad), needs)
    }
}

impl Operation<5> for LoraLinear {
    type Saved = LoraSaved;

    fn forward(&self, [x, w, a, b, bias]: [Buffer; 5], needs: [bool; 5]) -> (Buffer, LoraSaved) {
        self.run(x, w, a, b, Some(bias), [needs[0], needs[1], needs[2], needs[3]])
    }

    fn backward(self, saved: LoraSaved, grad: Buffer, needs: [bool; 5]) -> [Option<Buffer>; 5] {
        let grad = readable(grad);
        let [x, w, a, b] = self.gradients(saved, &grad, [needs[0], needs[1], needs[2], needs[3]]);
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
        let (x, weight, a, b) = (with_rows(x), readable(weight), with_rows(a), with_rows(b));
        let bias = bias.map(dense);
        let ([rows, _], [outs, _], [rank, _]) = (size(&x), size(&weight), size(&a));
        let mut low = vec![0.0; rows * rank];
        times_transposed(mat(&x), mat(&a), None, &mut low);
        let mut out = vec![0.0; rows * outs];
        times_transposed(mat(&x), mat(&weight), bias.as_ref().map(values), &mut out);
        let update = Mat::new(&low, rows, rank);
        let sum = MatMut::new(&mut out, rows, outs);
        gemm(sum, 1.0, update, mat(&b).t(), self.scale, Threads::All);
        let saved = LoraSaved {
            x: (needs[1] || needs[2]).then_some(x),
            weight: needs[0].then_some(weight),
            a,
            b,
            low: needs[3].then(|| tensor(low, [rows, rank])),
        };
        (tensor(out, [rows, outs]), saved)
    }

    fn gradients(&self, saved: LoraSaved, grad: &Buffer, needs: [bool; 4]) -> [Option<Buffer>; 4] {
        let LoraSaved { x, weight, a, b, low } = saved;
        let ([rows, _], [rank, ins]) = (size(grad), size(&a));
        // scale · dy B: the gradient of x Aᵀ.
        let mut d_low = vec![0.0; rows * rank];
        if needs[0] || needs[2] {
            let product = MatMut::new(&mut d_low, rows, rank);
            gemm(product, 0.0, mat(grad), mat(&b), self.scale, Threads::All);
        }
        let d_low = tensor(d_low, [rows, rank]);
        let dx = weight.map(|weight| {
            let mut out = vec![0.0; rows * ins];
            let product = MatMut::new(&mut out, rows, ins);
            gemm(product, 0.0, mat(grad), mat(&weight), 1.0, Threads::All);
            let sum = MatMut::new(&mut out, rows, ins);
            gemm(sum, 1.0, mat(&d_low), mat(&a), 1.0, Threads::All);
            tensor(out, [rows, ins])
        });
        let dw = x.as_ref().filter(|_| needs[1]).map(|x| weight_grad(grad, x, 1.0));
        let da = x.as_ref().filter(|_| needs[2]).map(|x| weight_grad(&d_low, x, 1.0));
        let db = low.map(|low| weight_grad(grad, &low, self.scale));
        [dx, dw, da, db]
    }
}
