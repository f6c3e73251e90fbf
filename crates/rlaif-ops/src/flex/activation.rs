//! Element-wise activations: one pass over the inputs, on all threads where they are large.

use rayon::prelude::*;

use super::buffer::{Buffer, dense, size, tensor, values};
use super::extension::Operation;
use super::math::{exp, madd, normal_cdf, sigmoid};
use crate::simd::kernel;

/// Elements one task handles.
const CHUNK: usize = 1 << 14;

/// `silu(gate) · up`.
#[derive(Clone, Debug)]
pub(crate) struct Swiglu;

impl Operation<2> for Swiglu {
    type Saved = [Buffer; 2];

    fn forward(&self, inputs: [Buffer; 2], _needs: [bool; 2]) -> (Buffer, Self::Saved) {
        let [gate, up] = inputs.map(dense);
        let mut out = vec![0.0; values(&gate).len()];
        out.par_chunks_mut(CHUNK)
            .zip(values(&gate).par_chunks(CHUNK).zip(values(&up).par_chunks(CHUNK)))
            .for_each(|(out, (gate, up))| swiglu(gate, up, out));
        (tensor(out, size(&gate)), [gate, up])
    }

    fn backward(
        self,
        [gate, up]: Self::Saved,
        grad: Buffer,
        _needs: [bool; 2],
    ) -> [Option<Buffer>; 2] {
        let grad = dense(grad);
        let mut d_gate = vec![0.0; values(&gate).len()];
        let mut d_up = vec![0.0; d_gate.len()];
        d_gate
            .par_chunks_mut(CHUNK)
            .zip(d_up.par_chunks_mut(CHUNK))
            .zip(values(&gate).par_chunks(CHUNK).zip(values(&up).par_chunks(CHUNK)))
            .zip(values(&grad).par_chunks(CHUNK))
            .for_each(|(((d_gate, d_up), (gate, up)), grad)| {
                swiglu_grad(gate, up, grad, d_gate, d_up);
            });
        let shape = size(&gate);
        [Some(tensor(d_gate, shape)), Some(tensor(d_up, shape))]
    }
}

kernel! {
    fn swiglu<'a>(gate: &'a [f32], up: &'a [f32], out: &'a mut [f32]) {
        for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
            *out = g * sigmoid::<FMA>(*g) * u;
        }
    }
}

kernel! {
    fn swiglu_grad<'a>(
        gate: &'a [f32],
        up: &'a [f32],
        grad: &'a [f32],
        d_gate: &'a mut [f32],
        d_up: &'a mut [f32],
    ) {
        for ((((g, u), dy), dg), du) in gate.iter().zip(up).zip(grad).zip(d_gate).zip(d_up) {
            let s = sigmoid::<FMA>(*g);
            let silu = g * s;
            *du = dy * silu;
            // d silu / dg = s (1 + g (1 - s))
            *dg = dy * u * madd::<FMA>(silu, 1.0 - s, s);
        }
    }
}

/// An activation of one input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    /// `x Φ(x)`.
    Gelu,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `x sigmoid(2 √(2/π) (x + 0.044715 x³))`.
    GeluTanh,
}

impl Operation<1> for Activation {
    type Saved = Buffer;

    fn forward(&self, inputs: [Buffer; 1], _needs: [bool; 1]) -> (Buffer, Self::Saved) {
        let [x] = inputs.map(dense);
        let mut out = vec![0.0; values(&x).len()];
        out.par_chunks_mut(CHUNK).zip(values(&x).par_chunks(CHUNK)).for_each(
            |(out, x)| match self {
                Self::Gelu => gelu(x, out),
                Self::QuickGelu => quick_gelu(x, out),
                Self::GeluTanh => gelu_tanh(x, out),
            },
        );
        (tensor(out, size(&x)), x)
    }

    fn backward(self, x: Buffer, grad: Buffer, _needs: [bool; 1]) -> [Option<Buffer>; 1] {
        let grad = dense(grad);
        let mut out = vec![0.0; values(&x).len()];
        out.par_chunks_mut(CHUNK)
            .zip(values(&x).par_chunks(CHUNK).zip(values(&grad).par_chunks(CHUNK)))
            .for_each(|(out, (x, grad))| match self {
                Self::Gelu => gelu_grad(x, grad, out),
                Self::QuickGelu => quick_gelu_grad(x, grad, out),
                Self::GeluTanh => gelu_tanh_grad(x, grad, out),
            });
        [Some(tensor(out, size(&x)))]
    }
}

kernel! {
    fn gelu<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * normal_cdf::<FMA>(*x);
        }
    }
}

kernel! {
    fn gelu_grad<'a>(x: &'a [f32], grad: &'a [f32], out: &'a mut [f32]) {
        /// `1 / √(2π)`, the height of the normal density.
        const PEAK: f32 = 0.398_942_3;
        for ((out, x), dy) in out.iter_mut().zip(x).zip(grad) {
            let density = PEAK * exp::<FMA>(-0.5 * x * x);
            *out = dy * madd::<FMA>(*x, density, normal_cdf::<FMA>(*x));
        }
    }
}

kernel! {
    fn quick_gelu<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * sigmoid::<FMA>(1.702 * x);
        }
    }
}

kernel! {
    fn quick_gelu_grad<'a>(x: &'a [f32], grad: &'a [f32], out: &'a mut [f32]) {
        for ((out, x), dy) in out.iter_mut().zip(x).zip(grad) {
            let s = sigmoid::<FMA>(1.702 * x);
            *out = dy * s * madd::<FMA>(1.702 * x, 1.0 - s, 1.0);
        }
    }
}

/// `2 √(2/π)`: `(1 + tanh u) / 2 = sigmoid(2 u)`.
const TANH_SLOPE: f32 = 1.595_769_2;
/// Of the cubic term.
const TANH_CUBE: f32 = 0.044_715;

kernel! {
    fn gelu_tanh<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            let inner = TANH_SLOPE * x * madd::<FMA>(TANH_CUBE * x, *x, 1.0);
            *out = x * sigmoid::<FMA>(inner);
        }
    }
}

kernel! {
    fn gelu_tanh_grad<'a>(x: &'a [f32], grad: &'a [f32], out: &'a mut [f32]) {
        for ((out, x), dy) in out.iter_mut().zip(x).zip(grad) {
            let square = x * x;
            let s = sigmoid::<FMA>(TANH_SLOPE * x * madd::<FMA>(TANH_CUBE, square, 1.0));
            let slope = TANH_SLOPE * madd::<FMA>(3.0 * TANH_CUBE, square, 1.0);
            *out = dy * s * madd::<FMA>(x * slope, 1.0 - s, 1.0);
        }
    }
}
