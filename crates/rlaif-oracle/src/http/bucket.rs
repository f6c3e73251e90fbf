//! A token bucket: so many requests a minute, a few of them at once after a pause.

use std::time::{Duration, Instant};

/// Holds up to `burst` tokens and gains them at an even rate; it starts full. Times are passed in,
/// so that it needs no clock.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    counted_at: Instant,
}

impl Bucket {
    pub(super) fn new(per_minute: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Bucket { burst, per_second: per_minute / 60.0, tokens: burst, counted_at: now }
    }

    /// Takes a token, or says how long it is until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.counted_at = self.counted_at.max(now);
        // A token that lacks a rounding error is one.
        if self.tokens >= 1.0 - 1e-9 {
            self.tokens = (self.tokens - 1.0).max(0.0);
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / self.per_second;
        Err(Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let start = Instant::now();
        let mut bucket = Bucket::new(120.0, 2, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Err(SECOND / 2));
        assert_eq!(bucket.take(start + SECOND / 4), Err(SECOND / 4));
        assert_eq!(bucket.take(start + SECOND / 2), Ok(()));
        assert_eq!(bucket.take(start + SECOND / 2), Err(SECOND / 2));
    }

    #[test]
    fn a_pause_saves_up_the_burst_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60.0, 3, start);
        let later = start + 1000 * SECOND;
        let taken = (0..10).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_minute_of_asking_gets_what_a_minute_allows() {
        let start = Instant::now();
        let mut bucket = Bucket::new(90.0, 1, start);
        let taken = (0..6000)
            .filter(|tick| bucket.take(start + Duration::from_millis(10) * *tick).is_ok())
            .count();
        assert_eq!(taken, 90);
    }

    #[test]
    fn a_clock_that_stands_or_runs_backwards_gives_nothing() {
        let start = Instant::now() + SECOND;
        let mut bucket = Bucket::new(60.0, 1, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start.checked_sub(SECOND).unwrap()), Err(SECOND));
        assert_eq!(bucket.take(start), Err(SECOND));
    }
}
