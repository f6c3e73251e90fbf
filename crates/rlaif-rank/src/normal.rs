//! Normal scores: where `n` draws from a normal distribution are expected to lie.
//!
//! ```text
//! m_r = E[r-th largest of n standard normal draws]
//!     = n! / ((r - 1)! (n - r)!) * integral x (1 - Phi(x))^(r-1) Phi(x)^(n-r) phi(x) dx
//! ```
//!
//! These are the exact expectations, which Blom's and van der Waerden's scores approximate
//! (David and Nagaraja, Order Statistics, ch. 3; tables in Harter 1961).

use std::f64::consts::{PI, SQRT_2};

/// Where the tails are cut off, in standard deviations: the density beyond is under 1e-31.
const REACH: usize = 12;

/// Expected normal order statistics of `n` draws, largest first, divided by their root mean
/// square: they sum to 0 and their squares sum to `n`. A single one is 0.
#[must_use]
pub fn normal_scores(n: usize) -> Vec<f64> {
    if n < 2 {
        return vec![0.0; n];
    }
    // The trapezoid rule converges faster than any power on a smooth integrand that vanishes at
    // both ends. The narrowest of the integrands is about 1 / sqrt(n) wide.
    let points_per_unit = 50 * (n / 100 + 1).isqrt();
    let half_points = REACH * points_per_unit;
    let step = 1.0 / points_per_unit as f64;
    let mut scores = vec![0.0; n];
    for point in 0..=2 * half_points {
        let x = (point as f64 - half_points as f64) * step;
        let log_above = upper_tail(x).ln();
        let log_below = upper_tail(-x).ln();
        let log_density = -0.5 * x * x - 0.5 * (2.0 * PI).ln();
        // Only the upper half: the lower mirrors it, and the middle one of an odd `n` is 0.
        for (above, score) in scores.iter_mut().enumerate().take(n / 2) {
            let below = n - 1 - above;
            let log_weight = log_ways(n, above)
                + above as f64 * log_above
                + below as f64 * log_below
                + log_density;
            *score += x * log_weight.exp() * step;
        }
    }
    for i in 0..n / 2 {
        scores[n - 1 - i] = -scores[i];
    }
    let mean_square = scores.iter().map(|score| score * score).sum::<f64>() / n as f64;
    for score in &mut scores {
        *score /= mean_square.sqrt();
    }
    scores
}

/// `1 - Phi(x)`, without cancellation for large `x`.
fn upper_tail(x: f64) -> f64 {
    0.5 * libm::erfc(x / SQRT_2)
}

/// `ln(n! / (above! (n - 1 - above)!))`.
fn log_ways(n: usize, above: usize) -> f64 {
    let ln_factorial = |k: usize| libm::lgamma(k as f64 + 1.0);
    ln_factorial(n) - ln_factorial(above) - ln_factorial(n - 1 - above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    /// Exact values: n = 2 is 1 / sqrt(pi), n = 3 is 3 / (2 sqrt(pi)), each over its own RMS.
    #[test]
    fn two_and_three_draws_by_hand() {
        assert!(close(&normal_scores(2), &[1.0, -1.0], 1e-12));
        let three = 1.5_f64.sqrt();
        assert!(close(&normal_scores(3), &[three, 0.0, -three], 1e-12));
        assert_eq!(normal_scores(1), [0.0]);
        assert_eq!(normal_scores(0), [0.0; 0]);
    }

    /// `scipy.integrate.quad` over `scipy.stats.norm`, scipy 1.17.1; before the division by the
    /// RMS these are the tabled 1.16296, 0.49502 and 1.42360, 0.85222, 0.47282, 0.15251.
    #[test]
    fn five_and_eight_draws_match_scipy() {
        let five = [1.454_828_90, 0.619_251_854, 0.0, -0.619_251_854, -1.454_828_90];
        assert!(close(&normal_scores(5), &five, 1e-8));
        let eight = [1.643_901_41, 0.984_106_04, 0.545_991_43, 0.176_115_89];
        assert!(close(&normal_scores(8)[..4], &eight, 1e-8));
    }

    /// The top one of 1000 is 3.24144 (Harter 1961; scipy 1.17.1 gives 3.241435769), and the RMS
    /// of all is 0.99842 (scipy), which makes 3.24655041.
    #[test]
    fn large_groups_keep_their_promises() {
        let scores = normal_scores(1000);
        let sum: f64 = scores.iter().sum();
        let squares: f64 = scores.iter().map(|s| s * s).sum();
        assert!(sum.abs() < 1e-9 && (squares - 1000.0).abs() < 1e-9);
        assert!(scores.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((scores[0] - 3.246_550_41).abs() < 1e-7, "{}", scores[0]);
    }
}
