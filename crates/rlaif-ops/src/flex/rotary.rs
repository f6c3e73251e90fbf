//! Rotary position embedding, and its inverse rotation as the backward.

use rayon::prelude::*;

use super::buffer::{Buffer, dense, size, tensor, values};
use super::extension::Operation;
use super::math::madd;
use crate::simd::kernel;

/// Rotation of every head by the angle of its token.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    pub(crate) heads: usize,
}

impl Operation<3> for Rotary {
    type Saved = [Buffer; 2];

    fn forward(&self, inputs: [Buffer; 3], _needs: [bool; 3]) -> (Buffer, Self::Saved) {
        let [x, cos, sin] = inputs.map(dense);
        (self.rotate(&x, &cos, &sin, 1.0), [cos, sin])
    }

    fn backward(
        self,
        [cos, sin]: Self::Saved,
        grad: Buffer,
        _needs: [bool; 3],
    ) -> [Option<Buffer>; 3] {
        [Some(self.rotate(&dense(grad), &cos, &sin, -1.0)), None, None]
    }
}

impl Rotary {
    /// Rotates forwards (`direction` 1) or backwards (-1).
    fn rotate(&self, x: &Buffer, cos: &Buffer, sin: &Buffer, direction: f32) -> Buffer {
        let [tokens, features] = size(x);
        let half = features / self.heads / 2;
        let mut out = vec![0.0; tokens * features];
        let rows = (1 << 14) / features.max(1) + 1;
        out.par_chunks_mut(rows * features.max(1))
            .zip(values(x).par_chunks(rows * features.max(1)))
            .zip(values(cos).par_chunks(rows * half.max(1)))
            .zip(values(sin).par_chunks(rows * half.max(1)))
            .for_each(|(((out, x), cos), sin)| {
                rotate(x, cos, sin, direction, half, features, out);
            });
        tensor(out, [tokens, features])
    }
}

kernel! {
    fn rotate<'a>(
        x: &'a [f32],
        cos: &'a [f32],
        sin: &'a [f32],
        direction: f32,
        half: usize,
        features: usize,
        out: &'a mut [f32],
    ) {
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        let rows = x.chunks_exact(features).zip(out.chunks_exact_mut(features));
        for ((x, out), (cos, sin)) in rows.zip(angles) {
            for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
                let (x1, x2) = x.split_at(half);
                let (y1, y2) = out.split_at_mut(half);
                let y = y1.iter_mut().zip(y2);
                for ((((y1, y2), x1), x2), (c, s)) in y.zip(x1).zip(x2).zip(cos.iter().zip(sin)) {
                    let s = s * direction;
                    *y1 = madd::<FMA>(*x1, *c, -x2 * s);
                    *y2 = madd::<FMA>(*x2, *c, x1 * s);
                }
            }
        }
    }
}
