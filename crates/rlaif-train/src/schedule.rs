//! Learning rate over the run.

use serde::{Deserialize, Serialize};

/// Shape of the learning rate after warm-up. Names follow `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays at its peak.
    Constant,
    /// Falls in a straight line to zero.
    Linear,
    /// Falls along half a cosine to zero.
    Cosine,
}

impl Schedule {
    /// Factor of the peak learning rate at `step` of `total` (counted from 0), after a linear
    /// warm-up over `warmup_ratio` of the run.
    #[must_use]
    pub fn factor(self, step: u64, total: u64, warmup_ratio: f64) -> f64 {
        let warmup = (total as f64 * warmup_ratio).ceil();
        let (step, total) = (step as f64, total as f64);
        if step < warmup {
            return (step + 1.0) / warmup;
        }
        let progress = ((step - warmup) / (total - warmup).max(1.0)).clamp(0.0, 1.0);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_and_each_shape_falls_as_named() {
        let at = |schedule: Schedule, step| schedule.factor(step, 110, 10.0 / 110.0);
        assert!((at(Schedule::Linear, 0) - 0.1).abs() < 1e-12);
        assert!((at(Schedule::Linear, 9) - 1.0).abs() < 1e-12);
        assert!((at(Schedule::Linear, 60) - 0.5).abs() < 1e-12);
        assert!((at(Schedule::Cosine, 60) - 0.5).abs() < 1e-12);
        assert!((at(Schedule::Cosine, 35) - 0.853_553_390_593_273_8).abs() < 1e-12);
        assert!((at(Schedule::Constant, 109) - 1.0).abs() < 1e-12);
    }
}
