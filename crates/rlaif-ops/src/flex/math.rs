//! Scalar functions without branches, so that loops over them vectorise.
#![expect(
    clippy::inline_always,
    reason = "they must be compiled inside the kernels that call them"
)]

/// `a b + c`, in one rounding where the CPU has the instruction.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` to about 2e-7 relative, for `x` between -87 and 88; beyond, the value there.
///
/// Range reduction by multiples of ln 2 in two parts and the minimax polynomial of Cephes `expf`.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to an integer
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = madd::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = madd::<FMA>(n, -0.693_359_4, x);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let p = madd::<FMA>(1.987_569_2e-4, r, 1.398_199_9e-3);
    let p = madd::<FMA>(p, r, 8.333_452e-3);
    let p = madd::<FMA>(p, r, 4.166_579_6e-2);
    let p = madd::<FMA>(p, r, 1.666_666_5e-1);
    let p = madd::<FMA>(p, r, 0.5);
    let y = madd::<FMA>(p, r * r, r) + 1.0;
    // The low bits of `shifted` hold n; moved into the exponent they multiply by 2ⁿ.
    f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// The normal distribution function `Φ(x)` to about 3e-7, by the Chebyshev fit of `erfc` in
/// Numerical Recipes, section 6.2.
#[inline(always)]
pub(crate) fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    const FIT: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / madd::<FMA>(z, 0.5, 1.0);
    let mut p = FIT[0];
    let mut i = 1;
    while i < FIT.len() {
        p = madd::<FMA>(p, t, FIT[i]);
        i += 1;
    }
    let tail = 0.5 * t * exp::<FMA>(madd::<FMA>(-z, z, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate() {
        for i in -86_000..88_000 {
            let x = i as f32 * 1e-3;
            let want = f64::from(x).exp();
            for got in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(got) / want - 1.0).abs() < 4e-7, "exp({x}) = {got}");
            }
        }
        assert!(exp::<true>(f32::NAN).is_nan());
        assert!(exp::<true>(-1e30) < 2e-38);
    }

    #[test]
    fn normal_cdf_is_symmetric_and_accurate() {
        // Φ from tables of the normal distribution.
        let table = [(0.0, 0.5), (1.0, 0.841_344_746), (2.0, 0.977_249_868), (3.0, 0.998_650_102)];
        for (x, want) in table {
            let (up, down) = (normal_cdf::<true>(x), normal_cdf::<true>(-x));
            assert!((f64::from(up) - want).abs() < 3e-7, "Φ({x}) = {up}");
            assert!((f64::from(up) + f64::from(down) - 1.0).abs() < 3e-7);
        }
    }
}
