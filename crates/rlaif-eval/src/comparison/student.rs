//! Student's t distribution with a whole number of degrees of freedom, and the normal tail.
//!
//! With `φ = atan(t / √ν)` the probability of `|T| < t` is a finite sum (Abramowitz and Stegun
//! 1964, 26.7.3 and 26.7.4):
//!
//! ```text
//! ν even   sin φ · (1 + 1/2 cos² φ + (1·3)/(2·4) cos⁴ φ + ... up to cos^(ν-2) φ)
//! ν odd    2/π · (φ + sin φ · (cos φ + 2/3 cos³ φ + (2·4)/(3·5) cos⁵ φ + ... up to cos^(ν-2) φ))
//! ```

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The `q` quantile of Student's t with `freedom` degrees of freedom, at least 1; `q` in `(0, 1)`.
pub(super) fn t_quantile(q: f64, freedom: usize) -> f64 {
    // Bisection over the angle, which unlike t is bounded; 60 halvings exhaust an f64.
    let (mut lo, mut hi) = (-FRAC_PI_2, FRAC_PI_2);
    for _ in 0..60 {
        let middle = f64::midpoint(lo, hi);
        if f64::midpoint(1.0, signed_mass(middle, freedom)) < q {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    (freedom as f64).sqrt() * f64::midpoint(lo, hi).tan()
}

/// `P(|T| < |t|)` with the sign of `t`, at the angle `φ`.
fn signed_mass(angle: f64, freedom: usize) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = if odd { (cos, 0.0) } else { (1.0, 0.0) };
    // `power` is the power of the cosine in `term`.
    let mut power = freedom % 2;
    while power + 2 <= freedom {
        sum += term;
        term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    if odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

/// `P(|Z| > z)` of a standard normal `Z`, `z` at least 0, to 2e-7 (Abramowitz and Stegun 1964,
/// 26.2.17).
pub(super) fn normal_two_sided(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530]
        .into_iter()
        .fold(0.0, |sum, b| (sum + b) * t);
    (2.0 * density * series).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // The 97.5 % column of any t table.
        for (freedom, expected) in [
            (1, 12.706_2),
            (2, 4.302_65),
            (3, 3.182_45),
            (4, 2.776_45),
            (9, 2.262_16),
            (30, 2.042_27),
        ] {
            let got = t_quantile(0.975, freedom);
            assert!((got - expected).abs() < 1e-4, "{freedom}: {got}");
            assert!((t_quantile(0.025, freedom) + got).abs() < 1e-9);
        }
        assert!(t_quantile(0.5, 2).abs() < 1e-9);
        // ν = 2 has the closed form (2q - 1) / sqrt(2 q (1 - q)).
        let q: f64 = 0.9;
        assert!((t_quantile(q, 2) - 0.8 / (2.0 * q * 0.1).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, p) in [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (3.0, 0.002_699_8)] {
            assert!((normal_two_sided(z) - p).abs() < 1e-6, "{z}: {}", normal_two_sided(z));
        }
    }
}
