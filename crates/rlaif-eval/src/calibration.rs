//! How well a reward model's differences of scores predict which answer is preferred.
//!
//! ```text
//! margin  m_i = s(chosen_i) - s(rejected_i)        P(chosen over rejected) = σ(m_i)
//! accuracy   part of the pairs with m_i > 0; a margin of 0 counts one half
//! nll        mean of - log σ(m_i)
//! brier      mean of (1 - σ(m_i))²
//! ece        Σ_b n_b / n · |right_b - confidence_b|,   confidence σ(|m_i|) in ten bins of 0.5..=1
//! ```
//!
//! Source: Bradley and Terry 1952 for the probability; Naeini et al. 2015 for the expected
//! calibration error. Which of the two answers stands first says nothing, so that confidence
//! begins at one half.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval, clusters, mean};

const BINS: usize = 10;

/// Pairs of one bin of confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end of the confidence.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// Pairs.
    pub n: usize,
    /// Their mean confidence; absent without pairs.
    pub confidence: Option<f64>,
    /// Part of them that is right; absent without pairs.
    pub accuracy: Option<f64>,
}

/// Accuracy and calibration over pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Pairs.
    pub n: usize,
    /// Part of the pairs whose chosen answer has the higher score.
    pub accuracy: f64,
    /// Its 95 % interval, by video.
    pub ci95: Interval,
    /// Negative log-likelihood in nats; `ln 2` for a model that knows nothing.
    pub nll: f64,
    /// Brier score; 0.25 for a model that knows nothing.
    pub brier: f64,
    /// Expected calibration error.
    pub ece: f64,
    /// The bins behind it.
    pub bins: Vec<CalibrationBin>,
}

impl Calibration {
    /// From the video and the margin of each pair; `None` without pairs, or with a margin that is
    /// no number.
    #[must_use]
    pub fn of(margins: &[(&str, f64)]) -> Option<Calibration> {
        if margins.iter().any(|(_, margin)| margin.is_nan()) {
            return None;
        }
        let right: Vec<(&str, f64)> =
            margins.iter().map(|(video, margin)| (*video, credit(*margin))).collect();
        let by_video = clusters(right.iter().copied());
        let n = margins.len();
        let average = |of: &dyn Fn(f64) -> f64| {
            margins.iter().map(|(_, margin)| of(*margin)).sum::<f64>() / n as f64
        };
        let bins = bins(margins);
        let gap = |bin: &CalibrationBin| {
            Some(bin.n as f64 * (bin.accuracy? - bin.confidence?).abs() / n as f64)
        };
        Some(Calibration {
            n,
            accuracy: mean(&by_video)?,
            ci95: Bootstrap::default().share(&by_video)?,
            nll: average(&|m| softplus(-m)),
            brier: average(&|m| sigmoid(-m) * sigmoid(-m)),
            ece: bins.iter().filter_map(gap).sum(),
            bins,
        })
    }
}

fn bins(margins: &[(&str, f64)]) -> Vec<CalibrationBin> {
    let width = 0.5 / BINS as f64;
    let mut sums = [(0_usize, 0.0, 0.0); BINS];
    for (_, margin) in margins {
        let confidence = sigmoid(margin.abs());
        let place = (1..BINS).take_while(|edge| confidence >= 0.5 + width * *edge as f64).count();
        let (n, confidences, right) = &mut sums[place];
        *n += 1;
        *confidences += confidence;
        *right += credit(*margin);
    }
    sums.iter()
        .enumerate()
        .map(|(place, (n, confidences, right))| {
            let of = |sum: f64| (*n > 0).then(|| sum / *n as f64);
            CalibrationBin {
                from: 0.5 + width * place as f64,
                to: 0.5 + width * (place + 1) as f64,
                n: *n,
                confidence: of(*confidences),
                accuracy: of(*right),
            }
        })
        .collect()
}

fn credit(margin: f64) -> f64 {
    if margin == 0.0 {
        0.5
    } else if margin > 0.0 {
        1.0
    } else {
        0.0
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// σ(ln 3) = 3/4. Margins ln 3, ln 3, ln 3, -ln 3: three of four right at confidence 3/4,
    /// which is calibrated; nll = (3 · ln(4/3) + ln 4) / 4, brier = (3 · 1/16 + 9/16) / 4.
    #[test]
    fn matches_a_hand_calculation() {
        let m = 3.0_f64.ln();
        let got = Calibration::of(&[("a", m), ("b", m), ("c", m), ("d", -m)]).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(got.accuracy, 0.75);
        close(got.nll, (3.0 * (4.0_f64 / 3.0).ln() + 4.0_f64.ln()) / 4.0);
        close(got.brier, 0.1875);
        close(got.ece, 0.0);
        let full: Vec<usize> = got.bins.iter().filter(|bin| bin.n > 0).map(|bin| bin.n).collect();
        assert_eq!(full, [4]);
    }

    #[test]
    fn overconfidence_is_an_error_and_equal_scores_are_half_right() {
        let got = Calibration::of(&[("a", 50.0), ("b", -50.0)]).unwrap();
        assert!((got.ece - 0.5).abs() < 1e-9 && (got.accuracy - 0.5).abs() < 1e-12);
        assert!((got.nll - 25.0).abs() < 1e-9, "{}", got.nll);
        let nothing = Calibration::of(&[("a", 0.0), ("b", 0.0)]).unwrap();
        assert!((nothing.accuracy - 0.5).abs() < 1e-12 && nothing.ece.abs() < 1e-12);
        assert!((nothing.nll - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((nothing.brier - 0.25).abs() < 1e-12);
        assert!(Calibration::of(&[]).is_none());
        assert!(Calibration::of(&[("a", f64::NAN)]).is_none());
    }
}
