//! Evenly spaced numbers, to the rounding of PyTorch.

/// `torch.arange(start, end, step)` in 32-bit floats, as PyTorch computes it on a CPU: double
/// precision, in runs of eight counted from a start that is itself rounded, as long as sixteen are
/// left; the rest one by one. Processors and towers of `transformers` compare such numbers with
/// others, so that the rounding decides which frame or position is taken.
#[must_use]
pub fn arange_f32(start: f64, end: f64, step: f64) -> Vec<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "float casts saturate, and callers ask for short lists"
    )]
    let count = ((end - start) / step).ceil().max(0.0) as usize;
    #[expect(clippy::cast_possible_truncation, reason = "stored in 32 bits")]
    let round = |value: f64| value as f32;
    (0..count)
        .map(|i| {
            if i < count / 16 * 16 {
                let (run, place) = (i / 8 * 8, i % 8);
                round(f64::from(round(start + run as f64 * step)) + place as f64 * step)
            } else {
                round(start + i as f64 * step)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that PyTorch 2.15 gives for `torch.arange(1 / 19, 1.0, 1 / 19)`.
    #[test]
    fn runs_are_counted_from_a_rounded_start() {
        let got = arange_f32(1.0 / 19.0, 1.0, 1.0 / 19.0);
        assert_eq!(got.len(), 19);
        assert_eq!(got[10].to_bits(), (11.0_f32 / 19.0).to_bits());
        assert_eq!(got[11].to_bits(), (12.0_f32 / 19.0).to_bits() + 1);
        assert_eq!(arange_f32(0.0, 5.0, 1.25), [0.0, 1.25, 2.5, 3.75]);
        assert!(arange_f32(0.0, -1.0, 1.0).is_empty());
    }
}
