//! `NormalFloat4`: 16 values that are equally likely under a normal distribution.

use super::blocks::{BLOCK, absmax};

/// Bytes of a block.
pub(super) const BYTES: usize = BLOCK / 2;

/// The values as published with QLoRA (arXiv:2305.14314, appendix E): quantiles of the standard
/// normal distribution over the largest of them, eight above zero and seven below.
pub(super) const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// A block as the nearest values of its largest magnitude.
pub(super) fn encode(block: &[f32; BLOCK]) -> ([u8; BYTES], f32) {
    let scale = absmax(block);
    let code = |x: f32| nearest(if scale > 0.0 { x / scale } else { 0.0 });
    let mut codes = [0; BYTES];
    for (i, byte) in codes.iter_mut().enumerate() {
        *byte = code(block[i]) | code(block[i + BYTES]) << 4;
    }
    (codes, scale)
}

/// The code of the value nearest to `x`, the lower one half-way.
fn nearest(x: f32) -> u8 {
    VALUES.windows(2).fold(0, |code, pair| code + u8::from(x > f32::midpoint(pair[0], pair[1])))
}

/// Unpacks a block of that size out of rows of `blocks` blocks into `out`.
pub(super) fn unpack(
    codes: &[u8],
    scales: &[f32],
    blocks: usize,
    size: [usize; 2],
    out: &mut [f32],
) {
    let rows = Rows { codes, scales, blocks, width: size[1], out };
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        if let Some(simd) = V4::try_new() {
            return simd.vectorize(With(simd, rows));
        }
        if let Some(simd) = V3::try_new() {
            return simd.vectorize(With(simd, rows));
        }
    }
    rows.unpack(Scalar);
}

struct Rows<'a> {
    codes: &'a [u8],
    scales: &'a [f32],
    blocks: usize,
    width: usize,
    out: &'a mut [f32],
}

impl Rows<'_> {
    #[expect(clippy::inline_always, reason = "compiled inside each vector width")]
    #[inline(always)]
    fn unpack(self, decode: impl Decode) {
        let rows = self.codes.chunks(self.blocks * BYTES).zip(self.scales.chunks(self.blocks));
        for (out, (codes, scales)) in self.out.chunks_exact_mut(self.width).zip(rows) {
            let (whole, rest) = out.as_chunks_mut::<BLOCK>();
            let (codes, _) = codes.as_chunks::<BYTES>();
            let last = whole.len();
            for ((out, codes), scale) in whole.iter_mut().zip(codes).zip(scales) {
                decode.block(codes, *scale, out);
            }
            if !rest.is_empty() {
                let mut block = [0.0; BLOCK];
                decode.block(&codes[last], scales[last], &mut block);
                rest.copy_from_slice(&block[..rest.len()]);
            }
        }
    }
}

/// How one block is unpacked. Must be `#[inline(always)]`.
trait Decode: Copy {
    fn block(self, codes: &[u8; BYTES], scale: f32, out: &mut [f32; BLOCK]);
}

#[derive(Clone, Copy)]
struct Scalar;

impl Decode for Scalar {
    #[expect(clippy::inline_always, reason = "compiled inside each vector width")]
    #[inline(always)]
    fn block(self, codes: &[u8; BYTES], scale: f32, out: &mut [f32; BLOCK]) {
        let table = VALUES.map(|x| x * scale);
        let (low, high) = out.split_at_mut(BYTES);
        for ((low, high), code) in low.iter_mut().zip(high).zip(codes) {
            *low = table[usize::from(code & 15)];
            *high = table[usize::from(code >> 4)];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(clippy::inline_always, reason = "compiled inside each vector width")]

    use pulp::NullaryFnOnce;
    use pulp::x86::{V3, V4};

    use super::{BLOCK, BYTES, Decode, Rows, VALUES};

    /// The rows to unpack with these instructions.
    pub(super) struct With<'a, D>(pub(super) D, pub(super) Rows<'a>);

    impl<D: Decode> NullaryFnOnce for With<'_, D> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            self.1.unpack(self.0);
        }
    }

    /// One register holds the table; a lookup reads the lower four bits of each lane.
    impl Decode for V4 {
        #[inline(always)]
        fn block(self, codes: &[u8; BYTES], scale: f32, out: &mut [f32; BLOCK]) {
            let simd = self.avx512f;
            let table = simd._mm512_mul_ps(pulp::cast(VALUES), simd._mm512_set1_ps(scale));
            let (low, high) = out.split_at_mut(BYTES);
            let (low, high) = (low.as_chunks_mut::<16>().0, high.as_chunks_mut::<16>().0);
            for ((low, high), codes) in low.iter_mut().zip(high).zip(codes.as_chunks::<16>().0) {
                let codes = simd._mm512_cvtepu8_epi32(pulp::cast(*codes));
                *low = pulp::cast(simd._mm512_permutexvar_ps(codes, table));
                let above = simd._mm512_srli_epi32::<4>(codes);
                *high = pulp::cast(simd._mm512_permutexvar_ps(above, table));
            }
        }
    }

    /// Two registers hold the table; a lookup reads the lower three bits of each lane, and the
    /// fourth, moved to where the sign is, chooses the register.
    impl Decode for V3 {
        #[inline(always)]
        fn block(self, codes: &[u8; BYTES], scale: f32, out: &mut [f32; BLOCK]) {
            let (avx, avx2) = (self.avx, self.avx2);
            let [below, above]: [[f32; 8]; 2] = pulp::cast(VALUES);
            let scale = avx._mm256_set1_ps(scale);
            let below = avx._mm256_mul_ps(pulp::cast(below), scale);
            let above = avx._mm256_mul_ps(pulp::cast(above), scale);
            let look_up = |codes| {
                let upper = pulp::cast(avx2._mm256_slli_epi32::<28>(codes));
                let below = avx2._mm256_permutevar8x32_ps(below, codes);
                let above = avx2._mm256_permutevar8x32_ps(above, codes);
                pulp::cast(avx._mm256_blendv_ps(below, above, upper))
            };
            let (low, high) = out.split_at_mut(BYTES);
            let (low, high) = (low.as_chunks_mut::<8>().0, high.as_chunks_mut::<8>().0);
            for ((low, high), codes) in low.iter_mut().zip(high).zip(codes.as_chunks::<8>().0) {
                let codes = pulp::cast([u64::from_le_bytes(*codes), 0]);
                let codes = avx2._mm256_cvtepu8_epi32(codes);
                *low = look_up(codes);
                *high = look_up(avx2._mm256_srli_epi32::<4>(codes));
            }
        }
    }
}
#[cfg(target_arch = "x86_64")]
use x86::With;

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 150;

    fn rows<'a>(codes: &'a [u8], scales: &'a [f32], out: &'a mut [f32]) -> Rows<'a> {
        Rows { codes, scales, blocks: 3, width: WIDTH, out }
    }

    /// Every way of this CPU to decode, bit for bit.
    #[test]
    fn every_decoder_gives_the_same_numbers() {
        let codes: Vec<u8> = (0..=255).cycle().take(3 * 3 * BYTES).collect();
        let scales = [1.0, 0.3, 0.0, 1e-30, 2.5, 7.0, 1.0, 0.1, 1e20];
        let mut expected = vec![0.0; 3 * WIDTH];
        rows(&codes, &scales, &mut expected).unpack(Scalar);
        let byte = |i: usize| (codes[i % 32], i / 32);
        for (i, x) in expected[..64].iter().enumerate() {
            let code = if i < 32 { byte(i).0 & 15 } else { byte(i).0 >> 4 };
            assert!((x - VALUES[usize::from(code)]).abs() < 1e-9);
        }
        let mut out = vec![0.0; 3 * WIDTH];
        unpack(&codes, &scales, 3, [3, WIDTH], &mut out);
        assert_eq!(out, expected);
        #[cfg(target_arch = "x86_64")]
        {
            use pulp::x86::{V3, V4};
            if let Some(simd) = V3::try_new() {
                out.fill(0.0);
                simd.vectorize(With(simd, rows(&codes, &scales, &mut out)));
                assert_eq!(out, expected);
            }
            if let Some(simd) = V4::try_new() {
                out.fill(0.0);
                simd.vectorize(With(simd, rows(&codes, &scales, &mut out)));
                assert_eq!(out, expected);
            }
        }
    }
}
