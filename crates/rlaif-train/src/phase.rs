//! Time spent by phase of a step.

use std::time::Instant;

use crate::metrics::Metrics;

/// Sums seconds by phase.
#[derive(Debug, Default)]
pub struct Clock {
    seconds: std::collections::BTreeMap<&'static str, f64>,
}

impl Clock {
    /// Runs `work` and adds its time to `phase`.
    pub fn time<T>(&mut self, phase: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        *self.seconds.entry(phase).or_default() += start.elapsed().as_secs_f64();
        result
    }

    /// Seconds spent in `phase`.
    #[must_use]
    pub fn seconds(&self, phase: &str) -> f64 {
        self.seconds.get(phase).copied().unwrap_or_default()
    }

    /// Writes `time/<phase>` into the metrics.
    pub fn report(&self, metrics: &mut Metrics) {
        for (phase, seconds) in &self.seconds {
            metrics.insert(format!("time/{phase}"), *seconds);
        }
    }
}
